"""Split a page into chunks that fit the embedding model and make sense when cited.

A chunk is an exact slice of the file, `document.text[start:end]`. A page is split at its headings,
a section over the budget between its blocks, and a single block over the budget by its kind:
lists between items, tables between rows, code between lines, paragraphs between sentences.

`embed_text` is a different text: heading path and displayed text, without imports, comments,
tags and addresses, with included files. A split table repeats its header there, split code its
language. Readers see the same as Markdown: `lead`, `edits` and `tail` turn the slice into it.

Small sections are merged if one is tiny, the other is its sibling or its own first subsection, and
both fill at most half the budget. A chunk lists its sections, so that each of its sentences is
cited under its own heading.

`chapter` is the page title (front matter, first h1, or file name). Folder names are not used: many
are numbers or slugs, and `file_path` contains them.
"""

import hashlib
import re
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final

from lib.documents import Document
from lib.markdown_page import Block, Edit, Include, Page, edits_for_readers, indent_like
from lib.splitting import Kind, Unit, UnitMaker, hidden_between, is_bare, text_pieces
from lib.tokens import CountTokens

CHUNKER_VERSION: Final = 3
"""Part of every chunk id: a new version rebuilds the index."""

_MIN_BUDGET: Final = 32


@dataclass(frozen=True, slots=True)
class ChunkSection:
    """The part of a chunk whose text stands under one heading."""

    start: int
    """Offset in the file."""
    heading_index: int | None
    """Index in `page.headings`, None before the first heading."""
    section: str
    """The heading of the first level below the title; empty before the first one."""
    heading: str
    """The nearest heading, else the title."""
    above: "tuple[ChunkSection, ...]" = ()
    """Headings without text that come directly before it; `start` is that of the first."""


@dataclass(frozen=True, slots=True)
class Chunk:
    file_path: str
    start: int
    end: int
    text: str
    """Always equal to `document.text[start:end]`."""
    embed_text: str
    """Heading path, an empty line, and the cleaned text."""
    heading_path: tuple[str, ...]
    """From the page title down to the heading of most of its text."""
    sections: tuple[ChunkSection, ...]
    """In order; the first starts at `start`."""
    chapter: str
    token_count: int
    """Tokens of `embed_text`."""
    language: str
    """Programming language of a code chunk, from its fence; else empty."""
    kind: Kind
    """Kind of more than half of the chunk."""
    lead: str
    """Markdown that readers see before `text`: what a cut table, code or definition needs."""
    edits: tuple[Edit, ...]
    """How the text that readers see differs from `text`: hidden parts out, included files in."""
    tail: str
    chunk_id: str
    """UUID of path, headings, text and version. Text above the chunk does not change it."""


def chunk_page(
    document: Document,
    page: Page,
    *,
    budget: int,
    count_tokens: CountTokens,
    includes: Include | None = None,
) -> list[Chunk]:
    """Split a page into chunks, in order. Raises ValueError for a budget below `_MIN_BUDGET`.

    `budget` is in tokens as counted by `count_tokens`; it limits both `text` and `embed_text`. Only
    something indivisible (one enormous tag) may exceed it. `includes` returns the text of the file
    that a block includes (`lib.includes`).
    """
    if budget < _MIN_BUDGET:
        raise ValueError(f"the budget must be at least {_MIN_BUDGET} tokens, not {budget}")
    return _Chunker(document, page, budget, count_tokens, includes).run()


@dataclass(slots=True)
class _Section:
    """Blocks under one heading, up to the next heading of any level."""

    heading: int | None
    """Index in `page.headings` of the heading, or of the nearest above with a text or an id."""
    path: tuple[str, ...]
    section: str
    name: str
    blocks: list[Block] = field(default_factory=list)


