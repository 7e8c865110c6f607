"""Sites found in a project's own files, and the operator's corrections."""

import time
from pathlib import Path

import pytest

from lib.sites.detection import detect_site
from lib.sites.generators import GENERATORS
from lib.sites.site import Site
from tests.tiny_book import write_book


def test_the_nearest_configuration_comes_first(tmp_path: Path) -> None:
    files = ["docs/guide/mkdocs.yml", "mkdocs.yaml", "website/mkdocs.yml"]
    texts = ["docs_dir: .", "docs_dir: docs", "docs_dir: ../docs"]
    write_book(tmp_path, {**dict(zip(files, texts, strict=True)), ".git/HEAD": ""})
    for file in files:
        assert detect_site(tmp_path / "docs/guide").config_file == tmp_path / file
        (tmp_path / file).unlink()
    assert detect_site(tmp_path / "docs/guide") == Site()


def test_two_configurations_in_one_folder_have_an_order(tmp_path: Path) -> None:
    files = {"mkdocs.yml": "docs_dir: .", "mkdocs.yaml": "docs_dir: .", "_config.yml": ""}
    write_book(tmp_path, {".git/HEAD": "", **files, "conf.py": "project = 'x'"})
    for name in ("mkdocs.yml", "mkdocs.yaml", "conf.py", "_config.yml"):
        found = detect_site(tmp_path).config_file
        assert found == tmp_path / name
        found.unlink()


def test_a_named_generator_reads_its_own_files_only(tmp_path: Path) -> None:
    write_book(tmp_path, {"mkdocs.yml": "docs_dir: .", "hugo.toml": "contentDir = '.'"})
    assert detect_site(tmp_path, generator="hugo").config_file == tmp_path / "hugo.toml"


def test_a_jupyter_book_is_no_jekyll_site(tmp_path: Path) -> None:
    files = {".git/HEAD": "", "_config.yml": "html: {baseurl: /b}", "_toc.yml": ""}
    write_book(tmp_path, files)
    site = detect_site(tmp_path)
    assert (site.generator.name, site.config_file) == ("sphinx", tmp_path / "_toc.yml")
    assert site.settings["html_baseurl"] == "/b"
    assert detect_site(tmp_path, generator="jekyll").config_file is None


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
def test_the_folder_that_paths_of_a_configuration_are_relative_to(
    name: str, file: str, folder: str
) -> None:
    assert GENERATORS[name].project_folder(Path("/x") / file) == Path("/x") / folder


def test_hugo_ignores_case_and_names_settings_by_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "config/_default"
    write_book(folder, {"hugo.toml": 'baseURL = "/h/"', "languages.yaml": "EN: {Weight: 1}"})
    read = GENERATORS["hugo"].read_settings(folder / "hugo.toml")
    assert read == {"baseurl": "/h/", "languages": {"en": {"weight": 1}}}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (["toc", {"attr_list": {"lang": "en"}}], True),
        ({"toc": {"permalink": True}, "attr_list": None}, True),
        ("attr_list", False),
        (["toc"], False),
        (None, False),
        ([1, ["attr_list"]], False),
    ],
)
def test_extensions_of_mkdocs_are_a_list_or_a_mapping(written: object, found: bool) -> None:
    settings = {"markdown_extensions": written}
    site = Site(GENERATORS["mkdocs"], settings=settings, config_file=Path("mkdocs.yml"))
    assert site.generator.heading_rules(site).text.attributes is found


TWO_SETTINGS = {
    "docusaurus.config.js": "module.exports = {url: 'https://x.github.io', baseUrl: '/book/'}"
}
ONE_SETTING = {"mkdocs.yml": "site_url: https://x.github.io/book/\ndocs_dir: ."}


def address(root: Path, files: dict[str, str], site_url: str = "", **options: object) -> str:
    write_book(root, files)
    site = detect_site(root, site_url=site_url, options=options)
    return site.site_url + site.base_url


@pytest.mark.parametrize(
    ("site_url", "options", "where"),
    [
        ("", {}, "https://x.github.io/book/"),
        ("https://x.github.io", {}, "https://x.github.io/book/"),
        ("https://x.github.io/", {}, "https://x.github.io/book/"),
        ("https://x.github.io/book", {}, "https://x.github.io/book/"),  # not doubled
        ("https://x.github.io/book/", {"base_url": "/book/"}, "https://x.github.io/book/"),
        ("https://docs.org/a/b/", {}, "https://docs.org/a/b/"),
        ("https://docs.org", {"base_url": "c"}, "https://docs.org/c/"),
        ("https://docs.org/a", {"base_url": "/"}, "https://docs.org/"),
        ("", {"base_url": "https://docs.org/d"}, "https://x.github.io/d/"),
        ("not an address", {}, "https://x.github.io/book/"),
    ],
)
def test_address_of_a_site_configured_in_two_settings(
    tmp_path: Path, site_url: str, options: dict[str, object], where: str
) -> None:
    assert address(tmp_path, TWO_SETTINGS, site_url, **options) == where


