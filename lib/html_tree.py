"""Parse the bytes of an HTML file into a tree, as browsers do.

selectolax (lexbor) follows the HTML standard, so structure and ids are those of a browser. lxml
does not, and stops at 256 levels. Lexbor needs quadratic time for deep nesting and for attributes,
and formatting elements that are never closed multiply. Files with many tags are balanced before.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, defaultdict
from itertools import accumulate
from typing import Final

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

from lib.documents import DocumentError

_MAX_TAGS: Final = 400_000
_MAX_NODES: Final = 600_000
"""A node takes about 200 bytes of memory."""
_MAX_DEPTH: Final = 512
"""As in Chromium. Deeper elements are read without their tags."""
_MAX_FORMATS: Final = 10
"""Formatting elements within each other."""
_MAX_TAG_BYTES: Final = 50_000
_MAX_ATTRIBUTES: Final = 200
_WINDOW: Final = 16_384
"""Bytes within which a page without long tags closes an element."""
_FEW_TAGS: Final = 1_000
_MANY_TAGS: Final = 30_000


def parse_html(data: bytes) -> LexborHTMLParser:
    """Parse a file in the encoding that browsers would choose.

    Raises `lib.documents.DocumentError` for a file that would take too much time or memory.
    """
    data = _with_known_encoding(data)
    if data.count(b"<") > _MAX_TAGS:
        raise DocumentError(f"has more than {_MAX_TAGS:,} tags")
    if _is_costly(data):
        data = _balance(data)
    return LexborHTMLParser(
        data, options=LexborDocumentOptions.WO_EVENTS, encoding=True, scripting=True
    )


# Encoding

_HEAD: Final = 1_024
"""Bytes in which browsers look for a declaration."""
_LATIN: Final = re.compile(
    rb"(charset\s*+=\s*+[\"']?+)(?:iso-?8859-?1|latin-?1|us-ascii|ascii)\b", re.IGNORECASE
)


def _with_known_encoding(data: bytes) -> bytes:
    """Return the file in UTF-8, or in the encoding that it declares and lexbor decodes."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return BOM_UTF8 + data.decode("utf-16", errors="replace").encode()
    head = data[:_HEAD]
    if b"charset" in head.lower():
        return _LATIN.sub(rb"\1windows-1252", head) + data[_HEAD:]
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace").encode()
    return data


# Limits

_VOID: Final = frozenset(
    b"area base basefont bgsound br col embed frame hr img input keygen link meta param source "
    b"track wbr".split()
)
_CLOSED_BY_OTHERS: Final = frozenset(b"p tr td th thead tbody tfoot colgroup caption".split())
"""Elements without a depth of their own, whose end tags many files leave out."""
_ONCE: Final = frozenset(b"html head body frameset".split())
_ITEMS: Final = frozenset(b"li dt dd option optgroup rt rp rb rtc".split())
_LISTS: Final = frozenset(b"ul ol dl menu dir select ruby".split())
_BARRIERS: Final = frozenset(b"table template object applet marquee svg math".split())
"""Elements from within which an end tag closes nothing outside."""
_FORMATS: Final = frozenset(b"a b big code em font i nobr s small strike strong tt u".split())
"""Elements that begin again in the next block if they are not closed."""
_INLINE: Final = _FORMATS | frozenset(
    b"abbr bdi bdo cite data del dfn ins kbd label mark q samp span sub sup time var".split()
)
_RAW: Final = {
    name: re.compile(rb"</%s(?=[\s/>])" % name, re.IGNORECASE)
    for name in b"script style textarea title xmp iframe noembed noframes noscript".split()
}
_SHAPES: Final = frozenset(b"path use circle rect line polyline polygon ellipse stop".split())
_UNCOUNTED: Final = _VOID | _CLOSED_BY_OTHERS | _ONCE | _ITEMS | _SHAPES

_SPACE: Final = rb" \t\n\f\r"
_NAME: Final = rb"/?+[a-zA-Z][^%s/>]*+" % _SPACE
_VALUE: Final = rb"\"[^\"]*+\"|'[^']*+'|[^%b>\"'][^%b>]*+" % (_SPACE, _SPACE)
_ATTRIBUTE: Final = rb"=?[^%b/>=]++(?:[%b]*+=[%b]*+(?:%b)?+)?+" % (_SPACE, _SPACE, _SPACE, _VALUE)
_REST: Final = rb"(?:[%b/]++|%b|=)*+" % (_SPACE, _ATTRIBUTE)

_NAMES: Final = re.compile(rb"<(%b)" % _NAME)
_ATTRIBUTES: Final = re.compile(_ATTRIBUTE)
_TAGS: Final = re.compile(rb"<%b%b" % (_NAME, _REST))
_TOKEN: Final = re.compile(
    rb"[^<]++|<(?:(%b)(%b)>?+|!--(?:-?+>|.*?(?:--!?+>|\Z))|[!?][^>]*+>?+|/[^a-zA-Z][^>]*+>?+)?+"
    % (_NAME, _REST),
    re.DOTALL,
)


class _Steps(dict[bytes, int]):
    """How the name of a tag changes the depth."""

    def __missing__(self, name: bytes) -> int:
        lower = name.lower()
        closes = lower.startswith(b"/")
        step = self[name] = 0 if lower.removeprefix(b"/") in _UNCOUNTED else 1 - 2 * closes
        return step


