"""Answer without a language model: quote the section that answers best, in whole units.

A unit is a paragraph, a list item or a table row, with the code after it. Units stand in sections,
one for each heading or question of a FAQ. Terms of the question are weighted by their rarity in the
book, so the topic outranks words such as "option".

The best section has a heading that asks the same, or the unit that covers most of the question. A
unit inherits a part of the terms above it: "It is made of steel" answers a question on what the
heading names. Of a section whose heading asks the same, the beginning is quoted, of another one the
best unit with what it needs: a list with its introduction and from its first step, a row with the
names of its columns, code with its sentence. Another section follows only if it has terms of the
question that are missing so far. If much is missing, the best sentences of all passages follow.
"""

import math
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile, zip_longest
from typing import Final

from lib.citations import Citation, Citations
from lib.languages import languages, page_language, words
from lib.markdown_page import GOES_ON
from lib.ranking import Passage, inverse_document_frequency
from lib.sentences import STOPS, Sentence, split_passage
from lib.terms import terms

_MAX_CHARACTERS: Final = 1_100
"""Maximum characters of all text together; a first list may be longer. Of a longer paragraph, the
best sentences are quoted."""
_MAX_CODE_CHARACTERS: Final = 3_300
"""Maximum characters of all code together. Of a longer block, the beginning is shown."""
_MAX_LOOSE_CODE: Final = 600
"""Maximum characters of code that no sentence introduces and that has no more of the question."""
_SHORT_LIST: Final = 250
"""A list of up to so many characters that nothing introduces is quoted whole."""
_MAX_LISTED: Final = 12
"""Maximum items or rows of a list or table."""
_MAX_PASSAGES: Final = 3
_MAX_READ: Final = 200
"""Maximum sentences of a passage that are considered."""

_CONTEXT_SHARE: Final = 0.6
"""Weight of terms in the heading and the introduction, relative to the unit's own."""
_OPENING_WEIGHT: Final = 0.3
"""Added to a unit that begins with the terms of the question, as a definition does."""
_HEADING_WEIGHT: Final = 0.5
"""Added to a section whose heading consists of the question's terms."""
_SAME_HEADING_WEIGHT: Final = 0.8
"""Added to a section whose heading asks the same."""
_PASSAGE_WEIGHT: Final = 0.5
"""Weight of the passage's score relative to the best one..."""
_RANK_WEIGHT: Final = 0.2
"""...and of its rank."""
_QUESTION_SHARE: Final = 0.4
"""Weight of a unit that asks, such as an exercise, relative to others."""
_MIN_NEW_TERMS: Final = 2
_REPEAT_SHARE: Final = 0.7
"""Weight of a unit that only repeats the question, such as the title of a page."""
_BARE_CODE_SHARE: Final = 0.7
"""Weight of code without a sentence."""
_SAME_HEADING: Final = 0.6
"""A heading with this match asks the same: its section answers, and nothing is added to it."""
_COMPLETE_SHARE: Final = 0.8
"""Units of a list with this share of the best one's weight are quoted with it."""
_KNOWN_SHARE: Final = 0.33
"""If no section has this share of the question, it uses other words or another language, and the
order of the passages decides."""
_COVERED_SHARE: Final = 0.8
"""Nothing is added to units that cover this share of the question."""
_MIN_WEIGHT_SHARE: Final = 0.6
_MAX_ADDED: Final = 3
"""Maximum sentences added otherwise, each with this share of the best one's weight."""
_REDUNDANT_OVERLAP: Final = 0.6
"""A sentence is redundant if a unit has this share of its terms."""
_MAX_GAP: Final = 10
"""Maximum characters between two parts of a section, such as empty lines."""
_MIN_ADDED: Final = 0.3
"""Minimum share of the question in a further unit that the answer lacks."""


