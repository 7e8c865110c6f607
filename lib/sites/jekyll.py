"""Jekyll: pages, posts and collections."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lib.sites.anchors import attribute_id, word_slug
from lib.sites.config_files import read_text, section, string, strings
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    NamedHeading,
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

_POST_NAME: Final = re.compile(r"(\d{2,4}-\d{1,2}-\d{1,2})-(.*)")
_DATES: Final = {
    "year": "%Y", "month": "%m", "day": "%d", "y_day": "%j", "short_year": "%y", "week": "%V",
    "w_year": "%G", "w_day": "%u", "short_day": "%a", "long_day": "%A", "short_month": "%b",
    "long_month": "%B",
}  # fmt: skip
_STYLES: Final = {
    "date": "/:categories/:year/:month/:day/:title:output_ext",
    "pretty": "/:categories/:year/:month/:day/:title/",
    "ordinal": "/:categories/:year/:y_day/:title:output_ext",
    "weekdate": "/:categories/:year/W:week/:short_day/:title:output_ext",
    "none": "/:categories/:title:output_ext",
}


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    plugins = strings(site.settings.get("plugins")) + strings(site.settings.get("gems"))
    if not _has_front_matter(source) and "jekyll-optional-front-matter" not in plugins:
        return UNKNOWN_PATH  # GitHub Pages renders it, Jekyll alone does not; no file tells which
    top = site.config_file.parent.as_posix() if site.config_file else root.folder
    project_path = posixpath.relpath(posixpath.join(root.folder, source.path), top)
    above, posts, below_it = f"/{source.path}".partition("/_posts/")
    kind = "posts" if posts else root.kind
    if _hidden(site, below_it or source.path, project_path):
        return NOT_BUILT
    front = {**_defaults(site, kind, project_path), **source.front_matter}
    if front.get("published") is False:
        return NOT_BUILT
    if not source.front_matter_complete:
        return UNKNOWN_PATH
    folder, name = split_name(source.path)
    style = string(site.settings, "permalink", "date")
    own = section(site.settings, "collections", kind)
    until = None
    values: dict[str, str] = {"path": posixpath.join(folder, name), "output_ext": ".html"}
    template = text_of(front.get("permalink"))
    if kind == "pages":
        if name == "README" and "jekyll-readme-index" in plugins:
            name = "index"
        if not template and name == "index":
            return PagePath(joined(site.base_url, folder, "/"))
        template = template or "/:path/:basename" + _suffix(style)
        values |= {"path": folder, "basename": name}
    else:
        post = _POST_NAME.fullmatch(name) if kind == "posts" else None
        if (kind == "posts" and post is None) or own.get("output") is False:
            return NOT_BUILT
        date = front.get("date") or (post and post[1])
        if site.settings.get("future") is not True:
            built, until = scheduled(date)
            if not built:
                return PagePath(None, published=False, until=until)
        usual = _STYLES.get(style, style) if post else "/:collection/:path" + _suffix(style)
        template = template or string(own, "permalink") or usual
        slug = text_of(front.get("slug")) or (post[2] if post else name)
        values |= {"collection": kind, "name": _path_slug(name)}
        values |= {"title": _pretty(slug), "slug": _path_slug(slug)}
        values |= _dates(site, date_of(date)) | _categories(front, above if posts else "")
    unknown = False

    def one(match: re.Match[str]) -> str:
        nonlocal unknown
        key = match[1] if match[1] in values else match[1].rstrip("_")
        unknown = unknown or key not in values
        return values.get(key, "") + match[1][len(key) :]

    path = re.sub(r":([a-z_]+)", one, template)
    address = None if unknown else joined(site.base_url, unquote(path))
    return PagePath(address, until=until)


def _has_front_matter(source: PageSource) -> bool:
    """Empty front matter counts."""
    return re.match(r"\ufeff?---[ \t]*\r?\n", source.text or read_text(source.file)) is not None


def _suffix(style: str) -> str:
    if style in _STYLES:
        return "/" if style == "pretty" else ":output_ext"
    return "/" if style.endswith("/") else ":output_ext" if style.endswith(":output_ext") else ""


_NEVER: Final = ("node_modules", "vendor/bundle/", "vendor/cache/", "vendor/gems/", "vendor/ruby/")


def _hidden(site: Site, path: str, project_path: str) -> bool:
    """`path` is relative to its content root or to its `_posts`."""
    included = strings(site.settings.get("include"))
    for part in path.split("/"):
        if (part[0] in "_.#" or part.endswith("~")) and part not in included:
            return True
    ends = [at for at, char in enumerate(project_path) if char == "/"] + [len(project_path)]
    for pattern in (*strings(site.settings.get("exclude")), *_NEVER):
        bare = pattern.strip("/")
        if (
            bare
            and (
                project_path.startswith(pattern.lstrip("/"))  # a prefix, not a folder
                or any(fnmatch(project_path[:end], bare) for end in ends)
            )
        ):
            return True
    return False


def _defaults(site: Site, of_kind: str, path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    defaults = site.settings.get("defaults")
    for entry in defaults if isinstance(defaults, list) else []:
        scope = section(entry, "scope")
        where, kind = string(scope, "path").strip("/"), string(scope, "type")
        if kind in ("", of_kind) and (
            where in ("", ".")
            or path.startswith(where)  # a prefix, not a folder
            or fnmatch(path, where)
        ):
            found |= section(entry, "values")
    return found


def _path_slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text).strip("-").lower()


def _pretty(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._~!$&'()+,;=@" else "-" for c in text)
    return re.sub(r"^-|-$", "", re.sub(r"-{2,}", "-", kept))


def _dates(site: Site, day: date | None) -> dict[str, str]:
    if day is None:
        return {}
    if isinstance(day, datetime) and (day.tzinfo or day.time() != time()):
        day = day if day.tzinfo else day.replace(tzinfo=UTC)
        zone = string(site.settings, "timezone")
        try:
            built = day.astimezone(ZoneInfo(zone) if zone else UTC)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            return {}
        if built.date() != day.date() and not zone:
            return {}  # the day depends on where the site is built
        day = built
    values = {name: day.strftime(code) for name, code in _DATES.items()}
    return values | {"i_month": str(day.month), "i_day": str(day.day)}


def _categories(front: Mapping[str, object], above: str) -> dict[str, str]:
    """Categories are the folders above `_posts`, then those of the front matter."""
    several, one = front.get("categories"), text_of(front.get("category"))
    words = several.split() if isinstance(several, str) else strings(several)
    words = [*above.strip("/").split("/"), *([one] if one else []), *words]
    return {"categories": "/".join(dict.fromkeys(word.lower() for word in words if word))}


def _content_roots(project: Project) -> tuple[ContentRoot, ...]:
    """The project itself, its posts, and the collections that have pages."""
    config = project.settings
    source = below(project.folder, string(config, "source", "."))
    base = Path(source) / string(config, "collections_dir", "")
    roots = [ContentRoot(source, kind="pages"), ContentRoot(below(base, "_posts"), kind="posts")]
    collections = config.get("collections")
    roots += [
        ContentRoot(below(base, f"_{name}"), kind=str(name))
        for name in (collections if isinstance(collections, Mapping) else {})
        if section(collections, name).get("output") is True and name != "posts"
    ]
    return tuple(roots)


_EXPLICIT_ID: Final = re.compile(r"(?:(?<![ \t])[ \t]++|^)\{#([A-Za-z][\w:-]*+)\}\s*+\Z")
_LINE_BELOW: Final = re.compile(r"[ \t]*\r?\n {0,3}\{:([^{}\n]*)\}[ \t]*(?=\r?\n|\Z)")


def _explicit_id(source: str, text: str, end: int) -> tuple[str, str | None]:
    """`{#id}` after the heading, else `{: #id}` on the line below."""
    if found := _EXPLICIT_ID.search(source):
        return source[: found.start()], found[1]
    below_it = _LINE_BELOW.match(text, end) if text else None
    return source, attribute_id(below_it[1]) if below_it else None


def _plain_slug(text: str) -> str:
    """kramdown's own flavour: from the first ASCII letter on, and ASCII only."""
    text = re.sub(r"^[^a-zA-Z]+", "", text)
    return re.sub(r"[^a-zA-Z0-9 -]", "", text).replace(" ", "-").lower() or "section"


