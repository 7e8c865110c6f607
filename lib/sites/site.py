"""A published site, and the record of rules that describes its generator.

`lib/sites/<generator>.py` defines one `Generator` each; `lib.sites.generators` registers them.
Their rules were read from the generators' sources and from real builds.
"""

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from lib.sites.config_files import read_config

_MARKDOWN_SUFFIX: Final = re.compile(r"\.(?:mdx?|markdown|mkdn?|mkdown|mdown)$", re.IGNORECASE)


LONGEST_PATH: Final = 1_000
"""In characters: a longer slug, title or address is not used."""
_LONGEST_TITLE: Final = 200
"""In characters: the rest of a site's title is cut."""


@dataclass(frozen=True, slots=True)
class ContentRoot:
    """A folder of pages, and the part of the site that serves it."""

    folder: str
    """Absolute, with `/`, without a slash at its end."""
    route: str | None = ""
    """Path below the site's base, no slash at either end; None when it could not be read."""
    version: str = ""
    locale: str = ""
    exclude: tuple[str, ...] = ()
    number_prefixes: bool = True

    def overlaps(self, folder: str) -> bool:
        return _inside(self.folder, folder) or _inside(folder, self.folder)

    def holds(self, file: str) -> bool:
        """Whether a file, absolute, is in the folder."""
        return _inside(file, self.folder)

    def relative(self, file: str) -> str:
        """Path of a file inside the folder."""
        return file[len(self.folder) :].lstrip("/")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def below(folder: Path, path: str) -> str:
    """`path` of a configuration, as an absolute folder."""
    return posixpath.normpath(posixpath.join(folder.as_posix(), path))


@dataclass(frozen=True, slots=True)
class Project:
    """A generator's project folder and its settings."""

    folder: Path
    """The folder that paths in the configuration are relative to."""
    content_root: Path
    options: Mapping[str, object]
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    configured: bool = True
    """False for a generator that the operator named and that has no configuration file."""

    def single_root(self, path: str) -> tuple[ContentRoot, ...]:
        """One content root at `path`; without a configuration, the content root itself."""
        return (ContentRoot(below(self.folder, path if self.configured else ".")),)


@dataclass(frozen=True, slots=True)
class PageSource:
    """The facts that determine a page's path."""

    path: str
    """Relative to its content root."""
    front_matter: Mapping[str, object]
    title: str
    siblings: frozenset[str]
    """All pages of the same content root, relative to it; this one too."""
    file: Path
    text: str
    """Text of the file; may be empty when the caller has only the parsed page."""
    front_matter_complete: bool = True
    """False if the front matter may set more than could be read, such as a `slug`."""


@dataclass(frozen=True, slots=True)
class PagePath:
    path: str | None
    """As the generator writes it, unencoded, with a leading slash; None when it is unknown or the
    page is not built."""
    published: bool = True
    """False when the site's own rules keep the page out of the build."""
    locale: str = ""
    until: datetime | None = None
    """When that changes: the date of a page to come, or of one that expires."""


NOT_BUILT: Final = PagePath(None, published=False)
UNKNOWN_PATH: Final = PagePath(None)


def use_the_build(reason: str, lacking: str = "pages have no address") -> str:
    """The line that says why addresses are unknown, and where they are known."""
    return f"{reason}, so {lacking}; ingest the built site, or set SITE_BUILD to its folder"


Flavour = Literal["commonmark", "mdx", "myst", "python", "liquid", "jinja", "hugo"]
"""`python` is Python-Markdown. The last three have the tags of a template language: `liquid` in
kramdown, `jinja` in Python-Markdown, `hugo` in CommonMark (`lib.templates`)."""
Slugify = Callable[[str], str]
NamedHeading = tuple[str, bool]
"""A heading's slug, or its explicit id (True)."""


@dataclass(frozen=True, slots=True)
class HeadingText:
    """How a generator turns a heading's inline Markdown into the text of its anchor."""

    mdx: bool = False
    image_alt: bool = True
    emoji_codes: bool = True
    """Whether `:tada:` stays text; otherwise it becomes an image."""
    smart_dashes: bool = False
    """Whether `--` becomes a dash and `<<` a quotation mark, which no anchor keeps."""
    raw_entities: bool = False
    attributes: bool = False
    """Whether `{.class}` and `{: .class}` are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadingRules:
    """How a generator makes the anchors of a page's headings."""

    slugify: Slugify | None
    """From a heading's text to a slug; None when the site's own code does it."""
    number: Callable[[Sequence[NamedHeading]], list[str]]
    """Make the slugs of one page unique."""
    text: HeadingText = HeadingText()
    explicit_id: Callable[[str], tuple[str, str | None]] = lambda source: (source, None)
    """From a heading's source to the source without the id, and the id."""
    template: re.Pattern[str] | None = None
    """Syntax in a heading whose text only the build knows."""
    h1_has_anchor: bool = True


