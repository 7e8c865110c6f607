import asyncio
from collections.abc import Generator

import pytest

from lib.runtime import AT_ONCE, at_once, in_slices


def steps(seen: list[str], name: str) -> Generator[None, None, str]:
    for number in range(3):
        seen.append(f"{name}{number}")
        yield
    return name


async def test_others_have_a_turn_between_two_slices() -> None:
    seen: list[str] = []

    async def other() -> None:
        for number in range(3):
            seen.append(f"other{number}")
            await asyncio.sleep(0)

    found, _ = await asyncio.gather(in_slices(steps(seen, "a"), 0), other())
    assert found == "a"
    assert seen == ["a0", "other0", "a1", "other1", "a2", "other2"]


async def test_only_so_many_pieces_of_work_go_on_at_once() -> None:
    seen: list[str] = []
    names = "abcd"[: AT_ONCE + 1]
    works = (in_slices(steps(seen, name), 0) for name in names)
    assert await asyncio.gather(*works) == list(names)
    assert seen.index(f"{names[-1]}0") > seen.index("a2")
    assert {step[0] for step in seen[:AT_ONCE]} == set(names[:-1])


async def test_what_is_short_is_one_slice() -> None:
    seen: list[str] = []
    both = (in_slices(steps(seen, name), 60) for name in "ab")
    assert await asyncio.gather(*both) == ["a", "b"]
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_work_ends_with_who_asked_for_it() -> None:
    seen: list[str] = []
    asked = asyncio.create_task(in_slices(steps(seen, "a"), 0))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert seen == ["a0"]
    assert await in_slices(steps(seen, "b")) == "b"


def test_without_an_event_loop() -> None:
    seen: list[str] = []
    assert at_once(steps(seen, "a")) == "a"
    assert seen == ["a0", "a1", "a2"]
