"""Parse a query, score its candidate chunks from 0 to 1, and select passages.

Two measurements per chunk, comparable across books:

- *coverage*: BM25 divided by the maximum a chunk could reach for this question, so the share of the
  question's rare words that the chunk contains;
- *similarity*: the cosine, scaled so that 0 is typical of unrelated texts and 1 of an answer.

The sum of both is weighted. If a chunk contains nearly all words of the question, similarity only
breaks ties. If none does, similarity weighs more. It weighs most for a question in another
language than the book's. Reciprocal rank fusion would discard how good each hit is.

A heading that asks the same raises a chunk. The top hits are reranked by adjacent word pairs that
they share with the question, and by sentences that begin with its words, since a definition does.
This takes 1 to 3 ms and ranks the answer first more often.

The score is the sum on a logistic curve, fitted by `benchmarks/retrieval.py`. The book answers half
of the questions whose best chunk scores 0.5.

Query syntax: words, "quoted phrases" and restrictions: `file:`, `path:`, `chapter:`, `kind:`,
`version:`, `locale:`, `lang:`. Quote a value with spaces. A restriction without other words is
read as words, because a question may be about `version:` itself.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, starmap, takewhile
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Annotated, Final, TypeVar
from urllib.parse import urljoin

import msgspec

from lib.embedding import Similarity
from lib.languages import may_be_in, normalize
from lib.markdown_page import Edit, apply_edits, shift
from lib.store import Candidates, Hit, Manifest, Section, StoredChunk
from lib.terms import (
    CEILING,
    SparseVector,
    split_terms,
    term_number,
    terms,
    terms_of_chunk,
    without_small_words,
)

_FIELDS: Final = {
    "file": "paths",
    "path": "paths",
    "chapter": "chapter",
    "kind": "kind",
    "version": "version",
    "locale": "locale",
    "lang": "locale",
}
_RESTRICTION: Final = re.compile(
    rf"(?<!\S)(?P<name>{'|'.join(_FIELDS)}):(?:\"(?P<quoted>[^\"]++)\"|(?P<bare>[^\s\":]++))(?!\S)",
    re.IGNORECASE,
)
_PHRASE: Final = re.compile(r"\"([^\"]{2,200}+)\"|“([^“”]{2,200}+)”|«([^«»]{2,200}+)»")
_MAX_PHRASES: Final = 10
"""Each is looked for in every candidate."""


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    text: str
    """The text to embed, without the restrictions."""
    only: Mapping[str, str]
    """Restrictions: values by field of `lib.store.FILTERS`."""
    phrases: tuple[str, ...]
    """Normalized by `_normalize_text`, without quotation marks."""


def parse_query(text: str) -> ParsedQuery:
    """Split `text` into restrictions, phrases and the rest."""
    only: dict[str, str] = {}
    for found in _RESTRICTION.finditer(text):
        field, value = _FIELDS[found["name"].lower()], found["quoted"] or found["bare"]
        only[field] = value.lower().strip("/") if field == "paths" else value
    rest = " ".join(_RESTRICTION.sub(" ", text).split()) if only else text
    if not re.search(r"\w", rest):
        rest, only = text, {}
    phrases = (
        _normalize_text(next(filter(None, found.groups()))) for found in _PHRASE.finditer(rest)
    )
    return ParsedQuery(rest, only, tuple(phrase for phrase in phrases if phrase)[:_MAX_PHRASES])


def _normalize_text(text: str) -> str:
    """Normalize case, white space and Unicode, so that equal words compare equal."""
    return " ".join(normalize("NFC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit with its weighted sum."""

    hit: Hit
    total: float
    label: Section | None = None
    """The section of the hit, or the heading without text, that matches the question best."""
    heading: float = 0.0
    """How far one of its headings asks the same, 0 to 1."""

    @property
    def score(self) -> float:
        """The estimated probability that the hit answers, 0 to 1."""
        return 1 / (1 + math.exp(-_STEEPNESS * (self.total - _MIDDLE)))


