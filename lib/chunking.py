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
"""

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from lib.documents import Document
from lib.markdown import Block, Page, fence, html_text, plain_text, render

CHUNKER_VERSION: Final = 1
"""Part of every chunk's id: an index made with another version is built anew."""

CountTokens: TypeAlias = Callable[[str], int]
Include: TypeAlias = Callable[[Block], str | None]
Kind: TypeAlias = Literal["prose", "code", "table"]

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


@dataclass(frozen=True, slots=True)
class _Unit:
    """Something the packing does not cut."""

    start: int
    end: int
    clean: str
    cost: int
    """Tokens of `clean`."""
    raw: int
    """Tokens of the slice."""
    kind: Kind = "prose"
    language: str = ""
    heading: int | None = None
    keep_with_next: bool = False
    closes: bool = False
    """A closing tag or fence: shows nothing, but reads better at its content's end."""


def _is_bare(unit: _Unit) -> bool:
    """Whether there is nothing in it to stand under a heading."""
    return unit.heading is not None or not unit.clean


def _without_bare_ends(units: list[_Unit]) -> list[_Unit]:
    shown = [place for place, unit in enumerate(units) if not _is_bare(unit)]
    return units[shown[0] : shown[-1] + 1] if shown else units


@dataclass(slots=True)
class _Section:
    """What stands under one heading, down to the next heading of any level."""

    heading: int | None
    path: tuple[str, ...]
    section: str
    name: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """A chunk in the making."""

    section: _Section
    units: list[_Unit]
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
        return all(map(_is_bare, self.units))


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
        self.include = include
        self.path_texts: dict[tuple[str, ...], tuple[str, int]] = {}
        self.title = page.title or title_from_path(document.path)

    def run(self) -> list[Chunk]:
        drafts: list[_Draft] = []
        sections = self._sections()
        above: list[_Unit] = []
        for place, section in enumerate(sections):
            units = above + [
                unit for block in section.blocks for unit in self._units(block, section)
            ]
            above = []
            if all(map(_is_bare, units)) and place + 1 < len(sections):
                below = sections[place + 1].path
                if len(below) > len(section.path) and below[: len(section.path)] == section.path:
                    above = units  # read with, and packed with, what stands below
                    continue
            groups = self._pack(units, self._room(section))
            drafts.extend(_Draft(section, group, len(groups) == 1) for group in groups)
        drafts = self._attach_bare(drafts)
        drafts = self._merge(drafts)
        chunks: list[Chunk] = []
        seen: dict[bytes, int] = {}
        for draft in drafts:
            chunks.extend(self._finish(draft, seen))
        return chunks

    # --- Sections

    def _sections(self) -> list[_Section]:
        title_heading = next((i for i, h in enumerate(self.page.headings) if h.level == 1), None)
        sections = [_Section(None, (self.title,), "", self.title)]
        stack: list[int] = []
        for block in _flatten(self.page.blocks):
            if block.heading is None:
                sections[-1].blocks.append(block)
                continue
            headings = self.page.headings
            here = headings[block.heading]
            while stack and headings[stack[-1]].level >= here.level:
                stack.pop()
            stack.append(block.heading)
            below = [headings[i].text for i in stack if i != title_heading]
            path = [self.title]
            if title_heading in stack and not _same(headings[title_heading].text, self.title):
                path.append(headings[title_heading].text)
            path.extend(text for text in below if text)
            sections.append(
                _Section(
                    block.heading,
                    tuple(path),
                    below[0] if below else "",
                    here.text or path[-1],
                    [block],
                )
            )
        return sections

    def _room(self, section: _Section) -> int:
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
        return short[: _fit(short, 0, limit, self.count)]

    # --- Units

    def _units(self, block: Block, section: _Section) -> Iterable[_Unit]:
        unit = self._unit(block)
        room = self._room(section) if unit.cost > self.budget // 2 else self.budget
        if (unit.cost <= room and unit.raw <= self.budget) or not unit.clean:
            yield unit
        else:
            yield from self._split(block, unit, self._room(section))

    def _unit(self, block: Block) -> _Unit:
        source = self.text[block.start : block.end]
        clean = render(block, self.include).strip()
        raw = self.count(source)
        kind: Kind = "prose"
        if block.kind == "code":
            kind = "code"
        elif block.kind in ("table", "row"):
            kind = "table"
        return _Unit(
            block.start,
            block.end,
            clean,
            0 if not clean else raw if clean == source else self.count(clean),
            raw,
            kind,
            block.language,
            block.heading,
            block.heading is not None
            or (block.kind == "marker" and bool(clean))
            or (block.kind == "paragraph" and clean.endswith((":", "："))),
            block.kind == "marker" and not clean and _CLOSER.match(source) is not None,
        )

    def _split(self, block: Block, unit: _Unit, room: int) -> Iterable[_Unit]:
        if block.kind == "table" and block.children:
            yield from self._split_table(block, room)
        elif block.children:
            if block.text:
                end = _line_end(self.text, block.start)
                yield from self._split_markup(block.start, end, block.text, room)
            for child in block.children:
                part = self._unit(child)
                if (part.cost <= room and part.raw <= self.budget) or not part.clean:
                    yield part
                else:
                    yield from self._split(child, part, room)
        elif block.kind == "code":
            yield from self._split_code(block, room)
        elif self.include is not None and self.include(block) is not None:
            # An included file: its pieces all stand for the one line that includes it.
            for piece in self._pieces(unit.clean, room):
                yield self._slice(block.start, block.end, unit.clean[piece])
        elif block.kind in ("marker", "expression"):
            yield from self._split_markup(block.start, block.end, unit.clean, room)
        elif block.kind in ("paragraph", "heading"):
            for part in self._split_text(block.start, block.end, room):
                yield replace(part, heading=unit.heading)
        else:
            for piece in self._pieces(self.text[block.start : block.end], room):
                start, end = block.start + piece.start, block.start + piece.stop
                source = self.text[start:end]
                clean = html_text(source) if block.kind == "html" else source.strip()
                yield self._slice(start, end, clean, unit.kind)

    def _slice(
        self,
        start: int,
        end: int,
        clean: str,
        kind: Kind = "prose",
        *,
        keep_with_next: bool = False,
    ) -> _Unit:
        raw = self.count(self.text[start:end])
        return _Unit(start, end, clean, self.count(clean), raw, kind, keep_with_next=keep_with_next)

    def _split_table(self, block: Block, room: int) -> Iterable[_Unit]:
        """Cut between rows; every piece shows the header, if there is room for it. A row that is
        over the budget alone is cut like a text."""
        header, *rows = block.children
        top = _trimmed(self.text, block.start, rows[0].start if rows else block.end)
        top_raw = self.count(self.text[top])
        head_cost = self.count(header.text) + 1
        head = f"{header.text}\n" if head_cost <= room // 3 else ""
        head_cost = head_cost if head else 0
        if not head and (top_raw > self.budget or self.count(header.text) > room):
            yield from self._split_text(top.start, top.stop, room)
            top = slice(top.stop, top.stop)

        # The header's own lines wait for the first rows and go alone if they don't fit together.
        start, raw, cost = top.start, top_raw, head_cost
        group: list[Block] = []

        def flush() -> Iterable[_Unit]:
            nonlocal top
            if group:
                shown = head + "\n".join(row.text for row in group)
                if not head and start == top.start:
                    shown = f"{header.text}\n{shown}"
                yield self._slice(start, group[-1].end, shown, "table")
            elif top.stop > top.start:
                yield self._slice(top.start, max(header.end, top.start), header.text, "table")
            group.clear()
            top = slice(block.end, block.end)

        for row in rows:
            row_cost = self.count(row.text) + 1
            row_raw = self.count(self.text[row.start : row.end]) + 1
            if row_cost + head_cost > room or row_raw > self.budget:
                yield from flush()
                for part in self._split_text(row.start, row.end, room - head_cost):
                    yield replace(
                        part, clean=head + part.clean, cost=part.cost + head_cost, kind="table"
                    )
                continue
            if (group or top.stop > top.start) and (
                cost + row_cost > room or raw + row_raw > self.budget
            ):
                yield from flush()
            if not group and top.start == top.stop:
                start, raw, cost = row.start, 0, head_cost
            group.append(row)
            cost, raw = cost + row_cost, raw + row_raw
        yield from flush()

    def _split_markup(self, begin: int, stop: int, shown: str, room: int) -> Iterable[_Unit]:
        """Tags or the like of which a reader sees only `shown`: it stands for their first piece,
        and the others can be left off."""
        first, *_ = self._pieces(self.text[begin:stop], self.budget)
        fits = self.count(shown) <= room
        for piece in [slice(0, len(shown))] if fits else self._pieces(shown, room):
            yield self._slice(
                begin + first.start, begin + first.stop, shown[piece], keep_with_next=True
            )

    def _split_text(self, begin: int, stop: int, room: int) -> Iterable[_Unit]:
        """Inline Markdown cut between sentences."""
        for piece in self._pieces(self.text[begin:stop], room):
            start, end = begin + piece.start, begin + piece.stop
            clean = plain_text(self.text[start:end], self.page).strip()
            yield self._slice(start, end, clean)

    def _split_code(self, block: Block, room: int) -> Iterable[_Unit]:
        """Cut between lines, rather where an empty line or one at the margin begins anew. The
        fence's own lines go with the first and the last piece."""
        included = self.include(block) if self.include is not None else None
        wrap = self.count(fence("", block.language)) + (
            self.count(block.title) if block.title else 0
        )
        code = (included if included is not None else block.text).rstrip("\n")
        lines = code.split("\n")
        counted: Sequence[str] = lines
        starts: list[int] = []
        top = block.start
        if included is None:
            # Counted as they stand in the file: with the indentation of the list they are in.
            counted = []
            opening = self.count(self.text[top : block.body]) + 2
            if opening > self.budget // 2:  # a fence's line so long leaves no room for its code
                top = min(block.body, block.end)
                opening = 2
            wrap = max(wrap, opening)
            at = block.body
            for _ in lines:
                at = min(at, block.end)
                starts.append(at)
                end = min(_line_end(self.text, at), block.end)
                counted.append(self.text[at:end])
                at = _next_line(self.text, at)
        limit = max(room - wrap - 1, 8)
        pieces = _line_pieces(counted, limit, self.count)
        for number, (first, last) in enumerate(pieces):
            code = "\n".join(lines[first:last])
            if not code.strip():
                continue
            shown = fence(code, block.language)
            if number == 0 and block.title:
                shown = f"{block.title}\n{shown}"
            if included is not None:
                start, end = block.start, block.end
            else:
                start = top if number == 0 else starts[first]
                end = block.end if last == len(lines) else _line_end(self.text, starts[last - 1])
            part = self._slice(start, max(start, end), shown, "code")
            part = replace(part, language=block.language)
            if (part.cost > room or part.raw > self.budget) and last - first == 1:
                yield from self._split_line(
                    part, code, block.language, room, wrap, included is None
                )
            else:
                yield part

    def _split_line(
        self, line: _Unit, code: str, language: str, room: int, wrap: int, sliced: bool
    ) -> Iterable[_Unit]:
        """A single line of code over the budget: data, or a minified script."""
        limit = max(room - wrap - 1, 8)
        source = self.text[line.start : line.end] if sliced else code
        for piece in self._pieces(source, limit):
            shown = fence(source[piece].strip().strip("`~"), language)
            start, end = (
                (line.start + piece.start, line.start + piece.stop)
                if sliced
                else (line.start, line.end)
            )
            yield replace(self._slice(start, end, shown, "code"), language=language)

    def _pieces(self, source: str, room: int) -> Iterable[slice]:
        """Cut a text between sentences into pieces of nearly the same size."""
        room = max(8, min(room, self.budget) - 1)
        ends = _sentence_ends(source)
        costs: list[int] = []
        spans: list[slice] = []
        begin = 0
        for end in ends:
            cost = self.count(source[begin:end])
            if cost <= room:
                spans.append(slice(begin, end))
                costs.append(cost)
            else:
                while begin < end:
                    cut = begin + _fit(source[begin:end], 0, room, self.count)
                    spans.append(slice(begin, cut))
                    costs.append(self.count(source[begin:cut]))
                    begin = cut
            begin = end
        groups: list[list[int]] = [[]]
        size = 0
        for index, cost in enumerate(costs):
            if groups[-1] and size + cost > room:
                groups.append([])
                size = 0
            groups[-1].append(index)
            size += cost
        # The last sentence often stands alone: take some from the piece before it.
        while len(groups) > 1 and len(groups[-2]) > 1:
            before = sum(costs[i] for i in groups[-2])
            last = sum(costs[i] for i in groups[-1])
            moved = costs[groups[-2][-1]]
            if last + moved > before - moved:
                break
            groups[-1].insert(0, groups[-2].pop())
        for group in filter(None, groups):
            yield _trimmed(source, spans[group[0]].start, spans[group[-1]].stop)

    # --- Packing

    def _pack(self, units: Sequence[_Unit], room: int) -> list[list[_Unit]]:
        groups = self._fill(units, room, self.budget)
        if len(groups) < 2:
            return groups
        # The last group of a greedy filling is often a single sentence: level them out.
        total = sum(unit.cost + 1 for unit in units)
        level = int(total / len(groups) * 1.15)
        leveled = self._fill(units, min(room, level), self.budget)
        groups = leveled if len(leveled) == len(groups) else groups
        if len(groups) > 1:
            self._level_last(groups[-2], groups[-1], room)
        return groups

    def _level_last(self, before: list[_Unit], last: list[_Unit], room: int) -> None:
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
            if all(map(_is_bare, before[:at])) or size > min(rest, room) or raw > self.budget:
                return
            last[:0] = moved
            before[:] = self._trim(before[:at])

    def _fill(self, units: Sequence[_Unit], room: int, raw_room: int) -> list[list[_Unit]]:
        groups: list[list[_Unit]] = []
        group: list[_Unit] = []
        cost = raw = 0
        for unit in units:
            shows = bool(unit.clean)
            if group and shows and (cost + unit.cost > room or raw + unit.raw > raw_room):
                carried = self._carried(group, unit, room)
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
        return [kept for kept in map(self._trim, groups) if kept]

    def _carried(self, group: list[_Unit], unit: _Unit, room: int) -> list[_Unit]:
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
        fits = fits and sum(u.raw + 1 for u in carried) + unit.raw <= self.budget
        return list(carried) if fits else []

    def _trim(self, group: list[_Unit]) -> list[_Unit]:
        """Leave off what shows nothing at the end, but for the tags that close the content."""
        end = len(group)
        while end > 0 and not group[end - 1].clean:
            end -= 1
        raw = sum(unit.raw + 1 for unit in group[:end])
        while end < len(group) and group[end].closes:
            raw += group[end].raw + 1
            if raw > self.budget:
                break
            end += 1
        return group[:end]

    # --- Headings without a text of their own, small sections

    def _attach_bare(self, drafts: list[_Draft]) -> list[_Draft]:
        """No chunk is a bare heading: it goes to its first subsection, else to the chunk before
        it, else to the one after it."""
        kept: list[_Draft] = []
        waiting: list[_Unit] = []
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

    def _fits(self, draft: _Draft, units: Sequence[_Unit]) -> bool:
        said = draft.section.path  # a heading in the path is not embedded twice
        headings = self.page.headings
        cost = draft.cost + sum(
            unit.cost + 1
            for unit in units
            if unit.heading is None or headings[unit.heading].text not in said
        )
        if cost > self._room(draft.section):
            return False
        # Counted as one slice: between the two may stand a comment, which is in no unit.
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
                down = _contains(last, draft)
                if down and cost <= tiny // 2 and self._fits(draft, last.units):
                    # A line of introduction: what follows is what one looks for.
                    merged[-1] = _Draft(draft.section, last.units + draft.units, draft.whole)
                    continue
                near = down or _siblings(last, draft)
                small = min(cost, size) <= tiny and cost + size <= half
                if near and draft.whole and small and self._fits(last, draft.units):
                    last.units.extend(draft.units)
                    continue
            merged.append(draft)
        return merged

    # --- Chunks

    def _finish(self, draft: _Draft, seen: dict[bytes, int]) -> Iterable[Chunk]:
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
        if len(units) > 1 and (tokens > self.budget or self.count(text) > self.budget):
            # `count_tokens` need not be additive, so the sums above only come near it; and what
            # stands between units, a comment for instance, is in no sum.
            half = self._halves(units)
            parts = [units[:half], units[half:]] if half else [_without_bare_ends(units)]
            if parts != [units]:
                for part in parts:
                    yield from self._finish(_Draft(section, part, False), seen)
                return
        # Where a bare heading stands above its own, a reader should see both: the link leads to
        # where the chunk begins.
        first = units[0].heading
        kind, language = _kind_of(units)
        digest = hashlib.blake2b(digest_size=16)
        for known in (str(CHUNKER_VERSION), self.document.path, *section.path, text, embed_text):
            digest.update(known.encode("utf-8", "surrogatepass") + b"\0")
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

    def _halves(self, units: Sequence[_Unit]) -> int:
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


