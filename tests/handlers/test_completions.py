"""POST /v1/chat/completions and GET /v1/models, with OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from handlers.completions_answer import ChunkEncoder
from lib.events import TextDelta
from lib.settings import Settings
from tests.api import ADMIN_KEY, READER_KEY, Api, listening, serving
from tests.conftest import MakeSettings
from tests.limits import BURST
from tests.tiny_book import SITE
from tests.upstream import Drop, Hang, Upstream, answer, delta

PATH = "/v1/chat/completions"
QUESTION = "When does the tide turn?"
NOT_THERE = "Which enzyme breaks down starch in the mouth?"


def user(content: Any = QUESTION) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(*parts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": part} for part in parts]


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@asynccontextmanager
async def connected(settings: Settings, api_key: str = "any") -> AsyncIterator[AsyncOpenAI]:
    """The official client of an application behind a real server."""
    async with (
        listening(settings) as address,
        AsyncOpenAI(base_url=f"{address}/v1", api_key=api_key, max_retries=0) as client,
    ):
        yield client


@pytest.fixture
async def client(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[AsyncOpenAI]:
    """With the scripted upstream as language model."""
    async with connected(make_settings(openai_base_url=upstream.base_url)) as client:
        yield client


async def ask(client: AsyncOpenAI, *messages: Any, **options: Any) -> Any:
    """Ask with the official client. Untyped, so that tests can send what the types forbid."""
    options = {"model": "quire", "messages": list(messages or [user()])} | options
    return await client.chat.completions.create(**options)


async def chunks_of(client: AsyncOpenAI, **options: Any) -> list[ChatCompletionChunk]:
    return [chunk async for chunk in await ask(client, stream=True, **options)]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


# --- Answers ------------------------------------------------------------------------------------


async def test_an_answer_has_its_sources_as_annotations(
    client: AsyncOpenAI, upstream: Upstream
) -> None:
    upstream.replies.append(answer("Every six hours [1]. At three knots [2], always [1]."))
    completion = await ask(client, user("How fast is the current when the tide turns and falls?"))
    [choice] = completion.choices
    content, annotations = choice.message.content, choice.message.annotations
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert content.startswith("Every six hours [1](https://book.example/docs/")
    assert len(annotations) == 2
    for marker, annotation in enumerate(annotations, start=1):
        cited = annotation.url_citation
        assert cited.url.startswith(f"{SITE}/docs/")
        link = content[cited.start_index : cited.end_index]
        assert link.startswith(f"[{marker}]({cited.url}")
        assert link.endswith(")")
    titles = {each.url_citation.title for each in annotations}
    assert titles <= {"Tides \U0001f30a and déjà vu", "Tides \U0001f30a and déjà vu > Currents"}
    assert completion.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
    }
    assert completion.object == "chat.completion"
    assert completion.model == "quire"


async def test_a_stream_is_the_same_answer(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.replies.append(answer("The tide \U0001f30a turns", " every six hours [1]", ", yes."))
    whole = await ask(client)
    chunks = await chunks_of(client)
    assert len(upstream.chats()) == 1
    first, *between, last = chunks
    assert first.choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert [each.choices[0].finish_reason for each in between] == [None] * len(between)
    assert last.choices[0].finish_reason == "stop"
    assert [each.usage for each in chunks] == [None] * len(chunks)
    assert len({each.id for each in chunks}) == 1
    annotations = [
        annotation
        for each in chunks
        for annotation in (each.choices[0].delta.model_extra or {}).get("annotations", ())
    ]
    assert annotations == [each.model_dump() for each in whole.choices[0].message.annotations]
    details, streamed = (each.model_extra["quire"] for each in (whole, last))
    assert {*details.pop("answer_id"), *streamed.pop("answer_id")}
    assert streamed == details
    assert [each["marker"] for each in streamed["citations"]] == [1]


async def test_the_client_collects_a_stream(client: AsyncOpenAI, upstream: Upstream) -> None:
    """Its helper cannot join two deltas with annotations."""
    upstream.replies += [answer("Every six hours [1]. At three knots [2].")] * 2
    question = user("How fast is the current when the tide turns and falls?")
    whole = await ask(client, question)
    messages = cast(Any, [question])
    async with client.chat.completions.stream(model="quire", messages=messages) as stream:
        collected = await stream.get_final_completion()
    [choice] = collected.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content == whole.choices[0].message.content
    assert choice.message.annotations == whole.choices[0].message.annotations


async def test_the_last_chunk_tells_the_usage_if_asked(
    client: AsyncOpenAI, upstream: Upstream
) -> None:
    *chunks, last = await chunks_of(client, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 120
    assert all("usage" in each.model_fields_set and each.usage is None for each in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_stream_begins_with_a_chunk_and_ends_with_done(api: Api) -> None:
    reply = await api.post(PATH, {"messages": [user()], "stream": True})
    assert reply.content.startswith(b'data: {"id":"chatcmpl-')
    assert reply.content.endswith(b"\n\ndata: [DONE]\n\n")
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert reply.headers["X-Accel-Buffering"] == "no"


async def test_an_answer_that_was_cut_says_so(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.replies += [answer("The tide [1]", reason="length")] * 2
    assert (await ask(client)).choices[0].finish_reason == "length"
    assert (await chunks_of(client))[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_has_suggestions(generating: Api, upstream: Upstream, stream: bool) -> None:
    reply = await generating.post(PATH, {"messages": [user(NOT_THERE)], "stream": stream})
    end = reply.events()[-1] if stream else reply.json()
    assert end["choices"][0]["finish_reason"] == "stop"
    assert end["quire"]["finish_reason"] == "not_in_book"
    assert end["quire"]["suggestions"]
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_it_works_without_a_language_model(api: Api, stream: bool) -> None:
    reply = await api.post(PATH, {"messages": [user()], "stream": stream})
    assert reply.status == 200
    assert "The tide turns every six hours and a quarter." in reply.text
    end = reply.events()[-1] if stream else reply.json()
    assert (end["quire"]["mode"], end["quire"]["fallback"]) == ("extractive", "no_model")


async def test_a_source_without_an_address_has_no_annotation(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with serving(make_settings(qdrant_path=tmp_path / "index", site_url="")) as api:
        await api.ingest()
        whole = (await api.post(PATH, {"messages": [user()]})).json()
        events = (await api.post(PATH, {"messages": [user()], "stream": True})).events()
    assert whole["choices"][0]["message"]["annotations"] == []
    assert all("annotations" not in each["choices"][0]["delta"] for each in events)
    for end in (whole, events[-1]):
        assert end["quire"]["citations"][0]["source"]["file_path"] == "guide/tides.md"


async def test_a_token_costs_no_more_than_its_text() -> None:
    """Its chunk is the same as the one before, apart from the text."""
    encode = ChunkEncoder(usage=False, warnings=())
    texts = ['"quoted"', "line\nbreak", "\U0001f30a", ""]
    one, *others = (json.loads(encode(TextDelta(content=each))[6:]) for each in texts)
    for said, chunk in zip(texts, (one, *others), strict=True):
        assert chunk["choices"][0]["delta"].pop("content") == said
        assert chunk == one


async def test_there_is_one_model(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["quire"]


async def test_a_model_s_owner_is_the_book(make_settings: MakeSettings) -> None:
    async with serving(make_settings(book_title="The harbour")) as api:
        assert (await api.get("/v1/models")).json()["data"][0]["owned_by"] == "The harbour"


# --- The conversation ---------------------------------------------------------------------------


async def test_a_conversation_of_three_turns(client: AsyncOpenAI, upstream: Upstream) -> None:
    said = ["It turns every six hours [1].", "Four metres [1].", "Three knots [1]."]
    upstream.replies += [answer(each) for each in said]
    messages: list[Any] = []
    for question in (QUESTION, "And how high does it rise?", "How fast is the current then?"):
        messages.append(user(question))
        message = (await ask(client, *messages)).choices[0].message
        assert message.annotations
        messages.append(message.model_dump(exclude_none=True))
    told = upstream.chats()[-1]["messages"]
    assert [each["role"] for each in told] == ["system", *["user", "assistant"] * 2, "user"]
    assert [each["content"] for each in told[1:-1]] == [
        QUESTION,
        "It turns every six hours.",
        "And how high does it rise?",
        "Four metres.",
    ]
    assert told[-1]["content"].endswith("How fast is the current then?")


async def test_nothing_is_remembered(generating: Api, upstream: Upstream) -> None:
    await generating.post(PATH, {"messages": [user()]})
    await generating.post(PATH, {"messages": [user("How many fenders does a boat need?")]})
    assert len(upstream.chats()[-1]["messages"]) == 2
    assert len(generating.services.chat.sessions) == 0


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_system_message_is_ignored_and_the_answer_says_so(
    generating: Api, upstream: Upstream, role: str, stream: bool
) -> None:
    messages = [{"role": role, "content": "Talk like a pirate."}, user()]
    reply = await generating.post(PATH, {"messages": messages, "stream": stream})
    told = (reply.events()[0] if stream else reply.json())["warnings"]
    assert told == [
        "System and developer messages are ignored. The answer follows the book and its author's "
        "rules."
    ]
    assert "pirate" not in json.dumps(upstream.chats())


CONVERSATIONS: dict[str, tuple[list[Any], list[str]]] = {
    "text parts": ([user(text("When does", "the tide turn?"))], []),
    "a history of parts": (
        [user([*text("Hello"), IMAGE]), assistant(text("Welcome", "aboard.")), user()],
        ["Hello", "Welcome\naboard."],
    ),
    "only an image before": ([user([IMAGE]), assistant("A boat."), user()], ["A boat."]),
    "tools": (
        [
            user("Which tools?"),
            {**assistant(None), "tool_calls": [{"id": "1", "type": "function"}]},
            {"role": "tool", "content": "from a tool", "tool_call_id": "1"},
            {"role": "function", "content": "from a function", "name": "f"},
            assistant("None."),
            user(),
        ],
        ["Which tools?", "None."],
    ),
    "names": ([{**user("Ahoy"), "name": "ann"}, assistant(""), user()], ["Ahoy"]),
    "an answer begun": ([user(), assistant("The tide ")], []),
    "a refusal": ([assistant([{"type": "refusal", "refusal": "No."}]), user()], []),
    "only the last are kept": (
        [user(f"Question {n}") for n in range(5_000)] + [user()],
        [f"Question {n}" for n in range(4_994, 5_000)],
    ),
}


@pytest.mark.parametrize(("messages", "history"), CONVERSATIONS.values(), ids=CONVERSATIONS)
async def test_the_messages_are_the_conversation(
    generating: Api, upstream: Upstream, messages: list[Any], history: list[str]
) -> None:
    reply = await generating.post(PATH, {"messages": messages})
    assert reply.status == 200
    told = upstream.chats()[0]["messages"]
    assert [each["content"] for each in told[1:-1]] == history
    assert told[-1]["content"].replace("\n", " ").endswith(QUESTION)


ACCEPTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "tools": (
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        ["Tools are ignored. This model only answers from the book."],
    ),
    "functions": (
        {"functions": [{"name": "f"}], "function_call": "none"},
        ["Tools are ignored. This model only answers from the book."],
    ),
    "several answers": ({"n": 3}, ["n is ignored. There is one answer."]),
    "JSON": (
        {"response_format": {"type": "json_object"}},
        ["response_format is ignored. The answer is Markdown."],
    ),
    "text": ({"response_format": {"type": "text"}, "n": 1, "tools": []}, []),
    "null": (
        dict.fromkeys(
            "stream stream_options n response_format tools functions tool_choice function_call "
            "max_tokens temperature user".split()
        ),
        [],
    ),
    "the rest": (
        {
            "frequency_penalty": 1.5,
            "logit_bias": {"50256": -100},
            "logprobs": True,
            "max_completion_tokens": 5,
            "max_tokens": 5,
            "metadata": {"a": "b"},
            "modalities": ["text"],
            "parallel_tool_calls": False,
            "presence_penalty": -1,
            "reasoning_effort": "high",
            "seed": 1,
            "service_tier": "auto",
            "stop": ["tide"],
            "store": True,
            "temperature": 2,
            "top_logprobs": 20,
            "top_p": 0.1,
            "user": "ann",
            "verbosity": "low",
            "web_search_options": {},
        },
        [],
    ),
}


@pytest.mark.parametrize(("fields", "warnings"), ACCEPTED.values(), ids=ACCEPTED)
async def test_parameters_without_a_meaning_are_accepted(
    api: Api, fields: dict[str, Any], warnings: list[str]
) -> None:
    reply = await api.post(PATH, {"model": "gpt-4o", "messages": [user()]} | fields)
    assert reply.status == 200
    assert reply.json().get("warnings", []) == warnings
    assert "The tide turns every six hours" in reply.json()["choices"][0]["message"]["content"]


# --- Errors -------------------------------------------------------------------------------------


async def test_the_client_raises_its_own_errors(client: AsyncOpenAI, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await ask(client, user("x" * 1_001))
    assert bad.value.body == {
        "message": "The last user message has 1,001 characters; 1 to 1,000 are allowed.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "invalid_request",
    }
    with pytest.raises(openai.BadRequestError) as forced:
        await ask(client, tools=[], tool_choice="required")
    assert (forced.value.code, forced.value.param) == ("unsupported_value", "tool_choice")
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.embeddings.create(model="quire", input="tide")
    assert (unknown.value.type, unknown.value.code) == ("invalid_request_error", "not_found")
    with pytest.raises(openai.APIStatusError) as large:
        await ask(client, user("x" * 300_000))
    assert (large.value.status_code, large.value.code) == (413, "body_too_large")
    with pytest.raises(openai.APIStatusError) as plain:
        await ask(client, extra_headers={"Content-Type": "text/plain"})
    assert (plain.value.status_code, plain.value.code) == (415, "unsupported_media_type")
    with pytest.raises(openai.PermissionDeniedError) as foreign:
        await ask(client, extra_headers={"Origin": "https://foreign.example"})
    assert (foreign.value.type, foreign.value.code) == ("permission_error", "forbidden")
    with pytest.raises(openai.PermissionDeniedError):
        await ask(client, extra_headers={"Host": "rebound.example"})
    with pytest.raises(openai.PermissionDeniedError):
        await client.models.list(extra_headers={"Host": "rebound.example"})
    assert upstream.requests == []


async def test_another_method_is_not_allowed(api: Api) -> None:
    for method in ("GET", "HEAD", "PUT"):
        reply = await api.request(method, PATH)
        assert reply.status == 405
        assert {*reply.headers["Allow"].split(", ")} == {"OPTIONS", "POST"}


async def test_too_many_questions_are_a_429(client: AsyncOpenAI, upstream: Upstream) -> None:
    for _ in range(BURST):
        with pytest.raises(openai.BadRequestError):
            await ask(client, user(""))
    with pytest.raises(openai.RateLimitError) as limited:
        await ask(client)
    assert limited.value.type == "rate_limit_error"
    assert 1 <= int(limited.value.response.headers["Retry-After"]) <= 6
    assert upstream.requests == []


async def test_without_an_index_it_is_a_503(make_settings: MakeSettings, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = make_settings(book_content_path=empty, qdrant_path=tmp_path / "none")
    async with connected(settings) as client:
        with pytest.raises(openai.InternalServerError) as missing:
            await ask(client)
    assert missing.value.status_code == 503
    assert (missing.value.type, missing.value.code) == ("server_error", "index_not_ready")
    assert int(missing.value.response.headers["Retry-After"]) >= 1


async def test_an_error_midway_ends_the_stream(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.replies.append([delta("The tide "), Drop()])
    stream = await ask(client, stream=True)
    assert text_of([await anext(stream) for _ in range(2)]) == "The tide"
    with pytest.raises(openai.APIError) as broken:
        await anext(stream)
    assert broken.value.message.endswith("The answer is incomplete. Please ask again.")
    assert (broken.value.type, broken.value.code) == ("server_error", "upstream_error")


@pytest.mark.parametrize(
    "choice",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {}},
        {"function_call": {"name": "f"}},
        {"function_call": "f"},
    ],
    ids=str,
)
async def test_a_forced_tool_is_refused(
    generating: Api, upstream: Upstream, choice: dict[str, Any]
) -> None:
    reply = await generating.post(PATH, {"messages": [user()], "tools": []} | choice)
    assert reply.status == 400
    assert reply.json()["error"]["code"] == "unsupported_value"
    assert upstream.requests == []


OPEN_WEBUI_TAGS = """### Task:
Generate 1-3 broad tags categorizing the main themes of the chat history.

