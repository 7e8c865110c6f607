"""Find the pages and headings of a book's Markdown files in its built site (SITE_BUILD).

A file's page is the built page with the best evidence: the address that the generator's rules
give, a link "Edit this page" to the file, the same path in another form, and above all the same
text. Without enough evidence the file counts as not built. `lib.heading_ids` then aligns the
headings of both.

A built page is read as `lib.source_html` reads it, with the same headings and ids.
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from selectolax.lexbor import LexborHTMLParser

from lib.documents import DocumentError, DocumentLimits, file_limit, read_bytes
from lib.heading_ids import WORD, Titled, align_ids, heading_key, titled
from lib.html_content import NO_TEXT
from lib.html_tree import parse_html
from lib.markdown_page import Page, render
from lib.sites.built import BuiltSite
from lib.sites.router import PageAddress, link
from lib.sites.site import LONGEST_PATH
from lib.source import InBuild, SourcePage
from lib.source_html import HtmlSource

_MAX_WORDS: Final = 3_000
"""Of a page, that are compared."""
_SHINGLE: Final = 3
"""Words in a row that count as equal text."""
_MAX_CANDIDATES: Final = 8
"""Built pages that a file is compared with."""
_COMMON: Final = 30
"""Headings of more pages than this tell nothing."""
_CACHED: Final = 32
"""Built pages, in memory."""
_MAX_HEADINGS: Final = 8
"""Of a built page, by which it is found."""
_MAX_LINKS: Final = 50
"""Of a built page, to Markdown files."""
_MARKDOWN_LINKS: Final = 'a[href*=".md" i],a[href*=".markdown" i]'

_PREDICTED: Final = 0.6
_EDIT_LINK: Final = 0.6
_ALSO_EDIT_LINK: Final = 0.2
"""Added to the other evidence, with which the link agrees."""
_SAME_PATH: Final = 0.5
_SIMILAR_PATH: Final = 0.2
_OWNED: Final = 0.35
"""Subtracted if the path or the edit link of another source fits: equal text is not enough."""
_CLEAR: Final = 0.5
"""Share of equal text that confirms the address of the generator's rules."""
_ENOUGH: Final = 0.7
"""Lowest sum of the share of equal text, from 0 to 1, and the evidence above."""
_MARGIN: Final = 0.05
"""Lowest distance to the second best page, if only text tells them apart."""
_UNKNOWN_TEXT: Final = 0.45
"""Share of equal text that counts if the source or the page has hardly any text."""
_FEW_WORDS: Final = 8

_SUFFIX: Final = re.compile(r"\.(?:mdx?|markdown)(?:\.txt)?\Z", re.IGNORECASE)
_NUMBER_PREFIX: Final = re.compile(r"\A\d{1,4}(?:-\d\d-\d\d)?[-_. )]{1,3}(?=.)")
_NO_SLUG: Final = re.compile(r"[\W_]+")
_OWN_NAMES: Final = frozenset({"index", "_index", "readme"})
_NAMES_OF_FRONT_MATTER: Final = ("slug", "permalink", "url")


class _BuiltPage(NamedTuple):
    """A page of the build, read."""

    source: SourcePage
    words: frozenset[int]

    @property
    def headings(self) -> list[Titled]:
        return titled(self.source.page)


@dataclass(frozen=True, slots=True)
class _Scan:
    """All pages of a build, as far as candidates for a source need them."""

    edited: Mapping[str, Sequence[str]]
    """Pages that name a source in their edit link, by source."""
    same_path: Mapping[str, Sequence[str]]
    """Pages with the path of a source, below the folder where most sources have their pages."""
    by_path: Mapping[str, Sequence[str]]
    """Pages by their normalised path and every end of it."""
    by_heading: Mapping[str, Sequence[str]]
    """Pages by the normalised text of their first headings."""
    folders: Collection[str]
    """Names of the folders at the top."""
    owners: Mapping[str, str]
    """Sources by the page that belongs to them by its edit link or its path."""


