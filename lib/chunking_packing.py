"""Units packed into chunks: as few as hold them, and none of those a crumb."""

from collections.abc import Sequence

from lib.splitting import Unit, is_bare


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
