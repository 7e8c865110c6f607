"""Circuit breaker, admission queue and cached probe, driven with a fake clock."""

import asyncio
import random
from contextlib import AsyncExitStack, ExitStack

import pytest

from lib.errors import (
    Busy,
    IndexNotReady,
    QuireError,
    StoreUnavailable,
    UpstreamError,
    upstream_error,
)
from lib.resilience import Admission, Breaker, CachedProbe, _BreakerCall
from tests.clock import Clock

LATE = upstream_error("The model", 408)
DOWN = upstream_error("The model")
PAUSE = 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, hang_after: float | None = None) -> Breaker:
    return Breaker(
        LATE,
        failures=3,
        window=10.0,
        hang_after=hang_after,
        pause=PAUSE,
        longest_pause=4.0,
        clock=clock,
        jitter=lambda: 1.0,
    )


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return make(clock)


def state(breaker: Breaker) -> str:
    return breaker.state


def fail(breaker: Breaker, error: BaseException = DOWN) -> None:
    with pytest.raises(type(error)), breaker.call():
        raise error


def succeed(breaker: Breaker) -> None:
    with breaker.call():
        pass


def refused(breaker: Breaker) -> QuireError:
    before = breaker.refused
    with pytest.raises(QuireError) as caught, breaker.call():
        pytest.fail("it was let through")
    assert breaker.refused == before + 1
    return caught.value


def trip(breaker: Breaker) -> None:
    while state(breaker) == "closed":
        fail(breaker)


def test_consecutive_failures_open_the_breaker(breaker: Breaker) -> None:
    for _ in range(2):
        fail(breaker)
        assert state(breaker) == "closed"
    fail(breaker)
    assert state(breaker) == "open"
    assert breaker.opened == 1
    error = refused(breaker)
    assert type(error) is UpstreamError
    assert error.message == DOWN.message
    assert error is not DOWN
    assert error.retry_after == PAUSE


def test_a_success_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        succeed(breaker)
    assert state(breaker) == "closed"


def test_old_failures_do_not_count(breaker: Breaker, clock: Clock) -> None:
    for _ in range(6):
        fail(breaker)
        clock.now += 5.1
    assert state(breaker) == "closed"


