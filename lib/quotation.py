"""Extracts as Markdown: sentences with their markers, paragraphs and lists as the book has them."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from lib.citations import Citation, Citations
from lib.extractive import Extract
from lib.sentences import Sentence

# What would be read as markup. An underscore inside a word is none; some marks count only at the
# beginning of a line.
_MARKUP: Final = re.compile(r"[\\`*<\[\]]|(?<![^\W_])_|_(?![^\W_])|^[#>+~-]|(?<=^\d)[.)](?=\s)")


def quoted(extracts: Sequence[Extract], citations: Citations) -> Iterator[str | Citation]:
    """The pieces of an answer in order, each citation after its first marker."""
    for extract in extracts:
        before: Sentence | None = None
        for sentence in extract.sentences:
            if before is not None:
                yield gap(before, sentence)
            if sentence.text:
                lead = "- " if sentence.listed and not same_block(before, sentence) else ""
                marker, citation = citations.cite(extract.number, sentence.text)
                yield f"{lead}{plain(sentence.text)} {marker}"
                if citation:
                    yield citation
            if sentence.code:
                yield f"\n\n{sentence.code}" if sentence.text else sentence.code
            if not sentence.text:
                # Code that nothing announces: its marker stands below it.
                marker, citation = citations.cite(extract.number)
                yield f"\n\n{marker}"
                if citation:
                    yield citation
            before = sentence
        yield "\n\n"


def gap(before: Sentence, sentence: Sentence) -> str:
    if before.code or (sentence.code and not sentence.text):
        return "\n\n"
    if same_block(before, sentence):
        return " "
    return "\n" if before.listed and sentence.listed else "\n\n"


def same_block(before: Sentence | None, sentence: Sentence) -> bool:
    return before is not None and not before.code and before.block == sentence.block


def plain(text: str) -> str:
    """Markdown that reads as `text` does."""
    return _MARKUP.sub(r"\\\g<0>", text)