@pytest.mark.parametrize(
    ("site_url", "where"),
    [
        ("", "https://x.github.io/book/"),
        ("https://X.github.io", "https://X.github.io/book/"),  # the same host: the path is known
        ("https://docs.org", "https://docs.org/"),  # another host: it is not
        ("https://docs.org/y/", "https://docs.org/y/"),
    ],
)
def test_address_of_a_site_configured_in_one_setting(
    tmp_path: Path, site_url: str, where: str
) -> None:
    assert address(tmp_path, ONE_SETTING, site_url) == where


@pytest.mark.parametrize("base", ["", ".", "./", "/", "//"])
def test_a_relative_base_is_the_top(tmp_path: Path, base: str) -> None:
    files = {".vitepress/config.js": f"export default {{base: '{base}'}}"}
    assert address(tmp_path, files) == "/"


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
    ("mkdocs", {"mkdocs.yml": "INHERIT: base.yml", "docs/a": ""}, "docs", ""),
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
    write_book(tmp_path, files)
    root = tmp_path / content
    root.mkdir(parents=True, exist_ok=True)
    site = detect_site(root)
    assert (site.generator.name, site.base_url) == (generator, base)
    assert any(found.overlaps(root.resolve().as_posix()) for found in site.content_roots)
    assert detect_site(root, generator=generator).base_url == base


def test_the_whole_project_may_be_the_content_root(tmp_path: Path) -> None:
    write_book(tmp_path, {"website/docusaurus.config.js": DOCUSAURUS, "website/docs/a.md": ""})
    assert detect_site(tmp_path).generator.name == "docusaurus"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"conf.py": "DEBUG = True"},
        {"config.toml": "[server]\nport = 1"},
        {"_config.yml": "source_dir: source\npublic_dir: public"},  # Hexo
        {"book.toml": "[book]"},  # no SUMMARY.md
        {".git/HEAD": "", "docs/.git/HEAD": "", "mkdocs.yml": "site_name: x"},
    ],
)
def test_files_of_other_programs_and_projects(tmp_path: Path, files: dict[str, str]) -> None:
    write_book(tmp_path, files)
    root = tmp_path / "docs"
    root.mkdir(exist_ok=True)
    assert detect_site(root) == Site()


def test_a_configuration_for_other_pages_is_named(tmp_path: Path) -> None:
    write_book(
        tmp_path, {"mkdocs.yml": "docs_dir: elsewhere", "elsewhere/a.md": "", "docs/a.md": ""}
    )
    site = detect_site(tmp_path / "docs")
    assert (site.generator.name, site.config_file) == ("none", None)
    (problem,) = site.problems
    assert "../elsewhere" in problem
    assert "BOOK_CONTENT_PATH" in problem


def test_a_configuration_may_be_in_any_folder_of_the_repository(tmp_path: Path) -> None:
    files = {"tools/web/x": "", "hack/mkdocs.yml": "docs_dir: ../pages/en", "pages/en/a.md": ""}
    write_book(tmp_path, files)
    assert detect_site(tmp_path / "pages/en").config_file is None
    (tmp_path / ".git").mkdir()
    assert detect_site(tmp_path / "pages/en").config_file == tmp_path / "hack/mkdocs.yml"
    assert detect_site(tmp_path).config_file == tmp_path / "hack/mkdocs.yml"


def test_only_a_few_parents_are_looked_at(tmp_path: Path) -> None:
    deep = tmp_path / "docs/1/2/3/4/5"
    deep.mkdir(parents=True)
    write_book(tmp_path, {"mkdocs.yml": "site_name: x"})
    assert detect_site(deep).generator.name == "none"
    assert detect_site(deep.parents[2]).generator.name == "mkdocs"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("docusaurus.config.js", "module.exports = {url: 'https://x.org', baseUrl: '/book/'}"),
        ("mkdocs.yml", "site_url: https://x.org/book/"),
    ],
)
def test_the_operator_s_address_wins(tmp_path: Path, name: str, config: str) -> None:
    write_book(tmp_path, {name: config, "docs/a.md": ""})
    configured = detect_site(tmp_path / "docs")
    assert configured.site_url + configured.base_url == "https://x.org/book/"
    told = detect_site(tmp_path / "docs", site_url="https://docs.org/a")
    assert told.site_url + told.base_url == "https://docs.org/a/"


