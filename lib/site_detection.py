"""Which generator makes the site, where it is published, and where its pages come from.

Read from the project's own files around the content root, then overruled by the operator:

- `generator` other than "auto" looks for that generator's files only;
- `options` (base_url, docs_route, trailing_slash, clean_urls, use_directory_urls) win over the
  project's configuration.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from lib.mounts import docusaurus_mounts, hugo_mounts, jekyll_mounts, plain_mount
from lib.sites.config_files import section, string
from lib.sites.detection import candidates, plausible, project_folder, read_settings
from lib.sites.site import GENERATORS, Site, placed


def detect_site(
    content_root: Path,
    *,
    site_url: str = "",
    generator: str = "auto",
    options: Mapping[str, object] | None = None,
) -> Site:
    """Never raises for what the project's files hold; `generator` must be a known name."""
    if generator not in (*GENERATORS, "auto", "none"):
        raise ValueError(f"unknown site generator {generator!r}")
    options = options or {}
    root = Path(posixpath.normpath(content_root.absolute().as_posix()))
    if generator == "none":
        return placed(Site("none"), site_url, options, "", None)
    wanted = GENERATORS if generator == "auto" else (generator,)
    for name, file in candidates(root, wanted):
        site = _read(name, file, root, site_url, options)
        if site is not None:
            return site
    route = options.get("docs_route")
    if generator == "auto" and isinstance(route, str) and route.strip("/"):
        generator = "docusaurus"  # only Docusaurus has one
    if generator == "auto":
        return placed(Site("none"), site_url, options, "", None)
    return _assumed(generator, root, site_url, options)


def _read(
    name: str, file: Path, root: Path, site_url: str, options: Mapping[str, object]
) -> Site | None:
    """The site of one configuration file; None when the content root is no part of it."""
    settings = read_settings(name, file)
    folder = project_folder(name, file)
    if not plausible(name, file, settings):
        return None
    url, base = "", None
    site = Site(name, settings=MappingProxyType(settings), config_file=file)
    match name:
        case "docusaurus":
            url, base = string(settings, "url"), string(settings, "baseUrl", "/")
            slash = settings.get("trailingSlash")
            site = replace(site, trailing_slash=slash if isinstance(slash, bool) else None)
            mounts = docusaurus_mounts(folder, settings, root, options.get("docs_route"))
        case "vitepress":
            url, base = string(section(settings, "sitemap"), "hostname"), string(settings, "base")
            site = replace(site, clean_urls=settings.get("cleanUrls") is True)
            mounts = plain_mount(folder, string(settings, "srcDir", "."))
        case "mkdocs":
            url = string(settings, "site_url")
            directories = settings.get("use_directory_urls") is not False
            site = replace(site, use_directory_urls=directories)
            mounts = plain_mount(folder, string(settings, "docs_dir", "docs"))
        case "mdbook":
            place = string(section(settings, "output", "html"), "site-url")
            url, base = (place, None) if "://" in place else ("", place)
            mounts = plain_mount(folder, string(section(settings, "book"), "src", "src"))
        case "hugo":
            url = string(settings, "baseurl")
            mounts = hugo_mounts(folder, settings)
        case "jekyll":
            url, base = string(settings, "url"), string(settings, "baseurl", "/")
            mounts = jekyll_mounts(folder, settings)
        case _:
            url = string(settings, "html_baseurl")
            site = replace(site, use_directory_urls=settings.get("html_builder") == "dirhtml")
            mounts = plain_mount(folder, ".")
    overlapping = [mount for mount in mounts if mount.overlaps(root.as_posix())]
    if not overlapping and name != "docusaurus":
        return None
    if not overlapping and not file.parent.is_relative_to(root) and file.parent not in root.parents:
        return None
    mounts = tuple(sorted(mounts, key=lambda mount: -len(mount.folder)))
    return placed(replace(site, mounts=mounts), site_url, options, url, base)


def _assumed(name: str, root: Path, site_url: str, options: Mapping[str, object]) -> Site:
    """A generator that was named but whose files are not there: its defaults."""
    site = Site(name)
    if name == "docusaurus":
        route = options.get("docs_route")
        mounts = docusaurus_mounts(None, {}, root, route if isinstance(route, str) else "docs")
    elif name == "jekyll":
        mounts = jekyll_mounts(root, {})
    else:
        mounts = plain_mount(root, ".")
    if name == "sphinx":
        site = replace(site, use_directory_urls=False)
    return placed(replace(site, mounts=mounts), site_url, options, "", None)
