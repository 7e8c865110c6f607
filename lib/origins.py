"""The origins whose pages may call Quire from a browser.

`ALLOWED_ORIGINS` names them. Otherwise they are those of `SITE_URL`, of local development, and of
the site's address in the configuration of the published book.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from cachetools import TTLCache

_log = logging.getLogger(__name__)

LOCAL_ORIGINS: Final = tuple(
    f"http://{host}:{port}"
    for host in ("localhost", "127.0.0.1")
    # Docusaurus, Hugo, Vite dev and preview, VitePress, MkDocs and Sphinx, Jekyll
    for port in (3000, 1313, 5173, 4173, 8000, 4000)
)
_MAX_LOGGED: Final = 100
"""Refused origins that are logged in a day: anyone can invent more."""
_DAY_SECONDS: Final = 86_400
_LONGEST_HOST: Final = 253
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Return the origin of a web address as browsers write it; empty for any other text."""
    with suppress(ValueError):  # also UnicodeError
        parts = urlsplit(url)
        host = parts.hostname or ""
        if len(host) > _LONGEST_HOST:
            return ""
        if ":" in host:
            host = f"[{host}]"
        elif not host.isascii():
            host = host.encode("idna").decode("ascii")
        port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
        origin = f"{parts.scheme}://{host}{port}"
        return origin if _ORIGIN.fullmatch(origin) else ""
    return ""


class Origins:
    """The allowed origins. Every check and every CORS header uses this object."""

    def __init__(self, configured: Sequence[str], *, follows_site: bool) -> None:
        """`follows_site`: whether the site's address in the book's configuration is allowed too."""
        self.configured = tuple(configured)
        self.follows_site = follows_site
        self._site = ""
        self._logged: TTLCache[str, None] = TTLCache(_MAX_LOGGED, _DAY_SECONDS)

    def __iter__(self) -> Iterator[str]:
        yield from self.configured
        if self._site and self._site not in self.configured:
            yield self._site

    def __contains__(self, origin: object) -> bool:
        return origin in (*self,)

    def learn(self, site_url: str) -> None:
        """Take the site's address from the published book."""
        if self.follows_site:
            self._site = origin_of(site_url)

    def refuse(self, origin: str) -> None:
        """Log how to allow an origin, once a day for each."""
        known = _ORIGIN.fullmatch(origin) or origin == "null"
        if not known or origin in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged[origin] = None
        if origin == "null":
            _log.warning(
                "Refused a page without an origin, such as a file opened in the browser. Only "
                "pages of a web server can be allowed."
            )
            return
        others = (each for each in self if each not in LOCAL_ORIGINS)
        _log.warning(
            "Refused a page of %s. To allow it, set ALLOWED_ORIGINS=%s",
            origin,
            ",".join([*others, origin]),
        )
