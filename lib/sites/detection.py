"""The generators' own configuration files: where they lie, whose they are, and what they say.

Which generator makes the site, where it is published, and where its pages come from.

Read from the project's own files around the content root, then overruled by the operator:

- `generator` other than "auto" looks for that generator's files only;
- `options` (base_url, docs_route, trailing_slash, clean_urls, use_directory_urls) win over the
  project's configuration.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lib.sites.config_files import merged, read_config, read_text, section, string
from lib.sites.docusaurus import docusaurus_roots
from lib.sites.hugo import hugo_roots
from lib.sites.javascript import read_object
from lib.sites.jekyll import jekyll_roots
from lib.sites.site import GENERATORS, Site, placed, single_root

_JS: Final = (".js", ".ts", ".mjs", ".mts", ".cjs", ".cts")
_VITEPRESS: Final = tuple(
    f"{stem}{suffix}" for stem in ("config", "config/index") for suffix in _JS
)
_DATA: Final = (".toml", ".yaml", ".yml", ".json")
# In this order when one folder has several.
_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "docusaurus": tuple(f"docusaurus.config{suffix}" for suffix in _JS),
    "vitepress": (*(f".vitepress/{name}" for name in _VITEPRESS), ".vitepress"),
    "mkdocs": ("mkdocs.yml", "mkdocs.yaml"),
    "mdbook": ("book.toml",),
    "sphinx": ("conf.py", "_toc.yml"),
    "hugo": (
        *(f"hugo{suffix}" for suffix in _DATA),
        *(f"config/_default/hugo{suffix}" for suffix in _DATA),
        *(f"config/_default/config{suffix}" for suffix in _DATA),
        *(f"config{suffix}" for suffix in _DATA),
    ),
    "jekyll": ("_config.yml", "_config.yaml"),
}
_PARENTS: Final = 4
_ASIDE: Final = ("website", "docs", "site", "documentation", "doc", "book", "docs/source", "source")


def candidates(root: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Generators and their configuration files, nearest first: in the content root, its parents up
    to the repository's root, and beside or below those the folders that sites usually live in."""
    folders = [root]
    for parent in list(root.parents)[:_PARENTS]:
        if (folders[-1] / ".git").exists() or parent == Path(parent.anchor):
            break
        folders.append(parent)
    folders += [folder / aside for folder in folders for aside in _ASIDE]
    names = [name for name in _FILES if name in wanted]
    for folder in folders:
        for name in names:
            if file := _found(name, folder):
                yield name, file


def _found(name: str, folder: Path) -> Path | None:
    if name == "jekyll" and (folder / "_toc.yml").is_file():
        return None  # Jupyter Book has a _config.yml too, and is Sphinx
    files = (folder / file for file in _FILES[name])
    return next((f for f in files if f.is_file() or (f.name == ".vitepress" and f.is_dir())), None)


def plausible(name: str, file: Path, settings: Mapping[str, Any]) -> bool:
    """Other programs have a conf.py, a _config.yml or a config.toml, too."""
    match name:
        case "sphinx":
            known = {"project", "extensions", "html_theme", "master_doc", "root_doc"}
            return file.name == "_toc.yml" or bool(known & settings.keys())
        case "jekyll":
            return not {"source_dir", "public_dir"} & settings.keys()  # Hexo
        case "hugo" if file.stem == "config" and file.parent.name != "_default":
            return bool({"baseurl", "contentdir", "theme", "module"} & settings.keys())
        case "mdbook":
            source = string(section(settings, "book"), "src", "src")
            return (file.parent / source / "SUMMARY.md").is_file()
    return True


def project_folder(name: str, file: Path) -> Path:
    """The folder that the paths in a configuration file count from."""
    folder = file.parent
    if ".vitepress" in file.parts[-3:]:
        return next(p.parent for p in (file, *file.parents) if p.name == ".vitepress")
    if name == "hugo" and folder.name == "_default":
        return folder.parent.parent
    return folder


def read_settings(name: str, file: Path) -> dict[str, Any]:
    """What one generator's configuration file says, and those that it builds upon."""
    if name == "docusaurus":
        keys = ("baseUrl", "url", "presets", "plugins", "themeConfig", "title")
        return read_object(read_text(file), keys)
    if name == "vitepress":
        wanted = ("base", "cleanUrls", "srcDir", "themeConfig", "title", "rewrites", "markdown")
        return read_object(read_text(file), wanted) if file.is_file() else {}
    if name == "mkdocs":
        return _mkdocs(file)
    if name == "hugo":
        return _hugo(file)
    if name == "sphinx" and file.name == "_toc.yml":
        book = read_config(file.with_name("_config.yml"))
        return {
            **section(book, "sphinx", "config"),
            "html_baseurl": string(section(book, "html"), "baseurl"),
        }
    return read_config(file)


def _mkdocs(file: Path, depth: int = 0) -> dict[str, Any]:
    config = read_config(file)
    parent = string(config, "INHERIT")
    if parent and depth < 3 and not parent.startswith("/"):
        return merged(_mkdocs(file.parent / parent, depth + 1), config)
    return config


def _hugo(file: Path) -> dict[str, Any]:
    """Hugo's keys know no case. A folder of configuration adds its other files by their names."""
    config: dict[str, Any] = _lower(read_config(file))
    if file.parent.name == "_default":
        for other in sorted(file.parent.iterdir())[:50]:
            if other != file and other.suffix in _DATA:
                config.setdefault(other.stem.lower(), _lower(read_config(other)))
    return config


def _lower(config: object, depth: int = 0) -> Any:
    if isinstance(config, dict) and depth < 8:
        return {str(key).lower(): _lower(value, depth + 1) for key, value in config.items()}
    return config


def extension_settings(settings: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
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
            mounts = docusaurus_roots(folder, settings, root, options.get("docs_route"))
        case "vitepress":
            url, base = string(section(settings, "sitemap"), "hostname"), string(settings, "base")
            site = replace(site, clean_urls=settings.get("cleanUrls") is True)
            mounts = single_root(folder, string(settings, "srcDir", "."))
        case "mkdocs":
            url = string(settings, "site_url")
            directories = settings.get("use_directory_urls") is not False
            site = replace(site, use_directory_urls=directories)
            mounts = single_root(folder, string(settings, "docs_dir", "docs"))
        case "mdbook":
            place = string(section(settings, "output", "html"), "site-url")
            url, base = (place, None) if "://" in place else ("", place)
            mounts = single_root(folder, string(section(settings, "book"), "src", "src"))
        case "hugo":
            url = string(settings, "baseurl")
            mounts = hugo_roots(folder, settings)
        case "jekyll":
            url, base = string(settings, "url"), string(settings, "baseurl", "/")
            mounts = jekyll_roots(folder, settings)
        case _:
            url = string(settings, "html_baseurl")
            site = replace(site, use_directory_urls=settings.get("html_builder") == "dirhtml")
            mounts = single_root(folder, ".")
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
        mounts = docusaurus_roots(None, {}, root, route if isinstance(route, str) else "docs")
    elif name == "jekyll":
        mounts = jekyll_roots(root, {})
    else:
        mounts = single_root(root, ".")
    if name == "sphinx":
        site = replace(site, use_directory_urls=False)
    return placed(replace(site, mounts=mounts), site_url, options, "", None)
