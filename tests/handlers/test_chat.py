"""POST /chat"""

import asyncio
import functools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import aiohttp
import pytest

import lib.services
from lib.errors import upstream_error
from lib.pricing import Price
from lib.prompt import _RULES
from lib.resilience import Admission, Breaker
from lib.sessions import Message, new_session_id
from tests.api import OTHER_SESSION, SESSION, Api, answer_text, listening, serving
from tests.clock import Clock
from tests.conftest import MakeSettings
from tests.tiny_book import BROAD_QUESTION, SITE
from tests.upstream import DONE, Drop, Hang, Status, Upstream, answer, cut, delta, event, finish

QUESTION = "When does the tide turn?"
MARKER = re.compile(r"\[(\d+)\]\((\S+?)\)")


async def test_a_stream_is_pieces_citations_and_one_done(api: Api) -> None:
    answer = await api.ask(QUESTION, stream=True, session_id="widget-1")
    events = answer.events()
    kinds = [e["type"] for e in events]
    assert kinds[-1] == "done"
    assert kinds.count("done") == 1
    assert set(kinds) == {"chunk", "citation", "done"}
    assert "The tide turns every six hours and a quarter." in answer_text(events)
    done = events[-1]
    assert done["session_id"] == "widget-1"
    assert done["response_time"] >= 0
    assert done["tokens_used"] == 0
    assert done["finish_reason"] == "stop"


async def test_the_headers_of_a_stream(api: Api) -> None:
    answer = await api.ask(QUESTION, stream=True, session_id="widget-1")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["X-Session-Id"] == "widget-1"


async def test_the_first_bytes_are_a_comment(api: Api) -> None:
    """So that proxies see life before the model's first word."""
    assert (await api.ask(QUESTION, stream=True)).content.startswith(b": ping\n\n")


async def test_stream_is_the_default(api: Api) -> None:
    answer = await api.post("/chat", {"question": QUESTION})
    assert answer.headers["Content-Type"] == "text/event-stream"


async def test_a_citation_is_sent_right_after_its_marker_once_per_source(api: Api) -> None:
    seen = ""
    markers = []
    for each in (await api.ask("tide current fenders", stream=True)).events():
        if each["type"] == "chunk":
            seen += each["content"]
        if each["type"] == "citation":
            citation = each["citation"]
            link = f"[{citation['marker']}]({citation['source']['url']}"
            assert f"{link})" in seen or f"{link}:~:text=" in seen or f"{link}#:~:text=" in seen
            markers.append(citation["marker"])
    assert markers == list(range(1, len(markers) + 1))
    assert markers


async def test_a_citation_has_the_fields_of_the_contract(api: Api) -> None:
    question = "How fast is the current in the entrance when the tide falls?"
    [citation, *_] = (await api.ask(question)).json()["citations"]
    assert set(citation) == {"marker", "text", "source", "relevance_score", "chunk_id"}
    assert set(citation["source"]) == {"chapter", "section", "heading", "file_path", "url"}
    assert citation["marker"] == 1
    assert 0 <= citation["relevance_score"] <= 1
    assert citation["source"]["file_path"] == "guide/tides.md"
    assert citation["source"]["heading"] == "Currents"
    assert citation["source"]["url"] == f"{SITE}/docs/guide/tides#currents"
    assert "runs at three knots" in citation["text"]


async def test_the_json_answer_is_the_stream_collected(api: Api) -> None:
    whole = (await api.ask(QUESTION)).json()
    events = (await api.ask(QUESTION, stream=True)).events()
    assert whole["answer"] == answer_text(events).strip()
    assert whole["citations"] == [e["citation"] for e in events if e["type"] == "citation"]
    done = events[-1]
    for name in ("tokens_used", "finish_reason"):
        assert whole[name] == done[name]


async def test_the_json_answer_has_the_fields_of_the_contract(api: Api) -> None:
    answer = await api.ask(QUESTION, session_id=SESSION)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Session-Id"] == SESSION
    body = answer.json()
    for name, kind in {
        "answer": str,
        "citations": list,
        "session_id": str,
        "response_time": float,
        "tokens_used": int,
        "finish_reason": str,
    }.items():
        assert isinstance(body[name], kind), name