_SIMILARITY_WEIGHT: Final = 0.05
_UNCOVERED_WEIGHT: Final = 0.3
"""Additional weight of similarity, multiplied by 1 minus the best coverage."""
_FOREIGN_WEIGHT: Final = 0.7
"""Weight of similarity for a question in another language than the book's."""
_FOREIGN_SHARE: Final = 0.5
"""If the book contains this share of the question's words, its language is the book's."""
_PHRASE_WEIGHT: Final = 1.0
"""Added for a chunk that contains all quoted phrases."""
_PAIR_WEIGHT: Final = 0.2
"""Added for a chunk that contains all adjacent word pairs of the question."""
_HEADING_WEIGHT: Final = 0.2
"""Added for a chunk with a heading that consists of the question's terms."""
_EXACT_HEADING: Final = 2.0
"""Counts instead of that share, at most 1, if the heading is the question."""
_HEADING_COVERAGE: Final = 0.5
"""Coverage by such a heading, which the chunk's own words lack if it is known by a link's text."""
_ENDS_OF_QUESTION: Final = " ?!.？！。؟"
_OPENING_WEIGHT: Final = 0.05
"""Added for a chunk with a sentence, item, row or emphasis that begins with all of the question's
terms."""
_RERANKED: Final = 20
_SATURATION: Final = 1.2
"""BM25's k1 for the sections of a chunk."""
_STEEPNESS: Final = 7.5
_MIDDLE: Final = 0.42
"""Steepness and midpoint of the logistic curve over the weighted sum."""


def rank(
    query: ParsedQuery,
    asked: Sequence[SparseVector],
    found: Candidates,
    manifest: Manifest,
    similarity: Similarity | None,
) -> list[Ranked]:
    """Score the hits of `found` and sort them, best first; ties by id.

    `asked` holds the question's terms in each language of the book. Without `similarity` (the
    embedder is unavailable) only coverage counts.
    """
    # The question's language is the one whose terms the book contains most of.
    most = min(max_bm25(each, found, manifest.chunks) for each in asked)
    coverages = [hit.bm25 / most for hit in found.hits]
    known = max(_share_of_known_terms(each, found) for each in asked)
    if known < _FOREIGN_SHARE and not may_be_in(query.text, manifest.languages):
        weight = _FOREIGN_WEIGHT
    else:
        uncovered = 1 - max(coverages, default=0.0)
        weight = _SIMILARITY_WEIGHT + _UNCOVERED_WEIGHT * max(0.0, uncovered)
    wording = _Wording(query.text, found, manifest)
    ranked = []
    for hit, total in zip(found.hits, coverages, strict=True):
        heading = wording.share_of_heading(hit.chunk)
        total = max(total, _HEADING_COVERAGE * min(1.0, heading)) + _HEADING_WEIGHT * heading
        if similarity is not None:
            total += weight * similarity.scaled(hit.cosine)
        if query.phrases:
            text = _normalize_text(hit.chunk.content)
            contained = sum(phrase in text for phrase in query.phrases)
            total += _PHRASE_WEIGHT * contained / len(query.phrases)
        ranked.append(Ranked(hit, total, wording.best_label(hit.chunk), min(1.0, heading)))
    ranked.sort(key=sort_key)
    again = [
        replace(
            each,
            total=each.total
            + _PAIR_WEIGHT * wording.share_of_pairs(each.hit.chunk.content)
            + _OPENING_WEIGHT * wording.share_of_opening(each.hit.chunk.content),
        )
        for each in ranked[:_RERANKED]
    ]
    return sorted(again, key=sort_key) + ranked[_RERANKED:]


def sort_key(ranked: Ranked) -> tuple[float, str]:
    return -ranked.total, ranked.hit.chunk.chunk_id


