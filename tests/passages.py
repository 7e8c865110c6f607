"""Factories of passages and extracts."""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from lib.extractive import _Extract, extract_in_steps
from lib.ranking import Passage
from lib.runtime import run_to_end
from lib.store import Section
from lib.terms import terms


def make_passage(
    text: str,
    file_path: str = "a.md",
    *,
    chapter: str = "",
    section: str = "",
    heading: str = "",
    url: str | None = None,
    start: int = 0,
    chunk_id: str = "",
    kind: str = "prose",
    language: str = "",
    score: float = 0.5,
) -> Passage:
    return Passage(
        chunk_id=chunk_id or f"{file_path}:{start}:{text[:20]}",
        text=text,
        file_path=file_path,
        chapter=chapter,
        section=section,
        heading=heading,
        url=url,
        start_char=start,
        end_char=start + len(text),
        kind=kind,
        language=language,
        score=score,
    )


def passage_of_sections(text: str, score: float = 0.5) -> Passage:
    """A passage of a page whose headings, lines with `#`, each begin a section."""
    sections = tuple(
        Section(
            start_char=found.start(),
            heading=found[1],
            section="Guide",
            url=f"https://b.example/p#{found[1].lower()}",
        )
        for found in re.finditer(r"^#+ (.+)$", text, re.MULTILINE)
    )
    first = sections[0]
    passage = make_passage(
        text, chapter="Book", section="Guide", heading=first.heading, url=first.url, score=score
    )
    return replace(passage, sections=sections)


def passage_at(file: str, start: int, end: int, score: float = 0.5) -> Passage:
    """A passage of which only the place matters."""
    text = "x" * (end - start)
    return make_passage(text, file, chapter="C", heading="H", start=start, score=score)


def numbered_passage(
    number: int, url: str | None = "https://b.example/p{}#h", text: str = "Text."
) -> Passage:
    """Passage `number`, with its number in file path and address."""
    return make_passage(
        text,
        f"{number}.md",
        chunk_id=f"chunk-{number}",
        chapter="Chapter",
        section="Section",
        heading="Heading",
        url=url and url.format(number),
    )


def extract(question: str, passages: Sequence[Passage]) -> list[_Extract]:
    return run_to_end(extract_in_steps(dict.fromkeys(terms(question), 1.0), passages))