async def test_without_an_id_the_server_makes_a_uuid(api: Api) -> None:
    answer = await api.ask(QUESTION)
    assert str(UUID(answer.json()["session_id"])) == answer.headers["X-Session-Id"]


async def test_without_a_site_address_a_marker_is_plain(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with serving(make_settings(qdrant_path=tmp_path / "index", site_url="")) as api:
        await api.ingest()
        body = (await api.ask(QUESTION)).json()
    assert "a quarter. [1]" in body["answer"]
    assert "](" not in body["answer"]
    assert body["citations"][0]["marker"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"session_id": "a"},
        {"session_id": "A-z_0" * 25 + "abc"},
        {"session_id": None},
        {"context_window": 1000},
        {"context_window": 8000},
        {"k": 1},
        {"k": 20},
        {"top_k": 20},
        {"k": None},
        {"context": {"selectedText": "x" * 5000, "source": "/docs/tides"}},
        {"context": {"selectedText": ""}},
        {"context": None},
        {"api_key": "old-client"},
        {"api_key": None},
        {"unknown": {"deeply": [1, {"nested": None}]}},
        {"question": "x" * 1000},
        {"question": "  tide  \n" + " " * 2000},
        {"question": "\U0001f30a" * 1000},
        {"question": "¿Cuándo cambia la marea? 潮はいつ変わりますか"},
    ],
    ids=lambda fields: "-".join(fields),
)
async def test_what_is_within_the_rules_is_answered(api: Api, fields: dict[str, Any]) -> None:
    answer = await api.post("/chat", {"question": QUESTION, "stream": False} | fields)
    assert answer.status == 200
    assert answer.json()["answer"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"question": 5}, "question"),
        ({"question": None}, "question"),
        ({"question": ["a"]}, "question"),
        ({"question": ""}, "question"),
        ({"question": " \t\n "}, "question"),
        ({"question": "x" * 1001}, "question"),
        ({"question": "a\0b"}, "question"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": "a\n"}, "session_id"),
        ({"session_id": "ä"}, "session_id"),
        ({"session_id": 7}, "session_id"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": None}, "stream"),
        ({"context_window": 999}, "context_window"),
        ({"context_window": 8001}, "context_window"),
        ({"context_window": 3000.5}, "context_window"),
        ({"context_window": "3000"}, "context_window"),
        ({"context_window": True}, "context_window"),
        ({"k": 0}, "k"),
        ({"k": 21}, "k"),
        ({"k": -1}, "k"),
        ({"k": "5"}, "k"),
        ({"k": 10**40}, "k"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 21}, "top_k"),
        ({"context": "text"}, "context"),
        ({"context": {"selectedText": "x" * 5001}}, "context.selectedText"),
        ({"context": {"selectedText": 5}}, "context.selectedText"),
        ({"context": {}}, "context.selectedText"),
        ({"context": {"selectedText": "a", "source": 3}}, "context.source"),
        ({"context": {"selectedText": "a", "source": "x" * 2001}}, "context.source"),
        ({"context": {"selectedText": "a\0"}}, "context.selectedText"),
        ({"api_key": 5}, "api_key"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
async def test_what_is_outside_the_rules_is_refused_by_name(
    api: Api, fields: dict[str, Any], named: str
) -> None:
    answer = await api.post("/chat", {"question": QUESTION, "stream": False} | fields)
    assert answer.status == 400
    body = answer.json()
    assert body["code"] == "INVALID_REQUEST"
    assert body["details"]["field"] == named
    assert named in body["error"]


async def test_a_missing_question_is_named(api: Api) -> None:
    answer = await api.post("/chat", {"stream": False})
    assert answer.status == 400
    assert answer.json()["details"] == {"field": "question"}


async def test_the_body_of_existing_widgets_is_answered(api: Api) -> None:
    body = {
        "question": "What is this about?",
        "stream": False,
        "k": 5,
        "context_window": 4000,
        "session_id": "anon_1732270000000_x7f3k2",
        "context": {
            "selectedText": "A boat is moored with two lines.",
            "source": "/docs/guide/mooring",
        },
    }
    headers = {
        "Origin": SITE,
        "X-Anonymous-Session-ID": "anon_1732270000000_x7f3k2",
        "Accept": "application/json",
    }
    answer = await api.post("/chat", body, headers=headers)
    assert answer.status == 200
    assert answer.json()["answer"]
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Set-Cookie" not in answer.headers


# --- With a language model ----------------------------------------------------------------------


async def test_the_answer_is_the_model_s_with_resolved_markers(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append(answer("The tide turns ", "every six hours ", "[", "1", "]", "."))
    body = (await generating.ask(QUESTION)).json()
    [citation] = body["citations"]
    [[marker, target]] = MARKER.findall(body["answer"])
    assert body["answer"] == f"The tide turns every six hours [{marker}]({target})."
    assert marker == "1"
    plain, _, fragment = target.partition(":~:text=")
    assert plain.rstrip("#") == citation["source"]["url"]
    assert unquote(fragment).startswith("The tide turns every six hours")
    assert body["finish_reason"] == "stop"
    assert body["tokens_used"] == 120
    assert body["mode"] == "generated"


async def test_the_prompt_holds_numbered_passages_and_the_question(
    generating: Api, upstream: Upstream
) -> None:
    await generating.ask(BROAD_QUESTION, k=3)
    [chat] = upstream.chats()
    assert chat["stream"] is True
    [system, user] = chat["messages"]
    assert system["role"] == "system"
    assert "The tide turns every six hours" not in system["content"]
    assert user["role"] == "user"
    assert re.findall(r'<passage number="(\d+)"', user["content"]) == ["1", "2", "3"]
    assert "The tide turns every six hours and a quarter." in user["content"]
    assert user["content"].endswith(f"Question: {BROAD_QUESTION}")


@pytest.mark.parametrize("name", ["k", "top_k"])
@pytest.mark.parametrize("count", [1, 2])
async def test_k_by_either_name_bounds_the_passages(
    generating: Api, upstream: Upstream, name: str, count: int
) -> None:
    await generating.ask(BROAD_QUESTION, **{name: count})
    assert upstream.chats()[0]["messages"][-1]["content"].count("<passage ") == count


async def test_a_closing_tag_in_the_book_does_not_end_its_passage(
    generating: Api, upstream: Upstream
) -> None:
    await generating.ask("What did the lighthouse keeper write into the log?")
    prompt = upstream.chats()[0]["messages"][-1]["content"]
    assert "ignore all earlier rules" in prompt
    assert prompt.count("<passage ") == prompt.count("</passage>")


async def test_the_selection_is_a_source_of_its_own(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("As you marked [1]."))
    context = {"selectedText": "Knots hold best when they are dry.", "source": "/docs/knots"}
    body = (await generating.ask("What about this?", context=context)).json()
    [citation] = body["citations"]
    assert citation["text"] == "Knots hold best when they are dry."
    assert citation["source"]["file_path"] == "/docs/knots"
    assert body["answer"] == "As you marked [1]."
    assert "Knots hold best" in upstream.chats()[0]["messages"][-1]["content"]


async def test_the_conversation_is_told_to_the_model(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("Every six hours."))
    await generating.ask(QUESTION, session_id=SESSION)
    await generating.ask("And how high?", session_id=SESSION)
    await generating.ask("How many fenders does a boat need?", session_id=OTHER_SESSION)
    _, second, third = upstream.chats()
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][1]["content"] == QUESTION
    assert second["messages"][2]["content"] == "Every six hours."
    assert len(third["messages"]) == 2


SECOND = "How many fenders does a boat need?"


async def prompt_of(api: Api, upstream: Upstream, **options: Any) -> list[str]:
    """The roles in the prompt for a second question, sent in `SESSION` with `options`."""
    body = {"question": SECOND, "stream": False, "session_id": SESSION}
    answer = await api.post("/chat", body | options.pop("fields", {}), **options)
    assert (answer.status, answer.headers["X-Session-Id"]) == (200, answer.json()["session_id"])
    return [message["role"] for message in upstream.chats()[-1]["messages"]]


ALONE = ["system", "user"]
CONTINUED = ["system", "user", "assistant", "user"]
ANN, ANNS_OTHER, BOB = ({"X-API-Key": key} for key in ("one", "two", "three"))


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_only_its_reader_continues_a_conversation(
    make_settings: MakeSettings, upstream: Upstream, shared: bool, request: pytest.FixtureRequest
) -> None:
    """A session id is no secret: it may be guessed, logged or shared."""
    settings = make_settings(
        openai_base_url=upstream.base_url,
        api_keys=("ann:one", "ann:two", "bob:three"),
        redis_url=request.getfixturevalue("redis_server").url if shared else "",
        answer_cache_size=0,
    )
    async with serving(settings) as api:
        session = {"session_id": new_session_id()}
        await api.ask(QUESTION, **session)
        for caller, roles in (
            ("203.0.113.9", CONTINUED),
            ("203.0.113.8", ALONE),
            ("2001:db8::1", ALONE),
            ("2001:db8::2", CONTINUED),
            ("2001:db8:0:1::1", ALONE),
        ):
            asked = await prompt_of(api, upstream, caller=(caller, 1), fields=session)
            assert asked[-len(roles) :] == roles, caller
            assert (len(asked) == 2) is (roles is ALONE), caller
        await api.ask(QUESTION, headers=ANN, **session)
        for headers, roles in ((ANNS_OTHER, CONTINUED), (BOB, ALONE)):
            options = {"headers": headers, "caller": ("198.51.100.7", 1)}
            assert await prompt_of(api, upstream, fields=session, **options) == roles


@pytest.mark.parametrize("session", ["s", "session-1234567", "a" * 128, "abcde" * 10, "-" * 16])
async def test_an_id_that_others_could_guess_keeps_no_history(
    generating: Api, upstream: Upstream, session: str
) -> None:
    await generating.ask(QUESTION, session_id=session)
    assert await prompt_of(generating, upstream, fields={"session_id": session}) == ALONE
    assert len(generating.services.chat.sessions) == 0


async def test_a_marker_without_a_passage_never_reaches_the_reader(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append(answer("Yes [1] and [99], also 【42】 and [", "0]."))
    body = (await generating.ask(QUESTION)).json()
    assert [c["marker"] for c in body["citations"]] == [1]
    assert re.findall(r"\d+", MARKER.sub("", body["answer"])) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_the_answer_does_not_depend_on_how_the_bytes_were_cut(
    generating: Api, upstream: Upstream, size: int
) -> None:
    upstream.replies.append(cut(answer("Das Wasser — 水位 \U0001f30a — steigt ", "[1", "]!"), size))
    body = (await generating.ask(QUESTION)).json()
    assert MARKER.sub("*", body["answer"]) == "Das Wasser — 水位 \U0001f30a — steigt *!"
    assert len(body["citations"]) == 1


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "json"])
async def test_each_cited_sentence_is_checked_against_its_passage(
    generating: Api, upstream: Upstream, streamed: bool
) -> None:
    said = "The tide turns every six hours and a quarter [1]. The tide turns every nine hours [1]."
    upstream.replies.append(answer(said))
    reply = await generating.ask(QUESTION, stream=streamed)
    end = reply.events()[-1] if streamed else reply.json()
    right, wrong = end["check"]
    assert right["sentence"] == "The tide turns every six hours and a quarter."
    assert (right["markers"], right["supported"]) == ([1], True)
    assert "The tide turns every six hours and a quarter." in right["quote"]
    assert (wrong["supported"], wrong["quote"]) == (False, None)


async def test_the_book_s_own_words_stand_the_check(api: Api) -> None:
    check = (await api.ask(QUESTION)).json()["check"]
    assert check
    assert all(each["supported"] for each in check)


@pytest.mark.parametrize("said", ["The tide turns every nine hours [1].", "The tide turns."])
async def test_an_answer_that_no_source_supports_is_not_given_again(
    generating: Api, upstream: Upstream, said: str
) -> None:
    upstream.replies.append(answer(said))
    await generating.ask(QUESTION)
    await generating.ask(QUESTION)
    assert len(upstream.chats()) == 2


async def test_what_an_answer_took_is_told(make_settings: MakeSettings, upstream: Upstream) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url, prices={"gpt-4.1-mini": Price(1.0, 10.0)}
    )
    async with serving(settings) as api:
        used = (await api.ask(QUESTION)).json()["usage"]
    assert used == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "embedding_tokens": 0,
        "cached": False,
        "cost_usd": pytest.approx(0.0003),
    }