def _sections_of(page: Page, title: str) -> list[_Section]:
    """Split a page at its headings; the first section has none."""
    title_heading = next((i for i, h in enumerate(page.headings) if h.level == 1), None)
    sections = [_Section(None, (title,), "", title)]
    stack: list[int] = []
    for block in _flatten(page.blocks):
        if block.heading is None:
            sections[-1].blocks.append(block)
            continue
        headings = page.headings
        here = headings[block.heading]
        while stack and headings[stack[-1]].level >= here.level:
            stack.pop()
        stack.append(block.heading)
        below = [headings[i].text for i in stack if i != title_heading]
        path = [title]
        if title_heading in stack:
            first = headings[title_heading].text
            if first.strip().casefold() != title.strip().casefold():
                path.append(first)
        path.extend(text for text in below if text)
        section = below[0] if below else ""
        # A program fills in a heading without text later, and perhaps its anchor.
        named = [i for i in stack if headings[i].text or headings[i].explicit_id]
        link = named[-1] if named else None
        sections.append(_Section(link, tuple(path), section, here.text or path[-1], [block]))
    return sections


def _title_from_path(path: str) -> str:
    """Derive a title from a path: `01-getting_started.md` becomes "Getting started".

    An index or readme takes the name of its folder.
    """
    pure = PurePosixPath(path)
    stem = pure.stem
    if stem.lower() in ("index", "readme") and pure.parent.name:
        stem = pure.parent.name
    words = re.sub(r"^\d+[\s._-]+(?=\D)", "", stem)
    words = re.sub(r"[\s_-]+", " ", words).strip()
    return words[:1].upper() + words[1:] if words else stem


def _flatten(blocks: Iterable[Block]) -> Iterable[Block]:
    """Yield blocks in order, replacing each that contains a heading by its children.

    So a heading in a tab or a quote starts a section like any other.
    """
    for block in blocks:
        if block.children and _holds_heading(block):
            if block.text:
                yield Block(
                    "marker", block.start, min(block.end, block.children[0].start), block.text
                )
            yield from _flatten(block.children)
        else:
            yield block


def _holds_heading(block: Block) -> bool:
    return any(child.kind == "heading" or _holds_heading(child) for child in block.children)


def _pack(units: Sequence[Unit], room: int, budget: int) -> list[list[Unit]]:
    """Group units into as few chunks as possible, of similar size."""
    groups = _fill(units, room, budget)
    if len(groups) < 2:
        return groups
    # greedy filling often leaves a last group of a single sentence: even the sizes out
    total = sum(unit.cost + 1 for unit in units)
    level = int(total / len(groups) * 1.15)
    leveled = _fill(units, min(room, level), budget)
    groups = leveled if len(leveled) == len(groups) else groups
    _level_last(groups[-2], groups[-1], room, budget)
    return groups


def _level_last(before: list[Unit], last: list[Unit], room: int, budget: int) -> None:
    """Move units from the last but one group to the last while that evens their sizes out."""
    while True:
        at = len(before) - 1
        while at > 0 and (not before[at].clean or before[at - 1].keep_with_next):
            at -= 1
        moved = before[at:]
        cost = sum(unit.cost + 1 for unit in moved)
        size = sum(unit.cost + 1 for unit in last) + cost
        raw = sum(unit.raw + 1 for unit in (*moved, *last))
        rest = sum(unit.cost + 1 for unit in before) - cost
        if all(map(is_bare, before[:at])) or size > min(rest, room) or raw > budget:
            return
        last[:0] = moved
        before[:] = _trim(before[:at], budget)


def _fill(units: Sequence[Unit], room: int, budget: int) -> list[list[Unit]]:
    groups: list[list[Unit]] = []
    group: list[Unit] = []
    cost = raw = 0
    for unit in units:
        shows = bool(unit.clean)
        if group and shows and (cost + unit.cost > room or raw + unit.raw > budget):
            carried = _carried(group, unit, room, budget)
            groups.append(group[: len(group) - len(carried)])
            group = carried
            cost = sum(u.cost + 1 for u in group)
            raw = sum(u.raw + 1 for u in group)
        if not group and not shows:
            continue
        group.append(unit)
        cost += unit.cost + 1
        raw += unit.raw + 1
    groups.append(group)
    return [kept for group in groups if (kept := _trim(group, budget))]


def _carried(group: list[Unit], unit: Unit, room: int, budget: int) -> list[Unit]:
    """Units at the end of a full group that belong with the next unit."""
    at = len(group)
    while at > 0 and (group[at - 1].keep_with_next or not group[at - 1].clean):
        at -= 1
    while at < len(group) and not group[at].clean:
        at += 1
    carried = group[at:]
    if at == 0 or not any(u.keep_with_next for u in carried):
        return []
    fits = sum(u.cost + 1 for u in carried) + unit.cost <= room
    fits = fits and sum(u.raw + 1 for u in carried) + unit.raw <= budget
    return list(carried) if fits else []


