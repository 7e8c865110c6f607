"""MkDocs, with its translations (static-i18n) and the posts of Material's blog plugin."""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from lib.languages import normalize as normalize_text
from lib.sites.anchors import attribute_id
from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    Tagged,
    merged,
    opened,
    read_config,
    repository_of,
    section,
    setting,
    string,
    strings,
)
from lib.sites.globs import fits, gitignore
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
    Site,
    Slugify,
    date_of,
    joined,
    no_explicit_id,
    scheduled,
    split_name,
    text_of,
)

_MAX_INHERITED: Final = 3
_TAG: Final = re.compile(r"<[^>]*+>")


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    plugins = _extensions(site.settings, "plugins")
    for name in ("blog", "material/blog"):
        if name in plugins and (post := _material_post(site, plugins[name], source)):
            return post
    path, locale = _locale(plugins.get("i18n", {}), source.path)
    if _matches(site.settings.get("exclude_docs"), source.path, _EXCLUDED):
        return NOT_BUILT
    if _matches(site.settings.get("draft_docs"), source.path):
        return NOT_BUILT
    excluded = strings(plugins.get("exclude", {}).get("glob"))  # mkdocs-exclude
    if fits(excluded) and any(fnmatch(source.path, pattern) for pattern in excluded):
        return NOT_BUILT
    unread = setting(site.settings, "use_directory_urls") is UNKNOWN
    if unread and "use_directory_urls" not in site.options:
        return UNKNOWN_PATH
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
    if source.front_matter.get("draft") is True:
        return NOT_BUILT
    day = date_of(source.front_matter.get("date"))
    until = None
    if blog.get("draft_if_future_date") is True:
        built, until = scheduled(day)
        if not built:
            return PagePath(None, published=False, until=until)
    form = string(blog, "post_url_format", "{date}/{slug}")
    days = string(blog, "post_url_date_format", "yyyy/MM/dd")
    own = text_of(source.front_matter.get("slug"))
    if not source.front_matter_complete or (day is None and "{date}" in form):
        return UNKNOWN_PATH
    if not re.fullmatch(r"(?:y{4}|MM?+|dd?+|[/.-])++", days):
        return UNKNOWN_PATH
    if not own and blog.get("post_slugify") is not None:
        return UNKNOWN_PATH
    if day is not None:
        for code, value in (("yyyy", f"{day.year:04}"), ("MM", f"{day.month:02}")):
            days = days.replace(code, value)
        days = days.replace("dd", f"{day.day:02}")
        days = days.replace("M", str(day.month)).replace("d", str(day.day))
    categories = strings(source.front_matter.get("categories"))
    path = form.replace("{date}", days).replace("{file}", split_name(source.path)[1])
    path = path.replace("{slug}", own or _pymdownx_slug(source.title, case="lower"))
    category = _pymdownx_slug(categories[0], case="lower") if categories else ""
    path = path.replace("{categories}", category)
    ending = "/" if _directory_urls(site) else ".html"
    return PagePath(joined(site.base_url, home, path.strip("/")) + ending, until=until)


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


def _pymdownx_slug(
    text: str,
    *,
    separator: str = "-",
    case: str = "none",
    normalize: str = "NFC",
    percent_encode: bool = False,
) -> str:
    """`pymdownx.slugs.slugify`."""
    form: dict[str, Callable[[str], str]] = {
        "lower": str.lower,
        "lower-ascii": lambda t: re.sub(r"[A-Z]", lambda m: m[0].lower(), t),
        "fold": str.casefold,
    }
    if normalize in ("NFC", "NFD", "NFKC", "NFKD"):  # the library wants it as a literal type
        text = normalize_text(normalize, text)  # type: ignore[arg-type]
    end = text.rfind(">") + 1  # every tag that begins before it ends
    text = _TAG.sub("", text[:end]) + text[end:]
    text = form.get(case, str)(text.strip())
    text = re.sub(r"[^\w\- ]", "", text).replace(" ", separator)
    return quote(text) if percent_encode else text


