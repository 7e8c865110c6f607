"""Front matter: YAML between `---` or TOML between `+++` at the top of a page."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

from lib.markdown_lines import NEWLINES

_MAX_FRONT_MATTER: Final = 65_536
_FRONT_OPEN: Final = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*(?:\r\n?|\n)")
_KEY_LINE: Final = re.compile(r"(?m)^[\w\"'][^\n]*?(?::(?:\s|$)|\s=\s)")


class FrontMatter(NamedTuple):
    """What stands between the fences, not yet read."""

    fence: str
    body: str
    end: int
    """Offset of the first character after the closing fence's line."""


def split_front_matter(text: str) -> FrontMatter | None:
    """The front matter of a page; None where two rules only look like it."""
    opening = _FRONT_OPEN.match(text)
    if opening is None:
        return None
    fence = opening[1]
    ending = "---|\\.\\.\\." if fence == "---" else "\\+\\+\\+"
    closing = re.compile(rf"(?m)(?:^|(?<=\r))(?:{ending})[ \t]*(?:\r\n?|\n|\Z)")
    found = closing.search(text, opening.end(), opening.end() + _MAX_FRONT_MATTER)
    if found is None:
        return None
    body = text[opening.end() : found.start()]
    if body.strip() and _KEY_LINE.search(body) is None and body.lstrip()[0] not in "#{":
        return None  # prose between two rules
    return FrontMatter(fence, body, found.end())


def load_front_matter(front: FrontMatter) -> tuple[dict[str, object], str | None]:
    """The values, and a sentence if they cannot be read."""
    try:
        if front.fence == "+++":
            return dict(tomllib.loads(NEWLINES.sub("\n", front.body))), None
        values = yaml.load(front.body, Loader=_YamlLoader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 2}" if error.problem_mark else ""
        return {}, f"the front matter is not valid YAML{line}: {error.problem or error.context}"
    except tomllib.TOMLDecodeError as error:
        return {}, f"the front matter is not valid TOML: {error}"
    # A date such as 2024-13-45 raises ValueError from the datetime constructor; a character
    # YAML forbids is a ReaderError, a thousand nested brackets a RecursionError.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {}, f"the front matter cannot be read: {reason}"
    if values is None:
        return {}, None
    if not isinstance(values, dict):
        return {}, "the front matter is not a mapping of names to values"
    return {str(key): value for key, value in values.items()}, None


_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def front_title(front_matter: Mapping[str, object]) -> str:
    """The page's title in one line; empty if there is none."""
    title = front_matter.get("title")
    # YAML reads `title: 2024` as a number and `title: 2024-01-01` as a date: both are titles.
    if title is None or isinstance(title, bool | list | dict):
        return ""
    return " ".join(str(title).split())