def test_half_open_allows_one_probe(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += PAUSE - 0.01
    refused(breaker)
    clock.now += 0.01
    assert state(breaker) == "half-open"
    with breaker.call():
        refused(breaker)
        refused(breaker)
    assert state(breaker) == "closed"
    succeed(breaker)


def test_it_can_be_closed(breaker: Breaker) -> None:
    trip(breaker)
    breaker.close()
    assert state(breaker) == "closed"
    for _ in range(2):
        fail(breaker)
    succeed(breaker)


def test_pauses_grow_to_a_limit_and_shrink_after_success(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE, 4 * PAUSE):
        assert refused(breaker).retry_after == pause
        clock.now += pause
        fail(breaker)
    clock.now += 4 * PAUSE
    succeed(breaker)
    trip(breaker)
    assert refused(breaker).retry_after == PAUSE


def test_pauses_are_jittered(clock: Clock) -> None:
    drawn = set()
    for seed in range(20):
        jitter = random.Random(seed).random
        breaker = Breaker(LATE, pause=10.0, clock=clock, jitter=jitter)
        trip(breaker)
        drawn.add(refused(breaker).retry_after)
    assert len(drawn) == 20
    assert all(pause is not None and 5.0 <= pause <= 10.0 for pause in drawn)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), IndexNotReady("None."), ValueError("no")]
)
def test_only_errors_of_the_service_count(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    fail(breaker)
    fail(breaker)
    for _ in range(5):
        fail(breaker, error)
    assert state(breaker) == "closed"
    fail(breaker)  # third in a row: a cancelled call is not a success either
    assert state(breaker) == "open"
    clock.now += PAUSE
    fail(breaker, error)
    assert state(breaker) == "half-open"
    succeed(breaker)
    assert state(breaker) == "closed"


@pytest.mark.parametrize(
    ("status", "opens"),
    [(None, True), (500, True), (429, True), (401, True), (400, False), (413, False), (422, False)],
)
def test_a_refused_request_does_not_open_the_breaker(
    breaker: Breaker, status: int | None, opens: bool
) -> None:
    """A question refused by the model's filter must not open the breaker for everyone."""
    for _ in range(3):
        with pytest.raises(UpstreamError), breaker.call():
            raise upstream_error("The model", status)
    assert breaker.opened == opens


def test_calls_from_before_it_opened_change_nothing(breaker: Breaker, clock: Clock) -> None:
    slow = [breaker.call().__enter__() for _ in range(10)]
    trip(breaker)
    clock.now += PAUSE
    for call in slow[:5]:
        call.__exit__(UpstreamError, DOWN, None)
    assert state(breaker) == "half-open"
    for call in slow[5:8]:
        call.__exit__(None, None, None)
    assert state(breaker) == "half-open"
    succeed(breaker)
    for call in slow[8:]:
        call.__exit__(UpstreamError, DOWN, None)
    fail(breaker)
    assert state(breaker) == "closed"
    assert breaker.opened == 1


def test_hanging_calls_open_the_breaker(clock: Clock) -> None:
    breaker = make(clock, hang_after=2.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(breaker.call())
            clock.now += 0.5
        with breaker.call():  # the third has not waited long enough
            pass
        clock.now += 2.1
        error = refused(breaker)
        assert error.message == LATE.message
        assert state(breaker) == "open"


def test_long_calls_do_not_count_as_hanging_while_others_are_answered(clock: Clock) -> None:
    breaker = make(clock, hang_after=2.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(breaker.call())
            succeed(breaker)
        for _ in range(20):
            clock.now += 1.0
            succeed(breaker)


def test_streams_that_have_begun_do_not_count_as_hanging(clock: Clock) -> None:
    breaker = make(clock, hang_after=2.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(breaker.call()).answered()
        clock.now += 60.0
        succeed(breaker)


def test_a_success_from_memory_does_not_count(breaker: Breaker, clock: Clock) -> None:
    def remembered() -> None:
        with breaker.call(from_memory=True):
            pass

    for _ in range(3):
        fail(breaker)
        remembered() if state(breaker) == "closed" else None
    assert state(breaker) == "open"
    with pytest.raises(UpstreamError):
        remembered()
    clock.now += PAUSE
    remembered()
    assert state(breaker) == "half-open"
    succeed(breaker)
    for _ in range(3):
        with pytest.raises(StoreUnavailable), breaker.call(from_memory=True):
            raise StoreUnavailable("Gone.")
    assert refused(breaker).message == "Gone."


def begin(breaker: Breaker) -> ExitStack:
    """A streamed answer whose first token has arrived."""
    answering = ExitStack()
    answering.enter_context(breaker.call()).answered()
    return answering


def break_off(answering: ExitStack) -> None:
    with pytest.raises(UpstreamError), answering:
        raise DOWN


def test_interrupted_streams_open_the_breaker(breaker: Breaker) -> None:
    for _ in range(3):
        break_off(begin(breaker))
    assert state(breaker) == "open"
    refused(breaker)


def test_cancelled_streams_are_not_failures(breaker: Breaker) -> None:
    for _ in range(10):
        with pytest.raises(GeneratorExit), begin(breaker):
            raise GeneratorExit
    assert state(breaker) == "closed"


def test_a_probe_s_first_token_closes_the_breaker_on_probation(
    breaker: Breaker, clock: Clock
) -> None:
    """Others need not wait for the whole answer, but an interrupted probe opens the breaker."""
    trip(breaker)
    clock.now += PAUSE
    answering = ExitStack()
    probe = answering.enter_context(breaker.call())
    refused(breaker)
    probe.answered()
    assert state(breaker) == "closed"
    break_off(answering)
    assert state(breaker) == "open"
    assert refused(breaker).retry_after == 2 * PAUSE


@pytest.mark.parametrize("seed", range(20))
def test_the_breaker_always_recovers(clock: Clock, seed: int) -> None:
    """Random overlapping calls: at most one probe at a time, and the breaker never gets stuck."""
    chance = random.Random(seed)
    breaker = make(clock, hang_after=chance.choice([None, 2.0]))
    running: list[_BreakerCall] = []
    for _ in range(500):
        clock.now += chance.random()
        if chance.random() < 0.5:
            call = breaker.call(from_memory=chance.random() < 0.2)
            was, probing = state(breaker), any(call.epoch == breaker.opened for call in running)
            try:
                running.append(call.__enter__())
            except UpstreamError:
                assert state(breaker) != "closed"
            else:
                assert was != "open"
                assert was == "closed" or not probing
        elif running:
            call = running.pop(chance.randrange(len(running)))
            if chance.random() < 0.3:
                call.answered()
            error = chance.choice([None, DOWN, DOWN, asyncio.CancelledError()])
            call.__exit__(type(error) if error else None, error, None)
    for call in running:
        call.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    clock.now += 4.0
    for _ in range(3):
        succeed(breaker)
        assert state(breaker) == "closed"


LONG = 60.0


class Reader:
    """A task that takes a slot, holds it until `done` is set, and releases it."""

    def __init__(self, admission: Admission, name: str = "") -> None:
        self.name = name
        self.entered = asyncio.Event()
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._run(admission))

    async def _run(self, admission: Admission) -> None:
        async with admission.slot(self.name):
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
    """Run every task until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def come(admission: Admission, *names: str) -> list[Reader]:
    readers = [Reader(admission, name) for name in names]
    await settle()
    return readers


def inside(readers: list[Reader]) -> list[int]:
    return [number for number, reader in enumerate(readers) if reader.entered.is_set()]


async def test_up_to_the_limit_run_and_the_rest_wait_in_order() -> None:
    admission = Admission(2, max_wait=LONG)
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


async def test_an_error_releases_the_slot() -> None:
    admission = Admission(1)
    with pytest.raises(ValueError, match="no"):
        async with admission.slot():
            raise ValueError("no")
    async with admission.slot():
        assert admission.running == 1


async def test_waiting_ends_after_max_wait() -> None:
    admission = Admission(1, max_wait=0.01)
    async with admission.slot("a"):
        with pytest.raises(Busy) as caught:
            async with admission.slot("b"):
                pytest.fail("two are inside")
        assert caught.value.status == 503
        assert caught.value.code == "BUSY"
        assert caught.value.retry_after
        assert (admission.running, admission.waiting, admission.refused) == (1, 0, 1)
    async with admission.slot("b"):
        pass


async def test_a_full_queue_refuses_without_waiting() -> None:
    admission = Admission(1, queue=2, max_wait=LONG)
    readers = await come(admission, *"abc")
    with pytest.raises(Busy):
        async with admission.slot("d"):
            pytest.fail("it waited")
    assert admission.waiting == 2
    for reader in readers:
        await reader.finish()


async def test_no_queue() -> None:
    admission = Admission(1, queue=0)
    async with admission.slot("a"):
        with pytest.raises(Busy):
            async with admission.slot("b"):
                pytest.fail("it waited")


async def test_a_cancelled_waiter_frees_its_place_in_the_queue() -> None:
    admission = Admission(1, queue=2, max_wait=LONG)
    readers = await come(admission, *"abc")
    await readers[1].leave()
    assert admission.waiting == 1
    readers += await come(admission, "d")
    await readers[0].finish()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    await readers[3].finish()


async def test_a_waiter_cancelled_on_admission_wakes_the_next() -> None:
    admission = Admission(1, max_wait=LONG)
    readers = await come(admission, *"abc")
    readers[0].done.set()
    await asyncio.sleep(0)  # a hands its slot to b, which has not run yet
    assert admission.running == 1
    assert not readers[1].entered.is_set()
    await readers[1].leave()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    assert admission.running == 0


async def test_a_cancelled_waiter_is_not_admitted() -> None:
    admission = Admission(1, max_wait=LONG)
    readers = await come(admission, *"abc")
    readers[1].task.cancel()
    readers[0].done.set()
    await settle()
    assert inside(readers) == [0, 2]
    await readers[2].finish()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_reader_with_many_requests_does_not_keep_others_waiting() -> None:
    admission = Admission(2, max_wait=LONG)
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
    admission = Admission(1, max_wait=LONG)
    readers = await come(admission, "x", *"aaabb")
    order = []
    while standing := [r for r in readers if r.entered.is_set()]:
        assert len(standing) == 1
        order.append(standing[0].name)
        readers.remove(standing[0])
        await standing[0].finish()
        await settle()
    assert "".join(order) == "xababa"


async def test_the_longest_queue_makes_room_for_others() -> None:
    admission = Admission(1, queue=3, max_wait=LONG)
    readers = await come(admission, *"aaaa", "b")
    with pytest.raises(Busy):
        await readers[3].task
    assert (admission.running, admission.waiting) == (1, 3)
    with pytest.raises(Busy):
        async with admission.slot("b"):
            pytest.fail("b would then wait as often as a")
    for number in (0, 1, 4, 2):
        await readers[number].finish()


async def test_one_reader_alone_may_hold_all_slots() -> None:
    """Behind a proxy that is not configured, all readers look like one."""
    admission = Admission(50)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(admission.slot("a"))
        assert admission.running == 50


@pytest.mark.parametrize("seed", range(30))
async def test_no_slot_is_lost_or_given_twice(seed: int) -> None:
    """Readers arrive, finish and leave in random order, also in one turn of the loop."""
    chance = random.Random(seed)
    limit, queue = chance.randint(1, 4), chance.randint(0, 6)
    admission = Admission(limit, queue=queue, max_wait=LONG)
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
            await stack.enter_async_context(admission.slot())


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


async def test_the_result_is_cached_for_its_time() -> None:
    dependency = Dependency()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert [await probe.answer(10) for _ in range(3)] == [1, 1, 1]
    dependency.now = 9.9
    assert await probe.answer(10) == 1
    dependency.now = 10.0
    assert await probe.answer(10) == 2


async def test_a_hanging_check_runs_once_and_the_last_result_stands() -> None:
    dependency = Dependency()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(10) == 1
    dependency.answers.clear()
    for dependency.now in (20.0, 40.0, 60.0):
        assert await probe.answer(0.01) == 1
    assert dependency.asked == 2
    dependency.answers.set()
    assert await probe.answer(50) == 2
    await probe.close()


async def test_a_hanging_check_is_waited_for_once() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(0.01) is None
    dependency.now = 0.01
    with pytest.raises(StopIteration):
        probe.answer(0.01).send(None)  # returns without waiting
    await probe.close()


async def test_an_expired_result_is_not_given_again() -> None:
    dependency = Dependency()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(10) == 1
    probe.expire()
    assert [await probe.answer(10) for _ in range(2)] == [2, 2]


async def test_a_check_that_ran_when_the_result_expired_is_repeated() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(0.01) is None
    probe.expire()
    dependency.answers.set()
    assert await probe.answer(10) == 2


async def test_nothing_is_known_before_the_first_result() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    assert await probe.answer(0) is None
    await probe.close()


async def test_closing_cancels_the_check() -> None:
    dependency = Dependency()
    dependency.answers.clear()
    probe = CachedProbe(dependency, seconds=10, clock=dependency.clock)
    await probe.answer(0)
    await probe.close()
    await probe.close()
    dependency.answers.set()
    assert await probe.answer(0) is None


async def test_closing_before_the_first_check() -> None:
    await CachedProbe(Dependency(), seconds=1).close()