_PYMDOWNX: Final[Mapping[str, Mapping[str, object]]] = {
    # names from before the package took keywords
    "uslugify": {"case": "lower"},
    "uslugify_encoded": {"case": "lower", "percent_encode": True},
    "uslugify_cased": {},
    "uslugify_cased_encoded": {"percent_encode": True},
    "gfm": {"case": "lower-ascii"},
    "gfm_encoded": {"case": "lower-ascii", "percent_encode": True},
}


_LONGEST_SEPARATOR: Final = 20


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
    keywords = arguments if function == "slugify" else _PYMDOWNX.get(function)
    if module != "pymdownx.slugs" or keywords is None:
        return None
    return partial(
        _pymdownx_slug,
        separator=separator,
        case=str(keywords.get("case", "none")),
        normalize=str(keywords.get("normalize", "NFC")),
        percent_encode=keywords.get("percent_encode") is True,
    )


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


_ATTRIBUTE_LIST: Final = re.compile(r"(?:(?<! ) ++|^)\{:?+ *+([^}\n ][^}\n]{0,200}+)\}")


def _attribute_list(source: str, _text: str, _end: int) -> tuple[str, str | None]:
    last = source.rfind("}")
    if last < 0 or source[last + 1 :].strip():
        return source, None
    start = max(source.rfind("}", 0, last), source.rfind("\n", 0, last)) + 1
    found = _ATTRIBUTE_LIST.search(source, start)
    return (source[: found.start()], attribute_id(found[1])) if found else (source, None)


def _heading_rules(site: Site, _text: str) -> HeadingRules:
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
        slugify=None
        if setting(site.settings, "markdown_extensions") is UNKNOWN
        else _slugger(extensions),
        number=_numbered,
        text=HeadingText(
            image_alt=False,
            emoji_codes=not (assumed or "pymdownx.emoji" in extensions),
            attributes=lists,
            smart_dashes=not {"smarty", "markdown.extensions.smarty"}.isdisjoint(extensions),
        ),
        explicit_id=_attribute_list if lists else no_explicit_id,
        template=re.compile("|".join(templates)) if templates else None,
    )


def _has_macros(settings: Mapping[str, Any]) -> bool:
    plugins, extensions = (_extensions(settings, k) for k in ("plugins", "markdown_extensions"))
    return not {"macros", "zensical.extensions.macros"}.isdisjoint({*plugins, *extensions})


def _read_settings(file: Path, problems: list[str] | None = None, depth: int = 0) -> dict[str, Any]:
    config = read_config(file, problems)
    inherited = string(config, "INHERIT")
    if not inherited or depth == _MAX_INHERITED:
        return config
    parent = file.parent / inherited
    if not (allowed := _same_repository(file, parent)) or not parent.is_file():
        if problems is not None:
            reason = "no such file" if allowed else "the file is outside the repository"
            problems.append(f"{file.name}: INHERIT: {reason}")
        return opened(config, "code")
    return merged(_read_settings(parent, problems, depth + 1), config)


def _same_repository(file: Path, other: Path) -> bool:
    """Whether `other` is in the repository of `file`, or there is no repository."""
    try:
        root = repository_of(file.parent)
        return root is None or other.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def _nav_files(nav: object) -> Iterator[str]:
    """The pages of `nav`, which nests lists and `title: page`."""
    if isinstance(nav, str):
        yield posixpath.normpath(nav)
    elif isinstance(nav, list | dict):
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _nav_files(entry)


GENERATOR: Final = Generator(
    name="mkdocs",
    options={"use_directory_urls": bool},
    config_files=("mkdocs.yml", "mkdocs.yaml"),
    read_settings=_read_settings,
    patterns=("exclude_docs", "draft_docs"),
    address=lambda settings: (
        string(settings, "site_url"),
        UNREAD if setting(settings, "site_url") is UNKNOWN else None,
    ),
    title=lambda settings: string(settings, "site_name"),
    content_roots=lambda project: project.single_root(string(project.settings, "docs_dir", "docs")),
    page_order=lambda site, _root, _pages: _nav_files(site.settings.get("nav")),
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda settings: "jinja" if _has_macros(settings) else "python",
    underscored_pages=True,
)
