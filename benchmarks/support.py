"""How well `lib.support` tells supported claims from others, measured with made claims.

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
import functools
import itertools
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lib.chunking import chunk_page
from lib.documents import DocumentLimits, read_document
from lib.golden import BadQuestions, Place, Question, read_questions
from lib.intervals import share
from lib.markdown import parse_page
from lib.passages import Passage
from lib.sentences import split_passage, split_text
from lib.support import SentenceCheck, check_answer
from lib.terms import terms
from lib.tokens import estimate_tokens

SUPPORTED: Final = (
    "verbatim", "shortened", "reordered", "merged", "reworded", "answered", "written",
)  # fmt: skip
UNSUPPORTED: Final = ("other file", "same file", "number", "name", "negation", "answer")
SEED: Final = 7
CHUNK_TOKENS: Final = 270
FEWEST_WORDS: Final = 6
"""Of a sentence that a claim is made of."""
LONG_ANSWER: Final = 12
"""Words from which an answer is a text of its own."""
MOST_CITED: Final = 3
RIDDLES: Final = ("paraphrase",)
"""Categories of questions that avoid the book's words: no answer would repeat them."""
IN_AN_ANSWER: Final = 8
ALIKE: Final = 0.7
"""Share of a sentence's terms from which the passages say it, too."""


class Answered(msgspec.Struct):
    answer: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    claim: str
    cited: tuple[Passage, ...]


class Book:
    """The chunks of the files that the questions name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, list[Passage]] = {}

    def passages(self, file: str) -> list[Passage]:
        if file not in self._read:
            document = read_document(self._root, file, DocumentLimits())
            page = parse_page(document.text, "mdx" if file.endswith(".mdx") else "commonmark")
            self._read[file] = [
                Passage(
                    chunk_id=chunk.chunk_id,
                    text=chunk.text,
                    file_path=file,
                    chapter=chunk.chapter,
                    section=chunk.section,
                    heading=chunk.heading,
                    url=None,
                    start_char=chunk.start,
                    end_char=chunk.end,
                    kind=chunk.kind,
                    language=chunk.language,
                    score=1.0,
                )
                for chunk in chunk_page(
                    document, page, budget=CHUNK_TOKENS, count_tokens=estimate_tokens
                )
            ]
        return self._read[file]

    def around(self, place: Place) -> list[Passage]:
        return [
            each
            for each in self.passages(place.file)
            if each.start_char < place.end and each.end_char > place.start
        ]


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
        options.details.write_bytes(
            b"".join(
                msgspec.json.encode({"kind": case.kind, "claim": case.claim, "checks": found})
                + b"\n"
                for case, found in zip(cases, checks, strict=True)
            )
        )


# Claims


def make_cases(book: Book, questions: Sequence[Question], answers: Sequence[str]) -> Iterator[Case]:
    random_ = random.Random(SEED)
    files = sorted({place.file for each in questions for gold in each.answer for place in gold})
    names = sorted(
        {name for file in files for p in book.passages(file) for name in _NAME.findall(p.text)}
    )
    for question, answer in zip(questions, answers, strict=True):
        if not question.answer or question.history:
            continue
        place = question.answer[0][0]
        cited = tuple(book.around(place)[:MOST_CITED])
        everything = tuple(each for gold in question.answer for each in book.around(gold[0]))
        own = [text for passage in cited for text in prose(passage)]
        if place.whole or not own:
            continue
        for kind, make in CHANGES.items():
            changed = [new for text in own if (new := make(text, random_)) and new != text]
            if changed:
                yield Case(kind, random_.choice(changed), cited)
        yield Case("verbatim", random_.choice(own), cited)
        pairs = [
            f"{one.rstrip('.')}, and {other[0].lower()}{other[1:]}"
            for one, other in itertools.pairwise(own)
            if one.endswith(".")
        ]
        if pairs:
            yield Case("merged", random_.choice(pairs), cited)
        said = frozenset(terms(" ".join(f"{p.heading} {p.text}" for p in cited)))
        renamed = [new for text in own if (new := rename(text, names, said, random_))]
        if renamed:
            yield Case("name", random_.choice(renamed), cited)
        yield from elsewhere(book, files, cited, said, random_)
        yield from answered(question, answer, answers, said, cited, everything, random_)


@functools.cache
def prose(passage: Passage) -> list[str]:
    texts = (sentence.text for sentence in split_passage(passage))
    return [text for text in texts if len(text.split()) >= FEWEST_WORDS and not text.endswith(":")]


def elsewhere(
    book: Book,
    files: Sequence[str],
    cited: Sequence[Passage],
    said: frozenset[str],
    random_: random.Random,
) -> Iterator[Case]:
    here = cited[0].file_path
    others = [file for file in files if file != here]
    for kind, chosen in (
        ("same file", [here]),
        ("other file", random_.sample(others, min(3, len(others)))),
    ):
        texts = [
            text
            for file in chosen
            for passage in book.passages(file)
            if passage not in cited
            for text in prose(passage)
            if not says(said, text)
        ]
        if texts:
            yield Case(kind, random_.choice(texts), tuple(cited))


def says(said: frozenset[str], text: str) -> bool:
    """Whether a text's words stand in the passages, whoever it is taken from."""
    found = frozenset(terms(text))
    return not found or len(found & said) > ALIKE * len(found)


