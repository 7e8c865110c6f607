"""Anchors of whole pages. The expected values were read from real builds."""

from pathlib import Path

import pytest

from lib.anchors import anchors
from lib.markdown import parse_page
from lib.markdown_page import Flavour
from lib.sites.config_files import parse_yaml
from lib.sites.site import GENERATORS, Site

FLAVOURS: dict[str, Flavour] = {"docusaurus": "mdx", "sphinx": "myst"}


def made(generator: str, text: str, **settings: object) -> list[str | None]:
    site = Site(generator, settings=settings)
    page = parse_page(text, FLAVOURS.get(generator, "commonmark"))
    return list(anchors(site, page, text))


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("Module definition{#module-definition}", "module-definition"),
        ("`getPathsToWatch()` \\{#getPathsToWatch}", "getPathsToWatch"),
        ("Both \\{#your-versioned\\_sidebars}", "your-versioned_sidebars"),
        ("Comment {/* #my-Id */}", "my-Id"),
        ("Comment {/* note */} on", "comment--note--on"),
        ("Expr {1+1} end", "expr-11-end"),
        ("Vec `Vec<T>` x", "vec-vect-x"),
        ('JSX <b title="a>b">x</b> <Badge text={"y>"} /> z', "jsx-x--z"),
        ("npm run build:prod now", "npm-run-build-now"),  # a directive without a label
        ("std::vector at 10:30 :tada:", "stdvector-at-1030-tada"),
        ("![alt *text*](a.png) image", "alt-text-image"),
        ("[Link](https://x.org/a) and [ref][r]", "link-and-ref"),
        ("Array[0][1]", "array01"),
        ("A footnote[^1] here", "a-footnote-here"),
        ("Foo & Bar &amp; Baz", "foo--bar--baz"),
        ("**don't** [it `x` y](u) z", "dont-it-x-y-z"),
    ],
)
def test_docusaurus(source: str, anchor: str) -> None:
    text = f"## {source}\n\n[r]: https://x.org\n\n[^1]: note\n"
    assert made("docusaurus", text) == [anchor]


def test_docusaurus_h1_has_no_anchor_but_uses_one_up() -> None:
    assert made("docusaurus", "# Same\n\n## Same\n\n# Same\n\n## Same\n") == [
        None,
        "same-1",
        None,
        "same-3",
    ]


def test_docusaurus_explicit_ids_do_not_count() -> None:
    assert made("docusaurus", "## A \\{#b}\n\n## B\n\n## B\n") == ["b", "b", "b-1"]


def test_docusaurus_can_keep_the_case() -> None:
    anchored = made("docusaurus", "## Big\n", markdown={"anchors": {"maintainCase": True}})
    assert anchored == ["Big"]


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("optimizeDeps.noDiscovery <NonInheritBadge />", "optimizedeps-nodiscovery"),
        ('app.onUnmount() <sup class="x" /> {#app-onunmount}', "app-onunmount"),
        ("`v-for` on `<template>`", "v-for-on-template"),
        ("Foo & Bar &amp; Baz", "foo-bar-amp-baz"),
        (":tada: party {.cls}", "party"),
        ("2.1 Second", "_2-1-second"),
        ("A footnote[^1]", "a-footnote-1"),
    ],
)
def test_vitepress(source: str, anchor: str) -> None:
    assert made("vitepress", f"## {source}\n") == [anchor]


def test_vitepress_own_slugify_is_not_guessed() -> None:
    text = "## A b\n\n## C {#own}\n"
    markdown = {"anchor": {"slugify": object()}}
    assert made("vitepress", text, markdown=markdown) == [None, "own"]


MATERIAL = """
markdown_extensions:
  - attr_list
  - toc:
      slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}
  - pymdownx.emoji:
      emoji_index: !!python/name:material.extensions.emoji.twemoji
"""


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("Changes to `*.html` files { data-search-exclude }", "changes-to-html-files"),
        ('9.7.6 <small>March 19, 2026</small> { id="9.7.6" }', "9.7.6"),
        ("Path <small>Breadcrumbs</small> { id=navigation-path }", "navigation-path"),
        ("More info { #more-info .cls }", "more-info"),
        ("![alt](a.png) `a.b.c` &amp; d", "abc--d"),
        (":material-check-all: On all pages", "on-all-pages"),
        ("Über ½ ™", "über-½-"),
    ],
)
def test_mkdocs_with_extensions(source: str, anchor: str) -> None:
    settings = parse_yaml(MATERIAL)
    assert made("mkdocs", f"## {source}\n", **settings) == [anchor]


