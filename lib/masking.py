"""Mask personal data in text before it is stored: e-mail addresses, long numbers and API keys.

`mask` searches a folded copy of the text, in which digits, dashes and spaces are ASCII. This finds
data in any script, in full width, percent-encoded, with invisible characters in between, and
spelled like "name (at) example (dot) org". The rest of the text is unchanged.

A long number has at least eight digits, also in groups: phone, card and account numbers. Dates,
versions, IPv4 addresses, decimals, ranges, round numbers and powers of two are kept, and
`vite@5.4.1` is not an address. In doubt, a rule masks.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final

from lib.languages import IS_UNSPACED, normalize

_EMAIL: Final = "[email]"
_NUMBER: Final = "[number]"
REDACTED: Final = "[redacted]"

_MIN_KEY_LENGTH: Final = 4
"""Replacing a shorter key would hide half of the text."""
_MIN_KEY_LIKE: Final = 11
_MIN_DIGITS: Final = 8
_MIN_DIGITS_WITH_PLUS: Final = 7
_MAX_PORT: Final = 65_535
"""Phone numbers in India are like 72345-91234."""

_Mask = Callable[[str], str]
_Span = tuple[int, int]


def key_redactor(keys: Collection[str]) -> _Mask:
    """Return a function that replaces these keys."""
    # The longest first: one key may be the beginning of another.
    ordered = sorted((k for k in keys if len(k) >= _MIN_KEY_LENGTH), key=len, reverse=True)
    if not ordered:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, ordered)))
    return lambda text: pattern.sub(REDACTED, text)


def masker(keys: Collection[str]) -> _Mask:
    """Return a function that masks a text and replaces these keys in it."""
    redact = key_redactor(keys)
    return lambda text: mask(redact(text))


def mask(text: str) -> str:
    """Replace e-mail addresses with "[email]", long numbers with "[number]", and strings that look
    like API keys with "[redacted]". Takes linear time."""
    if any(len(word) >= _MIN_KEY_LIKE for word in text.split()):
        text = _KEY_LIKE.sub(REDACTED, text)
    return _replace(_replace(text, _emails, _EMAIL), _numbers, _NUMBER)


def _replace(text: str, find: Callable[[str], Iterator[_Span]], marker: str) -> str:
    plain, starts = _plain(text)
    pieces, end = list[str](), 0
    for first, after in find(plain):
        pieces += text[end : starts[first]], marker
        end = starts[after]
    return "".join((*pieces, text[end:])) if pieces else text


# --- Keys ---------------------------------------------------------------------------------------

_KEY_LIKE: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{8,}+|(?:[spr]k_|gh[opsu]_|github_pat_|glpat-|hf_|xox[abprs]-|AKIA|AIza"
    r"|eyJ)[A-Za-z0-9._-]{16,}+|[Bb]earer[ ]++(?=[A-Za-z._~+/-]*+\d)[A-Za-z0-9._~+/=-]{16,}+)"
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*+\d)(?=\d*+[A-Za-z])[A-Za-z0-9]{32,}+"
    r"|(?<![A-Za-z0-9_-])(?=[a-z0-9_-]*+[A-Z])(?=[A-Z0-9_-]*+[a-z])(?=(?:[A-Za-z_-]*+\d){3})"
    r"[A-Za-z0-9_-]{40,}+",
    re.ASCII,
)
"""Known prefixes, 32 consecutive letters and digits, or Base64 for URLs, as Quire's own keys."""


# --- Folded copy -----------------------------------------------------------------------------

_MAX_FOLDED: Final = 4_096
"""Characters in the cache. Others are computed each time."""
_SPACED: Final = "\xe4"
"""Placeholder for letters beyond ASCII."""
_UNSPACED: Final = "\u4e16"
"""Placeholder for letters of scripts without spaces."""
_BLANK: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and a symbol that are invisible."""
_SPELLED: Final = re.compile(
    r"(?P<at>%(?:25){0,2}40|&#0{0,4}64;|&#x0{0,4}40;|&commat;"
    rf"|[ ]{{0,2}}[\[({{<][ ]{{0,2}}(?:@|[a{_SPACED}]t|arroba)[ ]{{0,2}}[\])}}>][ ]{{0,2}}"
    r"|(?<=\w)\(a\)(?=\w))"
    r"|(?P<dot>%(?:25){0,2}2e|&#0{0,4}46;|&#x0{0,4}2e;|&period;"
    r"|[ ]{0,2}[\[({<][ ]{0,2}(?:\.|dot|punkt|punto|point|ponto)[ ]{0,2}[\])}>][ ]{0,2})",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)  # for e-mail addresses, then for numbers
def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Fold the text. Also returns the offset in `text` of each character of the copy."""
    plain = text if text.isascii() and text.isprintable() else text.translate(_FOLDED)
    starts: Sequence[int] = range(len(text) + 1)
    if len(plain) < len(text):
        shown = [at for at, character in enumerate(text) if _FOLDED[ord(character)]]
        starts = [*shown, len(text)]
    if not any(character in plain for character in "%&([{<"):
        return plain, starts
    pieces, kept, end = list[str](), list[int](), 0
    for found in _SPELLED.finditer(plain):
        pieces += plain[end : found.start()], "@" if found["at"] else "."
        kept += starts[end : found.start() + 1]
        end = found.end()
    return "".join((*pieces, plain[end:])), [*kept, *starts[end:]]


