"""Check by word comparison whether the cited passages support an answer.

A claim is a sentence with a marker. It is compared with every window of one to three neighbouring
sentences in the passages that it cites:

- *coverage*: the share of the claim's terms in the window or its heading, weighted by inverse
  document frequency. Numbers, names and identifiers weigh more;
- *contradiction*: a number that is missing, or a word that only one side negates, or whose opposite
  is in the window.

This detects whether a claim was taken from its passage. It does not detect swapped subject and
object, and treats a free paraphrase as unsupported. It cannot judge a claim in another language
than the passage. The constants were fitted with `benchmarks/support.py`.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import msgspec

from lib.languages import ENGLISH, number_words, opposites, page_language, words_of_all
from lib.ranking import Passage, cached_per_passage, inverse_document_frequency
from lib.runtime import run_to_end
from lib.sanitizer_syntax import RESOLVED_MARKER
from lib.sentences import STOPS, Sentence, split_markdown, split_passage
from lib.terms import terms


class SentenceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one cited sentence."""

    sentence: str
    """The sentence as the reader sees it, without markers."""
    markers: list[int]
    """The reader's numbers."""
    supported: bool | None
    """None: unknown, because of another language or too few words."""
    score: float
    """0 to 1."""
    quote: str | None
    """The passage's supporting words; None unless supported."""


def check_answer(answer: str, passages_by_marker: Mapping[int, Passage]) -> list[SentenceCheck]:
    """Check every sentence of `answer`, the reader's Markdown, that has a marker, in order.

    Sentences without markers, and code, are skipped.
    """
    return run_to_end(check_answer_in_steps(answer, passages_by_marker))


def check_answer_in_steps(
    answer: str, passages_by_marker: Mapping[int, Passage]
) -> Generator[None, None, list[SentenceCheck]]:
    """Check the first `_MAX_CLAIMS` in cooperative steps of up to 5 ms."""
    claims: list[_Claim] = []
    for part in _cut(answer):
        claims += _read_claims(part, passages_by_marker)
        if len(claims) >= _MAX_CLAIMS:
            break
        yield
    del claims[_MAX_CLAIMS:]
    if not claims:
        return []
    spoken = page_language(" ".join(claim.text for claim in claims))
    sources: dict[int, _CitedPassage] = {}
    for number in sorted({marker for claim in claims for marker in claim.markers}):
        yield
        sources[number] = _read_cited_passage(passages_by_marker[number])
    rarity = _measure_rarity(line.bag for source in sources.values() for line in source.lines)
    checks: list[SentenceCheck] = []
    for claim in claims:
        cited = [sources[n] for n in claim.markers[:_MAX_CITED]]
        checks.append((yield from _check_claim(claim, cited, rarity, spoken)))
    return checks


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    markers: list[int]


_MAX_CLAIMS: Final = 200
_MAX_CLAIM_CHARACTERS: Final = 1_000
_MAX_CITED: Final = 8
"""Maximum passages that a claim is compared with."""
_PART: Final = 500
"""Characters of an answer from which it is cut at the next blank line..."""
_MAX_PART: Final = 1_500
"""...and in any case. Parsing a part takes milliseconds."""
_LINE_COST: Final = 20
"""A line counts as this many more characters: parsing short ones takes longer."""
_MARKER: Final = re.compile(RESOLVED_MARKER)
_CODE_OR_MARKER: Final = re.compile(
    r"(?P<code>^[ \t]*+(?P<fence>`{3,}+|~{3,}+).*?(?:^[ \t]*+(?P=fence)|\Z)"
    r"|(?P<ticks>`++).{1,400}?(?P=ticks))"
    rf"|(?<![ \t])[ \t]*+{_MARKER.pattern}",
    re.MULTILINE | re.DOTALL,
)
_FIRST: Final = 0xE000
"""Each marker is replaced by a private use character: this plus its number."""
_MARKS: Final = rf"[\u{_FIRST:x}-\u{_FIRST + 999:x}]"
_AFTER_STOP: Final = re.compile(rf"((?<![{STOPS}])[{STOPS}]++[\"'”’)*_]*+)\s*+({_MARKS}++)(?!\S)")
_LOOSE: Final = re.compile(rf"(?<!\s)\s*+{_MARKS}")