@pytest.mark.parametrize(
    ("option", "answers"),
    [(True, True), (False, False), ("yes", None), (None, None), (1, None)],
)
def test_options_win_over_the_configuration(option: object, answers: bool | None) -> None:
    site = Site(options={"trailing_slash": option})
    for configured in (True, False, None):
        expected = configured if answers is None else answers
        assert site.switch("trailing_slash", configured) is expected


def test_the_docs_route_of_the_options_wins(tmp_path: Path) -> None:
    write_book(tmp_path, {"docusaurus.config.js": DOCUSAURUS, "docs/a.md": ""})

    def route(option: object) -> str | None:
        site = detect_site(tmp_path / "docs", options={"docs_route": option})
        docs = (tmp_path / "docs").as_posix()
        return next(root.route for root in site.content_roots if root.folder == docs)

    assert (route("/guide/"), route(None)) == ("guide", "docs")


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_named_generator_without_its_files_has_its_defaults(
    tmp_path: Path, generator: str
) -> None:
    site = detect_site(tmp_path, generator=generator, site_url="https://x.org/b")
    assert (site.generator.name, site.site_url, site.base_url) == (
        generator,
        "https://x.org",
        "/b/",
    )
    assert site.content_roots


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
    write_book(tmp_path, {name: text, "docs/a.md": "", "content/a.md": ""})
    for content in (".", "docs", "content"):
        detect_site(tmp_path / content)


LONG = "a" * 20_001
NESTED = "{a: " * 60 + "1" + "}" * 60


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("mkdocs.yml", "site_name: 0x" + "F" * 3_600, "mkdocs.yml: "),
        ("mkdocs.yml", "site_name: x\nnav: " + NESTED, "mkdocs.yml: "),
        ("mkdocs.yml", f"site_name: x\nexclude_docs: {LONG}", ""),
        ("book.toml", ".".join("a" * 7_500) + " = 1", "book.toml: "),
        ("_config.yml", "a0: &a0 [x]\n" + "".join(
            f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40)), "_config.yml: "),
        ("_config.yml", f"exclude: {LONG}", ""),
        ("conf.py", "project = 'x'\nexclude_patterns = [" + "'x'," * 2_000 + "]",
            ""),
        ("conf.py", "project = " + "-" * 9_000 + "1", "conf.py: "),
        ("conf.py", "project = " + "(" * 9_000, "conf.py: "),
        ("conf.py", "#" * 200_001, "conf.py: "),
        (".vitepress/config.js", f"export default {{srcExclude: ['{LONG}']}}",
            ""),
    ],
)  # fmt: skip
def test_a_configuration_beyond_a_limit_is_one_line(
    tmp_path: Path, file: str, text: str, problem: str
) -> None:
    write_book(tmp_path, {file: text, "SUMMARY.md": "x", "src/SUMMARY.md": "x", "docs/a.md": "x"})
    started = time.process_time()
    site = detect_site(tmp_path)
    assert len(repr(site)) < 50_000
    problems = [line for line in site.problems if line not in site.unlinked]
    assert [line.startswith(problem) for line in problems] == [True] * bool(problem)
    assert time.process_time() - started < 1


def test_the_number_of_content_roots_has_a_limit(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"i18n/l{number}").mkdir(parents=True)
    locales = ", ".join(f"'l{number}'" for number in range(150))
    plugins = ", ".join(f"['content-docs', {{id: 'p{number}'}}]" for number in range(20))
    config = f"export default {{i18n: {{locales: [{locales}]}}, plugins: [{plugins}]}}"
    write_book(tmp_path, {"docusaurus.config.js": config})
    site = detect_site(tmp_path)
    assert len(site.content_roots) == 1_000
    assert "1000 folders" in site.problems[0]


def test_only_a_folder_with_the_author_s_consent_is_served(tmp_path: Path) -> None:
    write_book(tmp_path, {".git/HEAD": "", "book/quire.toml": 'title = "A"', "other/a.md": ""})
    assert detect_site(tmp_path / "book").generator.name == "quire"
    assert detect_site(tmp_path / "other") == Site()
    assert detect_site(tmp_path / "other", generator="quire").generator.name == "quire"
    assert detect_site(tmp_path / "book", generator="none").generator.name == "none"


def test_a_site_comes_before_quire_s_own_pages(tmp_path: Path) -> None:
    write_book(tmp_path, {"quire.toml": "", "mkdocs.yml": "docs_dir: ."})
    assert detect_site(tmp_path).generator.name == "mkdocs"
    assert detect_site(tmp_path, generator="quire").generator.name == "quire"
