"""GET /ask: answers as Markdown"""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from handlers.ask import _Encoder
from lib.events import Ping, TextDelta
from tests.api import Api, Response
from tests.tiny_book import SITE
from tests.upstream import Drop, Upstream, answer, delta

QUESTION = "When does the tide turn?"
SOURCES = "\n\n## Sources\n\n"


async def ask(api: Api, q: str = QUESTION, method: str = "GET", **fields: Any) -> Response:
    return await api.request(method, "/ask?" + urlencode({"q": q, **fields}))


# --- Answers ------------------------------------------------------------------------------------


async def test_an_answer_is_markdown_that_ends_with_its_sources(api: Api) -> None:
    response = await ask(api)
    assert response.status == 200
    text, _, sources = response.text.partition(SOURCES)
    assert text.startswith("The tide turns every six hours and a quarter.")
    assert not text.endswith("\n")
    assert sources == f"1. [Tides \U0001f30a and déjà vu]({SITE}/docs/guide/tides)\n"


async def test_the_headers(api: Api) -> None:
    response = await ask(api)
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "X-Session-Id" not in response.headers


async def test_sources_are_numbered_like_their_markers(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("One [2]. Two [1]. ", "Three [2]."))
    text, _, sources = (await ask(generating)).text.partition(SOURCES)
    lines = sources.splitlines()
    assert [line[:3] for line in lines] == ["1. ", "2. "]
    for number, line in enumerate(lines, 1):
        assert f"[{number}]({line.partition('](')[2][:-1]}" in text


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
async def test_one_blank_line_divides_the_text_from_its_sources(
    generating: Api, upstream: Upstream, end: str
) -> None:
    upstream.replies.append(answer("The tide turns [1].", *end))
    text, divided, _ = (await ask(generating)).text.partition(SOURCES)
    assert divided
    assert not text.endswith("\n")


async def test_a_model_s_refusal_names_the_nearest_pages(
    generating: Api, upstream: Upstream
) -> None:
    said = "The book does not say anything about that."
    upstream.replies.append(answer(said))
    response = await ask(generating)
    assert response.text.startswith(f"{said}\n\nThese pages come closest:\n\n- [Tides ")


async def test_a_refusal_names_the_nearest_pages_once(api: Api) -> None:
    response = await ask(api, "Was ist die Hauptstadt von Frankreich?")
    assert response.text.count(f"]({SITE}/docs/") == 3
    assert "## Sources" not in response.text
    assert response.text == f"{response.text.strip()}\n"


async def test_small_talk_is_one_line(api: Api) -> None:
    assert (await ask(api, "Danke!")).text == "Gern geschehen.\n"


async def test_an_interrupted_answer_ends_with_a_line_that_says_so(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    text, _, last = (await ask(generating)).text.rpartition("\n\n")
    assert text.startswith("The tide turns")
    assert last.startswith("**The language model")
    assert last.endswith("The answer is incomplete. Please ask again.**\n")


async def test_the_server_keeps_no_conversation(generating: Api) -> None:
    await ask(generating)
    assert len(generating.services.chat.sessions) == 0


def test_a_silent_model_sends_blank_lines_before_the_text_only() -> None:
    """They keep proxies from closing the connection; inside the text they would show."""
    encode = _Encoder("english")
    events = (Ping(), Ping(), Ping(), TextDelta(content="The tide"), Ping())
    assert [encode(event) for event in events] == [b"", b"\n", b"\n", b"The tide", b""]


# --- Requests that are refused ------------------------------------------------------------------

INVALID = {
    "nothing": ("", "q"),
    "empty": ("q=", "q"),
    "white space": ("q=%20%0A", "q"),
    "too long": ("q=" + "tide+" * 201, "q"),
    "NUL": ("q=ti%00de", "q"),
    "a NUL in the page": ("q=tide&page=%00", "page"),
    "a long page": ("q=tide&page=" + "x" * 501, "page"),
    "another name": ("question=tide", "q"),
    "a list": ("q[]=tide", "q"),
}


@pytest.mark.parametrize(("query", "field"), INVALID.values(), ids=INVALID)
async def test_an_invalid_query_is_refused_by_field(
    generating: Api, upstream: Upstream, query: str, field: str
) -> None:
    response = await generating.get(f"/ask?{query}")
    assert response.status == 400
    assert response.json()["details"] == {"field": field}
    assert upstream.chats() == []


HOSTILE = {
    "no UTF-8": "q=%ff%fe%c3",
    "a lone surrogate": "q=%ed%a0%80",
    "twice": "q=tide&q=current",
    "white space around": "q=+tide%0A",
    "markup": "q=" + quote("<script>alert(1)</script> [1](javascript:alert(1))"),
    "right to left": "q=" + quote("\u202etide\u200b\ufeff"),
    "no name": "=tide&&&q=tide&",
    "a path": "q=tide&page=../../etc/passwd",
}


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
async def test_odd_queries_are_answered(generating: Api, query: str) -> None:
    assert (await generating.get(f"/ask?{query}")).status == 200


async def test_thousands_of_parameters_are_refused(generating: Api, upstream: Upstream) -> None:
    response = await generating.get("/ask?" + "&".join(f"q{n}=tide" for n in range(2_000)))
    assert response.status == 400
    assert upstream.chats() == []


async def test_head_starts_no_answer(generating: Api, upstream: Upstream) -> None:
    response = await ask(generating, method="HEAD")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.content == b""
    assert upstream.requests == []
    assert (await ask(generating, "", method="HEAD")).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_are_refused(api: Api, method: str) -> None:
    assert (await ask(api, method=method)).status == 405
