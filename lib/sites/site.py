"""What is known of a published site: its generator, its address, and where its pages come from.

`base_url` among the operator's options is the whole path that the site is served under; `site_url`
then only says scheme and host. Without it the path is that of `site_url`, else the configuration's,
so that `https://x.org/book` works as well as `https://x.org` with a configured `/book/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from lib.mounts import Mount

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
    mounts: tuple[Mount, ...] = ()
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
