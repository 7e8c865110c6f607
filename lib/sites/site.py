"""What is known of a published site: its generator, its address, and where its pages come from.

`base_url` among the operator's options is the whole path that the site is served under; `site_url`
then only says scheme and host. Without it the path is that of `site_url`, else the configuration's,
so that `https://x.org/book` works as well as `https://x.org` with a configured `/book/`.

The folders of a project that hold pages, and where the site serves each of them.

What decides about a page's path, and what comes out.

The path functions of each generator stand in `lib.*_paths`. They take a page's path relative to its
mount and return it as the generator writes it, unencoded, with a leading slash: `Place("/guide/")`.
Their rules were read from the generators' sources and from real builds.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ContentRoot:
    folder: str
    """Absolute, with `/`, none at its end."""
    route: str | None = ""
    """Path below the site's base, no slash at either end; None when it could not be read."""
    kind: str = "docs"
    """docs, blog or pages (Docusaurus); a collection's name (Jekyll)."""
    version: str = ""
    locale: str = ""
    main: bool = False
    exclude: tuple[str, ...] = ()
    number_prefixes: bool = True

    def overlaps(self, folder: str) -> bool:
        return _inside(self.folder, folder) or _inside(folder, self.folder)

    def relative(self, file: str) -> str | None:
        return file[len(self.folder) :].lstrip("/") if _inside(file, self.folder) else None


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def below(folder: Path, path: str) -> str:
    """`path` of a configuration, as an absolute folder."""
    return posixpath.normpath(posixpath.join(folder.as_posix(), path))


def single_root(folder: Path, path: str) -> tuple[ContentRoot, ...]:
    return (ContentRoot(below(folder, path)),)


@dataclass(frozen=True, slots=True)
class PageSource:
    """What decides about one page's path."""

    path: str
    """Relative to its mount."""
    front_matter: Mapping[str, object]
    title: str
    has_front_matter: bool
    siblings: frozenset[str]
    """All pages of the same mount, relative to it; this one too."""


@dataclass(frozen=True, slots=True)
class PagePath:
    path: str | None
    """None when it cannot be known, or there is no such page."""
    published: bool = True
    """False when the site's own rules keep the page out of the build."""
    locale: str = ""


NOT_BUILT: Final = PagePath(None, published=False)
UNKNOWN_PATH: Final = PagePath(None)


def split_name(path: str) -> tuple[str, str]:
    """Folder ("" at the top) and the file's name without its extension."""
    folder, name = posixpath.split(path)
    return folder, re.sub(r"\.(?:mdx?|markdown|mkdn?|mkdown|mdown)$", "", name, flags=re.IGNORECASE)


def joined(*parts: str) -> str:
    """With single slashes; a slash at the end stays."""
    return re.sub(r"/{2,}", "/", "/" + "/".join(part for part in parts if part))


def text_of(value: object) -> str:
    """Front matter that means a string but was read as a number."""
    return str(value) if isinstance(value, str | int | float) and value is not True else ""


def date_of(value: object) -> date | None:
    if isinstance(value, Mapping):  # the blog plugin of Material: created, updated
        value = value.get("created")
    if isinstance(value, datetime | date):
        return value
    try:
        return datetime.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None


GENERATORS: Final = ("docusaurus", "mkdocs", "mdbook", "vitepress", "hugo", "jekyll", "sphinx")


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of a published site. `Site("none")` is a site of which nothing is known."""

    generator: str
    site_url: str = ""
    """Scheme and host, no path, no slash at its end; empty when neither was told."""
    base_url: str = "/"
    """The path the site is served under, with a slash at both ends."""
    docs_route: str = ""
    """Docusaurus: where the main docs stand below `base_url`."""
    trailing_slash: bool | None = None
    clean_urls: bool = False
    use_directory_urls: bool = True
    mounts: tuple[ContentRoot, ...] = ()
    """Which folders hold pages, and where each is served. Longest folder first."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The generator's own configuration, as far as it could be read."""
    config_file: Path | None = None


def placed(
    site: Site, site_url: str, options: Mapping[str, object], url: str, base: str | None
) -> Site:
    """The site with its address, and what else the operator's `options` say of addresses.

    `url` and `base` are the configuration's: either the whole address and None, or two parts.
    """
    given, configured = _split(site_url), _split(url)
    option = options.get("base_url")
    if isinstance(option, str):
        path = _split(option)[1] if "://" in option else option
    elif given[1].strip("/"):
        path = given[1]
    elif base is not None:
        path = _split(base)[1] if "://" in base else base
    elif given[0] and configured[0] and given[0].lower() != configured[0].lower():
        path = "/"  # published elsewhere than the configuration says, at the host's top
    else:
        path = configured[1]
    site = replace(site, site_url=given[0] or configured[0], base_url=_slashed(path))
    changes: dict[str, Any] = {}
    for key in ("trailing_slash", "clean_urls", "use_directory_urls"):
        if isinstance(value := options.get(key), bool):
            changes[key] = value
    if site.generator == "docusaurus":
        main = next((m.route for m in site.mounts if m.main), None)
        changes["docs_route"] = main or ""
    return replace(site, **changes)


def _split(url: str) -> tuple[str, str]:
    """Scheme with host, and path; both empty when it is no web address."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "", ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return "", ""
    return f"{parts.scheme}://{parts.netloc}", parts.path


def _slashed(path: str) -> str:
    """`./` and an empty path, which generators allow for sites that may lie anywhere, are `/`."""
    inner = "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"/{inner}/" if inner else "/"
