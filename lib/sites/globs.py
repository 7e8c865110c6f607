"""Globs and .gitignore rules as regular expressions that never backtrack.

The text between two stars has a fixed length, and so have the folders between two `**`. The
leftmost match of each is therefore as good as any other, and an atomic group keeps it: the time
for a path is at most proportional to the length of the path times that of the pattern.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from typing import Final

_MAX_PATTERNS: Final = 1_000
_MAX_CHARACTERS: Final = 20_000
"""Of all patterns of a list together."""
_TOO_MANY: Final = (
    f"more than {_MAX_PATTERNS} patterns, or than {_MAX_CHARACTERS} characters in them"
)

_TOKEN: Final = re.compile(r"\*++|\?|\[[!^]?+\]?+[^\]]{0,60}+\]|\\.|.", re.DOTALL)
_BRACES: Final = re.compile(r"\{([^{}]*+)\}")


def fits(patterns: Iterable[str]) -> bool:
    """Whether the patterns, with all the choices in their braces, are within the limits."""
    found = list(islice(_expanded(patterns), _MAX_PATTERNS + 1))
    return len(found) <= _MAX_PATTERNS and sum(map(len, found)) <= _MAX_CHARACTERS


def glob_matches(patterns: tuple[str, ...], path: str, *, below: bool = False) -> bool:
    """Whether one of the globs (`*`, `**`, `?`, `[x]`, `{a,b}`) matches the whole path; with
    `below` also a folder above it. Patterns that do not fit match nothing.
    """
    return _compiled(patterns, r"(?![^/])" if below else r"\Z").match(path) is not None


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...], end: str) -> re.Pattern[str]:
    globs = []
    for glob in _expanded(patterns) if fits(patterns) else ():
        with suppress(ValueError):
            globs.append(_glob(glob.removeprefix("./")) + end)
    return re.compile(_any(globs), re.DOTALL)


def _any(patterns: Iterable[str]) -> str:
    return "|".join(patterns) or r"(?!)"


def _expanded(patterns: Iterable[str]) -> Iterator[str]:
    """Yield `a.{b,c}` as `a.b` and `a.c`."""
    for pattern in patterns:
        todo = [pattern]
        while todo and len(todo) <= _MAX_PATTERNS:
            glob = todo.pop()
            braces = next((found for found in _BRACES.finditer(glob) if "," in found[1]), None)
            if braces is None or len(glob) > _MAX_CHARACTERS:
                yield glob
                continue
            head, tail = glob[: braces.start()], glob[braces.end() :]
            todo.extend(head + choice + tail for choice in reversed(braces[1].split(",")))
        yield from todo


def _glob(glob: str) -> str:
    """A glob as a regular expression for the beginning of a path."""
    result, group = "", ""
    *folders, last = glob.split("/")
    below = ""
    for folder in folders:
        if folder != "**":
            group += _segment(folder) + "/"
            continue
        result += below + group + ")" * bool(below)
        below, group = r"(?>.*?(?<![^/])", ""
    if last == "**":
        return result + below + group + ")" * bool(below) + ".+"
    # the last group may match at several places, and what follows it decides which
    return result + below.replace("(?>", "(?:") + group + _segment(last) + ")" * bool(below)


def _segment(glob: str) -> str:
    """A file's or folder's name as a regular expression."""
    parts = [""]
    for token in _TOKEN.findall(glob):
        if token[0] == "*":
            parts.append("")
        elif token == "?":
            parts[-1] += "[^/]"
        elif token[0] == "[" and len(token) > 1:
            parts[-1] += _characters(token[1:-1])
        else:
            parts[-1] += re.escape(token[-1])
    if len(parts) == 1:
        return parts[0]
    middle = "".join(f"(?>[^/]*?{part})" for part in parts[1:-1] if part)
    return f"(?>(?=[^/]){parts[0]}{middle}[^/]*{parts[-1]}(?![^/]))"


def _characters(body: str) -> str:
    r"""The inside of `[a-c]` or `[!a]` as a regular expression, which never matches a slash.

    Raises `ValueError` for `[c-a]`.
    """
    negated, body = body[:1] in ("!", "^"), body.lstrip("!^") if body[:1] in ("!", "^") else body
    items = []
    while body:
        if body[1:2] == "-" and len(body) > 2:
            if body[0] > body[2]:
                raise ValueError("the range is reversed")
            items.append(f"{re.escape(body[0])}-{re.escape(body[2])}")
            body = body[3:]
        else:
            body = body[1:] if body[0] == "\\" and len(body) > 1 else body
            items.append(re.escape(body[0]))
            body = body[1:]
    if not items:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' * negated}{''.join(items)}]"


@dataclass(frozen=True, slots=True)
class GitIgnore:
    """Rules in the syntax of .gitignore."""

    _groups: tuple[tuple[bool, re.Pattern[str], re.Pattern[str]], ...]
    """Rules in reverse order, neighbours with the same effect together: whether they exclude, and
    the patterns for the path itself and for a folder above it."""
    problems: tuple[str, ...]
    """Reasons why rules were left out."""

    def matches(self, path: str) -> bool:
        """Whether the path is excluded; that of a folder ends with a slash. The last rule decides,
        but including a folder does not include a file in it that a rule of its own excludes."""
        included_above = False
        for excludes, itself, above in self._groups:
            if itself.match(path):
                return excludes
            if above.match(path):
                if excludes:
                    return not included_above
                included_above = True
        return False


def gitignore(text: str) -> GitIgnore:
    """Read rules, one a line, up to the limits."""
    rules: list[tuple[bool, str, bool]] = []
    problems = []
    characters = 0
    for line in text.splitlines():
        rule = re.sub(r"(?<![ \\]) ++\Z|(?<=\\ ) ++\Z", "", line)
        excludes = not rule.startswith("!")
        rule = rule if excludes else rule[1:]
        folder = rule.endswith("/")
        bare = rule.rstrip("/")
        if not bare or line.startswith("#"):
            continue
        characters += len(rule)
        if len(rules) == _MAX_PATTERNS or characters > _MAX_CHARACTERS:
            problems.append(f"{_TOO_MANY}: the rest does not apply")
            break
        try:
            glob = _glob(bare.removeprefix("/") if "/" in bare else f"**/{bare}")
        except ValueError as error:
            problems.append(f"invalid pattern {bare[:60]!r}: {error}")
        else:
            rules.append((excludes, glob, folder))
    groups = []
    for excludes, same in groupby(reversed(rules), key=lambda rule: rule[0]):
        own = list(same)
        itself = _any(glob + (r"/\Z" if folder else r"/?\Z") for _, glob, folder in own)
        above = _any(glob + "/." for _, glob, _ in own)
        groups.append((excludes, re.compile(itself, re.DOTALL), re.compile(above, re.DOTALL)))
    return GitIgnore(tuple(groups), tuple(problems))
