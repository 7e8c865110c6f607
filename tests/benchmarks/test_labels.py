from pathlib import Path

import pytest

from benchmarks.labels import Title, figures, short_sections
from lib.settings import Settings
from tests.passages import make_passage

PAGE = f"""# Codes

## 3

The kettle is empty, so fill it.

## Long

{"The pot is warm. " * 40}

## 4

<!-- nothing that a reader sees, however long it is -->

## 3

The cup is full, so drink it.
"""


def test_titles_of_short_sections_have_all_their_addresses(tmp_path: Path) -> None:
    (tmp_path / "codes.md").write_text(PAGE)
    settings = Settings(
        book_content_path=tmp_path, site_url="https://b.example", site_generator="mkdocs"
    )
    page = "https://b.example/codes/"
    assert list(short_sections(settings)) == [
        Title("codes.md", "3", frozenset({("3", f"{page}#3"), ("3", f"{page}#3_1")}))
    ]


@pytest.mark.parametrize(
    ("heading", "url", "right"), [("c", "#a", True), ("C", "#b", False), ("D", "#a", False)]
)
def test_a_label_is_heading_and_address(heading: str, url: str, right: bool) -> None:
    passage = make_passage("x", heading=heading, url=url)
    assert Title("a.md", "C", frozenset({("", "#a"), ("", "#c")})).is_label(passage) is right


def test_equal_titles_must_be_told_apart(tmp_path: Path) -> None:
    options = "".join(f"### {name}\n\n#### Options\n\n{'It has none. ' * 3}\n\n" for name in "ab")
    (tmp_path / "a.md").write_text(f"# A\n\n## B\n\n{options}")
    unknown = Settings(book_content_path=tmp_path, site_url="", site_generator="none")
    assert list(short_sections(unknown)) == [Title("a.md", "Options", frozenset())]


def test_figures_are_shares_of_the_first_and_the_first_five() -> None:
    first, in_five, count = figures([0, 0, 4, 5])
    assert (first[:5], in_five[:5], count) == ("0.500", "0.750", "4")