def answered(
    question: Question,
    answer: str,
    answers: Sequence[str],
    said: frozenset[str],
    cited: tuple[Passage, ...],
    everything: tuple[Passage, ...],
    random_: random.Random,
) -> Iterator[Case]:
    if not answer or not question.text.isascii():
        return
    if len(answer.split()) > LONG_ANSWER:
        prose_alone = re.sub(r"```.*?(?:```|\Z)", "", answer, flags=re.DOTALL)
        for text in split_text(prose_alone):
            if len(text.split()) >= FEWEST_WORDS and "<" not in text:
                yield Case("written", text, everything)
        return
    if question.category in RIDDLES or answer.split()[0].strip(",.:").casefold() in ("yes", "no"):
        return
    asked = _ASKING.sub("", question.text).rstrip("?. ")
    yield Case("answered", f"{asked}: {answer.rstrip('.')}.", everything)
    wrong = [
        other
        for other in answers
        if other and len(other.split()) <= LONG_ANSWER and not frozenset(terms(other)) & said
    ]
    if wrong:
        yield Case("answer", f"{asked}: {random_.choice(wrong).rstrip('.')}.", cited)


_ASKING: Final = re.compile(
    r"^(?:(?:what|which|who|whom|whose|where|when|why|how)(?: (?:many|much|long|often|do|does|did"
    r"|is|are|was|were|can|should|would|to|I|you))*)\b\s*",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}\b|\b[a-z]+_[a-z_]+\b|\b[a-z]+[A-Z]\w+\b")
_NUMBER: Final = re.compile(r"(?<![\w.,:-])\d+(?:[.,]\d+)*(?![\w:-])")
_AUXILIARY: Final = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|must|may|has|have|does|do|did)\b(?! not\b|n't)"
)
_NOT: Final = re.compile(r"\b(?:not|never) |(?<=[a-z])n['’]t\b")
_SMALL: Final = {
    word: other
    for pair in """also/additionally use/employ uses/employs used/employed using/employing so/thus
    but/however because/since such_as/like for_example/e.g. big/large begin/start
    begins/starts show/display shows/displays need/require needs/requires
    help/assist helps/assists get/obtain gets/obtains make/create makes/creates
    made/created many/numerous about/approximately can/may want/wish it's/it_is
    don’t/do_not don't/do_not doesn't/does_not doesn’t/does_not we'll/we_will
    we’ll/we_will you'll/you_will you’ll/you_will can't/cannot can’t/cannot
    isn't/is_not isn’t/is_not two/2 three/3 four/4 five/5 six/6 seven/7 eight/8
    nine/9 ten/10 we/you our/the your/the several/some allows/lets allow/let
    ensure/guarantee ensures/guarantees provides/offers provide/offer""".split()
    for word, other in [pair.replace("_", " ").split("/")]
}
_SMALL_WORDS: Final = re.compile(r"\b(" + "|".join(map(re.escape, _SMALL)) + r")\b")


def shorten(text: str, _: random.Random) -> str | None:
    text = re.sub(r"\s*\([^()]*\)", "", text)
    first, comma, rest = text.partition(", ")
    if comma and len(first.split()) <= 4 and len(rest.split()) >= FEWEST_WORDS:
        return rest[0].upper() + rest[1:]
    kept, comma, _rest = text.rpartition(", ")
    return f"{kept}." if comma and len(kept.split()) >= FEWEST_WORDS else text


def reorder(text: str, _: random.Random) -> str | None:
    for between, joined in ((" because ", "Because {1}, {0}."), (", ", "{1}, {0}.")):
        one, found, other = text.rstrip(".").partition(between)
        if found and min(len(one.split()), len(other.split())) >= 3:
            return joined.format(one[0].lower() + one[1:], other)
    return None


def reword(text: str, _: random.Random) -> str | None:
    return _SMALL_WORDS.sub(lambda found: _SMALL[found[0]], text)


def renumber(text: str, random_: random.Random) -> str | None:
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    chosen = random_.choice(found)
    digits = "".join(
        str((int(digit) + random_.randint(1, 8)) % 10) if digit.isdigit() else digit
        for digit in chosen[0]
    )
    return text[: chosen.start()] + digits + text[chosen.end() :]


def negate(text: str, random_: random.Random) -> str | None:
    if _NOT.search(text):
        return _NOT.sub("", text, count=1).replace("ca ", "can ")
    return _AUXILIARY.sub(r"\1 not", text, count=1)


CHANGES: Final[Mapping[str, Callable[[str, random.Random], str | None]]] = {
    "shortened": shorten,
    "reordered": reorder,
    "reworded": reword,
    "number": renumber,
    "negation": negate,
}


def rename(
    text: str, names: Sequence[str], said: frozenset[str], random_: random.Random
) -> str | None:
    found = list(_NAME.finditer(text))
    new = [
        name for name in random_.sample(names, min(50, len(names))) if not said & set(terms(name))
    ]
    if not found or not new:
        return None
    chosen = random_.choice(found)
    alike = [name for name in new if name[0].isupper() == chosen[0][0].isupper()] or new
    return text[: chosen.start()] + alike[0] + text[chosen.end() :]


# Judging


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
            found_share = share(values)
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


if __name__ == "__main__":
    main()
