"""Measure how well answerable questions are separated from unanswerable ones.

    python -m benchmarks.refusal FOLDER QUESTIONS.jsonl [MORE.jsonl ...]
        [--elsewhere OTHERS.jsonl ...] [--model multilingual|FOLDER] [--details FILE]
    python -m benchmarks.refusal --fit DETAILS [MORE ...]

The first form ingests FOLDER and asks the questions (format: `benchmarks.retrieval`). Questions of
`--elsewhere` files are about other subjects and count as unanswerable. Columns for each file:

    kept     share of the answerable questions that are answered
    stopped  share of the unanswerable questions that are refused. Both with the book's shift
    AUROC    how often an answerable question has the larger `lib.refusal.answerability_margin`;
             0.5 is chance. A file with one class is compared with the other class of all files.

Each is measured with vectors and with words alone. "Of the score" is the AUROC of the first
passage's score, which a plain threshold would use. Brackets contain the 95 % interval.

`--details` writes the evidence of each question, one JSON object per line. The second form fits the
weights of `lib.refusal` to such files: they refuse the most unanswerable questions while the
threshold keeps its share of the answerable questions of every file. Then each book is judged by
weights fitted to the other books (leave-one-out). The optimum is flat: very different weights, and
those between them, refuse nearly as many questions.
"""

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from benchmarks.book_index import Index, find_candidates, settings_for, temporary_index
from benchmarks.separation import auroc, logistic, maximize_stopped, threshold
from benchmarks.tables import format_estimate, print_table
from lib.evaluation import Estimate, Numbers, estimate
from lib.golden import BadQuestions, read_questions
from lib.ranking import rank
from lib.refusal import AnswerabilitySignals, answerability_margin, answerability_signals, log_terms
from lib.search import CANDIDATES
from lib.settings import MULTILINGUAL, Settings, SettingsError

KEPT: Final = 0.95
"""Share of the answerable questions of each file that the threshold must keep."""
FEATURES: Final[Mapping[str, Callable[[AnswerabilitySignals], float]]] = {
    "nearest": lambda each: each.nearest or 0.0,
    "lead": lambda each: each.lead,
    "coverage": lambda each: each.coverage,
    "known": lambda each: each.known,
    "terms": log_terms,
}
BY_CASE: Final = {
    "own": tuple(FEATURES),
    "foreign": ("nearest", "lead"),
    "words": ("coverage", "known", "terms"),
}
"""Features per case: vectors in the book's language, vectors in another language, words alone."""


