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


def test_docusaurus_versions_locales_blog_and_pages(tmp_path: Path) -> None:
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
        "blog/2021-08-26-welcome/index.md": "/blog/2021/08/26/welcome",
        "blog/sub/2023-03-04-deep.md": "/blog/2023/03/04/sub/deep",
        "blog/2021/08/01-mdx.md": "/blog/2021/08/01/mdx",
        "blog/nodate.md": "/blog/nodate",
        "blog/2022-01-02-s.md": "/blog/own",
        "src/pages/about.md": "/about",
        "src/pages/sub/index.md": "/sub/",
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


def test_mkdocs_exclude(tmp_path: Path) -> None:
    config = "plugins: [{exclude: {glob: ['drafts/*', '*.tmp.md']}}]"
    names = ["a.md", "drafts/x/a.md", "b/a.tmp.md"]
    found = routed(tmp_path, {"mkdocs.yml": config, **{f"docs/{n}": "" for n in names}}, "docs")
    assert [path for path, address in found.items() if address.published] == ["a.md"]


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
    config = (
        "export default {base: '/q/', srcExclude: ['**/skip.md'], "
        "rewrites: {'deep/page.md': 'shallow.md', 'packages/:pkg/src/(.*)': 'x', "
        "'p/:n.md': 'r/:n.md'}}"
    )
    names = ["index.md", "a/index.md", "a/README.md", "01-b.md", "a/skip.md", "[pkg].md"]
    names += ["deep/page.md", "p/one.md"]
    files = {".vitepress/config.mjs": config, **dict.fromkeys(names, "")}
    found = routed(tmp_path, files)
    assert [a.url for a in found.values()] == [
        "/q/",
        "/q/a/",
        "/q/a/README.html",
        "/q/01-b.html",
        None,
        None,
        "/q/shallow.html",
        "/q/r/one.html",
    ]
    clean = routed(tmp_path, files, options={"clean_urls": True})
    assert (clean["01-b.md"].url, clean["a/index.md"].url) == ("/q/01-b", "/q/a/")


VITEPRESS = {
    ".vitepress/config/index.ts": "import { shared } from './shared'\nimport theme from 'a-theme'\n"
    "export default defineConfig({%s})",
    ".vitepress/config/shared.ts": "import data from '../../site.json'\n"
    "export const shared = {base: data.base, cleanUrls: true}",
    "site.json": '{"base": "/t/"}',
    "a.md": "## B\n\n## C {#d}\n",
}


@pytest.mark.parametrize(
    ("config", "url", "anchor", "problem"),
    [
        ("...shared", "/t/a", "b", ""),
        ("extends: shared, cleanUrls: false", "/t/a.html", "b", ""),
        ("extends: theme", "/a.html", None, "markdown.anchor.slugify"),
        ("extends: theme, markdown: {anchor: {}}", "/a.html", None, "markdown.anchor.slugify"),
        ("extends: make(), base: '/x/', srcDir: '.', rewrites: {}", "/x/a.html", None, "slugify"),
        ("...make()", None, None, "srcDir"),
        ("...make(), srcDir: '.', rewrites: {}, markdown: {}", None, "b", "set SITE_URL"),
        ("srcDir: make()", None, "b", "srcDir"),
    ],
)
def test_vitepress_settings_from_elsewhere(
    tmp_path: Path, config: str, url: str | None, anchor: str | None, problem: str
) -> None:
    name = ".vitepress/config/index.ts"
    files = {**VITEPRESS, name: VITEPRESS[name] % config}
    found = routed(tmp_path, files)["a.md"]
    assert (found.url, found.anchors) == (url, (anchor, "d"))
    problems = detect_site(tmp_path).problems
    assert problem in "".join(problems)
    assert bool(problem) is bool(problems)
    if "SITE_URL" in problem:
        told = routed(tmp_path, files, site_url="https://x.org")["a.md"]
        assert told.url == "https://x.org/a.html"


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