class _Wording:
    """The terms of a question by language, and adjacent pairs of them, weighted by rarity.

    Every share is 0 to 1, that of the language with the largest.
    """

    def __init__(self, text: str, found: Candidates, manifest: Manifest) -> None:
        rarity = found.rarity
        self._links = _links_in(found.hits)
        rarest = inverse_document_frequency(manifest.chunks, 0)
        self._text = _normalize_text(text).rstrip(_ENDS_OF_QUESTION)
        self._weights: dict[str, dict[str, float]] = {}
        self._pairs: dict[tuple[str, str], float] = {}
        for language in manifest.languages:
            asked = terms(text, language)
            self._weights[language] = {
                term: rarity.get(term_number(term), rarest) for term in asked
            }
            for pair in pairwise(asked):
                known = [rarity.get(term_number(term), 0.0) for term in pair]
                if all(known):
                    self._pairs[pair] = sum(known)
        self._all_pairs = sum(self._pairs.values())

    def share_of_pairs(self, text: str) -> float:
        """The share of pairs in `text`; 0 if the book cannot contain any."""
        if not self._all_pairs:
            return 0.0
        here = {
            pair
            for language in self._weights
            for pair in pairwise(terms_of_chunk(text, language))
            if pair in self._pairs
        }
        return sum(map(self._pairs.__getitem__, sorted(here))) / self._all_pairs

    def share_of_heading(self, chunk: StoredChunk) -> float:
        """The share of terms in one of the chunk's headings, times their share of that heading.

        The text of a link to it is a heading too: "upgrade" that leads to "Updates".
        """
        names = _headings_of(chunk)
        if self._links:
            held = [frozenset(terms_of_chunk(name)) for name in names]
            names = names.union(*(self._links.get(each, ()) for each in held))
        return max(map(self._share_of_heading, names))

    def best_label(self, chunk: StoredChunk) -> Section:
        """The section whose heading and text agree most with the question.

        A heading without text counts only if it consists of the question's terms.
        """
        sections = chunk.sections
        if len(sections) == 1 and not sections[0].above:
            return sections[0]
        content, starts = chunk.content, _section_starts(sections, chunk, chunk.edits)
        texts = [content[start:end] for start, end in pairwise([*starts, len(content)])]
        above = (each for section in sections for each in section.above)
        bare = [each for each in above if self._share_of_heading(each.heading) >= 1]
        labels = [*zip(sections, texts, strict=True), *((each, each.heading) for each in bare)]
        worth = (self._share_of_heading(each.heading) + self._bm25(text) for each, text in labels)
        return max(zip(worth, labels, strict=True), key=itemgetter(0))[1][0]

    def _share_of_heading(self, heading: str) -> float:
        if _normalize_text(heading).rstrip(_ENDS_OF_QUESTION) == self._text:
            return _EXACT_HEADING
        return max(
            (
                self._share(held & asked.keys(), asked) * len(held & asked.keys()) / len(held)
                for language, asked in self._weights.items()
                if (held := frozenset(terms_of_chunk(heading, language)))
            ),
            default=0.0,
        )

    def _bm25(self, text: str) -> float:
        """BM25 without a norm of the length, as a share of its limit."""
        found: list[float] = []
        for language, asked in self._weights.items():
            counts = Counter(filter(asked.__contains__, terms_of_chunk(text, language)))
            weighed = (asked[term] * n / (n + _SATURATION) for term, n in counts.items())
            found.append(math.fsum(weighed) / (math.fsum(asked.values()) or 1.0))
        return max(found)

    def share_of_opening(self, text: str) -> float:
        """The share of terms with which something in `text` begins."""
        return max(
            (
                self._share({*takewhile(asked.__contains__, opening)}, asked)
                for language, asked in self._weights.items()
                for opening in _openings_of(text, language)
            ),
            default=0.0,
        )

    @staticmethod
    def _share(held: Iterable[str], asked: Mapping[str, float]) -> float:
        total = math.fsum(asked.values())
        return math.fsum(map(asked.__getitem__, held)) / total if total else 0.0


_CODE: Final = re.compile(
    r"^[ \t]*+(`{3,}+|~{3,}+)[^\n]*+\n(?:(?![ \t]*+\1)[^\n]*+\n?+)*+", re.MULTILINE
)
_HEADING: Final = re.compile(r"^#{1,6} ++([^\n]++)", re.MULTILINE)
_OPENING: Final = re.compile(
    r"(?:\A|\n\n|^[ \t]*+(?:[>|*+-]++|\d++[.)])|[.!?:](?=\s)|(?<![\w*_])[*_]{1,3}+)\s{0,9}+"
    r"(?=((?:[^\n|*]|\n(?=[ \t]*+\w)){2,60}+))",
    re.MULTILINE,
)
_OPENING_TERMS: Final = 4
_MAX_NAMES: Final = 60
"""Headings, openings or links of a chunk that are read: a page of single letters has hundreds."""


