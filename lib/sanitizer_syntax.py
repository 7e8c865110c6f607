"""Parse Markdown that is still streaming: links, tags, entities, blocks, citation markers.

Each function parses at one position of a text that may be incomplete. It returns None if it needs
more text, and decides after a bounded number of characters.

- Links, images, tags, entities, and the `Addresses` of the passages, the only link targets allowed.
- `classify_line`: the block structure of CommonMark 0.31 (sections 4 and 5, and the appendix), as
  far as it decides where fenced code begins and ends. HTML blocks and link definitions are not
  parsed, because `lib.sanitizer` never emits them.
- `find_marker`: the forms in which models cite: `[1, 3]`, `[^1]`, `【1†source】`, `(Source 1)`, ...
"""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final
from urllib.parse import quote

RESOLVED_MARKER: Final = r"\[(?P<number>\d{1,3})\](?:\((?P<url>[^()\s]*+)\))?+"
"""A marker as the reader sees it: `[1]` or `[1](address)`."""

_MARKUP: Final = re.compile(r"[\\`*_\[\]<]|^>")

_MAX_LABEL: Final = 300
_MAX_NESTING: Final = 8
_MAX_TARGET: Final = 2_000
_MAX_TAG: Final = 1_000
MAX_ADDRESS: Final = 2_000
"""Maximum characters of a label, brackets in it, and characters of a link's target, a tag and an
address."""

_IN_LABEL: Final = re.compile(r"\\.|`++|[\[\]\n]")
_TICKS: Final = re.compile(r"`++")
_LEVEL: Final = r"(?:\\.|[^\s()\\]++)"
_NESTED: Final = rf"\((?:{_LEVEL}|\({_LEVEL}*+\))*+\)"
_TARGET: Final = re.compile(
    rf"\([ \t]*+(?:<([^<>\n]*+)>|((?:{_LEVEL}|{_NESTED})*+))"
    r"(?:[ \t]++(?:\"[^\"\n]*+\"|'[^'\n]*+'|\([^()\n]*+\)))?+[ \t]*+\)"
)
_TARGET_SO_FAR: Final = re.compile(
    rf"\([ \t]*+(?:<[^<>\n]*+|(?:<[^<>\n]*+>|(?:{_LEVEL}|{_NESTED})*+"
    rf"(?:\((?:{_LEVEL}|\({_LEVEL}*+\))*+(?:\({_LEVEL}*+)?+)?+\\?)"
    r"(?:[ \t]++(?:\"[^\"\n]*+\"?|'[^'\n]*+'?|\([^()\n]*+\)?)?+[ \t]*+)?+)\Z"
)
_SIMPLE: Final = re.compile(r"(?:[^\[\]`<>&\\@/\n]|/(?!/)|(?<!`)`[^`\n|]++`(?!`))++")
_WEB: Final = re.compile(r"www\.", re.IGNORECASE)


def find_closing_bracket(text: str, start: int, final: bool) -> int | None:
    """Return where the bracket at `start` closes on its line; -1 if it does not."""
    end = min(len(text), start + _MAX_LABEL)
    whole = final or end == start + _MAX_LABEL
    depth, at = 0, start
    while match := _IN_LABEL.search(text, at, end):
        mark, at = match[0], match.end()
        if mark == "\n":
            return -1
        if mark == "[":
            depth += 1
            if depth > _MAX_NESTING:
                return -1
        elif mark == "]":
            depth -= 1
            if depth == 0:
                return match.start()
        elif mark[0] == "`":
            line = text.find("\n", at, end)
            last = end if line < 0 else line
            runs = _TICKS.finditer(text, at, last)
            close = next((run.end() for run in runs if run[0] == mark), None)
            if line < 0 and not whole and close in (None, end):
                return None
            at = close or at
    return -1 if whole else None