def test_vitepress_rewrites_in_code_give_no_address(tmp_path: Path) -> None:
    files = {".vitepress/config.js": "export default {rewrites(id) { return id }}", "a.md": ""}
    assert routed(tmp_path, files)["a.md"].url is None


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


@pytest.mark.parametrize(
    ("path", "front_matter", "url"),
    [
        ("_index.md", "", "/"),
        ("posts/_index.md", "", "/posts/"),
        ("guide/README.md", "", "/guide/readme/"),
        ("02-Part/01. Chap.md", "", "/02-part/01.-chap/"),
        ("3 - Spaced.md", "", "/3---spaced/"),
        ("a&b.md", "", "/ab/"),
        ("e/index.md", "", "/e/"),
        ("e/index.md", "slug: Re named", "/re-named/"),
        ("d/s.md", "slug: ../up", "/up/"),
        ("d/s.md", "url: /My/Url", "/My/Url/"),
        ("d/s.md", "url: x.html", "/x.html"),
        ("news/p.md", "date: 2020-02-03\ntitle: Big News", "/2020/02/big-news/"),
        ("news/p.md", "date: 2020-02-03\nslug: s", "/2020/02/s/"),
        ("news/p.md", "title: x", None),
        ("d/a.fr.md", "", "/fr/d/a/"),
        ("d/a.en.md", "", "/d/a/"),
        ("d/a.xx.md", "", "/d/a.xx/"),
    ],
)
def test_hugo_paths(tmp_path: Path, path: str, front_matter: str, url: str | None) -> None:
    config = "[permalinks]\nnews='/:year/:month/:slug/'\n[languages.en]\n[languages.fr]"
    files = {"hugo.toml": config, f"content/{path}": front(front_matter)}
    assert decoded(routed(tmp_path, files, "content")[path]) == url


@pytest.mark.parametrize("file", ["hugo.toml", "_config.yml", "docusaurus.config.js"])
def test_an_address_in_unreadable_front_matter_is_not_guessed(tmp_path: Path, file: str) -> None:
    folder = "content" if file == "hugo.toml" else "docs"
    texts = ["title: a: b", "title: a: b\n? slug\n: c", "title: a: b\n'permalink': x"]
    names = [f"{folder}/{name}.md" for name in "abc"]
    files = {file: "", **{name: front(text) for name, text in zip(names, texts, strict=True)}}
    found = routed(tmp_path, files, folder)
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
        "- {target: {kind: section}, build: {list: never}}\n- {target: {lang: fr}, draft: true}",
        "parts/_index": "cascade: {Build: {render: never}}",
        "parts/shown/_index": "cascade: {build: {render: always}}",
    }
    names = ["a", "a.fr", "old/a", "older/b/a", "old", "oldest/a", "new/_index", "parts/a"]
    names += ["parts/b/a", "parts/shown/a"]
    files = {
        "hugo.toml": "languages.en.weight = 1\nlanguages.fr.weight = 2\ncascade.date = 2020-01-01\n"
        "permalinks.dated = '/:year/:slug/'",
        **{f"content/{name}.md": front(text) for name, text in cascade.items()},
        **{f"content/{name}.md": front("title: T") for name in names},
        "content/dated/a.md": front("title: T"),
    }
    found = routed(tmp_path, files, "content")
    shown = [name for name in names if found[f"{name}.md"].published]
    assert shown == ["a", "a.fr", "old", "oldest/a", "parts/shown/a"]
    assert found["dated/a.md"].url == "/2020/t/"


