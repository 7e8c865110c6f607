"""Chunks in the making: headings without a text of their own find one, and tiny sections are
merged with their neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lib.chunking_sections import Section
from lib.markdown_page import Page
from lib.splitting import Unit, is_bare
from lib.tokens import CountTokens


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
