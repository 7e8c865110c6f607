"""What a reader typed: words, "quoted phrases" and restrictions such as `file:intro`.

`file:`, `chapter:`, `kind:`, `version:` and `locale:` (also `path:`, `lang:`) restrict to passages
with that value; a value with spaces goes in quotes. A word counts as a restriction only with
something else beside it, since a question may be about `version:` itself.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_FIELDS: Final = {
    "file": "paths",
    "path": "paths",
    "chapter": "chapter",
    "kind": "kind",
    "version": "version",
    "locale": "locale",
    "lang": "locale",
}
_RESTRICTION: Final = re.compile(
    rf"(?<!\S)(?P<name>{'|'.join(_FIELDS)}):(?:\"(?P<quoted>[^\"]+)\"|(?P<bare>[^\s\":]+))(?!\S)",
    re.IGNORECASE,
)
_PHRASE: Final = re.compile(r"\"([^\"]{2,200})\"|“([^”]{2,200})”|«([^»]{2,200})»")


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    text: str
    """Without the restrictions; what is embedded."""
    only: Mapping[str, str]
    """Values of `lib.store.FILTERS`."""
    phrases: tuple[str, ...]
    """Without their quotation marks, in lower case, white space evened out."""


def parse_query(text: str) -> ParsedQuery:
    """Read the restrictions and phrases in `text`; without any it comes back as it is."""
    only: dict[str, str] = {}
    for found in _RESTRICTION.finditer(text):
        field, value = _FIELDS[found["name"].lower()], found["quoted"] or found["bare"]
        only[field] = value.lower().strip("/") if field == "paths" else value
    rest = " ".join(_RESTRICTION.sub(" ", text).split()) if only else text
    if not re.search(r"\w", rest):
        rest, only = text, {}
    phrases = (even(next(filter(None, found.groups()))) for found in _PHRASE.finditer(rest))
    return ParsedQuery(rest, only, tuple(phrase for phrase in phrases if phrase))


def even(text: str) -> str:
    """In lower case, with single spaces: two texts that read the same are equal."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
