"""MkDocs, with its translations (static-i18n) and the posts of Material's blog plugin."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from lib.languages import normalize as normalize_text
from lib.sites.anchors import attribute_list
from lib.sites.config_files import (
    UNREAD,
    Tagged,
    section,
    string,
)
from lib.sites.globs import gitignore
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
    Slugify,
    joined,
    moment_of,
    scheduled,
    split_name,
    text_of,
    use_the_build,
)

_TAG: Final = re.compile(r"<[^>]*+>")


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    plugins = _extensions(site.settings, "plugins")
    for name in ("blog", "material/blog"):
        if name in plugins and (post := _material_post(site, plugins[name], source)):
            return post
    excluded, drafts = (site.settings.get(key) for key in ("exclude_docs", "draft_docs"))
    if _matches(excluded, source.path, _EXCLUDED) or _matches(drafts, source.path):
        return NOT_BUILT
    if _unread_settings(site.settings):
        return UNKNOWN_PATH
    path, locale = _locale(plugins.get("i18n", {}), source.path)
    folder, name = split_name(path)
    if name == "README" and posixpath.join(folder, "index.md") in source.siblings:
        return NOT_BUILT
    if name in ("index", "README"):
        name = "" if _directory_urls(site) else "index.html"
        folder += "/" if folder else ""
    else:
        name += "/" if _directory_urls(site) else ".html"
    return PagePath(joined(site.base_url, locale, folder, name), locale=locale)


def _directory_urls(site: Site) -> bool:
    configured = site.settings.get("use_directory_urls") is not False
    return site.switch("use_directory_urls", configured) is True


# MkDocs leaves these out before the patterns of `exclude_docs` apply.
_EXCLUDED: Final = ".*\n/templates/\n"


_patterns: Final = lru_cache(maxsize=8)(gitignore)


def _matches(patterns: object, path: str, before: str = "") -> bool:
    return _patterns(before + (patterns if isinstance(patterns, str) else "")).matches(path)


def _locale(i18n: Mapping[str, Any], path: str) -> tuple[str, str]:
    """The path without its language, and the language's part of the address (static-i18n)."""
    languages = i18n.get("languages")
    entries = (
        [e for e in languages if isinstance(e, Mapping)] if isinstance(languages, list) else []
    )
    default = next((string(e, "locale") for e in entries if e.get("default") is True), "")
    for locale in (string(entry, "locale") for entry in entries):
        if not locale:
            continue
        shown = "" if locale == default else locale
        if i18n.get("docs_structure", "suffix") == "folder":
            if path.startswith(locale + "/"):
                return path[len(locale) + 1 :], shown
        elif path.endswith(f".{locale}.md"):
            return path[: -len(locale) - 4] + ".md", shown
    return path, ""


def _material_post(site: Site, blog: Mapping[str, Any], source: PageSource) -> PagePath | None:
    """A post of Material's blog plugin; None for any other page."""
    home = string(blog, "blog_dir", "blog").strip("./")
    posts = string(blog, "post_dir", "{blog}/posts").replace("{blog}", home).strip("/")
    if not source.path.startswith(posts + "/"):
        return None
    front = source.front_matter
    created = front.get("date")
    day = moment_of(created.get("created") if isinstance(created, Mapping) else created)
    future = blog.get("draft_if_future_date") is True
    built, until = scheduled(day) if future else (True, None)
    if not built or front.get("draft") is True:
        return PagePath(None, published=False, until=until)
    if day is None or not source.front_matter_complete or not _FORMATS.isdisjoint(blog):
        return UNKNOWN_PATH
    name = text_of(front.get("slug")) or _pymdownx_slug(source.title, separator="-", lower=True)
    ending = "/" if _directory_urls(site) else ".html"
    date = f"{day.year:04}/{day.month:02}/{day.day:02}"
    return PagePath(joined(site.base_url, home, date, name) + ending, until=until)


_FORMATS: Final = frozenset(
    "post_slugify post_slugify_separator post_url_date_format post_url_format".split()
)


def _extensions(settings: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """MkDocs' `plugins` and `markdown_extensions`: a list of names and mappings, or a mapping."""
    value = settings.get(key)
    entries = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, str):
            found[entry] = {}
        elif isinstance(entry, Mapping):
            found.update({str(k): section(entry, str(k)) for k in entry})
    return found


def _slug(text: str, *, separator: str, ascii_only: bool) -> str:
    """`slugify` of Python-Markdown's toc extension, the default."""
    if ascii_only:
        text = normalize_text("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^\w\s-]", "", text).strip().lower()
    return re.sub(rf"[{re.escape(separator)}\s]+", lambda _: separator, text)


def _pymdownx_slug(text: str, *, separator: str, lower: bool) -> str:
    """`pymdownx.slugs.slugify`."""
    text = normalize_text("NFC", text)
    end = text.rfind(">") + 1  # every tag that begins before it ends
    text = (_TAG.sub("", text[:end]) + text[end:]).strip()
    return re.sub(r"[^\w\- ]", "", text.lower() if lower else text).replace(" ", separator)


