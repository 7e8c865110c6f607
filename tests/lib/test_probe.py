import asyncio

import pytest

from lib.probe import Probe


class Dependency:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    def clock(self) -> float:
        return self.now

    async def __call__(self) -> int:
        self.asked += 1
        await self.answers.wait()
        return self.asked


async def test_the_answer_is_kept_for_its_time() -> None:
    dependency = Dependency()
    probe = Probe(dependency, seconds=10, clock=dependency.clock)
    assert [await probe.answer(10) for _ in range(3)] == [1, 1, 1]
    dependency.now = 9.9
    assert await probe.answer(10) == 1
    dependency.now = 10.0
    assert await probe.answer(10) == 2


async def test_one_that_hangs_is_asked_once_and_the_last_answer_stands() -> None:
    dependency = Dependency()
    probe = Probe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(10) == 1
    dependency.answers.clear()
    for dependency.now in (20.0, 40.0, 60.0):
        assert await probe.answer(0.01) == 1
    assert dependency.asked == 2
    dependency.answers.set()
    assert await probe.answer(50) == 2
    await probe.close()


async def test_one_that_hangs_is_waited_for_once() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = Probe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(0.01) is None
    dependency.now = 0.01
    with pytest.raises(StopIteration):
        probe.answer(0.01).send(None)  # its first step is its last
    await probe.close()


async def test_nothing_is_known_before_the_first_answer() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = Probe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(0) is None
    await probe.close()


async def test_closing_stops_the_question() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = Probe(dependency, seconds=10, clock=dependency.clock)
    await probe.answer(0)
    await probe.close()
    await probe.close()
    dependency.answers.set()
    assert await probe.answer(0) is None


async def test_closing_what_was_never_asked() -> None:
    await Probe(Dependency(), seconds=1).close()
