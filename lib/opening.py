"""The opening of a page: its first paragraph, as plain text that describes it in a list."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from lib.sentences import STOPS, split_markdown

_MAX_READ: Final = 4_000
"""Characters of a page that are read."""


def opening(markdown: str, most: int = 300) -> str:
    """Return the first paragraph in at most `most` characters; empty without one.

    A paragraph of whole sentences comes before one without, such as a row of badges. A longer one
    is cut after a sentence, else after a word.
    """
    found = [each for each in split_markdown(markdown[:_MAX_READ]) if each.text and not each.listed]
    paragraphs = [
        [each.text for each in block] for _, block in groupby(found, lambda each: each.block)
    ]
    first = next((each for each in paragraphs if each[-1].endswith(tuple(STOPS))), None)
    return _cut(first or next(iter(paragraphs), []), most)


def _cut(sentences: Sequence[str], most: int) -> str:
    whole = ""
    for number in range(1, len(sentences) + 1):
        text = " ".join(sentences[:number])
        if len(text) > most:
            break
        whole = text
    if whole or not sentences:
        return whole
    words = sentences[0][:most].rpartition(" ")[0] or sentences[0][: most - 1]
    return f"{words.rstrip(' ,;:')}…"
