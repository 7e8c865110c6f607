"""Which addresses an answer may lead to: those that stand in its passages."""

import html
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]]+", re.IGNORECASE)
_TRAILING: Final = re.compile(r"[?!.,:;*_~'\")}]")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


class Addresses:
    """The web addresses in some texts, and their e-mail addresses."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._known: dict[str, str] | None = None

    def find(self, written: str) -> str | None:
        """The address that `written` stands for, ready to be a Markdown link's target.

        It may differ in escapes and in a slash at its end. None for every other one.
        """
        if self._known is None:
            self._known = {
                _key(each): link_target(each) for text in self._texts for each in _addresses(text)
            }
        return self._known.get(_key(written))

    def within(self, written: str) -> tuple[str, int] | None:
        """The address that `written` begins with, and its length there; punctuation may follow."""
        end = len(written)
        while end:
            known = self.find(written[:end])
            if known is not None:
                return known, end
            if not _TRAILING.match(written, end - 1):
                return None
            end -= 1
        return None

    def mention(self, text: str) -> bool:
        """Whether `text` stands there as it is."""
        return any(text in each for each in self._texts)


def _addresses(text: str) -> Iterable[str]:
    for match in _ADDRESS.finditer(text):
        address = match[0]
        # Where prose or a Markdown link ends an address is not clear: each is one.
        while True:
            yield address
            shorter = _ADDRESS.match(address[:-1])
            if shorter is None or not _TRAILING.match(address, len(address) - 1):
                break
            address = shorter[0]
        cut = match[0].find(")")
        if cut > 0 and "(" not in match[0][:cut]:
            yield match[0][:cut]


def _key(address: str) -> str:
    address = html.unescape(_ESCAPED.sub(r"\1", address))
    scheme, colon, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{colon}{host.lower()}{slash}{path}".rstrip("/")


def link_target(url: str) -> str:
    """`url` so that it cannot end a Markdown link's parentheses early."""
    return quote(url, safe="/:?#[]@!$&'*+,;=%~-._")