def test_mkdocs_repeats() -> None:
    assert made("mkdocs", "# A\n\n## A\n\n## A {#a_2}\n\n## A\n\n## 日本\n") == [
        "a",
        "a_1",
        "a_2",
        "a_3",
        "_1",
    ]


def test_mkdocs_without_attr_list_takes_the_braces_for_text() -> None:
    page = parse_page("## A { #own }\n", "commonmark")
    site = Site("mkdocs", config_file=Path("mkdocs.yml"), settings={"markdown_extensions": ["toc"]})
    assert anchors(site, page) == ("a-own",)


def test_headings_that_a_template_fills_in_are_not_guessed() -> None:
    hooks = {"hooks": ["hook.py"]}
    text = "## <!-- md:setting x -->\n\n## Plain\n"
    assert made("mkdocs", text, **hooks) == [None, "plain"]
    assert made("mkdocs", "## A <!-- note --> b\n") == ["a-b"]
    assert made("mkdocs", "## {{ x }}\n", plugins=["macros"]) == [None]
    assert made("hugo", "## A {{< x >}}\n\n## B\n") == [None, "b"]
    assert made("jekyll", "## {{ page.title }}\n\n## B\n") == [None, "b"]


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("The `Option<T>` `match` Pattern", "the-optiont-match-pattern"),
        ("`tests` and `#[cfg(test)]`", "tests-and-cfgtest"),
        ("Custom { #Own .cls }", "Own"),
        ("A -- b --- c `--d`", "a--b--c---d"),
        ("![alt](a.png) x <b>bold</b>", "x-bold"),
        ("!!!", "section"),
    ],
)
def test_mdbook(source: str, anchor: str) -> None:
    assert made("mdbook", f"## {source}\n") == [anchor]


def test_mdbook_without_smart_punctuation_keeps_hyphens() -> None:
    output = {"html": {"smart-punctuation": False}}
    assert made("mdbook", "## A -- b\n", output=output) == ["a----b"]


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("2.1 Second -- dash --- emdash", "21-second--dash--emdash"),
        ("**don't** z", "don-z"),  # only the first piece of what is emphasised
        ("[it `x` y](u) z", "it--z"),
        ('"Smart" it\'s <<x>>', "smart-its-x"),
        ("Custom {#MyId}", "MyId"),
        ("!!!", "heading"),
    ],
)
def test_hugo(source: str, anchor: str) -> None:
    assert made("hugo", f"## {source}\n") == [anchor]


def test_hugo_reads_the_last_line_of_a_heading_and_counts_explicit_ids() -> None:
    assert made("hugo", "one\ntwo\n---\n\n## A {#b}\n\n## B\n") == ["two", "b", "b-1"]


def test_hugo_anchors_of_other_types() -> None:
    parser = {"autoheadingidtype": "github-ascii"}
    assert made("hugo", "## Café\n", markup={"goldmark": {"parser": parser}}) == ["cafe"]


def test_jekyll() -> None:
    text = "## A -- b\n\n## C {#c_1}\n\n## D\n{: #d-own .cls}\n\n## E {#1x}\n\n## ![alt](a.png) F\n"
    assert made("jekyll", text) == ["a--b", "c_1", "d-own", "e-1x", "-f"]


def test_sphinx() -> None:
    text = "# Café & Co\n\n## 1. Dup\n\n## Dup\n\n## 日本\n\n## {ref}`x` y\n\n## A {#own}\n"
    assert made("sphinx", text) == ["cafe-co", "dup", "id1", "id2", "x-y", "a-own"]


def test_sphinx_numbers_are_unknown_beside_footnotes() -> None:
    text = "# A[^n]\n\n## Dup\n\n## Dup\n\n[^n]: note\n"
    assert made("sphinx", text) == ["an", "dup", None]


def test_an_unknown_generator_has_no_anchors() -> None:
    assert made("none", "# A\n\n## B {#b}\n") == [None, None]


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("source", ["", "[", "{", "{#", "![", "`", "<", "<a {", "\\", "{{", "*_~"])
def test_broken_headings_never_raise(generator: str, source: str) -> None:
    assert len(made(generator, f"## x{source}\n\n## x{source}\n")) == 2