def test_hugo_mounts(tmp_path: Path) -> None:
    mounts = [
        ("content/en", "content", "lang = 'en'"),
        ("content/de", "content", "sites.matrix.languages = ['de']"),
        ("content/fr", "content", "sites.matrix.languages = ['en', 'f*']"),
        ("manual", "content/m", ""),
        ("NEWS.md", "content/about/news.md", ""),
        ("some", "content/s", "files = ['a*', '!ab*']"),
        ("part", "content/p", "excludeFiles = '**/draft-*'"),
        ("other", "content/o", "lang = '{fr,de}'"),
        ("assets", "assets", ""),
    ]
    config = "defaultContentLanguage = 'en'\n" + "".join(
        f"[[module.mounts]]\nsource = '{source}'\ntarget = '{target}'\n{more}\n"
        for source, target, more in mounts
    )
    paths = {
        "content/en/d/a.md": "/d/a/",
        "content/de/d/a.md": "/de/d/a/",
        "content/fr/d/a.md": "/d/a/",
        "content/a.md": None,
        "manual/index.md": "/m/",
        "NEWS.md": "/about/news/",
        "some/a.md": "/s/a/",
        "part/x/a.md": "/p/x/a/",
        "other/a.md": None,
    }
    hidden = ["some/ab.md", "some/c.md", "part/x/draft-1.md"]
    found = routed(tmp_path, {"hugo.toml": config, **dict.fromkeys([*paths, *hidden], "")})
    assert {path: found[path].url for path in paths} == paths
    assert found["content/de/d/a.md"].locale == "de"
    assert [path for path, address in found.items() if not address.published] == hidden
    (problem,) = detect_site(tmp_path).problems
    assert "module.mounts" in problem


def test_hugo_reads_front_matter_in_json(tmp_path: Path) -> None:
    files = {
        "hugo.toml": "",
        "content/a.md": '{\n"title": "A", "slug": "b"\n}\n\n## C\n',
        "content/d.md": '{ "Draft": true }\n\ntext\n',
    }
    found = routed(tmp_path, files, "content")
    assert (found["a.md"].url, found["a.md"].anchors) == ("/b/", ("c",))
    assert not found["d.md"].published


def test_hugo_bundles_drafts_and_ugly_urls(tmp_path: Path) -> None:
    files = {
        "hugo.yaml": "uglyURLs: true",
        "content/a.md": "",
        "content/b/index.md": "",
        "content/b/part.md": "",
        "content/b/deep/part.md": "",
        "content/d.md": front("draft: true"),
        "content/e.md": front("build: {render: never}"),
    }
    found = routed(tmp_path, files, "content")
    assert [a.url for a in found.values()] == ["/a.html", "/b.html", None, None, None, None]


JEKYLL = """
baseurl: /j
exclude: [x_y.md, deep/, "*.draft.md", _docs/secret.md]
plugins: [jekyll-readme-index]
collections: {docs: {output: true}, hidden: {}, named: {output: true, permalink: "/c/:name/"}}
defaults: [{scope: {path: defaults}, values: {permalink: "/dd/:basename"}}]
"""