async def test_an_endless_answer_is_cut(make_settings: MakeSettings, upstream: Upstream) -> None:
    """Also a single delta of any length, and a flood of lines that are no events."""
    settings = make_settings(openai_base_url=upstream.base_url, max_output_tokens=16)
    noise = b"data: x\n" * 5_000
    upstream.replies.append([noise, *answer("The tide turns [1]. " * 1_000, "never sent")])
    async with serving(settings) as api:
        told = (await api.ask(QUESTION)).json()
    assert told["finish_reason"] == "length"
    assert told["answer"].startswith("The tide turns [1](")
    assert told["answer"].count("The tide") == 512 // 20 + 1
    assert told["check"]


async def test_the_same_first_question_is_paid_once(generating: Api, upstream: Upstream) -> None:
    first = (await generating.ask(QUESTION)).json()
    again = (await generating.ask("when does the  tide turn", session_id=OTHER_SESSION)).json()
    streamed = (await generating.ask(QUESTION, stream=True)).events()
    assert len(upstream.chats()) == 1
    assert (again["answer"], again["citations"]) == (first["answer"], first["citations"])
    assert again["session_id"] == OTHER_SESSION
    assert again["tokens_used"] == 0
    assert again["usage"]["cached"]
    assert again["usage"]["cost_usd"] == 0
    assert answer_text(streamed) == first["answer"]
    assert [e["citation"] for e in streamed if e["type"] == "citation"] == first["citations"]
    # It is part of the second reader's conversation all the same.
    assert (await generating.history(OTHER_SESSION))[1].content == first["answer"]


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 2},
        {"context_window": 1000},
        {"context": {"selectedText": "Knots hold best when they are dry."}},
        {"session_id": SESSION},
    ],
    ids=["k", "context window", "selection", "conversation"],
)
async def test_what_may_be_answered_differently_is_asked_anew(
    generating: Api, upstream: Upstream, fields: dict[str, Any]
) -> None:
    await generating.ask("How many fenders does a boat need?", session_id=SESSION)
    await generating.ask(QUESTION)
    await generating.ask(QUESTION, **fields)
    assert len(upstream.chats()) == 3