_CLOSER: Final = re.compile(r"[ \t]*(?:</|:{3,}[ \t]*$|/{3,}[ \t]*$)")


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


def _contains(parent: _Draft, child: _Draft) -> bool:
    """Whether `child` stands under a heading below that of `parent`."""
    path = parent.section.path
    return len(child.section.path) > len(path) and child.section.path[: len(path)] == path


def _siblings(one: _Draft, other: _Draft) -> bool:
    return one.section.path[:-1] == other.section.path[:-1] and len(one.section.path) > 1


def _kind_of(units: Sequence[_Unit]) -> tuple[Kind, str]:
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


# --- Places to cut ------------------------------------------------------------------------------

_LINE_BREAK: Final = re.compile(r"\r\n?|\n")


def _line_end(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.start() if found is not None else len(text)


def _next_line(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.end() if found is not None else len(text)


# The end of a sentence: a full stop and its like before white space, or the scripts' own marks,
# after which none need stand (Han, kana), with the quotation marks and brackets that close there.
_SENTENCE_END: Final = re.compile(
    r"(?:[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]*_`]*(?=\s)"
    r"|[\u3002\uff01\uff1f\uff61]+[\u300d\u300f\u201d\u2019\uff09\u3011]*"
    r"|[\u061f\u06d4\u0964\u0965\u104b\u1362\u1367\u17d4\u0589][\"'\u201d\u00bb)]*(?=\s|$))\s*"
    r"|(?:\r\n?|\n)[ \t]*(?:(?:\r\n?|\n)[ \t]*)+"
)
# An abbreviation or an initial before the full stop: no sentence ends there.
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|vol|pp?|approx)\.$"
)
# What a cut may not go through: code, link and image, formula, tag.
_WHOLE: Final = re.compile(
    r"(`+)(?!`).{1,400}?(?<!`)\1(?!`)|!?\[[^\[\]]{0,400}\]\([^()\s]{0,600}\)|\$[^$\n]{1,300}\$|<[^<>\n]{1,300}>",
    re.DOTALL,
)


