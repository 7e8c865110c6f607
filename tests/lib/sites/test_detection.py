"""The generators' own configuration files: which count, and what is read in them.

Sites found from a project's own files, and what the operator's settings do to them.
"""

from pathlib import Path

import pytest

from lib.sites.detection import (
    candidates,
    detect_site,
    extension_settings,
    plausible,
    project_folder,
    read_settings,
)
from lib.sites.site import GENERATORS, Site
from tests.tiny_book import write_book


def test_the_nearest_configuration_comes_first(tmp_path: Path) -> None:
    files = ["docs/guide/mkdocs.yml", "docs/conf.py", "mkdocs.yaml", "website/hugo.toml"]
    write_book(tmp_path, dict.fromkeys([*files, ".git/HEAD"], ""))
    found = list(candidates(tmp_path / "docs/guide", GENERATORS))
    assert [file.relative_to(tmp_path).as_posix() for _, file in found[:4]] == files
    assert [name for name, _ in candidates(tmp_path / "docs/guide", ("hugo",))] == ["hugo"]


def test_two_configurations_in_one_folder_have_an_order(tmp_path: Path) -> None:
    names = [".git/HEAD", "_config.yml", "conf.py", "mkdocs.yml", "mkdocs.yaml"]
    write_book(tmp_path, dict.fromkeys(names, ""))
    found = [(name, file.name) for name, file in candidates(tmp_path, GENERATORS)]
    assert found == [("mkdocs", "mkdocs.yml"), ("sphinx", "conf.py"), ("jekyll", "_config.yml")]


def test_a_jupyter_book_is_no_jekyll_site(tmp_path: Path) -> None:
    files = {".git/HEAD": "", "_config.yml": "html: {baseurl: /b}", "_toc.yml": ""}
    write_book(tmp_path, files)
    ((name, file),) = candidates(tmp_path, GENERATORS)
    assert (name, file.name) == ("sphinx", "_toc.yml")
    assert plausible(name, file, {})
    assert read_settings(name, file) == {"html_baseurl": "/b"}


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("vitepress", "docs/.vitepress/config.mts", "docs"),
        ("vitepress", "docs/.vitepress/config/index.ts", "docs"),
        ("vitepress", "docs/.vitepress", "docs"),
        ("hugo", "site/config/_default/hugo.toml", "site"),
        ("hugo", "site/hugo.toml", "site"),
        ("mkdocs", "mkdocs.yml", "."),
    ],
)
def test_the_folder_that_a_configuration_speaks_of(name: str, file: str, folder: str) -> None:
    assert project_folder(name, Path("/x") / file) == Path("/x") / folder


def test_a_configuration_builds_upon_another(tmp_path: Path) -> None:
    write_book(
        tmp_path,
        {
            "own/mkdocs.yml": "INHERIT: ../base.yml\ntheme: {name: b}",
            "base.yml": "site_url: https://x.org/\ntheme: {name: a, language: en}",
        },
    )
    read = read_settings("mkdocs", tmp_path / "own/mkdocs.yml")
    assert read["site_url"] == "https://x.org/"
    assert read["theme"] == {"name": "b", "language": "en"}


def test_hugo_knows_no_case_and_names_settings_by_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "config/_default"
    write_book(folder, {"hugo.toml": 'baseURL = "/h/"', "languages.yaml": "EN: {Weight: 1}"})
    read = read_settings("hugo", folder / "hugo.toml")
    assert read == {"baseurl": "/h/", "languages": {"en": {"weight": 1}}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["toc", {"search": {"lang": "en"}}], {"toc": {}, "search": {"lang": "en"}}),
        ({"toc": {"permalink": True}, "search": None}, {"toc": {"permalink": True}, "search": {}}),
        (None, {}),
        ("toc", {}),
        ([1, ["toc"]], {}),
    ],
)
def test_plugins_are_a_list_or_a_mapping(written: object, read: dict[str, object]) -> None:
    assert extension_settings({"plugins": written}, "plugins") == read


