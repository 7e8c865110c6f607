"""Find a page by what callers name it with: the path of its file, its address, or a resource's URI.

Names are looked up in the contents of the index. No file is opened for them.
"""

import posixpath
import re
from collections.abc import Generator
from difflib import SequenceMatcher
from typing import Final
from urllib.parse import quote, unquote

from lib.book import OWN_PAGES
from lib.contents import Contents
from lib.documents import HTML_SUFFIXES, MARKDOWN_SUFFIXES
from lib.sites.quire import PAGES
from lib.sites.site import LONGEST_PATH

RESOURCE: Final = "book:///"
"""Before the path of a page in its URI."""
_MAX_COMPARED: Final = 2_000
"""Pages whose names are compared with a wrong one, which takes 0.1 s."""
_MAX_NAME: Final = 60
"""Characters of a name that are compared."""
_MIN_SHARED: Final = 0.3
"""Share of the wrong name's trigrams, which are compared first because that is faster."""
_MIN_SIMILARITY: Final = 0.7
_MAX_SIMILAR: Final = 3
_SUFFIX: Final = re.compile(
    "(?:" + "|".join(map(re.escape, sorted(MARKDOWN_SUFFIXES | HTML_SUFFIXES))) + r")\Z",
    re.IGNORECASE,
)


class PageNames:
    """The names of a generation's pages."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._files: dict[str, str] = {}
        """Files by path, path without suffix, and folder for the page of a folder."""
        self._addresses: dict[str, str] = {}
        """Files by address without scheme, also without host, and both without suffix."""

    def read(self) -> Generator[None, None, "PageNames"]:
        pages = self.contents.by_path
        paths = sorted(pages)
        for shorten in (str, without_suffix, _folder_name):
            for path in paths:
                self._files.setdefault(shorten(path), path)
                yield
        # Pages of the default edition win where several have the same path.
        ordered = [*(page.file_path for page in self.contents.pages), *paths]
        for shorten in (str, _folder_name):
            for path in ordered:
                host, address = _host_and_path(pages[path].url or "")
                if host:
                    self._addresses.setdefault(f"{host}/{shorten(address)}", path)
                if pages[path].url:
                    self._addresses.setdefault(f"/{shorten(address)}", path)
                yield
        return self

    def find(self, name: str, host: str) -> str | None:
        """The file that `name` means. `host` as in `lib.page_markdown.PageMarkdown.find`."""
        if not 0 < len(name) <= LONGEST_PATH:
            return None
        bare = re.split(r"[?#]", name, maxsplit=1)[0]
        for each in dict.fromkeys((name, bare, unquote(name), unquote(bare))):
            if found := self._find(each, host.casefold()):
                return found
        return None

    def _find(self, name: str, own_host: str) -> str | None:
        if name.startswith(RESOURCE):
            return self._file(name.removeprefix(RESOURCE))
        host, path = _host_and_path(name)
        if host:
            if found := self._address(f"{host}/{path}"):
                return found
            if own_host not in ("", host):
                return None
            found = self._address(f"/{path}")
            if found and not _host_and_path(self.contents.by_path[found].url or "")[0]:
                return found
            return self._own_address(path)
        if name.startswith("/"):
            return self._address(f"/{path}") or self._own_address(path) or self._file(path)
        return self._file(name) or self._address(f"/{name}")

    def _file(self, path: str) -> str | None:
        path = posixpath.normpath(f"./{path}") if path.strip("/") else ""
        names = (path, without_suffix(path), _folder_name(path))
        return next((self._files[each] for each in names if each in self._files), None)

    def _address(self, address: str) -> str | None:
        return self._addresses.get(address) or self._addresses.get(_folder_name(address))

    def _own_address(self, path: str) -> str | None:
        """Every page has an address at Quire, perhaps below a path that a proxy adds."""
        below = f"/{path}".partition(PAGES)[2]
        return self._file(below) if below.endswith(".md") else None

    def similar(self, name: str) -> Generator[None, None, list[str]]:
        """Files with a similar name or title, most similar first."""
        wanted = _folder_name(unquote(name[:LONGEST_PATH])).rpartition("/")[2]
        wanted = wanted.casefold()[:_MAX_NAME]
        trigrams = {wanted[at : at + 3] for at in range(max(1, len(wanted) - 2))}
        matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
        matcher.set_seq2(wanted)
        found: list[tuple[float, str]] = []
        for page in self.contents.pages[:_MAX_COMPARED]:
            best = 0.0
            for each in (page.title, _folder_name(page.file_path).rpartition("/")[2]):
                other = each.casefold()[:_MAX_NAME]
                if sum(map(other.__contains__, trigrams)) < _MIN_SHARED * len(trigrams):
                    continue
                matcher.set_seq1(other)
                if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= _MIN_SIMILARITY:
                    best = max(best, matcher.ratio())
            if best >= _MIN_SIMILARITY:
                found.append((-best, page.file_path))
            yield
        return [path for _, path in sorted(found)[:_MAX_SIMILAR]]


def markdown_address(path: str) -> str:
    """The address of a file's Markdown at Quire, relative to the page at `/`."""
    return f"{PAGES.lstrip('/')}{quote(without_suffix(path))}.md"


def without_suffix(path: str) -> str:
    return _SUFFIX.sub("", path)


def _folder_name(path: str) -> str:
    """A path without suffix, slash at its end, and name of the page of its folder."""
    path = without_suffix(path).rstrip("/")
    folder, _, name = path.rpartition("/")
    return folder if name.casefold() in OWN_PAGES else path


def _host_and_path(address: str) -> tuple[str, str]:
    """Of a URL, or of its path; the path is unencoded and has no slash at its beginning."""
    scheme, sign, rest = address.partition("://")
    if not sign or scheme.casefold() not in ("http", "https"):
        return "", unquote(address).lstrip("/")
    host, _, path = rest.partition("/")
    return host.casefold(), unquote(path).lstrip("/")