def _numbered(slugs: Sequence[NamedHeading]) -> list[str]:
    """A counter for each slug that ignores other slugs: two headings may share an anchor."""
    seen: dict[str, int] = {}
    anchors = []
    for slug, explicit in slugs:
        count = seen.get(slug, 0)
        anchors.append(slug if explicit or not count else f"{slug}-{count}")
        if not explicit:
            seen[slug] = count + 1
    return anchors


def _heading_rules(site: Site, _text: str) -> HeadingRules:
    kramdown = section(site.settings, "kramdown")
    plain = str(kramdown.get("input", "GFM")).lower() == "kramdown"
    slugify = _plain_slug if plain else lambda text: word_slug(text.lower())
    return HeadingRules(
        slugify=None if kramdown.get("auto_ids") is False else slugify,
        number=_numbered,
        text=HeadingText(image_alt=False, span_attributes=True, smart_dashes=True),
        explicit_id=_explicit_id,
        template=re.compile(r"\{\{|\{%"),
    )


def _recognises(file: Path, settings: Mapping[str, Any]) -> bool:
    """Jupyter Book has a _config.yml beside its _toc.yml; Hexo's has other settings."""
    hexo = {"source_dir", "public_dir"} & settings.keys()
    return not hexo and not file.with_name("_toc.yml").is_file()


GENERATOR: Final = Generator(
    name="jekyll",
    config_files=("_config.yml", "_config.yaml"),
    recognises=_recognises,
    patterns=("exclude", "include", "defaults", "permalink", "plugins", "gems"),
    address=lambda settings: (string(settings, "url"), string(settings, "baseurl", "/")),
    title=lambda settings: string(settings, "title"),
    content_roots=_content_roots,
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda _: "liquid",
    underscored_pages=True,
)