def _cut(answer: str) -> Iterator[str]:
    """Cut a long answer into parts, between blocks where possible."""
    part, size, fence = list[str](), 0, ""
    for line in answer.split("\n"):
        bare = line.strip()
        if fence:
            fence = "" if bare.startswith(fence) and not bare.strip(fence[0]) else fence
        elif bare.startswith(("```", "~~~")):
            fence = bare[: len(bare) - len(bare.lstrip(bare[0]))]
        for piece in _pieces(line):
            part.append(piece)
            size += len(piece) + _LINE_COST
            if size > _MAX_PART or (size > _PART and not fence and not bare):
                yield "\n".join(part)
                part, size = [fence] if fence else [], 0
    yield "\n".join(part)


def _pieces(line: str) -> Iterator[str]:
    """Cut a long line, after a marker where possible."""
    while len(line) > _MAX_PART:
        marker = max(line.rfind("[", 0, _MAX_PART), 0)
        end = line.find(" ", marker, _MAX_PART + marker) + 1 or _MAX_PART
        yield line[:end]
        line = line[end:]
    yield line


def _read_claims(answer: str, known: Collection[int]) -> list[_Claim]:
    """Return the sentences of `answer`, the reader's Markdown, that have a `known` marker.

    A marker stands in its sentence or after the full stop. Brackets in code are no markers.
    """

    def as_character(found: re.Match[str]) -> str:
        if found["code"] or int(found["number"]) not in known:
            return found[0]
        return chr(_FIRST + int(found["number"]))

    if not _MARKER.search(answer):
        return []
    plain = re.sub(_MARKS, "", answer)
    marked = _AFTER_STOP.sub(r"\2\1", _CODE_OR_MARKER.sub(as_character, plain))
    claims: list[_Claim] = []
    for sentence in split_markdown(marked):
        numbers = [ord(mark) - _FIRST for mark in re.findall(_MARKS, sentence.text)]
        text = _LOOSE.sub("", sentence.text).strip()[:_MAX_CLAIM_CHARACTERS]
        if numbers and text:
            claims.append(_Claim(text, list(dict.fromkeys(numbers))))
    return claims


_NUMBER: Final = re.compile(r"\d++(?:[.,:]\d++)*+")
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})++(?:\.\d++)?+")
_TOKEN: Final = re.compile(r"\w++(?:['’]\w++)*+|[.,;:()]")
_SAME_SUBJECT_SHARE: Final = 0.6
"""Share of a sentence's words that a claim on the same subject contains."""
_MIN_STEM_LETTERS: Final = 4
"""Minimum letters of a stem that may follow "un-"."""


@cache
def _opposite_stems() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in opposites():
        one, other = (next(iter(terms(word)), word) for word in pair)
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {stem: frozenset(others) for stem, others in found.items()}


@dataclass(frozen=True, slots=True)
class _Statement:
    """The parts of a text that a single word can reverse: numbers, negations, opposites."""

    numbers: frozenset[str]
    numbered: frozenset[tuple[str, str]]
    """Pairs of a word and the number that follows it: ROS 2, Chapter 4."""
    spelled: frozenset[str]
    """Numbers written in letters, without "one", which is also a pronoun."""
    denied: frozenset[str]
    """Stems after a negation."""
    stems: frozenset[str]
    """Stems of all words that are not negated, including stop words."""
    content: frozenset[str]
    """Stems of all words except stop words."""