class SiteBuild:
    """Finds the pages of a book's sources in a folder of built HTML."""

    def __init__(
        self,
        folder: Path,
        built: BuiltSite,
        root: Path,
        sources: Sequence[str],
        limits: DocumentLimits,
        before_scan: Callable[[], object] = lambda: None,
    ) -> None:
        """`sources` are relative to the content folder `root`. `before_scan` is called before all
        of the build is read, which takes about a millisecond a page."""
        self._folder, self._built, self._limits = folder, built, limits
        self._source = HtmlSource(folder, built, limits)
        self._root, self._sources, self._before_scan = root, sources, before_scan
        self._claims: dict[str, str] = {}
        """Sources by their pages."""
        self._found: dict[str, str] = {}
        self._pages: dict[str, _BuiltPage | None] = {}

    def claim(self, source: str, file: str) -> None:
        """Keep a page for a source that an earlier index found it for."""
        self._claims[file], self._found[source] = source, file

    def find(self, source: str, page: Page, predicted: PageAddress) -> tuple[PageAddress, InBuild]:
        """Return the address of a source in the build; not published if it is not in it.

        `predicted` is its address by the generator's rules.
        """
        expected = self._built.file(predicted.url or "")
        file = self._find(source, page, expected)
        built = self._page(file) if file else None
        if file is None or built is None:
            nothing = (None,) * len(page.headings)
            return PageAddress(None, nothing, published=False), InBuild("")
        there = built.source.address
        anchors = align_ids(titled(page), built.headings, there.anchors)
        if _is_shell(built.source) and file == expected:
            anchors = predicted.anchors  # made in the browser
        address = replace(
            there,
            anchors=anchors,
            version=there.version or predicted.version,
            title=predicted.title,
        )
        return address, _compared(file, predicted, address)

    def _find(self, source: str, page: Page, expected: str | None) -> str | None:
        words = _shingles(page)
        if expected and self._likeness(page, words, expected) >= _CLEAR:
            found: str | None = expected
        else:
            found = self._best(source, page, words, expected)
        if found is None or self._claims.get(found, source) != source:
            return None
        self.claim(source, found)
        return found

    def _best(
        self, source: str, page: Page, words: frozenset[int], expected: str | None
    ) -> str | None:
        """Return the page with the most evidence, if it is enough and clearly the most."""
        scan = self._scan
        evidence = dict.fromkeys(_by_headings(page, scan), 0.0) | _by_path(source, page, scan)
        if expected:
            evidence[expected] = _PREDICTED
        for file in scan.edited.get(source, ())[:_MAX_CANDIDATES]:
            evidence[file] = max(_EDIT_LINK, evidence.get(file, 0.0) + _ALSO_EDIT_LINK)
        scores: list[tuple[float, bool, str]] = []
        best = 0.0
        for file, weight in sorted(evidence.items(), key=lambda each: -each[1]):
            if best > weight + 1:
                break  # equal text could not make up for it
            if self._claims.get(file, source) != source:
                continue
            owner = scan.owners.get(file, source)
            owned = owner != source and self._found.get(owner, file) == file
            score = weight + self._likeness(page, words, file) - _OWNED * owned
            scores.append((score, weight > 0, file))
            best = max(best, score)
        scores.sort(key=lambda each: (-each[0], len(each[2]), each[2]))
        if not scores or scores[0][0] < _ENOUGH:
            return None
        (score, told, file), *others = scores
        if not told and others and others[0][0] > score - _MARGIN:
            return None
        return file

    def _likeness(self, page: Page, words: frozenset[int], file: str) -> float:
        """The share of equal text of a source and a built page, from 0 to 1."""
        built = self._page(file)
        if built is None or (built.source.left_out and not _is_shell(built.source)):
            return 0.0
        theirs = Counter(heading_key(text) for _, text in built.headings)
        if len(words) < _FEW_WORDS or _is_shell(built.source):
            known = heading_key(page.title) in {heading_key(built.source.page.title), *theirs}
            return _UNKNOWN_TEXT + 0.3 * known
        ours = Counter(key for each in page.headings if (key := heading_key(each.text)))
        both = sum(min(count, theirs[key]) for key, count in ours.items())
        headings = both / ours.total() if ours.total() > 1 else 0.0
        common = len(words & built.words)
        text = (common / len(words) + 2 * common / (len(words) + len(built.words))) / 2
        return max(text, (text + headings) / 2)

    def _page(self, file: str) -> _BuiltPage | None:
        """Read a page, or take it from the last ones."""
        if file not in self._pages:
            if len(self._pages) >= _CACHED:
                del self._pages[next(iter(self._pages))]
            self._pages[file] = self._read(file)
        return self._pages[file]

    def _read(self, file: str) -> _BuiltPage | None:
        try:
            source = self._source.read(file)
        except DocumentError:
            return None
        return _BuiltPage(source, _shingles(source.page))

    def _tree(self, file: str) -> LexborHTMLParser | None:
        try:
            return parse_html(read_bytes(self._folder, file, file_limit(file, self._limits)))
        except DocumentError:
            return None

    @cached_property
    def _scan(self) -> _Scan:
        """Read all pages of the build."""
        self._before_scan()
        by_path: dict[str, list[str]] = defaultdict(list)
        by_heading: dict[str, list[str]] = defaultdict(list)
        links: dict[str, list[str]] = {}
        for file in sorted(self._built.paths, key=lambda path: (len(path), path)):
            if (tree := self._tree(file)) is None:
                continue
            found = (node.attributes.get("href") for node in tree.css(_MARKDOWN_LINKS))
            links[file] = [href for href in dict.fromkeys(found) if href][:_MAX_LINKS]
            nodes = tree.css("h1,h2,h3,h4,h5,h6")[:_MAX_HEADINGS]
            for key in {heading_key(node.text()) for node in nodes}:
                if len(by_heading[key]) <= _COMMON:
                    by_heading[key].append(file)
            for end in _ends(_path_key(file)):
                by_path[end].append(file)
        edited = _edit_links(links, self._root, frozenset(self._sources))
        same_path, owners = _owners_by_path([*links], self._sources)
        owners |= {file: source for source, files in edited.items() for file in files}
        return _Scan(edited, same_path, by_path, by_heading, _top_folders(links), owners)