class QuestionResult(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its search results; one line of `--details`."""

    book: str
    file: str
    model: str
    question: str
    answerable: bool
    score: float
    """Score of the first passage."""
    evidence: AnswerabilitySignals
    words: AnswerabilitySignals
    """Signals without vectors."""
    shift: float = 0.0
    """`Manifest.refusal_shift`."""

    @property
    def kind(self) -> tuple[str, bool]:
        return self.file, self.answerable


class OtherQuestion(msgspec.Struct):
    question: str


async def ask(
    index: Index, settings: Settings, file: str, text: str, answerable: bool
) -> QuestionResult:
    found = {}
    for meaning in (True, False):
        looked = await find_candidates(index, text, CANDIDATES, meaning=meaning)
        arguments = (
            looked.query,
            looked.asked,
            looked.found,
            index.manifest,
            index.embedder.similarity if meaning else None,
        )
        found[meaning] = answerability_signals(*arguments), rank(*arguments)
    (with_vectors, ranked), (words, _) = found[True], found[False]
    return QuestionResult(
        book=str(settings.book_content_path),
        file=file,
        model=index.manifest.embedding_model,
        question=text,
        answerable=answerable,
        score=ranked[0].score if ranked else 0.0,
        evidence=with_vectors,
        words=words,
        shift=index.manifest.refusal_shift,
    )


async def measure(
    settings: Settings, questions: Iterable[tuple[str, str, bool]]
) -> list[QuestionResult]:
    """Ask all questions, given as file, text, and whether the book answers them."""
    async with temporary_index(settings) as index:
        return [await ask(index, settings, *each) for each in questions]


def read_all(
    settings: Settings, files: Iterable[Path], elsewhere: Iterable[Path]
) -> list[tuple[str, str, bool]]:
    """Read the questions for `measure`. Raises `BadQuestions`."""
    read = [
        (path.stem, each.text, bool(each.answer))
        for path in files
        for each in read_questions([path], settings.book_content_path, settings.limits)
        if not each.history
    ]
    for path in elsewhere:
        try:
            lines = filter(None, path.read_bytes().splitlines())
            others = [msgspec.json.decode(line, type=OtherQuestion) for line in lines]
        except (OSError, msgspec.MsgspecError) as error:
            raise BadQuestions(f"{path}: {error}") from None
        read += [(f"{path.stem} (elsewhere)", each.question, False) for each in others]
    return read


def print_report(asked: Sequence[QuestionResult]) -> None:
    rows = {}
    for file in dict.fromkeys(each.file for each in asked):
        own = [each for each in asked if each.file == file]
        yes = [each for each in own if each.answerable]
        no = [each for each in own if not each.answerable]
        versus = (
            yes or [each for each in asked if each.answerable],
            no or [each for each in asked if not each.answerable],
        )
        rows[f"{file} ({len(yes)}, {len(no)})"] = [
            *rates(yes, no, versus, lambda each: answerability_margin(each.evidence, each.shift)),
            separation(versus, lambda each: each.score),
            *rates(yes, no, versus, lambda each: answerability_margin(each.words, each.shift)),
        ]
    columns = ("kept", "stopped", "AUROC", "of the score", "kept, words", "stopped, words", "AUROC")
    print_table("file (answerable, not)", columns, rows)


def rates(
    yes: Sequence[QuestionResult],
    no: Sequence[QuestionResult],
    versus: tuple[Sequence[QuestionResult], Sequence[QuestionResult]],
    by: Callable[[QuestionResult], float],
) -> list[str]:
    return [
        format_estimate(estimate([float(by(each) >= 0) for each in yes])),
        format_estimate(estimate([float(by(each) < 0) for each in no])),
        separation(versus, by),
    ]


def separation(
    versus: tuple[Sequence[QuestionResult], Sequence[QuestionResult]],
    by: Callable[[QuestionResult], float],
) -> str:
    found: Estimate | None = auroc(*([by(each) for each in of] for of in versus))
    return format_estimate(found)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A weighted sum of some of `FEATURES`."""

    names: Sequence[str]
    weights: Numbers
    threshold: float

    def passes(self, of: AnswerabilitySignals) -> bool:
        return float(inputs([of], self.names)[0] @ self.weights) >= self.threshold


def inputs(of: Iterable[AnswerabilitySignals], names: Sequence[str]) -> Numbers:
    """`(n, len(names))`"""
    return np.array([[FEATURES[name](each) for name in names] for each in of])


def evidence_of(each: QuestionResult, case: str) -> AnswerabilitySignals:
    return each.words if case == "words" else each.evidence


def of_case(asked: Iterable[QuestionResult], case: str) -> list[QuestionResult]:
    return [each for each in asked if each.evidence.foreign is (case == "foreign")]


def fit(asked: Sequence[QuestionResult], case: str) -> Fitted | None:
    """Fit weights and threshold for a case. None without questions of both classes."""
    names = BY_CASE[case]
    kinds = Counter(each.kind for each in asked)
    sets = Counter(answerable for _, answerable in kinds)
    if len(sets) < 2:
        return None
    table = inputs([evidence_of(each, case) for each in asked], names)
    truth = np.array([float(each.answerable) for each in asked])
    shares = np.array([1 / kinds[each.kind] / sets[each.answerable] for each in asked])
    likeliest, _ = logistic(table, truth, shares / shares.sum())
    # No negative weights: a larger feature never counts against a question.
    varies = np.ptp(table, axis=0) > 0
    start = np.where(varies, np.maximum(likeliest, np.abs(likeliest).mean() / 10), 0)
    files: dict[tuple[str, str], list[Numbers]] = {}
    for each, row in zip(asked, table, strict=True):
        if each.answerable:
            files.setdefault((each.file, each.model), []).append(row)
    answered = [np.array(rows) for rows in files.values()]
    found = maximize_stopped(start, answered, table[truth == 0], KEPT)
    return Fitted(names, found, threshold(found, answered, KEPT))


def print_fit(asked: Sequence[QuestionResult]) -> None:
    for case in BY_CASE:
        some = of_case(asked, case)
        whole = fit(some, case)
        if whole is None:
            print(f"\n{case}: needs answerable and unanswerable questions")
            continue
        named = zip(whole.names, whole.weights, strict=True)
        print(
            f"\n{case}: "
            + ", ".join(f"{name}={weight:.2f}" for name, weight in named)
            + f", threshold={whole.threshold:.2f}"
        )
        passed: dict[tuple[str, bool], list[float]] = {}
        for book in dict.fromkeys(each.book for each in some):
            rest = fit([each for each in some if each.book != book], case)
            for each in some:
                if each.book == book and rest is not None:
                    passes = rest.passes(evidence_of(each, case))
                    passed.setdefault(each.kind, []).append(float(passes is each.answerable))
        print_table(
            f"{case}, weights of the other books",
            ("kept", "stopped"),
            {
                file: [
                    format_estimate(estimate(passed.get((file, kind), [])))
                    for kind in (True, False)
                ]
                for file in dict.fromkeys(file for file, _ in passed)
            },
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="book")
    parser.add_argument("questions", type=Path, nargs="*", help="files with golden questions")
    parser.add_argument(
        "--elsewhere", type=Path, nargs="+", default=[], help="questions about other subjects"
    )
    parser.add_argument("--model", default=MULTILINGUAL, help="local embedding model")
    parser.add_argument("--details", type=Path, help="write the evidence per question (JSON lines)")
    parser.add_argument("--fit", type=Path, nargs="+", help="fit the weights to --details files")
    options = parser.parse_args(arguments)
    if options.fit:
        lines = itertools.chain.from_iterable(
            each.read_bytes().splitlines() for each in options.fit
        )
        print_fit([msgspec.json.decode(line, type=QuestionResult) for line in lines])
        return
    if options.folder is None or not options.folder.is_dir():
        parser.error("FOLDER must be an existing folder, or use --fit")
    try:
        settings = settings_for(options.folder, options.model)
        questions = read_all(settings, options.questions, options.elsewhere)
    except (SettingsError, BadQuestions) as error:
        sys.exit(str(error))
    asked = asyncio.run(measure(settings, questions))
    print_report(asked)
    if options.details:
        options.details.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in asked))


if __name__ == "__main__":
    main()
