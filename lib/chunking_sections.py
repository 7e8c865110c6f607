"""The sections of a page: what stands under which heading, and what the headings above it are."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lib.markdown_page import Block, Page


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