@dataclass(frozen=True, slots=True)
class _Extract:
    """Sentences quoted from one section of passage `number` (from 1), in reading order."""

    number: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A paragraph, item or row of passage `number`, with the code after it."""

    number: int
    sentences: tuple[Sentence, ...]
    terms: frozenset[str]
    near: frozenset[str]
    """Terms of the heading, of the introduction and of the names of columns."""
    above: frozenset[str] = frozenset()
    """Terms of the headings further up."""

    @property
    def first(self) -> Sentence:
        return self.sentences[0]

    @property
    def last(self) -> Sentence:
        return self.sentences[-1]

    @property
    def blocks(self) -> set[tuple[int, int]]:
        return {(self.number, each.block) for each in self.sentences}

    @property
    def characters(self) -> int:
        return sum(len(each.text) for each in self.sentences)

    @property
    def code(self) -> int:
        return sum(len(each.code) for each in self.sentences)

    @property
    def introduces(self) -> bool:
        """Whether it needs a list, a table or code after it."""
        return _introduces(self.last) and not self.last.code

    @property
    def is_whole(self) -> bool:
        """Whether its code, if any, has its beginning."""
        return all(each.code.split("\n")[1:2] != [GOES_ON] for each in self.sentences)

    @property
    def asks(self) -> bool:
        return self.last.text.endswith(_QUESTION_MARKS)


_QUESTION_MARKS: Final = ("?", "？", "؟")
_ENDS: Final = tuple(STOPS) + tuple("\"'”’»)]）」』")
"""Ends of text that needs nothing after it."""
_COLONS: Final = (":", "：")


@dataclass(frozen=True, slots=True)
class _Section:
    """The units under one heading or question."""

    heading: frozenset[str]
    """Terms of the heading; empty if the passage continues the section."""
    units: Sequence[_Unit]
    place: tuple[str, str | None, str]
    """File, address and heading, which the parts of a section in several passages share."""
    start: int
    """Offset in the file..."""
    end: int
    """...and that of the passage's end."""

    @property
    def asks(self) -> bool:
        """Whether its heading is a question, as in a FAQ."""
        return self.place[2].endswith(_QUESTION_MARKS)


def extract_in_steps(
    asked: Mapping[str, float], passages: Sequence[Passage]
) -> Generator[None, None, list[_Extract]]:
    """Extract the units that answer best, those of the best section first.

    `asked` holds the weights of the question's terms (`lib.ranking.weigh_terms`). Yields
    between steps of up to 2 ms. Empty only if no passage has text or code.
    """
    question = _Question(asked)
    sections: list[_Section] = []
    whole: list[_Section] = []
    most_covered = 0.0
    for number, passage in enumerate(passages, start=1):
        for section in _read_sections(number, passage):
            sections.append(section)
            if units := _whole_units(section.units):
                whole.append(replace(section, units=units))
            most_covered = max(most_covered, question.share_of_section(section))
            yield
        yield
    sections = whole or sections
    if most_covered < _KNOWN_SHARE:
        question = _Question({})
    most = max((each.score for each in passages), default=0.0) or 1.0
    priors = [
        _PASSAGE_WEIGHT * each.score / most + _RANK_WEIGHT / number
        for number, each in enumerate(passages, start=1)
    ]
    weights: list[float] = []
    for section in sections:
        weights.append(priors[section.units[0].number - 1] + question.weigh_section(section))
        yield
    ranked = sorted(range(len(sections)), key=lambda i: (-weights[i], i))
    taken: list[_Unit] = []
    for index in ranked:
        yield
        if not taken or question.adds(sections[index], taken):
            taken += _fitting(taken, question.choose(sections[index], taken))
        last = sections[index]
        if taken and (question.is_asked_by(last) or (index == ranked[0] and last.asks)):
            for following in _continuations(last, sections):
                if taken[-1].first.block != last.units[-1].first.block:
                    break
                taken += _fitting(taken, question.from_beginning(following.units))
                last = following
            break
    else:
        if not question.is_covered_by(taken):
            taken += yield from _other_sentences(question, sections, priors, taken)
    extracts: dict[tuple[int, int], list[_Unit]] = {}
    for unit in taken:
        extracts.setdefault((unit.number, unit.first.section), []).append(unit)
    return [
        _Extract(number, tuple(_quote(passages[number - 1], units)))
        for (number, _), units in extracts.items()
    ]