def project(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


DOCUSAURUS = "export default {url: 'https://x.org', baseUrl: '/book/', trailingSlash: false}"

PROJECTS: list[tuple[str, dict[str, str], str, str]] = [
    ("docusaurus", {"docusaurus.config.ts": DOCUSAURUS, "docs/a.md": ""}, "docs", "/book/"),
    (
        "docusaurus",
        {
            "website/docusaurus.config.js": "module.exports = {url: 'https://x.org', presets: "
            "[['classic', {docs: {path: '../docs'}}]]}",
            "docs/a.md": "",
        },
        "docs",
        "/",
    ),
    (
        "vitepress",
        {".vitepress/config.mts": "export default {base: '/v/', srcDir: 'src'}", "src/a.md": ""},
        "src",
        "/v/",
    ),
    ("vitepress", {"docs/.vitepress/theme/x.css": "", "docs/a.md": ""}, "docs", "/"),
    ("mkdocs", {"mkdocs.yml": "site_url: https://x.org/m/", "docs/a/b.md": ""}, "docs/a", "/m/"),
    (
        "mkdocs",
        {"mkdocs.yml": "INHERIT: base.yml", "base.yml": "site_url: https://x.org/i/", "docs/a": ""},
        "docs",
        "/i/",
    ),
    (
        "mdbook",
        {
            "book.toml": '[output.html]\nsite-url = "/b/"\n[book]\nsrc = "text"',
            "text/SUMMARY.md": "",
        },
        "text",
        "/b/",
    ),
    ("hugo", {"hugo.toml": 'baseURL = "https://x.org/h/"', "content/a.md": ""}, "content", "/h/"),
    (
        "hugo",
        {"config/_default/hugo.yaml": "baseURL: https://x.org/h/", "content/en/a.md": ""},
        "content/en",
        "/h/",
    ),
    ("hugo", {"config.toml": 'baseURL = "https://x.org/o/"', "content/a.md": ""}, "content", "/o/"),
    ("jekyll", {"_config.yml": "url: https://x.org\nbaseurl: /j", "a.md": ""}, ".", "/j/"),
    (
        "sphinx",
        {"docs/conf.py": "project = 'x'\nhtml_baseurl = 'https://x.org/s/'", "docs/g/a.md": ""},
        "docs/g",
        "/s/",
    ),
    (
        "sphinx",
        {"_toc.yml": "", "_config.yml": "html: {baseurl: 'https://x.org/jb'}", "a.md": ""},
        ".",
        "/jb/",
    ),
]


@pytest.mark.parametrize(("generator", "files", "content", "base"), PROJECTS)
def test_detection(
    tmp_path: Path, generator: str, files: dict[str, str], content: str, base: str
) -> None:
    root = project(tmp_path, files) / content
    root.mkdir(parents=True, exist_ok=True)
    site = detect_site(root)
    assert (site.generator, site.base_url) == (generator, base)
    assert any(mount.overlaps(root.resolve().as_posix()) for mount in site.mounts)
    assert detect_site(root, generator=generator).base_url == base


def test_the_whole_project_may_be_the_content_root(tmp_path: Path) -> None:
    project(tmp_path, {"website/docusaurus.config.js": DOCUSAURUS, "website/docs/a.md": ""})
    assert detect_site(tmp_path).generator == "docusaurus"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"conf.py": "DEBUG = True"},
        {"config.toml": "[server]\nport = 1"},
        {"_config.yml": "source_dir: source\npublic_dir: public"},  # Hexo
        {"book.toml": "[book]"},  # no SUMMARY.md
        {"mkdocs.yml": "docs_dir: elsewhere", "elsewhere/a.md": ""},
        {".git/HEAD": "", "docs/.git/HEAD": "", "mkdocs.yml": "site_name: x"},
    ],
)
def test_files_of_other_programs_and_projects(tmp_path: Path, files: dict[str, str]) -> None:
    root = project(tmp_path, files) / "docs"
    root.mkdir(exist_ok=True)
    assert detect_site(root) == Site("none")


