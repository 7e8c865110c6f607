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
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lib.chunking_drafts import Draft, Joiner
from lib.chunking_packing import halves, pack, without_bare_ends
from lib.chunking_sections import Section, sections_of, title_from_path
from lib.cutting import text_pieces
from lib.documents import Document
from lib.markdown_page import Page
from lib.splitting import Include, Kind, Unit, UnitMaker, is_bare
from lib.tokens import CountTokens

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