def find_target(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """Return the link target in the parentheses at `start`, and their end; 0 if it is none."""
    window = text[start : start + _MAX_TARGET]
    match = _TARGET.match(window)
    if match is not None:
        return match[1] or match[2] or "", start + match.end()
    if final or len(window) == _MAX_TARGET or not _TARGET_SO_FAR.match(window):
        return "", 0
    return None


def is_simple(label: str) -> bool:
    """Whether a label contains no markup and no address."""
    return bool(_SIMPLE.fullmatch(label)) and bool(label.strip()) and not _WEB.search(label)


_TAG: Final = re.compile(
    r"<(/?)([A-Za-z][A-Za-z0-9-]*+)(?:\s(?:\"[^\"]*+\"|'[^']*+'|[^\"'>]++)*+)?+/?>"
)
_NAME: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*+)(.?)", re.DOTALL)
_AUTOLINK: Final = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,31}+:[^\s<>]*+)>")
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_RAISED: Final = re.compile(r"<(su[pb])>([0-9]{1,3})</\1>")
_DIGITS: Final = {
    "sup": str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"),
    "sub": str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"),
}
_INLINE: Final = frozenset(
    """a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd label mark q s samp small
    span strike strong sub sup tt u var wbr""".split()
)
HTML_NAMES: Final = _INLINE | frozenset(
    """address applet area article aside audio base basefont blockquote body br button canvas
    caption center col colgroup data datalist dd details dialog dir div dl dt embed fieldset
    figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe
    img input keygen legend li link main map marquee math menu meta meter nav noframes noscript
    object ol optgroup option output p param picture pre progress rp rt ruby script search section
    select slot source style summary svg table tbody td template textarea tfoot th thead time title
    tr track ul video""".split()
)


def find_tag(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """Return the text that replaces the tag, comment or autolink at `start`, and its end.

    The end is 0 if the `<` opens none.
    """
    window = text[start : start + _MAX_TAG]
    whole = final or len(window) == _MAX_TAG
    if window.startswith("<!"):
        if comment := _COMMENT.match(window):
            return "", start + comment.end()
        return None if not whole and "<!--".startswith(window[:4]) else ("", 0)
    name = _NAME.match(window)
    if name is None or not name[2]:
        return None if not whole and (name or window in ("<", "</")) else ("", 0)
    if name[2] in "+.:":
        if auto := _AUTOLINK.match(window):
            return auto[1], start + auto.end()
        return None if not whole and not re.search(r"[\s<>]", window[1:]) else ("", 0)
    # Not every name in angle brackets is a tag: `Vec<String>`, `<your-key>`.
    known = name[1] in HTML_NAMES or (len(name[1]) > 1 and name[1].swapcase() in HTML_NAMES)
    if not known or name[2] not in "/> \t\n":
        return "", 0
    found = _TAG.match(window)
    if found is None:
        return None if not whole else ("", 0)
    if found[0] in ("<sup>", "<sub>"):
        if raised := _RAISED.match(window):
            return raised[2].translate(_DIGITS[raised[1]]), start + raised.end()
        if not whole and re.fullmatch(r"<su[pb]>[0-9]{0,3}(?:<(?:/(?:su?[pb]?)?)?)?", window):
            return None
    return "" if name[1].lower() in _INLINE else " ", start + found.end()


_LONG_REFERENCE: Final = re.compile(r"&#\d{20,}+")


def unescape(text: str) -> str:
    """Replace HTML entities; `html.unescape` raises for a number of thousands of digits."""
    return html.unescape(_LONG_REFERENCE.sub("\ufffd", text))


_ENTITY: Final = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,7}+|[A-Za-z][A-Za-z0-9]{1,31}+);")
_ENTITY_SO_FAR: Final = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{0,7}+|[A-Za-z][A-Za-z0-9]{0,31}+)?+\Z")