@pytest.mark.parametrize(
    ("path", "front_matter", "url"),
    [
        ("about.md", "", "/j/about.html"),
        ("index.md", "", "/j/"),
        ("a/README.md", "", "/j/a/"),
        ("01-A b.md", "", "/j/01-A b.html"),
        ("p.md", "permalink: /perm/", "/j/perm/"),
        ("d/q.md", "permalink: /z/:path/:basename", "/j/z/d/q"),
        ("defaults/q.md", "", "/j/dd/q"),
        ("_posts/2020-02-03-My Post.md", "", "/j/2020/02/03/My-Post.html"),
        ("_posts/2020-02-03-p.md", "categories: A b", "/j/a/b/2020/02/03/p.html"),
        ("_posts/2020-02-03-p.md", "date: 2021-12-31\nslug: s", "/j/2021/12/31/s.html"),
        ("_posts/2020-02-03-p.md", "date: 2021-12-31 23:00:00 -0800", None),
        ("_posts/2020-02-03-p.md", "date: 2021-12-31 11:00:00 -0800", "/j/2021/12/31/p.html"),
        ("_posts/2020-02-03-p.md", "permalink: /:week/:short_month/:slug", "/j/06/Feb/p"),
        ("_posts/2199-02-03-p.md", "", None),
        ("_posts/2020-02-03-p.md", "date: 2199-01-01", None),
        ("_docs/a.md", "date: 2199-01-01T00:00:00Z", None),
        ("about.md", "date: 2199-01-01", "/j/about.html"),
        ("a/b/_posts/x/2020-02-03-p.md", "category: C d", "/j/a/b/c d/2020/02/03/p.html"),
        ("a/_posts/p.md", "", None),
        ("a/deep/x.md", "", "/j/a/deep/x.html"),
        ("deeper.md", "", "/j/deeper.html"),
        ("own.draft.md", "", None),
        ("_docs/secret.md", "", None),
        ("_docs/sub/two.md", "", "/j/docs/sub/two.html"),
        ("_named/A b.md", "", "/j/c/a-b/"),
        ("u.md", "permalink: /:unknown/", None),
        ("_hidden/x.md", "", None),
        ("_drafts/x.md", "", None),
        ("x_y.md", "", None),
        ("deep/x.md", "", None),
        ("unpublished.md", "published: false", None),
    ],
)
def test_jekyll_paths(tmp_path: Path, path: str, front_matter: str, url: str | None) -> None:
    files = {"_config.yml": JEKYLL, path: front(front_matter)}
    assert decoded(routed(tmp_path, files)[path]) == url


def test_the_collection_of_posts_has_its_own_permalink(tmp_path: Path) -> None:
    config = "collections: {posts: {permalink: '/news/:year/:title/'}}\npermalink: pretty\n"
    files = {"_config.yml": config + "future: true", "_posts/2199-02-03-p.md": front("")}
    assert routed(tmp_path, files)["_posts/2199-02-03-p.md"].url == "/news/2199/p/"


def test_the_day_of_a_post_is_that_of_the_site_s_time_zone(tmp_path: Path) -> None:
    files = {"_posts/2020-02-03-p.md": front("date: 2021-12-31 23:00:00 -0800")}
    for zone, day in (("America/Los_Angeles", "/2021/12/31/p.html"), ("UTC", "/2022/01/01/p.html")):
        found = routed(tmp_path, files | {"_config.yml": f"timezone: {zone}"})
        assert found["_posts/2020-02-03-p.md"].url == day
    files = {"_posts/2020-02-03-p.md": front(""), "_config.yml": "timezone: America/Los_Angeles"}
    assert routed(tmp_path, files)["_posts/2020-02-03-p.md"].url == "/2020/02/03/p.html"


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
    ("config", "url", "anchors", "problem"),
    [
        ("", "/a.html", ("it-s", "b"), ""),
        ("html_baseurl = os.environ.get('X', '/')", None, ("it-s", "b"), "SITE_URL"),
        ("html_file_suffix = suffix()", None, ("it-s", "b"), ""),
        ("myst_enable_extensions = [*base]", "/a.html", (None, "b"), ""),
        ("from base import *", None, (None, "b"), "SITE_URL"),
        ("from base import *\nhtml_baseurl = 'https://x.org/'\nhtml_file_suffix = '.html'\n"
            "myst_enable_extensions = {'smartquotes'}", "https://x.org/a.html", ("its", "b"), ""),
    ],
)  # fmt: skip
def test_sphinx_settings_from_elsewhere(
    tmp_path: Path, config: str, url: str | None, anchors: tuple[str | None, str], problem: str
) -> None:
    text = "## It's\n\n## B\n"
    files = {"conf.py": f"project = 'x'\n{config}", "a.md": text}
    found = routed(tmp_path, files)["a.md"]
    assert (found.url, found.anchors) == (url, anchors)
    problems = detect_site(tmp_path).problems
    assert problem in "".join(problems)
    assert bool(problem) is bool(problems)