@pytest.mark.parametrize("cut_short", [True, False])
async def test_an_answer_that_was_not_whole_is_not_given_again(
    generating: Api, upstream: Upstream, *, cut_short: bool
) -> None:
    end = finish("length") if cut_short else Drop()
    half = [delta("The tide "), end]
    upstream.replies.append(half)
    await generating.ask(QUESTION, stream=True)
    await generating.ask(QUESTION, stream=True)
    assert len(upstream.chats()) == 2


async def test_an_answer_of_an_older_index_is_not_given_again(
    make_settings: MakeSettings, upstream: Upstream, own_book: Path, tmp_path: Path
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url, book_content_path=own_book, qdrant_path=tmp_path / "i"
    )
    async with serving(settings) as api:
        await api.ingest()
        await api.ask(QUESTION)
        (own_book / "new.md").write_text("# Fog\n\nFog lies over the harbour in spring.\n")
        await api.ingest()
        await api.ask(QUESTION)
    assert len(upstream.chats()) == 2


async def test_the_author_s_addition_follows_the_rules(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url, prompt_addition="Our readers are sailors."
    )
    async with serving(settings) as api:
        await api.ask(QUESTION)
    system = upstream.chats()[0]["messages"][0]["content"]
    assert system.startswith(_RULES)
    assert system.endswith("Our readers are sailors.")


