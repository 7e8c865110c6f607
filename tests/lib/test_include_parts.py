import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.include_parts import Part, line_spans, mdbook_part, select, snippet_part
from tests.listings import LISTING, PYTHON

MANY = "9" * 5_000


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("x.rs", Part()),
        ("x.rs:", Part()),
        ("x.rs::", Part()),
        ("x.rs:body", Part("body")),
        ("x.rs:3", Part(spans=((3, 3),))),
        ("x.rs:2:5", Part(spans=((2, 5),))),
        ("x.rs::5", Part(spans=((1, 5),))),
        ("x.rs:2:", Part(spans=((2, None),))),
        ("x.rs:2:end", Part(spans=((2, None),))),
        (f"x.rs:{MANY}", Part(spans=((999_999_999, 999_999_999),))),
    ],
)
def test_what_mdbook_names(target: str, part: Part) -> None:
    assert mdbook_part(target) == ("x.rs", part)


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("x.py", Part()),
        ("x.py:part", Part("part")),
        ("x.py:2", Part(spans=((2, 2),))),
        ("x.py:2:5", Part(spans=((2, 5),))),
        ("x.py::5", Part(spans=((1, 5),))),
        ("x.py:1:3,6:7", Part(spans=((1, 3), (6, 7)))),
    ],
)
def test_what_a_snippet_names(target: str, part: Part) -> None:
    assert snippet_part(target) == ("x.py", part)


def test_lines_are_named_by_their_numbers() -> None:
    assert line_spans("1:3,5,7:") == ((1, 3), (5, 5), (7, None))
    assert line_spans(f"x,,{MANY}:{MANY}") == ((999_999_999, 999_999_999),)


@pytest.mark.parametrize(
    ("text", "part", "selected"),
    [
        (LISTING, Part("call"), "run();"),
        (LISTING, Part("body"), "fn main() {\n    run();\n}"),
        (LISTING, Part("bod"), ""),
        (LISTING, Part(spans=((3, 3),)), "fn main() {"),
        (LISTING, Part(spans=((5, 5),)), "run();"),
        (LISTING, Part(spans=((1, 1), (7, None))), "use std::io;\n}\n"),
        (LISTING, Part(spans=((99, None),)), ""),
        (PYTHON, Part("part"), "def f():\n    return 1"),
        (PYTHON, Part("tail"), "x = f()"),
        (PYTHON, Part(), "import os\ndef f():\n    return 1\nx = f()\n"),
    ],
)
def test_a_part_is_its_lines(text: str, part: Part, selected: str) -> None:
    assert select(text, part) == selected


@given(st.text(":,0123456789²٣ax-", max_size=20))
def test_any_target_names_something(target: str) -> None:
    for named in (mdbook_part, snippet_part):
        _, part = named(target)
        select(PYTHON, part)
