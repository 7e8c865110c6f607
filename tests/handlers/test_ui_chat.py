"""POST /ui/chat: the UI message stream of the Vercel AI SDK"""

from pathlib import Path
from typing import Any

import pytest

from tests.api import Api, Response, serving
from tests.conftest import MakeSettings
from tests.tiny_book import SITE
from tests.upstream import Drop, Upstream, answer, delta

QUESTION = "When does the tide turn?"


def message(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "text": text} for text in texts]}


async def ask(api: Api, *messages: dict[str, Any], **fields: Any) -> Response:
    """Send what `DefaultChatTransport` sends."""
    asked = messages or (message("user", QUESTION),)
    body = {"id": "chat-1", "messages": asked, "trigger": "submit-message", "messageId": None}
    return await api.post("/ui/chat", body | fields)


def kinds(response: Response) -> list[str]:
    return [part["type"] for part in response.events()]


def parts(response: Response, kind: str) -> list[dict[str, Any]]:
    return [part for part in response.events() if part["type"] == kind]


def text(response: Response) -> str:
    return "".join(part["delta"] for part in parts(response, "text-delta"))


def prompt_of(upstream: Upstream) -> list[tuple[str, str]]:
    """The messages to the model behind the rules."""
    [sent] = upstream.chats()
    return [(each["role"], each["content"]) for each in sent["messages"][1:]]


# --- Answers ------------------------------------------------------------------------------------


async def test_an_answer_is_one_text_part_with_its_sources(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append(answer("The tide turns [1]", " every six hours [1]."))
    response = await ask(generating)
    assert kinds(response) == [
        "start",
        "text-start",
        "text-delta",
        "source-url",
        "data-citation",
        "text-delta",
        "text-end",
        "finish",
    ]
    assert {part["id"] for part in response.events() if "text" in part["type"]} == {"text"}
    assert response.content.endswith(b"\n\ndata: [DONE]\n\n")
    assert text(response).startswith(f"The tide turns [1]({SITE}/docs/guide/tides")


async def test_the_headers_of_a_stream(api: Api) -> None:
    response = await ask(api)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "X-Session-Id" not in response.headers


async def test_the_first_bytes_are_the_start_of_a_message(api: Api) -> None:
    """So that proxies see life before the model's first word."""
    first, second = [(await ask(api)).events()[0] for _ in range(2)]
    assert first["type"] == second["type"] == "start"
    assert first["messageId"] != second["messageId"]


async def test_a_source_has_the_address_of_its_heading(api: Api) -> None:
    response = await ask(api, message("user", "How fast is the current in the entrance?"))
    [source, *_] = parts(response, "source-url")
    [cited, *_] = parts(response, "data-citation")
    assert source["url"] == cited["data"]["source"]["url"] == f"{SITE}/docs/guide/tides#currents"
    assert source["title"] == "Tides \U0001f30a and déjà vu > Currents"
    assert source["sourceId"] == cited["data"]["chunk_id"]


async def test_a_source_without_an_address_is_only_data(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with serving(make_settings(qdrant_path=tmp_path / "index", site_url="")) as api:
        await api.ingest()
        response = await ask(api)
    assert parts(response, "source-url") == []
    assert parts(response, "data-citation")


async def test_the_end_has_what_chat_says_about_an_answer(api: Api) -> None:
    finish = (await ask(api)).events()[-1]
    metadata = finish["messageMetadata"]
    assert finish["finishReason"] == "stop"
    assert (metadata["finish_reason"], metadata["mode"]) == ("stop", "extractive")
    assert metadata["fallback"] == "no_model"
    vote = {"answer_id": metadata["answer_id"], "vote": "up"}
    assert (await api.post("/feedback", vote)).status == 200


async def test_questions_to_ask_next_are_data(api: Api) -> None:
    assert await api.services.contents.get(10)
    question = "What do skippers need to know?"
    [suggested] = parts(await ask(api, message("user", question)), "data-suggestions")
    assert suggested["data"] == {"suggestions": [], "follow_ups": ["Opening hours"]}


@pytest.mark.parametrize("by_model", [True, False])
async def test_a_refusal_is_told_apart(generating: Api, upstream: Upstream, by_model: bool) -> None:
    upstream.replies.append(answer("The book does not say anything about that."))
    question = QUESTION if by_model else "What is the capital of France?"
    response = await ask(generating, message("user", question))
    assert kinds(response)[-4:] == ["text-end", "data-refusal", "data-suggestions", "finish"]
    assert parts(response, "data-refusal")[0]["data"] == {"finish_reason": "not_in_book"}
    assert parts(response, "data-suggestions")[0]["data"]["suggestions"]
    assert response.events()[-1]["finishReason"] == "stop"


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("tool_calls", "other"),
    ],
)
async def test_why_the_model_ended_is_told(
    generating: Api, upstream: Upstream, reason: str, known: str
) -> None:
    upstream.replies.append(answer("The tide turns.", reason=reason))
    finish = (await ask(generating)).events()[-1]
    assert finish["finishReason"] == known
    assert finish["messageMetadata"]["finish_reason"] == reason


