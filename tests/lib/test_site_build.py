"""Pages and headings of Markdown files in a built site."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lib.documents import DocumentLimits, discover
from lib.markdown import parse_page
from lib.site_build import SiteBuild
from lib.sites.router import PageAddress
from lib.source_html import survey_site

SUBJECTS = (
    "The rover carries six cameras and a drill that reaches two metres below the surface of Mars",
    "Bread dough rests overnight in a cool cellar before the baker shapes it into round loaves",
    "Every lock of the canal lifts a barge three metres while water flows in from the upper pond",
    "A choir of forty voices sings the mass without instruments in the oldest church of the town",
)


def text_about(subject: int, part: int = 0) -> str:
    """A paragraph that no other page has."""
    words = SUBJECTS[subject].split()
    return " ".join(f"{word}{part or ''}" for word in words)


def html_page(title: str, body: str, *, head: str = "", after: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>{head}'
        f"</head><body><main><article>{body}</article>{after}</main></body></html>"
    )


def built_page(subject: int, *, headings: str = "", after: str = "", head: str = "") -> str:
    body = f"<h1>Page {subject}</h1><p>{text_about(subject)}.</p>{headings}"
    return html_page(f"Page {subject}", body, head=head, after=after)


def source(subject: int) -> str:
    return f"# Page {subject}\n\n{text_about(subject)}.\n"


def open_build(
    tmp_path: Path, pages: Mapping[str, str], sources: Sequence[str], root: str = "docs"
) -> SiteBuild:
    folder = tmp_path / "build"
    for path, html in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(html)
    built = survey_site(folder, discover(folder, html=True).paths, "https://x.org/book")
    return SiteBuild(folder, built, tmp_path / root, sources, DocumentLimits())


def found(build: SiteBuild, path: str, text: str, predicted: str | None = None) -> str:
    page = parse_page(text, "commonmark")
    nothing = (None,) * len(page.headings)
    return build.find(path, page, PageAddress(predicted, nothing))[1].file


def edit_link(path: str) -> str:
    return f'<a href="https://github.com/x/book/edit/main/{path}">Edit this page</a>'


def test_a_predicted_page_with_the_same_text_is_taken_without_reading_the_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "build").mkdir()
    build = open_build(tmp_path, {"a/index.html": built_page(0)}, ["a.md"])
    scans: list[bool] = []
    build._before_scan = lambda: scans.append(True)
    assert found(build, "a.md", source(0), "https://x.org/book/a/") == "a/index.html"
    assert not scans


@pytest.mark.parametrize("predicted", [None, "https://x.org/book/a/"])
def test_a_page_with_another_text_is_not_the_predicted_one(
    tmp_path: Path, predicted: str | None
) -> None:
    """A slug that a plugin computes: the text is at another address."""
    pages = {"a/index.html": built_page(1), "computed/index.html": built_page(0)}
    build = open_build(tmp_path, pages, ["a.md", "other.md"])
    assert found(build, "a.md", source(0), predicted) == "computed/index.html"
    assert found(build, "other.md", source(1)) == "a/index.html"


@pytest.mark.parametrize(
    ("folder", "paths", "links"),
    [
        # Docusaurus: number prefixes; Starlight, Hugo: slugs and a folder of the language
        ("docs", ["01-intro.md", "02-guide/03-Set Up.md"], ["intro", "guide/set-up"]),
        # Hugo, MkDocs: a language in the name
        ("", ["a/index.fr.md", "a.md", "b.js.md"], ["fr/a", "a", "b.js"]),
        # posts of Jekyll: only the prefix is a date or a number
        ("news", ["_posts/2013-07-25-app-1-0-4.md", "a.md"], ["2013/07/25/app-1-0-4", "app-1-1"]),
        ("en", ["intro.md", "Guide/Set_up/index.md"], ["intro", "guide/set-up"]),
        ("", ["_index.md", "guide/README.md"], ["", "guide"]),
        ("guide/v2", ["intro.md", "guide/guide.md"], ["intro", "guide"]),
    ],
)
@pytest.mark.parametrize("form", ["{}/index.html", "{}.html"])
def test_the_same_path_in_another_form(
    tmp_path: Path, folder: str, paths: list[str], links: list[str], form: str
) -> None:
    files = [form.format(f"{folder}/{link}".strip("/") or "index") for link in links]
    files = ["index.html" if file == "index/index.html" else file for file in files]
    pages = {file: built_page(at) for at, file in enumerate(files)}
    build = open_build(tmp_path, pages, paths)
    for at, path in enumerate(paths):
        assert found(build, path, source(at)) == files[at]


@pytest.mark.parametrize(
    "link",
    [
        edit_link("docs/{}"),
        '<a href="https://gitlab.com/x/book/-/edit/main/docs/{}">Edit</a>',
        '<a href="https://codeberg.org/x/book/_edit/main/docs/{}">Edit</a>',
        '<a href="https://github.com/x/book/blob/main/docs/{}?plain=1">Source</a>',
        '<a href="/book/_sources/{}.txt" rel="nofollow">View page source</a>',
    ],
)
def test_the_edit_link_names_the_source(tmp_path: Path, link: str) -> None:
    """The path tells nothing, and the build shows half of the text."""
    pages = {
        f"p/{subject}/index.html": html_page(
            "x",
            f"<h1>x</h1><p>{text_about(subject)}</p><p>{text_about(subject, 2)}</p>",
            after=link.format(path),
        )
        for subject, path in ((0, "a.md"), (1, "deep/er/b.md"), (2, "deep/a.md"))
    }
    build = open_build(tmp_path, pages, ["a.md", "deep/a.md", "deep/er/b.md"])
    for subject, path in ((0, "a.md"), (1, "deep/er/b.md"), (2, "deep/a.md")):
        text = f"{text_about(subject)}\n\n{text_about(subject, 3)}\n"
        assert found(build, path, text) == f"p/{subject}/index.html"


def test_an_edit_link_and_the_address_that_agree_need_no_text(tmp_path: Path) -> None:
    """A macro that fails: the page shows an error instead of its text."""
    pages = {
        "a/index.html": html_page("x", f"<p>{text_about(1)}</p>", after=edit_link("docs/a.md")),
        "b/index.html": html_page("x", f"<p>{text_about(2)}</p>"),
    }
    build = open_build(tmp_path, pages, ["a.md", "b.md"])
    assert found(build, "a.md", source(0), "https://x.org/book/a/") == "a/index.html"
    assert found(build, "b.md", source(3), "https://x.org/book/b/") == ""


def test_a_page_that_scripts_fill_is_known_by_its_address(tmp_path: Path) -> None:
    shell = "<!doctype html><div id=root></div><script src=app.js></script>"
    pages = {"a/index.html": shell, "b/index.html": shell, "index.html": shell}
    build = open_build(tmp_path, pages, ["a.md", "b.md", "c.md"])
    page = parse_page(source(0), "commonmark")
    address, _ = build.find("a.md", page, PageAddress("https://x.org/book/a/", ("page-0",)))
    assert (address.url, address.anchors) == ("https://x.org/book/a/", ("page-0",))
    assert found(build, "b.md", source(1)) == "b/index.html"
    assert found(build, "c.md", source(2)) == ""


def test_of_several_versions_the_edit_link_names_the_folder_of_the_sources(tmp_path: Path) -> None:
    """Docusaurus: an old version has the same text and the same end of its link."""
    pages = {
        "docs/a.html": built_page(0, after=edit_link("versioned_docs/version-1/a.md")),
        "docs/next/a.html": built_page(0, after=edit_link("docs/a.md")),
    }
    build = open_build(tmp_path, pages, ["a.md"])
    assert found(build, "a.md", source(0)) == "docs/next/a.html"


def test_a_link_that_every_page_has_is_not_its_edit_link(tmp_path: Path) -> None:
    link = '<a href="https://github.com/x/book/blob/main/docs/readme.md">About</a>'
    pages = {
        "index.html": built_page(0, after=link),
        "one.html": built_page(1, after=link + edit_link("docs/one.md")),
        "two.html": built_page(2, after=link + edit_link("docs/two.md")),
    }
    build = open_build(tmp_path, pages, ["one.md", "readme.md", "two.md"])
    assert found(build, "readme.md", source(3)) == ""
    assert found(build, "two.md", source(2)) == "two.html"


def test_a_draft_is_not_in_the_build(tmp_path: Path) -> None:
    pages = {"index.html": built_page(0), "guide.html": built_page(1)}
    build = open_build(tmp_path, pages, ["draft.md", "guide.md", "index.md"])
    assert found(build, "draft.md", source(2)) == ""
    # a title alone, or a page that lists the beginning of all others, is not enough
    assert found(build, "draft.md", f"# Page 1\n\n{text_about(2)}.\n") == ""
    page = parse_page(source(2), "commonmark")
    address, _ = build.find("draft.md", page, PageAddress("https://x.org/book/d", (None,)))
    assert address == PageAddress(None, (None,), published=False)


def test_two_sources_never_have_one_page(tmp_path: Path) -> None:
    build = open_build(tmp_path, {"a.html": built_page(0)}, ["a.md", "copy.md"])
    assert found(build, "copy.md", source(0)) == ""
    assert found(build, "a.md", source(0)) == "a.html"
    other = open_build(tmp_path, {"a.html": built_page(0)}, ["b.md", "c.md"])
    assert [found(other, path, source(0)) for path in ("b.md", "c.md")] == ["a.html", ""]
    claimed = open_build(tmp_path, {"a.html": built_page(0)}, ["b.md", "c.md"])
    claimed.claim("c.md", "a.html")
    assert [found(claimed, path, source(0)) for path in ("b.md", "c.md")] == ["", "a.html"]


def test_equal_texts_are_told_apart_by_their_path_or_not_at_all(tmp_path: Path) -> None:
    pages = {"v1/a.html": built_page(0), "v2/a.html": built_page(0), "i.html": built_page(1)}
    build = open_build(tmp_path, pages, ["v2/a.md", "i.md"])
    assert found(build, "v2/a.md", source(0)) == "v2/a.html"
    pages = {"x.html": built_page(2), "y.html": built_page(2)}
    assert found(open_build(tmp_path, pages, ["other.md"]), "other.md", source(2)) == ""


def test_a_page_that_prints_all_others_is_none_of_them(tmp_path: Path) -> None:
    everything = "".join(f"<h1>Page {n}</h1><p>{text_about(n)}.</p>" for n in range(4))
    pages = {"print.html": html_page("Book", everything)}
    pages |= {f"c{n}.html": built_page(n) for n in range(3)}
    build = open_build(tmp_path, pages, [f"chapter-{n}.md" for n in range(4)])
    files = [found(build, f"chapter-{n}.md", source(n)) for n in range(4)]
    assert files == ["c0.html", "c1.html", "c2.html", ""]


def ids(tmp_path: Path, text: str, body: str) -> list[str | None]:
    """The anchors that the headings of a page get from its build."""
    pages = {"a/index.html": html_page("A", f"<p>{text_about(0)}.</p>{body}")}
    build = open_build(tmp_path, pages, ["a.md"])
    page = parse_page(f"{text_about(0)}.\n\n{text}", "commonmark")
    known = PageAddress("https://x.org/book/a/", (None,) * len(page.headings))
    return list(build.find("a.md", page, known)[0].anchors)


def test_ids_come_from_the_build(tmp_path: Path) -> None:
    body = (
        "<h2 id=one-x>One</h2><h3 id=two>Two<a href=#two>¶</a></h3><h2 id=drei>Three &amp; 4</h2>"
    )
    assert ids(tmp_path, "## One\n\n### *Two*\n\n## Three & 4\n", body) == ["one-x", "two", "drei"]


def test_inserted_and_removed_headings_shift_no_ids(tmp_path: Path) -> None:
    body = (
        "<h2 id=news>News</h2><h2 id=usage>Usage</h2><h3 id=ex>Example</h3><h3 id=api>API</h3>"
        "<h3 id=ex-1>Example</h3><h2 id=faq>FAQ</h2>"
    )
    text = "## Usage\n\n### Example\n\n### Hidden\n\n### Example\n\n## FAQ\n"
    # the section that holds what stands under the removed heading
    assert ids(tmp_path, text, body) == ["usage", "ex", "usage", "ex-1", "faq"]


def test_a_heading_with_a_badge_or_a_variable_is_still_the_same(tmp_path: Path) -> None:
    body = (
        "<h2 id=a>Install Acme now</h2><h2 id=b>create() <span>3.5+</span></h2><h2 id=c>Last</h2>"
    )
    text = "## Install {{ product }} now\n\n## create() <Badge />\n\n## Last\n"
    assert ids(tmp_path, text, body) == ["a", "b", "c"]


def test_a_heading_without_an_id_links_to_its_section_or_the_page(tmp_path: Path) -> None:
    body = "<h1>A</h1><h2 id=one>One</h2><h3>Two</h3><h2>Three</h2>"
    assert ids(tmp_path, "# A\n\n## One\n\n### Two\n\n## Three\n", body) == [
        None,
        "one",
        "one",
        None,
    ]


def test_the_address_has_the_form_and_the_language_of_the_build(tmp_path: Path) -> None:
    canonical = '<link rel="canonical" href="https://x.org/book/a">'
    pages = {"a/index.html": built_page(0, head=canonical)}
    build = open_build(tmp_path, pages, ["a.md"])
    page = parse_page(source(0), "commonmark")
    address, _ = build.find("a.md", page, PageAddress("https://x.org/book/a/", (None,), "2.0"))
    assert (address.url, address.version, address.locale) == ("https://x.org/book/a", "2.0", "en")
    assert address.published
