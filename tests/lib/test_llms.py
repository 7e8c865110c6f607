"""The texts of llms.txt and llms-full.txt"""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lib.contents import Contents, Page, _encode
from lib.llms import (
    _MAX_INDEX,
    _introduction,
    _left_out,
    _line,
    _Listing,
    _most,
    _page_section,
    _shorten,
)


def contents_of(titles: Sequence[str], path: str = "part-{}/page-{}.md") -> Contents:
    pages = tuple(
        Page(
            file_path=path.format(n % 3, n),
            title=title,
            url=None,
            version="",
            locale="",
            packed=_encode([]),
        )
        for n, title in enumerate(titles)
    )
    return Contents(
        "g", pages, 0, "", "english", {p.file_path: p for p in pages}, True, frozenset()
    )


def entries(text: str) -> list[str]:
    return re.findall(r"^- \[.*", text, re.MULTILINE)


def test_descriptions_are_whole_if_they_fit() -> None:
    contents = contents_of(["One", "Two"])
    text = _Listing("# B\n", contents).write({"part-0/page-0.md": "First.", "part-1/page-1.md": ""})
    assert text == (
        f"{_introduction('# B' + chr(10))}\n## Part 0\n\n- [One](book/part-0/page-0.md): "
        "First.\n\n## Part 1\n\n- [Two](book/part-1/page-1.md)\n"
    )


def test_descriptions_are_shortened_evenly() -> None:
    contents = contents_of([f"Page {n}" for n in range(1_000)])
    described = {page.file_path: "word " * 59 for page in contents.pages[1:]}
    described["part-0/page-0.md"] = "Short one."
    listing = _Listing("# B\n", contents)
    text = listing.write(described)
    assert _MAX_INDEX * 0.9 < len(text) <= _MAX_INDEX
    found = [line.partition("): ")[2] for line in entries(text)]
    assert len(found) == 1_000
    assert found[0] == "Short one."
    assert len(set(map(len, found[1:]))) == 1
    assert all(each.endswith("word…") for each in found[1:])


def test_descriptions_are_left_out_before_entries() -> None:
    contents = contents_of([f"Page {n}: {'x' * 40}" for n in range(1_000)])
    listing = _Listing("# B\n", contents)
    text = listing.write({page.file_path: "word " * 59 for page in contents.pages})
    assert len(entries(text)) == 1_000
    assert "word" not in text
    assert len(text) <= _MAX_INDEX


@pytest.mark.parametrize("title", ["A title", "潮の表", "\U0001f30a", "[x](y)`"])
def test_entries_are_left_out_whole(title: str) -> None:
    contents = contents_of([f"{n} {title * 5}" for n in range(20_000)])
    listing = _Listing("# B\n", contents)
    text = listing.write({})
    assert listing.room == 0
    assert _MAX_INDEX - 400 < len(text) <= _MAX_INDEX
    shown = entries(text)
    assert f"\nOnly the first {len(shown):,} of 20,000 pages are listed. " in text
    assert all(line.endswith(".md)") for line in shown)
    assert text.endswith(f"{shown[-1]}\n")


def test_a_book_of_long_titles() -> None:
    text = _Listing("# B\n", contents_of(["y" * 100_000] * 2)).write({})
    assert len(entries(text)) == 2
    assert len(text) < 2_000


def test_a_book_without_pages() -> None:
    assert _Listing("# B\n", contents_of([])).write({}) == _introduction("# B\n")


@given(st.text(max_size=50))
def test_a_title_is_one_line_of_text_in_a_link(title: str) -> None:
    line = _line(title)
    assert len(line.splitlines()) <= 1
    tokens = MarkdownIt().parse(f"- [{line}](book/a.md): {line}")
    inline = next(each for each in tokens if each.type == "inline")
    assert inline.children
    links = [each for each in inline.children if each.type == "link_open"]
    assert [each.attrs["href"] for each in links] == ["book/a.md"]
    assert not [each for each in inline.children if each.type == "html_inline"]


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(0, 5_000))
def test_what_is_cut_fits(costs: list[int], room: int) -> None:
    most = _most(costs, room)
    used = sum(min(cost, most) for cost in costs)
    assert used <= room
    if most < max(costs, default=0):
        assert used + len(costs) > room


@given(st.text("ab \\[", max_size=60), st.integers(0, 60))
def test_a_shortened_line_keeps_its_escapes(text: str, most: int) -> None:
    line = _line(text)
    short = _shorten(line, most)
    assert len(short) <= max(most, 0)
    if short not in ("", line):
        assert line.startswith(short[:-1])
        assert (len(short[:-1]) - len(short[:-1].rstrip("\\"))) % 2 == 0


def test_a_page_has_its_title_once_and_its_address() -> None:
    page = contents_of(["A [b]"]).pages[0]
    own = "\n# A \\[b\\]\nSource: book/part-0/page-0.md\n\n"
    assert _page_section(page, "# A [b]\r\n\r\nText.\n\n") == f"{own}Text.\n"
    assert _page_section(page, "# Another\n\nText.") == f"{own}# Another\n\nText.\n"
    assert _page_section(page, "    code\n") == f"{own}    code\n"


def test_the_last_line_says_how_many_pages_are_missing() -> None:
    assert _left_out(1).startswith("\n1 page is left out, because")
    assert _left_out(19_870).startswith("\n19,870 pages are left out, because")
    assert _left_out(2).endswith(".\n")
