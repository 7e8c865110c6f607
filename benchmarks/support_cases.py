"""Generate claims with cited passages from questions whose answers are known."""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.support_changes import CHANGES, FEWEST_WORDS, NAME, rename
from lib.chunking import chunk_page
from lib.documents import DocumentLimits, read_document
from lib.golden import GoldPlace, Question
from lib.markdown import parse_page
from lib.ranking import Passage
from lib.sentences import split_passage, split_text
from lib.terms import terms
from lib.tokens import estimate_tokens

SEED: Final = 7
CHUNK_TOKENS: Final = 270
LONG_ANSWER: Final = 12
"""An answer with more words is treated as a text of several claims."""
MOST_CITED: Final = 3
REWORDED_CATEGORIES: Final = ("paraphrase",)
"""Questions that avoid the book's words, so that no answer would repeat them."""
OVERLAP: Final = 0.7
"""A sentence counts as said by the passages if they contain more than this share of its terms."""

_ASKING: Final = re.compile(
    r"^(?:(?:what|which|who|whom|whose|where|when|why|how)(?: (?:many|much|long|often|do|does|did"
    r"|is|are|was|were|can|should|would|to|I|you))*)\b\s*",
    re.IGNORECASE,
)


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
                    section=chunk.sections[0].section,
                    heading=chunk.sections[0].heading,
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

    def around(self, place: GoldPlace) -> list[Passage]:
        return [
            each
            for each in self.passages(place.file)
            if each.start_char < place.end and each.end_char > place.start
        ]


def make_cases(book: Book, questions: Sequence[Question], answers: Sequence[str]) -> Iterator[Case]:
    draw = Random(SEED)
    files = sorted({place.file for each in questions for gold in each.answer for place in gold})
    names = sorted(
        {name for file in files for p in book.passages(file) for name in NAME.findall(p.text)}
    )
    for question, answer in zip(questions, answers, strict=True):
        if not question.answer or question.history:
            continue
        place = question.answer[0][0]
        cited = tuple(book.around(place)[:MOST_CITED])
        everything = tuple(each for gold in question.answer for each in book.around(gold[0]))
        own = [text for passage in cited for text in long_sentences(passage)]
        if place.whole or not own:
            continue
        for kind, make in CHANGES.items():
            changed = [new for text in own if (new := make(text, draw)) and new != text]
            if changed:
                yield Case(kind, draw.choice(changed), cited)
        yield Case("verbatim", draw.choice(own), cited)
        pairs = [
            f"{one.rstrip('.')}, and {other[0].lower()}{other[1:]}"
            for one, other in itertools.pairwise(own)
            if one.endswith(".")
        ]
        if pairs:
            yield Case("merged", draw.choice(pairs), cited)
        said = frozenset(terms(" ".join(f"{p.heading} {p.text}" for p in cited)))
        renamed = [new for text in own if (new := rename(text, names, said, draw))]
        if renamed:
            yield Case("name", draw.choice(renamed), cited)
        yield from claims_from_elsewhere(book, files, cited, said, draw)
        yield from claims_from_answer(question, answer, answers, said, cited, everything, draw)


@functools.cache
def long_sentences(passage: Passage) -> list[str]:
    texts = (sentence.text for sentence in split_passage(passage))
    return [text for text in texts if len(text.split()) >= FEWEST_WORDS and not text.endswith(":")]


def claims_from_elsewhere(
    book: Book,
    files: Sequence[str],
    cited: Sequence[Passage],
    said: frozenset[str],
    draw: Random,
) -> Iterator[Case]:
    here = cited[0].file_path
    others = [file for file in files if file != here]
    for kind, chosen in (
        ("same file", [here]),
        ("other file", draw.sample(others, min(3, len(others)))),
    ):
        texts = [
            text
            for file in chosen
            for passage in book.passages(file)
            if passage not in cited
            for text in long_sentences(passage)
            if not is_said(said, text)
        ]
        if texts:
            yield Case(kind, draw.choice(texts), tuple(cited))


def is_said(said: frozenset[str], text: str) -> bool:
    """Whether the passages contain most terms of a text."""
    found = frozenset(terms(text))
    return not found or len(found & said) > OVERLAP * len(found)


def claims_from_answer(
    question: Question,
    answer: str,
    answers: Sequence[str],
    said: frozenset[str],
    cited: tuple[Passage, ...],
    everything: tuple[Passage, ...],
    draw: Random,
) -> Iterator[Case]:
    if not answer or not question.text.isascii():
        return
    if len(answer.split()) > LONG_ANSWER:
        prose_alone = re.sub(r"```.*?(?:```|\Z)", "", answer, flags=re.DOTALL)
        for text in split_text(prose_alone):
            if len(text.split()) >= FEWEST_WORDS and "<" not in text:
                yield Case("written", text, everything)
        return
    if question.category in REWORDED_CATEGORIES or answer.split()[0].strip(",.:").casefold() in (
        "yes",
        "no",
    ):
        return
    asked = _ASKING.sub("", question.text).rstrip("?. ")
    yield Case("answered", f"{asked}: {answer.rstrip('.')}.", everything)
    wrong = [
        other
        for other in answers
        if other and len(other.split()) <= LONG_ANSWER and not frozenset(terms(other)) & said
    ]
    if wrong:
        yield Case("answer", f"{asked}: {draw.choice(wrong).rstrip('.')}.", cited)