def _headings_of(chunk: StoredChunk) -> set[str]:
    """The headings of a chunk, also those without text, which no section has."""
    headings = {each.heading for each in chunk.sections}
    if chunk.kind != "code":
        found = _HEADING.finditer(_CODE.sub("", chunk.content))
        headings.update(each[1] for each in islice(found, _MAX_NAMES))
    return headings if chunk.ordinal else headings | {chunk.chapter}


@functools.lru_cache(maxsize=2_000)  # readers ask about the same passages
def _openings_of(text: str, language: str) -> tuple[list[str], ...]:
    """The first terms of each sentence, item, row and emphasised text."""
    prose = _CODE.sub("", text)
    return tuple(
        terms(found[1], language)[:_OPENING_TERMS]
        for found in islice(_OPENING.finditer(prose), _MAX_NAMES)
    )


_LINK: Final = re.compile(r"(?<!!)\[([^\[\]\n]{2,80}+)\]\(([^()\s]{1,300}+)\)")
_MAX_LINKED_WORDS: Final = 4
"""The text of a link with more words is a sentence, not a name."""


def _links_in(hits: Iterable[Hit]) -> dict[frozenset[str], set[str]]:
    """Return the texts of links in the hits, by the terms of the anchor or page they lead to."""
    found: dict[frozenset[str], set[str]] = {}
    for hit in hits:
        for link in islice(_LINK.finditer(hit.chunk.content), _MAX_NAMES):
            text, target = link.groups()
            page, _, anchor = target.partition("#")
            if len(text.split()) <= _MAX_LINKED_WORDS:
                name = (anchor or PurePosixPath(page).stem).replace("-", " ")
                found.setdefault(frozenset(terms_of_chunk(name)), set()).add(text)
    return found


def weigh_terms(
    text: str, found: Candidates, ranked: Sequence[Ranked], languages: Sequence[str]
) -> dict[str, float]:
    """Return the English stems of a text with the rarity of their words in a book.

    `lib.extractive` compares stems of one language only; the book's words may have others. If the
    text names the best hit like a link to it, the words of its heading take their place.
    """
    rarity = found.rarity
    rarest = max(rarity.values(), default=1.0)
    weights: dict[str, float] = {}
    for word in split_terms(without_small_words(text, languages)):
        known = [
            rarity[number]
            for language in languages
            for term in terms(word, language)
            if (number := term_number(term)) in rarity
        ]
        for term in terms(word):
            weights[term] = max(known, default=rarest)
    names = _headings_of(ranked[0].hit.chunk) if ranked else ()
    headings = [frozenset(terms_of_chunk(name)) for name in names]
    for anchor, links in _links_in(found.hits).items():
        for link in map(terms, links if anchor in headings else ()):
            if link and all(term in weights for term in link) and not anchor <= weights.keys():
                weight = min(map(weights.pop, dict.fromkeys(link)))
                weights |= dict.fromkeys(anchor, weight)
    return weights


def _share_of_known_terms(weights: SparseVector, found: Candidates) -> float:
    return sum(term in found.rarity for term in weights.indices) / len(weights.indices)


def max_bm25(weights: SparseVector, found: Candidates, chunks: int) -> float:
    """Return the BM25 limit of a chunk with every term of the question.

    A term missing from the book counts as much as the rarest one. This lowers the coverage of
    questions about things that the book lacks.
    """
    rarest = inverse_document_frequency(chunks, 0)
    return CEILING * sum(found.rarity.get(term, rarest) for term in weights.indices)


