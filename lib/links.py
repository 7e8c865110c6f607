"""What in Markdown leads away from a text: links, images, tags, addresses, entities.

Each function looks at one place of a text that may not be there in full. It returns None while more
of the text must decide, and then decides by a bounded number of characters.
"""

import html
import re
from typing import Final

LONGEST_LABEL: Final = 300
LONGEST_TARGET: Final = 2_000
LONGEST_TAG: Final = 1_000
LONGEST_ADDRESS: Final = 2_000
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


def closing_bracket(text: str, start: int, final: bool) -> int | None:
    """Where the bracket that opens at `start` closes, on the same line; -1 if nowhere."""
    end = min(len(text), start + LONGEST_LABEL)
    whole = final or end == start + LONGEST_LABEL
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


def target(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """The target in the parentheses that open at `start`, and where they end; 0 if it is none."""
    window = text[start : start + LONGEST_TARGET]
    match = _TARGET.match(window)
    if match is not None:
        return match[1] or match[2] or "", start + match.end()
    if final or len(window) == LONGEST_TARGET or not _TARGET_SO_FAR.match(window):
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


def tag(text: str, start: int, final: bool) -> tuple[str, int] | None:
    """What stays of the tag, comment or autolink at `start`, and where it ends; 0 if the `<` is
    only that."""
    window = text[start : start + LONGEST_TAG]
    whole = final or len(window) == LONGEST_TAG
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


def entity(text: str, start: int, final: bool) -> tuple[str, int] | None:
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


def address(text: str, start: int, final: bool) -> tuple[str, str, int] | None:
    """The address that is written out at `start`, its host, and where it ends; 0 if it is none.

    The host has no scheme and no `www.`, and its dots are escaped: nobody makes a link of it.
    """
    window = text[start : start + LONGEST_ADDRESS]
    whole = final or len(window) == LONGEST_ADDRESS
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