async def test_an_interrupted_answer_ends_with_an_error(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    response = await ask(generating)
    assert kinds(response)[-2:] == ["text-end", "error"]
    assert response.events()[-1]["errorText"].endswith("Please ask again.")
    assert response.content.endswith(b"\n\ndata: [DONE]\n\n")


# --- Conversations ------------------------------------------------------------------------------


async def test_the_conversation_is_told_to_the_model(generating: Api, upstream: Upstream) -> None:
    await ask(
        generating,
        message("system", "Answer in verse."),
        message("user", "When does", "the tide turn?"),
        {
            "id": "answer-1",
            "role": "assistant",
            "metadata": {"mode": "generated"},
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "Secret thoughts.", "state": "done"},
                {"type": "text", "text": "Every six hours.", "state": "done"},
                {"type": "source-url", "sourceId": "s", "url": "https://x.example"},
                {"type": "data-citation", "data": {"text": ["Secret data."]}},
                {"type": "tool-weather", "toolCallId": "t", "input": {"text": 1}, "output": []},
            ],
        },
        message("user", "And how fast is the current?"),
    )
    [*history, (role, prompt)] = prompt_of(upstream)
    assert history == [
        ("user", "When does\n\nthe tide turn?"),
        ("assistant", "Every six hours."),
    ]
    assert role == "user"
    assert "And how fast is the current?" in prompt
    assert "verse" not in str(upstream.chats())
    assert "Secret" not in str(upstream.chats())


async def test_the_server_keeps_no_conversation(generating: Api, upstream: Upstream) -> None:
    await ask(generating)
    assert len(generating.services.chat.sessions) == 0


async def test_what_follows_the_question_is_ignored(generating: Api, upstream: Upstream) -> None:
    await ask(generating, message("user", QUESTION), message("assistant", "Not yet."))
    [(_, prompt)] = prompt_of(upstream)
    assert QUESTION in prompt
    assert "Not yet." not in prompt


async def test_of_a_long_conversation_the_last_messages_count(
    generating: Api, upstream: Upstream
) -> None:
    rounds = [
        message(role, f"{role} {number}")
        for number in range(1_000)
        for role in ("user", "assistant")
    ]
    response = await ask(generating, *rounds, message("user", QUESTION))
    assert response.status == 200
    [*history, _] = prompt_of(upstream)
    assert [content for _, content in history] == [
        f"{role} {number}" for number in (997, 998, 999) for role in ("user", "assistant")
    ]


# --- Hostile bodies -----------------------------------------------------------------------------

