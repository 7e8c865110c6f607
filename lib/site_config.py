"""Which generator makes the site, where it is published, and where its pages come from.

Read from the project's own files around the content root, then overruled by the operator:

- `generator` other than "auto" looks for that generator's files only;
- `options` (base_url, docs_route, trailing_slash, clean_urls, use_directory_urls) win over the
  project's configuration;
- `base_url`, where given, is the whole path that the site is served under; `site_url` then only
  says scheme and host. Without it the path is that of `site_url`, else the configuration's, so
  that `https://x.org/book` works as well as `https://x.org` with a configured `/book/`.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from lib.config_files import merged, read_config, read_text, section, string
from lib.js_literals import read_object
from lib.mounts import Mount, docusaurus_mounts, hugo_mounts, jekyll_mounts, plain_mount

GENERATORS: Final = ("docusaurus", "mkdocs", "mdbook", "vitepress", "hugo", "jekyll", "sphinx")

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
        return _placed(Site("none"), site_url, options, "", None)
    wanted = GENERATORS if generator == "auto" else (generator,)
    for name, file in _candidates(root, wanted):
        site = _read(name, file, root, site_url, options)
        if site is not None:
            return site
    route = options.get("docs_route")
    if generator == "auto" and isinstance(route, str) and route.strip("/"):
        generator = "docusaurus"  # only Docusaurus has one
    if generator == "auto":
        return _placed(Site("none"), site_url, options, "", None)
    return _assumed(generator, root, site_url, options)


def _candidates(root: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Configuration files, nearest first: the content root, its parents up to the repository's
    root, and beside or below those the folders that sites usually live in."""
    folders = [root]
    for parent in list(root.parents)[:_PARENTS]:
        if (folders[-1] / ".git").exists() or parent == Path(parent.anchor):
            break
        folders.append(parent)
    for folder in folders:
        for name in sorted(wanted, key=list(_FILES).index):
            yield from _found(name, folder)
    for folder in folders:
        for aside in _ASIDE:
            for name in sorted(wanted, key=list(_FILES).index):
                yield from _found(name, folder / aside)


def _found(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    files = (folder / file for file in _FILES[name])
    file = next((f for f in files if f.is_file() or (f.name == ".vitepress" and f.is_dir())), None)
    if file is None or (name == "jekyll" and (folder / "_toc.yml").is_file()):
        return  # Jupyter Book has a _config.yml too, and is Sphinx
    yield name, file


def _read(
    name: str, file: Path, root: Path, site_url: str, options: Mapping[str, object]
) -> Site | None:
    """The site of one configuration file; None when the content root is no part of it."""
    settings = _settings(name, file)
    folder = _folder(name, file)
    if not _plausible(name, file, settings):
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
    return _placed(replace(site, mounts=mounts), site_url, options, url, base)


def _plausible(name: str, file: Path, settings: Mapping[str, Any]) -> bool:
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
    return _placed(replace(site, mounts=mounts), site_url, options, "", None)


def _placed(
    site: Site, site_url: str, options: Mapping[str, object], url: str, base: str | None
) -> Site:
    """`url` and `base` are the configuration's: either the whole address and None, or two parts."""
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


def _folder(name: str, file: Path) -> Path:
    folder = file.parent
    if ".vitepress" in file.parts[-3:]:
        return next(p.parent for p in (file, *file.parents) if p.name == ".vitepress")
    if name == "hugo" and folder.name == "_default":
        return folder.parent.parent
    return folder


def _settings(name: str, file: Path) -> dict[str, Any]:
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