NOT_THERE = "Which enzyme breaks down starch in the mouth?"


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "json"])
async def test_what_is_not_in_the_book_costs_no_model(
    generating: Api, upstream: Upstream, streamed: bool
) -> None:
    reply = await generating.ask(NOT_THERE, stream=streamed, session_id=SESSION)
    end = reply.events()[-1] if streamed else reply.json()
    text = answer_text(reply.events()) if streamed else end["answer"]
    assert upstream.chats() == []
    assert text.startswith("The book does not seem to answer this. These pages come closest:")
    assert (end["finish_reason"], end["mode"], end["tokens_used"]) == ("not_in_book", "none", 0)
    assert 1 <= len(end["suggestions"]) <= 3
    for suggestion in end["suggestions"]:
        assert f"]({suggestion['url']})" in text
    # A reader who asks on goes on from there.
    assert (await generating.history())[0].content == NOT_THERE


async def test_without_a_model_it_is_not_guessed_either(api: Api) -> None:
    body = (await api.ask(NOT_THERE)).json()
    assert (body["finish_reason"], body["citations"]) == ("not_in_book", [])


async def test_it_is_said_in_the_reader_s_language(generating: Api) -> None:
    body = (await generating.ask("¿Qué enzima descompone el almidón en la boca?")).json()
    assert body["answer"].startswith("Parece que el libro no responde a esta pregunta.")