def _read_sections(number: int, passage: Passage) -> Iterator[_Section]:
    """Yield the sections of a passage. A paragraph that only asks begins another one."""
    sentences = split_passage(passage)[:_MAX_READ]
    for index, group in groupby(sentences, key=lambda sentence: sentence.section):
        heading = passage.sections[index].heading
        within = frozenset(terms(heading))
        above = frozenset(terms(f"{passage.chapter} {passage.sections[index].section}"))
        begins = index or heading == passage.chapter or _begins_with(passage.text, heading)
        held = within if begins else frozenset[str]()
        place = passage.file_path, passage.sections[index].url, heading
        span = passage.sections[index].start_char, passage.end_char
        units: list[_Unit] = []
        introduction = frozenset[str]()
        for _, block in groupby(group, key=lambda sentence: sentence.block):
            unit = _make_unit(number, tuple(block))
            if unit is None:
                continue
            if units and unit.asks and len(unit.sentences) == 1 and not unit.first.listed:
                yield _Section(held, _without_dangling(units), place, *span)
                units, held = [], unit.terms
            if not unit.first.listed:
                introduction = unit.terms if unit.introduces else frozenset()
            near = within | held | introduction | unit.near
            units.append(replace(unit, near=near, above=above))
        if units:
            yield _Section(held, _without_dangling(units), place, *span)


def _whole_units(units: Sequence[_Unit]) -> list[_Unit]:
    """Return the units without code that begins inside, and without a last one that introduces."""
    whole = [each for each in units if each.is_whole]
    while whole and whole[-1].introduces:
        whole.pop()
    return whole


def _continuations(section: _Section, sections: Sequence[_Section]) -> Iterator[_Section]:
    """Yield the next parts of a section that is in several passages, up to a gap."""
    parts = [each for each in sections if each.place == section.place and not each.heading]
    for part in sorted(parts, key=lambda part: part.start):
        if 0 <= part.start - section.end <= _MAX_GAP:
            yield part
            section = part


def _begins_with(text: str, heading: str) -> bool:
    """Whether `text` begins with this heading, or with others above it."""
    first, *lines = text.lstrip().split("\n", 20)
    above = takewhile(lambda line: not line.strip() or line.startswith("#"), lines)
    bare = _NO_WORD.sub("", heading)
    return any(_NO_WORD.sub("", line).startswith(bare) for line in (first, *above) if line)


def _without_dangling(units: Sequence[_Unit]) -> list[_Unit]:
    """Drop sentences that introduce something that does not follow, unless nothing else is left."""
    kept = []
    for unit, following in zip_longest(units, units[1:]):
        if unit.introduces and not (following and following.first.listed):
            unit = replace(unit, sentences=unit.sentences[:-1])
        if unit.sentences:
            kept.append(unit)
    return kept or list(units)


_NO_WORD: Final = re.compile(r"\W++")


def _make_unit(number: int, sentences: Sequence[Sentence]) -> _Unit | None:
    """None if nothing is left without the code that is too long."""
    kept = [
        replace(each, code=_beginning_of(each.code))
        if len(each.code) > _MAX_CODE_CHARACTERS
        else each
        for each in sentences
    ]
    kept = [each for each in kept if each.text or each.code]
    if not kept:
        return None
    first = kept[0]
    if first.header:  # a row is quoted by its cells
        text, kept = " ".join(first.cells), [replace(first, text=" ".join(s.text for s in kept))]
    else:
        text = " ".join(f"{each.label} {each.text} {each.code}" for each in kept)
    header = frozenset(terms(" ".join(first.header)))
    return _Unit(number, tuple(kept), frozenset(terms(text)), header)


def _beginning_of(code: str) -> str:
    """Cut code blocks between lines, with a mark that they go on; empty if no line fits."""
    lines = code[: _MAX_CODE_CHARACTERS - 100].split("\n")[:-1]
    opening = ""
    for line in lines:
        if opening:
            opening = "" if line == opening else opening
        elif line.startswith("```"):
            opening = line[: len(line) - len(line.lstrip("`"))]
    if lines and opening and lines[-1].startswith(opening):
        return ""
    return "\n".join([*lines, GOES_ON, opening] if opening else lines)