def _read_statement(text: str) -> _Statement:
    tokens = _TOKEN.findall(text.casefold())
    digits_of, limits = number_words(), words_of_all("negation_limits")
    spelled = {digits_of[each] for each in tokens if each in digits_of} - {"1"}
    denied, stems, content = set[str](), set[str](), set[str]()
    denying = False
    for at, token in enumerate(tokens):
        if not token[0].isalnum():
            denying = False
        elif token in words_of_all("negations") or token.endswith(("n't", "n’t")):
            denying = bool(tokens[at + 1 :]) and tokens[at + 1] not in limits
        else:
            stemmed = terms(token)
            stem = stemmed[0] if stemmed else token
            content.update(stemmed)
            if denying and stemmed:
                denied.add(stem)
                denying = False
            else:
                stems.add(stem)
    digits = {_normalize_number(each) for each in _NUMBER.findall(text)}
    return _Statement(
        frozenset(digits | spelled),
        frozenset(pair for pair in pairwise(tokens) if pair[1].isdecimal() and terms(pair[0])),
        frozenset(spelled),
        frozenset(denied),
        frozenset(stems),
        frozenset(content),
    )


def _spell_in_digits(term: str) -> str:
    """A number that is written in letters, in digits; any other term as it is."""
    return number_words().get(term, term)


def _normalize_number(digits: str) -> str:
    """Return the normal form of a number: 1,000 as 1000, 2.0 as 2."""
    if _THOUSANDS.fullmatch(digits):
        digits = digits.replace(",", "")
    whole, point, rest = digits.partition(".")
    return whole if point and not rest.strip("0") else digits


def _contradicts(
    claim: _Statement,
    sources: Sequence[_Statement],
    heading: _Statement,
    named: frozenset[tuple[str, str]],
) -> bool:
    """Whether the claim has an unknown number or says the opposite of a source.

    A number is known if it is in a source or the heading, or part of a `named` pair
    (`Statement.numbered`).
    """
    numbers = heading.numbers.union(*(each.numbers for each in sources))
    missing = claim.numbers - numbers - {each for _, each in claim.numbered & named}
    denied = frozenset[str]().union(*(each.denied for each in sources))
    stems = frozenset[str]().union(*(each.stems for each in sources))
    if missing - claim.spelled or (missing and numbers - claim.numbers):
        return True
    if (claim.denied & stems) - denied - claim.stems:
        return True
    # The claim may say of something else what the sentence negates.
    if any(
        (each.denied & claim.stems) - claim.denied - each.stems
        and len(each.content & claim.content) >= _SAME_SUBJECT_SHARE * len(each.content)
        for each in sources
    ):
        return True
    return any(
        _find_opposites(stem) & stems - claim.stems
        for stem in claim.stems
        if stem not in stems and stem not in denied
    )


def _find_opposites(stem: str) -> frozenset[str]:
    """Return the listed opposites of a stem, and the stem with or without "un-"."""
    found = _opposite_stems().get(stem, frozenset())
    bare = stem.removeprefix("un")
    if len(bare) < _MIN_STEM_LETTERS:
        return found
    return found | {bare if bare != stem else f"un{stem}"}


_MIN_COVERAGE: Final = 0.54
"""Coverage from which a claim is supported."""
_MAX_WINDOW_LINES: Final = 3
"""Maximum neighbouring sentences that support a claim together."""
_MAX_LINES: Final = 200
"""Maximum sentences of a passage that are compared."""
_COST_PER_LINE: Final = 0.06
"""Coverage that each further sentence must add."""
_MAX_WINDOWS: Final = 5
"""Windows of a passage that are compared in full, those with the best coverage."""
_COMPARABLE_SHARE: Final = 0.85
"""Minimum share of the best coverage for a window that may replace a contradicting one."""
_HEADING_WEIGHT: Final = 0.9
"""Weight of a term that is only in the heading."""
_NAME_WEIGHT: Final = 1.5
_MIN_TERMS: Final = 2
"""A claim with fewer terms cannot be judged: "Yes, it does." """
_CONTRADICTION_FACTOR: Final = 0.4
"""Multiplies the coverage of a contradicting window."""
_UNKNOWN_NAME_FACTOR: Final = 0.55
"""Multiplies the score of a claim with a name that is in none of the passages."""


