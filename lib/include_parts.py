"""Which lines of a file a page includes: a named region, or some by their numbers."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

# Lines that only mark a region for an include: mdBook's, VitePress's and pymdownx's ways.
_REGION_LINE: Final = re.compile(
    r"ANCHOR(?:_END)?:\s*[\w-]+|#(?:end)?region\b|--8<--\s*\[(?:start|end):"
)


class Part(NamedTuple):
    """Which lines of a file: a named region, or first to last, counted from 1."""

    region: str = ""
    spans: tuple[tuple[int, int | None], ...] = ()


def mdbook_part(target: str) -> tuple[str, Part]:
    """`file`, `file:3`, `file:2:5`, `file::5`, `file:2:` or `file:anchor`."""
    path, *rest = target.split(":")
    if not rest or not any(rest):
        return path, Part()
    if rest[0] and not rest[0].isdecimal():
        return path, Part(rest[0])
    return path, Part(spans=_spans([":".join(rest[:2])]))


def snippet_part(target: str) -> tuple[str, Part]:
    """`file`, `file:section`, or lines as `file:2:5`, `file::5`, `file:2`."""
    found = re.fullmatch(r"(.*?)((?::-?\d*){1,2}(?:,\d*:\d*)*|:[A-Za-z][\w-]*)?", target)
    if found is None or not found[2]:
        return target, Part()
    rest = found[2][1:]
    if rest[:1].isalpha():
        return found[1], Part(rest)
    return found[1], Part(spans=line_spans(rest))


def line_spans(lines: str) -> tuple[tuple[int, int | None], ...]:
    """`1:3,5,7:` as pairs of first and last line."""
    return _spans(lines.split(","))


def _spans(pieces: Iterable[str]) -> tuple[tuple[int, int | None], ...]:
    spans: list[tuple[int, int | None]] = []
    for piece in pieces:
        first, colon, last = piece.strip().partition(":")
        start = _line(first)
        if colon:
            spans.append((1 if start is None else start, _line(last)))
        elif start is not None:
            spans.append((start, start))
    return tuple(spans)


def _line(digits: str) -> int | None:
    """No file has more lines than nine digits count, and thousands of them are no number."""
    return int(digits[:9]) if digits.isdecimal() else None


def select(text: str, part: Part) -> str:
    """The lines of `part`, without those that only mark a region; indented as little as may be."""
    lines = text.split("\n")
    if part.region:
        lines = list(_region(lines, part.region))
    elif part.spans:
        chosen: list[str] = []
        for first, last in part.spans:
            chosen.extend(lines[max(first - 1, 0) : last])
        lines = chosen
    kept = [line for line in lines if not _REGION_LINE.search(line)]
    return _dedent("\n".join(kept)) if part.region or part.spans else "\n".join(kept)


def _region(lines: Sequence[str], name: str) -> Iterable[str]:
    word = re.escape(name)
    begin = re.compile(
        rf"ANCHOR:\s*{word}(?![\w-])|#region\s+{word}(?![\w-])|--8<--\s*\[start:\s*{word}\]"
    )
    end = re.compile(
        rf"ANCHOR_END:\s*{word}(?![\w-])|#endregion(?:\s+{word}(?![\w-])|\s*(?:\*/|-->)?\s*$)"
        rf"|--8<--\s*\[end:\s*{word}\]"
    )
    inside = False
    for line in lines:
        if begin.search(line):
            inside = True
        elif inside and end.search(line):
            inside = False
        elif inside:
            yield line


def _dedent(text: str) -> str:
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)
