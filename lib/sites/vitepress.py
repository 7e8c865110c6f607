"""VitePress: file names as addresses, with rewrites; slugs of @mdit-vue/shared."""

import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from lib.languages import normalize
from lib.sites.anchors import attribute_list, numbered
from lib.sites.config_files import read_text, section, string, strings
from lib.sites.globs import glob_matches
from lib.sites.javascript import JAVASCRIPT_SUFFIXES, UNKNOWN, read_object
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    if glob_matches(strings(site.settings.get("srcExclude")), source.path):
        return NOT_BUILT
    if re.search(r"\[\w+\]", source.path) or glob_matches(("**/node_modules/**",), source.path):
        return NOT_BUILT  # a template; code lists its pages
    path = _rewritten(site.settings.get("rewrites"), source.path)
    if path is None:
        return UNKNOWN_PATH
    folder, name = split_name(path)
    if name == "index":
        return PagePath(joined(site.base_url, folder, "/"))
    clean = site.switch("clean_urls", site.settings.get("cleanUrls") is True)
    return PagePath(joined(site.base_url, folder, name) + ("" if clean else ".html"))


_PARAMETER: Final = re.compile(r":(\w+)(?:\(([^()]*)\))?([*+?]?)")

_SYNTAX: Final = re.compile(r"[:({]")


def _rewritten(rewrites: object, path: str) -> str | None:
    """The path after `rewrites`; None when code decides."""
    if rewrites is UNKNOWN:
        return None
    if not isinstance(rewrites, dict):
        return path
    for pattern, target in rewrites.items():
        if pattern == path:
            return target if isinstance(target, str) else None
        if not _SYNTAX.search(pattern) or not isinstance(target, str):
            continue
        prefix, regex, suffix = _compiled(pattern)
        if not (path.startswith(prefix) and path.endswith(suffix)):
            continue
        if regex is None:
            return None
        if (found := regex.match(path[: len(path) - len(suffix)])) is not None:
            values = dict(zip(_PARAMETER.split(pattern)[1::4], found.groups(), strict=True))
            pieces = _PARAMETER.split(target)  # text, name, expression, sign, text, …
            pieces[1::4] = [values.get(name, "") for name in pieces[1::4]]
            return "".join(pieces[at] for at in range(len(pieces)) if at % 4 in (0, 1))
    return path


@lru_cache(maxsize=1_000)
def _compiled(pattern: str) -> tuple[str, re.Pattern[str] | None, str]:
    """The text before the parameters, a regular expression, and the text after them.

    The rules are those of path-to-regexp 6.3: a parameter contains no slash, nor the text before it
    if that follows another parameter. So none backtracks over another. The regular expression is
    None for a pattern with expressions or groups, and for one with `.*` before another parameter.
    """
    texts = _PARAMETER.split(pattern)
    if any("(" in text or "{" in text for text in texts[0::4]):
        return _SYNTAX.split(pattern)[0], None, ""
    kinds = list(zip(texts[0::4], texts[2::4], texts[3::4], strict=False))
    regex = ""
    for index, (before, expression, sign) in enumerate(kinds):
        rest = expression == ".*" or sign in ("*", "+")
        last = index == len(kinds) - 1
        if (expression and not rest) or (rest and not last) or (index and not before):
            return texts[0], None, texts[-1]
        free = not index or "/" in before
        piece = "[^/]+?" if free else f"(?:(?!{re.escape(before)})[^/])+?"
        regex += re.escape(before) + ("(.*)" if rest else f"({piece})")
    return texts[0], re.compile(regex + r"\Z", re.DOTALL), texts[-1]


_SPECIAL: Final = re.compile(r"""[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:"'“”‘’<>,.?/]+""")
_DROPPED: Final = re.compile(r"[\u0300-\u036f\u0000-\u001f]")


def _slug(text: str) -> str:
    """`slugify` of @mdit-vue/shared."""
    text = _DROPPED.sub("", normalize("NFKD", text))
    text = _SPECIAL.sub("-", text).strip("-")
    # ASCII digits only: the rule is a JavaScript `\d`.
    return re.sub(r"^([0-9])", r"_\1", text).lower()


def _heading_rules(site: Site, _text: str) -> HeadingRules:
    anchor = section(site.settings, "markdown").get("anchor")
    own = anchor is UNKNOWN or (isinstance(anchor, dict) and "slugify" in anchor)
    return HeadingRules(
        slugify=None if own else _slug,
        number=partial(numbered, explicit_count=True),
        text=HeadingText(
            emoji_codes=False, footnotes=False, attributes=True, breaks="", raw_entities=True
        ),
        explicit_id=attribute_list,
    )


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    wanted = ("base", "cleanUrls", "srcDir", "themeConfig", "title", "rewrites", "markdown")
    return read_object(read_text(file, problems), wanted, file.name, problems)


GENERATOR: Final = Generator(
    name="vitepress",
    options={"clean_urls": bool},
    config_files=(
        *(f".vitepress/config{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        *(f".vitepress/config/index{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        ".vitepress/",
    ),
    read_settings=_read_settings,
    patterns=("rewrites", "srcExclude"),
    project_folder=lambda file: next(
        each.parent for each in (file, *file.parents) if each.name == ".vitepress"
    ),
    address=lambda settings: (
        string(section(settings, "sitemap"), "hostname"),
        string(settings, "base"),
    ),
    content_roots=lambda project: project.single_root(string(project.settings, "srcDir", ".")),
    page_path=_page_path,
    heading_rules=_heading_rules,
    underscored_pages=True,
    text_fragments=False,  # its client looks up the anchor itself and would not find this one
)
