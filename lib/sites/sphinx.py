"""Sphinx with MyST, Jupyter Book, and sites made from MyST Markdown, such as Jupyter Book 2."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

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
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    PagePath,
    PageSource,
    Project,
    Site,
    joined,
    split_name,
    use_the_build,
)


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    excluded = strings(site.settings.get("exclude_patterns"))
    # A pattern names a file, or a folder with its contents.
    if glob_matches(tuple(pattern.rstrip("/") for pattern in excluded), source.path, below=True):
        return NOT_BUILT
    if _left_out(site, source):
        return NOT_BUILT
    if UNKNOWN in [setting(site.settings, key) for key in _SETTINGS]:
        return UNKNOWN_PATH
    folder, name = split_name(source.path)
    if site.switch("use_directory_urls", False):
        return PagePath(joined(site.base_url, folder, "/" if name == "index" else f"{name}/"))
    suffix = string(site.settings, "html_file_suffix") or ".html"
    return PagePath(joined(site.base_url, folder, name) + suffix)


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    if file.name != "_toc.yml":
        return read_config(file, problems)
    book = read_config(file.with_name("_config.yml"), problems)
    base = string(section(book, "html"), "baseurl")
    settings = {**section(book, "sphinx", "config"), "html_baseurl": base}
    if title := string(book, "title"):
        settings.setdefault("project", title)
    only = book.get("only_build_toc_files") is True
    return {**settings, "toc": read_config(file, problems), "only_toc": only}


def _recognises(file: Path, settings: Mapping[str, Any]) -> bool:
    known = {"project", "extensions", "html_theme", "master_doc", "root_doc"}
    return file.name == "_toc.yml" or bool(known & settings.keys())


def _listed(toc: object) -> tuple[str, ...]:
    """The files and patterns of `_toc.yml` or of the `toc` in `myst.yml`, in order."""
    found: list[str] = []
    todo = [toc]
    while todo:
        entry = todo.pop()
        if isinstance(entry, list):
            todo += reversed(entry)
        elif isinstance(entry, Mapping) and entry.get("hidden") is not True:
            names = [string(entry, key) for key in ("root", "file", "glob", "pattern")]
            found += [name + end for name in names if name for end in ("", ".md")]
            todo += reversed([*entry.values()])
    return tuple(found)


def _left_out(site: Site, source: PageSource) -> bool:
    listed = _listed(site.settings.get("toc")) if site.settings.get("only_toc", True) else ()
    return bool(listed) and not glob_matches(listed, source.path)


def _page_order(site: Site, _root: ContentRoot, _pages: Collection[str]) -> Iterable[str]:
    return _listed(site.settings.get("toc"))


def _read_myst(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    config = read_config(file, problems)
    return config | section(config, "project") | section(config, "site")


MYST_SITE: Final = Generator(
    name="myst",
    config_files=("myst.yml",),
    read_settings=_read_myst,
    recognises=lambda _, settings: "project" in settings or "site" in settings,
    title=lambda settings: string(settings, "title"),
    unread=lambda _: [use_the_build("MyST's addresses are known only from its build")],
    page_order=_page_order,
    page_path=lambda site, _, source: NOT_BUILT if _left_out(site, source) else UNKNOWN_PATH,
    markdown=lambda _: "myst",
    underscored_pages=True,
)

_SETTINGS: Final = ("exclude_patterns", "html_file_suffix")


def _unread(project: Project) -> Iterator[str]:
    if keys := [key for key in _SETTINGS if setting(project.settings, key) is UNKNOWN]:
        yield use_the_build(f"{', '.join(keys)} cannot be read")
    else:
        reason = "anchors are known only from the build"
        yield use_the_build(reason, "links lead to pages, not to headings")


GENERATOR: Final = Generator(
    name="sphinx",
    options={"use_directory_urls": bool},
    config_files=("conf.py", "_toc.yml"),
    read_settings=_read_settings,
    recognises=_recognises,
    address=lambda settings: (
        string(settings, "html_baseurl"),
        UNREAD if setting(settings, "html_baseurl") is UNKNOWN else None,
    ),
    title=lambda settings: string(settings, "project"),
    page_order=_page_order,
    page_path=_page_path,
    unread=_unread,
    markdown=lambda _: "myst",
    underscored_pages=True,
)