def _fold(character: str) -> str:
    """The ASCII character that looks like this one, a placeholder for other letters, or "" for a
    mark or an invisible character."""
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or character in _BLANK:
        return ""
    if category == "Cc":
        return character if character.isspace() else ""
    if character.isascii():
        return character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    if len(same := normalize("NFKC", character)) == 1 and same.isascii():
        return same
    if category[0] == "L":
        return _UNSPACED if IS_UNSPACED.match(character) else _SPACED
    return character


class _Folded(dict[int, str]):
    """`_fold` for `str.translate`."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < _MAX_FOLDED:
            self[code] = folded
        return folded


_FOLDED: Final = _Folded()


# --- E-mail addresses ---------------------------------------------------------------------------

_LOCAL: Final = rf"A-Za-z0-9{_SPACED}._+'%\\-"
_LABEL: Final = rf"[A-Za-z0-9{_SPACED}_-]++"
_ANY_LABEL: Final = rf"[A-Za-z0-9{_SPACED}{_UNSPACED}_-]++"
_SPELLED_DOT: Final = r"[ ]{1,2}dot[ ]{1,2}"
_DOT: Final = rf"(?:[ ]?\.|{_SPELLED_DOT})"
_DOTS: Final = re.compile(rf"{_DOT}|。", re.IGNORECASE)
_PROVIDER: Final = r"(?:gmail|googlemail|hotmail|outlook|yahoo|icloud|proton|protonmail|gmx)\b"
_ADDRESS: Final = re.compile(
    # In Chinese, an address may follow a word without a space.
    rf"(?P<local>\"[^\"\n]{{1,64}}\"|(?<![{_LOCAL}])[{_LOCAL}]++"
    rf"(?:{_SPELLED_DOT}[{_LOCAL}]++){{0,3}}+"
    rf"|(?<![{_LOCAL}{_UNSPACED}])[{_LOCAL}{_UNSPACED}]++(?<={_UNSPACED}))"
    r"(?P<at>[ ]{0,2}@{1,2}[ ]{0,2}|[ ]{1,2}at[ ]{1,2})"
    rf"(?P<domain>{_LABEL}(?:{_DOT}{_LABEL})++|{_PROVIDER}|{_ANY_LABEL}(?:[.。]{_ANY_LABEL})++)",
    re.IGNORECASE,
)
_TOP: Final = re.compile(rf"[A-Z{_SPACED}][A-Z0-9{_SPACED}-]|[{_UNSPACED}]", re.IGNORECASE)
"""Beginning of a top-level domain."""
_COMMON: Final = re.compile(r"(?:com|org|net|edu|gov|info|[a-z]{2})", re.IGNORECASE)
_STARTS_WITH_PROVIDER: Final = re.compile(_PROVIDER, re.IGNORECASE)
_VERSION: Final = re.compile(r"v?\d+(?:\.\d|x\.|\.(?:m?js|css)\b)", re.IGNORECASE)
"""As in `vite@5.0.0-beta.rc`, `logo@2x.png` and `vue@3.js`."""


def _emails(plain: str) -> Iterator[_Span]:
    if "@" not in plain and " at " not in plain.lower():
        return
    place = 0
    while found := _ADDRESS.search(plain, place):
        place = found.start("domain")
        local = found["local"].lstrip("'")
        if length := _domain_length(local.strip("._'-"), found["at"], found["domain"]):
            place += length
            yield found.end("local") - len(local), place


def _domain_length(local: str, at: str, domain: str) -> int:
    """Length of the domain if this is an e-mail address, else 0."""
    if not local or local == "git" or _VERSION.match(domain):
        return 0
    if found := _STARTS_WITH_PROVIDER.match(domain):
        return max(found.end(), _named_length(domain))
    length = _named_length(domain)
    if "@" not in at:  # "documented at example.org" is not an address
        return length if " dot " in domain.casefold() else 0
    # With spaces around, "@" may be an operator, or begin a decorator or the name of a file.
    top = domain[:length].rpartition(".")[2]
    common = _COMMON.fullmatch(top) and (at.endswith(" ") or len(top) > 2)
    return length if at in ("@", "@@") or common else 0


def _named_length(domain: str) -> int:
    """Length of a domain up to its last label that can be a top-level domain; 0 without one."""
    end = len(domain)
    for dot in reversed([*_DOTS.finditer(domain)]):
        label = domain[dot.end() : end]
        if _TOP.match(label):
            return dot.end() + len(label.rstrip("-_"))
        end = dot.start()
    return 0


# --- Numbers ------------------------------------------------------------------------------------

_YEAR: Final = r"(?:19|20)\d\d"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_DAY: Final = r"(?:[12]\d|3[01]|0?[1-9])"
_COMPACT: Final = (
    rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?"
)
_DATE: Final = (
    rf"(?:{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}"
    rf"|{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}|{_COMPACT})"
)
_HARMLESS: Final = re.compile(
    rf"{_DATE}(?:[-/]{_DATE})?|\d{{1,4}}-{_YEAR}-{_MONTH}-{_DAY}"
    rf"|{_YEAR}[-/]{_YEAR}"
    r"|(?:0\d?|[1-9]\d{0,5})\.\d+"
    # Versions and IPv4 addresses, but not 555.123.4567.
    r"|(?!(?:\d{1,3}\.)?\d{3}\.\d{3}\.\d{4}\Z)(?=[\d.]{1,15}(?:[-/]|\Z))"
    rf"(?:0|[1-9]\d{{0,4}})(?:\.(?:0|[1-9]\d{{0,4}})){{1,3}}(?:/\d{{1,2}}|-{_COMPACT})?"
)
_RUN: Final = re.compile(r"(?:0x[0-9a-f]++|CVE-\d++-\d++)|[+(]{0,2}\d(?:[ \t()./-]{0,3}\d)*+", re.I)
"""Digits in groups, in the order of the text; hexadecimal numbers and names of vulnerabilities."""
_DIGIT: Final = re.compile("[0-9]")
_PHONE_BEGIN: Final = re.compile(r"\(?\+|\(\d{3}")
"""After it, 123.4567 is no decimal."""
_ROUND: Final = re.compile(r"[1-9]\d?0+|(?=\d{1,9}\Z)[1-9]\d*0{3}")
_LIST: Final = re.compile(r"\d\d?(?: / \d\d?)+")


def _numbers(plain: str) -> Iterator[_Span]:
    if len(_DIGIT.findall(plain)) < _MIN_DIGITS_WITH_PLUS:
        return
    for found in _RUN.finditer(plain):
        if found[0][0] in "0Cc" and found[0][:2].lower() in ("0x", "cv"):
            continue
        group: list[_Span] = []
        for part in re.finditer(r"[^ \t]++", found[0]):
            is_phone = group and _PHONE_BEGIN.match(plain, group[0][0])
            if not is_phone and _HARMLESS.fullmatch(part[0].strip("()-/.")):
                yield from _long(plain, group)
                group = []
            else:
                group.append((found.start() + part.start(), found.start() + part.end()))
        yield from _long(plain, group)


def _long(plain: str, group: list[_Span]) -> Iterator[_Span]:
    """The span of neighbouring parts if they are a long number."""
    if not group:
        return
    start, end = group[0][0], group[-1][1]
    text = plain[start:end]
    start += len(text) - len(text.lstrip("(" if ")" not in text else ""))
    parts = re.findall(r"\d++", text)
    digits = "".join(parts)
    if len(digits) < (_MIN_DIGITS_WITH_PLUS if "+" in text else _MIN_DIGITS):
        return
    if not (_is_round(parts) or _is_near_power_of_two(digits) or _is_range(text, parts)):
        yield start, end


def _is_round(parts: list[str]) -> bool:
    """Whether it is like 10 000 000 or 1000-5000."""
    if len(parts) > 1 and re.fullmatch(r"[1-9]\d?0+", "".join(parts)):
        return True
    return all(len(part) >= 4 and _ROUND.fullmatch(part) for part in parts)


def _is_near_power_of_two(digits: str) -> bool:
    """Whether it is a limit of programs, such as 2147483647 or 4294967296."""
    number = int(digits) if len(digits) <= 20 else 0
    return any(each & (each - 1) == 0 for each in (number - 1, number, number + 1)) and number > 1


def _is_range(text: str, parts: list[str]) -> bool:
    """Whether it is a range such as 8000-9000, or several years, or a list such as 14 / 16 / 18."""
    if all(re.fullmatch(_YEAR, part) for part in parts) or _LIST.fullmatch(text):
        return True
    ports = len(parts) == 2 and "-" in text and all(0 < len(part) <= 5 for part in parts)
    if not ports or "0" in (parts[0][0], parts[1][0]):
        return False
    return int(parts[0]) < int(parts[1]) <= _MAX_PORT
