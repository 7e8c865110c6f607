"""Hugo: which pages are built.

Their addresses depend on modules, mounts, permalinks, languages and the theme. Every well-known
site sets some of these, so only the built site has the addresses.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lib.sites.config_files import read_config, read_front_matter, read_text, section, string
from lib.sites.globs import glob_matches
from lib.sites.site import (
    NOT_BUILT,
    ContentRoot,
    Generator,
    PagePath,
    PageSource,
    Site,
    scheduled,
    split_name,
    use_the_build,
)

_BUILD: Final = ("build", "_build")
_DATES: Final = ("publishdate", "pubdate", "published", "date")
_ENDS: Final = ("expirydate", "unpublishdate")


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    folder, name = split_name(source.path)
    languages = section(site.settings, "languages")
    language = name.rpartition(".")[2] if name.rpartition(".")[2] in languages else ""
    own = _lower(dict(source.front_matter))
    front = _cascaded(site, root, source, language) | own
    build = next(filter(None, (section(each, key) for each in (own, front) for key in _BUILD)), {})
    if build.get("render") in (False, "never", "link") or build.get("list") in (False, "never"):
        return NOT_BUILT
    if True in (front.get("draft"), front.get("headless")) or _in_leaf_bundle(source):
        return NOT_BUILT
    begins, ends = (
        None
        if site.settings.get(ignored) is True
        else next(filter(None, map(front.get, keys)), None)
        for keys, ignored in ((_DATES, "buildfuture"), (_ENDS, "buildexpired"))
    )
    built, until = scheduled(begins, ends)
    locale = next((each for each in (language, *folder.split("/")) if each in languages), "")
    return PagePath(None, built, locale, until)


_MAX_CASCADES: Final = 200


def _cascaded(site: Site, root: ContentRoot, source: PageSource, language: str) -> dict[str, Any]:
    """Values that the configuration and the sections above a page pass down to it."""
    index = f"_index.{language}.md" if language else "_index.md"
    above = [each / index for each in source.file.parents if each.is_relative_to(root.folder)]
    place = "/" + source.path.lower().removesuffix(".md").removesuffix(f".{language}")
    values: dict[str, Any] = {}
    for entry in (
        *_entries(site.settings.get("cascade")),
        *(entry for file in reversed(above) for entry in _cascade(read_text(file))),
    ):
        target = section(entry, "target") or section(entry, "_target")
        path = string(target, "path").lower()
        if not target or (path and glob_matches((f"**{path}",), place)):
            values |= entry
    return values


@lru_cache(maxsize=32)
def _cascade(section_page: str) -> tuple[Mapping[str, Any], ...]:
    front = read_front_matter(section_page, json=True)
    return _entries(_lower(front.values).get("cascade")) if front else ()


def _entries(cascade: object) -> tuple[Mapping[str, Any], ...]:
    entries = cascade if isinstance(cascade, list) else [cascade]
    return tuple(_lower(each) for each in entries[:_MAX_CASCADES] if isinstance(each, Mapping))


def _in_leaf_bundle(source: PageSource) -> bool:
    """Files beside or below an index.md are its resources, not pages."""
    folders = PurePosixPath(source.path).parents
    above = folders[1:] if source.file.name.startswith("index.") else folders
    return any((folder / "index.md").as_posix() in source.siblings for folder in above)


_SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """Hugo's keys ignore case. The other files of a configuration folder are sections."""
    config: dict[str, Any] = _lower(read_config(file, problems))
    if file.parent.name == "_default":
        for other in sorted(file.parent.iterdir())[:50]:
            if other != file and other.suffix in _SUFFIXES:
                config.setdefault(other.stem.lower(), _lower(read_config(other, problems)))
    return config


def _lower(config: object, depth: int = 0) -> Any:
    if isinstance(config, dict) and depth < 8:
        return {str(key).lower(): _lower(value, depth + 1) for key, value in config.items()}
    if isinstance(config, list) and depth < 8:
        return [_lower(value, depth + 1) for value in config]
    return config


def _recognises(file: Path, settings: Mapping[str, Any]) -> bool:
    if file.stem != "config" or file.parent.name == "_default":
        return True
    return bool({"baseurl", "contentdir", "theme", "module"} & settings.keys())


GENERATOR: Final = Generator(
    name="hugo",
    config_files=tuple(
        f"{stem}{suffix}"
        for stem in ("hugo", "config/_default/hugo", "config/_default/config", "config")
        for suffix in _SUFFIXES
    ),
    read_settings=_read_settings,
    recognises=_recognises,
    project_folder=lambda file: file.parents[2] if file.parent.name == "_default" else file.parent,
    address=lambda settings: (string(settings, "baseurl"), None),
    title=lambda settings: string(settings, "title"),
    unread=lambda _: [use_the_build("Hugo's addresses are known only from its build")],
    page_path=_page_path,
    markdown=lambda _: "hugo",
    underscored_pages=True,
)
