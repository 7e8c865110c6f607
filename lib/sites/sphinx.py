"""Sphinx with MyST, Jupyter Book, and sites made from MyST Markdown, such as Jupyter Book 2."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lib.languages import normalize
from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    read_config,
    section,
    setting,
    string,
    strings,
)
from lib.sites.globs import glob_matches
from lib.sites.site import (
    NOT_BUILT,
    TYPOGRAPHY,
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    NamedHeading,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    excluded = strings(site.settings.get("exclude_patterns"))
    # A pattern names a file, or a folder with its contents.
    if glob_matches(tuple(pattern.rstrip("/") for pattern in excluded), source.path, below=True):
        return NOT_BUILT
    listed = _listed(site.settings.get("toc"))
    if listed and not glob_matches(listed, source.path):
        return NOT_BUILT
    folder, name = split_name(source.path)
    if site.switch("use_directory_urls", site.settings.get("html_builder") == "dirhtml"):
        return PagePath(joined(site.base_url, folder, "/" if name == "index" else f"{name}/"))
    suffix = setting(site.settings, "html_file_suffix") or ".html"
    if setting(site.settings, "html_file_suffix") is UNKNOWN or not isinstance(suffix, str):
        return UNKNOWN_PATH
    return PagePath(joined(site.base_url, folder, name) + suffix)


_LETTERS: Final = str.maketrans(
    {
        "ø": "o", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ŧ": "t", "ƀ": "b", "ƃ": "b",
        "ƈ": "c", "ƌ": "d", "ƒ": "f", "ƙ": "k", "ƚ": "l", "ƞ": "n", "ƥ": "p", "ƫ": "t",
        "ƭ": "t", "ƴ": "y", "ƶ": "z", "ǥ": "g", "ȥ": "z", "ȴ": "l", "ȵ": "n", "ȶ": "t",
        "ȷ": "j", "ȼ": "c", "ȿ": "s", "ɀ": "z", "ɇ": "e", "ɉ": "j", "ɋ": "q", "ɍ": "r",
        "ɏ": "y", "ß": "sz", "æ": "ae", "œ": "oe", "ȸ": "db", "ȹ": "qp",
    }
)  # fmt: skip


def _slug(text: str) -> str:
    """`docutils.nodes.make_id`; empty where docutils numbers the heading."""
    text = text.lower().translate(_LETTERS)
    text = normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^a-z0-9]+", "-", " ".join(text.split()))
    return re.sub(r"^[-0-9]+|-+$", "", text)


def _numbered(slugs: Sequence[NamedHeading]) -> list[str]:
    """docutils: `id1`, `id2`, one counter for the page, for repeated and for empty names."""
    used: set[str] = set()
    count = 0
    anchors = []
    for slug, _ in slugs:
        anchor = slug
        while not anchor or anchor in used:
            count += 1
            anchor = f"id{count}"
        used.add(anchor)
        anchors.append(anchor)
    return anchors


_TYPOGRAPHIC: Final = re.compile(r"['\"]|--|\.\.|\+-|\((?:c|r|p|tm)\)", re.IGNORECASE)


def _heading_rules(site: Site, text: str) -> HeadingRules:
    enabled = setting(site.settings, "myst_enable_extensions")
    extensions = strings(list(enabled) if isinstance(enabled, set) else enabled)
    return HeadingRules(
        slugify=_slug,
        number=_numbered,
        text=HeadingText(
            image_alt=False,
            footnotes=False,
            roles=True,
            typography=TYPOGRAPHY.intersection(extensions),
        ),
        template=_TYPOGRAPHIC if enabled is UNKNOWN else None,
        # Footnotes draw from the same numbers, in an order that only the build knows.
        uncertain=re.compile(r"id\d+") if "[^" in text else None,
    )


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    if file.name != "_toc.yml":
        return read_config(file, problems)
    book = read_config(file.with_name("_config.yml"), problems)
    base = string(section(book, "html"), "baseurl")
    settings = {**section(book, "sphinx", "config"), "html_baseurl": base}
    if title := string(book, "title"):
        settings.setdefault("project", title)
    if book.get("only_build_toc_files") is True:
        settings["toc"] = read_config(file, problems)
    return settings


def _recognises(file: Path, settings: Mapping[str, Any]) -> bool:
    known = {"project", "extensions", "html_theme", "master_doc", "root_doc"}
    return file.name == "_toc.yml" or bool(known & settings.keys())


def _read_myst(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    if problems is not None:
        problems.append(f"{file.name}: its theme makes the addresses, so pages have no address")
    return read_config(file, problems)


def _myst_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    project = section(site.settings, "project")
    listed = _listed(project.get("toc"))
    excluded = glob_matches(strings(project.get("exclude")), source.path)
    if excluded or (listed and not glob_matches(listed, source.path)):
        return NOT_BUILT
    return UNKNOWN_PATH


def _listed(toc: object) -> tuple[str, ...]:
    """The files and patterns of `_toc.yml` or of the `toc` in `myst.yml`, without hidden ones."""
    found: list[str] = []
    todo = [toc]
    while todo:
        entry = todo.pop()
        if isinstance(entry, list):
            todo += entry
        elif isinstance(entry, Mapping) and entry.get("hidden") is not True:
            names = [string(entry, key) for key in ("root", "file", "glob", "pattern")]
            found += [name + end for name in names if name for end in ("", ".md")]
            todo += entry.values()
    return tuple(found)


def _toc_order(toc: object) -> Iterator[str]:
    """The files of `_toc.yml` or of the `toc` in `myst.yml`, in order."""
    if isinstance(toc, list):
        for each in toc:
            yield from _toc_order(each)
    elif isinstance(toc, Mapping):
        for key in ("root", "file"):
            if name := string(toc, key):
                yield from (name, f"{name}.md")
        for key in ("parts", "chapters", "sections", "children", "entries", "subtrees"):
            yield from _toc_order(toc.get(key))


def _page_order(site: Site, _root: ContentRoot, _pages: Collection[str]) -> Iterator[str]:
    file = site.config_file
    return _toc_order(read_config(file) if file and file.name == "_toc.yml" else None)


def _myst_title(settings: Mapping[str, Any]) -> str:
    """The title of the site, else of the project."""
    return string(section(settings, "site"), "title") or string(
        section(settings, "project"), "title"
    )


MYST_SITE: Final = Generator(
    name="myst",
    config_files=("myst.yml",),
    read_settings=_read_myst,
    recognises=lambda _, settings: "project" in settings or "site" in settings,
    title=_myst_title,
    page_order=lambda site, _root, _pages: _toc_order(section(site.settings, "project").get("toc")),
    page_path=_myst_path,
    heading_rules=lambda site, text: replace(_heading_rules(site, text), slugify=None),
    markdown=lambda _: "myst",
    underscored_pages=True,
)

GENERATOR: Final = Generator(
    name="sphinx",
    options={"use_directory_urls": bool},
    config_files=("conf.py", "_toc.yml"),
    read_settings=_read_settings,
    patterns=("exclude_patterns",),
    recognises=_recognises,
    address=lambda settings: (
        string(settings, "html_baseurl"),
        UNREAD if setting(settings, "html_baseurl") is UNKNOWN else None,
    ),
    title=lambda settings: string(settings, "project"),
    page_order=_page_order,
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda _: "myst",
    underscored_pages=True,
)
