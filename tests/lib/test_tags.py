import pytest

from lib.tags import html_text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<td>a</td><td>b</td>", "a b"),
        ("<style>x</style>a<script>y", "a"),
        ('<img alt="A &amp; B" src="x">', "A & B"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_html(source: str, expected: str) -> None:
    assert html_text(source) == expected
