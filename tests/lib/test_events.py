"""Framing of events, and the compact transcript."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.citations import Citation, _Source
from lib.events import (
    Cited,
    Failed,
    Ping,
    TextDelta,
    Transcript,
    encode_events,
    frame,
    text_of,
)

CITED = Cited(
    citation=Citation(
        marker=1,
        text="The tide turns.",
        source=_Source(chapter="C", section="S", heading="H", file_path="a.md", url=None),
        relevance_score=0.5,
        chunk_id="1",
    )
)


def test_what_was_shown_is_the_same_text_and_citations_in_fewer_pieces() -> None:
    words = [TextDelta(content=f"word{n} \N{SAILBOAT} \ud800") for n in range(200)]
    end = [TextDelta(content="end"), TextDelta(content="")]
    told: list[TextDelta | Cited] = [CITED, *words, CITED, CITED, *end]
    shown = Transcript()
    assert shown.pieces() == []
    for piece in told:
        shown.add(piece)
    kept = shown.pieces()
    assert text_of(kept) == text_of(told)
    assert kept[2:] == [CITED, CITED, TextDelta(content="end")]
    assert kept[0] == CITED


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_one_event_is_one_line(text: str) -> None:
    framed = frame(TextDelta(content=text))
    assert framed.startswith(b"data: ")
    assert framed.endswith(b"\n\n")
    assert framed.count(b"\n") == 2
    assert b"\r" not in framed
    assert json.loads(framed[6:]) == {"type": "chunk", "content": text}


def test_a_ping_is_a_comment() -> None:
    assert frame(Ping()) == b": ping\n\n"


class Fails(Exception):
    pass


async def test_the_events_are_closed_when_the_reader_goes() -> None:
    closed = []

    async def events() -> AsyncGenerator[Any, None]:
        try:
            yield Ping()
            yield Ping()
        finally:
            closed.append(True)

    seen: list[object] = []
    framed = encode_events(events(), seen.append)
    assert await anext(framed) == frame(Ping())
    await framed.aclose()
    assert closed == [True]
    assert seen == [Ping()]


async def test_nothing_is_sent_for_an_event_that_an_encoder_leaves_out() -> None:
    async def events() -> AsyncGenerator[Any, None]:
        for event in (Ping(), TextDelta(content="a"), Ping()):
            yield event

    def encode(event: Any) -> bytes:
        return event.content.encode() if isinstance(event, TextDelta) else b""

    assert [each async for each in encode_events(events(), lambda _: None, encode)] == [b"a"]


@pytest.mark.parametrize("error", [Fails("sk-secret"), TimeoutError(), ZeroDivisionError()])
async def test_an_error_of_the_program_ends_the_stream_with_an_event(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def events() -> AsyncGenerator[Any, None]:
        yield Ping()
        raise error

    seen: list[object] = []
    first, last = [each async for each in encode_events(events(), seen.append)]
    assert first == frame(Ping())
    assert isinstance(seen[-1], Failed)
    told = json.loads(last.removeprefix(b"data: "))
    assert (told["type"], told["code"]) == ("error", "INTERNAL")
    assert "secret" not in told["error"]
    assert type(error).__name__ in caplog.text
