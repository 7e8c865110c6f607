"""Which lines of a Markdown text are code in a fence, told line by line while the text streams.

The block structure of CommonMark 0.31 (section 4 and 5, and the strategy of its appendix), as far
as it decides where a fence begins and ends: quotes and list items around it, paragraphs that go on,
headings, rules. HTML blocks and link definitions are left out: who asks never lets one stand.

What in Markdown leads away from a text: links, images, tags, addresses, entities.

Each function looks at one place of a text that may not be there in full. It returns None while more
of the text must decide, and then decides by a bounded number of characters.

The forms in which models write a marker: `[1, 3]`, `[^1]`, `【1†source】`, `(Source 1)`, ...

Which addresses an answer may lead to: those that stand in its passages.
"""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final
from urllib.parse import quote

RESOLVED_MARKER: Final = r"\[(?P<number>\d+)\](?:\((?P<url>[^()\s]*)\))?"
"""A marker as the reader sees it: `[1]` or `[1](address)`."""

MAX_LABEL: Final = 300
MAX_TARGET: Final = 2_000
MAX_TAG: Final = 1_000
MAX_ADDRESS: Final = 2_000
"""Characters after which a label, a link's target, a tag or an address is given up."""

_IN_LABEL: Final = re.compile(r"\\.|`+|[\[\]\n]")
_LEVEL: Final = r"(?:\\.|[^\s()\\])"
_NESTED: Final = rf"\((?:{_LEVEL}|\({_LEVEL}*\))*\)"
_TARGET: Final = re.compile(
    rf"\([ \t]*(?:<([^<>\n]*)>|((?:{_LEVEL}|{_NESTED})*))"
    r"(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*\)"
)
_TARGET_SO_FAR: Final = re.compile(
    rf"\([ \t]*(?:<[^<>\n]*|(?:<[^<>\n]*>|(?:{_LEVEL}|{_NESTED})*"
    rf"(?:\((?:{_LEVEL}|\({_LEVEL}*\))*(?:\({_LEVEL}*)?)?\\?)"
    r"(?:[ \t]+(?:\"[^\"\n]*\"?|'[^'\n]*'?|\([^()\n]*\)?)?[ \t]*)?)\Z"
)
_SIMPLE: Final = re.compile(r"(?:[^\[\]`<>&\\@/\n]|/(?!/)|(?<!`)`[^`\n|]+`(?!`))+")
_WEB: Final = re.compile(r"www\.", re.IGNORECASE)


def find_closing_bracket(text: str, start: int, final: bool) -> int | None:
    """Where the bracket that opens at `start` closes, on the same line; -1 if nowhere."""
    end = min(len(text), start + MAX_LABEL)
    whole = final or end == start + MAX_LABEL
    depth, at = 0, start
    while match := _IN_LABEL.search(text, at, end):
        mark, at = match[0], match.end()
        if mark == "\n":
            return -1
        if mark == "[":
            depth += 1
        elif mark == "]":
            depth -= 1
            if depth == 0:
                return match.start()
        elif mark[0] == "`":
            line = text.find("\n", at, end)
            last = end if line < 0 else line
            close = re.compile(rf"(?<!`){mark}(?!`)").search(text, at, last)
            if line < 0 and not whole and (close is None or close.end() == end):
                return None
            at = close.end() if close else at
    return -1 if whole else None


def find_target(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """The target in the parentheses that open at `start`, and where they end; 0 if it is none."""
    window = text[start : start + MAX_TARGET]
    match = _TARGET.match(window)
    if match is not None:
        return match[1] or match[2] or "", start + match.end()
    if final or len(window) == MAX_TARGET or not _TARGET_SO_FAR.match(window):
        return "", 0
    return None


def is_simple(label: str) -> bool:
    """Whether a label holds nothing that could lead anywhere itself."""
    return bool(_SIMPLE.fullmatch(label)) and bool(label.strip()) and not _WEB.search(label)


_TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)(?:\s(?:\"[^\"]*\"|'[^']*'|[^\"'>])*)?/?>")
_NAME: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*)(.?)", re.DOTALL)
_AUTOLINK: Final = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*)>")
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
_HTML: Final = _INLINE | frozenset(
    """address applet area article aside audio base basefont blockquote body br button canvas
    caption center col colgroup data datalist dd details dialog dir div dl dt embed fieldset
    figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe
    img input keygen legend li link main map marquee math menu meta meter nav noframes noscript
    object ol optgroup option output p param picture pre progress rp rt ruby script search section
    select slot source style summary svg table tbody td template textarea tfoot th thead time title
    tr track ul video""".split()
)


