"""Cut a page into chunks: small enough to embed, whole enough to be read and cited.

A chunk is an exact slice of the file, `document.text[start:end]`. It is cut at headings first; a
section over the budget is cut between its blocks; a block that is over the budget alone is cut
where its kind allows: a list between items, a table between rows, code between lines, a
paragraph between sentences. What is embedded, `embed_text`, is another text: the path of headings
down to the chunk and what a reader sees of it, without imports, comments, tags and addresses,
with the files it includes. There a cut table repeats its header and cut code its language.

A chunk stands under one heading, to which its citation leads. So sections are merged only where
one is tiny, its neighbour is a section under the same parent or its own first subsection, and
both together fill no more than half the budget: the reader lands within a few lines.

What the fields of a reader's citation hold: `chapter` is the page's title (front matter, else the
first h1, else the file's name), `section` the heading of the first level below the title, and
`heading` the nearest heading. A folder's name is not used: it is often a number or a slug, and
`file_path` shows it anyway.

The sections of a page: what stands under which heading, and what the headings above it are.

Units packed into chunks: as few as hold them, and none of those a crumb.

Chunks in the making: headings without a text of their own find one, and tiny sections are
merged with their neighbours.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from lib.documents import Document
from lib.markdown_page import Block, Page
from lib.splitting import Include, Kind, Unit, UnitMaker, is_bare, text_pieces
from lib.tokens import CountTokens


@dataclass(slots=True)
class Section:
    """What stands under one heading, down to the next heading of any level."""

    heading: int | None
    path: tuple[str, ...]
    section: str
    name: str
    blocks: list[Block] = field(default_factory=list)


def sections_of(page: Page, title: str) -> list[Section]:
    """The page cut at its headings; before the first stands a section without one."""
    title_heading = next((i for i, h in enumerate(page.headings) if h.level == 1), None)
    sections = [Section(None, (title,), "", title)]
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
        if title_heading in stack and not _same(headings[title_heading].text, title):
            path.append(headings[title_heading].text)
        path.extend(text for text in below if text)
        sections.append(
            Section(
                block.heading,
                tuple(path),
                below[0] if below else "",
                here.text or path[-1],
                [block],
            )
        )
    return sections


def title_from_path(path: str) -> str:
    """A page's name made from its file's: `01-getting_started.md` is "Getting started". An index
    or readme takes its folder's."""
    pure = PurePosixPath(path)
    stem = pure.stem
    if stem.lower() in ("index", "readme") and pure.parent.name:
        stem = pure.parent.name
    words = re.sub(r"^\d+[\s._-]+(?=\D)", "", stem)
    words = re.sub(r"[\s_-]+", " ", words).strip()
    return words[:1].upper() + words[1:] if words else stem


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _flatten(blocks: Iterable[Block]) -> Iterable[Block]:
    """Blocks in order, those that hold a heading replaced by what they hold: a heading in a tab
    or a quote begins a section like any other."""
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
    return any(
        child.kind == "heading" or (child.children and _holds_heading(child))
        for child in block.children
    )


def pack(units: Sequence[Unit], room: int, budget: int) -> list[list[Unit]]:
    groups = _fill(units, room, budget)
    if len(groups) < 2:
        return groups
    # The last group of a greedy filling is often a single sentence: level them out.
    total = sum(unit.cost + 1 for unit in units)
    level = int(total / len(groups) * 1.15)
    leveled = _fill(units, min(room, level), budget)
    groups = leveled if len(leveled) == len(groups) else groups
    if len(groups) > 1:
        _level_last(groups[-2], groups[-1], room, budget)
    return groups


def _level_last(before: list[Unit], last: list[Unit], room: int, budget: int) -> None:
    """Move units from the last but one group to the last while that makes them more equal."""
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
    """What at the end of a full group belongs to the unit that no longer fits in it."""
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
    """Leave off what shows nothing at the end, but for the tags that close the content."""
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


def halves(units: Sequence[Unit]) -> int:
    """Where to cut `units` in two, both with something to show; 0 if nowhere."""
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


def without_bare_ends(units: list[Unit]) -> list[Unit]:
    shown = [place for place, unit in enumerate(units) if not is_bare(unit)]
    return units[shown[0] : shown[-1] + 1] if shown else units


@dataclass(slots=True)
class Draft:
    """A chunk in the making."""

    section: Section
    units: list[Unit]
    whole: bool
    """Whether it is all of its section."""

    @property
    def cost(self) -> int:
        return sum(unit.cost + 1 for unit in self.units)

    @property
    def raw(self) -> int:
        return sum(unit.raw + 1 for unit in self.units)

    @property
    def bare(self) -> bool:
        return all(map(is_bare, self.units))


