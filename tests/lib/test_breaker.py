"""A service that is down costs the first readers their time, and nobody else."""

import asyncio
import random
from contextlib import ExitStack

import pytest

from lib.errors import IndexNotReady, QuireError, StoreUnavailable, UpstreamError
from lib.resilience import Breaker, Call
from lib.upstream import upstream_error
from tests.clock import Clock

LATE = upstream_error("The model", 408)
DOWN = upstream_error("The model")
PAUSE = 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, patience: float | None = None) -> Breaker:
    return Breaker(
        LATE,
        failures=3,
        window=10.0,
        patience=patience,
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


def test_some_failures_in_a_row_open_it(breaker: Breaker) -> None:
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


def test_after_a_pause_one_call_tries(breaker: Breaker, clock: Clock) -> None:
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


def test_pauses_are_drawn_apart(clock: Clock) -> None:
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
def test_what_the_service_did_not_do_does_not_count(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    fail(breaker)
    fail(breaker)
    for _ in range(5):
        fail(breaker, error)
    assert state(breaker) == "closed"
    fail(breaker)  # the third in a row: a reader's leaving is no success either
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
def test_a_refused_question_is_not_the_service_s_failure(
    breaker: Breaker, status: int | None, opens: bool
) -> None:
    """Else whoever finds a question that the model's filter refuses could turn it off for all."""
    for _ in range(3):
        with pytest.raises(UpstreamError), breaker.call():
            raise upstream_error("The model", status)
    assert breaker.opened == opens


def test_stragglers_of_the_time_before_change_nothing(breaker: Breaker, clock: Clock) -> None:
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


def test_a_service_that_hangs_costs_only_the_first(clock: Clock) -> None:
    breaker = make(clock, patience=2.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(breaker.call())
            clock.now += 0.5
        with breaker.call():  # the third has not waited for long enough
            pass
        clock.now += 2.1
        error = refused(breaker)
        assert error.message == LATE.message
        assert state(breaker) == "open"


def test_long_calls_are_no_fault_while_others_are_answered(clock: Clock) -> None:
    breaker = make(clock, patience=2.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(breaker.call())
            succeed(breaker)
        for _ in range(20):
            clock.now += 1.0
            succeed(breaker)


def test_streams_that_have_begun_do_not_hang(clock: Clock) -> None:
    breaker = make(clock, patience=2.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(breaker.call()).answered()
        clock.now += 60.0
        succeed(breaker)


def test_an_answer_from_memory_says_nothing(breaker: Breaker, clock: Clock) -> None:
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
    """A long answer whose first word has come."""
    answering = ExitStack()
    answering.enter_context(breaker.call()).answered()
    return answering


def break_off(answering: ExitStack) -> None:
    with pytest.raises(UpstreamError), answering:
        raise DOWN


def test_a_long_answer_may_fail_at_any_time(breaker: Breaker) -> None:
    for _ in range(3):
        break_off(begin(breaker))
    assert state(breaker) == "open"
    refused(breaker)


def test_readers_who_leave_are_no_failures(breaker: Breaker) -> None:
    for _ in range(10):
        with pytest.raises(GeneratorExit), begin(breaker):
            raise GeneratorExit
    assert state(breaker) == "closed"


def test_the_first_word_of_a_probe_closes_it_on_probation(breaker: Breaker, clock: Clock) -> None:
    """The others need not wait for the whole answer; yet one that breaks off opens it again."""
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
def test_it_always_recovers(clock: Clock, seed: int) -> None:
    """Whatever calls overlap, fail, end or are left: one probe at most, and never stuck."""
    chance = random.Random(seed)
    breaker = make(clock, patience=chance.choice([None, 2.0]))
    running: list[Call] = []
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