class _Question:
    """Weighs units by the share of a question that they cover, 0 to 1."""

    def __init__(self, asked: Mapping[str, float]) -> None:
        self._asked = asked
        self._total = math.fsum(asked.values()) or 1.0

    def share(self, held: frozenset[str]) -> float:
        return math.fsum(self._asked[term] for term in self._asked.keys() & held) / self._total

    def weigh_unit(self, unit: _Unit) -> float:
        context = (unit.near | unit.above) - unit.terms
        weight = self.share(unit.terms) + _CONTEXT_SHARE * self.share(context)
        weight += _OPENING_WEIGHT * max(map(self._share_of_opening, unit.sentences))
        if not unit.first.text:
            weight *= _BARE_CODE_SHARE
        if len(unit.terms - self._asked.keys()) < _MIN_NEW_TERMS:
            weight *= _REPEAT_SHARE
        return weight * _QUESTION_SHARE if unit.asks else weight

    def share_of_section(self, section: _Section) -> float:
        held = (each.terms | each.near | each.above for each in section.units)
        return self.share(frozenset[str]().union(*held))

    def _share_of_opening(self, sentence: Sentence) -> float:
        text = sentence.cells[0] if sentence.cells else sentence.text
        return self.share(frozenset(takewhile(self._asked.__contains__, terms(text))))

    def weigh_section(self, section: _Section) -> float:
        best = max(map(self.weigh_unit, section.units))
        best += _HEADING_WEIGHT * self._match(section.heading)
        return best + _SAME_HEADING_WEIGHT * self.is_asked_by(section)

    def _match(self, heading: frozenset[str]) -> float:
        """The share of the question in a heading, times the share of the heading in it."""
        both = heading & self._asked.keys()
        return self.share(both) * len(both) / len(heading) if heading else 0.0

    def is_asked_by(self, section: _Section) -> bool:
        return self._match(section.heading) >= _SAME_HEADING

    def is_covered_by(self, taken: Sequence[_Unit]) -> bool:
        own = frozenset[str]().union(*(each.terms for each in taken))
        context = frozenset[str]().union(*(each.near | each.above for each in taken))
        return self.share(own) + _CONTEXT_SHARE * self.share(context - own) >= _COVERED_SHARE

    def adds(self, section: _Section, taken: Sequence[_Unit]) -> bool:
        """Whether a section has enough of the question that the units taken lack."""
        known = frozenset[str]().union(*(each.terms | each.near | each.above for each in taken))
        added = max(self.share(each.terms - known) for each in section.units)
        best = max(map(self.weigh_unit, taken))
        return (
            added >= _MIN_ADDED
            and max(map(self.weigh_unit, section.units)) >= best * _COMPLETE_SHARE
        )

    def choose(self, section: _Section, taken: Sequence[_Unit]) -> list[_Unit]:
        """Choose the units to quote of a section, in reading order."""
        units = section.units
        if self.is_asked_by(section) or not any(self.share(each.terms) for each in units):
            return self.from_beginning(units)
        known = frozenset[str]().union(*(each.terms for each in taken))
        weights = [self.weigh_unit(each) - self.share(each.terms & known) for each in units]
        best = max(range(len(units)), key=lambda i: (weights[i], -i))
        return [
            self.without_loose_code(self._shortened(each))
            for each in self._with_companions(units, best)
        ]

    def _shortened(self, unit: _Unit) -> _Unit:
        """Return the sentences of a long paragraph that have most of the question."""
        sentences = unit.sentences
        if unit.characters <= _MAX_CHARACTERS or unit.first.listed:
            return unit
        bags = [frozenset(terms(each.text)) for each in sentences]
        local = self.within(bags)
        shares = [
            local.share(bag) + _CONTEXT_SHARE * local.share(before - bag)
            for before, bag in zip([frozenset[str](), *bags], bags, strict=False)
        ]
        kept: set[int] = set()
        size = 0
        for place in sorted(range(len(sentences)), key=lambda i: (-shares[i], i)):
            together = {place, max(0, place - _points_back(sentences[place]))}
            size += sum(len(sentences[each].text) for each in together - kept)
            if kept and (size > _MAX_CHARACTERS or not shares[place]):
                break
            kept |= together
        return replace(unit, sentences=tuple(sentences[each] for each in sorted(kept)))

    def within(self, bags: Sequence[frozenset[str]]) -> "_Question":
        """The same question among texts that share its topic, which therefore counts less."""
        held = Counter(term for bag in bags for term in bag & self._asked.keys())
        return _Question(
            {
                term: weight * inverse_document_frequency(len(bags), held[term])
                for term, weight in self._asked.items()
            }
        )

    def without_loose_code(self, unit: _Unit) -> _Unit:
        """Drop long code that nothing introduces, unless it has more of the question."""
        last = unit.last
        said = frozenset(terms(" ".join(each.text for each in unit.sentences)))
        if (
            len(last.code) <= _MAX_LOOSE_CODE
            or not last.text
            or last.text.endswith(_COLONS)
            or self.share(unit.terms - unit.near - said) >= _MIN_ADDED
        ):
            return unit
        return replace(unit, sentences=(*unit.sentences[:-1], replace(last, code="")))

    def from_beginning(self, units: Sequence[_Unit]) -> list[_Unit]:
        return [self.without_loose_code(each) for each in _whole_lists(units)]

    def _with_companions(self, units: Sequence[_Unit], best: int) -> list[_Unit]:
        """Return a unit with those that it needs to be understood."""
        unit = units[best]
        if not unit.first.listed:
            start = best - _points_back(unit.first) if best else best
            end = best + 1
            leads = unit.introduces or _is_first_step(units[end : end + 1])
            while leads and end < len(units) and units[end].first.listed:
                end += 1
            return list(_whole_lists(units[start:end]))
        start, end = _list_around(units, best)
        run = list(units[start:end])
        own = [self.share(each.terms) for each in run]
        before = units[start - 1 : start] if start and units[start - 1].introduces else []
        size = sum(each.characters for each in run)
        short = size <= _SHORT_LIST and not before and not (unit.first.header or unit.first.label)
        # Not if the whole list is what is asked for.
        if not (_is_ordered(run) or short) and own[best - start] >= self.share(unit.near):
            enough = _COMPLETE_SHARE * own[best - start]
            run = [each for each, share in zip(run, own, strict=True) if share >= enough]
        return list(_whole_lists([*before, *run]))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence of a paragraph, with the one before if it refers to that."""

    unit: _Unit
    terms: frozenset[str]
    context: frozenset[str]
    """Terms of the headings and of the sentence before."""


def _candidates(section: _Section) -> Iterator[_Candidate]:
    """Yield sentences that can be quoted alone: those that introduce nothing."""
    last: Sentence | None = None
    before = frozenset[str]()
    for unit in section.units:
        for sentence in () if unit.first.listed else unit.sentences:
            held = frozenset(terms(f"{sentence.label} {sentence.text}"))
            if len(held) > 1 and not sentence.code and not sentence.text.endswith(_COLONS):
                needed = (last, sentence) if last and _points_back(sentence) else (sentence,)
                alone = replace(unit, sentences=needed)
                yield _Candidate(alone, held, unit.near | unit.above | before)
            last, before = sentence, held


def _other_sentences(
    question: "_Question",
    sections: Sequence[_Section],
    priors: Sequence[float],
    taken: Sequence[_Unit],
) -> Generator[None, None, list[_Unit]]:
    """Choose sentences with nearly as much of the question as any, beside the units taken.

    `priors`: a weight for each passage.
    """
    candidates: list[_Candidate] = []
    for section in sections:
        candidates += _candidates(section)
        yield
    local = question.within([each.terms for each in candidates])
    weights: list[float] = []
    for each in candidates:
        weight = local.share(each.terms) + _CONTEXT_SHARE * local.share(each.context - each.terms)
        weight *= _QUESTION_SHARE if each.unit.asks else 1.0
        weights.append(weight + priors[each.unit.number - 1])
    yield
    said = [each.terms for each in taken]
    blocks = {block for each in taken for block in each.blocks}
    added: list[_Unit] = []
    enough = _MIN_WEIGHT_SHARE * max(weights, default=0.0)
    for index in sorted(range(len(candidates)), key=lambda i: (-weights[i], i)):
        if weights[index] < enough or len(added) == _MAX_ADDED:
            break
        new = candidates[index]
        overlap = max(len(new.terms & each) for each in said)
        if (
            blocks.isdisjoint(new.unit.blocks)
            and overlap < _REDUNDANT_OVERLAP * len(new.terms)
            and local.share(new.terms)
            and _fitting([*taken, *added], [new.unit])
        ):
            said.append(new.terms)
            blocks |= new.unit.blocks
            added.append(new.unit)
        yield
    return added


def _list_around(units: Sequence[_Unit], place: int) -> tuple[int, int]:
    """Return where the list or table around a unit begins and ends."""
    start, end = place, place + 1
    while start and units[start - 1].first.listed:
        start -= 1
    while end < len(units) and units[end].first.listed:
        end += 1
    return start, end


def _is_first_step(units: Sequence[_Unit]) -> bool:
    return any(each.first.list_marker in ("1.", "1)") for each in units)


def _is_ordered(run: Sequence[_Unit]) -> bool:
    return run[0].first.list_marker[:1].isdigit()


def _whole_lists(units: Sequence[_Unit]) -> Iterator[_Unit]:
    """Yield the units, without the rest of a list whose first steps are missing."""
    for listed, group in groupby(units, key=lambda unit: unit.first.listed):
        run = list(group)
        if not (listed and _is_ordered(run) and int(run[0].first.list_marker[:-1]) > 1):
            yield from run[:_MAX_LISTED] if listed else run


def _points_back(sentence: Sentence) -> bool:
    """Whether a sentence begins with a word that refers to something before it."""
    pointing = languages()[page_language(sentence.text)].pointing.split()
    return any(word in pointing for word in words(sentence.text[:20])[:1])


def _introduces(sentence: Sentence) -> bool:
    return sentence.text.endswith(_COLONS) and not sentence.listed


def _quote(passage: Passage, units: Sequence[_Unit]) -> list[Sentence]:
    """Return the sentences of units in reading order, with a heading above code alone.

    Captions, and sentences that introduce something that does not follow, are left out.
    """
    ordered = sorted(units, key=lambda unit: unit.first.block)
    sentences = [
        each
        if each.text
        else replace(each, text=passage.sections[each.section].heading, markdown="")
        for unit in ordered
        for each in unit.sentences
    ]
    followed = zip_longest(sentences, sentences[1:])
    kept = [
        each
        for each, following in followed
        if each.code or each.listed or each.text.endswith(_ENDS) or (following and following.listed)
    ]
    return kept or sentences


def _fitting(taken: Sequence[_Unit], units: Sequence[_Unit]) -> list[_Unit]:
    """Return the first of `units` that are within the limits, together with those taken."""
    quoted = list(taken)
    for unit in units:
        with_it = [*quoted, unit]
        if quoted and (
            len({each.number for each in with_it}) > _MAX_PASSAGES
            or sum(each.characters for each in with_it) > _MAX_CHARACTERS
            or sum(each.code for each in with_it) > _MAX_CODE_CHARACTERS
        ):
            break
        quoted = with_it
    return quoted[len(taken) :]


def render_extracts(extracts: Sequence[_Extract], citations: Citations) -> Iterator[str | Citation]:
    """Yield the answer as Markdown, with each citation after its first marker."""
    for extract in extracts:
        before: Sentence | None = None
        for place, sentence in enumerate(extract.sentences):
            if before is not None:
                yield _separator_between(before, sentence)
            marker, citation = citations.cite(extract.number, quoted=extract.sentences[place:])
            if sentence.header:
                yield _row(before, sentence, marker)
            elif sentence.text:
                yield f"{_lead(before, sentence)}{sentence.markdown} {marker}"
            else:  # code without a sentence has its marker below
                yield sentence.code
                yield f"\n\n{marker}"
            if citation:
                yield citation
            if sentence.text and sentence.code:
                yield f"\n\n{sentence.code}"
            before = sentence
        yield "\n\n"


def _row(before: Sentence | None, row: Sentence, marker: str) -> str:
    """Return a row of a table, below the names of its columns if it is the first."""
    cells = [*row.cells, *[""] * (len(row.header) - len(row.cells))]
    lines = [[*cells[:-1], f"{cells[-1]} {marker}".strip()]]
    if before is None or before.header != row.header:
        lines = [list(row.header), ["---"] * len(cells), *lines]
    return "\n".join(
        f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines
    )


def _separator_between(before: Sentence, sentence: Sentence) -> str:
    if before.code or (sentence.code and not sentence.text) or before.header != sentence.header:
        return "\n\n"
    if _is_same_block(before, sentence):
        return " "
    return "\n" if before.listed and sentence.listed else "\n\n"


def _is_same_block(before: Sentence | None, sentence: Sentence) -> bool:
    return before is not None and not before.code and before.block == sentence.block


def _lead(before: Sentence | None, sentence: Sentence) -> str:
    """Return the list marker and the label that go before a sentence."""
    lead = ""
    if sentence.listed and not _is_same_block(before, sentence):
        lead = f"{sentence.list_marker or '-'} "
    if sentence.label and (before is None or before.label != sentence.label):
        lead += f"{sentence.label}: "
    return lead