def _is_shell(built: SourcePage) -> bool:
    """Tell whether a page has no text before a browser runs its scripts."""
    return built.left_out == NO_TEXT


def _compared(file: str, predicted: PageAddress, built: PageAddress) -> InBuild:
    """Count the links that differ from those of the generator's rules."""
    places = (None, *range(len(built.anchors)))
    pairs = [(link(predicted, place), link(built, place)) for place in places]
    differ = [(rule, own) for rule, own in pairs if rule and own and rule != own]
    anchors = sum(rule.partition("#")[0] == own.partition("#")[0] for rule, own in differ)
    return InBuild(
        file,
        links=len(pairs),
        unknown=sum(rule is None for rule, _ in pairs),
        pages=len(differ) - anchors,
        anchors=anchors,
        example=differ[0] if differ else None,
    )


def _shingles(page: Page) -> frozenset[int]:
    """Hashes of all `_SHINGLE` words in a row."""
    text = "\n".join(render(block) for block in page.blocks)
    words = [found[0] for found in islice(WORD.finditer(text.casefold()), _MAX_WORDS)]
    rows = zip(*(words[start:] for start in range(_SHINGLE)), strict=False)
    return frozenset(map(hash, rows))


def _path_key(path: str) -> str:
    """A path without its suffix, number prefixes, case and punctuation."""
    path = _SUFFIX.sub("", path)
    if path.lower().endswith((".html", ".htm")):
        path = path[: path.rfind(".")]
    parts = [part for part in path.split("/") if part]
    if parts and parts[-1].lower() in _OWN_NAMES:
        parts.pop()
    parts = [
        _NO_SLUG.sub("-", _NUMBER_PREFIX.sub("", part).casefold()).strip("-") for part in parts
    ]
    if len(parts) > 1 and parts[-1] == parts[-2]:
        parts.pop()
    return "/".join(part for part in parts if part)