class Joiner:
    """Joins the drafts of one page."""

    def __init__(
        self,
        text: str,
        page: Page,
        budget: int,
        count: CountTokens,
        room: Callable[[Section], int],
    ) -> None:
        self.text = text
        self.headings = page.headings
        self.budget = budget
        self.count = count
        self.room = room

    def join(self, drafts: list[Draft]) -> list[Draft]:
        return self._merge(self._attach_bare(drafts))

    def _attach_bare(self, drafts: list[Draft]) -> list[Draft]:
        """No chunk is a bare heading: it goes to its first subsection, else to the chunk before
        it, else to the one after it."""
        kept: list[Draft] = []
        waiting: list[Unit] = []
        for index, draft in enumerate(drafts):
            if draft.bare:
                following = drafts[index + 1] if index + 1 < len(drafts) else None
                goes_down = following is not None and (
                    following.section is draft.section or _contains(draft, following)
                )
                if not goes_down and not waiting and kept and self._fits(kept[-1], draft.units):
                    kept[-1].units.extend(draft.units)
                else:
                    waiting.extend(draft.units)
                continue
            if waiting:
                while waiting and not self._fits(draft, waiting):
                    waiting.pop(0)
                draft.units[:0] = waiting
                waiting = []
            kept.append(draft)
        if waiting and kept and self._fits(kept[-1], waiting):
            kept[-1].units.extend(waiting)
        return kept

    def _fits(self, draft: Draft, units: Sequence[Unit]) -> bool:
        said = draft.section.path  # a heading in the path is not embedded twice
        cost = draft.cost + sum(
            unit.cost + 1
            for unit in units
            if unit.heading is None or self.headings[unit.heading].text not in said
        )
        if cost > self.room(draft.section):
            return False
        # Counted as one slice: between the two may stand a comment, which is in no unit.
        start = min(units[0].start, draft.units[0].start)
        end = max(units[-1].end, draft.units[-1].end)
        return self.count(self.text[start:end]) <= self.budget

    def _merge(self, drafts: list[Draft]) -> list[Draft]:
        tiny = max(24, self.budget // 8)
        half = self.budget // 2
        merged: list[Draft] = []
        for draft in drafts:
            last = merged[-1] if merged else None
            if last is not None and last.section is not draft.section and last.whole:
                cost, size = last.cost, draft.cost
                down = _contains(last, draft)
                if down and cost <= tiny // 2 and self._fits(draft, last.units):
                    # A line of introduction: what follows is what one looks for.
                    merged[-1] = Draft(draft.section, last.units + draft.units, draft.whole)
                    continue
                near = down or _siblings(last, draft)
                small = min(cost, size) <= tiny and cost + size <= half
                if near and draft.whole and small and self._fits(last, draft.units):
                    last.units.extend(draft.units)
                    continue
            merged.append(draft)
        return merged


def _contains(parent: Draft, child: Draft) -> bool:
    """Whether `child` stands under a heading below that of `parent`."""
    path = parent.section.path
    return len(child.section.path) > len(path) and child.section.path[: len(path)] == path


def _siblings(one: Draft, other: Draft) -> bool:
    return one.section.path[:-1] == other.section.path[:-1] and len(one.section.path) > 1


CHUNKER_VERSION: Final = 2
"""Part of every chunk's id: an index made with another version is built anew."""

MIN_BUDGET: Final = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    file_path: str
    start: int
    end: int
    text: str
    """`document.text[start:end]`, always."""
    embed_text: str
    """The heading path, an empty line, and the cleaned text."""
    heading_path: tuple[str, ...]
    """From the page's title down to the nearest heading."""
    heading_index: int | None
    """The place in `page.headings` of the heading that the chunk begins with, else of the nearest
    above it; None before the first. This is where a link leads; `section` and `heading` say where
    its text stands, which may be one bare heading deeper."""
    chapter: str
    section: str
    """Empty above the first heading below the title."""
    heading: str
    token_count: int
    """Of `embed_text`."""
    language: str
    """The programming language of a chunk of code, as its fence names it; else empty."""
    kind: Kind
    """What more than half of the chunk is."""
    chunk_id: str
    """A UUID made from the file's path, the chunk's text and the version: an unchanged chunk
    keeps its id when text above it changes."""


def chunk_page(
    document: Document,
    page: Page,
    *,
    budget: int,
    count_tokens: CountTokens,
    includes: Include | None = None,
) -> list[Chunk]:
    """The chunks of one page, in order.

    `budget` is in tokens as `count_tokens` counts them and holds for `text` and for `embed_text`;
    only something that cannot be cut (one enormous tag) may be over it. `includes` gives the text
    a block stands for when it names a file (`lib.includes`). Raises ValueError for a budget below
    `MIN_BUDGET`.
    """
    if budget < MIN_BUDGET:
        raise ValueError(f"the budget must be at least {MIN_BUDGET} tokens, not {budget}")
    return _Chunker(document, page, budget, count_tokens, includes).run()


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
        self.path_texts: dict[tuple[str, ...], tuple[str, int]] = {}
        self.title = page.title or title_from_path(document.path)

    def run(self) -> list[Chunk]:
        drafts: list[Draft] = []
        sections = sections_of(self.page, self.title)
        above: list[Unit] = []
        for place, section in enumerate(sections):
            room = self._room(section)
            units = above + [
                unit for block in section.blocks for unit in self.units.units(block, room)
            ]
            above = []
            if all(map(is_bare, units)) and place + 1 < len(sections):
                below = sections[place + 1].path
                if len(below) > len(section.path) and below[: len(section.path)] == section.path:
                    above = units  # read with, and packed with, what stands below
                    continue
            groups = pack(units, room, self.budget)
            drafts.extend(Draft(section, group, len(groups) == 1) for group in groups)
        joiner = Joiner(self.text, self.page, self.budget, self.count, self._room)
        chunks: list[Chunk] = []
        seen: dict[bytes, int] = {}
        for draft in joiner.join(drafts):
            chunks.extend(self._finish(draft, seen))
        return chunks

    def _room(self, section: Section) -> int:
        """Tokens that the heading path leaves for the body."""
        return self.budget - self._path_text(section.path)[1] - 2

    def _path_text(self, path: tuple[str, ...]) -> tuple[str, int]:
        """The heading path in one line, and its tokens."""
        if path not in self.path_texts:
            text = self._short_path(path)
            self.path_texts[path] = text, self.count(text)
        return self.path_texts[path]

    def _short_path(self, path: Sequence[str]) -> str:
        """The heading path in one line, at the most a third of the budget: the nearest heading
        and the title tell most, so what lies between them goes first."""
        limit = self.budget // 3
        full = " > ".join(path)
        if len(full) <= limit or self.count(full) <= limit:
            return full
        for short in (f"{path[0]} > {path[-1]}", path[-1]):
            if self.count(short) <= limit:
                return short
        return short[: next(text_pieces(short, limit, self.count)).stop]

    def _finish(self, draft: Draft, seen: dict[bytes, int]) -> Iterable[Chunk]:
        section = draft.section
        units = draft.units
        start, end = units[0].start, units[-1].end
        while end > start and self.text[end - 1] in " \t\r\n":
            end -= 1
        text = self.text[start:end]
        headings = self.page.headings
        lines = [self._path_text(section.path)[0]]
        for unit in units:
            if unit.heading is not None and headings[unit.heading].text in section.path:
                continue  # the path says it already
            if unit.clean:
                lines.append(unit.clean)
        embed_text = "\n\n".join(lines)
        tokens = self.count(embed_text)
        if len(units) > 1 and (tokens > self.budget or not self._text_fits(text, units)):
            half = halves(units)
            parts = [units[:half], units[half:]] if half else [without_bare_ends(units)]
            if parts != [units]:
                for part in parts:
                    yield from self._finish(Draft(section, part, False), seen)
                return
        # Where a bare heading stands above its own, a reader should see both: the link leads to
        # where the chunk begins.
        first = units[0].heading
        kind, language = _kind_of(units)
        known = (str(CHUNKER_VERSION), self.document.path, *section.path, text, embed_text, "")
        digest = hashlib.blake2b("\0".join(known).encode("utf-8", "surrogatepass"), digest_size=16)
        nth = seen.get(digest.digest(), 0)
        seen[digest.digest()] = nth + 1
        digest.update(str(nth).encode())
        yield Chunk(
            file_path=self.document.path,
            start=start,
            end=end,
            text=text,
            embed_text=embed_text,
            heading_path=section.path,
            heading_index=section.heading if first is None else first,
            chapter=self.title,
            section=section.section,
            heading=section.name,
            token_count=tokens,
            language=language,
            kind=kind,
            chunk_id=str(uuid.UUID(bytes=digest.digest(), version=5)),
        )

    def _text_fits(self, text: str, units: Sequence[Unit]) -> bool:
        """Whether the slice of these units is within the budget. `count_tokens` need not be
        additive, and what stands between units, a comment for instance, is in none of them; but
        where that is no more than line breaks and the sum is well below, there is no need to
        count."""
        between = len(text) - sum(unit.end - unit.start for unit in units)
        if between <= 2 * len(units) and sum(unit.raw + 2 for unit in units) <= self.budget:
            return True
        return self.count(text) <= self.budget


def _kind_of(units: Sequence[Unit]) -> tuple[Kind, str]:
    """What more than half of the units is, and the language of most of the code."""
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