def find_entity(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """Return the character of the entity at `start`, and its end.

    The end is 0 if the entity may stay, because it cannot be part of an address or a marker.
    """
    match = _ENTITY.match(text, start)
    if match is None:
        return None if not final and _ENTITY_SO_FAR.match(text, start) else ("", 0)
    char = unescape(match[0])
    if len(char) == 1 and char.isascii() and (char.isalnum() or char in ":/@.[]"):
        return ("\\" + char if char in "[]" else char), match.end()
    return "", 0


_COLON: Final = r"(?:\\?:|&#0{0,5}58;|&#[xX]0{0,5}3[aA];|&colon;)"
_SLASH: Final = r"(?:\\?/|&#0{0,5}47;|&#[xX]0{0,5}2[fF];|&sol;)"
_SCHEME: Final = re.compile(
    rf"(?:(?:https?|ftps?){_COLON}{_SLASH}{{2,}}+|www\\?\.(?=[^\s.]))", re.IGNORECASE
)
_SCHEME_SO_FAR: Final = re.compile(
    rf"(?:(?:https?|ftps?)(?:{_COLON}{_SLASH}*+)?|http|ftp|www\\?\.?)(?:\\|&[#\w]{{0,12}}+)?\Z",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"(?:[^\s<>\"`|\[\]［］【】\\]++|\\(?![\[\]]))*+")
_HOST: Final = re.compile(r"(?:[^\s/?#@]*+@)?+([\w-]++(?:\\?\.[\w-]++)*+(?::\d{1,5}+\b)?+)")
_TRAILING: Final = "?!.,:;*_~'\")}]"
_MAX_TRAILING: Final = 20
"""Punctuation characters that are tried as the end of an address."""


def find_address(text: str, start: int, final: bool) -> tuple[str, str, int] | None:
    """Return the bare address at `start`, its host, and its end; 0 if it is none.

    The host has no scheme and no `www.`. Its dots are escaped, so that no renderer links it.
    """
    window = text[start : start + MAX_ADDRESS]
    whole = final or len(window) == MAX_ADDRESS
    scheme = _SCHEME.match(window)
    if scheme is None:
        return None if not whole and _SCHEME_SO_FAR.match(window) else ("", "", 0)
    rest = _ADDRESS.match(window, scheme.end())
    end = rest.end() if rest else scheme.end()
    if end == len(window) and not whole:
        return None
    written = window[:end]
    host = _HOST.match(written, scheme.end())
    name = host[1].replace("\\", "").lstrip("_-") if host else ""
    while name[:4].lower() == "www.":
        name = name[4:].lstrip("_-")
    stop = max(len(written.rstrip(_TRAILING)), host.end() if host else scheme.end())
    return written, name.replace(".", "\\."), start + stop


_MAX_FENCE_LINE: Final = 200
"""Maximum characters of the line that opens fenced code; a longer one is text."""


class LineKind(Enum):
    TEXT = auto()
    BLANK = auto()
    FENCE = auto()
    """Opens or closes a code block."""
    CODE = auto()
    UNCLEAR = auto()
    """Continues a paragraph but not a table, or begins a table: renderers disagree unless a blank
    line precedes it."""


@dataclass(frozen=True, slots=True)
class OpenBlocks:
    """The blocks that are open between two lines."""

    containers: tuple[int, ...] = ()
    """Outermost first: 0 for a quote, else the indentation of a list item's content in columns."""
    fence: str = ""
    paragraph: bool = False
    bare: bool = False
    """The innermost item began without text, so a blank line ends it."""
    table: bool = False
    """The lines since the last blank one may be a table."""
    bar: bool = False
    """The last line has a bar in a code span, which it would not be in a table's header. Set by the
    caller."""


_QUOTE: Final = 0
_HEADING: Final = re.compile(r"#{1,6}+(?: |\Z)")
_RULE: Final = re.compile(r"(?:\* *+){3,}+|(?:- *+){3,}+|(?:_ *+){3,}+")
_RULE_SO_FAR: Final = re.compile(r"(?:\* *+)++|(?:- *+)++|(?:_ *+)++|=++ *+|[-:| ]++")
_UNDERLINE: Final = re.compile(r"(?:=++|-++) *+")
_DELIMITERS: Final = re.compile(r"(?=[^-]*+-)[-:| ]++")
_BULLET: Final = re.compile(r"[-+*](?= |\Z)")
_ORDERED: Final = re.compile(r"(\d{1,9}+)[.)](?= |\Z)")
_ORDERED_SO_FAR: Final = re.compile(r"\d{1,9}+[.)]?|[-+*]")


def classify_line(
    blocks: OpenBlocks, line: str, complete: bool
) -> tuple[LineKind, OpenBlocks] | None:
    """Classify `line`, or its beginning, and return the blocks that are open after it.

    None if more of the line is needed; never for a `complete` line.
    """
    text = line.expandtabs(4)
    at = matched = 0
    for container in blocks.containers:
        indent = _indent(text, at)
        if at + indent == len(text):
            break
        if container == _QUOTE:
            if indent > 3 or text[at + indent] != ">":
                break
            at += indent + 1
            if at == len(text) and not complete:
                return None
            at += text.startswith(" ", at)
        elif indent < container:
            break
        else:
            at += container
        matched += 1
    if not text[at:].strip(" "):
        return _blank(blocks, matched) if complete else None
    if blocks.fence and matched == len(blocks.containers):
        return _in_fence(blocks, text[at:], complete)
    return _starts(blocks, text, at, matched, complete)


def _blank(blocks: OpenBlocks, matched: int) -> tuple[LineKind, OpenBlocks]:
    containers = blocks.containers
    while matched < len(containers) and containers[matched] != _QUOTE:
        matched += 1
    whole = matched == len(containers)
    if whole and blocks.fence:
        return LineKind.CODE, blocks
    if whole and blocks.bare:
        matched -= 1
    return LineKind.BLANK, OpenBlocks(containers[:matched])


def _in_fence(blocks: OpenBlocks, rest: str, complete: bool) -> tuple[LineKind, OpenBlocks] | None:
    marks = rest.lstrip(" ")
    run = len(marks) - len(marks.lstrip(blocks.fence[0]))
    if len(rest) - len(marks) <= 3 and not marks[run:].strip(" "):
        if not complete:
            return None
        if run >= len(blocks.fence):
            return LineKind.FENCE, replace(blocks, fence="")
    return LineKind.CODE, blocks


def _starts(
    blocks: OpenBlocks, text: str, at: int, matched: int, complete: bool
) -> tuple[LineKind, OpenBlocks] | None:
    """Classify a line of text and the blocks that it opens."""
    open_ = blocks.containers[:matched]
    whole = matched == len(blocks.containers)
    # Whether the line may continue a paragraph, its own or (lazily) that of an inner block.
    goes_on = blocks.paragraph
    own = blocks.paragraph and whole
    table = blocks.table
    while True:
        indent = _indent(text, at)
        rest = text[at + indent :]
        if not rest:
            if not complete:
                return None
            return LineKind.TEXT, OpenBlocks(open_, bare=open_[-1] != _QUOTE)
        if indent >= 4:
            break
        if not complete and (_RULE_SO_FAR.fullmatch(rest) or _ORDERED_SO_FAR.fullmatch(rest)):
            return None
        if rest[0] == ">":
            if len(rest) == 1 and not complete:
                return None
            width = 1 + rest.startswith(" ", 1)
            open_ = (*open_, _QUOTE)
        elif rest[0] in "`~" and (fence := _fence(rest, complete)) != "":
            return None if fence is None else (LineKind.FENCE, OpenBlocks(open_, fence=fence))
        elif rest[0] == "#" and not complete and not rest.strip("#"):
            return None
        elif _HEADING.match(rest):
            return LineKind.TEXT, OpenBlocks(open_)
        elif (own and _UNDERLINE.fullmatch(rest)) or _RULE.fullmatch(rest):
            table = table or bool(_DELIMITERS.fullmatch(rest))
            return LineKind.TEXT, OpenBlocks(open_, table=table)
        elif found := _item(rest, complete):
            columns, interrupts = found
            if own and not interrupts:
                if table:
                    return LineKind.UNCLEAR, blocks
                break
            if columns is None:
                return None
            width = columns
            open_ = (*open_, indent + width)
        else:
            break
        at += indent + width
        goes_on = own = table = False
    if goes_on and table and (indent >= 4 or not whole):
        return LineKind.UNCLEAR, blocks
    if not complete and _RULE_SO_FAR.fullmatch(rest):
        return None
    if indent >= 4 and not goes_on:
        return LineKind.TEXT, OpenBlocks(open_)  # indented code, which no model intends
    delimiters = bool(_DELIMITERS.fullmatch(rest))
    if delimiters and blocks.bar and "|" in rest:
        return LineKind.UNCLEAR, blocks
    table = table or delimiters
    if goes_on:
        return LineKind.TEXT, replace(blocks, bare=False, table=table, bar=False)
    return LineKind.TEXT, OpenBlocks(open_, paragraph=True, table=table)


def _fence(rest: str, complete: bool) -> str | None:
    """Return the run that opens a code block; "" for text, None if undecided."""
    marks = rest[: len(rest) - len(rest.lstrip(rest[0]))]
    if len(marks) == len(rest) and not complete:
        return None
    if len(marks) < 3:
        return ""
    if marks[0] == "~":
        return marks
    if "`" in rest[len(marks) :] or len(rest) > _MAX_FENCE_LINE:
        return ""
    return marks if complete else None


def _item(rest: str, complete: bool) -> tuple[int | None, bool] | None:
    """Return the width of a list item's marker and space, and whether it may interrupt a paragraph.

    The width is None if more of the line is needed.
    """
    match = _BULLET.match(rest) or _ORDERED.match(rest)
    if match is None:
        return None
    body = rest[match.end() :]
    spaces = _indent(body, 0)
    if spaces == len(body):
        return (match.end() + 1, False) if complete else (None, True)
    interrupts = match.re is _BULLET or int(match[1]) == 1
    return match.end() + (spaces if spaces <= 4 else 1), interrupts


def _indent(text: str, at: int) -> int:
    return len(text) - at - len(text[at:].lstrip(" "))


_MAX_MARKER_CHARACTERS: Final = 80
"""Maximum characters of a marker."""
_MAX_RANGE: Final = 10
"""A wider range counts as its two ends."""

# Possessive, because two adjacent ones would backtrack quadratically.
_SPACE: Final = r"(?:[^\S\n]++|[\u200b\u2060]++)*+"
_NOUN: Final = (
    r"(?:sources?|passages?|passagen|quellen?|fuentes?|pasajes?|fontes?|fonti|bron|bronnen"
    r"|источник|来源|來源|出典)"
)
# These may also refer to things in the book, so they need square brackets.
_OTHER: Final = (
    r"(?:refs?|references?|citations?|documents?|docs?|chunks?|excerpts?|footnotes?|abschnitte?"
    r"|資料|资料|参考|文献)"
)
_LEAD: Final = rf"{_SPACE}[.:：]?{_SPACE}[#№]?"
_AND: Final = rf"{_SPACE}(?:[,;、，；&–—-]|and|und|et|y|to|bis){_SPACE}"


def _list(item: str) -> str:
    return rf"({item}(?:{_AND}{item})*+)"


_ITEM: Final = rf"(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?{_SPACE}\d{{1,3}}+\^?+"
_NAMED: Final = rf"(?:{_NOUN}{_LEAD})?{_SPACE}\d{{1,3}}+"
_MARKER: Final = re.compile(
    rf"(?:\[\[?|［|【){_SPACE}{_list(_ITEM)}{_SPACE}(?:†[^\]］】\n]{{0,60}}+)?+(?:\]\]|\\?\]|[］】])"
    rf"|\\\[{_SPACE}{_list(_ITEM)}{_SPACE}\\?\]"
    rf"|\({_SPACE}(?:see[ ]++)?(?={_NOUN})"
    rf"{_list(_NAMED)}{_SPACE}\)",
    re.IGNORECASE,
)
_CLOSED: Final = re.compile(r"[\]］】)\n]")
# Decides early for most brackets.
_MAY_BEGIN: Final = re.compile(
    rf"[\[［【\\]++{_SPACE}(?:[\^#\d]|{_NOUN}|{_OTHER}|\w{{0,10}}+\Z|\Z)"
    rf"|\({_SPACE}(?:(?:see[ ]++)?{_NOUN}|(?:see[ ]++)?\w{{0,8}}+\Z)",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(
    r"(\d{1,3}+)(?:\s*+(?:[-–—]|to|bis)\s*+[\^#]?(\d{1,3}+))?+", re.IGNORECASE
)


_WHITE: Final = " \t\r\f\v\u00a0\u3000\u200b\u2060"
_UNFINISHED: Final = re.compile(
    rf"[\[［【\\]++{_SPACE}(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?"
    rf"{_SPACE}(?:\d{{1,3}}+(?:{_AND}|{_SPACE}))*+\d{{0,3}}+(?:†[^\]］】\n]*+)?+\Z",
    re.IGNORECASE,
)


def drop_unfinished_marker(text: str) -> str:
    """Remove a citation marker that is not closed, and the space before it."""
    cut = _UNFINISHED.search(text, max(0, len(text) - _MAX_MARKER_CHARACTERS + 1))
    return text[: cut.start()].rstrip(_WHITE) if cut else text


def find_marker(text: str, start: int, final: bool) -> tuple[int, list[int]] | None:
    """Return the end of the marker at `start` and the numbers in it.

    `(start, [])` if there is none; None if more text is needed, unless the text is `final`.
    """
    window = text[start : start + _MAX_MARKER_CHARACTERS]
    match = _MARKER.match(window)
    if match is None:
        if final or len(window) == _MAX_MARKER_CHARACTERS or not _MAY_BEGIN.match(window):
            return start, []
        closed = _CLOSED.search(window, 1)
        # An escaped or a double bracket may have one more to come.
        return (start, []) if closed and closed.end() < len(window) else None
    if match.end() == len(window) < _MAX_MARKER_CHARACTERS and not final:
        return None  # a second bracket may follow
    return start + match.end(), _expand_numbers(match[1] or match[2] or match[3])


def _expand_numbers(numbers: str) -> list[int]:
    """Convert `"1, 3-5"` to `[1, 3, 4, 5]`; a range wider than `_MAX_RANGE` counts as its ends."""
    found: list[int] = []
    for match in _RANGE.finditer(numbers):
        first, last = int(match[1]), int(match[2] or match[1])
        wide = not first < last <= first + _MAX_RANGE
        found.extend((first, last) if wide else range(first, last + 1))
    return list(dict.fromkeys(found))


_WEB_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]]++", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


