"""A folder of built HTML as a site: its address, the addresses of its pages, and their order.

Nothing is guessed from a generator. The site's own canonical links, its sitemap and the links
between its pages say under which path it is served, and whether a page has the address `a/b.html`,
`a/b` or `a/b/`. Facts of a sample of pages decide for the whole site.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from lib.sites.generators import GENERATORS
from lib.sites.router import PATH_SAFE
from lib.sites.site import HTML, LONGEST_PATH, Site

_SAMPLED: Final = 100
_REPEATED: Final = 0.6
"""Share of the sampled pages on which a repeated block stands."""
_FEWEST_REPEATS: Final = 5
_FEWEST_MENUS: Final = 3
"""Pages on which the same list of links stands, if it is navigation."""
_MAX_LISTED: Final = 2_000
"""Addresses of a sitemap that decide the path of the site."""
SITE_SOURCES: Final = ("markdown", "html")
"""What a book is read from."""
_MAX_FOLDERS: Final = 20
"""Of the path that a site may be served under."""
_SIGNS: Final = (
    *("sitemap.xml", "404.html", ".buildinfo", "objects.inv", ".nojekyll", "hashmap.json"),
    *("searchindex.js", "search-index.json", "search/search_index.json", "pagefind", "assets"),
    *("_static", "_next", "_astro", "_nuxt", "_app", "book.js", "index.xml"),
)
"""Names in the folder of a built site, beside its `index.html`."""
_INDEX: Final = re.compile(r"(?:\A|(?<=/))index\.(?:html?|xhtml)\Z")
_SUFFIX: Final = re.compile(r"\.(?:html?|xhtml)\Z")
_SUFFIXES: Final = (".html", ".htm", ".xhtml")
_VERSION: Final = re.compile(r"v\d[\d.]{0,20}|\d[\d.]{0,20}\.(?:\d|x)|latest|stable|next|dev|main")
_TITLE_PARTS: Final = re.compile(r"[ ](?:[|·•–—-]|::)[ ]")


def looks_built(folder: Path) -> bool:
    """Whether a folder looks like the output of a build, not like its sources."""
    try:
        with (folder / "index.html").open("rb") as file:
            if file.read(3) == b"---":  # front matter: a source of Jekyll's
                return False
    except OSError:
        return False
    return has_signs_of_build(lambda name: (folder / name).exists())


def has_signs_of_build(exists: Callable[[str], bool]) -> bool:
    """The same, by the names of files and folders in it."""
    configs = (name.rstrip("/") for each in GENERATORS.values() for name in each.config_files)
    return exists("index.html") and any(map(exists, _SIGNS)) and not any(map(exists, configs))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What a page of the sample says about its site. Addresses are as written."""

    path: str
    canonical: str = ""
    og_url: str = ""
    links: Sequence[str] = ()
    navigation: Sequence[str] = ()
    """Links of its navigation, in order."""
    following: str = ""
    """The page that it names as the next one."""
    language: str = ""
    title: str = ""
    site_title: str = ""
    marked: bool = False
    """Whether it marks its text with `data-pagefind-body`."""
    blocks: Collection[str] = ()
    """Hashes of the blocks that may repeat on other pages."""
    menus: Collection[str] = ()
    """Hashes of those that are little but links."""


class _Place(NamedTuple):
    """Where a site is served. All pages are below `base`."""

    origin: str
    """Scheme and host; empty if unknown."""
    base: str
    """Unencoded, with a slash at both ends."""


class _Forms(NamedTuple):
    """How a site refers to its pages: numbers of the forms that `_forms_of` lists."""

    page: int
    folder: int


