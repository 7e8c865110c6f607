import pytest

from lib.documents import DocumentError
from lib.html_tree import parse_html


def text(data: bytes) -> str:
    body = parse_html(data).body
    assert body is not None
    return body.text()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("<meta charset=utf-8><p>é".encode(), "é"),
        ("<p>é".encode(), "é"),
        ("<p>é日".encode("utf-16"), "é日"),
        ("\ufeff<meta charset=windows-1252><p>é".encode(), "é"),
        ('<meta charset="shift_jis"><p>日本'.encode("shift_jis"), "日本"),
        (b"<meta charset=ISO-8859-1><p>\x93\xe9\x94", "“é”"),
    ],
)
def test_the_encoding_is_the_one_browsers_choose(data: bytes, expected: str) -> None:
    assert text(data) == expected


def test_a_file_with_too_many_tags_is_refused() -> None:
    with pytest.raises(DocumentError, match="more than 300,000 tags"):
        parse_html(b"<b>" * 300_001)