def _trim(group: list[Unit], budget: int) -> list[Unit]:
    """Drop trailing units without text, except tags that close the content."""
    end = len(group)
    while end > 0 and not group[end - 1].clean:
        end -= 1
    raw = sum(unit.raw + 1 for unit in group[:end])
    while end < len(group) and group[end].closes:
        raw += group[end].raw + 1
        if raw > budget:
            break
        end += 1
    return group[:end]


def _halves(units: Sequence[Unit]) -> int:
    """Index at which to split `units` in two halves with text, or 0."""
    shown = [i for i, unit in enumerate(units) if unit.clean and unit.heading is None]
    if len(shown) < 2:
        return 0
    half = sum(unit.cost for unit in units) / 2
    size = 0
    for place, index in enumerate(shown):
        size += units[index].cost
        if place + 1 < len(shown) and (size >= half or place + 2 == len(shown)):
            return shown[place + 1]
    return 0


def _without_bare_ends(units: list[Unit]) -> list[Unit]:
    shown = [place for place, unit in enumerate(units) if not is_bare(unit)]
    return units[shown[0] : shown[-1] + 1] if shown else units


@dataclass(slots=True)
class _Draft:
    """A chunk before its fields are computed."""

    section: _Section
    units: list[Unit]
    whole: bool
    """Whether it covers its whole section."""

    @property
    def cost(self) -> int:
        return sum(unit.cost + 1 for unit in self.units)


def _label(section: _Section, start: int, above: Sequence[ChunkSection] = ()) -> ChunkSection:
    start = above[0].start if above else start
    return ChunkSection(start, section.heading, section.section, section.name, tuple(above))


def _contains(parent: _Section, child: _Section) -> bool:
    """Tell whether the heading of `child` is below that of `parent`."""
    size = len(parent.path)
    return len(child.path) > size and child.path[:size] == parent.path


