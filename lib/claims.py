"""The claims of an answer: its sentences with a marker, as the reader sees them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from lib.sentences import split_markdown


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer, and the passages that it cites."""

    text: str
    markers: list[int]


_CODE_OR_MARKER: Final = re.compile(
    r"(?P<code>^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)|\Z)"
    r"|(?P<ticks>`+)[^`].*?(?P=ticks))"
    r"|[ \t]*\[(?P<number>\d{1,3})\](?:\([^()\s]*\))?",
    re.MULTILINE | re.DOTALL,
)
_FIRST: Final = 0xE000
"""A marker is read as one character of the private use area, by its number."""
_MARKS: Final = rf"[\u{_FIRST:x}-\u{_FIRST + 999:x}]"
_AFTER_STOP: Final = re.compile(
    rf"((?<![.!?…。！？।؟])[.!?…。！？।؟]+[\"'”’)*_]*)\s*({_MARKS}+)(?=\s|\Z|{_MARKS})"
)
_LOOSE: Final = re.compile(rf"\s*{_MARKS}")


def read_claims(answer: str, known: Collection[int]) -> list[Claim]:
    """The sentences of `answer`, the reader's Markdown, with a marker of a `known` number.

    A marker stands in its sentence or behind its full stop. Brackets inside code are no markers.
    """

    def as_character(found: re.Match[str]) -> str:
        if found["code"] or int(found["number"]) not in known:
            return found[0]
        return chr(_FIRST + int(found["number"]))

    plain = re.sub(_MARKS, "", answer)
    marked = _AFTER_STOP.sub(r"\2\1", _CODE_OR_MARKER.sub(as_character, plain))
    claims: list[Claim] = []
    for sentence in split_markdown(marked):
        numbers = [ord(mark) - _FIRST for mark in re.findall(_MARKS, sentence.text)]
        text = _LOOSE.sub("", sentence.text).strip()
        if numbers and text:
            claims.append(Claim(text, list(dict.fromkeys(numbers))))
    return claims
