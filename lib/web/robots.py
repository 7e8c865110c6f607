"""Rules of a site for crawlers: robots.txt (RFC 9309), read by protego."""

from collections.abc import Iterator
from typing import Final

from protego import Protego

MAX_ROBOTS_BYTES: Final = 512_000
"""Crawlers must read 500 KiB at least."""
_MAX_DELAY: Final = 10.0
_GROUP: Final = "useragent"


class Robots:
    """The rules for one crawler."""

    def __init__(self, text: str, product: str) -> None:
        self._product = product
        self._rules = Protego.parse("\n".join(_relevant_groups(text, product.lower())))

    def allows(self, url: str) -> bool:
        return self._rules.can_fetch(url, self._product)

    @property
    def delay(self) -> float:
        """Seconds between two requests, at most `_MAX_DELAY`; 0 if none are asked for."""
        return min(self._rules.crawl_delay(self._product) or 0.0, _MAX_DELAY)

    @property
    def sitemaps(self) -> list[str]:
        return [*self._rules.sitemaps]


def _relevant_groups(text: str, product: str) -> Iterator[str]:
    """Give all other crawlers one name.

    The parser copies each rule of a group for each crawler it names: quadratic for many of both.
    """
    for line in text.splitlines():
        bare = "".join(line.lower().split()).replace("-", "").partition("#")[0]
        if bare.startswith(_GROUP):
            name = bare.removeprefix(_GROUP).lstrip(":")
            ours = name if name == "*" else name.replace("*", "")
            yield f"User-agent: {ours if ours in ('*', product) else 'other'}"
        else:
            yield line