_LONGEST_SEPARATOR: Final = 20
_CASES: Final = ("none", "lower")


def _slugger(extensions: Mapping[str, Mapping[str, Any]]) -> Slugify | None:
    """The slug function of the `toc` settings; None when it is the site's own code."""
    toc = {**extensions.get("markdown.extensions.toc", {}), **extensions.get("toc", {})}
    name, arguments = toc.get("slugify"), section(toc, "slugify_arguments")
    if isinstance(name, Tagged):
        arguments = section(name.value, "kwds")
        name = name.tag.partition(":")[2]
    separator = string(toc, "separator", "-")[:_LONGEST_SEPARATOR]
    module, _, function = str(name or "markdown.extensions.toc.slugify").rpartition(".")
    if module == "markdown.extensions.toc" and function in ("slugify", "slugify_unicode"):
        return partial(_slug, separator=separator, ascii_only=function == "slugify")
    case = arguments.get("case", "none")
    if str(name) != "pymdownx.slugs.slugify" or {*arguments} - {"case"} or case not in _CASES:
        return None
    return partial(_pymdownx_slug, separator=separator, lower=case == "lower")


def _numbered(slugs: Sequence[NamedHeading]) -> list[str]:
    """Python-Markdown: `_1`, `_2`; explicit ids anywhere in the page are taken from the start."""
    used = {slug for slug, explicit in slugs if explicit}
    following: dict[tuple[str, int], int] = {}  # from a number to the last of those taken after it
    anchors = []
    for slug, explicit in slugs:
        anchor = slug
        if not explicit and (anchor in used or not anchor):
            ended = re.fullmatch(r"(.*)_([0-9]{1,18})", anchor, re.DOTALL)
            base, count = (ended[1], int(ended[2])) if ended else (anchor, 0)
            passed = []
            while anchor in used or not anchor:
                passed.append(count)
                count = following.get((base, count), count) + 1
                anchor = f"{base}_{count}"
            following.update(((base, each), count) for each in passed)
        used.add(anchor)
        anchors.append(anchor)
    return anchors


def _heading_rules(site: Site) -> HeadingRules:
    extensions = _extensions(site.settings, "markdown_extensions")
    # Without a configuration: the extensions of nearly every site that writes ids.
    assumed = site.config_file is None
    lists = assumed or bool(
        {"attr_list", "extra", "markdown.extensions.attr_list", "markdown.extensions.extra"}
        & extensions.keys()
    )
    templates = ["<!--"] if site.settings.get("hooks") else []
    if _has_macros(site.settings):
        templates.append(r"\{\{|\{%")
    return HeadingRules(
        slugify=None if "INHERIT" in site.settings else _slugger(extensions),
        number=_numbered,
        text=HeadingText(
            image_alt=False,
            emoji_codes=not (assumed or "pymdownx.emoji" in extensions),
            attributes=lists,
            smart_dashes=not {"smarty", "markdown.extensions.smarty"}.isdisjoint(extensions),
        ),
        explicit_id=attribute_list if lists else lambda source: (source, None),
        template=re.compile("|".join(templates)) if templates else None,
    )


def _has_macros(settings: Mapping[str, Any]) -> bool:
    plugins, extensions = (_extensions(settings, k) for k in ("plugins", "markdown_extensions"))
    return not {"macros", "zensical.extensions.macros"}.isdisjoint({*plugins, *extensions})


def _nav_files(nav: object) -> Iterator[str]:
    """The pages of `nav`, which nests lists and `title: page`."""
    if isinstance(nav, str):
        yield posixpath.normpath(nav)
    elif isinstance(nav, list | dict):
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _nav_files(entry)


_UNREAD: Final = ("INHERIT", "exclude")
"""A setting and a plugin that change addresses or leave pages out."""


def _unread_settings(settings: Mapping[str, Any]) -> list[str]:
    return [key for key in _UNREAD if key in {**settings, **_extensions(settings, "plugins")}]


def _unread(project: Project) -> Iterator[str]:
    if keys := _unread_settings(project.settings):
        yield use_the_build(f"{', '.join(keys)} is not read")


GENERATOR: Final = Generator(
    name="mkdocs",
    unread=_unread,
    options={"use_directory_urls": bool},
    config_files=("mkdocs.yml", "mkdocs.yaml"),
    address=lambda settings: (
        string(settings, "site_url"),
        UNREAD if "INHERIT" in settings and "site_url" not in settings else None,
    ),
    title=lambda settings: string(settings, "site_name"),
    content_roots=lambda project: project.single_root(string(project.settings, "docs_dir", "docs")),
    page_order=lambda site, _root, _pages: _nav_files(site.settings.get("nav")),
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda settings: "jinja" if _has_macros(settings) else "python",
    underscored_pages=True,
)