def find_tag(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """What stays of the tag, comment or autolink at `start`, and where it ends; 0 if the `<` is
    only that."""
    window = text[start : start + MAX_TAG]
    whole = final or len(window) == MAX_TAG
    if window.startswith("<!"):
        if comment := _COMMENT.match(window):
            return "", start + comment.end()
        return None if not whole and "<!--".startswith(window[:4]) else ("", 0)
    name = _NAME.match(window)
    if name is None:
        return ("", 0) if whole or window not in ("<", "</") else None
    if not name[2]:
        return ("", 0) if whole else None
    if name[2] in "+.:":
        if auto := _AUTOLINK.match(window):
            return auto[1], start + auto.end()
        return None if not whole and not re.search(r"[\s<>]", window[1:]) else ("", 0)
    # Not every name in angle brackets is a tag: `Vec<String>`, `<your-key>`.
    if name[1] not in _HTML and (len(name[1]) < 2 or name[1].swapcase() not in _HTML):
        return "", 0
    if name[2] not in "/> \t\n":
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


_ENTITY: Final = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_SO_FAR: Final = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{0,7}|[A-Za-z][A-Za-z0-9]{0,31})?\Z")


def find_entity(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """The character that the entity at `start` stands for, if an address or a marker can be made
    of it, and where it ends; 0 if it may stay."""
    match = _ENTITY.match(text, start)
    if match is None:
        return None if not final and _ENTITY_SO_FAR.match(text, start) else ("", 0)
    char = html.unescape(match[0])
    if len(char) == 1 and char.isascii() and (char.isalnum() or char in ":/@.[]"):
        return ("\\" + char if char in "[]" else char), match.end()
    return "", 0


_COLON: Final = r"(?:\\?:|&#0{0,5}58;|&#[xX]0{0,5}3[aA];|&colon;)"
_SLASH: Final = r"(?:\\?/|&#0{0,5}47;|&#[xX]0{0,5}2[fF];|&sol;)"
_SCHEME: Final = re.compile(
    rf"(?:(?:https?|ftps?){_COLON}{_SLASH}{{2,}}|www\\?\.(?=[^\s.]))", re.IGNORECASE
)
_SCHEME_SO_FAR: Final = re.compile(
    rf"(?:(?:https?|ftps?)(?:{_COLON}{_SLASH}*)?|http|ftp|www\\?\.?)(?:\\|&[#\w]{{0,12}})?\Z",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"(?:[^\s<>\"`|\[\]［］【】\\]|\\(?![\[\]]))*")
_HOST: Final = re.compile(r"(?:[^\s/?#@]*@)?([\w-]+(?:\\?\.[\w-]+)*(?::\d{1,5}\b)?)")
_ENDS_WITH: Final = re.compile(r"[?!.,:;*_~'\")}\]]+\Z")


def find_address(text: str, start: int, final: bool) -> tuple[str, str, int] | None:
    """The address that is written out at `start`, its host, and where it ends; 0 if it is none.

    The host has no scheme and no `www.`, and its dots are escaped: nobody makes a link of it.
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
    trail = _ENDS_WITH.search(written, host.end() if host else scheme.end())
    stop = trail.start() if trail else end
    return written, name.replace(".", "\\."), start + stop


MAX_FENCE_LINE: Final = 200
"""Characters after which the line of a fence that has not ended is taken for text."""


class LineKind(Enum):
    """What a line is."""

    TEXT = auto()
    BLANK = auto()
    FENCE = auto()
    """Opens or closes a block of code."""
    CODE = auto()
    UNCLEAR = auto()
    """Goes on with a paragraph but not with a table, or begins a table: only a blank line before it
    makes it the same to every reader of Markdown."""


@dataclass(frozen=True, slots=True)
class OpenBlocks:
    """The blocks that are open between two lines."""

    containers: tuple[int, ...] = ()
    """Outermost first: 0 for a quote, else a list item, by the columns its content is indented."""
    fence: str = ""
    paragraph: bool = False
    bare: bool = False
    """The innermost item began without text: a blank line ends it."""
    table: bool = False
    """The lines since the last blank one may be a table."""
    bar: bool = False
    """The last line has a bar in a span of code: as a table's head it would have no such span. Who
    reads the line sets it."""


QUOTE: Final = 0
_HEADING: Final = re.compile(r"#{1,6}(?: |\Z)")
_RUN: Final = re.compile(r"`+|~+")
_RULE: Final = re.compile(r"(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,}")
_RULE_SO_FAR: Final = re.compile(r"(?:\* *)+|(?:- *)+|(?:_ *)+|=+ *|[-:| ]+")
_UNDERLINE: Final = re.compile(r"(?:=+|-+) *")
_DELIMITERS: Final = re.compile(r"(?=[^-]*-)[-:| ]+")
_BULLET: Final = re.compile(r"[-+*](?= |\Z)")
_ORDERED: Final = re.compile(r"(\d{1,9})[.)](?= |\Z)")
_ORDERED_SO_FAR: Final = re.compile(r"\d{1,9}[.)]?|[-+*]")


def classify_line(
    blocks: OpenBlocks, line: str, complete: bool
) -> tuple[LineKind, OpenBlocks] | None:
    """What `line`, or what is there of it, is, and the blocks that are open behind it.

    None while the rest must decide; never if the line is `complete`.
    """
    text = line.expandtabs(4)
    at = matched = 0
    for container in blocks.containers:
        indent = _indent(text, at)
        if at + indent == len(text):
            break
        if container == QUOTE:
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
    while matched < len(containers) and containers[matched] != QUOTE:
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
    """The blocks that a line of text opens."""
    open_ = blocks.containers[:matched]
    whole = matched == len(blocks.containers)
    # Whether the line may go on with a paragraph, its own or (lazily) that of a block inside.
    goes_on = blocks.paragraph
    own = blocks.paragraph and whole
    table = blocks.table
    while True:
        indent = _indent(text, at)
        rest = text[at + indent :]
        if not rest:
            if not complete:
                return None
            return LineKind.TEXT, OpenBlocks(open_, bare=open_[-1] != QUOTE)
        if indent >= 4:
            break
        if not complete and (_RULE_SO_FAR.fullmatch(rest) or _ORDERED_SO_FAR.fullmatch(rest)):
            return None
        if rest[0] == ">":
            if len(rest) == 1 and not complete:
                return None
            width = 1 + rest.startswith(" ", 1)
            open_ = (*open_, QUOTE)
        elif rest[0] in "`~" and (fence := _fence(rest, complete)) != "":
            return None if fence is None else (LineKind.FENCE, OpenBlocks(open_, fence=fence))
        elif rest[0] == "#" and not complete and not rest.strip("#"):
            return None
        elif _HEADING.match(rest):
            return LineKind.TEXT, OpenBlocks(open_)
        elif (own and _UNDERLINE.fullmatch(rest)) or _RULE.fullmatch(rest):
            return LineKind.TEXT, OpenBlocks(
                open_, table=table or bool(_DELIMITERS.fullmatch(rest))
            )
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
        return LineKind.TEXT, OpenBlocks(open_)  # code, too, but of a kind that no model means
    delimiters = bool(_DELIMITERS.fullmatch(rest))
    if delimiters and blocks.bar and "|" in rest:
        return LineKind.UNCLEAR, blocks
    table = table or delimiters
    if goes_on:
        return LineKind.TEXT, replace(blocks, bare=False, table=table, bar=False)
    return LineKind.TEXT, OpenBlocks(open_, paragraph=True, table=table)


def _fence(rest: str, complete: bool) -> str | None:
    """The run that opens a block of code; "" if it is text, None if that is not decided."""
    run = _RUN.match(rest)
    marks = run[0] if run else ""
    if len(marks) == len(rest) and not complete:
        return None
    if len(marks) < 3:
        return ""
    if marks[0] == "~":
        return marks
    if "`" in rest[len(marks) :] or len(rest) > MAX_FENCE_LINE:
        return ""
    return marks if complete else None


def _item(rest: str, complete: bool) -> tuple[int | None, bool] | None:
    """A list item's columns, marker and space, None while they are not all there; and whether it
    may stand behind a paragraph without a blank line between."""
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


MAX_MARKER_CHARACTERS: Final = 80
"""Characters after which a bracket that has not closed is no marker."""
MAX_RANGE: Final = 10
"""A range over more is taken as its ends."""

# Possessive: two of these side by side must not share out the spaces in every possible way.
_SPACE: Final = r"(?:[^\S\n]|[\u200b\u2060])*+"
_NOUN: Final = (
    r"(?:sources?|passages?|passagen|quellen?|fuentes?|pasajes?|fontes?|fonti|bron|bronnen"
    r"|источник|来源|來源|出典)"
)
# These also name things of the book's own, and so need square brackets around them.
_OTHER: Final = (
    r"(?:refs?|references?|citations?|documents?|docs?|chunks?|excerpts?|footnotes?|abschnitte?"
    r"|資料|资料|参考|文献)"
)
_LEAD: Final = rf"{_SPACE}[.:：]?{_SPACE}[#№]?"
_AND: Final = rf"{_SPACE}(?:[,;、，；&–—-]|and|und|et|y|to|bis){_SPACE}"


def _list(item: str) -> str:
    return rf"({item}(?:{_AND}{item})*)"


_ITEM: Final = rf"(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?{_SPACE}\d{{1,3}}\^?"
_NAMED: Final = rf"(?:{_NOUN}{_LEAD})?{_SPACE}\d{{1,3}}"
_MARKER: Final = re.compile(
    rf"(?:\[\[?|［|【){_SPACE}{_list(_ITEM)}{_SPACE}(?:†[^\]］】\n]{{0,60}})?(?:\]\]|\\?\]|[］】])"
    rf"|\\\[{_SPACE}{_list(_ITEM)}{_SPACE}\\?\]"
    rf"|\({_SPACE}(?:see[ ]++)?(?={_NOUN})"
    rf"{_list(_NAMED)}{_SPACE}\)",
    re.IGNORECASE,
)
_CLOSED: Final = re.compile(r"[\]］】)\n]")
# Nearly every bracket that opens a marker shows it by what follows.
_MAY_BEGIN: Final = re.compile(
    rf"[\[［【\\]+{_SPACE}(?:[\^#\d]|{_NOUN}|{_OTHER}|\w{{0,10}}\Z|\Z)"
    rf"|\({_SPACE}(?:(?:see[ ]++)?{_NOUN}|(?:see[ ]++)?\w{{0,8}}\Z)",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(r"(\d{1,3})(?:\s*(?:[-–—]|to|bis)\s*[\^#]?(\d{1,3}))?", re.IGNORECASE)


_UNFINISHED: Final = re.compile(
    rf"{_SPACE}[\[［【\\]+{_SPACE}(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?"
    rf"{_SPACE}(?:\d{{1,3}}(?:{_AND}|{_SPACE}))*+\d{{0,3}}(?:†[^\]］】\n]*)?\Z",
    re.IGNORECASE,
)


def drop_unfinished_marker(text: str) -> str:
    """`text`, the last of an answer, without a marker that was cut off in its midst."""
    cut = _UNFINISHED.search(text)
    return text[: cut.start()] if cut and len(cut[0]) < MAX_MARKER_CHARACTERS else text


def find_marker(text: str, start: int, final: bool) -> tuple[int, list[int]] | None:
    """Where the marker at `start` ends and which passages it names.

    `(start, [])` where there is none; None while more of the text must decide. `final` says that
    no more comes.
    """
    window = text[start : start + MAX_MARKER_CHARACTERS]
    match = _MARKER.match(window)
    if match is None:
        if final or len(window) == MAX_MARKER_CHARACTERS or not _MAY_BEGIN.match(window):
            return start, []
        closed = _CLOSED.search(window, 1)
        # An escaped or a double bracket may have one more to come.
        return (start, []) if closed and closed.end() < len(window) else None
    if match.end() == len(window) < MAX_MARKER_CHARACTERS and not final:
        return None  # a second bracket may follow
    return start + match.end(), expand_numbers(match[1] or match[2] or match[3])


def expand_numbers(numbers: str) -> list[int]:
    """`"1, 3-5"` as `[1, 3, 4, 5]`; a range over more than ten is taken as its ends."""
    found: list[int] = []
    for match in _RANGE.finditer(numbers):
        first, last = int(match[1]), int(match[2] or match[1])
        wide = not first < last <= first + MAX_RANGE
        found.extend((first, last) if wide else range(first, last + 1))
    return list(dict.fromkeys(found))


_WEB_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]]+", re.IGNORECASE)
_TRAILING: Final = re.compile(r"[?!.,:;*_~'\")}]")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


class Addresses:
    """The web addresses in some texts, and their e-mail addresses."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._known: dict[str, str] | None = None

    def find(self, written: str) -> str | None:
        """The address that `written` stands for, ready to be a Markdown link's target.

        It may differ in escapes and in a slash at its end. None for every other one.
        """
        if self._known is None:
            self._known = {
                _key(each): link_target(each) for text in self._texts for each in _addresses(text)
            }
        return self._known.get(_key(written))

    def within(self, written: str) -> tuple[str, int] | None:
        """The address that `written` begins with, and its length there; punctuation may follow."""
        end = len(written)
        while end:
            known = self.find(written[:end])
            if known is not None:
                return known, end
            if not _TRAILING.match(written, end - 1):
                return None
            end -= 1
        return None

    def mention(self, text: str) -> bool:
        """Whether `text` stands there as it is."""
        return any(text in each for each in self._texts)


def _addresses(text: str) -> Iterable[str]:
    for match in _WEB_ADDRESS.finditer(text):
        address = match[0]
        # Where prose or a Markdown link ends an address is not clear: each is one.
        while True:
            yield address
            shorter = _WEB_ADDRESS.match(address[:-1])
            if shorter is None or not _TRAILING.match(address, len(address) - 1):
                break
            address = shorter[0]
        cut = match[0].find(")")
        if cut > 0 and "(" not in match[0][:cut]:
            yield match[0][:cut]


def _key(address: str) -> str:
    address = html.unescape(_ESCAPED.sub(r"\1", address))
    scheme, colon, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{colon}{host.lower()}{slash}{path}".rstrip("/")


def link_target(url: str) -> str:
    """`url` so that it cannot end a Markdown link's parentheses early."""
    return quote(url, safe="/:?#[]@!$&'*+,;=%~-._")