@dataclass(frozen=True)
class BuiltSite:
    """The facts about a built site that decide its pages."""

    site: Site
    paths: frozenset[str] = field(repr=False)
    own: _Place
    """Where the pages say that they are, which SITE_URL may replace."""
    forms: _Forms
    listed: frozenset[str] = field(repr=False)
    """Addresses in the sitemap, relative to the site."""
    language: str
    """Of pages that name none."""
    versions: frozenset[str]
    """Folders of the versions that the site has beside each other."""
    marked: bool
    """Whether pages mark their text with `data-pagefind-body`: those without are none, as for
    Pagefind."""
    repeated: frozenset[str]
    """Hashes of blocks that stand on nearly every page."""
    order: Sequence[str] = field(repr=False)
    """The pages in the order of the site's navigation."""

    def signature(self, *, repeated: bool = True) -> list[str]:
        """What decides all pages, for a hash; without `repeated`, what decides their addresses."""
        whole = map(repr, (self.site, self.own, self.forms))
        blocks = [str(self.marked), *sorted(self.repeated)] if repeated else []
        return [*whole, self.language, *sorted(self.versions), "", *blocks]

    def address(self, path: str, canonical: str = "") -> str:
        """The address of a page. `canonical` is its own link, absolute."""
        forms, rest = _forms_of(path, self.paths), self._rest(canonical)
        if rest is None or rest not in forms:
            listed = self.form_in_sitemap(path)
            rest = forms[self._form(path)] if listed is None else listed
        return _address(self.site, rest)

    def file(self, url: str) -> str | None:
        """The file of an address of the site, which is absolute or a path, percent-encoded."""
        path = _split(url)[1] or unquote(url)
        base = unquote(self.site.base_url)
        return _file_at(path[len(base) :], self.paths) if path.startswith(base) else None

    def form_in_sitemap(self, path: str) -> str | None:
        """The address of a page in the sitemap, relative to the site; None if it is not there."""
        forms = _forms_of(path, self.paths)
        found = [form for form in (forms[self._form(path)], *forms) if form in self.listed]
        return found[0] if found else None

    def original(self, path: str, canonical: str) -> str | None:
        """The other page of the site that a page names as its canonical one."""
        rest = self._rest(canonical)
        # A template that forgot the page's own address names the index page.
        if not rest or rest in _forms_of(path, self.paths):
            return None
        other = _file_at(rest, self.paths)
        return None if other is None or _INDEX.fullmatch(other) or other == path else other

    def version(self, path: str) -> str:
        """The version that a page's folders name."""
        return next((part for part in path.split("/")[:3] if part in self.versions), "")

    def _form(self, path: str) -> int:
        number = self.forms.folder if _INDEX.search(path) else self.forms.page
        return number if number < len(_forms_of(path, self.paths)) else 0

    def _rest(self, canonical: str) -> str | None:
        """A canonical address relative to the site; None if it is not below it."""
        origin, path = _split(canonical)
        inside = origin == self.own.origin and path.startswith(self.own.base)
        return path[len(self.own.base) :] if origin and inside else None


def file_address(site: Site, path: str) -> str:
    """The address at which a static host serves a file, percent-encoded."""
    return _address(site, _forms_of(path, ())[0])


def sample(paths: Sequence[str]) -> list[str]:
    """The pages whose facts decide for the site: the index page, and up to 99 any others."""
    some = nsmallest(_SAMPLED - 1, paths, key=lambda path: blake2b(path.encode()).digest())
    index = sorted(path for path in paths if _INDEX.fullmatch(path))
    return [*dict.fromkeys([*index[:1], *some])]


def built_site(
    paths: Iterable[str],
    facts: Sequence[PageFacts],
    *,
    site_url: str = "",
    sitemap: Sequence[str] = (),
) -> BuiltSite:
    """Describe a built site by all its pages, the facts of some, and its sitemap's addresses.

    `site_url` is the configured address. It wins over those that the pages name.
    """
    files = frozenset(paths)
    canonical = [(each.path, each.canonical) for each in facts]
    listed = _place_in_sitemap(sitemap, files)
    own = (
        _place_of(canonical, files, fewest=2)
        or listed
        or _place_of(canonical, files)
        or _place_of(((each.path, each.og_url) for each in facts), files)
        or _Place("", _base_of_links(facts, files))
    )
    origin, base = _split(site_url)
    if not origin:
        origin, base = own
    elif not base.strip("/"):
        # published on another host than the pages say: at its top
        base = own.base if own.origin in ("", origin) else "/"
    site = Site(
        HTML,
        origin,
        f"/{base.strip('/')}/".replace("//", "/"),
        settings=MappingProxyType({"title": _site_title(facts)}),
    )
    links = _Links(site, own, files)
    return BuiltSite(
        site=site,
        paths=files,
        own=own,
        forms=_common_forms(links, facts, files),
        listed=frozenset(_below(listed, sitemap)) if listed else frozenset(),
        language=_most_common(each.language for each in facts),
        versions=_versions(files),
        marked=any(each.marked for each in facts),
        repeated=_repeated_blocks(facts),
        order=_order(links, facts, _below(listed, sitemap) if listed else ()),
    )


def _address(site: Site, rest: str) -> str:
    return site.site_url + quote(site.base_url + rest, safe=PATH_SAFE, errors="replace")


