"""An answer without a language model: the sentences of the passages that cover the question best.

The words are the book's own. A sentence's weight is the share of the question's terms that it
holds, each weighted by how rare it is among the retrieved sentences (inverse document frequency),
plus a little for the place its passage has in the ranking. Code stays whole: the block that
follows a chosen sentence comes along.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour
from lib.passages import Passage
from lib.terms import terms

MAX_SENTENCES = 5
MAX_PASSAGES = 3
MAX_CODE_CHARACTERS = 1_500
RANK_WEIGHT = 0.3
KEPT_SHARE = 0.55
"""A sentence with less than this share of the best one's weight is left out."""

# A full stop ends a sentence before white space and something that can begin one; the full-width
# and Indic and Arabic marks need no space.
_SENTENCE_END = re.compile(
    r"(?<=[.!?…])([\"'”’)\]]*)\s+(?=[\"'“‘(\[]*[^\Wa-z_])|(?<=[。！？।؟])\s*"
)

_FENCE = re.compile(r"^\s*(?:`{3}|~{3})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of passage `number` (from 1), with the code block that follows it, if any."""

    number: int
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Extract:
    """What is quoted from one passage, in reading order."""

    number: int
    sentences: tuple[Sentence, ...]


def extract(question: str, passages: Sequence[Passage]) -> list[Extract]:
    """The sentences of `passages` that answer best, those of the best passage first.

    Empty only where no passage has a sentence.
    """
    sentences = [
        sentence
        for number, passage in enumerate(passages, start=1)
        for sentence in split_passage(number, passage)
    ]
    if not sentences:
        return []
    weigh = weights(question, sentences)
    ranked = sorted(range(len(sentences)), key=lambda i: (-weigh[i], i))
    enough = KEPT_SHARE * weigh[ranked[0]]
    chosen: list[int] = []
    numbers: list[int] = []
    for index in ranked:
        number = sentences[index].number
        if weigh[index] < enough or len(chosen) == MAX_SENTENCES:
            break
        if any(sentences[index].text == sentences[other].text for other in chosen):
            continue
        if number not in numbers:
            if len(numbers) == MAX_PASSAGES:
                continue
            numbers.append(number)
        chosen.append(index)
    return [
        Extract(
            number, tuple(sentences[i] for i in sorted(chosen) if sentences[i].number == number)
        )
        for number in numbers
    ]


def weights(question: str, sentences: Sequence[Sentence]) -> list[float]:
    """One weight for each sentence, 0 to 1 + `RANK_WEIGHT`."""
    held = [Counter(terms(f"{sentence.text} {sentence.code}")) for sentence in sentences]
    rarity = inverse_frequency(held)
    asked = set(terms(question))
    total = sum(rarity.get(term, 0.0) for term in asked) or 1.0
    return [
        sum(rarity[term] for term in asked if term in bag) / total + RANK_WEIGHT / sentence.number
        for sentence, bag in zip(sentences, held, strict=True)
    ]


def inverse_frequency(bags: Sequence[Counter[str]]) -> Mapping[str, float]:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), never negative."""
    count = Counter(term for bag in bags for term in bag)
    n = len(bags)
    return {term: math.log(1 + (n - df + 0.5) / (df + 0.5)) for term, df in count.items()}


def split_passage(number: int, passage: Passage) -> list[Sentence]:
    """The sentences a reader sees in `passage`, without its markup, headings left out."""
    if passage.kind == "code" and not _FENCE.search(passage.text):
        # A piece out of the middle of a long block: its fences stand in other chunks.
        code = f"```{passage.language}\n{passage.text.strip()}\n```"
        return [Sentence(number, passage.heading or passage.chapter, code)]
    flavour: Flavour = "mdx" if passage.file_path.endswith(".mdx") else "commonmark"
    sentences: list[Sentence] = []
    for block in leaves(parse_page(passage.text, flavour).blocks):
        if block.kind == "code":
            runs = re.findall("`{3,}", block.text)
            fence = "`" * max([3, *(len(run) + 1 for run in runs)])
            code = f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"
            if sentences and not sentences[-1].code and len(code) <= MAX_CODE_CHARACTERS:
                sentences[-1] = Sentence(number, sentences[-1].text, code)
            continue
        sentences.extend(
            Sentence(number, text)
            for line in [" ".join(block.text.split())]
            for text in _SENTENCE_END.sub(r"\1\n", line).split("\n")
            if len(terms(text)) > 1
        )
    return sentences


def leaves(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks that hold text of their own, in reading order."""
    for block in blocks:
        if block.kind in ("paragraph", "row", "code", "html", "item", "quote") and block.text:
            yield block
        yield from leaves(block.children)