_NO_ANCHORS: Final = HeadingRules(slugify=None, number=lambda headings: [""] * len(headings))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Generator:
    """What one static-site generator does with files and headings."""

    name: str
    page_path: Callable[["Site", ContentRoot, PageSource], PagePath]
    heading_rules: Callable[["Site"], HeadingRules] = lambda _site: _NO_ANCHORS
    unread: Callable[[Project], Iterable[str]] = lambda _project: ()
    """Lines that say which addresses are unknown, because of which setting."""

    config_files: tuple[str, ...] = ()
    """Relative to a folder of the project, in order of preference; a folder ends with `/`."""
    read_settings: Callable[..., dict[str, Any]] = read_config
    """From the configuration file, and a list for lines about problems, to its settings."""
    recognises: Callable[[Path, Mapping[str, Any]], bool] = lambda _file, _settings: True
    """Whether a configuration file with these settings is this generator's: other programs use
    the same names."""
    project_folder: Callable[[Path], Path] = lambda file: file.parent
    """From the configuration file to the folder that its paths are relative to."""
    address: Callable[[Mapping[str, Any]], tuple[str, str | None]] = lambda _settings: ("", None)
    """From the settings to the site's address: the whole and None, or host and path. The path is
    `UNREAD` if it could not be read."""
    title: Callable[[Mapping[str, Any]], str] = lambda _settings: ""
    """From the settings to the site's title; empty if there is none."""
    content_roots: Callable[[Project], Iterable[ContentRoot]] = lambda p: p.single_root(".")
    options: Mapping[str, type] = field(default_factory=dict)
    """Types of the operator's options that it reads besides `base_url`, by name."""

    markdown: Callable[[Mapping[str, Any]], Flavour] = lambda _settings: "commonmark"
    """From the settings to the syntax of files that end in .md."""
    underscored_pages: bool = False
    """Whether names that begin with `_` may be pages, not partials: `_index.md`, `_posts/`."""
    listed_pages: Callable[[ContentRoot], Mapping[str, str] | None] = lambda _root: None
    """The pages that are built, relative to the content root, with their titles as Markdown; None
    when all are."""
    page_order: Callable[["Site", ContentRoot, Collection[str]], Iterable[str]] = (
        lambda site, root, _pages: site.generator.listed_pages(root) or ()
    )
    """The pages that the site's navigation lists, in its order, of those of a content root. Paths
    are relative to it."""
    text_fragments: bool = True
    """Whether links may end in `:~:text=…`."""

    def __repr__(self) -> str:
        return f"Generator({self.name!r})"  # the same in every process: it is part of a hash


NO_GENERATOR: Final = Generator(
    name="none",
    page_path=lambda _site, _root, _source: UNKNOWN_PATH,
    content_roots=lambda _project: (),
)


HTML: Final = replace(
    NO_GENERATOR, name="html", title=lambda settings: str(settings.get("title", ""))
)
"""A built site, whoever built it (`lib.sites.built`)."""


@dataclass(frozen=True, slots=True)
class Site:
    """A published site. `Site()` is a site without a known generator."""

    generator: Generator = NO_GENERATOR
    site_url: str = ""
    """Scheme and host, no path, no slash at its end; empty when unknown."""
    base_url: str = "/"
    """The path the site is served under, with a slash at both ends; empty when unknown."""
    content_roots: tuple[ContentRoot, ...] = ()
    """Longest folder first."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The generator's own configuration, as far as it could be read."""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """The operator's corrections of the configuration."""
    config_file: Path | None = None
    problems: tuple[str, ...] = field(default=(), repr=False)
    """Lines of the form `file: problem` about the configuration."""
    unlinked: tuple[str, ...] = field(default=(), repr=False)
    """Those of them that only say that addresses are unknown."""

    @property
    def title(self) -> str:
        """The configured title in one line; empty if there is none."""
        return " ".join(self.generator.title(self.settings).split())[:_LONGEST_TITLE]

    def switch(self, option: str, configured: bool | None) -> bool | None:
        """The operator's option where it is true or false, else the configured value."""
        value = self.options.get(option)
        return value if isinstance(value, bool) else configured


def split_name(path: str) -> tuple[str, str]:
    """Folder ("" at the top) and the file's name without its extension."""
    folder, name = posixpath.split(path)
    return folder, _MARKDOWN_SUFFIX.sub("", name)


def joined(*parts: str) -> str:
    """A path with a leading slash and single slashes; a slash at the end stays."""
    return re.sub(r"/{2,}", "/", "/" + "/".join(part for part in parts if part))


def text_of(value: object) -> str:
    """A string of the front matter, empty if it is too long for an address; one that YAML reads as
    a number counts."""
    text = str(value) if isinstance(value, str | int | float) and value is not True else ""
    return text if len(text) <= LONGEST_PATH else ""


def scheduled(begins: object, ends: object = None) -> tuple[bool, datetime | None]:
    """Whether a page with these dates is built now, and when that changes."""
    now, start, end = datetime.now(UTC), moment_of(begins), moment_of(ends)
    if end and end <= now:
        return False, None
    return (False, start) if start and start > now else (True, end)


def moment_of(value: object) -> datetime | None:
    """A date of the front matter, in UTC if it names no time zone."""
    text = re.sub(r" (?=[+-])", "", str(value or "")[:40])  # 2021-12-31 23:00:00 +0100
    for form in (text, text[:10]):
        with suppress(ValueError):
            found = datetime.fromisoformat(form)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None
