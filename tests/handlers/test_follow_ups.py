"""Follow-ups of answers, and starters, over HTTP with a real index."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.settings import Settings
from tests.api import ADMIN_KEY, Api, serving
from tests.tiny_book import SITE, write_book
from tests.upstream import Upstream, answer

FILES = {
    "index.md": "# The harbour\n\nWelcome to the harbour.\n",
    "tides.md": """# Tides

The tide turns every six hours and a quarter.

## How high is a spring tide?

At spring tide the water rises by four metres above the datum.

## Currents in the entrance

The current in the entrance runs at three knots when the tide falls.

## Reading the tide gauge

The tide gauge at the quay shows the height of the water in metres.
""",
    "mooring.md": """# Mooring

## Lines and springs

A boat is moored with two lines and one spring at the quay.

## Fenders on the quay side

Hang three fenders on the side of the quay, so that nothing is scratched.
""",
}
QUESTION = "How fast is the current in the entrance?"
BESIDE = ["Reading the tide gauge", "How high is a spring tide?"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        book_content_path=write_book(tmp_path / "book", FILES),
        qdrant_path=tmp_path / "index",
        site_url=SITE,
        site_generator="docusaurus",
        chunk_tokens=50,
        admin_api_key=ADMIN_KEY,
    )


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        await running.ingest()
        assert await running.services.contents.get(10)
        yield running


@pytest.fixture
async def generating(settings: Settings, upstream: Upstream) -> AsyncIterator[Api]:
    own = replace(settings, openai_base_url=upstream.base_url, embedding_provider="local")
    async with serving(own) as running:
        await running.ingest()
        assert await running.services.contents.get(10)
        yield running


@pytest.mark.parametrize("stream", [True, False])
async def test_the_headings_beside_the_cited_one_follow(api: Api, stream: bool) -> None:
    found = await api.ask(QUESTION, stream=stream)
    end: dict[str, Any] = found.events()[-1] if stream else found.json()
    assert end["mode"] == "extractive"
    assert end["follow_ups"] == BESIDE


async def test_what_the_conversation_has_asked_does_not_follow(api: Api) -> None:
    first = (await api.ask(BESIDE[1])).json()
    assert BESIDE[1] not in first["follow_ups"]
    session = first["session_id"]
    await api.ask(BESIDE[0], session_id=session)
    end = (await api.ask(QUESTION, session_id=session)).json()
    assert not {*BESIDE} & {*end["follow_ups"]}


async def test_a_cached_answer_keeps_its_follow_ups(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("It runs at three knots [1]."))
    for _ in range(2):
        end = (await generating.ask(QUESTION)).json()
        assert end["mode"] == "generated"
        assert end["follow_ups"] == BESIDE
    assert end["usage"]["cached"]


async def test_an_answer_without_citations_has_none(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("It runs at three knots."))
    assert (await generating.ask(QUESTION)).json()["follow_ups"] == []


async def test_a_refusal_has_suggestions_instead(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("The book does not answer this."))
    end = (await generating.ask(QUESTION)).json()
    assert end["finish_reason"] == "not_in_book"
    assert end["suggestions"]
    assert end["follow_ups"] == []


@pytest.mark.parametrize("question", ["Hello", "How do I bake sourdough bread in Belgium?"])
async def test_what_the_book_does_not_answer_has_none(api: Api, question: str) -> None:
    end = (await api.ask(question)).json()
    assert end["finish_reason"] in ("small_talk", "not_in_book")
    assert end["follow_ups"] == []


async def test_an_answer_never_waits_for_the_contents(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.services.contents, "of", lambda _manifest: None)
    end = (await api.ask(QUESTION)).json()
    assert end["mode"] == "extractive"
    assert end["follow_ups"] == []


async def test_each_starter_is_answered_by_its_page(api: Api) -> None:
    starters = (await api.get("/widget/config.json")).json()["questions"]
    assert starters[0] == "How high is a spring tide?"
    assert len(starters) > 1
    for each in starters:
        end = (await api.ask(each)).json()
        assert end["finish_reason"] == "stop"
        assert end["citations"][0]["source"]["heading"] == each


async def test_a_new_book_has_new_starters(api: Api, settings: Settings) -> None:
    before = (await api.get("/widget/config.json")).json()
    page = "# The lighthouse\n\n## How bright is the lamp?\n\nThe lamp has a thousand candles.\n"
    write_book(settings.book_content_path, {"index.md": page})
    await api.ingest()
    after = (await api.get("/widget/config.json")).json()
    assert (before["title"], after["title"]) == ("The harbour", "The lighthouse")
    assert "How bright is the lamp?" in after["questions"]
