"""POST /ui/chat: the UI message stream of the Vercel AI SDK"""

from typing import Any

from tests.api import Api, Response
from tests.tiny_book import SITE

QUESTION = "When does the tide turn?"


def message(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "text": text} for text in texts]}


async def ask(api: Api, *messages: dict[str, Any], **fields: Any) -> Response:
    asked = messages or (message("user", QUESTION),)
    body = {"id": "chat-1", "messages": asked, "trigger": "submit-message", "messageId": None}
    return await api.post("/ui/chat", body | fields)


def kinds(response: Response) -> list[str]:
    return [part["type"] for part in response.events()]


def parts(response: Response, kind: str) -> list[dict[str, Any]]:
    return [part for part in response.events() if part["type"] == kind]


def text(response: Response) -> str:
    return "".join(part["delta"] for part in parts(response, "text-delta"))


async def test_an_answer_is_one_text_part_with_its_sources(generating: Api) -> None:
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
    assert len({part["id"] for part in response.events() if part["type"].startswith("text-")}) == 1
    assert response.content.endswith(b"\n\ndata: [DONE]\n\n")
    assert text(response).startswith("The answer [1](https://book.example/")


async def test_the_headers_of_a_stream(api: Api) -> None:
    response = await ask(api)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "X-Session-Id" not in response.headers


async def test_a_source_has_the_address_of_its_heading(api: Api) -> None:
    response = await ask(api, message("user", "How fast is the current in the entrance?"))
    [source, *_] = parts(response, "source-url")
    [cited, *_] = parts(response, "data-citation")
    assert source["url"] == cited["data"]["source"]["url"] == f"{SITE}/docs/guide/tides#currents"
    assert source["title"] == "Tides \U0001f30a and déjà vu > Currents"
    assert source["sourceId"] == cited["data"]["chunk_id"]