def _sentence_ends(source: str) -> list[int]:
    """Offsets after each sentence and the white space behind it; the last is the text's end."""
    whole = [found.span() for found in _WHOLE.finditer(source)]
    ends: list[int] = []
    at = 0
    for found in _SENTENCE_END.finditer(source):
        end = found.end()
        while at < len(whole) and whole[at][1] <= found.start():
            at += 1
        if at < len(whole) and whole[at][0] < found.start() < whole[at][1]:
            continue
        stop = source[max(0, found.start() - 10) : found.start() + 1]
        if stop.endswith(".") and _ABBREVIATION.search(stop):
            continue
        ends.append(end)
    if not ends or ends[-1] < len(source):
        ends.append(len(source))
    return ends


_BREAKS: Final = (
    re.compile(r"(?:\r\n?|\n)\s*"),
    re.compile(r"[,;:\u2014](?=\s)\s*|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]\s*"),
    re.compile(r"\s+"),
)


def _fit(text: str, start: int, room: int, count: CountTokens) -> int:
    """How far from `start` a piece of at most `room` tokens reaches: rather to the end of a line,
    a clause or a word; at least one character."""
    # Grow the window until it holds too much, then halve the doubt to a few characters: nobody
    # sees whether a cut could have come two characters later.
    low, size = start, room * 4
    while True:
        high = min(len(text), start + size)
        if count(text[start:high]) > room:
            break
        low = high
        if high == len(text):
            return high
        size *= 2
    low = max(low, start + 1)
    while high - low > 1 + (low - start) // 50:
        middle = (low + high) // 2
        if count(text[start:middle]) <= room:
            low = middle
        else:
            high = middle
    least = start + (low - start) // 2
    for pattern in _BREAKS:
        cut = -1
        for found in pattern.finditer(text, least, low):
            cut = found.end()
        if cut > start:
            return cut
    # Not between a letter and its vowel sign, nor inside an emoji sequence.
    cut = low
    while cut > least and cut < len(text) and _joins(text[cut - 1], text[cut]):
        cut -= 1
    return cut if cut > least else low


