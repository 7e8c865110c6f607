"""The opening of a page: its first paragraph, as plain text that describes it in a list."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from lib.sentences import STOPS, split_markdown

_MAX_READ: Final = 4_000
"""Characters of a page that are read."""


def opening(markdown: str, most: int = 300) -> str:
    """Return the first paragraph in at most `most` characters; empty without one.

    What introduces a list or code is left out, and so is a paragraph without a whole sentence, such
    as a row of badges, unless there is no other. A longer one is cut after a sentence, else after a
    word.
    """
    found = [each for each in split_markdown(markdown[:_MAX_READ]) if each.text and not each.listed]
    paragraphs = [
        [each.text for each in block] for _, block in groupby(found, lambda each: each.block)
    ]
    whole = [kept for each in paragraphs if (kept := list(filter(_is_whole, each)))]
    return _cut(next(iter(whole or paragraphs), []), most)


def _is_whole(sentence: str) -> bool:
    return sentence.rstrip("\"'”’»)]").endswith(tuple(STOPS))


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
