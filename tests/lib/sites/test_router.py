"""Addresses of pages. The expected paths were read from real builds of the same files."""

import json
import os
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.markdown import parse_page
from lib.sites.detection import detect_site
from lib.sites.generators import GENERATORS
from lib.sites.router import PageAddress, Router, link
from lib.sites.site import ContentRoot, Site


def routed(
    root: Path, files: dict[str, str], content: str = ".", **settings: object
) -> dict[str, PageAddress]:
    """Address of every Markdown file below `content`."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    base = Path(os.path.normpath(root / content))
    paths = [name for name in files if name.endswith(".md")]
    paths = [Path(os.path.relpath(root / name, base)).as_posix() for name in paths]
    paths = [path for path in paths if not path.startswith("..")]
    site = detect_site(base, **settings)  # type: ignore[arg-type]
    router = Router(site, base, paths)
    found = {}
    for path in paths:
        text = (base / path).read_text(encoding="utf-8")
        found[path] = router.address(path, parse_page(text, "commonmark"), text)
    return found


def decoded(address: PageAddress) -> str | None:
    return address.url and unquote(address.url)


def front(line: str) -> str:
    return f"---\n{line}\n---\n\ntext\n"


@pytest.mark.parametrize(
    ("path", "front_matter", "url"),
    [
        ("index.md", "", "/docs/"),
        ("guide/README.md", "", "/docs/guide/"),
        ("g/readme.md", "", "/docs/g/"),
        ("b/b.md", "", "/docs/b/"),
        ("02-part/02-part.md", "", "/docs/part/"),
        ("02-part/part.md", "", "/docs/part/part"),
        ("02-part/01. Chap.md", "", "/docs/part/Chap"),
        ("3-API/02_Extension APIs/1. Theme API.md", "", "/docs/API/Extension APIs/Theme API"),
        ("2021-11-foo.md", "", "/docs/2021-11-foo"),
        ("7.0-notes.md", "", "/docs/7.0-notes"),
        ("1-2-three.md", "", "/docs/1-2-three"),
        ("3 - Spaced.md", "", "/docs/Spaced"),
        ("01-.md", "", "/docs/01-"),
        ("01-intro.md", "parse_number_prefixes: false", "/docs/01-intro"),
        ("été.md", "", "/docs/été"),
        ("a&b c++.md", "", "/docs/a&b c++"),
        ("d/s.md", "slug: /abs", "/docs/abs"),
        ("d/s.md", "slug: rel", "/docs/d/rel"),
        ("d/s.md", "slug: ../up", "/docs/up"),
        ("d/s.md", "slug: ../../../up", "/docs/up"),
        ("d/s.md", "slug: ./", "/docs/d/"),
        ("d/s.md", "slug: tail/", "/docs/d/tail/"),
        ("d/s.md", "slug: 2.0", "/docs/d/2.0"),
        ("d/s.md", "slug: /", "/docs/"),
        ("d/s.md", "slug: caf%C3%A9", "/docs/d/café"),
        ("f/index.md", "slug: renamed", "/docs/f/renamed"),
        ("d/01-s.md", "id: custom", "/docs/d/custom"),
        ("d/s.md", "unlisted: true", "/docs/d/s"),
    ],
)
def test_docusaurus_paths(tmp_path: Path, path: str, front_matter: str, url: str) -> None:
    files = {f"docs/{path}": front(front_matter), "docusaurus.config.js": "module.exports = {}"}
    assert decoded(routed(tmp_path, files, "docs")[path]) == url
    slashed = routed(tmp_path, files, "docs", options={"trailing_slash": True})[path]
    assert decoded(slashed) == url.rstrip("/") + "/"
    bare = routed(tmp_path, files, "docs", options={"trailing_slash": False})[path]
    assert decoded(bare) == url.rstrip("/")


@pytest.mark.parametrize(
    ("path", "front_matter"),
    [
        ("_partial.md", ""),
        ("under/_x/y.md", ""),
        ("__tests__/t.md", ""),
        ("d.md", "draft: true"),
    ],
)
def test_docusaurus_leaves_partials_and_drafts_out(
    tmp_path: Path, path: str, front_matter: str
) -> None:
    files = {f"docs/{path}": front(front_matter), "docusaurus.config.js": "module.exports = {}"}
    address = routed(tmp_path, files, "docs")[path]
    assert (address.url, address.published) == (None, False)


def test_docusaurus_docs_at_the_top_keep_the_base_s_slash(tmp_path: Path) -> None:
    config = (
        "module.exports = {baseUrl: '/b/', trailingSlash: false, "
        "presets: [['classic', {docs: {routeBasePath: '/'}}]]}"
    )
    files = {"docusaurus.config.js": config, "docs/index.md": "", "docs/a/index.md": ""}
    found = routed(tmp_path, files, "docs")
    assert [a.url for a in found.values()] == ["/b/", "/b/a"]


def test_docusaurus_versions_and_locales(tmp_path: Path) -> None:
    config = (
        "module.exports = {url: 'https://x.org', i18n: {defaultLocale: 'en', locales: ['en', 'fr']}"
        ", plugins: [['@docusaurus/plugin-content-docs',"
        " {id: 'api', path: 'api', routeBasePath: 'r'}]]}"
    )
    files = {
        "docusaurus.config.js": config,
        "versions.json": '["2.0", "1.0"]',
        "docs/a.md": "",
        "versioned_docs/version-2.0/a.md": "",
        "versioned_docs/version-1.0/a.md": "",
        "i18n/fr/docusaurus-plugin-content-docs/version-1.0/a.md": "",
        "i18n/fr/docusaurus-plugin-content-docs-api/current/a.md": "",
        "i18n/de/docusaurus-plugin-content-docs/current/a.md": "",
        "api/a.md": "",
        "blog/2021-08-26-welcome/index.md": "",
        "blog/sub/2023-03-04-deep.md": "",
        "blog/2021/08/01-mdx.md": "",
        "blog/nodate.md": "",
        "blog/2022-01-02-s.md": front("slug: own"),
        "src/pages/about.md": "",
        "src/pages/sub/index.md": "",
        "README.md": "",
    }
    found = routed(tmp_path, files)
    urls = {path: (a.url or "").removeprefix("https://x.org") for path, a in found.items()}
    assert urls == {
        "docs/a.md": "/docs/next/a",
        "versioned_docs/version-2.0/a.md": "/docs/a",
        "versioned_docs/version-1.0/a.md": "/docs/1.0/a",
        "i18n/fr/docusaurus-plugin-content-docs/version-1.0/a.md": "/fr/docs/1.0/a",
        "i18n/fr/docusaurus-plugin-content-docs-api/current/a.md": "/fr/r/a",
        "i18n/de/docusaurus-plugin-content-docs/current/a.md": "",  # not among the locales
        "api/a.md": "/r/a",
        "blog/2021-08-26-welcome/index.md": "",
        "blog/sub/2023-03-04-deep.md": "",
        "blog/2021/08/01-mdx.md": "",
        "blog/nodate.md": "",
        "blog/2022-01-02-s.md": "",
        "src/pages/about.md": "",
        "src/pages/sub/index.md": "",
        "README.md": "",
    }
    assert (found["docs/a.md"].version, found["docs/a.md"].locale) == ("current", "")
    french = found["i18n/fr/docusaurus-plugin-content-docs/version-1.0/a.md"]
    assert (french.version, french.locale) == ("1.0", "fr")
    assert found["README.md"].published


def test_a_route_that_only_code_knows_gives_no_address(tmp_path: Path) -> None:
    config = "module.exports = {presets: [['classic', {docs: {routeBasePath: route()}}]]}"
    files = {"docusaurus.config.js": config, "docs/a.md": "# A\n\n## B\n"}
    address = routed(tmp_path, files, "docs")["a.md"]
    assert (address.url, address.anchors, address.published) == (None, (None, "b"), True)
    told = routed(tmp_path, files, "docs", options={"docs_route": "d"})["a.md"]
    assert told.url == "/d/a"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("index.md", "/"),
        ("a/README.md", "/a/"),
        ("01-Intro Page.md", "/01-Intro Page/"),
        ("dot.name.md", "/dot.name/"),
        ("_x.md", "/_x/"),
    ],
)
def test_mkdocs_paths(tmp_path: Path, path: str, url: str) -> None:
    files = {"mkdocs.yml": "site_name: x", f"docs/{path}": ""}
    assert decoded(routed(tmp_path, files, "docs")[path]) == url
    plain = routed(tmp_path, files, "docs", options={"use_directory_urls": False})[path]
    assert decoded(plain) == (
        url + "index.html" if path.endswith(("index.md", "README.md")) else url[:-1] + ".html"
    )


def test_mkdocs_leaves_out(tmp_path: Path) -> None:
    config = "exclude_docs: |\n  # no\n  ex/*\n  !ex/keep.md\n  /top.md\n  old/\n"
    names = [".hid/x.md", "templates/x.md", "ex/1.md", "top.md", "a/old/x.md", "e/README.md"]
    kept = ["ex/keep.md", "a/top.md", "e/index.md", "a/templates/x.md", "old.md"]
    files = {"mkdocs.yml": config, **{f"docs/{name}": "" for name in names + kept}}
    found = routed(tmp_path, files, "docs")
    assert [path for path, address in found.items() if not address.published] == names
    assert all(found[path].url for path in kept)


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [
        ("ex/*\n!ex/keep.md", ["ex/1.md", "ex/a/b/x.md", "ex/draft.md", "ex/x.md"]),
        ("!.hid", ["templates/x.md"]),
        ("!/templates/", [".hid/x.md"]),
        ("draft.*", ["draft.md", "ex/draft.md"]),
        ("/draft.md", ["draft.md"]),
        ("ex/**/x.md", ["ex/a/b/x.md", "ex/x.md"]),
        ("**/a/**", ["ex/a/b/x.md"]),
        ("dr**t.md", ["draft.md", "ex/draft.md"]),
        ("[dx]raft.md # no comment", []),
        ("[z-a]\n[dx]raft.md", ["draft.md", "ex/draft.md"]),
        ("\\!x.md", ["!x.md"]),
        ("*a*a*a*a*ab", []),  # too costly
    ],
)
def test_mkdocs_patterns_are_those_of_gitignore(
    tmp_path: Path, pattern: str, hidden: list[str]
) -> None:
    names = [".hid/x.md", "templates/x.md", "ex/1.md", "ex/keep.md", "draft.md", "ex/draft.md"]
    names += ["ex/a/b/x.md", "ex/x.md", "!x.md", "a" * 200 + "b.md"]
    settings = json.dumps({"exclude_docs": pattern})
    files = {"mkdocs.yml": settings, **{f"docs/{name}": "" for name in names}}
    found = routed(tmp_path, files, "docs")
    always = [] if pattern.startswith("!") else names[:2]
    assert sorted(p for p, a in found.items() if not a.published) == sorted(always + hidden)
    drafts = json.dumps({"draft_docs": pattern})
    found = routed(tmp_path, {**files, "mkdocs.yml": drafts}, "docs")
    shown = [] if pattern.startswith("!") else hidden
    assert sorted(p for p, a in found.items() if not a.published) == sorted(names[:2] + shown)


def test_costly_mkdocs_patterns_end_soon(tmp_path: Path) -> None:
    patterns = ["*a" * 9 + "b", "a**" * 9 + "b", "**/a/" * 9 + "b", "*a*/" * 9, "[" * 5_000]
    name = "a" * 240 + ".md"
    files = {
        "mkdocs.yml": json.dumps({"exclude_docs": "\n".join(patterns * 200)}),
        f"docs/{name}": "",
        "docs/" + "a/" * 30 + "c.md": "",
    }
    started = time.process_time()
    assert all(address.published for address in routed(tmp_path, files, "docs").values())
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("plugins", "path", "problem"),
    [
        ("[{exclude: {glob: [b.md]}}]", "a.md", True),
        ("[{blog: {post_url_format: '{slug}'}}]", "blog/posts/a.md", False),
    ],
)
def test_mkdocs_addresses_that_are_not_read(
    tmp_path: Path, plugins: str, path: str, problem: bool
) -> None:
    files = {"mkdocs.yml": f"plugins: {plugins}", f"docs/{path}": front("date: 2022-09-12")}
    found = routed(tmp_path, files, "docs")[path]
    assert (found.url, found.published) == (None, True)
    assert bool(detect_site(tmp_path / "docs").problems) is problem


def test_mkdocs_translations(tmp_path: Path) -> None:
    config = "plugins: [{i18n: {%s languages: [{locale: en, default: true}, {locale: fr}]}}]"
    files = {"mkdocs.yml": config % "", "docs/a.md": "", "docs/a.fr.md": "", "docs/index.en.md": ""}
    found = routed(tmp_path, files, "docs")
    assert [(a.url, a.locale) for a in found.values()] == [("/a/", ""), ("/fr/a/", "fr"), ("/", "")]
    files = {
        "mkdocs.yml": config % "docs_structure: folder,",
        "docs/en/a.md": "",
        "docs/fr/b.md": "",
    }
    found = routed(tmp_path, files, "docs")
    assert (found["en/a.md"].url, found["fr/b.md"].url) == ("/a/", "/fr/b/")


def test_posts_of_the_material_blog(tmp_path: Path) -> None:
    files = {
        "mkdocs.yml": "plugins: [search, blog]",
        "docs/blog/index.md": "",
        "docs/blog/posts/a.md": "---\ndate: 2022-09-12\n---\n# Blog support just landed!\n",
        "docs/blog/posts/b.md": "---\ndate: {created: 2022-01-02}\nslug: own\n---\n# B\n",
        "docs/blog/posts/c.md": "# No date\n",
        "docs/blog/posts/d.md": "---\ndate: 2022-09-12\ndraft: true\n---\n# D\n",
    }
    found = routed(tmp_path, files, "docs")
    assert [(a.url, a.published) for a in found.values()] == [
        ("/blog/", True),
        ("/blog/2022/09/12/blog-support-just-landed/", True),
        ("/blog/2022/01/02/own/", True),
        (None, True),
        (None, False),
    ]


def test_a_future_post_of_the_material_blog_may_be_a_draft(tmp_path: Path) -> None:
    post = {"docs/blog/posts/a.md": "---\ndate: 2199-01-02\n---\n# A\n"}
    for option in (True, False):
        config = f"plugins: [{{blog: {{draft_if_future_date: {str(option).lower()}}}}}]"
        (address,) = routed(tmp_path, {"mkdocs.yml": config} | post, "docs").values()
        assert address.published is not option


def test_vitepress_paths(tmp_path: Path) -> None:
    config = "export default {base: '/q/', srcExclude: ['**/skip.md']}"
    names = ["index.md", "a/index.md", "a/README.md", "01-b.md", "a/skip.md", "[pkg].md"]
    files = {".vitepress/config.mjs": config, **dict.fromkeys(names, "")}
    found = routed(tmp_path, files)
    assert [a.url for a in found.values()] == [
        "/q/",
        "/q/a/",
        "/q/a/README.html",
        "/q/01-b.html",
        None,
        None,
    ]
    clean = routed(tmp_path, files, options={"clean_urls": True})
    assert (clean["01-b.md"].url, clean["a/index.md"].url) == ("/q/01-b", "/q/a/")


@pytest.mark.parametrize(
    ("config", "url", "anchor", "problem"),
    [
        ("...own", "/t/a", "b", ""),
        ("...shared", None, None, "SITE_BUILD"),
        ("extends: theme", "/a.html", None, "SITE_BUILD"),
        ("extends: theme, base: '/x/', markdown: {theme: 'x'}", "/x/a.html", None, "SITE_BUILD"),
        ("extends: shared, base: '/x/'", None, None, "SITE_BUILD"),
        ("...shared, base: '/x/', srcDir: '.', markdown: {}", None, "b", "SITE_BUILD"),
        ("base: make()", None, "b", "SITE_URL"),
        ("srcDir: make()", None, "b", "srcDir"),
        ("cleanUrls: make()", None, "b", "cleanUrls"),
        ("rewrites: {'a.md': 'b.md'}", None, "b", "rewrites"),
        ("rewrites(id) { return id }", None, "b", "rewrites"),
        ("markdown: {anchor: {level: 2}}", "/a.html", None, "markdown"),
    ],
)
def test_vitepress_settings_from_elsewhere(
    tmp_path: Path, config: str, url: str | None, anchor: str | None, problem: str
) -> None:
    imports = "import { shared } from './shared'\nimport theme from 'a-theme'\n"
    own = "const own = {base: '/t/', cleanUrls: true}\n"
    files = {
        ".vitepress/config/index.ts": f"{imports}{own}export default defineConfig({{{config}}})",
        ".vitepress/config/shared.ts": "export const shared = {base: '/s/'}",
        "a.md": "## B\n\n## C {#d}\n",
    }
    found = routed(tmp_path, files)["a.md"]
    assert (found.url, found.anchors) == (url, (anchor, "d"))
    problems = detect_site(tmp_path).problems
    assert problem in "".join(problems)
    assert bool(problem) is bool(problems)


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ("presets: [['classic', {docs: {...make()}}]]", None),
        ("presets: [['classic', {docs}]]", None),
        ("presets: [['classic', make()]]", None),
        ("presets: make()", None),
        ("...make(), presets: ['classic']", None),
        ("presets: [['classic', {docs: {...{}}}]]", "/docs/a"),
        ("themeConfig: {...make()}, plugins: [make()]", "/docs/a"),
    ],
)
def test_docusaurus_settings_from_elsewhere(tmp_path: Path, config: str, url: str | None) -> None:
    files = {"docusaurus.config.js": f"export default {{{config}}}", "docs/a.md": ""}
    assert routed(tmp_path, files, "docs")["a.md"].url == url
    problems = detect_site(tmp_path / "docs").problems
    assert bool(problems) is (url is None)
    if url is None:
        option = {} if "SITE_URL" in problems[0] else {"docs_route": "/r"}
        told = routed(tmp_path, files, "docs", site_url="https://x.org", options=option)["a.md"]
        assert told.url is not None


def test_vitepress_locales(tmp_path: Path) -> None:
    locales = "locales: {root: {lang: 'en-GB'}, fr: {lang: 'fr-FR'}, zh: {}}"
    files = {
        ".vitepress/config.mjs": f"export default {{{locales}, rewrites: {{'en/:p*': ':p*'}}}}",
        **dict.fromkeys(["en/a.md", "fr/a.md", "zh/a/index.md", "other/a.md", "fr.md"], ""),
    }
    found = routed(tmp_path, files)
    assert [address.locale for address in found.values()] == ["en-GB", "fr", "zh", "en-GB", "en-GB"]
    files[".vitepress/config.mjs"] = "export default {lang: 'fr'}"
    assert routed(tmp_path, files)["fr/a.md"].locale == ""


SUMMARY = """# Summary

