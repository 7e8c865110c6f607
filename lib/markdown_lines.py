"""Lines of a page: where they start and end in the file, and in the parser's state."""

import re
from typing import Final

from markdown_it.rules_block import StateBlock

NEWLINES: Final = re.compile(r"[\r\n](?:(?<=\r)\n)?")


class Lines:
    """Where markdown-it's lines start and end in the text they were read from.

    Its rule is `\\r\\n`, `\\r` or `\\n`; `str.splitlines` also breaks at form feeds, U+2028 and
    others, after which every offset would be wrong.
    """

    def __init__(self, text: str, start: int) -> None:
        self.starts: list[int] = [start]
        self.ends: list[int] = []
        for found in NEWLINES.finditer(text, start):
            self.ends.append(found.start())
            self.starts.append(found.end())
        self.ends.append(len(text))
        self.text = text

    def blank(self, line: int) -> bool:
        return not self.text[self.starts[line] : self.ends[line]].strip(" \t")

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Offsets of lines `begin` to `end` (exclusive), blank lines at the end left off."""
        end = min(end, len(self.starts))
        while end > begin + 1 and self.blank(end - 1):
            end -= 1
        return self.starts[begin], self.ends[max(end - 1, begin)]


def push_line(state: StateBlock, kind: str, start: int, end: int, content: str = "") -> bool:
    """A block that is the lines `start` to `end` (exclusive) and holds no other."""
    token = state.push(kind, "", 0)
    token.map = [start, end]
    token.content = content
    state.line = end
    return True


def line_of(state: StateBlock, line: int, end: int, pos: int) -> int:
    """The line on which the offset `pos` lies; `end` if it lies on a later one."""
    while line < end and state.eMarks[line] < pos:
        line += 1
    return line