def test_only_a_few_parents_are_looked_at(tmp_path: Path) -> None:
    deep = tmp_path / "docs/1/2/3/4/5"
    deep.mkdir(parents=True)
    project(tmp_path, {"mkdocs.yml": "site_name: x"})
    assert detect_site(deep).generator == "none"
    assert detect_site(deep.parents[2]).generator == "mkdocs"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("docusaurus.config.js", "module.exports = {url: 'https://x.org', baseUrl: '/book/'}"),
        ("mkdocs.yml", "site_url: https://x.org/book/"),
    ],
)
def test_the_operator_s_address_wins(tmp_path: Path, name: str, config: str) -> None:
    project(tmp_path, {name: config, "docs/a.md": ""})
    configured = detect_site(tmp_path / "docs")
    assert configured.site_url + configured.base_url == "https://x.org/book/"
    told = detect_site(tmp_path / "docs", site_url="https://docs.org/a")
    assert told.site_url + told.base_url == "https://docs.org/a/"


def test_options_win_over_the_configuration(tmp_path: Path) -> None:
    project(tmp_path, {"docusaurus.config.js": DOCUSAURUS, "docs/a.md": ""})
    options = {"trailing_slash": True, "docs_route": "/guide/", "clean_urls": True}
    site = detect_site(tmp_path / "docs", options=options)
    assert (site.trailing_slash, site.docs_route, site.clean_urls) == (True, "guide", True)
    plain = detect_site(tmp_path / "docs", options={"trailing_slash": "yes", "docs_route": None})
    assert (plain.trailing_slash, plain.docs_route, plain.clean_urls) == (False, "docs", False)


def test_a_docs_route_means_docusaurus(tmp_path: Path) -> None:
    assert detect_site(tmp_path, options={"docs_route": "docs"}).generator == "docusaurus"
    assert detect_site(tmp_path, options={"docs_route": ""}).generator == "none"


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_named_generator_without_its_files_has_its_defaults(
    tmp_path: Path, generator: str
) -> None:
    site = detect_site(tmp_path, generator=generator, site_url="https://x.org/b")
    assert (site.generator, site.site_url, site.base_url) == (generator, "https://x.org", "/b/")
    assert site.mounts


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gatsby"):
        detect_site(tmp_path, generator="gatsby")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docusaurus.config.js", "module.exports = [" * 3_000),
        ("docusaurus.config.js", "module.exports = {presets: 3, plugins: {a: 1}, i18n: 'x'}"),
        ("docusaurus.config.js", "module.exports = {presets: [[], [1], [['x']]], baseUrl: 7}"),
        ("mkdocs.yml", "plugins: 3\nmarkdown_extensions: {toc: [1]}\nsite_url: [1]\ndocs_dir: 4"),
        ("mkdocs.yml", "INHERIT: mkdocs.yml"),
        ("mkdocs.yml", "a: [" * 3_000),
        ("hugo.toml", "languages = 3\npermalinks = [1]\ncontentDir = 4"),
        ("_config.yml", "collections: [1]\ndefaults: 3\nplugins: {a: 1}\npermalink: [1]"),
        ("conf.py", "project = 1\nhtml_baseurl = 2\nexclude_patterns = 3"),
        (".vitepress/config.js", "export default {base: 1, rewrites: 3, srcExclude: {}}"),
    ],
)
def test_nonsense_in_a_configuration_is_passed_over(tmp_path: Path, name: str, text: str) -> None:
    project(tmp_path, {name: text, "docs/a.md": "", "content/a.md": ""})
    for content in (".", "docs", "content"):
        detect_site(tmp_path / content)
