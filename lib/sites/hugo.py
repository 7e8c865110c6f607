"""Hugo: bundles, languages, `url`, `slug` and permalink patterns."""

import math
import posixpath
import re
import unicodedata
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from lib.languages import normalize
from lib.sites.anchors import attribute_list, numbered
from lib.sites.config_files import (
    merged,
    read_config,
    read_front_matter,
    read_front_matters,
    read_text,
    section,
    string,
    strings,
)
from lib.sites.globs import fits, glob_matches
from lib.sites.site import (
    NOT_BUILT,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    PagePath,
    PageSource,
    Project,
    Site,
    below,
    date_of,
    joined,
    scheduled,
    split_name,
    text_of,
)


def _sanitized(site: Site, path: str) -> str:
    kept: list[str] = []
    gap = False
    for char in path:
        if char in "./\\_#+~-@" or unicodedata.category(char)[0] in "LM" or char.isdecimal():
            kept += ["-", char] if gap and char != "-" else [char]
            gap = False
        elif char.isspace() and kept and kept[-1] != "-":
            gap = True
    clean = "".join(kept)
    if site.settings.get("removepathaccents") is True:
        clean = "".join(c for c in normalize("NFD", clean) if not unicodedata.combining(c))
    return clean if site.settings.get("disablepathtolower") is True else clean.lower()


_BUILD: Final = ("build", "_build")
_DATES: Final = ("publishdate", "pubdate", "published", "date")
_ENDS: Final = ("expirydate", "unpublishdate")


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    folder, name = split_name(source.path)
    name, language = _split_language(site, name)
    own = _lower(dict(source.front_matter))
    front = _cascaded(site, root, source, folder, name, language) | own
    build = next(filter(None, (section(each, key) for each in (own, front) for key in _BUILD)), {})
    if build.get("render") in (False, "never", "link") or build.get("list") in (False, "never"):
        return NOT_BUILT
    if True in (front.get("draft"), front.get("headless")) or _in_leaf_bundle(source, folder, name):
        return NOT_BUILT
    mounted = source.path.removeprefix(f"{root.mounted_at}/") if root.mounted_at else source.path
    if glob_matches(root.exclude, mounted) or (
        root.include and not glob_matches(root.include, mounted)
    ):
        return NOT_BUILT
    begins, ends = (
        None
        if site.settings.get(ignored) is True
        else next(filter(None, map(front.get, keys)), None)
        for keys, ignored in ((_DATES, "buildfuture"), (_ENDS, "buildexpired"))
    )
    built, until = scheduled(begins, ends)
    if not built:
        return PagePath(None, published=False, until=until)
    locale = root.locale
    prefix = root.route or ""
    if language:
        default = string(site.settings, "defaultcontentlanguage", "en")
        shown = site.settings.get("defaultcontentlanguageinsubdir") is True
        locale = prefix = language if language != default or shown else ""
    path = _file_path(site, source, front, folder, name)
    if path is None or root.route is None or not source.front_matter_complete:
        return PagePath(None, locale=locale, until=until)
    if path.startswith("//"):  # an absolute `url` stands above languages
        prefix = ""
    return PagePath(joined(site.base_url, prefix, path), locale=locale, until=until)


def _split_language(site: Site, name: str) -> tuple[str, str]:
    """`a.fr` is `a` and `fr` if French is a language of the site."""
    stem, _, suffix = name.rpartition(".")
    return (stem, suffix) if stem and suffix in section(site.settings, "languages") else (name, "")


_MAX_CASCADES: Final = 200


def _cascaded(
    site: Site, root: ContentRoot, source: PageSource, folder: str, name: str, language: str
) -> dict[str, Any]:
    """Values that the configuration and the sections above a page pass down to it."""
    index = f"_index.{language}.md" if language else "_index.md"
    above = [each / index for each in source.file.parents if each.is_relative_to(root.folder)]
    path = posixpath.join("/", folder, "" if name in ("index", "_index") else name).lower()
    place = {
        "path": path.rstrip("/") or "/",
        "kind": "page" if name != "_index" else "section" if folder else "home",
        "lang": language or root.locale or string(site.settings, "defaultcontentlanguage", "en"),
        "environment": "production",
    }
    values: dict[str, Any] = {}
    for entry in (
        *_entries(site.settings.get("cascade")),
        *(entry for file in reversed(above) for entry in _cascade_of(file)),
    ):
        target = section(entry, "target") or section(entry, "_target")
        if all(
            glob_matches((pattern.lower(),), place[key])
            for key, pattern in target.items()
            if key in place and isinstance(pattern, str)
        ):
            values |= entry
    return values