@dataclass(frozen=True, slots=True, eq=False)
class _Line:  # compared by identity, since hashing its fields takes long
    """A sentence of a passage, or a line of its code."""

    text: str
    language: str
    bag: frozenset[str]
    said: _Statement


@dataclass(frozen=True, slots=True)
class _Window:
    lines: Sequence[_Line]
    heading: _Line
    bag: frozenset[str]

    @classmethod
    def of(cls, lines: Sequence[_Line], heading: _Line) -> "_Window":
        return cls(lines, heading, frozenset[str]().union(*(line.bag for line in lines)))

    @classmethod
    def union(cls, windows: Sequence["_Window"]) -> "_Window":
        path = " ".join(each.heading.text for each in windows)
        heading = _read_line(path, windows[0].heading.language)
        return cls.of([line for each in windows for line in each.lines], heading)


class _CitedPassage:
    """A passage, parsed once for all claims that cite it."""

    def __init__(self, passage: Passage) -> None:
        self.text = passage.content
        self.language = page_language(passage.content, passage.locale)
        self.latin = _is_latin(passage.content)
        texts = [
            (each.section, text) for each in split_passage(passage) for text in _split_lines(each)
        ][:_MAX_LINES]
        paths = [f"{passage.chapter}. {each.section}. {each.heading}" for each in passage.sections]
        self.lines = [_read_line(text, self.language) for _, text in texts]

        @cache
        def heading(first: int, last: int) -> _Line:
            return _read_line(" ".join(paths[first : last + 1]), self.language)

        self.windows = [
            _Window.of(self.lines[at : at + size], heading(texts[at][0], texts[at + size - 1][0]))
            for size in range(1, _MAX_WINDOW_LINES + 1)
            for at in range(len(self.lines) - size + 1)
        ]
        own = [heading(place, place) for place in range(len(paths))]
        self.headings = {*own, *(each.heading for each in self.windows)}
        read = (*own, *self.lines)
        self.named = frozenset[tuple[str, str]]().union(*(each.said.numbered for each in read))
        self._names = frozenset(terms(f"{passage.content} {' '.join(paths)} {passage.file_path}"))

    def has(self, name: str) -> bool:
        """Whether the passage contains the name or all of its parts."""
        *parts, whole = terms(name) or [""]
        return whole in self._names or (bool(parts) and self._names.issuperset(parts))


_read_cited_passage = cached_per_passage(100)(_CitedPassage)  # about 10 MB


def _read_line(text: str, language: str) -> _Line:
    return _Line(text, language, frozenset(_read_terms(text, language)), _read_statement(text))


def _split_lines(sentence: Sentence) -> list[str]:
    lines = [line.strip() for line in sentence.code.split("\n")]
    code = [line for line in lines if line and not line.startswith(("```", "~~~"))]
    said = ": ".join(filter(None, (sentence.label, sentence.text)))
    return [said, *code] if said else code


def _measure_rarity(bags: Iterable[frozenset[str]]) -> Callable[[str], float]:
    every = list(bags)
    count = Counter(term for bag in every for term in bag)
    return lambda term: inverse_document_frequency(len(every), max(count[term], 1))


_NAME: Final = re.compile(
    r"(?<![.!?:]\s)(?<!^)(?<!^[\"'“‘(])\b[A-Z][\w'’-]*+"
    r"|\b\w++(?:(?:::|\.|->|/)\w++)++|\b\w[^\W_]*+_\w++"
    r"|\b[a-z]++[A-Z]\w*+|\b[^\W\d]*+\d\w*+"
)
_CONTRACTED: Final = re.compile(
    r"\b(?:(?:do|does|did|is|are|was|were|has|have|had|would|could|should|must)n|can|won)['’]t\b"
    r"|(?<=\w)['’](?:s|re|ve|ll|d|m)\b",
    re.IGNORECASE,
)
_LATIN: Final = re.compile(r"[A-Za-zÀ-ɏ]")


