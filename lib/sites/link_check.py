"""Are the addresses real? Checked against the site's sitemap.xml or its built HTML.

Both are given by the operator: nothing is fetched. What does not resolve is listed, so that an
ingest can report it; it is never a reason to fail.

The addresses of an index against the built site: which lead nowhere.
"""

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

MAX_BYTES: Final = 50_000_000
"""What the sitemap protocol allows for one file."""
_MAX_DEPTH: Final = 100


class SitemapError(Exception):
    """The sitemap, or the folder of HTML, cannot be used. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    url: str
    reason: str
    """`page` or `anchor`: which of the two is not there."""


def sitemap_paths(xml: bytes) -> frozenset[str]:
    """The decoded path of every address in a sitemap. Declarations of types and entities, which
    can grow a small file beyond all bounds or read others, are refused."""
    if len(xml) > MAX_BYTES:
        raise SitemapError("the sitemap is larger than 50 MB")
    paths: set[str] = set()
    names: list[str] = []
    text: list[str] = []

    def start(name: str, _: Mapping[str, str]) -> None:
        names.append(name.rpartition(":")[2])
        if len(names) > _MAX_DEPTH:
            raise SitemapError("the sitemap is nested too deeply")
        text.clear()

    def end(_: str) -> None:
        if names.pop() == "loc" and names[-1:] == ["url"]:
            paths.add(_path("".join(text).strip()))
        text.clear()

    def refuse(*_: object) -> None:
        raise SitemapError("the sitemap declares document types or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise SitemapError(f"the sitemap is no XML: {error}") from None
    return frozenset(paths)


def _path(url: str) -> str:
    try:
        return unquote(urlsplit(url).path) or "/"
    except ValueError:
        return ""


def missing_from_sitemap(urls: Iterable[str], xml: bytes) -> tuple[Unresolved, ...]:
    """Those of `urls` whose page the sitemap does not list. It knows no anchors, and a slash at
    the end makes no difference: many hosts add or drop it."""
    known = {path.rstrip("/") for path in sitemap_paths(xml)}
    return tuple(
        Unresolved(url, "page")
        for url in dict.fromkeys(urls)
        if _path(url).rstrip("/") not in known
        and _path(url).removesuffix("index.html").rstrip("/") not in known
    )


class _Ids(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.ids.add(value)


def page_ids(html: str) -> frozenset[str]:
    """Every id that a fragment can lead to."""
    parser = _Ids()
    parser.feed(html)
    parser.close()
    return frozenset(parser.ids)


def missing_from_html(
    urls: Iterable[str], folder: Path, base_url: str = "/"
) -> tuple[Unresolved, ...]:
    """Those of `urls` that no file of the built site in `folder` serves, or whose anchor is not in
    it. `base_url` is the path that the site's top is served under."""
    if not folder.is_dir():
        raise SitemapError("there is no folder of built HTML")
    root = folder.resolve()
    ids: dict[Path, frozenset[str]] = {}
    missing = []
    for url in dict.fromkeys(urls):
        file = _served(root, _path(url), base_url)
        if file is None:
            missing.append(Unresolved(url, "page"))
            continue
        fragment = urlsplit(url).fragment
        if not fragment:
            continue
        if file not in ids:
            ids[file] = page_ids(file.read_text(encoding="utf-8", errors="replace"))
        if fragment not in ids[file] and unquote(fragment) not in ids[file]:
            missing.append(Unresolved(url, "anchor"))
    return tuple(missing)


def _served(root: Path, path: str, base_url: str) -> Path | None:
    """The file that a plain web server would answer with, inside `root`."""
    base = "/" + base_url.strip("/") + "/" if base_url.strip("/") else "/"
    if not (path.rstrip("/") + "/").startswith(base) or "\0" in path:
        return None
    for candidate in _candidates(path[len(base) :]):
        file = (root / candidate).resolve()
        try:
            if file.is_relative_to(root) and file.is_file() and file.stat().st_size <= MAX_BYTES:
                return file
        except OSError:
            continue
    return None


def _candidates(path: str) -> Iterator[str]:
    bare = posixpath.normpath("/" + path).lstrip("/")
    if path.endswith("/") or not bare:
        yield posixpath.join(bare, "index.html")
        if bare:
            yield bare + ".html"
        return
    yield bare
    yield bare + ".html"
    yield posixpath.join(bare, "index.html")


def unresolved_links(urls: Collection[str], place: Path, base_url: str) -> list[str]:
    """Lines of the form "address: what is missing", sorted; one that says why not if the links
    cannot be checked. `place` as in `missing_links`."""
    try:
        missing = missing_links(urls, place, base_url)
    except SitemapError as error:
        return [f"The links were not checked against SITE_CHECK_PATH: {error}."]
    return [f"{each.url}: no such {each.reason}" for each in missing]


def missing_links(urls: Collection[str], place: Path, base_url: str) -> tuple[Unresolved, ...]:
    """Those of `urls` that lead nowhere, sorted. Raises `SitemapError`.

    `place` is a sitemap.xml, which knows pages only, or a folder of built HTML; `base_url` is the
    path that the site's top is served under.
    """
    ordered = sorted(urls)
    try:
        if place.is_dir():
            return missing_from_html(ordered, place, base_url)
        return missing_from_sitemap(ordered, place.read_bytes())
    except OSError as error:
        raise SitemapError(error.strerror or "it cannot be read") from None
