"""Measure how well `lib.attribution` recognises supported claims, with generated claims.

    python -m benchmarks.support FOLDER QUESTIONS.jsonl [MORE.jsonl ...] [--details FILE]

FOLDER contains the book. `lib.golden` documents the format of the questions. The cited passages are
the chunks around the known answer of a question. Supported claims are made from them:

    verbatim   a sentence of the passages
    shortened  without brackets, a short part before the first comma, or the part after the last
    reordered  with the parts around a comma or "because" swapped
    merged     joined with the next sentence
    reworded   with synonyms for small words and common verbs, contractions, digits
    answered   the question, with its `answer` in place of the question mark
    written    the sentences of an `answer` longer than a line, in an author's own words

Unsupported claims:

    other file   a sentence of another file
    same file    a sentence from elsewhere in the same file
    number       a sentence of the passages with a changed number
    name         with a name or identifier replaced by another one of the book
    negation     with a "not" added or removed
    answer       the question with the `answer` of another question

A row is the share of claims of a kind that were judged correctly, with the 95 % interval. "Unknown"
counts as incorrect. Balanced accuracy is the mean of the shares of supported and of unsupported
claims, each weighted by the number of claims per kind.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.support_cases import Book, Case, make_cases
from lib.attribution import SentenceCheck, check_answer
from lib.evaluation import estimate_share
from lib.golden import BadQuestions, read_questions
from lib.ranking import Passage

SUPPORTED: Final = (
    "verbatim", "shortened", "reordered", "merged", "reworded", "answered", "written",
)  # fmt: skip
UNSUPPORTED: Final = ("other file", "same file", "number", "name", "negation", "answer")
CLAIMS_PER_ANSWER: Final = 8
"""For the timing."""


class QuestionLine(msgspec.Struct):
    answer: str | int | float | None = None


def markers(cited: Sequence[Passage]) -> str:
    return "".join(f"[{number}]" for number in range(1, len(cited) + 1))


def numbered(cited: Sequence[Passage]) -> dict[int, Passage]:
    return dict(enumerate(cited, start=1))


def share_correct(case: Case, checks: Sequence[SentenceCheck]) -> float:
    wanted = case.kind in SUPPORTED
    return statistics.fmean([check.supported is wanted for check in checks] or [0.0])


def print_report(cases: Sequence[Case], checks: Sequence[Sequence[SentenceCheck]]) -> None:
    by_kind: dict[str, list[float]] = {}
    for case, found in zip(cases, checks, strict=True):
        by_kind.setdefault(case.kind, []).append(share_correct(case, found))
    print(f"{'claims':16} {'n':>5}  correct")
    for title, kinds in (("supported", SUPPORTED), ("unsupported", UNSUPPORTED)):
        rows = {kind: by_kind[kind] for kind in kinds if kind in by_kind}
        rows[f"{title}, all"] = [value for values in rows.values() for value in values]
        for kind, values in rows.items():
            found_share = estimate_share(values)
            if found_share is not None:
                print(
                    f"{kind:16} {len(values):5}  {found_share.value:.3f} "
                    f"[{found_share.low:.2f} {found_share.high:.2f}]"
                )
    sides = [
        [value for kind in kinds for value in by_kind.get(kind, [])]
        for kinds in (SUPPORTED, UNSUPPORTED)
    ]
    if all(sides):
        balanced = statistics.fmean(map(statistics.fmean, sides))
        print(f"balanced accuracy {balanced:.3f}")
    print(f"{milliseconds(cases):.1f} ms per answer of {CLAIMS_PER_ANSWER} claims")


def milliseconds(cases: Sequence[Case]) -> float:
    """Median time to check an answer with one cited passage per sentence."""
    took: list[float] = []
    for start in range(0, len(cases), CLAIMS_PER_ANSWER):
        part = cases[start : start + CLAIMS_PER_ANSWER]
        answer = " ".join(f"{case.claim} [{n}]" for n, case in enumerate(part, start=1))
        cited = {n: case.cited[0] for n, case in enumerate(part, start=1)}
        began = time.perf_counter()
        check_answer(answer, cited)
        took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="book")
    parser.add_argument("questions", type=Path, nargs="+", help="files with golden questions")
    parser.add_argument("--details", type=Path, help="write the checks per claim (JSON lines)")
    options = parser.parse_args(arguments)
    try:
        questions = read_questions(options.questions, options.folder)
    except BadQuestions as error:
        sys.exit(str(error))
    answers = [
        str(msgspec.json.decode(line, type=QuestionLine).answer or "")
        for path in options.questions
        for line in path.read_text(encoding="utf-8-sig").split("\n")
        if line.strip()
    ]
    cases = list(make_cases(Book(options.folder), questions, answers))
    if not cases:
        sys.exit("no question has a known answer in the book")
    checks = [check_answer(f"{c.claim} {markers(c.cited)}", numbered(c.cited)) for c in cases]
    print_report(cases, checks)
    if options.details:
        rows = [
            {"kind": case.kind, "claim": case.claim, "checks": found}
            for case, found in zip(cases, checks, strict=True)
        ]
        options.details.write_bytes(msgspec.json.Encoder().encode_lines(rows))


if __name__ == "__main__":
    main()