def _is_costly(data: bytes) -> bool:
    """Tell whether lexbor may need more than linear time. Scans the tags only."""
    windows = range(0, len(data) - _WINDOW, _WINDOW)
    sparse = any(data.find(b"</", start, start + _WINDOW) < 0 for start in windows)
    if sparse and max(map(len, _TAGS.findall(data)), default=0) > _MAX_TAG_BYTES:
        return True
    count = data.count(b"<")
    if not _FEW_TAGS < count <= _MANY_TAGS:
        return count > _MANY_TAGS
    depths = accumulate(map(_Steps().__getitem__, _NAMES.findall(data)))
    return max(depths, default=0) > _MAX_DEPTH


def _balance(data: bytes) -> bytes:
    """Close every element within its parent, and leave out what exceeds the limits."""
    balanced = _Balanced()
    at = 0
    while token := _TOKEN.match(data, at):
        at = token.end()
        if name := token[1]:
            name = name.lower()
            if name[:1] == b"/":
                balanced.end(name[1:])
            elif balanced.start(name, token[2]) and (end := balanced.raw_end(name)):
                found = end.search(data, at)
                start, at = at, found.start() if found else len(data)
                balanced.text(data[start:at].replace(b"<!--", b"<! --"))
        elif (text := token[0])[:1] != b"<":
            balanced.text(text)
        elif len(text) == 1:
            balanced.text(b"&lt;")
        elif text[:9].lower() == b"<!doctype" and not balanced.parts:
            balanced.text(b"<!doctype html>")
    balanced.end_to(0)
    return b"".join(balanced.parts)


class _Balanced:
    """HTML whose open elements are known, so that lexbor keeps no others open."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._stack: list[bytes] = []
        self._places: defaultdict[bytes, list[int]] = defaultdict(list)
        """By name: where it is on the stack."""
        self._blocks: list[int] = []
        self._barriers: list[int] = []
        self._lists: list[int] = []
        """Places of lists, their items, and barriers."""
        self._formats = 0
        self._skipped: Counter[bytes] = Counter()
        self._seen: set[bytes] = set()
        self._nodes = 0

    def text(self, text: bytes) -> None:
        # Formatting elements may begin again around it
        self._nodes += 1 + self._formats
        if self._nodes > _MAX_NODES:
            raise DocumentError(f"has more than {_MAX_NODES:,} elements")
        self.parts.append(text)

    def start(self, name: bytes, attributes: bytes) -> bool:
        """Add a tag. Returns whether its element is open."""
        if name in _ONCE:
            if name in self._seen:
                return False
            self._seen.add(name)
        if len(attributes) > _MAX_TAG_BYTES // 10:
            attributes = b" " + b" ".join(_ATTRIBUTES.findall(attributes)[:_MAX_ATTRIBUTES])
        if b"<" in attributes:
            attributes = attributes.replace(b"<", b"&lt;")
        if name in _ITEMS and self._lists and self._stack[self._lists[-1]] in _ITEMS:
            self.end_to(self._lists[-1])
        elif name == b"a" and self._stack and self._stack[-1] == b"a":
            self.end_to(len(self._stack) - 1)
        if name in _VOID or name in _CLOSED_BY_OTHERS or name in _ONCE:
            self.text(b"<%b%b>" % (name, attributes))
            return False
        if self._is_foreign and attributes.endswith(b"/"):
            self.text(b"<%b%b></%b>" % (name, attributes.rstrip(b"/"), name))
            return False
        if len(self._stack) >= _MAX_DEPTH or (name in _FORMATS and self._formats >= _MAX_FORMATS):
            self._skipped[name] += 1
            return False
        self.text(b"<%b%b>" % (name, attributes))
        self._push(name)
        return True

    @property
    def _is_foreign(self) -> bool:
        return bool(self._places[b"svg"] or self._places[b"math"])

    def raw_end(self, name: bytes) -> re.Pattern[bytes] | None:
        """The end of an element without tags in it."""
        return None if self._is_foreign else _RAW.get(name)

    def _push(self, name: bytes) -> None:
        place = len(self._stack)
        self._stack.append(name)
        self._places[name].append(place)
        self._formats += name in _FORMATS
        if name not in _INLINE:
            self._blocks.append(place)
        if name in _BARRIERS:
            self._barriers.append(place)
        if name in _ITEMS or name in _LISTS or name in _BARRIERS:
            self._lists.append(place)

    def end(self, name: bytes) -> None:
        if name in _CLOSED_BY_OTHERS:
            self.text(b"</%b>" % name)
        elif self._skipped[name]:
            self._skipped[name] -= 1
        elif places := self._places[name]:
            around = self._blocks if name in _INLINE else self._barriers
            if not around or around[-1] <= places[-1]:
                self.end_to(places[-1])

    def end_to(self, depth: int) -> None:
        """Close the elements from `depth` on."""
        while len(self._stack) > depth:
            name = self._stack.pop()
            self._places[name].pop()
            self._formats -= name in _FORMATS
            for places in (self._blocks, self._barriers, self._lists):
                if places and places[-1] == len(self._stack):
                    places.pop()
            self.parts.append(b"</%b>" % name)
