"""Jekyll: which files are built, and the addresses of pages and of collections.

Those of posts depend on dates, categories and time zones, and anchors on kramdown's typography, so
only the built site has them.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from lib.sites.config_files import read_text, section, string, strings
from lib.sites.site import (
    NOT_BUILT,
    ContentRoot,
    Generator,
    PagePath,
    PageSource,
    Site,
    joined,
    scheduled,
    split_name,
    text_of,
    use_the_build,
)

_ENDINGS: Final = {"None": ".html", "date": ".html", "none": ".html", "pretty": "/"}
"""Ends of addresses by the setting `permalink`. Others are not read."""
_POST_NAME: Final = re.compile(r"(\d{2,4}-\d{1,2}-\d{1,2})-.*")


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    kind, path = _kind(site, source.path)
    if _hidden(site, path, source.path):
        return NOT_BUILT
    front = {**_defaults(site, kind, source.path), **source.front_matter}
    post = _POST_NAME.fullmatch(split_name(source.path)[1])
    if front.get("published") is False or (kind == "posts" and post is None):
        return NOT_BUILT
    built, until = True, None
    if kind != "pages" and site.settings.get("future") is not True:
        built, until = scheduled(front.get("date") or (post and post[1]))
    address = _address(site, kind, path, source, front) if built else None
    return PagePath(address, built, until=until)


def _address(
    site: Site, kind: str, path: str, source: PageSource, front: Mapping[str, object]
) -> str | None:
    permalink = text_of(front.get("permalink"))
    ending = _ENDINGS.get(str(site.settings.get("permalink")))
    # GitHub Pages renders what has no front matter and makes a README the index; Jekyll does not.
    plain = _FRONT_MATTER.match(source.text or read_text(source.file)) is not None
    folder, name = split_name(path)
    if kind == "posts" or not (plain and source.front_matter_complete) or name == "README":
        return None
    if not permalink and kind == "pages":
        if ending is None and name != "index":
            return None
        return joined(site.base_url, folder, "/" if name == "index" else f"{name}{ending}")
    if not permalink:
        values = {"collection": kind, "path": f"{folder}/{name}".lstrip("/")}
        permalink = string(section(site.settings, "collections", kind), "permalink", ":")
        permalink = re.sub(r":(collection|path)\b", lambda found: values[found[1]], permalink)
    return None if ":" in permalink else joined(site.base_url, unquote(permalink))


def _kind(site: Site, path: str) -> tuple[str, str]:
    """posts, a collection's name, or pages; and the path below the folder of that kind."""
    _, posts, below = f"/{path}".partition("/_posts/")
    if posts:
        return "posts", below
    base = string(site.settings, "collections_dir").strip("/")
    folder, _, below = path.removeprefix(f"{base}/").partition("/")
    if below and section(site.settings, "collections", folder[1:]).get("output") is True:
        return folder[1:], below
    return "pages", path


_FRONT_MATTER: Final = re.compile(r"\ufeff?---[ \t]*\r?\n")
"""Empty front matter counts."""
_NEVER: Final = ("node_modules", "vendor/bundle/", "vendor/cache/", "vendor/gems/", "vendor/ruby/")


def _hidden(site: Site, path: str, project_path: str) -> bool:
    """`path` is relative to the folder of its kind."""
    included = strings(site.settings.get("include"))
    for part in path.split("/"):
        if (part[0] in "_.#" or part.endswith("~")) and part not in included:
            return True
    ends = [at for at, char in enumerate(project_path) if char == "/"] + [len(project_path)]
    return any(
        project_path.startswith(pattern.lstrip("/"))  # a prefix, not a folder
        or any(fnmatch(project_path[:end], pattern.strip("/")) for end in ends)
        for pattern in (*strings(site.settings.get("exclude")), *_NEVER)
        if pattern.strip("/")
    )


_MAX_DEFAULTS: Final = 200


def _defaults(site: Site, of_kind: str, path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    defaults = site.settings.get("defaults")
    for entry in defaults[:_MAX_DEFAULTS] if isinstance(defaults, list) else []:
        scope = section(entry, "scope")
        where, kind = text_of(scope.get("path")).strip("/"), string(scope, "type")
        if kind in ("", of_kind) and (
            where in ("", ".")
            or path.startswith(where)  # a prefix, not a folder
            or fnmatch(path, where)
        ):
            found |= section(entry, "values")
    return found


def _recognises(file: Path, settings: Mapping[str, Any]) -> bool:
    """Jupyter Book has a _config.yml beside its _toc.yml; Hexo's has other settings."""
    hexo = {"source_dir", "public_dir"} & settings.keys()
    return not hexo and not file.with_name("_toc.yml").is_file()


GENERATOR: Final = Generator(
    name="jekyll",
    config_files=("_config.yml", "_config.yaml"),
    recognises=_recognises,
    address=lambda settings: (string(settings, "url"), string(settings, "baseurl", "/")),
    title=lambda settings: string(settings, "title"),
    content_roots=lambda project: project.single_root(string(project.settings, "source", ".")),
    unread=lambda _: [
        use_the_build(
            "anchors, permalinks of posts, and those with other fields than :collection and :path "
            "are known only from the build",
            "links lead to pages, and those of some pages are missing",
        )
    ],
    page_path=_page_path,
    markdown=lambda _: "liquid",
    underscored_pages=True,
)
