"""POST /feedback"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import REMOTE_CLIENT, Api, serving
from tests.conftest import MakeSettings
from tests.handlers.test_metrics import figures
from tests.limits import BURST, ask
from tests.logged import rows_of
from tests.tiny_book import SITE
from tests.upstream import Upstream


async def answer_id(api: Api, question: str = "When does the tide turn?") -> str:
    made: str = (await api.ask(question)).json()["answer_id"]
    return made


async def test_a_vote_is_counted_once(api: Api) -> None:
    body = {"answer_id": await answer_id(api), "vote": "up"}
    answer = await api.post("/feedback", body)
    assert (answer.status, answer.json()) == (200, {"counted": True})
    again = await api.post("/feedback", body | {"vote": "down"})
    assert (again.status, again.json()["code"]) == (409, "CONFLICT")
    assert (await figures(api))['quire_votes_total{reason="none",vote="up"}'] == 1


async def test_votes_are_counted_by_reason(api: Api) -> None:
    for reason in ("wrong", "incomplete", "unclear", "source", "other", None, "wrong"):
        body = {"answer_id": await answer_id(api), "vote": "down", "reason": reason}
        assert (await api.post("/feedback", body)).status == 200
    told = await figures(api)
    counts = {name: value for name, value in told.items() if name.startswith("quire_votes_total")}
    assert sum(counts.values()) == 7
    assert counts['quire_votes_total{reason="wrong",vote="down"}'] == 2
    assert counts['quire_votes_total{reason="none",vote="down"}'] == 1


async def test_every_answer_has_its_own_id(generating: Api, upstream: Upstream) -> None:
    ids = set[str]()
    for stream in (True, False, True):  # the second and third from the cache
        answer = await generating.ask("When does the tide turn?", stream=stream)
        ids.add((answer.events()[-1] if stream else answer.json())["answer_id"])
    assert len(upstream.chats()) == 1
    refused = (await generating.ask("zanzibar quokkas")).json()
    assert refused["finish_reason"] == "not_in_book"
    ids.add(refused["answer_id"])
    assert len(ids) == 4
    for each in ids:
        body = {"answer_id": each, "vote": "down", "reason": "incomplete"}
        assert (await generating.post("/feedback", body)).status == 200


async def test_small_talk_cannot_be_voted_on(api: Api) -> None:
    body = {"answer_id": await answer_id(api, "Hello!"), "vote": "up"}
    assert body["answer_id"] == ""
    assert (await api.post("/feedback", body)).status == 404


async def test_an_unknown_answer_is_a_404(api: Api) -> None:
    answer = await api.post("/feedback", {"answer_id": "A" * 32, "vote": "up"})
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"answer_id": None}, "answer_id"),
        ({"answer_id": 5}, "answer_id"),
        ({"answer_id": "a\0"}, "answer_id"),
        ({"vote": "sideways"}, "vote"),
        ({"vote": None}, "vote"),
        ({"vote": 1}, "vote"),
        ({"reason": "boring"}, "reason"),
        ({"reason": ["wrong"]}, "reason"),
        ({"note": "x" * 1_001}, "note"),
        ({"note": "a\0"}, "note"),
        ({"note": 5}, "note"),
    ],
    ids=str,
)
async def test_wrong_fields_are_refused_by_name(
    api: Api, fields: dict[str, Any], named: str
) -> None:
    body = {"answer_id": "A" * 32, "vote": "down", "note": "Neap tides?"} | fields
    answer = await api.post("/feedback", body)
    assert answer.status == 400
    assert answer.json()["details"]["field"] == named


async def test_a_missing_field_is_named(api: Api) -> None:
    answer = await api.post("/feedback", {"vote": "up"})
    assert answer.json()["details"]["field"] == "answer_id"
    answer = await api.post("/feedback", {"answer_id": "A" * 32})
    assert answer.json()["details"]["field"] == "vote"


async def test_a_note_may_have_a_thousand_characters_and_is_never_logged(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    note = "zanzibar " + "潮" * 991
    body = {"answer_id": await answer_id(api), "vote": "down", "reason": "other", "note": note}
    assert (await api.post("/feedback", body)).status == 200
    assert (await api.post("/feedback", body)).status == 409
    assert "zanzibar" not in caplog.text
    assert body["answer_id"] not in caplog.text


async def test_pages_of_the_site_may_vote_and_others_may_not(api: Api) -> None:
    body = {"answer_id": await answer_id(api), "vote": "up"}
    refused = await api.post("/feedback", body, headers={"Origin": "https://evil.example"})
    assert (refused.status, refused.json()["code"]) == (403, "FORBIDDEN")
    answer = await api.post("/feedback", body, headers={"Origin": SITE})
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    again = await api.post("/feedback", body, headers={"Origin": SITE})
    assert again.status == 409
    assert again.headers["Access-Control-Allow-Origin"] == SITE


async def test_a_preflight_is_answered(api: Api) -> None:
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = await api.request("OPTIONS", "/feedback", headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SITE


async def test_votes_have_a_limit_of_their_own(api: Api) -> None:
    body = {"answer_id": "A" * 32, "vote": "up"}
    for _ in range(BURST):
        assert (await api.post("/feedback", body)).status == 404
    answer = await api.post("/feedback", body)
    assert (answer.status, answer.json()["code"]) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 0
    asked = await ask(api, REMOTE_CLIENT[0])
    assert int(asked.headers["RateLimit-Remaining"]) == BURST - 1


async def test_a_replica_with_the_same_key_accepts_the_vote(make_settings: MakeSettings) -> None:
    async with serving(make_settings()) as here, serving(make_settings()) as there:
        body = {"answer_id": await answer_id(here), "vote": "up"}
        assert (await there.post("/feedback", body)).status == 200


# With a question log


@pytest.fixture
async def logging(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> AsyncIterator[Api]:
    settings = make_settings(
        qdrant_path=own_index, question_log=30, openai_base_url=upstream.base_url
    )
    async with serving(settings) as running:
        yield running


async def test_a_vote_joins_the_entry_of_its_answer(logging: Api) -> None:
    """Also if the entry is not written yet."""
    voted = await answer_id(logging)
    body = {"answer_id": voted, "vote": "down", "reason": "wrong"}
    note = " Write to john@example.com or ٠١٧١ ١٢٣ ٤٥٦٧. It is wrong: 1.18.3! \n"
    assert (await logging.post("/feedback", body | {"note": note})).status == 200
    (row,) = await rows_of(logging)
    assert (row["vote"], row["reason"]) == ("down", "wrong")
    assert row["note"] == "Write to [email] or [number]. It is wrong: 1.18.3!"
    assert row["folded"].endswith(row["note"].casefold())


async def test_a_second_vote_leaves_the_first(logging: Api) -> None:
    body = {"answer_id": await answer_id(logging), "vote": "up"}
    assert (await logging.post("/feedback", body | {"note": " \n"})).status == 200
    again = body | {"vote": "down", "reason": "wrong", "note": "No."}
    assert (await logging.post("/feedback", again)).status == 409
    (row,) = await rows_of(logging)
    assert (row["vote"], row["reason"], row["note"]) == ("up", None, None)


async def test_a_second_vote_after_a_restart_leaves_the_first(
    make_settings: MakeSettings, own_index: Path
) -> None:
    """The new process does not know of the vote, but the log does."""
    settings = make_settings(qdrant_path=own_index, question_log=30)
    async with serving(settings) as before:
        body = {"answer_id": await answer_id(before), "vote": "up", "note": "Thanks."}
        assert (await before.post("/feedback", body)).status == 200
    async with serving(settings) as after:
        await after.post("/feedback", body | {"vote": "down", "reason": "wrong", "note": "No."})
        (row,) = await rows_of(after)
    assert (row["vote"], row["reason"], row["note"]) == ("up", None, "Thanks.")


async def test_an_answer_from_the_cache_has_its_own_vote(logging: Api, upstream: Upstream) -> None:
    for vote in ("up", "down", None):
        voted = await answer_id(logging)
        if vote:
            body = {"answer_id": voted, "vote": vote}
            assert (await logging.post("/feedback", body)).status == 200
    assert len(upstream.chats()) == 1
    assert [row["vote"] for row in await rows_of(logging)] == ["up", "down", None]


async def test_a_vote_on_an_answer_that_was_not_logged_is_counted(api: Api, logging: Api) -> None:
    body = {"answer_id": await answer_id(api), "vote": "up", "note": "Thanks."}
    assert (await logging.post("/feedback", body)).status == 200
    assert await rows_of(logging) == []