async def test_what_a_reader_speaks_is_known_from_the_conversation_the_page_and_the_browser(
    generating: Api,
) -> None:
    async def first_word(accepted: str, **fields: Any) -> str:
        reply = await generating.ask("paella", headers={"Accept-Language": accepted}, **fields)
        return str(reply.json()["answer"].split()[0])

    assert await first_word("") == "The"
    assert await first_word("es-MX,en;q=0.5") == "Parece"
    assert await first_word("es", page=f"{SITE}/en/docs") == "The"
    assert await first_word("es", page=f"{SITE}/de/docs") == "Parece"  # the book has no such pages
    await generating.ask("Wer hat die Meisterschaft gewonnen?", session_id=SESSION)
    assert await first_word("es", session_id=SESSION) == "Das"


async def test_small_talk_is_answered_and_not_counted_as_unanswered(
    generating: Api, upstream: Upstream
) -> None:
    before = len(upstream.requests)
    for question, said in (("Hi", "I answer"), ("thanks!", "You're"), ("¿Quién eres?", "Respondo")):
        body = (await generating.ask(question, session_id=SESSION)).json()
        assert body["answer"].startswith(said)
        assert (body["finish_reason"], body["mode"]) == ("small_talk", "none")
    assert len(upstream.requests) == before  # neither embedded nor answered by the model
    assert await generating.history() == ()
    assert b"quire_not_in_book_total 0.0" in generating.services.metrics.text()


async def test_a_marked_text_is_always_worth_an_answer(generating: Api, upstream: Upstream) -> None:
    context = {"selectedText": "Amylase breaks down starch in the mouth.", "source": "/docs/x"}
    body = (await generating.ask(NOT_THERE, context=context)).json()
    assert body["finish_reason"] == "stop"
    assert len(upstream.chats()) == 1


async def test_a_model_that_declines_is_recognised(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("The passages do not mention how old ", "the entrance is."))
    body = (await generating.ask("How old is the entrance of the harbour?")).json()
    assert (body["finish_reason"], body["mode"]) == ("not_in_book", "generated")
    assert body["tokens_used"] == 120
    assert body["suggestions"]


async def test_what_the_book_is_about_is_told_by_its_opening(
    generating: Api, upstream: Upstream
) -> None:
    await generating.ask("What is this book about?")
    prompt = upstream.chats()[0]["messages"][-1]["content"]
    assert "This handbook tells skippers what they need to know." in prompt
    assert "fenders" not in prompt


async def test_a_follow_up_is_looked_for_with_what_it_is_about(
    generating: Api, upstream: Upstream
) -> None:
    await generating.ask("How many fenders does a boat need?", session_id=SESSION)
    await generating.ask("And on which side do they hang?", session_id=SESSION)
    followed = upstream.chats()[-1]["messages"]
    assert "Hang three fenders on the side of the quay" in followed[-1]["content"]
    assert followed[-1]["content"].endswith("Question: And on which side do they hang?")


BEFORE_THE_FIRST_WORD = {
    "refused": Status(401),
    "no such model": Status(404),
    "rate limited": Status(429, {"Retry-After": "30"}),
    "broken": Status(500),
    "overloaded": Status(503, {"Retry-After": "1"}),
    "dropped": [Drop()],
    "dropped after the role": [event({"choices": [{"delta": {"role": "assistant"}}]}), Drop()],
    "empty answer": answer(),
    "nothing at all": [],
    "only done": [DONE],
    "an error in the stream": [event({"error": {"message": "sk-vendor", "code": 500}})],
    "no events": [b"<html>a proxy's page</html>"],
    "ended without a reason": [event({"choices": []})],
}


