"""Slugs, their numbering, and anchors of whole pages.

The expected values were made by the generators' own code and read from real builds.
"""

import time
from pathlib import Path

import pymdownx.slugs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown.extensions import toc

from lib.markdown import parse_page
from lib.sites.anchors import anchors
from lib.sites.config_files import Tagged, read_config
from lib.sites.generators import GENERATORS, generator_named
from lib.sites.site import HeadingRules, NamedHeading, Site


def rules(generator: str, **settings: object) -> HeadingRules:
    site = Site(GENERATORS[generator], settings=settings)
    return site.generator.heading_rules(site)


def slug_of(generator: str, text: str, **settings: object) -> str:
    slugify = rules(generator, **settings).slugify
    assert slugify is not None
    return slugify(text)


def numbers(generator: str, named: list[NamedHeading]) -> list[str]:
    return rules(generator).number(named)


WITHOUT_ANCHORS = {"hugo", "jekyll", "myst", "sphinx"}
HELLO = [("hello-world", False), ("hello-world", False), ("hello-world-1", False)]


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("foo.bar.baz()", "foobarbaz"),
        ("snake_case and __init__", "snake_case-and-__init__"),
        ("a -- b", "a----b"),
        ("Emoji 🎉 party", "emoji--party"),
        ("日本語の見出し", "日本語の見出し"),
        ("हिन्दी में", "हिन्दी-में"),
        ("Café ñandú", "café-ñandú"),
        ("Ⓐ circled ½ ²", "ⓐ-circled--"),
        ("a\tb\u00a0c", "abc"),  # neither a tab nor a no-break space is kept
        ("!!!", ""),
    ],
)
def test_github_slug(text: str, slug: str) -> None:
    assert slug_of("docusaurus", text) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("2.1 Second -- dash", "_2-1-second-dash"),
        ("٣ tools", "٣-tools"),  # only ASCII digits get the underscore
        ("Café — bar", "cafe-—-bar"),
        ("snake_case", "snake-case"),
        ("“Smart” it’s", "smart-it-s"),
        ("🎉 party", "🎉-party"),
        ("***", ""),
    ],
)
def test_vitepress_slug(text: str, slug: str) -> None:
    assert slug_of("vitepress", text) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("The `Option<T>` Pattern".replace("`", ""), "the-optiont-pattern"),
        ("::", ""),
        (" trimmed  twice ", "trimmed--twice"),
        ("½ ² Ⓐ", "½-²-ⓐ"),
        ("हिन्दी", "हिनदी"),  # Rust counts vowel signs as alphabetic, the virama not
        ("مُحَمَّد", "مُحَمَّد"),
        ("e\u0301", "e"),
    ],
)
def test_mdbook_slug(text: str, slug: str) -> None:
    assert slug_of("mdbook", text) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("What's new?", "whats-new"),
        ("Automatic light / dark - mode", "automatic-light-dark-mode"),
        ("Žlutý kůň ½ ™", "zluty-kun-12-tm"),
        ("日本語", ""),
        ("__init__", "__init__"),
    ],
)
def test_markdown_slug(text: str, slug: str) -> None:
    assert slug_of("mkdocs", text) == slug


@pytest.mark.parametrize(
    ("toc", "slug"),
    [
        ({}, "cafe-ab-c"),
        ({"separator": "_"}, "cafe_ab_c"),
        ({"separator": "]"}, "cafe]ab]c"),
        ({"slugify": "markdown.extensions.toc.slugify_unicode"}, "café-ab-c"),
        ({"slugify": "pymdownx.slugs.slugify"}, "Café-Ab--C"),
        ({"slugify": Tagged("name:pymdownx.slugs.slugify", "")}, "Café-Ab--C"),
        (
            {"slugify": Tagged("x:pymdownx.slugs.slugify", {"kwds": {"case": "lower"}})},
            "café-ab--c",
        ),
    ],
)
def test_the_slugs_that_mkdocs_can_be_told_to_make(toc: dict[str, object], slug: str) -> None:
    extensions = {"toc": toc}
    assert slug_of("mkdocs", "Café Ab  C", markdown_extensions=extensions) == slug


@pytest.mark.parametrize(
    "toc",
    [
        {"slugify": "my.own.slugify"},
        {"slugify": "pymdownx.slugs.gfm"},
        {"slugify": Tagged("x:pymdownx.slugs.slugify", {"kwds": {"case": "fold"}})},
        {"slugify": Tagged("x:pymdownx.slugs.slugify", {"kwds": {"percent_encode": True}})},
    ],
)
def test_slugs_made_by_code_of_the_site_are_not_guessed(toc: dict[str, object]) -> None:
    assert rules("mkdocs", markdown_extensions={"toc": toc}).slugify is None