def _source_key(source: str, folders: Collection[str]) -> str:
    """The normalised path of a source; that of `fr/a.md` for `a.fr.md`, if a folder is `fr`."""
    stem, _, language = _SUFFIX.sub("", source).rpartition(".")
    return _path_key(f"{language}/{stem}.md" if stem and language in folders else source)


def _ends(path: str) -> Iterator[str]:
    """A path and all its ends, longest first."""
    while path:
        yield path
        _, _, path = path.partition("/")


def _by_path(source: str, page: Page, scan: _Scan) -> dict[str, float]:
    """Return pages with the path that a source has, or names in its front matter."""
    key = _source_key(source, scan.folders)
    weights = dict.fromkeys(scan.same_path.get(source, ())[:_MAX_CANDIDATES], _SAME_PATH)
    names = (_path_key(str(page.front_matter.get(name) or "")) for name in _NAMES_OF_FRONT_MATTER)
    for end in (*names, *_ends(key)):
        for file in scan.by_path.get(end, ())[:_MAX_CANDIDATES]:
            weights.setdefault(file, _SIMILAR_PATH)
    return weights


def _by_headings(page: Page, scan: _Scan) -> list[str]:
    """The pages that share the rarest headings and the title with a source."""
    weights: dict[str, float] = defaultdict(float)
    for key in {heading_key(page.title), *(heading_key(each.text) for each in page.headings)}:
        files = scan.by_heading.get(key, ())
        if len(files) <= _COMMON:
            for file in files:
                weights[file] += 1 / len(files)
    return sorted(weights, key=lambda file: -weights[file])[:_MAX_CANDIDATES]


def _top_folders(files: Iterable[str]) -> frozenset[str]:
    return frozenset(file.partition("/")[0] for file in files if "/" in file)


def _owners_by_path(
    files: Sequence[str], sources: Sequence[str]
) -> tuple[Mapping[str, Sequence[str]], dict[str, str]]:
    """Return the pages with the path of a source, below the folder where most sources have their
    pages, by source; and the source whose path a page ends in, by page."""
    folders = _top_folders(files)
    keys = {_source_key(source, folders): source for source in reversed(sources)}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    owners: dict[str, str] = {}
    for file in files:
        key = _path_key(file)
        for end in (*_ends(key), ""):
            if end in keys:
                found[key.removesuffix(end).strip("/")][keys[end]].append(file)
                if end:
                    owners.setdefault(file, keys[end])
    best = max(found, key=lambda before: (len(found[before]), -len(before)), default="")
    enough = 2 * len(found[best]) >= min(len(files), len(sources))
    return (found[best] if enough else {}), owners


def _edit_links(
    links: Mapping[str, Sequence[str]], root: Path, paths: frozenset[str]
) -> dict[str, list[str]]:
    """Return the pages that name each of `paths` as their source.

    Links "Edit this page" begin with the same address on all pages. Of the addresses before a path
    of the book, that one is used which ends like the content folder, else the most frequent one.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file, hrefs in links.items():
        for href in dict.fromkeys(hrefs):
            if named := _source_of(href, file, paths):
                before, path = named
                found[before][path].append(file)
    if not found:
        return {}
    folders = root.as_posix().split("/")
    best = max(
        found,
        key=lambda each: (_common_end(each.split("/"), folders), len(found[each]), each),
    )
    return found[best] if 5 * len(found[best]) >= min(len(links), len(paths)) else {}


def _source_of(href: str, file: str, paths: frozenset[str]) -> tuple[str, str] | None:
    """Split a link into the address of a folder and the longest of `paths` that it ends in."""
    try:
        parts = urlsplit(href[:LONGEST_PATH])
    except ValueError:
        return None
    path = unquote(parts.path)
    if not parts.netloc:
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(file), path))
    path = path.removesuffix(".txt")
    for end in _ends(path):
        if end in paths:
            before = path[: len(path) - len(end)].strip("/")
            return f"{parts.netloc}/{before}", end
    return None


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count