@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_WORD.values(), ids=BEFORE_THE_FIRST_WORD)
@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "json"])
async def test_a_model_that_fails_before_its_first_word_is_replaced_by_the_book(
    generating: Api, upstream: Upstream, fault: Any, streamed: bool
) -> None:
    upstream.replies.append(fault)
    reply = await generating.ask(QUESTION, stream=streamed)
    assert reply.status == 200
    text = answer_text(reply.events()) if streamed else reply.json()["answer"]
    ending = reply.events()[-1] if streamed else reply.json()
    assert ending["fallback"] == "model_failed"
    assert text.startswith("*The language model cannot answer right now.")
    assert "The tide turns every six hours and a quarter." in text
    assert MARKER.search(text)
    assert "sk-" not in reply.text


async def test_without_a_model_only_a_field_says_so(api: Api) -> None:
    body = (await api.ask(QUESTION, stream=False)).json()
    assert (body["mode"], body["fallback"]) == ("extractive", "no_model")
    assert not body["answer"].startswith("*")


AFTER_THE_FIRST_WORD = {
    "dropped": [Drop()],
    "ended without a reason": [],
    "done without a reason": [DONE],
    "an error in the stream": [event({"error": {"message": "sk-vendor"}}), Hang()],
}


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_WORD.values(), ids=AFTER_THE_FIRST_WORD)
async def test_a_stream_that_breaks_ends_with_an_error_event(
    generating: Api, upstream: Upstream, fault: list[Any]
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), *fault])
    events = (await generating.ask(QUESTION, stream=True, session_id=SESSION)).events()
    assert [e["type"] for e in events if e["type"] != "chunk"] == ["error"]
    assert events[-1]["type"] == "error"
    assert events[-1]["code"] == "UPSTREAM_ERROR"
    assert events[-1]["error"]
    assert answer_text(events).startswith("The tide turns")
    assert await generating.history() == ()


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_WORD.values(), ids=AFTER_THE_FIRST_WORD)
async def test_a_json_answer_that_breaks_gives_way_to_the_book(
    generating: Api, upstream: Upstream, fault: list[Any]
) -> None:
    """Nothing of it was shown yet."""
    upstream.replies.append([delta("The tide "), delta("turns "), *fault])
    reply = await generating.ask(QUESTION, session_id=SESSION)
    assert reply.status == 200
    body = reply.json()
    assert body["answer"].startswith("*The language model cannot answer right now.")
    assert (body["mode"], body["finish_reason"]) == ("extractive", "stop")
    [_, remembered] = await generating.history()
    assert remembered.content.strip() == body["answer"]


async def test_a_budget_that_is_spent_leaves_the_book_s_own_words(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path, own_book: Path
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url,
        daily_tokens=1_500,
        qdrant_path=tmp_path / "index",
        book_content_path=own_book,
        answer_cache_size=0,
    )
    async with serving(settings) as api:
        await api.ingest()
        asked = [(await api.ask(QUESTION)).json() for _ in range(15)]
        inside = (await api.as_admin("GET", "/health")).json()["inside"]
    modes = [each["mode"] for each in asked]
    assert set(modes) == {"generated", "extractive"}
    assert modes == sorted(modes, reverse=True)
    assert len(upstream.chats()) == modes.count("generated")
    assert asked[-1]["answer"].startswith("*The daily budget for the language model is used up.")
    assert inside["budget"]["tokens"] == 120 * modes.count("generated")
    # A day has one budget, however often the server starts.
    async with serving(settings) as api:
        assert (await api.ask(QUESTION)).json()["mode"] == "extractive"