class Addresses:
    """The web and e-mail addresses in some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._known: dict[str, str] | None = None
        words = (word for text in self._texts if "@" in text for word in text.split())
        self._mail = " ".join(word for word in words if "@" in word)

    def find(self, written: str) -> str | None:
        """Return the known address equal to `written`, escaped as a link target, or None.

        Escapes and a slash at the end may differ.
        """
        if self._known is None:
            self._known = {
                _key(each): link_target(each) for text in self._texts for each in _addresses(text)
            }
        return self._known.get(_key(written))

    def within(self, written: str) -> tuple[str, int] | None:
        """Return the known address that `written` begins with, and its length, or None.

        Only punctuation may follow.
        """
        for end in range(len(written), max(0, len(written) - _MAX_TRAILING), -1):
            known = self.find(written[:end])
            if known is not None:
                return known, end
            if written[end - 1] not in _TRAILING:
                break
        return None

    def has_mail(self, text: str) -> bool:
        """Whether a text contains the e-mail address `text`."""
        return text in self._mail


def _addresses(text: str) -> Iterable[str]:
    for match in _WEB_ADDRESS.finditer(text):
        address = match[0]
        # It is unclear where an address in prose ends, so each possibility counts.
        for _ in range(_MAX_TRAILING):
            yield address
            shorter = _WEB_ADDRESS.match(address[:-1])
            if shorter is None or address[-1] not in _TRAILING:
                break
            address = shorter[0]
        cut = match[0].find(")")
        if cut > 0 and "(" not in match[0][:cut]:
            yield match[0][:cut]


def _key(address: str) -> str:
    address = unescape(_ESCAPED.sub(r"\1", address))
    scheme, colon, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{colon}{host.lower()}{slash}{path}".rstrip("/")


def absolute_url(url: str | None) -> str:
    """Return `url` if it works from a chat on any site, or ""."""
    return url if url and url.startswith(("http://", "https://")) else ""


def markdown_link(title: str, url: str | None) -> str:
    """Format a link as Markdown; only its title without an address."""
    text = _MARKUP.sub(r"\\\g<0>", title)
    return f"[{text}]({link_target(url)})" if url else text


def link_target(url: str) -> str:
    """Escape `url`, so that it cannot end a Markdown link's parentheses early."""
    return quote(url, safe="/:?#[]@!$&'*+,;=%~-._")