def inverse_document_frequency(documents: int, containing: int) -> float:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), never negative."""
    return math.log(1 + (documents - containing + 0.5) / (containing + 0.5))


_T = TypeVar("_T")

_MAX_JOINED: Final = 2_000
"""Maximum characters of a passage joined from neighbouring chunks..."""
_MAX_JOINED_CODE: Final = 4_000
"""...and of one joined within a block of code, which nobody can use in part."""
_MIN_SHARE_OF_BEST: Final = 0.3
"""A chunk below this share of the best sum is dropped. A larger share leaves only two or three
passages where the first one is wrong."""
_ALWAYS_KEPT_MARGIN: Final = 0.1
"""A chunk this close to the best sum is always kept: for small sums, shares mean little."""
_TEXT_CACHE_SIZE: Final = 256
_DUPLICATE_OVERLAP: Final = 0.9
"""Share of common terms from which two texts count as duplicates."""


PLAIN: Final = "plain"
"""The `Passage.kind` of a reader's selection: plain text, which is never parsed as Markdown."""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved text: one chunk, or neighbours that continue the same section.

    `text` equals the file's `[start_char:end_char]`, in characters. `sections` lists the headings
    that its parts stand under; `section`, `heading` and `url` are those of one of them. `kind`
    (prose, code or table) and `language` (of code) describe the best chunk in it. `score` is the
    estimated probability that it answers.
    """

    chunk_id: str
    text: str
    file_path: str
    chapter: str
    section: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    kind: str = "prose"
    language: str = ""
    version: str = ""
    locale: str = ""
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    sections: tuple[Section, ...] = ()
    """In order; the first starts at `start_char`."""
    content: str = msgspec.field(default="", name="shown")
    """Markdown of what readers see: `text` without comments and directives, with included files,
    the header of a cut table, the fence of cut code, and the term of a cut definition."""
    section_starts: tuple[int, ...] = ()
    """Offset in `content` of each section."""

    def __post_init__(self) -> None:
        if not self.content:
            msgspec.structs.force_setattr(self, "content", self.text)
        if not self.sections:
            only = Section(
                start_char=self.start_char,
                heading=self.heading,
                section=self.section,
                url=self.url,
            )
            msgspec.structs.force_setattr(self, "sections", (only,))
        if len(self.section_starts) != len(self.sections):
            starts = tuple(each.start_char - self.start_char for each in self.sections)
            msgspec.structs.force_setattr(self, "section_starts", starts)

    def linked_from(self, home: str) -> "Passage":
        """The passage with whole addresses: its own are relative to `home`."""

        def link(section: Section) -> Section:
            url, above = section.url and urljoin(home, section.url), map(link, section.above)
            return msgspec.structs.replace(section, url=url, above=tuple(above))

        url, sections = self.url and urljoin(home, self.url), tuple(map(link, self.sections))
        return msgspec.structs.replace(self, url=url, sections=sections)


def cached_per_passage(most: int) -> Callable[[Callable[[Passage], _T]], Callable[[Passage], _T]]:
    """Cache a function of a passage for the `most` recently used ones.

    Readers ask for the same places. The function must not use what differs by question: the score,
    the id, and the label, instead of those in `sections`.
    """

    def decorate(read: Callable[[Passage], _T]) -> Callable[[Passage], _T]:
        remembered = functools.lru_cache(maxsize=most)(read)

        @functools.wraps(read)
        def ask(passage: Passage) -> _T:
            same = {"chunk_id": "", "score": 0.0, "section": "", "heading": "", "url": None}
            return remembered(msgspec.structs.replace(passage, **same))

        return ask

    return decorate


def join_headings(*headings: str) -> str:
    """Join headings as a path, without empty and repeated ones."""
    return " > ".join(dict.fromkeys(filter(None, headings)))


@dataclass(slots=True)
class _Run:
    """Neighbouring chunks of one file, in order, and the best hit among them."""

    best: Ranked
    chunks: list[StoredChunk]

    def join(self, chunk: StoredChunk) -> bool:
        """Add `chunk` at one end, unless it does not belong there or is too long."""
        first, last = self.chunks[0], self.chunks[-1]
        if chunk.file_path != first.file_path:
            return False
        if chunk.ordinal == last.ordinal + 1:
            joined = [*self.chunks, chunk]
        elif chunk.ordinal == first.ordinal - 1:
            joined = [chunk, *self.chunks]
        else:
            return False
        inside = chunk.tail if joined[0] is chunk else last.tail
        most = _MAX_JOINED_CODE if inside else _MAX_JOINED
        if joined[-1].end_char - joined[0].start_char <= most and all(
            starmap(_continues, pairwise(joined))
        ):
            self.chunks = joined
            return True
        return False

    def complete(self, free: Mapping[tuple[str, int], StoredChunk]) -> None:
        """Add the rest of code that is cut, as far as it is `free` (by path and ordinal)."""
        while (first := self.chunks[0]).lead:
            before = free.get((first.file_path, first.ordinal - 1))
            if before is None or not before.tail or not self.join(before):
                break
        while (last := self.chunks[-1]).tail:
            after = free.get((last.file_path, last.ordinal + 1))
            if after is None or not self.join(after):
                break

    def passage(self) -> Passage:
        best, first, last = self.best.hit.chunk, self.chunks[0], self.chunks[-1]
        label = self.best.label or best.sections[0]
        rest = [text for each in self.chunks[1:] for text in (each.before or "", each.text)]
        text = _join_texts(first.text, *rest)
        edits = self._edits()
        sections = [
            *first.sections,
            *(one for each in self.chunks[1:] for one in each.sections[1:]),
        ]
        return Passage(
            chunk_id=best.chunk_id,
            text=text,
            file_path=best.file_path,
            chapter=best.chapter,
            section=label.section,
            heading=label.heading,
            url=label.url,
            start_char=first.start_char,
            end_char=self.chunks[-1].end_char,
            kind=best.kind,
            language=best.language,
            version=best.version,
            locale=best.locale,
            score=self.best.score,
            sections=tuple(sections),
            content=_join_texts(first.lead, apply_edits(text, edits), last.tail)
            if edits or first.lead or last.tail
            else text,
            section_starts=_section_starts(sections, first, edits),
        )

    def _edits(self) -> list[Edit]:
        """Return the edits of all chunks and of the gaps between them, in which nothing is seen."""
        edits: list[Edit] = []
        for chunk in self.chunks:
            at = chunk.start_char - self.chunks[0].start_char
            if at and chunk.before and chunk.before.strip():
                edits.append(Edit(at - len(chunk.before), at, "\n\n"))
            edits += [Edit(at + each.start, at + each.end, each.text) for each in chunk.edits]
        return edits


@functools.lru_cache(maxsize=_TEXT_CACHE_SIZE)
def _join_texts(*texts: str) -> str:
    """Join `texts`. Cached, so that concurrent answers share one string in memory."""
    return "".join(texts)


def select_passages(ranked: Iterable[Ranked], k: int) -> list[Passage]:
    """Select at most `k` passages that are not far behind the best one, best first.

    A chunk next to a selected one joins it and takes no place of its own. Near duplicates, such as
    the same page of another version, are dropped.
    """
    ranked = list(ranked)
    free = {(each.hit.chunk.file_path, each.hit.chunk.ordinal): each.hit.chunk for each in ranked}
    runs: list[_Run] = []
    seen: list[frozenset[str]] = []
    for each in ranked:
        best = runs[0].best.total if runs else each.total
        if each.total < min(_MIN_SHARE_OF_BEST * best, best - _ALWAYS_KEPT_MARGIN):
            break
        chunk = each.hit.chunk
        if any(chunk in run.chunks for run in runs):
            continue
        bag = frozenset(terms_of_chunk(chunk.content))
        if any(_is_near_duplicate(bag, other) for other in seen):
            continue
        if not any(run.join(chunk) for run in runs):
            if len(runs) == k:
                break
            runs.append(_Run(each, [chunk]))
            runs[-1].complete(free)
        for run in runs:
            for taken in run.chunks:
                free.pop((taken.file_path, taken.ordinal), None)
        seen.append(bag)
    return [run.passage() for run in runs]


def _continues(before: StoredChunk, chunk: StoredChunk) -> bool:
    """Whether `chunk` begins in the section in which the chunk `before` it ends."""
    last, first = before.sections[-1], chunk.sections[0]
    return chunk.before is not None and (last.heading, last.section, last.url) == (
        first.heading,
        first.section,
        first.url,
    )


def _section_starts(
    sections: Sequence[Section], first: StoredChunk, edits: Sequence[Edit]
) -> tuple[int, ...]:
    """Return the offset of each section in the content that begins with the chunk `first`."""
    rest = (shift(each.start_char - first.start_char, edits) for each in sections[1:])
    return (0, *(len(first.lead) + start for start in rest))


def _is_near_duplicate(one: frozenset[str], other: frozenset[str]) -> bool:
    both = len(one & other)
    return both > 0 and both >= _DUPLICATE_OVERLAP * max(len(one), len(other))