[Preface](./preface.md)

- [One](one/README.md)
  - [Two \\[x\\]](<one/two words.md>)
  - [Draft]()
1. not this [No](one/no.md)
* [Up](../src/three.md "title"
<!-- - [Hidden](hidden.md) -->

[Last](last%20one.md)
"""


def test_mdbook_builds_only_what_the_summary_lists(tmp_path: Path) -> None:
    names = ["SUMMARY.md", "preface.md", "one/README.md", "one/two words.md", "hidden.md"]
    names += ["last one.md", "other.md"]
    files = {"book.toml": "", **{f"src/{name}": "" for name in names}}
    files["src/SUMMARY.md"] = SUMMARY
    found = routed(tmp_path, files, "src")
    assert {path: decoded(address) for path, address in found.items() if address.published} == {
        "preface.md": "/preface.html",
        "one/README.md": "/one/index.html",
        "one/two words.md": "/one/two words.html",
        "last one.md": "/last one.html",
    }


def test_hugo_has_pages_without_addresses(tmp_path: Path) -> None:
    config = "defaultContentLanguage = 'en'\n[languages.en]\n[languages.fr]"
    names = ["content/_index.md", "content/d/a.fr.md", "content/d/a.en.md", "fr/d/0.1.md"]
    found = routed(tmp_path, {"hugo.toml": config, **dict.fromkeys(names, "## B {#c}\n")})
    assert {(address.url, address.anchors) for address in found.values()} == {(None, (None,))}
    assert [address.locale for address in found.values()] == ["", "fr", "en", "fr"]
    (problem,) = detect_site(tmp_path).problems
    assert problem.startswith("hugo.toml: ")
    assert "SITE_BUILD" in problem


@pytest.mark.parametrize("file", ["_config.yml", "docusaurus.config.js"])
def test_an_address_in_unreadable_front_matter_is_not_guessed(tmp_path: Path, file: str) -> None:
    texts = ["title: a: b", "title: a: b\n? slug\n: c", "title: a: b\n'permalink': x"]
    names = [f"docs/{name}.md" for name in "abc"]
    files = {file: "", **{name: front(text) for name, text in zip(names, texts, strict=True)}}
    found = routed(tmp_path, files, "docs")
    assert [a.url is None for a in found.values()] == [False, True, True]
    assert all(a.published for a in found.values())


@pytest.mark.parametrize(
    ("config", "text", "published"),
    [
        ("", "draft: true", False),
        ("", "headless: true", False),
        ("", "build: {list: never}", False),
        ("cascade.build.render = 'never'", "", False),
        ("cascade.build.render = 'never'", "_build: {render: always}", True),
        ("", "date: 2199-01-01", False),
        ("", "publishDate: 2199-01-01T10:00:00+01:00", False),
        ("", "date: 2199-01-01\npublishDate: 2020-01-01", True),
        ("", "expiryDate: 2020-01-01", False),
        ("", "expiryDate: 2199-01-01", True),
        (
            "buildFuture = true\nbuildExpired = true",
            "date: 2199-01-01\nexpiryDate: 2020-01-01",
            True,
        ),
    ],
)
def test_pages_that_hugo_leaves_out(
    tmp_path: Path, config: str, text: str, published: bool
) -> None:
    address = routed(tmp_path, {"hugo.toml": config, "content/a.md": front(text)}, "content")[
        "a.md"
    ]
    assert address.published is published
    assert (address.until is not None) is ("2199" in text and not config and "2020" not in text)


def test_hugo_passes_values_down(tmp_path: Path) -> None:
    cascade = {
        "_index": "cascade:\n- {target: {path: '/{old,older}/**'}, draft: true}\n"
        "- {target: {kind: section}, build: {list: never}}",
        "parts/_index": "cascade: {Build: {render: never}}",
        "parts/shown/_index": "cascade: {build: {render: always}}",
    }
    names = ["a", "a.fr", "old/a", "older/b/a", "old", "oldest/a", "parts/a", "parts/b/a"]
    names += ["parts/shown/a"]
    files = {
        "hugo.toml": "cascade = [{draft = true, target = {path = '/dated/*'}}]",
        **{f"content/{name}.md": front(text) for name, text in cascade.items()},
        **{f"content/{name}.md": front("title: T") for name in names},
        "content/dated/a.md": front("title: T"),
    }
    found = routed(tmp_path, files, "content")
    shown = [name for name in names if found[f"{name}.md"].published]
    assert shown == ["a", "a.fr", "old", "oldest/a", "parts/shown/a"]
    assert not found["dated/a.md"].published


def test_hugo_reads_front_matter_in_json(tmp_path: Path) -> None:
    files = {
        "hugo.toml": "",
        "content/a.md": '{\n"title": "A"\n}\n\n## C\n',
        "content/d.md": '{ "Draft": true }\n\ntext\n',
    }
    found = routed(tmp_path, files, "content")
    assert [address.published for address in found.values()] == [True, False]


def test_hugo_bundles_and_drafts(tmp_path: Path) -> None:
    files = {
        "hugo.yaml": "",
        "content/a.md": "",
        "content/b/index.md": "",
        "content/b/part.md": "",
        "content/b/deep/part.md": "",
        "content/d.md": front("draft: true"),
        "content/e.md": front("build: {render: never}"),
    }
    found = routed(tmp_path, files, "content")
    assert [path for path, a in found.items() if a.published] == ["a.md", "b/index.md"]


JEKYLL = """
baseurl: /j
exclude: [x_y.md, deep/, "*.draft.md", _docs/secret.md]
collections: {docs: {output: true, permalink: "/:collection/:path"}, hidden: {},
  named: {output: true, permalink: "/c/:name/"}, plain: {output: true}}
defaults: [{scope: {path: defaults}, values: {permalink: "/dd/"}}]
"""


@pytest.mark.parametrize(
    ("path", "front_matter", "url"),
    [
        ("about.md", "", "/j/about.html"),
        ("index.md", "", "/j/"),
        ("a/index.md", "", "/j/a/"),
        ("a/README.md", "", None),
        ("01-A b.md", "", "/j/01-A b.html"),
        ("p.md", "permalink: /perm/", "/j/perm/"),
        ("d/q.md", "permalink: /z/:path/:basename", None),
        ("defaults/q.md", "", "/j/dd/"),
        ("about.md", "date: 2199-01-01", "/j/about.html"),
        ("a/deep/x.md", "", "/j/a/deep/x.html"),
        ("_posts/2020-02-03-p.md", "", None),
        ("_docs/sub/two.md", "", "/j/docs/sub/two"),
        ("_plain/A b.md", "", None),
        ("_named/A b.md", "", None),
    ],
)
def test_jekyll_paths(tmp_path: Path, path: str, front_matter: str, url: str | None) -> None:
    files = {"_config.yml": JEKYLL, path: front(front_matter)}
    found = routed(tmp_path, files)[path]
    assert (decoded(found), found.published) == (url, True)


@pytest.mark.parametrize(
    ("path", "front_matter"),
    [
        ("_posts/2199-02-03-p.md", ""),
        ("_posts/2020-02-03-p.md", "date: 2199-01-01"),
        ("a/_posts/2199-02-03-p.md", ""),
        ("_docs/a.md", "date: 2199-01-01T00:00:00Z"),
        ("a/_posts/p.md", ""),
        ("own.draft.md", ""),
        ("_docs/secret.md", ""),
        ("_hidden/x.md", ""),
        ("_drafts/x.md", ""),
        ("x_y.md", ""),
        ("deep/x.md", ""),
        ("unpublished.md", "published: false"),
    ],
)
def test_files_that_jekyll_leaves_out(tmp_path: Path, path: str, front_matter: str) -> None:
    files = {"_config.yml": JEKYLL, path: front(front_matter)}
    found = routed(tmp_path, files)[path]
    assert (found.url, found.published) == (None, False)
    assert (found.until is not None) is ("2199" in path + front_matter)
    shown = routed(tmp_path, files | {"_config.yml": JEKYLL + "future: true"})[path]
    assert shown.published is ("2199" in path + front_matter)


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ("", "/a.html"),
        ("permalink: pretty", "/a/"),
        ("permalink: date", "/a.html"),
        ("permalink: /:title", None),
        ("permalink: [1]", None),
    ],
)
def test_permalinks_that_jekyll_has_for_all_pages(
    tmp_path: Path, config: str, url: str | None
) -> None:
    files = {"_config.yml": config, **dict.fromkeys(["a.md", "index.md"], front(""))}
    found = routed(tmp_path, files)
    assert (found["a.md"].url, found["index.md"].url) == (url, "/")
    (problem,) = detect_site(tmp_path).problems
    assert "SITE_BUILD" in problem


def test_jekyll_renders_only_what_has_front_matter(tmp_path: Path) -> None:
    files = {"_config.yml": "permalink: pretty", "a.md": "---\n---\n", "b.md": "# B\n"}
    found = routed(tmp_path, files)
    assert (found["a.md"].url, found["b.md"].url) == ("/a/", None)


def test_sphinx_paths(tmp_path: Path) -> None:
    config = "project = 'x'\nexclude_patterns = ['ex', '**/no.md']"
    names = ["index.md", "a/index.md", "a/B c.md", "ex/a.md", "a/no.md"]
    files = {"conf.py": config, **dict.fromkeys(names, "")}
    found = routed(tmp_path, files)
    assert [decoded(a) for a in found.values()] == [
        "/index.html",
        "/a/index.html",
        "/a/B c.html",
        None,
        None,
    ]
    folders = routed(tmp_path, files, options={"use_directory_urls": True})
    assert [decoded(a) for a in folders.values()][:3] == ["/", "/a/", "/a/B c/"]


def test_a_jupyter_book_may_build_only_what_its_toc_lists(tmp_path: Path) -> None:
    toc = "root: a\nparts: [{chapters: [{file: b/c, sections: [{glob: d/*}]}]}]\n"
    files = {"_toc.yml": toc, "_config.yml": "only_build_toc_files: true"}
    names = ["a.md", "b/c.md", "d/e.md", "f.md"]
    found = routed(tmp_path, files | dict.fromkeys(names, ""))
    assert [path for path, address in found.items() if address.published] == names[:3]
    found = routed(tmp_path, files | {"_config.yml": ""} | dict.fromkeys(names, ""))
    assert all(address.published for address in found.values())


def test_a_myst_site_has_pages_without_addresses(tmp_path: Path) -> None:
    config = (
        "project: {exclude: [old/**], toc: [{file: index.md}, {title: Part, children: "
        "[{file: a/b}, {pattern: 'c/*.md'}, {file: h.md, hidden: true}]}]}"
    )
    names = ["index.md", "a/b.md", "c/d.md", "h.md", "old/x.md", "other.md"]
    found = routed(tmp_path, {"myst.yml": config, **dict.fromkeys(names, "# A\n")})
    assert [path for path, address in found.items() if address.published] == names[:3]
    assert {(address.url, address.anchors) for address in found.values()} == {(None, (None,))}
    (problem,) = detect_site(tmp_path).problems
    assert "no address" in problem


@pytest.mark.parametrize(
    ("config", "url", "problem"),
    [
        ("", "/a.html", "anchors"),
        ("html_baseurl = os.environ.get('X', '/')", None, "SITE_URL"),
        ("html_file_suffix = suffix()", None, "html_file_suffix"),
        ("exclude_patterns = []\nexclude_patterns += ['b.md']", None, "exclude_patterns"),
        ("from base import *", None, "SITE_URL"),
        ("from base import *\nhtml_baseurl = 'https://x.org/'\nhtml_file_suffix = '.html'\n"
            "exclude_patterns = []", "https://x.org/a.html", "anchors"),
    ],
)  # fmt: skip
def test_sphinx_settings_from_elsewhere(
    tmp_path: Path, config: str, url: str | None, problem: str
) -> None:
    files = {"conf.py": f"project = 'x'\n{config}", "a.md": "## B\n"}
    found = routed(tmp_path, files)["a.md"]
    assert (found.url, found.anchors) == (url, (None,))
    assert problem in "".join(detect_site(tmp_path).problems)


def test_an_unknown_generator_gives_no_address(tmp_path: Path) -> None:
    found = routed(tmp_path, {"a.md": "# A\n"}, site_url="https://x.org")
    assert found["a.md"] == PageAddress(None, (None,))


def test_links() -> None:
    address = PageAddress("https://x.org/a%20b/", ("café & co", None, "100%"))
    assert link(address, 0) == "https://x.org/a%20b/#caf%C3%A9%20&%20co"
    assert link(address, 1) == link(address, None) == "https://x.org/a%20b/"
    assert link(address, 2) == "https://x.org/a%20b/#100%25"
    assert link(PageAddress(None, ("a",)), 0) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_anchors_survive_percent_encoding(anchor: str) -> None:
    found = link(PageAddress("/p", (anchor,)), 0)
    assert found is not None
    assert found.isascii()
    assert found.count("#") == 1
    assert unquote(found.partition("#")[2]) == anchor


_NAME = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\."), min_size=1
)


@given(st.lists(_NAME, min_size=1, max_size=3), _NAME)
def test_docusaurus_paths_survive_percent_encoding(folders: list[str], slug: str) -> None:
    site = detect_site(Path("/nowhere/at/all"), generator="docusaurus")
    path = "/".join(["x" + folder for folder in folders]) + ".md"
    page = parse_page("", "mdx")
    address = Router(site, Path("/nowhere/at/all"), [path]).address(path, page)
    assert address.url is not None
    assert address.url.isascii()
    assert unquote(address.url).rstrip("/").startswith("/docs/x")
    assert not set(address.url) & set(' #?"<>')


@pytest.mark.parametrize(
    ("file", "config", "text"),
    [
        ("mkdocs.yml", "markdown_extensions: [attr_list]", "# a" + " {b" * 600 + "} c\n"),
        ("mkdocs.yml", "markdown_extensions: [attr_list]", "# a" + " " * 1_900 + "b\n"),
        ("mkdocs.yml", "plugins: [blog]", "# " + "<" * 1_900 + "\n"),
        ("mkdocs.yml", "x: 1", "# a\n" * 200 + "# a_1\n" * 200),
        ("docusaurus.config.js", "export default {}", "# a {" + "{" * 1_900 + "\n"),
        ("docusaurus.config.js", "export default {}", "# a" + " {#" * 600 + "\n"),
        ("_config.yml", "x: 1", "# a" + " " * 1_900 + "b\n"),
        ("hugo.toml", "", "# " + "a" * 9_000 + "\n"),
        ("book.toml", "", "# a\n"),
        ("quire.toml", "title = 'x'", "# a" + " {#b" * 600 + "\n" + "# a\n# a {#a}\n" * 200),
    ],
)
def test_hostile_pages_and_settings_end_soon(
    tmp_path: Path, file: str, config: str, text: str
) -> None:
    path = "docs/blog/posts/a.md" if file == "mkdocs.yml" else "posts/a.md"
    summary = "<!--" * 40_000 + "\n[a](posts/a.md)\n"
    routed(tmp_path, {file: config, path: "", "src/SUMMARY.md": summary})
    text = f"---\ndate: 2020-01-02\n---\n{text}"
    page = parse_page(text, "commonmark")
    started = time.process_time()
    Router(detect_site(tmp_path), tmp_path, [path]).address(path, page, text)
    assert time.process_time() - started < 0.5


QUIRE_PAGES = {
    "index.md": "/book/",
    "setup.md": "/book/setup",
    "setup.mdx": "/book/setup.mdx",
    "guide/index.md": "/book/guide/",
    "guide.md": "/book/guide",
    "part/README.md": "/book/part/",
    "guide/README.md": "/book/guide/README",
    "part/odd name?#%.md": "/book/part/odd name?#%",
    "only.markdown": "/book/only",
    "été/日本.md": "/book/été/日本",
}


def test_quire_s_own_pages(tmp_path: Path) -> None:
    found = routed(tmp_path, {"quire.toml": "title = 'Book'", **dict.fromkeys(QUIRE_PAGES, "")})
    pages = {path for path in QUIRE_PAGES if path.endswith(".md")}
    assert {path: decoded(found[path]) for path in pages} == {
        path: QUIRE_PAGES[path] for path in pages
    }
    router = Router(detect_site(tmp_path), tmp_path, QUIRE_PAGES)
    page = parse_page("", "commonmark")
    urls = {path: decoded(router.address(path, page)) for path in QUIRE_PAGES}
    assert urls == QUIRE_PAGES


@pytest.mark.parametrize(
    ("site_url", "url"),
    [
        ("", "/book/a"),
        ("https://x.org", "https://x.org/book/a"),
        ("https://x.org/quire", "https://x.org/quire/book/a"),
    ],
)
def test_quire_s_own_pages_behind_an_address(tmp_path: Path, site_url: str, url: str) -> None:
    found = routed(tmp_path, {"quire.toml": "", "a.md": "# A\n"}, site_url=site_url)
    assert found["a.md"].url == url


_names = st.lists(st.sampled_from("a index README b.c é".split()), min_size=1, max_size=3)


@given(st.sets(st.tuples(_names.map(tuple), st.sampled_from([".md", ".mdx", ".markdown"]))))
def test_no_two_pages_of_quire_have_one_address(names: set[tuple[tuple[str, ...], str]]) -> None:
    paths = ["/".join(parts) + suffix for parts, suffix in names]
    site = Site(GENERATORS["quire"], content_roots=(ContentRoot("/book"),))
    router = Router(site, Path("/book"), paths)
    page = parse_page("", "commonmark")
    urls = {router.address(path, page).url for path in paths}
    assert None not in urls
    assert len(urls) == len(paths)
