import pytest

from lib.markdown_page import fence, line_spans


def test_a_fence_is_longer_than_any_in_its_code() -> None:
    assert fence("```\nx\n```\n", "md") == "````md\n```\nx\n```\n````"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_where_lines_start_and_end(newline: str) -> None:
    text = newline.join(["before", "one", "", "two"])
    start = len(f"before{newline}")
    spans = line_spans(text, start, len(text))
    assert [text[begin:end] for begin, end in spans] == ["one", "", "two"]