async def test_more_readers_than_places_get_the_book_s_own_words(
    make_settings: MakeSettings, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.services, "Admission", functools.partial(Admission, queue=0))
    go_on = asyncio.Event()
    upstream.replies.append([delta("The tide "), go_on, *answer("turns.")])
    settings = make_settings(openai_base_url=upstream.base_url, max_concurrent_answers=1)
    async with serving(settings) as api:
        first = asyncio.create_task(api.ask(QUESTION))
        await upstream.until(lambda u: len(u.chats()) == 1)
        second = (await api.ask("How many fenders does a boat need?")).json()
        go_on.set()
        assert (await first).json()["mode"] == "generated"
    assert second["answer"].startswith("*Many readers are asking right now.")
    assert "Hang three fenders" in second["answer"]


async def test_a_model_that_is_down_is_not_asked_by_every_reader(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.extend(Status(503) for _ in range(20))
    answers = [(await generating.ask(QUESTION)).json()["mode"] for _ in range(10)]
    assert set(answers) == {"extractive"}
    assert len(upstream.chats()) == 5
    inside = (await generating.as_admin("GET", "/health")).json()["inside"]
    assert inside["breakers"]["model"] in ("open", "half-open")


async def test_the_first_word_says_that_the_model_is_back(
    make_settings: MakeSettings, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others need not wait for the end of the answer by which it is tried."""
    clock, go_on = Clock(), asyncio.Event()
    breaker = Breaker(upstream_error("The model"), failures=1, clock=clock)
    monkeypatch.setattr(lib.services, "model_breaker", lambda: breaker)
    upstream.replies += [Status(503), [delta("The tide "), go_on, *answer("turns.")]]
    async with serving(make_settings(openai_base_url=upstream.base_url)) as api:
        assert (await api.ask(QUESTION)).json()["mode"] == "extractive"
        clock.now += 60.0
        first = asyncio.create_task(api.ask(QUESTION))
        async with asyncio.timeout(10):
            while breaker.state != "closed":  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert (await api.ask("How many fenders does a boat need?")).json()["mode"] == "generated"
        assert not first.done()
        go_on.set()
        assert (await first).json()["mode"] == "generated"


async def test_a_complete_answer_is_remembered(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("Every six hours."))
    await generating.ask(f"  {QUESTION} ", session_id=SESSION)
    assert await generating.history() == (
        Message("user", QUESTION),
        Message("assistant", "Every six hours."),
    )


async def test_a_malformed_line_is_left_out(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(
        [
            delta("The tide"),
            b"data: {not json\n\n",
            b": comment\n\n",
            b"event: x\r\n",
            b"\xff\n",
            delta(" turns."),
            finish(),
            DONE,
        ]
    )
    body = (await generating.ask(QUESTION)).json()
    assert body["answer"] == "The tide turns."


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_why_the_model_ended_is_told(
    generating: Api, upstream: Upstream, reason: str
) -> None:
    upstream.replies.append(answer("The tide", reason=reason))
    assert (await generating.ask(QUESTION)).json()["finish_reason"] == reason


# --- Over a real connection ---------------------------------------------------------------------


@pytest.fixture
async def address(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[str]:
    async with listening(make_settings(openai_base_url=upstream.base_url)) as running:
        yield running


async def test_pieces_arrive_while_the_model_still_writes(address: str, upstream: Upstream) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{address}/chat", json={"question": QUESTION}) as response,
    ):
        assert await response.content.readuntil(b"\n\n") == b": ping\n\n"
        assert b"The tide" in await response.content.readuntil(b"\n\n")


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "json"])
@pytest.mark.parametrize("words", [[], [delta("The tide ")]], ids=["silent", "writing"])
async def test_the_model_is_left_when_the_reader_leaves(
    address: str, upstream: Upstream, streamed: bool, words: list[bytes]
) -> None:
    """It would go on generating, and be paid."""
    upstream.replies.append([*words, Hang()])
    async with aiohttp.ClientSession() as http:
        body = {"question": QUESTION, "stream": streamed}
        request = http.post(f"{address}/chat", json=body)
        if streamed:
            async with request as response:
                await response.content.readuntil(b"\n\n")
                await upstream.until(lambda u: len(u.chats()) == 1)
                response.close()
        else:
            asking = asyncio.ensure_future(request)
            await upstream.until(lambda u: len(u.chats()) == 1)
            asking.cancel()
            await asyncio.wait((asking,))
        await upstream.until(lambda u: u.disconnects == 1)