### Chat History:
<chat_history>
USER: When does the tide turn?
ASSISTANT: Every six hours.
</chat_history>"""
LIBRECHAT_TITLE = """Provide a concise, 5-word-or-less title for the conversation, in title case.

Conversation:
User: When does the tide turn?
AI: Every six hours."""


@pytest.mark.parametrize("prompt", [OPEN_WEBUI_TAGS, LIBRECHAT_TITLE], ids=["tags", "title"])
async def test_a_chat_program_s_background_task_costs_nothing(
    generating: Api, upstream: Upstream, prompt: str
) -> None:
    reply = await generating.post(PATH, {"messages": [user(prompt)]})
    assert reply.status == 400
    assert "It writes no titles" in reply.json()["error"]["message"]
    assert upstream.requests == []


def body(messages: str, **fields: Any) -> bytes:
    """JSON text with raw `messages`."""
    rest = "".join(f', "{name}": {value}' for name, value in fields.items())
    return f'{{"messages": {messages}{rest}}}'.encode()


ASKED = json.dumps([user()])
NESTED = "[" * 60_000 + "]" * 60_000
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "an array": b"[]",
    "null": b"null",
    "no messages": b"{}",
    "messages of null": body("null"),
    "messages as text": body('"tide"'),
    "messages as an object": body("{}"),
    "no message": body("[]"),
    "a message of null": body("[null]"),
    "a message as text": body('["tide"]'),
    "no role": body('[{"content": "tide"}]'),
    "a role as a number": body('[{"role": 1, "content": "tide"}]'),
    "another role": body('[{"role": "pirate", "content": "tide"}]'),
    "only an assistant": body('[{"role": "assistant", "content": "tide"}]'),
    "only a system": body('[{"role": "system", "content": "tide"}]'),
    "no content": body('[{"role": "user"}]'),
    "content of null": body('[{"role": "user", "content": null}]'),
    "no text": body('[{"role": "user", "content": " \\n "}]'),
    "content as a number": body('[{"role": "user", "content": 5}]'),
    "content as an object": body('[{"role": "user", "content": {"text": "tide"}}]'),
    "no parts": body('[{"role": "user", "content": []}]'),
    "a part as text": body('[{"role": "user", "content": ["tide"]}]'),
    "a part without a type": body('[{"role": "user", "content": [{"text": "tide"}]}]'),
    "a part's text as a number": body(
        '[{"role": "user", "content": [{"type": "text", "text": 5}]}]'
    ),
    "an image": body(json.dumps([user([*text(QUESTION), IMAGE])])),
    "a sound": body('[{"role": "user", "content": [{"type": "input_audio"}]}]'),
    "a wrong type far back": body(json.dumps([assistant(5), user()])),
    "NUL": body('[{"role": "user", "content": "a\\u0000b"}]'),
    "NUL in a part": body(json.dumps([user(text("a\0b"))])),
    "NUL in the history": body(json.dumps([user("a\0b"), assistant("no"), user()])),
    "NUL as the model": body(ASKED, model='"a\\u0000"'),
    "a lone surrogate": body('[{"role": "user", "content": "\\ud800"}]'),
    "a lone surrogate in the history": body(
        f'[{{"role": "user", "content": "\\udfff"}}, {ASKED[1:]}'
    ),
    "invalid UTF-8": body(ASKED, user='"x"').replace(b'"x"', b'"\xff"'),
    "NaN": body(ASKED, n="NaN"),
    "NaN in an unknown field": body(ASKED, temperature="NaN"),
    "60,000 brackets": body(NESTED),
    "60,000 brackets in the content": body(f'[{{"role": "user", "content": {NESTED}}}]'),
    "60,000 brackets in a tool": body(ASKED, tools=f"[{NESTED}]"),
    "60,000 brackets in an unknown field": body(ASKED, metadata=NESTED),
    "model as a number": body(ASKED, model="5"),
    "model of null": body(ASKED, model="null"),
    "stream as text": body(ASKED, stream='"yes"'),
    "stream as a number": body(ASKED, stream="1"),
    "stream_options as text": body(ASKED, stream_options='"usage"'),
    "include_usage as text": body(ASKED, stream_options='{"include_usage": "yes"}'),
    "n as text": body(ASKED, n='"2"'),
    "n as a fraction": body(ASKED, n="1.5"),
    "response_format as text": body(ASKED, response_format='"json"'),
    "response_format without a type": body(ASKED, response_format="{}"),
    "tools as an object": body(ASKED, tools="{}"),
    "functions as text": body(ASKED, functions='"f"'),
    "tool_choice as a number": body(ASKED, tool_choice="1"),
    "function_call as a list": body(ASKED, function_call="[]"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_a_bad_body_is_a_400_and_costs_nothing(
    generating: Api, upstream: Upstream, data: bytes
) -> None:
    reply = await generating.post(PATH, data=data)
    assert reply.status == 400, reply.text
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert len(reply.content) < 1_000
    assert upstream.requests == []


ODD: dict[str, bytes] = {
    "a duplicate key": body('"tide"')
    .replace(b"}", b"")
    .replace(b'"tide"', f'5, "messages": {ASKED}'.encode())
    + b"}",
    "a long model name": body(ASKED, model=json.dumps("x" * 200_000)),
    "10,000 tools": body(ASKED, tools=json.dumps([{}] * 10_000)),
    "a huge number": body(ASKED, n="9" * 400),
    "a huge number in an unknown field": body(ASKED, seed="9" * 4_000),
    "a float for an integer": body(ASKED, n="1.0"),
    "a large exponent": body(ASKED, temperature="1e300"),
    "surrogate pairs": body('[{"role": "user", "content": "the tide turns \\ud83c\\udf0a?"}]'),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
async def test_an_odd_body_is_answered(api: Api, data: bytes) -> None:
    reply = await api.post(PATH, data=data)
    assert reply.status == 200, reply.text
    assert len(reply.content) < 20_000


async def test_a_large_body_is_a_413(generating: Api, upstream: Upstream) -> None:
    for data in (
        body(ASKED, model=json.dumps("x" * 1_000_000)),
        body(json.dumps([user()] * 10_000)),
    ):
        reply = await generating.post(PATH, data=data)
        assert reply.status == 413
        assert reply.json()["error"]["code"] == "body_too_large"
    assert upstream.requests == []


# --- Keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "limit"), [("any", "20"), (READER_KEY, "200"), (ADMIN_KEY, "20")])
async def test_only_a_reader_s_key_raises_the_limit(
    make_settings: MakeSettings, key: str, limit: str
) -> None:
    async with connected(make_settings(), key) as client:
        response = await client.chat.completions.with_raw_response.create(
            model="quire", messages=[{"role": "user", "content": QUESTION}]
        )
    assert response.headers["RateLimit-Limit"] == limit


async def test_a_page_may_use_the_client(api: Api) -> None:
    """It has headers of its own, which a preflight must allow."""
    sent = {name.lower() for name in AsyncOpenAI(api_key="any").default_headers}
    assert "x-stainless-lang" in sent
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ",".join(sorted(sent)),
    }
    reply = await api.request("OPTIONS", PATH, headers=headers)
    assert {
        each.strip() for each in reply.headers["Access-Control-Allow-Headers"].split(",")
    } == sent
    foreign = await api.request(
        "OPTIONS", PATH, headers=headers | {"Origin": "https://foreign.example"}
    )
    assert "Access-Control-Allow-Headers" not in foreign.headers


# --- Many clients, and those that leave ---------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_an_abort_closes_the_upstream(
    client: AsyncOpenAI, upstream: Upstream, stream: bool
) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    if stream:
        chunks = await ask(client, stream=True)
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
        await chunks.close()
    else:
        asking = asyncio.ensure_future(ask(client))
        await upstream.until(lambda u: len(u.chats()) == 1)
        asking.cancel()
        await asyncio.wait((asking,))
    await upstream.until(lambda u: u.disconnects == 1)


async def test_a_hundred_at_once(make_settings: MakeSettings, upstream: Upstream) -> None:
    settings = make_settings(openai_base_url=upstream.base_url, answer_cache_size=0)
    async with connected(settings, READER_KEY) as client:
        whole = asyncio.gather(*(ask(client) for _ in range(50)))
        streamed = asyncio.gather(*(chunks_of(client) for _ in range(50)))
        texts = [each.choices[0].message.content for each in await whole]
        texts += [text_of(each) for each in await streamed]
    assert len(texts) == 100
    # Those who find all slots taken get quotes.
    assert all("The answer [1](" in each or "Quotes from the book:" in each for each in texts)
    assert 0 < len(upstream.chats()) <= 100


async def test_clients_that_leave(make_settings: MakeSettings, upstream: Upstream) -> None:
    settings = make_settings(openai_base_url=upstream.base_url, answer_cache_size=0)
    upstream.replies += [[delta("The tide "), Hang()] for _ in range(20)]
    async with connected(settings, READER_KEY) as client:
        asking = [asyncio.ensure_future(ask(client, stream=n % 2 == 0)) for n in range(20)]
        await upstream.until(lambda u: len(u.chats()) == 20)
        for each in asking:
            each.cancel()
        for done in await asyncio.gather(*asking, return_exceptions=True):
            if not isinstance(done, BaseException):
                await done.close()
        await upstream.until(lambda u: u.disconnects == 20)
        assert (await ask(client)).choices[0].message.content.startswith("The answer [1](")