def _cascade_of(section_page: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        return _read_cascade(section_page, section_page.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=512)
def _read_cascade(file: Path, _changed: int) -> tuple[Mapping[str, Any], ...]:
    front = read_front_matter(read_text(file), json=True)
    return _entries(_lower(front.values).get("cascade")) if front else ()


def _entries(cascade: object) -> tuple[Mapping[str, Any], ...]:
    entries = cascade if isinstance(cascade, list) else [cascade]
    return tuple(_lower(each) for each in entries[:_MAX_CASCADES] if isinstance(each, Mapping))


def _in_leaf_bundle(source: PageSource, folder: str, name: str) -> bool:
    """Files beside or below an index.md are its resources, not pages."""
    if name == "_index":
        return False
    folders = [folder]
    while folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    above = folders[1:] if name == "index" else folders
    return not _bundles(source.siblings).isdisjoint(above)


@lru_cache(maxsize=8)
def _bundles(pages: frozenset[str]) -> frozenset[str]:
    return frozenset(
        posixpath.dirname(page) for page in pages if split_name(page)[1].split(".")[0] == "index"
    )


def _file_path(
    site: Site, source: PageSource, front: Mapping[str, object], folder: str, name: str
) -> str | None:
    if url := text_of(front.get("url")):
        ending = "" if url.endswith("/") or "." in url else "/"
        return ("/" if url.startswith("/") else "") + joined(unquote(url)) + ending
    if name == "_index":
        return _sanitized(site, f"/{folder}/".replace(" ", "-"))
    where, base = (folder, name) if name != "index" else posixpath.split(folder)
    slug = text_of(front.get("slug"))
    permalinks = section(site.settings, "permalinks")
    if isinstance(permalinks.get("page"), dict):
        permalinks = permalinks["page"]
    pattern = permalinks.get((where.split("/")[0] if where else "").lower())
    path: str | None = posixpath.join(where.replace(" ", "-"), slug or base.replace(" ", "-"))
    if isinstance(pattern, str):
        path = _permalink(pattern, source, front, where, base, slug)
    if path is None:
        return None
    path = _sanitized(site, posixpath.normpath("/" + path.strip("/")))
    if path == "/":
        return path
    return path + (".html" if site.settings.get("uglyurls") is True else "/")


def _permalink(
    pattern: str, source: PageSource, front: Mapping[str, object], where: str, base: str, slug: str
) -> str | None:
    day = date_of(front.get("date"))
    title = source.title
    sections = where.split("/") if where else []
    values: dict[str, str | None] = {
        "year": f"{day.year:04}" if day else None,
        "month": f"{day.month:02}" if day else None,
        "day": f"{day.day:02}" if day else None,
        "section": sections[0] if sections else "",
        "sections": where,
        "title": title.replace("/", "-"),
        "slug": slug or title.replace("/", "-"),
        "filename": base,
        "slugorfilename": slug or base,
        "contentbasename": base,
        "slugorcontentbasename": slug or base,
    }
    names = re.findall(r":([a-z]+)", pattern)
    if any(values.get(name) is None for name in names) or "[" in pattern:
        return None
    return re.sub(r":([a-z]+)", lambda m: values[m[1]] or "", pattern)


def _content_roots(project: Project) -> tuple[ContentRoot, ...]:
    """`content`, or one folder a language; the default language has no part in the address."""
    if not project.configured:
        return project.single_root(".")
    folder, config = project.folder, project.settings
    languages = section(config, "languages")
    default = string(config, "defaultcontentlanguage", "en")
    shown = config.get("defaultcontentlanguageinsubdir") is True
    if mounts := _mounts(config):
        roots = []
        for source, path, language, files in mounts:
            locale = language if language and (language != default or shown) else ""
            roots.append(
                ContentRoot(
                    below(folder, source),
                    None if language is None else locale,
                    locale=locale,
                    exclude=tuple(name[1:].lstrip() for name in files if name[0] == "!"),
                    include=tuple(name for name in files if name[0] != "!"),
                    mounted_at=path,
                )
            )
        return tuple(roots)
    content = string(config, "contentdir", "content")
    roots = []
    for language in languages:
        where = string(section(languages, language), "contentdir")
        if where and where != content:
            route = language if language != default or shown else ""
            roots.append(ContentRoot(below(folder, where), route, locale=route))
    prefix = default if shown else ""
    roots.append(ContentRoot(below(folder, content), prefix, locale=prefix))
    return tuple(roots)


def _mounts(
    config: Mapping[str, Any], problems: list[str] | None = None
) -> list[tuple[str, str, str | None, tuple[str, ...]]]:
    """The mounts of pages: folder or file, path among the pages, language, and globs of its files.

    The language is None if it is not known. `!` stands before a glob of excluded files.
    """
    mounts = section(config, "module").get("mounts")
    default = string(config, "defaultcontentlanguage", "en")
    found: list[tuple[str, str, str | None, tuple[str, ...]]] = []
    for mount in mounts if isinstance(mounts, list) else []:
        source, target = string(mount, "source"), string(mount, "target").strip("/")
        if not source or target.partition("/")[0] != "content":
            continue
        languages = strings(section(mount, "sites", "matrix").get("languages"))
        languages = languages or strings(mount.get("lang")) or (default,)
        language: str | None = languages[0]
        if {default, "*", "**"} & {*languages}:
            language = default
        elif len(languages) > 1 or re.search(r"[*?!{]", languages[0]):
            language = None
            if problems is not None:
                problems.append(
                    f"module.mounts: the languages of {source} are several, so its pages have no "
                    "address"
                )
        files = [*strings(mount.get("files")), *strings(mount.get("includefiles"))]
        files += [f"!{name}" for name in strings(mount.get("excludefiles"))]
        files = [name.lstrip("/") for name in files if name.strip("!/ ")]
        path = target.removeprefix("content").strip("/")
        found.append((source, path, language, tuple(files) if fits(files) else ()))
    return found


def _slug(text: str, *, ascii_only: bool = False) -> str:
    """`autoHeadingIDType: github`, the default, or `github-ascii`."""
    if ascii_only:
        text = normalize("NFD", text)
    kept = []
    for char in text.strip():
        if ascii_only and not char.isascii():
            continue
        if char in "- ":
            kept.append("-")
        elif char == "_" or unicodedata.category(char)[0] == "L" or char.isdecimal():
            kept.append(char.lower() if len(char.lower()) == 1 else char.lower()[0])
    return "".join(kept) or "heading"


def _blackfriday_slug(text: str) -> str:
    """`autoHeadingIDType: blackfriday`, of old versions."""
    words = re.split(r"[\W_]+", text.lower())
    return "-".join(word for word in words if word) or "heading"


def _heading_rules(site: Site, _text: str) -> HeadingRules:
    goldmark = section(site.settings, "markup", "goldmark")
    kind = section(goldmark, "parser").get("autoheadingidtype")
    smart = section(goldmark, "extensions", "typographer").get("disable") is not True
    return HeadingRules(
        slugify=_blackfriday_slug
        if kind == "blackfriday"
        else partial(_slug, ascii_only=kind == "github-ascii"),
        number=partial(numbered, explicit_count=True),
        text=HeadingText(
            attributes=True, smart_dashes=smart, first_leaf_only=True, last_line_only=True
        ),
        explicit_id=attribute_list,
        template=re.compile(r"\{\{[<%]"),
    )


_SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """Hugo's keys ignore case. The other files of a configuration folder are sections."""
    config: dict[str, Any] = _lower(read_config(file, problems))
    if file.parent.name == "_default":
        for other in sorted(file.parent.iterdir())[:50]:
            if other != file and other.suffix in _SUFFIXES:
                config.setdefault(other.stem.lower(), _lower(read_config(other, problems)))
        for other in sorted(file.parent.with_name("production").glob("*.*"))[:50]:
            if other.suffix in _SUFFIXES:  # a build is one for production
                read = _lower(read_config(other, problems))
                whole = other.stem in ("hugo", "config")
                config = merged(config, read if whole else {other.stem.lower(): read})
    unread: list[str] = []
    _mounts(config, unread)
    if problems is not None:
        problems += (f"{file.name}: {problem}" for problem in unread)
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


def _title(settings: Mapping[str, Any]) -> str:
    """The title of the default language, else of the site."""
    language = string(settings, "defaultcontentlanguage", "en")
    own = string(section(settings, "languages", language), "title")
    return own or string(settings, "title")


def _page_order(_site: Site, root: ContentRoot, pages: Collection[str]) -> list[str]:
    """The pages by the `weight` of their sections and their own, if any has one.

    As in Hugo, pages without a weight come after the others.
    """
    fronts = read_front_matters(Path(root.folder), pages, json=True)
    weights: dict[str, float] = {}
    for page, front in fronts.items():
        weight = _lower(front).get("weight")
        if isinstance(weight, int | float) and not isinstance(weight, bool) and weight:
            folder, name = split_name(page)
            bundle = name.partition(".")[0] in ("_index", "index")
            weights.setdefault(folder if bundle else page, weight)

    def place(page: str) -> list[tuple[float, str]]:
        folder, name = split_name(page)
        parts = folder.split("/") if folder else []
        above = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        key = [(weights.get(each, math.inf), each.casefold()) for each in above]
        own = name.partition(".")[0] in ("_index", "index")
        return [*key, (-math.inf if own else weights.get(page, math.inf), name.casefold())]

    return sorted(pages, key=place) if weights else []


GENERATOR: Final = Generator(
    name="hugo",
    config_files=tuple(
        f"{stem}{suffix}"
        for stem in ("hugo", "config/_default/hugo", "config/_default/config", "config")
        for suffix in _SUFFIXES
    ),
    read_settings=_read_settings,
    patterns=("permalinks", "cascade"),
    recognises=_recognises,
    project_folder=lambda file: file.parents[2] if file.parent.name == "_default" else file.parent,
    address=lambda settings: (string(settings, "baseurl"), None),
    title=_title,
    page_order=_page_order,
    content_roots=_content_roots,
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda _: "hugo",
    underscored_pages=True,
)
