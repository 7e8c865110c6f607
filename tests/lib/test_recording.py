"""What is recorded of an answer, and when."""

import pytest

from lib.chat import ChatRequest
from lib.events import Event, Failed, Ping, TextDelta
from lib.logs import AccessRecord, current_request
from lib.metrics import Metrics
from lib.recording import AnswerRecorder, Recording
from lib.sessions import SESSION_SECONDS
from tests.clock import Clock
from tests.lib.test_metrics import done, figures


def record(metrics: Metrics, *events: Event, streamed: bool = True) -> AccessRecord:
    """What is noted for the access log."""
    note = AccessRecord("id", "POST")
    current_request.set(note)
    record_events(metrics, *events, streamed=streamed)
    return note


def record_events(metrics: Metrics, *events: Event, streamed: bool = True) -> None:
    recorder = AnswerRecorder(
        Recording(metrics, None, lambda _: None), ChatRequest(question="When?")
    )
    recorder.streamed = streamed
    for event in events:
        recorder.record(event)


async def test_answers_are_watched_as_they_pass() -> None:
    metrics = Metrics()
    note = record(metrics, Ping(), TextDelta(content="a"), TextDelta(content="b"), done())
    assert (note.mode, note.tokens) == ("generated", 120)
    assert note.first is not None
    assert figures(metrics)["quire_chat_first_token_seconds_count{mode=generated}"] == 1


async def test_the_first_piece_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.0, 0.3, 7.0))
    monkeypatch.setattr("lib.recording.perf_counter", lambda: next(seconds))
    assert record(Metrics(), Ping(), TextDelta(content="a"), TextDelta(content="b")).first == 0.3


async def test_an_answer_that_is_not_streamed_has_no_first_piece() -> None:
    metrics = Metrics()
    assert record(metrics, TextDelta(content="a"), done(), streamed=False).first is None
    told = figures(metrics)
    assert told["quire_chat_seconds_count{mode=generated}"] == 1
    assert "quire_chat_first_token_seconds_count{mode=generated}" not in told


async def test_an_answer_that_breaks_off_is_a_failure() -> None:
    metrics = Metrics()
    note = record(metrics, Failed(error="It broke.", code="UPSTREAM_ERROR"))
    assert note.mode == "upstream_error"
    told = figures(metrics)
    assert told["quire_failures_total{code=UPSTREAM_ERROR}"] == 1
    assert not [name for name in told if name.startswith("quire_chat")]


async def test_an_answer_may_pass_without_a_request() -> None:
    current_request.set(None)
    record_events(Metrics(), TextDelta(content="a"), done(), Failed(error="It broke.", code="BUSY"))


def test_a_conversation_keeps_its_random_id_as_long_as_it_goes_on() -> None:
    clock = Clock()
    recording = Recording(Metrics(), None, lambda _: None, clock=clock)
    one = recording.conversation("key")
    for _ in range(3):
        clock.now += SESSION_SECONDS - 1
        assert recording.conversation("key") == one
    assert recording.conversation("other") != one
    clock.now += SESSION_SECONDS + 1
    assert recording.conversation("key") != one
    assert len({recording.conversation("") for _ in range(100)}) == 100
    elsewhere = Recording(Metrics(), None, lambda _: None)
    assert elsewhere.conversation("key") not in (one, recording.conversation("key"))


def test_the_memory_of_conversations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.recording._MAX_CONVERSATIONS", 2)
    recording = Recording(Metrics(), None, lambda _: None)
    first = recording.conversation("1")
    for key in ("2", "3"):
        recording.conversation(key)
    assert recording.conversation("1") != first
    assert len(recording._conversations) == 2
