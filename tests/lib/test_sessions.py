import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sessions import (
    MAX_EXCHANGES,
    MAX_MESSAGE_CHARACTERS,
    MAX_SESSIONS,
    SESSION_BYTES,
    Message,
    Sessions,
    new_session_id,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_unknown_session_has_no_history() -> None:
    assert Sessions().history("nobody") == ()


def test_exchanges_are_kept_in_order() -> None:
    sessions = Sessions()
    sessions.remember("s", "first?", "one")
    sessions.remember("s", "second?", "two")
    sessions.remember("t", "other?", "three")
    assert sessions.history("s") == (
        Message("user", "first?"),
        Message("assistant", "one"),
        Message("user", "second?"),
        Message("assistant", "two"),
    )


@given(st.integers(0, 20))
def test_a_session_keeps_its_last_exchanges_whole(count: int) -> None:
    sessions = Sessions()
    for number in range(count):
        sessions.remember("s", f"{number}?", f"{number}.")
    history = sessions.history("s")
    assert len(history) == 2 * min(count, MAX_EXCHANGES)
    assert [m.role for m in history] == ["user", "assistant"] * (len(history) // 2)
    if count:
        assert history[-1].content == f"{count - 1}."


def test_a_long_message_is_cut() -> None:
    sessions = Sessions()
    sessions.remember("s", "q" * 100_000, "a" * 100_000)
    assert {len(m.content) for m in sessions.history("s")} == {MAX_MESSAGE_CHARACTERS}


def test_only_so_many_sessions_are_kept_and_the_least_used_goes_first() -> None:
    sessions = Sessions(max_sessions=3)
    for name in "abc":
        sessions.remember(name, "?", ".")
    sessions.history("a")
    sessions.remember("d", "?", ".")
    assert len(sessions) == 3
    assert [bool(sessions.history(name)) for name in "abcd"] == [True, False, True, True]


def test_there_is_a_bound_by_default() -> None:
    sessions = Sessions()
    for number in range(MAX_SESSIONS + 10):
        sessions.remember(str(number), "?", ".")
    assert len(sessions) == MAX_SESSIONS


def test_long_sessions_take_the_place_of_several() -> None:
    sessions = Sessions(max_sessions=20)
    for number in range(20):
        sessions.remember(str(number), "?", "\U0001f30a" * MAX_MESSAGE_CHARACTERS)
    assert len(sessions) == 20 * SESSION_BYTES // (4 * MAX_MESSAGE_CHARACTERS + 30) == 3
    assert sessions.history("19")[1].content == "\U0001f30a" * MAX_MESSAGE_CHARACTERS


@given(st.lists(st.tuples(st.text(), st.text()), max_size=MAX_EXCHANGES))
def test_what_was_said_is_kept_as_it_was(exchanges: list[tuple[str, str]]) -> None:
    sessions = Sessions()
    for question, answer in exchanges:
        sessions.remember("s", question, answer)
    said = [message.content for message in sessions.history("s")]
    assert said == [text for exchange in exchanges for text in exchange]


@pytest.mark.parametrize(("later", "known"), [(59.0, True), (60.0, False), (1e9, False)])
def test_a_session_ends_after_its_time(later: float, known: bool) -> None:
    clock = Clock()
    sessions = Sessions(seconds=60, clock=clock)
    sessions.remember("s", "?", ".")
    clock.now += later
    assert bool(sessions.history("s")) is known
    assert len(sessions) == known


def test_an_answer_begins_the_time_anew() -> None:
    clock = Clock()
    sessions = Sessions(seconds=60, clock=clock)
    for _ in range(3):
        sessions.remember("s", "?", ".")
        clock.now += 50
    assert len(sessions.history("s")) == 6


def test_new_ids_are_distinct() -> None:
    assert len({new_session_id() for _ in range(100)}) == 100