def _forms_of(path: str, paths: Collection[str]) -> list[str]:
    """The addresses that may be those of a file, relative to the site; its own one first.

    They are unencoded. An address that is another file's is not among them.
    """
    if found := _INDEX.search(path):
        folder = path[: found.start()]
        bare = folder.rstrip("/")
        forms = [folder, path]
        return forms if not bare or f"{bare}.html" in paths else [*forms, bare]
    stem = _SUFFIX.sub("", path)
    forms = [path, stem]
    return forms if f"{stem}/index.html" in paths else [*forms, f"{stem}/"]


def _file_at(rest: str, paths: Collection[str]) -> str | None:
    """The file that a static host sends for an address relative to the site."""
    bare = rest.rstrip("/")
    indexes = [f"{bare}/index{suffix}".lstrip("/") for suffix in _SUFFIXES]
    pages = [bare + suffix for suffix in _SUFFIXES] if bare else []
    exact = [] if rest.endswith("/") or not rest else [rest]
    candidates = [*indexes, *pages] if rest.endswith("/") else [*exact, *pages, *indexes]
    return next((path for path in candidates if path in paths), None)


def _split(url: str) -> tuple[str, str]:
    """Scheme with host, and the unencoded path; both empty for anything but a web address."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "", ""
    if parts.scheme not in ("http", "https") or not parts.netloc or len(url) > LONGEST_PATH:
        return "", ""
    return f"{parts.scheme}://{parts.netloc.lower()}", unquote(parts.path) or "/"


def _place_of(
    addresses: Iterable[tuple[str, str]], paths: Collection[str], *, fewest: int = 1
) -> _Place | None:
    """Where most pages say that they are, by their files and the addresses that they name.

    A page has two votes, the index page one: it may redirect to another one, which it names then.
    """
    votes: Counter[_Place] = Counter()
    for path, url in addresses:
        origin, address = _split(url)
        ends = [form for form in _forms_of(path, paths) if address.endswith(f"/{form}")]
        for base in {address[: len(address) - len(end)] for end in ends}:
            votes[_Place(origin, base)] += 1 if _INDEX.fullmatch(path) else 2
    best = max(votes, key=lambda place: (votes[place], -len(place.base), place), default=None)
    return best if best and votes[best] >= fewest else None


def _place_in_sitemap(sitemap: Sequence[str], paths: Collection[str]) -> _Place | None:
    votes: Counter[_Place] = Counter()
    for url in sitemap[:_MAX_LISTED]:
        origin, address = _split(url)
        if origin:
            votes.update(_Place(origin, base) for base in _bases(address, paths))
    return max(votes, key=lambda place: (votes[place], -len(place.base), place), default=None)


def _bases(address: str, paths: Collection[str]) -> Iterator[str]:
    """Yield the paths of the site below which an address is that of a file."""
    for found in islice(re.finditer("/", address), _MAX_FOLDERS):
        rest = address[found.end() :]
        if rest and _file_at(rest, paths):
            yield address[: found.end()]


def _base_of_links(facts: Sequence[PageFacts], paths: Collection[str]) -> str:
    """The path below which most links that begin at the root of the host lead to files."""
    links = {link for each in facts for link in each.links if re.match("/[^/]", link)}
    votes: Counter[str] = Counter()
    for link in links:
        votes.update(_bases(unquote(re.split("[?#]", link, maxsplit=1)[0]), paths))
    best = max(votes, key=lambda base: (votes[base], -len(base), base), default="/")
    return best if 2 * votes[best] >= len(links) else "/"


def _below(place: _Place, urls: Iterable[str]) -> list[str]:
    """Addresses below a place, relative to it."""
    split = map(_split, urls)
    return [
        p[len(place.base) :] for o, p in split if o == place.origin and p.startswith(place.base)
    ]


class _Links:
    """Finds the files that links lead to."""

    def __init__(self, site: Site, own: _Place, paths: frozenset[str]) -> None:
        self._places = {own, _Place(site.site_url, unquote(site.base_url))}
        self._own, self._paths = own, paths

    def rest(self, path: str, link: str) -> str | None:
        """A link on a page as an address relative to the site; None if it leads out of it."""
        # `urljoin` takes twenty times as long
        link = link.partition("#")[0].partition("?")[0]
        if "://" in link or link.startswith("//"):
            origin, address = _split(link)
            if not origin:
                return None
        elif not link or ":" in link.partition("/")[0]:
            return None
        else:
            origin = self._own.origin
            folder = posixpath.dirname(self._own.base + _forms_of(path, ())[0])
            joined = posixpath.join(folder, unquote(link))
            is_folder = joined.endswith(("/", "/.", "/.."))
            address = posixpath.normpath(joined).rstrip("/") + ("/" if is_folder else "")
        for place in self._places:
            if origin in (self._own.origin, place.origin) and address.startswith(place.base):
                return address[len(place.base) :]
        return None

    def file(self, path: str, link: str) -> str | None:
        rest = self.rest(path, link)
        return None if rest is None else self.served(rest)

    def served(self, rest: str) -> str | None:
        return _file_at(rest, self._paths)


def _common_forms(links: _Links, facts: Sequence[PageFacts], paths: Collection[str]) -> _Forms:
    """The forms in which pages link to pages, and name themselves."""
    votes: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    for each in facts:
        for link in {*each.links, each.canonical}:
            if (rest := links.rest(each.path, link)) and (file := _file_at(rest, paths)):
                forms = _forms_of(file, paths)
                # every host serves `a/` for `a/index.html`
                if rest in forms and not rest.endswith("/index.html") and rest != "index.html":
                    votes[_INDEX.search(file) is not None][forms.index(rest)] += 1
    page, folder = (max(each, key=lambda form: (each[form], -form), default=0) for each in votes)
    return _Forms(page, folder)


def _versions(paths: Iterable[str]) -> frozenset[str]:
    """Names of versions that stand side by side, each with an index page and others.

    Numbers alone may be chapters: one of the names is a word or begins with `v`.
    """
    pages: Counter[tuple[str, ...]] = Counter()
    indexes: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        *folders, name = path.split("/")
        for depth in (1, 2):
            if len(folders) >= depth and _VERSION.fullmatch(folders[depth - 1]):
                pages[tuple(folders[:depth])] += 1
        if 0 < len(folders) < 3 and _INDEX.search(name) and _VERSION.fullmatch(folders[-1]):
            indexes.setdefault(tuple(folders[:-1]), set()).add(folders[-1])
    sets = [{name for name in names if pages[*above, name] > 1} for above, names in indexes.items()]
    whole = (names for names in sets if len(names) > 1 and not max(names)[0].isdigit())
    return frozenset().union(*whole)


def _repeated_blocks(facts: Sequence[PageFacts]) -> frozenset[str]:
    counts = Counter(block for each in facts for block in {*each.blocks})
    fewest = max(_FEWEST_REPEATS, _REPEATED * len(facts))
    menus = Counter(menu for each in facts for menu in {*each.menus})
    repeated = {block for block, count in counts.items() if count >= fewest}
    return frozenset(repeated | {menu for menu, count in menus.items() if count >= _FEWEST_MENUS})


def _site_title(facts: Sequence[PageFacts]) -> str:
    """The title that most pages name, or that stands beside the page's own in most titles."""
    if named := _most_common(each.site_title for each in facts):
        return named
    parts: Counter[str] = Counter()
    for each in facts:
        own = _TITLE_PARTS.split(each.title)
        parts.update({own[0], own[-1]} if len(own) > 1 else ())
    best = max(parts, key=lambda part: (parts[part], part), default="")
    return best if parts[best] >= max(2, _REPEATED * len(facts)) else ""


