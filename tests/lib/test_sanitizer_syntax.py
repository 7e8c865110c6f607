import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lib.sanitizer_syntax import LineKind, OpenBlocks, _expand_numbers, _key, classify_line

PARSER = MarkdownIt("commonmark").enable("table").disable(["html_block", "reference"])
PIECES = st.sampled_from(
    "```;~~~;````;a;a b;# ;---;***;===;\t;* ; ;10) ;-;```py;+;- ;  ;    ;> ;1. ;2. ;   "
    ";|;a|b;|-|;-|-".split(";")
)
LINES = st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=9)


@given(LINES)
@settings(max_examples=400)
@example(["- ```", "  a", "b", "```", "c"])
@example(["> ```", "a", "> ```"])
@example(["a|b", "-|-", "2. a", "   ```", "b"])
@example(["10. a", "", "   ```", "   b", "   ```"])
def test_fences_are_those_of_markdown_it(lines: list[str]) -> None:
    blocks = OpenBlocks()
    shown: list[str] = []
    in_fence: list[bool] = []
    for line in lines:
        kind, after = read(blocks, line)
        if kind is LineKind.UNCLEAR:
            shown.append("")
            in_fence.append(False)
            _, blocks = read(blocks, "")
            kind, after = read(blocks, line)
        shown.append(line.replace("|", " ") if kind is LineKind.FENCE else line)
        in_fence.append(kind in (LineKind.FENCE, LineKind.CODE))
        blocks = after
    true = [False] * len(shown)
    for token in PARSER.parse("\n".join(shown)):
        if token.type == "fence" and token.map:
            true[slice(*token.map)] = [True] * (token.map[1] - token.map[0])
    for line, mine, theirs in zip(shown, in_fence, true, strict=True):
        assert mine == theirs or not line.strip(" \t>")


@given(LINES)
def test_what_is_decided_early_stays(lines: list[str]) -> None:
    blocks = OpenBlocks()
    for line in lines:
        whole = read(blocks, line)
        for end in range(len(line)):
            assert classify_line(blocks, line[:end], complete=False) in (None, whole)
        blocks = whole[1]


def read(blocks: OpenBlocks, line: str) -> tuple[LineKind, OpenBlocks]:
    result = classify_line(blocks, line, complete=True)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("numbers", "expanded"),
    [
        ("1", [1]),
        ("1, 3", [1, 3]),
        ("3,1,3", [3, 1]),
        ("2-4", [2, 3, 4]),
        ("2 – 4", [2, 3, 4]),
        ("4-2", [4, 2]),
        ("1-12", [1, 12]),
        ("1-3; 5 & 7 and 9", [1, 2, 3, 5, 7, 9]),
        ("1-999", [1, 999]),
    ],
)
def test_expand_numbers(numbers: str, expanded: list[int]) -> None:
    assert _expand_numbers(numbers) == expanded


def test_a_character_reference_of_thousands_of_digits_is_no_error() -> None:
    assert _key("https://x.org/&#" + "1" * 5_000 + ";") == "https://x.org/\ufffd;"