def _check_claim(
    claim: _Claim, sources: Sequence[_CitedPassage], rarity: Callable[[str], float], spoken: str
) -> Generator[None, None, SentenceCheck]:
    yield
    own = page_language(claim.text)
    spoken = own if own != ENGLISH else spoken
    written = _is_latin(claim.text)
    foreign = all(source.language != spoken or source.latin != written for source in sources)
    weights = _weigh_terms(claim.text, sources[0].language, rarity)
    if len(weights) < _MIN_TERMS:
        return SentenceCheck(
            sentence=claim.text, markers=claim.markers, supported=None, score=0.0, quote=None
        )
    by_source: list[list[_Window]] = []
    for source in sources:
        by_source.append(_find_best_windows(weights, source))
        yield
    windows = [each for several in by_source for each in several]
    firsts = [several[0] for several in by_source if several]
    if len(firsts) > 1:  # passages may support a claim together
        windows.append(_Window.union(firsts))
    said, names = _read_statement(claim.text), _find_names(claim.text)
    strange = any(not any(source.has(name) for source in sources) for name in names)
    named = frozenset[tuple[str, str]]().union(*(source.named for source in sources))
    shares = [_weigh_coverage(weights, each.bag, each.heading.bag) for each in windows]
    enough = _COMPARABLE_SHARE * max(shares, default=0.0)
    found: list[tuple[float, _Window]] = []
    for share, each in zip(shares, windows, strict=True):
        yield
        if _contradicts(said, [line.said for line in each.lines], each.heading.said, named):
            found.append((_CONTRADICTION_FACTOR * share, each))
        elif share >= enough:
            found.append((share, each))
    score = max((share for share, _ in found), default=0.0) * (
        _UNKNOWN_NAME_FACTOR if strange else 1.0
    )
    supported, quote = None if foreign else False, None
    if score >= _MIN_COVERAGE:
        _, best = max(found, key=lambda each: each[0] - _COST_PER_LINE * len(each[1].lines))
        supported, quote = True, " ".join(line.text for line in best.lines)
    return SentenceCheck(
        sentence=claim.text,
        markers=claim.markers,
        supported=supported,
        score=round(score, 3),
        quote=quote,
    )


def _is_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin."""
    return 2 * len(_LATIN.findall(text)) >= sum(map(str.isalpha, text))


def _weigh_terms(text: str, language: str, rarity: Callable[[str], float]) -> dict[str, float]:
    names = {term for name in _NAME.findall(text) for term in _read_terms(name, language)}
    return {
        term: rarity(term) * (_NAME_WEIGHT if term in names else 1.0)
        for term in _read_terms(text, language)
    }


def _find_names(text: str) -> list[str]:
    return [re.sub(r"['’]s?$", "", name) for name in _NAME.findall(text) if not name.isdecimal()]


def _read_terms(text: str, language: str) -> list[str]:
    """Return the terms of `text` without contractions, with numbers in digits."""
    plain = _CONTRACTED.sub("", text)
    return [_spell_in_digits(term) for term in terms(plain, language)]


def _find_best_windows(weights: Mapping[str, float], source: _CitedPassage) -> list[_Window]:
    """Return the windows with the best coverage, preferring short ones."""
    above = {each: _weigh_coverage(weights, frozenset(), each.bag) for each in source.headings}

    def value(each: _Window) -> float:
        # Fast path: most windows share no term with the claim.
        nothing = each.bag.isdisjoint(weights)
        share = (
            above[each.heading] if nothing else _weigh_coverage(weights, each.bag, each.heading.bag)
        )
        return share - _COST_PER_LINE * len(each.lines)

    return heapq.nlargest(_MAX_WINDOWS, source.windows, key=value)


def _weigh_coverage(
    weights: Mapping[str, float], bag: frozenset[str], heading: frozenset[str]
) -> float:
    """Return the weighted share of the terms that are in a window or its heading."""
    here = weights.keys() & bag
    above = (weights.keys() & heading) - here
    found = math.fsum(map(weights.__getitem__, here))
    found += _HEADING_WEIGHT * math.fsum(map(weights.__getitem__, above))
    return found / math.fsum(weights.values())