def test_hello_world_twice_and_then_hello_world_1() -> None:
    assert numbers("docusaurus", HELLO) == ["hello-world", "hello-world-1", "hello-world-1-1"]
    assert numbers("vitepress", HELLO) == [
        "hello-world",
        "hello-world-1",
        "hello-world-1-1",
    ]


def test_github_slugger_counts_by_the_first_form() -> None:
    named = [("a-1", False), ("a", False), ("a", False), ("a", False)]
    assert numbers("docusaurus", named) == ["a-1", "a", "a-2", "a-3"]


def test_explicit_ids_and_the_headings_around_them() -> None:
    named = [("x", False), ("x", True), ("x", False)]
    assert numbers("docusaurus", named) == ["x", "x", "x-1"]
    assert numbers("vitepress", named[1:]) == ["x", "x-1"]
    assert numbers("mdbook", named[1:]) == ["x", "x"]
    # Python-Markdown knows them before it comes to them.
    assert numbers("mkdocs", named) == ["x_1", "x", "x_2"]


def test_python_markdown_counts_on_from_a_number() -> None:
    named = [("v_1", False), ("v_1", False), ("", False), ("", False), ("v", False), ("v", False)]
    assert numbers("mkdocs", named) == ["v_1", "v_2", "_1", "_2", "v", "v_3"]


_HEADINGS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cn"]), st.sampled_from("aZ09 -_.,/()#é½ßŁ日İ🎉\t")
    ),
    max_size=40,
)


@given(_HEADINGS, st.sampled_from("-_]+"))
def test_slugs_of_mkdocs_are_those_of_python_markdown(heading: str, separator: str) -> None:
    for name, original in (
        ("markdown.extensions.toc.slugify", toc.slugify),
        ("markdown.extensions.toc.slugify_unicode", toc.slugify_unicode),
    ):
        extensions = {"toc": {"slugify": name, "separator": separator}}
        slug = slug_of("mkdocs", heading, markdown_extensions=extensions)
        assert slug == original(heading, separator)


@given(_HEADINGS, st.sampled_from(["none", "lower"]))
def test_slugs_of_mkdocs_are_those_of_pymdownx(heading: str, case: str) -> None:
    extensions = {"toc": {"slugify": Tagged("x:pymdownx.slugs.slugify", {"kwds": {"case": case}})}}
    slug = slug_of("mkdocs", heading, markdown_extensions=extensions)
    assert slug == pymdownx.slugs.slugify(case=case)(heading, "-")


@given(st.lists(st.sampled_from(["a", "b", "a_1", "a_2", "", "_1", "_1_1"]), max_size=8))
def test_numbers_of_mkdocs_are_those_of_python_markdown(headings: list[str]) -> None:
    used: set[str] = set()
    expected = [toc.unique(heading, used) for heading in headings]
    assert numbers("mkdocs", [(heading, False) for heading in headings]) == expected


_NAMED = st.lists(
    st.sampled_from(["", "a", "a-1", "a_1", "id1", "b"]).map(lambda slug: (slug, False))
)


@given(_NAMED)
def test_anchors_are_unique(named: list[NamedHeading]) -> None:
    for generator in GENERATORS:
        numbered = numbers(generator, named)
        known = [anchor for anchor in numbered if anchor]
        assert len(numbered) == len(named)
        assert len(known) == len(set(known))


@given(st.text())
def test_slugs_hold_nothing_that_ends_a_fragment(text: str) -> None:
    for generator in GENERATORS.keys() - WITHOUT_ANCHORS:
        assert not set(slug_of(generator, text)) & set(" \t\r\n#<>\"'")


def test_ten_thousand_equal_headings_are_numbered_quickly() -> None:
    named = [("same", False)] * 10_000
    assert numbers("mkdocs", named)[-1] == "same_9999"
    assert numbers("vitepress", named)[-1] == "same-9999"
    assert numbers("docusaurus", named)[-1] == "same-9999"


def made(generator: str, text: str, **settings: object) -> list[str | None]:
    site = Site(generator_named(generator), settings=settings)
    page = parse_page(text, site.generator.markdown(site.settings))
    return list(anchors(site, page, text))