def _most_common(values: Iterable[str]) -> str:
    counts = Counter(filter(None, values))
    return max(counts, key=lambda value: (counts[value], value), default="")


def _order(links: _Links, facts: Sequence[PageFacts], sitemap: Sequence[str]) -> tuple[str, ...]:
    """Merge the pages' navigation and the pages that follow each; else the sitemap's order."""
    lists = [
        [file for link in each.navigation if (file := links.file(each.path, link))]
        for each in facts
    ]
    lists.sort(key=lambda listed: -len({*listed}))
    lists += [
        [each.path, file]
        for each in facts
        if each.following and (file := links.file(each.path, each.following))
    ]
    return tuple(_merged(lists)) or tuple(filter(None, map(links.served, sitemap)))


def _merged(lists: Iterable[Sequence[str]]) -> Iterator[str]:
    """Merge lists: what is new in one comes after what precedes it there, else at the end.

    Of several links to a page in a list the last one counts: a header links to pages of the list
    below it.
    """
    last = ""  # before the first page
    following: dict[str, str] = {"": ""}
    for listed in lists:
        before = last
        for path in reversed(dict.fromkeys(reversed(listed))):
            if path not in following:
                following[path], following[before] = following[before], path
                last = path if before == last else last
            before = path
    path = following[""]
    while path:
        yield path
        path = following[path]