class _Chunker:
    def __init__(
        self,
        document: Document,
        page: Page,
        budget: int,
        count_tokens: CountTokens,
        include: Include | None,
    ) -> None:
        self.document = document
        self.text = document.text
        self.page = page
        self.budget = budget
        self.count = count_tokens
        self.units = UnitMaker(document.text, page, budget, count_tokens, include)
        self.edits = edits_for_readers(document.text, page, include)
        self.edit_ends = [edit.end for edit in self.edits]
        self.path_texts: dict[tuple[str, ...], tuple[str, int]] = {}
        self.title = page.title or _title_from_path(document.path)
        self.sections = _sections_of(page, self.title)
        self.starts = [0, *(section.blocks[0].start for section in self.sections[1:])]

    def run(self) -> list[Chunk]:
        drafts: list[_Draft] = []
        sections = self.sections
        above: list[Unit] = []
        for place, section in enumerate(sections):
            room = self._room(section)
            units = above + [
                unit for block in section.blocks for unit in self.units.units(block, room)
            ]
            above = []
            goes_down = place + 1 < len(sections) and _contains(section, sections[place + 1])
            if goes_down and all(map(is_bare, units)):
                above = units  # packed with the section below
                continue
            groups = _pack(units, room, self.budget)
            drafts.extend(_Draft(section, group, len(groups) == 1) for group in groups)
        chunks: list[Chunk] = []
        seen: dict[bytes, int] = {}
        for draft in self._merge(self._attach_bare(drafts)):
            chunks.extend(self._finish(draft, seen))
        return chunks

    def _room(self, section: _Section) -> int:
        """Tokens left for the body after the heading path."""
        return self.budget - self._path_text(section.path)[1] - 2

    def _path_text(self, path: tuple[str, ...]) -> tuple[str, int]:
        """Return the heading path in one line, and its tokens."""
        if path not in self.path_texts:
            text = self._short_path(path)
            self.path_texts[path] = text, self.count(text)
        return self.path_texts[path]

    def _short_path(self, path: Sequence[str]) -> str:
        """Heading path in one line, at most a third of the budget.

        The title and the nearest heading carry most information, so the ones between go first.
        """
        limit = self.budget // 3
        full = " > ".join(path)
        if len(full) <= limit or self.count(full) <= limit:
            return full
        for short in (f"{path[0]} > {path[-1]}", path[-1]):
            if self.count(short) <= limit:
                return short
        return short[: next(text_pieces(short, limit, self.count)).stop]

    def _attach_bare(self, drafts: list[_Draft]) -> list[_Draft]:
        """Attach bare headings to other drafts, so that none is a chunk alone.

        A heading joins its first subsection, else the draft before it, else the one after it.
        """
        kept: list[_Draft] = []
        waiting: list[Unit] = []
        for index, draft in enumerate(drafts):
            if all(map(is_bare, draft.units)):
                following = drafts[index + 1] if index + 1 < len(drafts) else None
                goes_down = following is not None and (
                    following.section is draft.section
                    or _contains(draft.section, following.section)
                )
                if not goes_down and not waiting and kept and self._fits(kept[-1], draft.units):
                    kept[-1].units.extend(draft.units)
                else:
                    waiting.extend(draft.units)
                continue
            if waiting:
                first = len(waiting)
                while first and self._fits(draft, waiting[first - 1 :]):
                    first -= 1
                draft.units[:0] = waiting[first:]
                waiting = []
            kept.append(draft)
        if waiting and kept and self._fits(kept[-1], waiting):
            kept[-1].units.extend(waiting)
        return kept

    def _fits(self, draft: _Draft, units: Sequence[Unit]) -> bool:
        said = draft.section.path  # headings in the path are not embedded again
        cost = draft.cost + sum(
            unit.cost + 1
            for unit in units
            if unit.heading is None or self.page.headings[unit.heading].text not in said
        )
        if cost > self._room(draft.section):
            return False
        # counted as one slice: a comment between the two belongs to no unit
        start = min(units[0].start, draft.units[0].start)
        end = max(units[-1].end, draft.units[-1].end)
        return self.count(self.text[start:end]) <= self.budget

    def _merge(self, drafts: list[_Draft]) -> list[_Draft]:
        tiny = max(24, self.budget // 8)
        half = self.budget // 2
        merged: list[_Draft] = []
        for draft in drafts:
            last = merged[-1] if merged else None
            if last is not None and last.section is not draft.section and last.whole:
                cost, size = last.cost, draft.cost
                down = _contains(last.section, draft.section)
                if down and cost <= tiny // 2 and self._fits(draft, last.units):
                    # an introductory line: the heading below is the better link target
                    merged[-1] = _Draft(draft.section, last.units + draft.units, draft.whole)
                    continue
                above = last.section.path[:-1]
                near = down or (bool(above) and above == draft.section.path[:-1])
                small = min(cost, size) <= tiny and cost + size <= half
                if near and draft.whole and small and self._fits(last, draft.units):
                    last.units.extend(draft.units)
                    continue
            merged.append(draft)
        return merged

    def _finish(self, draft: _Draft, seen: dict[bytes, int]) -> Iterable[Chunk]:
        section = draft.section
        units = draft.units
        start = units[0].start
        if len(parts := list(self._apart(units))) > 1:
            for part in parts:
                if not all(map(is_bare, part)):
                    own = self.sections[self._place(next(u for u in part if not is_bare(u)))]
                    yield from self._finish(_Draft(own, part, False), seen)
            return
        text = self.text[start : units[-1].end].rstrip(" \t\r\n")
        headings = self.page.headings
        lines = [self._path_text(section.path)[0]]
        for unit in units:
            in_path = unit.heading is not None and headings[unit.heading].text in section.path
            if unit.clean and not in_path:
                lines.append(unit.clean)
        embed_text = "\n\n".join(lines)
        tokens = self.count(embed_text)
        if len(units) > 1 and (tokens > self.budget or not self._text_fits(text, units)):
            half = _halves(units)
            parts = [units[:half], units[half:]] if half else [_without_bare_ends(units)]
            if parts != [units]:
                for part in parts:
                    yield from self._finish(_Draft(section, part, False), seen)
                return
        kind, language = _kind_of(units)
        shown = [unit for unit in units if unit.clean]
        known = (str(CHUNKER_VERSION), self.document.path, *section.path, text, embed_text, "")
        digest = hashlib.blake2b("\0".join(known).encode("utf-8", "surrogatepass"), digest_size=16)
        nth = seen.get(digest.digest(), 0)
        seen[digest.digest()] = nth + 1
        digest.update(str(nth).encode())
        yield Chunk(
            file_path=self.document.path,
            start=start,
            end=start + len(text),
            text=text,
            embed_text=embed_text,
            heading_path=section.path,
            sections=tuple(self._chunk_sections(draft)),
            chapter=self.title,
            token_count=tokens,
            language=language,
            kind=kind,
            lead=shown[0].lead if shown and shown[0].shown is None else "",
            edits=tuple(self._edits(units, start, start + len(text))),
            tail=shown[-1].tail if shown and shown[-1].shown is None else "",
            chunk_id=str(uuid.UUID(bytes=digest.digest(), version=5)),
        )

    def _edits(self, units: Sequence[Unit], start: int, end: int) -> list[Edit]:
        """Return the edits of the slice `start` to `end`, with offsets in it."""
        edits: dict[int, Edit] = {}
        place = bisect_right(self.edit_ends, start)
        while place < len(self.edits) and self.edits[place].start < end:
            edits[self.edits[place].start] = self.edits[place]
            place += 1
        pieces: dict[int, Edit] = {}
        for span, group in groupby(units, lambda unit: unit.shown and (unit.start, unit.end)):
            if span:
                first, *rest = group
                shown = f"{first.lead}{first.shown}"
                for unit in rest:
                    shown += ("\n" if unit.lead else "\n\n") + (unit.shown or "")
                shown += (rest or [first])[-1].tail
                source, edit = self.text[slice(*span)], edits.get(span[0])
                if edit and edit.text.startswith(indent_like(source, "")):
                    shown = indent_like(source, shown)
                pieces[span[0]] = Edit(*span, shown)
        whole = {
            edit.start: Edit(max(edit.start, start), min(edit.end, end), edit.text)
            for edit in edits.values()
            if not edit.text or (start <= edit.start and edit.end <= end)
        }
        return [
            Edit(edit.start - start, min(edit.end, end) - start, edit.text)
            for edit in sorted((whole | pieces).values())
        ]

    def _apart(self, units: Sequence[Unit]) -> Iterator[list[Unit]]:
        """Split units so that no part spans what the page hides."""
        part: list[Unit] = []
        for unit in units:
            if part and hidden_between(self.page, part[-1].end, unit.start):
                yield part
                part = []
            part.append(unit)
        yield part

    def _chunk_sections(self, draft: _Draft) -> Iterator[ChunkSection]:
        """Yield the sections with text; a heading without text belongs to the next of them."""
        above: list[ChunkSection] = []
        last: _Section | None = None
        for place, units in groupby(draft.units, self._place):
            below = list(units)
            section, start = self.sections[place], below[0].start
            if all(map(is_bare, below)):
                above.append(_label(section, start))
                continue
            if last is None or section.heading != last.heading:
                yield _label(section, start, above)
            above, last = [], section
        if last is None:
            yield _label(draft.section, draft.units[0].start)

    def _place(self, unit: Unit) -> int:
        """Return the index of the section that a unit stands in."""
        return bisect_right(self.starts, unit.start) - 1

    def _text_fits(self, text: str, units: Sequence[Unit]) -> bool:
        """Tell whether the slice of these units is within the budget.

        Token counts need not be additive, and text between units, such as a comment, is in none of
        them. Counting is skipped if there are only line breaks between and the sum is well below.
        """
        between = len(text) - sum(unit.end - unit.start for unit in units)
        if between <= 2 * len(units) and sum(unit.raw + 2 for unit in units) <= self.budget:
            return True
        return self.count(text) <= self.budget


def _kind_of(units: Sequence[Unit]) -> tuple[Kind, str]:
    """Return the kind of more than half of the units, and the language of most of the code."""
    if len(units) == 1:
        return units[0].kind, units[0].language
    sizes: dict[str, int] = {"prose": 0, "code": 0, "table": 0}
    languages: dict[str, int] = {}
    for unit in units:
        sizes[unit.kind] += unit.cost
        if unit.kind == "code":
            languages[unit.language] = languages.get(unit.language, 0) + unit.cost
    half = sum(sizes.values()) / 2
    if sizes["code"] > half:
        return "code", max(languages, key=lambda name: languages[name])
    return ("table", "") if sizes["table"] > half else ("prose", "")
