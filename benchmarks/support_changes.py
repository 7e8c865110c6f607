"""Change sentences: some changes keep the meaning, others do not."""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from lib.terms import terms

FEWEST_WORDS: Final = 6
"""Minimum length of a sentence for a claim."""

NAME: Final = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}\b|\b[a-z]+_[a-z_]+\b|\b[a-z]+[A-Z]\w+\b")
_NUMBER: Final = re.compile(r"(?<![\w.,:-])\d+(?:[.,]\d+)*(?![\w:-])")
_AUXILIARY: Final = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|must|may|has|have|does|do|did)\b(?! not\b|n't)"
)
_NOT: Final = re.compile(r"\b(?:not|never) |(?<=[a-z])n['’]t\b")
_SMALL: Final = {
    word: other
    for pair in """also/additionally use/employ uses/employs used/employed using/employing so/thus
    but/however because/since such_as/like for_example/e.g. big/large begin/start
    begins/starts show/display shows/displays need/require needs/requires
    help/assist helps/assists get/obtain gets/obtains make/create makes/creates
    made/created many/numerous about/approximately can/may want/wish it's/it_is
    don’t/do_not don't/do_not doesn't/does_not doesn’t/does_not we'll/we_will
    we’ll/we_will you'll/you_will you’ll/you_will can't/cannot can’t/cannot
    isn't/is_not isn’t/is_not two/2 three/3 four/4 five/5 six/6 seven/7 eight/8
    nine/9 ten/10 we/you our/the your/the several/some allows/lets allow/let
    ensure/guarantee ensures/guarantees provides/offers provide/offer""".split()
    for word, other in [pair.replace("_", " ").split("/")]
}
_SMALL_WORDS: Final = re.compile(r"\b(" + "|".join(map(re.escape, _SMALL)) + r")\b")


def shorten(text: str, _: Random) -> str | None:
    text = re.sub(r"\s*\([^()]*\)", "", text)
    first, comma, rest = text.partition(", ")
    if comma and len(first.split()) <= 4 and len(rest.split()) >= FEWEST_WORDS:
        return rest[0].upper() + rest[1:]
    kept, comma, _rest = text.rpartition(", ")
    return f"{kept}." if comma and len(kept.split()) >= FEWEST_WORDS else text


def reorder(text: str, _: Random) -> str | None:
    for between, joined in ((" because ", "Because {1}, {0}."), (", ", "{1}, {0}.")):
        one, found, other = text.rstrip(".").partition(between)
        if found and min(len(one.split()), len(other.split())) >= 3:
            return joined.format(one[0].lower() + one[1:], other)
    return None


def reword(text: str, _: Random) -> str | None:
    return _SMALL_WORDS.sub(lambda found: _SMALL[found[0]], text)


def renumber(text: str, draw: Random) -> str | None:
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    chosen = draw.choice(found)
    digits = "".join(
        str((int(digit) + draw.randint(1, 8)) % 10) if digit.isdigit() else digit
        for digit in chosen[0]
    )
    return text[: chosen.start()] + digits + text[chosen.end() :]


def negate(text: str, draw: Random) -> str | None:
    if _NOT.search(text):
        return _NOT.sub("", text, count=1).replace("ca ", "can ")
    return _AUXILIARY.sub(r"\1 not", text, count=1)


CHANGES: Final[Mapping[str, Callable[[str, Random], str | None]]] = {
    "shortened": shorten,
    "reordered": reorder,
    "reworded": reword,
    "number": renumber,
    "negation": negate,
}


def rename(text: str, names: Sequence[str], said: frozenset[str], draw: Random) -> str | None:
    found = list(NAME.finditer(text))
    new = [name for name in draw.sample(names, min(50, len(names))) if not said & set(terms(name))]
    if not found or not new:
        return None
    chosen = draw.choice(found)
    alike = [name for name in new if name[0].isupper() == chosen[0][0].isupper()] or new
    return text[: chosen.start()] + alike[0] + text[chosen.end() :]
