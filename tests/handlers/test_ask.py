"""GET /ask: answers as Markdown"""

from typing import Any
from urllib.parse import urlencode

from tests.api import Api, Response
from tests.tiny_book import SITE
from tests.upstream import Upstream, answer

QUESTION = "When does the tide turn?"


async def ask(api: Api, q: str = QUESTION, method: str = "GET", **kwargs: Any) -> Response:
    return await api.request(method, "/ask?" + urlencode({"q": q}), **kwargs)


async def test_an_answer_is_markdown_that_ends_with_its_sources(api: Api) -> None:
    response = await ask(api)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    text, _, sources = response.text.partition("\n\n## Sources\n\n")
    assert text.startswith("The tide turns every six hours and a quarter.")
    assert not text.endswith("\n")
    assert sources.startswith(f"1. [Tides \U0001f30a and déjà vu]({SITE}/docs/guide/tides)\n")


async def test_sources_are_numbered_like_their_markers(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("One [2]. Two [1]. ", "Three [2].\n\n"))
    response = await ask(generating, "the tide, the current, the harbour office")
    text, _, sources = response.text.partition("\n\n## Sources\n\n")
    lines = sources.splitlines()
    assert [line[:3] for line in lines] == ["1. ", "2. "]
    for number, line in enumerate(lines, 1):
        assert f"[{number}]({line.partition('](')[2][:-1]}" in text
