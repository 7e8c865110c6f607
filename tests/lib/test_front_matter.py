import datetime

import pytest

from lib.markdown import parse_page


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("---\ndate: 2024-01-02\n---\nx", {"date": datetime.date(2024, 1, 2)}),
        ("\ufeff---\r\na: b\r\n---\r\nx", {"a": "b"}),
        ('+++\ntitle = "T"\n[extra]\nn = 1\n+++\nx', {"title": "T", "extra": {"n": 1}}),
        ("---\n---\nx", {}),
        ("---\n# only a comment\n---\nx", {}),
        ("---\n1: a\n---\nx", {"1": "a"}),
    ],
)
def test_front_matter(text: str, values: dict[str, object]) -> None:
    page = parse_page(text, "commonmark")
    assert page.front_matter == values
    assert page.problems == ()
    assert [text[block.start : block.end] for block in page.blocks] == ["x"]


@pytest.mark.parametrize(
    ("front", "word"),
    [
        ("---\ntitle: a: b\n---\n", "line 2"),
        ("---\nx: y\nd: 2024-13-45\n---\n", "cannot be read"),
        ("---\na: \x07\n---\n", "front matter"),
        ("---\na: !!python/object:os.system x\n---\n", "YAML"),
        ("---\na: " + "[" * 3000 + "\n---\n", "front matter"),
        ("---\n- a: b\n- c: d\nkey: x\n---\n", "YAML"),
        ("+++\ntitle = \n+++\n", "TOML"),
    ],
)
def test_broken_front_matter_is_a_problem_and_no_prose(front: str, word: str) -> None:
    page = parse_page(front + "# T\n", "commonmark")
    (problem,) = page.problems
    assert word in problem
    assert "\n" not in problem
    assert [block.kind for block in page.blocks] == ["heading"]


@pytest.mark.parametrize(
    "text",
    ["---\n\nJust a rule\n\n---\n\nand prose", "---\ntitle: never closed", "----\na: b\n----\n"],
)
def test_rules_are_not_front_matter(text: str) -> None:
    page = parse_page(text, "commonmark")
    assert page.front_matter == {}
    assert page.problems == ()
    assert page.blocks[0].start == 0


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: Front\n---\n# Body\n", "Front"),
        ("---\ntitle: 2024\n---\n", "2024"),
        ("---\ntitle: [a]\n---\n# Body\n", "Body"),
        ("## Two\n\n# *One*\n", "One"),
        ("text", ""),
    ],
)
def test_title(text: str, title: str) -> None:
    assert parse_page(text, "commonmark").title == title