def _joins(before: str, after: str) -> bool:
    return (
        unicodedata.category(after)[0] == "M" or after in "\u200d\ufe0f" or before == "\u200d"
    ) or (before == "\r" and after == "\n")


def _trimmed(source: str, start: int, stop: int) -> slice:
    """The piece without the white space around it; a cut may not leave a character out, so all
    that is left off is white space."""
    while stop > start + 1 and source[stop - 1].isspace():
        stop -= 1
    while start < stop - 1 and source[start] in "\r\n":
        start += 1
    return slice(start, stop)


def _line_pieces(lines: Sequence[str], room: int, count: CountTokens) -> list[tuple[int, int]]:
    """Cut lines of code into runs of at most `room` tokens, each `(first, last + 1)`; a line over
    that is a run of its own. Runs are filled by the listing's average and counted once: counting
    line by line takes longer than parsing the page."""
    whole = "\n".join(lines)
    rate = count(whole) / max(len(whole), 1)
    pieces: list[tuple[int, int]] = []
    todo: list[tuple[int, int]] = []
    first, size = 0, 0.0
    index = 0
    while index < len(lines):
        cost = rate * (len(lines[index]) + 1)
        if index > first and size + cost > room * 0.95:
            first, size = _best_line(lines, first, index), 0.0
            todo.append((todo[-1][1] if todo else 0, first))
            index = first
            continue
        size += cost
        index += 1
    todo.append((first, len(lines)))
    todo.reverse()
    while todo:
        first, last = todo.pop()
        if last - first > 1 and count("\n".join(lines[first:last])) > room:
            middle = _best_line(lines, first, (first + last + 1) // 2)
            todo += [(middle, last), (first, middle)]
        else:
            pieces.append((first, last))
    return pieces


def _best_line(lines: Sequence[str], first: int, last: int) -> int:
    """Where to begin the next piece, in the second half of lines `first` to `last`: after an
    empty line if the next one is at the margin, after any empty line, at the margin, or here."""
    least = first + max(1, (last - first) // 2)
    margin = empty = 0
    for index in range(last, least - 1, -1):
        if index >= len(lines):
            continue
        line, above = lines[index], lines[index - 1]
        at_margin = bool(line) and not line[0].isspace() and line[0] not in "})]"
        if not above.strip():
            if at_margin:
                return index
            empty = empty or index
        elif at_margin:
            margin = margin or index
    return empty or margin or last