def test_sphinx_adds_excluded_patterns_up(tmp_path: Path) -> None:
    config = "project = 'x'\nexclude_patterns = ['a.md']\nexclude_patterns += ['b.md']\n"
    found = routed(tmp_path, {"conf.py": config, **dict.fromkeys(["a.md", "b.md", "c.md"], "")})
    assert [path for path, address in found.items() if address.published] == ["c.md"]


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
    ("pattern", "target", "path", "expected"),
    [
        ("src/:a-:b.md", ":b/:a.md", "src/x-y-z.md", "/z/x-y.html"),  # as path-to-regexp 6.3
        (":a/src/:b(.*)", ":a/:b", "p/src/q/src/r.md", "/p/q/src/r.html"),
        ("p/:a/src/(.*)", ":a.md", "p/q/src/r.md", None),
        (":a/src/:b*", ":a/:b", "p/src/q/r.md", "/p/q/r.html"),
        ("x/(.*)-:b.md", ":b.md", "x/y-z.md", None),
        ("x/(.*)-:b.md", ":b.md", "y-z.md", "/y-z.html"),
        (r"x/:a(\\d+).md", ":a.md", "x/1.md", None),
        ("x/:a:b.md", ":b.md", "x/1.md", None),
        (":a/:a.md", ":a.md", "x/y.md", "/y.html"),
        (":1.md", "x-:1.md", "y.md", "/x-y.html"),
        (":a.md", ":a" * 400, "abc.md", None),
    ],
)
def test_vitepress_rewrites(
    tmp_path: Path, pattern: str, target: str, path: str, expected: str | None
) -> None:
    config = f"export default {{rewrites: {{'{pattern}': '{target}'}}}}"
    assert routed(tmp_path, {".vitepress/config.js": config, path: ""})[path].url == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "-".join(f":a{i}" for i in range(8)) + "!.md",
        "-".join(f":a{i}(.*)" for i in range(8)) + "!.md",
        "-".join(f":a{i}" for i in range(7)) + "-:b(.*)!.md",
        "".join(f":a{i}" for i in range(8)) + "!.md",
        "a".join(f":a{i}_" for i in range(40)) + "!.md",
    ],
)
def test_vitepress_rewrites_take_linear_time(tmp_path: Path, pattern: str) -> None:
    routed(
        tmp_path,
        {".vitepress/config.js": f"export default {{rewrites: {{'{pattern}': 'x.md'}}}}"},
    )
    paths = ["a-" * 2_000 + ".md", "a-" * 2_000 + "!.md", "-" * 4_000 + "!.md", "a_a" * 999 + ".md"]
    router = Router(detect_site(tmp_path), tmp_path, paths)
    started = time.process_time()
    for path in paths:
        router.address(path, parse_page("# x\n", "commonmark"), "")
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("file", "config", "text"),
    [
        ("mkdocs.yml", "markdown_extensions: [attr_list]", "# a" + " {b" * 600 + "} c\n"),
        ("mkdocs.yml", "markdown_extensions: [attr_list]", "# a" + " " * 1_900 + "b\n"),
        ("mkdocs.yml", "plugins: [{blog: {post_url_date_format: " + "M" * 60 + "x}}]", "# a\n"),
        ("mkdocs.yml", "plugins: [blog]", "# " + "<" * 1_900 + "\n"),
        ("mkdocs.yml", "x: 1", "# a\n" * 200 + "# a_1\n" * 200),
        ("docusaurus.config.js", "export default {}", "# a {" + "{" * 1_900 + "\n"),
        ("docusaurus.config.js", "export default {}", "# a" + " {#" * 600 + "\n"),
        ("_config.yml", "x: 1", "# a" + " " * 1_900 + "b\n"),
        ("hugo.toml", f"permalinks.posts = '{':title' * 3_000}'", "# " + "a" * 9_000 + "\n"),
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
