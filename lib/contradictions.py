"""What of a sentence a single word turns into its opposite: numbers, negations, opposites."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lib.terms import terms

_WORDS_OF_NUMBERS: Final = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
}
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TOKEN: Final = re.compile(r"\w+(?:['’]\w+)*|[.,;:()]")
_NOT: Final = frozenset(
    """not no never cannot without neither nor none nothing nobody hardly unable
    nicht kein keine keinen keiner nie niemals ohne pas jamais aucun aucune sans nunca jamás sin
    ningún ninguna não sem nem niet geen nooit zonder non mai senza не нет без никогда""".split()
)
SAME_SUBJECT: Final = 0.6
"""Share of a sentence's words from which a claim that has them speaks of the same."""
SHORTEST: Final = 4
"""Letters from which a stem may have an "un-" before it."""
_NOT_SO: Final = frozenset("only just merely necessarily".split())
"""Behind a negation, they take it back."""
_OPPOSITES: Final = tuple(
    tuple(pair.split("/"))
    for pair in """increase/decrease increase/reduce rise/fall raise/lower grow/shrink more/less
    more/fewer most/least higher/lower high/low larger/smaller large/small big/small longer/shorter
    long/short faster/slower fast/slow stronger/weaker strong/weak older/younger hot/cold warm/cool
    better/worse best/worst first/last early/late before/after above/below over/under up/down
    left/right inside/outside internal/external input/output read/write open/close start/stop
    begin/end add/remove insert/delete enable/disable allow/forbid allow/prevent permit/prohibit
    accept/reject include/exclude always/never all/none same/different mutable/immutable
    safe/unsafe valid/invalid possible/impossible public/private static/dynamic true/false
    required/optional required/forbidden minimum/maximum min/max positive/negative
    success/failure succeed/fail easy/hard easier/harder simple/complex cheap/expensive
    win/lose gain/lose import/export push/pull send/receive encode/decode lock/unlock
    synchronous/asynchronous sequential/parallel local/remote temporary/permanent north/south
    east/west northern/southern eastern/western mandatory/optional manual/automatic
    manually/automatically correct/incorrect complete/incomplete consistent/inconsistent
    compatible/incompatible dependent/independent direct/indirect visible/invisible
    active/inactive secure/insecure finite/infinite legal/illegal regular/irregular""".split()
)


def _stem(word: str) -> str:
    return next(iter(terms(word)), word)


_OPPOSITE: Final[dict[str, frozenset[str]]] = {
    _stem(word): frozenset(
        _stem(other) for pair in _OPPOSITES if word in pair for other in pair if other != word
    )
    for word in {word for pair in _OPPOSITES for word in pair}
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a text says, as far as single words can turn it round."""

    numbers: frozenset[str]
    numbered: frozenset[tuple[str, str]]
    """Pairs of a word and the number that follows it: ROS 2, Chapter 4."""
    spelled: frozenset[str]
    """Those of the numbers that are written in letters; "one" is left out, being a pronoun."""
    denied: frozenset[str]
    """Stems that follow a negation."""
    stems: frozenset[str]
    """Of all words that are not denied; stop words too."""
    content: frozenset[str]
    """Of all words but stop words."""


def told(text: str) -> Told:
    tokens = _TOKEN.findall(text.casefold())
    spelled = {_WORDS_OF_NUMBERS[each] for each in tokens if each in _WORDS_OF_NUMBERS} - {"1"}
    denied, stems, content = set[str](), set[str](), set[str]()
    denying = False
    for at, token in enumerate(tokens):
        if not token[0].isalnum():
            denying = False
        elif token in _NOT or token.endswith(("n't", "n’t")):
            denying = tokens[at + 1 : at + 2] != [] and tokens[at + 1] not in _NOT_SO
        else:
            stemmed = terms(token)
            stem = stemmed[0] if stemmed else token
            content.update(stemmed)
            if denying and stemmed:
                denied.add(stem)
                denying = False
            else:
                stems.add(stem)
    digits = {number(each) for each in _NUMBER.findall(text)}
    return Told(
        frozenset(digits | spelled),
        frozenset(pair for pair in pairwise(tokens) if pair[1].isdecimal() and terms(pair[0])),
        frozenset(spelled),
        frozenset(denied),
        frozenset(stems),
        frozenset(content),
    )


def in_digits(term: str) -> str:
    """A number that is written in letters, in digits; any other term as it is."""
    return _WORDS_OF_NUMBERS.get(term, term)


def number(digits: str) -> str:
    """One form of a number: 1,000 and 1000, 2.0 and 2 are the same."""
    if _THOUSANDS.fullmatch(digits):
        digits = digits.replace(",", "")
    whole, point, rest = digits.partition(".")
    return whole if point and not rest.strip("0") else digits


def contradicts(
    claim: Told, sources: Sequence[Told], heading: Told, named: frozenset[tuple[str, str]]
) -> bool:
    """Whether the claim has a number that stands in none of the sources' sentences, nor in the
    heading above them, nor is part of a name (`Told.numbered`) that is `named` somewhere; or says
    the opposite of one of them."""
    numbers = heading.numbers.union(*(each.numbers for each in sources))
    missing = claim.numbers - numbers - {each for _, each in claim.numbered & named}
    denied = frozenset[str]().union(*(each.denied for each in sources))
    stems = frozenset[str]().union(*(each.stems for each in sources))
    if missing - claim.spelled or (missing and numbers - claim.numbers):
        return True
    if (claim.denied & stems) - denied - claim.stems:
        return True
    # What a sentence denies, the claim may say of something else.
    if any(
        (each.denied & claim.stems) - claim.denied - each.stems
        and len(each.content & claim.content) >= SAME_SUBJECT * len(each.content)
        for each in sources
    ):
        return True
    return any(
        opposites(stem) & stems - claim.stems
        for stem in claim.stems
        if stem not in stems and stem not in denied
    )


def opposites(stem: str) -> frozenset[str]:
    """Of a stem: those in the list, and what "un-" makes of it."""
    found = _OPPOSITE.get(stem, frozenset())
    bare = stem.removeprefix("un")
    if len(bare) < SHORTEST:
        return found
    return found | {bare if bare != stem else f"un{stem}"}