@pytest.mark.parametrize(
    ("generator", "settings", "source", "anchor"),
    [
        ("vitepress", {"markdown": {"typographer": True}}, "It's 1--3 (c)", None),
        ("vitepress", {}, "It's 1--3 (c)", "it-s-1-3-c"),
        ("mkdocs", {"markdown_extensions": ["smarty"]}, "It's a--b", "its-ab"),
        ("mkdocs", {}, "It's a--b", "its-a-b"),
    ],
)
def test_typography(
    generator: str, settings: dict[str, object], source: str, anchor: str | None
) -> None:
    assert made(generator, f"# T\n\n## {source}\n", **settings)[-1] == anchor


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("Module definition{#module-definition}", "module-definition"),
        ("`getPathsToWatch()` \\{#getPathsToWatch}", "getPathsToWatch"),
        ("Both \\{#your-versioned\\_sidebars}", "your-versioned_sidebars"),
        ("Comment {/* #my-Id */}", "my-Id"),
        ("Comment {/* note */} on", None),
        ("Expr {1+1} end", None),
        ("Vec `Vec<T>{}` x", "vec-vect-x"),
        ('JSX <b className="a>b">x</b> z', "jsx-x-z"),
        ('JSX <Badge text={"y>"} />', None),
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
def test_docusaurus(source: str, anchor: str | None) -> None:
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


def test_settings_of_anchors_in_docusaurus_are_not_read() -> None:
    anchored = made("docusaurus", "## Big\n", markdown={"anchors": {"maintainCase": True}})
    assert anchored == [None]


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("optimizeDeps.noDiscovery <NonInheritBadge />", "optimizedeps-nodiscovery"),
        ('app.onUnmount() <sup class="x" /> {#app-onunmount}', "app-onunmount"),
        ("`v-for` on `<template>`", "v-for-on-template"),
        ("Foo & Bar &amp; Baz", "foo-bar-amp-baz"),
        (":tada: party {.cls}", "party"),
        ("2.1 Second", "_2-1-second"),
        ("A footnote[^1]", None),
    ],
)
def test_vitepress(source: str, anchor: str | None) -> None:
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
def test_mkdocs_with_extensions(tmp_path: Path, source: str, anchor: str) -> None:
    (tmp_path / "mkdocs.yml").write_text(MATERIAL)
    settings = read_config(tmp_path / "mkdocs.yml")
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
    settings = {"markdown_extensions": ["toc"]}
    site = Site(GENERATORS["mkdocs"], config_file=Path("mkdocs.yml"), settings=settings)
    assert anchors(site, page) == ("a-own",)


def test_headings_that_a_template_fills_in_are_not_guessed() -> None:
    hooks = {"hooks": ["hook.py"]}
    text = "## <!-- md:setting x -->\n\n## Plain\n"
    assert made("mkdocs", text, **hooks) == [None, "plain"]
    assert made("mkdocs", "## A <!-- note --> b\n") == ["a-b"]
    assert made("mkdocs", "## {{ x }}\n", plugins=["macros"]) == [None]


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("The `Option<T>` `match` Pattern", "the-optiont-match-pattern"),
        ("`tests` and `#[cfg(test)]`", "tests-and-cfgtest"),
        ("Custom { #Own .cls }", "Own"),
        ("A -- b --- c `--d`", "a--b--c---d"),
        ("![alt](a.png) x <b>bold</b>", "x-bold"),
    ],
)
def test_mdbook(source: str, anchor: str) -> None:
    assert made("mdbook", f"## {source}\n") == [anchor]


def test_headings_of_signs_have_no_known_anchor_in_mdbook() -> None:
    text = "## `?`\n\n## `::`\n\n## Section\n\n## Section 1\n\n## Other\n\n## `-` {#own}\n"
    assert made("mdbook", text) == [None, None, None, None, "other", "own"]
    assert made("mdbook", "## Section\n\n## Section\n") == ["section", "section-1"]


def test_code_in_a_heading_is_no_attribute_list() -> None:
    assert made("mdbook", "## The `{.a}` set\n") == ["the-a-set"]


def test_mdbook_without_smart_punctuation_keeps_hyphens() -> None:
    output = {"html": {"smart-punctuation": False}}
    assert made("mdbook", "## A -- b\n", output=output) == ["a----b"]


def test_an_unknown_generator_has_no_anchors() -> None:
    for generator in ("none", *WITHOUT_ANCHORS):
        assert made(generator, "# A\n\n## B {#b}\n") == [None, None]


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("source", ["", "[", "{", "{#", "![", "`", "<", "<a {", "\\", "{{", "*_~"])
def test_broken_headings_never_raise(generator: str, source: str) -> None:
    assert len(made(generator, f"## x{source}\n\n## x{source}\n")) == 2


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize(
    "unit", ["{", "{.a ", '{a="" ', "{/*", "{/**/ ", "[^", "![", "<a ", "`", ":a-", " ", "--"]
)
def test_hostile_headings_take_linear_time(generator: str, unit: str) -> None:
    """Regression: at this size the longer one took from a second to years."""
    text = "".join(f"# a {unit * (size // len(unit))} b\n\n" for size in (450, 8_000))
    site = Site(GENERATORS[generator])
    page = parse_page(text, site.generator.markdown(site.settings))
    started = time.process_time()
    assert anchors(site, page, text)[1:] == (None,)
    assert time.process_time() - started < 0.2
