"""How well `lib.attribution` tells supported claims from others, measured with made claims.

    python -m benchmarks.support FOLDER QUESTIONS.jsonl [MORE.jsonl ...] [--details FILE]

FOLDER holds the book, the questions have the form that `lib.golden` reads. For each question whose
answer is known, the chunks around it are the cited passages, and claims are made from them:

    verbatim   a sentence of theirs
    shortened  without what stands in brackets, before a first or behind a last comma
    reordered  with the parts around a comma or a "because" changed over
    merged     with the sentence that follows, in one
    reworded   with other small words, contractions, digits, and common verbs
    answered   the question, with its `answer` in place of the question mark
    written    the sentences of an `answer` of more than a line: somebody's own words

and from elsewhere, which the passages do not support:

    other file   a sentence of another file
    same file    a sentence of the same file that stands elsewhere
    number       a sentence of theirs, with a number changed
    name         with a name or an identifier changed for another one of the book
    negation     with a "not" put in or taken out
    answer       the question, with the `answer` of another one

A row says which share of the claims of a kind was judged rightly, "cannot tell" being wrong, with
the ends of the 95 % interval. Balanced accuracy is the mean of the shares of supported and of
unsupported claims; a kind counts as much as it has claims.
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
IN_AN_ANSWER: Final = 8


class Answered(msgspec.Struct):
    answer: str | int | float | None = None


def markers(cited: Sequence[Passage]) -> str:
    return "".join(f"[{number}]" for number in range(1, len(cited) + 1))


def numbered(cited: Sequence[Passage]) -> dict[int, Passage]:
    return dict(enumerate(cited, start=1))


def right(case: Case, checks: Sequence[SentenceCheck]) -> float:
    wanted = case.kind in SUPPORTED
    return statistics.fmean([check.supported is wanted for check in checks] or [0.0])


def print_report(cases: Sequence[Case], checks: Sequence[Sequence[SentenceCheck]]) -> None:
    by_kind: dict[str, list[float]] = {}
    for case, found in zip(cases, checks, strict=True):
        by_kind.setdefault(case.kind, []).append(right(case, found))
    print(f"{'claims':12} {'n':>5}  judged rightly")
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
    print(f"{milliseconds(cases):.1f} ms an answer of {IN_AN_ANSWER} claims")


def milliseconds(cases: Sequence[Case]) -> float:
    """The median over answers that cite a passage of their own in each sentence."""
    took: list[float] = []
    for start in range(0, len(cases), IN_AN_ANSWER):
        part = cases[start : start + IN_AN_ANSWER]
        answer = " ".join(f"{case.claim} [{n}]" for n, case in enumerate(part, start=1))
        cited = {n: case.cited[0] for n, case in enumerate(part, start=1)}
        began = time.perf_counter()
        check_answer(answer, cited)
        took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--details", type=Path)
    options = parser.parse_args(arguments)
    try:
        questions = read_questions(options.questions, options.folder)
    except BadQuestions as error:
        sys.exit(str(error))
    answers = [
        str(msgspec.json.decode(line, type=Answered).answer or "")
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
