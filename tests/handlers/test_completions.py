"""POST /v1/chat/completions and GET /v1/models, with OpenAI's own client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.api import Api, listening
from tests.conftest import MakeSettings
from tests.tiny_book import SITE
from tests.upstream import Upstream, answer

PATH = "/v1/chat/completions"
QUESTION = "When does the tide turn?"


def asking(question: str = QUESTION) -> list[Any]:
    return [{"role": "user", "content": question}]


@pytest.fixture
async def client(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[AsyncOpenAI]:
    """The official client of an application with the scripted upstream as language model."""
    settings = make_settings(openai_base_url=upstream.base_url)
    async with (
        listening(settings) as address,
        AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as opened,
    ):
        yield opened


async def test_an_answer_has_its_sources_as_annotations(
    client: AsyncOpenAI, upstream: Upstream
) -> None:
    upstream.replies.append(answer("The tide turns every six hours [1]."))
    completion = await client.chat.completions.create(model="quire", messages=asking())
    [choice] = completion.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content is not None
    assert choice.message.content.startswith("The tide turns every six hours [1](https://book.")
    assert choice.message.annotations is not None
    [annotation] = choice.message.annotations
    cited = annotation.url_citation
    assert cited.url == f"{SITE}/docs/guide/tides"
    link = choice.message.content[cited.start_index : cited.end_index]
    assert link.startswith(f"[1]({cited.url}")
    assert link.endswith(")")
    assert completion.usage is not None
    assert completion.usage.total_tokens == 120


async def test_a_stream_is_the_same_answer(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.replies.append(answer("The tide turns", " every six hours [1]."))
    whole = await client.chat.completions.create(model="quire", messages=asking())
    stream = await client.chat.completions.create(
        model="quire", messages=asking(), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    assert "".join(each.content or "" for each in deltas) == whole.choices[0].message.content
    annotations = [
        annotation
        for each in deltas
        for annotation in (each.model_extra or {}).get("annotations", ())
    ]
    expected = whole.choices[0].message.annotations
    assert expected is not None
    assert annotations == [each.model_dump() for each in expected]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-2:] == [None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_it_works_without_a_language_model(api: Api, stream: bool) -> None:
    reply = await api.post(PATH, {"messages": asking(), "stream": stream})
    assert reply.status == 200
    assert "The tide turns every six hours and a quarter." in reply.text


async def test_there_is_one_model(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["quire"]
