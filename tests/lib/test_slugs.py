"""Slugs and their numbering. The expected values were made by the generators' own code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sites import anchors as slugs

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
    assert slugs.github_slug(text) == slug


def test_github_slug_can_keep_the_case() -> None:
    assert slugs.github_slug("API Client", lower=False) == "API-Client"


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
    assert slugs.vitepress_slug(text) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("The `Option<T>` Pattern".replace("`", ""), "the-optiont-pattern"),
        ("::", "section"),
        (" trimmed  twice ", "trimmed--twice"),
        ("½ ² Ⓐ", "½-²-ⓐ"),
        ("हिन्दी", "हिनदी"),  # Rust counts vowel signs as alphabetic, the virama not
        ("مُحَمَّد", "مُحَمَّد"),
        ("e\u0301", "e"),
    ],
)
def test_mdbook_slug(text: str, slug: str) -> None:
    assert slugs.mdbook_slug(text) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("A – b", "a--b"),
        ("हिन्दी", "हनद"),  # letters only, no marks
        ("!!!", "heading"),
        ("İx", "ix"),
        ("a\u00a0b_c", "ab_c"),
    ],
)
def test_hugo_slug(text: str, slug: str) -> None:
    assert slugs.hugo_slug(text) == slug


def test_hugo_slug_in_ascii_keeps_what_accents_stand_on() -> None:
    assert slugs.hugo_slug("Café ñ 日本", ascii_only=True) == "cafe-n-"
    assert slugs.blackfriday_slug("Foo  bar_(baz)") == "foo-bar-baz"


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
    assert slugs.markdown_slug(text) == slug


@pytest.mark.parametrize(
    ("toc", "slug"),
    [
        ({}, "cafe-ab-c"),
        ({"separator": "_"}, "cafe_ab_c"),
        ({"separator": "]"}, "cafe]ab]c"),
        ({"slugify": "markdown.extensions.toc.slugify_unicode"}, "café-ab-c"),
        ({"slugify": "pymdownx.slugs.slugify"}, "Café-Ab--C"),
        (
            {"slugify": "pymdownx.slugs.slugify", "slugify_arguments": {"case": "lower"}},
            "café-ab--c",
        ),
        ({"slugify": "pymdownx.slugs.uslugify_encoded"}, "caf%C3%A9-ab--c"),
        ({"slugify": "pymdownx.slugs.gfm"}, "café-ab--c"),
    ],
)
def test_the_slugs_that_mkdocs_can_be_told_to_make(toc: dict[str, object], slug: str) -> None:
    slugger = slugs.markdown_slugger(toc)
    assert slugger is not None
    assert slugger("Café <b>Ab</b>  C".replace("<b>", "").replace("</b>", "")) == slug


def test_slugs_made_by_code_of_the_site_are_not_guessed() -> None:
    assert slugs.markdown_slugger({"slugify": "my.own.slugify"}) is None


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("1. First Thing!", "first-thing"),
        ("Straße Ærø Łódź", "strasze-aero-lodz"),
        ("foo_bar.baz", "foo-bar-baz"),
        ("日本語", ""),
    ],
)
def test_docutils_slug(text: str, slug: str) -> None:
    assert slugs.docutils_slug(text) == slug


def test_kramdown_slugs() -> None:
    assert slugs.kramdown_slug("1. A_b & ½\tc") == "1-a_b---c"
    assert slugs.kramdown_plain_slug("1. Café_b c") == "cafb-c"
    assert slugs.kramdown_plain_slug("日本") == "section"


def test_hello_world_twice_and_then_hello_world_1() -> None:
    assert slugs.github_numbered(HELLO) == ["hello-world", "hello-world-1", "hello-world-1-1"]
    assert slugs.numbered(HELLO, explicit_count=True) == [
        "hello-world",
        "hello-world-1",
        "hello-world-1-1",
    ]
    # kramdown's counter looks at nothing else, and so gives one anchor twice.
    assert slugs.kramdown_numbered(HELLO) == ["hello-world", "hello-world-1", "hello-world-1"]


def test_github_slugger_counts_by_the_first_form() -> None:
    named = [("a-1", False), ("a", False), ("a", False), ("a", False)]
    assert slugs.github_numbered(named) == ["a-1", "a", "a-2", "a-3"]


def test_explicit_ids_and_the_headings_around_them() -> None:
    named = [("x", False), ("x", True), ("x", False)]
    assert slugs.github_numbered(named) == ["x", "x", "x-1"]
    assert slugs.numbered(named[1:], explicit_count=True) == ["x", "x-1"]
    assert slugs.numbered(named[1:], explicit_count=False) == ["x", "x"]
    # Python-Markdown knows them before it comes to them.
    assert slugs.markdown_numbered(named) == ["x_1", "x", "x_2"]


def test_python_markdown_counts_on_from_a_number() -> None:
    named = [("v_1", False), ("v_1", False), ("", False), ("", False), ("v", False), ("v", False)]
    assert slugs.markdown_numbered(named) == ["v_1", "v_2", "_1", "_2", "v", "v_3"]


def test_docutils_numbers_with_one_counter() -> None:
    named = [("a", False), ("a", False), ("", False), ("a", False), ("id1", False)]
    assert slugs.docutils_numbered(named) == ["a", "id1", "id2", "id3", "id4"]


_NAMED = st.lists(
    st.sampled_from(["", "a", "a-1", "a_1", "id1", "b"]).map(lambda slug: (slug, False))
)


@given(_NAMED)
def test_anchors_are_unique(named: list[slugs.Named]) -> None:
    for numbered in (
        slugs.github_numbered(named),
        slugs.numbered(named, explicit_count=True),
        slugs.markdown_numbered(named),
        slugs.docutils_numbered(named),
    ):
        assert len(numbered) == len(set(numbered)) == len(named)


@given(st.text())
def test_slugs_hold_nothing_that_ends_a_fragment(text: str) -> None:
    for slug in (
        slugs.github_slug(text),
        slugs.vitepress_slug(text),
        slugs.mdbook_slug(text),
        slugs.hugo_slug(text),
        slugs.kramdown_slug(text),
        slugs.markdown_slug(text),
        slugs.docutils_slug(text),
    ):
        assert not set(slug) & set(" \t\r\n#<>\"'")


def test_ten_thousand_equal_headings_are_numbered_quickly() -> None:
    named = [("same", False)] * 10_000
    assert slugs.markdown_numbered(named)[-1] == "same_9999"
    assert slugs.numbered(named, explicit_count=True)[-1] == "same-9999"
    assert slugs.github_numbered(named)[-1] == "same-9999"