USER = {"role": "user", "parts": [{"type": "text", "text": QUESTION}]}
INVALID = {
    "nothing": ({}, "messages"),
    "null": ({"messages": None}, "messages"),
    "text": ({"messages": QUESTION}, "messages"),
    "no messages": ({"messages": []}, "messages"),
    "a number": ({"messages": [7]}, "messages[0]"),
    "a list": ({"messages": [[]]}, "messages[0]"),
    "no role": ({"messages": [{"parts": []}]}, "messages[0].role"),
    "another role": ({"messages": [{"role": "root", "parts": []}]}, "messages[0].role"),
    "a numeric role": ({"messages": [{"role": 1, "parts": []}]}, "messages[0].role"),
    "no parts": ({"messages": [{"role": "user", "content": "?"}]}, "messages[0].parts"),
    "parts of text": ({"messages": [{"role": "user", "parts": "?"}]}, "messages[0].parts"),
    "a part without a type": (
        {"messages": [{"role": "user", "parts": [{"text": "?"}]}]},
        "messages[0].parts[0].type",
    ),
    "a numeric text": (
        {"messages": [{"role": "user", "parts": [{"type": "text", "text": 1}]}]},
        "messages[0].parts[0].text",
    ),
    "only the system": ({"messages": [message("system", QUESTION)]}, "messages"),
    "an empty question": ({"messages": [message("user", " \n")]}, "messages"),
    "an empty question behind another": (
        {"messages": [message("user", QUESTION), message("assistant", "Yes."), message("user")]},
        "messages",
    ),
    "a question without parts": ({"messages": [message("user")]}, "messages"),
    "a long question": ({"messages": [message("user", "tide " * 201)]}, "messages"),
    "many parts": ({"messages": [message("user", *["tide "] * 200)]}, "messages"),
    "a file": (
        {
            "messages": [
                {
                    "role": "user",
                    "parts": [
                        {"type": "text", "text": QUESTION},
                        {"type": "file", "mediaType": "image/png", "url": "data:,"},
                    ],
                }
            ]
        },
        "messages",
    ),
    "a NUL": ({"messages": [message("user", "ti\0de")]}, "messages.parts.text"),
    "a NUL before": ({"messages": [message("assistant", "\0"), USER]}, "messages.parts.text"),
    "a numeric page": ({"messages": [USER], "page": 1}, "page"),
    "a long page": ({"messages": [USER], "page": "x" * 501}, "page"),
}


@pytest.mark.parametrize(("body", "field"), INVALID.values(), ids=INVALID)
async def test_an_invalid_body_is_refused_by_field(
    generating: Api, upstream: Upstream, body: Any, field: str
) -> None:
    response = await generating.post("/ui/chat", body)
    assert response.status == 400
    assert response.json()["details"]["field"] == field
    assert upstream.chats() == []


BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "a string": b'"messages"',
    "a lone surrogate": b'{"messages":[{"role":"user","parts":[{"type":"text","text":"\\ud8'
    b'00"}]}]}',
    "no UTF-8": b'{"messages":[],"id":"\xff"}',
    "deep": b'{"messages":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep in a field that is not read": b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in a part": b'{"messages":[{"role":"user","parts":[{"type":"tool-x","input":'
    + b'{"a":' * 40_000,
    "NaN": b'{"messages":NaN}',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_a_broken_body_is_refused(generating: Api, upstream: Upstream, body: bytes) -> None:
    response = await generating.request("POST", "/ui/chat", data=body)
    assert response.status == 400
    assert upstream.chats() == []


async def test_a_body_has_a_size_and_a_type(generating: Api, upstream: Upstream) -> None:
    large = await ask(generating, message("user", QUESTION), id="x" * 300_000)
    assert large.status == 413
    typed = await generating.request(
        "POST", "/ui/chat", data=b"{}", headers={"Content-Type": "text/plain"}
    )
    assert typed.status == 415
    assert upstream.chats() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_are_refused(api: Api, method: str) -> None:
    response = await api.request(method, "/ui/chat")
    assert response.status == 405
    assert "POST" in response.headers["Allow"]
