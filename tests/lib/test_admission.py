"""How many answers are written at once, and who is next."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from lib.admission import Admission
from lib.errors import Busy

LONG = 60.0


class Reader:
    """A task that enters, holds its place until `done`, and leaves."""

    def __init__(self, admission: Admission, name: str = "") -> None:
        self.name = name
        self.entered = asyncio.Event()
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._run(admission))

    async def _run(self, admission: Admission) -> None:
        async with admission.enter(self.name):
            self.entered.set()
            await self.done.wait()

    async def finish(self) -> None:
        self.done.set()
        await self.task

    async def leave(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def come(admission: Admission, *names: str) -> list[Reader]:
    readers = [Reader(admission, name) for name in names]
    await settle()
    return readers


def inside(readers: list[Reader]) -> list[int]:
    return [number for number, reader in enumerate(readers) if reader.entered.is_set()]


async def test_as_many_as_may_be_and_the_rest_in_their_order() -> None:
    admission = Admission(2, patience=LONG)
    readers = await come(admission, *"abcde")
    assert inside(readers) == [0, 1]
    assert (admission.running, admission.waiting) == (2, 3)
    await readers[1].finish()
    await settle()
    assert inside(readers) == [0, 1, 2]
    await readers[0].finish()
    await readers[2].finish()
    await settle()
    assert inside(readers) == [0, 1, 2, 3, 4]
    for reader in readers[3:]:
        await reader.finish()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_failure_inside_frees_the_place() -> None:
    admission = Admission(1)
    with pytest.raises(ValueError, match="no"):
        async with admission.enter():
            raise ValueError("no")
    async with admission.enter():
        assert admission.running == 1


async def test_patience_ends() -> None:
    admission = Admission(1, patience=0.01)
    async with admission.enter("a"):
        with pytest.raises(Busy) as caught:
            async with admission.enter("b"):
                pytest.fail("two are inside")
        assert caught.value.status == 503
        assert caught.value.code == "BUSY"
        assert caught.value.retry_after
        assert (admission.running, admission.waiting, admission.refused) == (1, 0, 1)
    async with admission.enter("b"):
        pass


async def test_a_full_queue_is_told_at_once() -> None:
    admission = Admission(1, queue=2, patience=LONG)
    readers = await come(admission, *"abc")
    with pytest.raises(Busy):
        async with admission.enter("d"):
            pytest.fail("it waited")
    assert admission.waiting == 2
    for reader in readers:
        await reader.finish()


async def test_no_queue() -> None:
    admission = Admission(1, queue=0)
    async with admission.enter("a"):
        with pytest.raises(Busy):
            async with admission.enter("b"):
                pytest.fail("it waited")


async def test_who_leaves_the_queue_frees_their_place_in_it() -> None:
    admission = Admission(1, queue=2, patience=LONG)
    readers = await come(admission, *"abc")
    await readers[1].leave()
    assert admission.waiting == 1
    readers += await come(admission, "d")
    await readers[0].finish()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    await readers[3].finish()


async def test_one_who_leaves_in_the_moment_of_being_admitted_wakes_the_next() -> None:
    admission = Admission(1, patience=LONG)
    readers = await come(admission, *"abc")
    readers[0].done.set()
    await asyncio.sleep(0)  # a gives its place to b, who has not run yet
    assert admission.running == 1
    assert not readers[1].entered.is_set()
    await readers[1].leave()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    assert admission.running == 0


async def test_one_who_has_just_gone_is_not_admitted() -> None:
    admission = Admission(1, patience=LONG)
    readers = await come(admission, *"abc")
    readers[1].task.cancel()
    readers[0].done.set()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_reader_with_many_requests_does_not_keep_others_waiting() -> None:
    admission = Admission(2, patience=LONG)
    readers = await come(admission, *"aaaaa", "b")
    await readers[0].finish()
    await settle()
    assert inside(readers) == [0, 1, 5]
    await readers[5].finish()
    await settle()
    assert inside(readers) == [0, 1, 2, 5]
    for reader in readers[1:5]:
        await reader.finish()


async def test_readers_take_turns() -> None:
    admission = Admission(1, patience=LONG)
    readers = await come(admission, "x", *"aaabb")
    order = []
    while standing := [r for r in readers if r.entered.is_set()]:
        assert len(standing) == 1
        order.append(standing[0].name)
        readers.remove(standing[0])
        await standing[0].finish()
        await settle()
    assert "".join(order) == "xababa"


async def test_who_fills_the_queue_makes_room_for_others() -> None:
    admission = Admission(1, queue=3, patience=LONG)
    readers = await come(admission, *"aaaa", "b")
    with pytest.raises(Busy):
        await readers[3].task
    assert (admission.running, admission.waiting) == (1, 3)
    with pytest.raises(Busy):
        async with admission.enter("b"):
            pytest.fail("b would then wait as often as a")
    for number in (0, 1, 4, 2):
        await readers[number].finish()


async def test_one_reader_alone_may_have_all_places() -> None:
    """Behind a proxy that was not configured all readers are one."""
    admission = Admission(50)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(admission.enter("a"))
        assert admission.running == 50


@pytest.mark.parametrize("seed", range(30))
async def test_no_place_is_lost_and_none_is_given_twice(seed: int) -> None:
    """Readers come, finish and go in any order, also in the same turn of the loop."""
    chance = random.Random(seed)
    limit, queue = chance.randint(1, 4), chance.randint(0, 6)
    admission = Admission(limit, queue=queue, patience=LONG)
    readers: list[Reader] = []
    for _ in range(300):
        match chance.randrange(4):
            case 0 | 1:
                readers.append(Reader(admission, chance.choice("aab")))
            case 2 if readers:
                chance.choice(readers).done.set()
            case 3 if readers:
                chance.choice(readers).task.cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
        assert 0 <= admission.running <= limit
        assert 0 <= admission.waiting <= queue
    await settle()
    held = [r for r in readers if r.entered.is_set() and not r.task.done()]
    assert admission.running == len(held)
    waiting = [r for r in readers if not r.entered.is_set() and not r.task.done()]
    assert admission.waiting == len(waiting)
    assert not waiting or admission.running == limit
    for reader in readers:
        reader.done.set()
    ended = await asyncio.gather(*(r.task for r in readers), return_exceptions=True)
    assert {type(each) for each in ended} <= {type(None), Busy, asyncio.CancelledError}
    assert (admission.running, admission.waiting) == (0, 0)
    async with AsyncExitStack() as stack:
        for _ in range(limit):
            await stack.enter_async_context(admission.enter())
