"""Find a site's generator, address and content roots in the project's own files.

Configuration files are looked for around the content root. The operator overrules them:
`generator` other than "auto" reads that generator's files only, and `options` (base_url,
docs_route, trailing_slash, clean_urls, use_directory_urls) win over the configuration.

`base_url` is the whole path that the site is served under; `site_url` then gives scheme and host
only. Without it the path is that of `site_url`, else the configured one, so that
`https://x.org/book` works as well as `https://x.org` with a configured `/book/`.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from lib.sites.config_files import PARENTS, UNREAD, repository_of
from lib.sites.generators import GENERATORS
from lib.sites.site import NO_GENERATOR, Generator, Project, Site, use_the_build

_MAX_ROOTS: Final = 1_000
_MAX_PROBLEMS: Final = 20
_MAX_FOLDERS: Final = 500
_SITE_FOLDERS: Final = "website docs site documentation doc book docs/source source".split()


def detect_site(
    content_root: Path,
    *,
    site_url: str = "",
    generator: str = "auto",
    options: Mapping[str, object] | None = None,
) -> Site:
    """Never raises for the contents of the project's files; `generator` must be a known name."""
    if generator not in (*GENERATORS, "auto", NO_GENERATOR.name):
        raise ValueError(f"unknown site generator {generator!r}")
    options = MappingProxyType(dict(options or {}))
    root = Path(posixpath.normpath(content_root.absolute().as_posix()))
    wanted = [each for each in GENERATORS.values() if generator in ("auto", each.name)]
    problems: list[str] = []
    elsewhere: list[str] = []
    for each, file in _config_files(root, wanted):
        own: list[str] = []
        settings = each.read_settings(file, own)
        problems += own
        if not each.recognises(file, settings):
            continue
        project = Project(each.project_folder(file), root, options, MappingProxyType(settings))
        site = _site(each, project, site_url, file, own)
        related = file.parent.is_relative_to(root) or file.parent in root.parents
        if any(content.overlaps(root.as_posix()) for content in site.content_roots):
            return site
        if related and site.content_roots:
            where = os.path.relpath(site.content_roots[0].folder, root)
            elsewhere.append(
                f"{file.name}: not used, because its pages are in {where}, outside the content "
                "folder; check BOOK_CONTENT_PATH"
            )
    return _site(
        GENERATORS.get(generator, NO_GENERATOR),
        Project(root, root, options, configured=False),
        site_url,
        None,
        problems + elsewhere[:1],
    )


def _config_files(root: Path, wanted: list[Generator]) -> Iterator[tuple[Generator, Path]]:
    """Configuration files, nearest first: in the content root, its parents up to the repository's
    root, the folders beside or below those that sites usually live in, and in a repository any
    folder beside or below them."""
    folders = [root]
    repository = repository_of(root)
    for parent in list(root.parents)[:PARENTS]:
        if folders[-1] == repository or parent == Path(parent.anchor):
            break
        folders.append(parent)
    usual = [folder / name for folder in folders for name in _SITE_FOLDERS]
    others = [folder / name for folder in folders for name in _names(folder)] if repository else []
    for folder in dict.fromkeys([*folders, *usual, *others[:_MAX_FOLDERS]]):
        present = _names(folder)
        for generator in wanted:
            for name in generator.config_files:
                file = folder / name
                if name.partition("/")[0] in present and (
                    file.is_dir() if name.endswith("/") else file.is_file()
                ):
                    yield generator, file
                    break


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _site(
    generator: Generator,
    project: Project,
    site_url: str,
    config_file: Path | None,
    problems: list[str],
) -> Site:
    given, (url, base) = _split(site_url), generator.address(project.settings)
    name = config_file.name if config_file else generator.name
    configured, option = _split(url), project.options.get("base_url")
    unlinked = list[str]()
    if isinstance(option, str):
        path = _path(option)
    elif given[1].strip("/"):
        path = given[1]
    elif base == UNREAD and not given[0]:
        path = base
        lacking = "pages have no address without SITE_URL"
        unlinked.append(f"{name}: {use_the_build('the path of the site is not read', lacking)}")
    elif base is not None and base != UNREAD:
        path = _path(base)
    elif given[0] and configured[0] and given[0].lower() != configured[0].lower():
        path = "/"  # published on another host than configured: at its top
    else:
        path = configured[1]
    roots = list(islice(generator.content_roots(project), _MAX_ROOTS + 1))
    if len(roots) > _MAX_ROOTS:
        problems.append(f"{name}: more than {_MAX_ROOTS} folders of pages: the rest is not linked")
        roots.pop()
    unlinked += (f"{name}: {line}" for line in generator.unread(project))
    return Site(
        generator,
        given[0] or configured[0],
        "" if path == UNREAD else _slashed(path),
        tuple(sorted(roots, key=lambda root: -len(root.folder))),
        project.settings,
        project.options,
        config_file,
        tuple([*problems, *unlinked][:_MAX_PROBLEMS]),
        tuple(unlinked),
    )


def _split(url: str) -> tuple[str, str]:
    """Scheme with host, and path; both empty for anything but a web address."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "", ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return "", ""
    return f"{parts.scheme}://{parts.netloc}", parts.path


def _path(url: str) -> str:
    return _split(url)[1] if "://" in url else url


def _slashed(path: str) -> str:
    """The path with a slash at both ends; `./` and an empty path are `/`."""
    inner = "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"/{inner}/" if inner else "/"
