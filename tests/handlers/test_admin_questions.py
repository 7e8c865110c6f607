"""GET /admin/questions and the other endpoints that read the question log."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api import ADMIN_KEY, Api, serving
from tests.conftest import MakeSettings
from tests.logged import DAY, log_of, logged, passage, write
from tests.tiny_book import write_book

ENDPOINTS = (
    "/admin/questions",
    "/admin/questions/1/golden",
    "/admin/conversations/c1",
    "/admin/activity",
    "/admin/pages",
    "/admin/export",
    "/admin/gaps",
    "/admin/report",
)


async def read(api: Api, path: str) -> Any:
    answer = await api.as_admin("GET", path)
    assert answer.status == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_only_the_admin_reads_the_log(logging: Api, path: str) -> None:
    await write(logging, [logged(passages=(passage(),))])
    refused = await logging.get(path)
    assert refused.status == 401
    assert "tide" not in refused.text
    for method in ("GET", "HEAD"):
        answer = await logging.as_admin(method, path)
        assert answer.status == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
    assert refused.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_without_a_log_there_is_nothing_to_read(api: Api, path: str) -> None:
    answer = await api.as_admin("GET", path)
    assert answer.status == 404
    assert answer.json()["error"] == ("There is no question log. Set QUESTION_LOG=30d to keep one.")


async def test_a_log_without_entries_is_empty(logging: Api) -> None:
    assert await read(logging, "/admin/questions") == {"questions": [], "next": None, "total": 0}
    activity = await read(logging, "/admin/activity?since=7d")
    assert len(activity["days"]) == 8
    assert activity["languages"] == activity["interfaces"] == []
    pages = await read(logging, "/admin/pages")
    assert pages["most"] == []
    assert (await logging.as_admin("GET", "/admin/export?format=jsonl")).content == b""
    assert not log_of(logging).path.exists()


BAD_PARAMETERS = [
    ("questions?since=yesterday", "since"),
    ("questions?since=7", "since"),
    ("questions?since=-7d", "since"),
    ("questions?since=%D9%A7d", "since"),
    ("questions?since=2026-02-30", "since"),
    ("questions?since=20260230", "since"),
    ("questions?until=2026-13-01", "until"),
    ("questions?until=999999d", "until"),
    ("questions?outcome=lost", "outcome"),
    ("questions?vote=sideways", "vote"),
    ("questions?unanswered=perhaps", "unanswered"),
    ("questions?limit=0", "limit"),
    ("questions?limit=201", "limit"),
    ("questions?limit=many", "limit"),
    ("questions?before=0", "before"),
    ("questions?before=9223372036854775808", "before"),
    ("questions?before=99999999999999999999999", "before"),
    ("questions?q=a%00b", "q"),
    (f"questions?q={'a' * 201}", "q"),
    (f"questions?path={'a' * 1001}", "path"),
    ("questions?ids=1;2", "ids"),
    (f"questions?ids={','.join('1' * 201)}", "ids"),
    (f"questions?language={'a' * 101}", "language"),
    (f"questions?interface={'a' * 101}", "interface"),
    ("activity?since=x", "since"),
    ("pages?since=x", "since"),
    ("pages?limit=201", "limit"),
    ("export?format=xlsx", "format"),
    ("export?since=x", "since"),
    ("gaps?since=yesterday", "since"),
    ("gaps?limit=0", "limit"),
    ("gaps?limit=201", "limit"),
    ("report?since=soon", "since"),
]


async def test_a_bad_parameter_is_named(logging: Api) -> None:
    for path, field in BAD_PARAMETERS:
        answer = await logging.as_admin("GET", f"/admin/{path}")
        assert answer.status == 400, path
        assert answer.json()["details"] == {"field": field}


async def test_a_row_has_all_fields(logging: Api) -> None:
    await write(
        logging,
        [
            logged(
                "Wann kommt die Flut?",
                asked_at=1_796_000_000_123,
                answer=7,
                language="german",
                supported=2,
                first_ms=250,
                total_ms=1500,
                passages=(passage(url=None),),
            )
        ],
    )
    answer = await read(logging, "/admin/questions?since=2026-01-01")
    assert answer["questions"] == [
        {
            "id": 1,
            "asked_at": "2026-11-30T00:53:20.123000Z",
            "conversation": "c1",
            "question": "Wann kommt die Flut?",
            "language": "german",
            "interface": "/chat",
            "outcome": "answered",
            "mode": "generated",
            "fallback": "",
            "code": "",
            "stands_alone": True,
            "supported": 2,
            "unsupported": 0,
            "unknown": 0,
            "first_seconds": 0.25,
            "total_seconds": 1.5,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "embedding_tokens": 0,
            "cost_usd": 0.0,
            "vote": None,
            "reason": None,
            "note": None,
            "passages": [
                {
                    "file_path": "guide/tides.md",
                    "heading": "Tides \U0001f30a and déjà vu > Currents",
                    "url": None,
                    "start_char": 120,
                    "end_char": 190,
                    "score": 0.75,
                    "cited": True,
                }
            ],
        }
    ]


async def test_pages_of_the_list_follow_each_other(logging: Api) -> None:
    await write(logging, [logged(f"Question {each}?") for each in range(7)])
    seen, path = [], "/admin/questions?limit=3"
    following: int | None = None
    while True:
        page = await read(logging, path + (f"&before={following}" if following else ""))
        assert page["total"] == 7
        seen += [each["id"] for each in page["questions"]]
        if not (following := page["next"]):
            break
        # newer questions change nothing
        await write(logging, [])
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_conversation_is_read_from_its_beginning(logging: Api) -> None:
    await write(
        logging,
        [logged("One?"), logged("Other?", conversation="c2"), logged("Two?")],
    )
    found = await read(logging, "/admin/conversations/c1")
    assert [each["question"] for each in found["questions"]] == ["One?", "Two?"]
    assert (await logging.as_admin("GET", "/admin/conversations/c3")).status == 404


@pytest.mark.parametrize("question", ["2", "99999999999999999999999"])
async def test_an_unknown_question_is_not_found(logging: Api, question: str) -> None:
    await write(logging, [logged()])
    path = f"/admin/questions/{question}"
    assert (await logging.as_admin("DELETE", path)).status == 404
    assert (await logging.as_admin("GET", f"{path}/golden")).status == 404
    assert (await read(logging, "/admin/questions"))["total"] == 1


async def test_a_deleted_question_leaves_nothing(logging: Api) -> None:
    secret = "My name is Quentin Quire-Quux"
    await write(
        logging,
        [
            logged(secret, passages=(passage(),), vector=b"\x07" * 400, vector_model="e5"),
            logged("Other?", passages=(passage(),)),
        ],
    )
    folder = log_of(logging).path.parent

    def is_on_disk() -> bool:
        files = folder.glob("questions.sqlite3*")
        return any(text in each.read_bytes() for each in files for text in kept)

    kept = (secret.encode(), secret.casefold().encode(), b"\x07" * 400)
    assert is_on_disk()
    assert (await logging.as_admin("DELETE", "/admin/questions/1")).json() == {"deleted": True}
    assert not is_on_disk()
    (left,) = (await read(logging, "/admin/questions"))["questions"]
    assert (left["id"], len(left["passages"])) == (2, 1)
    rows = await log_of(logging).read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("questions", "passages", "vectors")
        ]
    )
    assert rows == [1, 1, 0]


async def test_a_question_is_deleted_from_the_disk_when_nobody_reads_it_any_more(
    logging: Api,
) -> None:
    log = log_of(logging)
    await write(logging, [logged("My name is Quentin"), logged("Other?")])
    reading, release = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> int:
        count = len(connection.execute("SELECT id FROM questions").fetchall())
        reading.set()
        release.wait(10)
        return count

    held = asyncio.create_task(log.read(hold))
    await asyncio.to_thread(reading.wait)
    assert (await logging.as_admin("DELETE", "/admin/questions/1")).status == 200
    assert (await read(logging, "/admin/questions"))["total"] == 1

    def is_on_disk() -> bool:
        files = log.path.parent.glob("questions.sqlite3*")
        return any(b"Quentin" in each.read_bytes() for each in files)

    assert is_on_disk()
    release.set()
    assert await held == 2  # it saw the log as it was
    await write(logging, [logged("The next one?")])
    assert not is_on_disk()


async def test_activity_has_every_day(logging: Api) -> None:
    today = int(time.time() * 1000) // DAY
    noon = today * DAY + DAY // 2
    yesterday = noon - DAY
    await write(
        logging,
        [
            logged(asked_at=yesterday, first_ms=ms, unsupported=2, cost_usd=0.5, prompt_tokens=7)
            for ms in range(100, 2100, 100)
        ]
        + [
            logged(asked_at=noon, outcome="refused", cost_usd=None, language="german"),
            logged(asked_at=noon, outcome="small_talk", interface="/mcp", cost_usd=None),
            logged(asked_at=noon - 4 * DAY, outcome="failed"),
        ],
    )
    log_of(logging).vote(1, "up", None, None)
    found = await read(logging, "/admin/activity?since=3d")
    days = {each["date"]: each for each in found["days"]}
    assert len(days) == 4
    empty, *_, before, last = days.values()
    assert last["date"] == time.strftime("%Y-%m-%d", time.gmtime(today * DAY / 1000))
    assert (before["questions"], before["answered"], before["unsupported"]) == (20, 20, 20)
    assert (before["first_p50"], before["first_p95"]) == (1.0, 1.9)
    assert (before["cost_usd"], before["prompt_tokens"]) == (10.0, 140)
    assert (last["questions"], last["refused"], last["small_talk"]) == (2, 1, 1)
    assert (last["cost_usd"], last["first_p50"], last["first_p95"]) == (None, None, None)
    assert (empty["questions"], empty["cost_usd"], empty["first_p50"]) == (0, 0.0, None)
    assert found["languages"] == [
        {"language": "english", "questions": 21},
        {"language": "german", "questions": 1},
    ]
    assert found["interfaces"] == [
        {"interface": "/chat", "questions": 21},
        {"interface": "/mcp", "questions": 1},
    ]


async def test_pages_are_counted_by_their_citations(logging: Api) -> None:
    fragment = "https://book.example/docs/guide/tides#currents:~:text=three%20knots"
    old = passage("gone.md", heading="Gone > Away", url="https://book.example/gone#away")
    await write(
        logging,
        [
            logged(passages=(passage(url=fragment), passage(heading="Tides", url=None), old)),
            logged(passages=(passage(),)),
            logged(passages=(passage("guide/odd.md", cited=False),)),
            logged(asked_at=1, passages=(passage("guide/mooring.md"),)),
        ],
    )
    found = await read(logging, "/admin/pages")
    assert found["most"] == [
        {
            "file_path": "guide/tides.md",
            "title": "Tides \U0001f30a and déjà vu",
            "url": "https://book.example/docs/guide/tides",
            "citations": 3,
            "questions": 2,
        },
        {"file_path": "gone.md", "title": "Gone", "url": None, "citations": 1, "questions": 1},
    ]
    least = {each["file_path"]: each["citations"] for each in found["least"]}
    assert least == {"index.md": 0, "guide/mooring.md": 0, "guide/odd.md": 0, "guide/tides.md": 3}
    never = found["never"]
    assert never["total"] == 3
    assert [(each["file_path"], each["heading"]) for each in never["headings"]] == [
        ("index.md", "Opening hours"),
        ("guide/mooring.md", "Fenders"),
        ("guide/mooring.md", "Radio"),
    ]
    assert never["headings"][1]["url"] == "https://book.example/docs/guide/mooring#fenders"
    short = await read(logging, "/admin/pages?limit=1")
    assert [len(short[name]) for name in ("most", "least")] == [1, 1]
    assert short["never"]["headings"] == never["headings"][:1]
    assert short["never"]["total"] == 3


MOORING = "https://book.example/docs/guide/mooring"


@pytest.mark.parametrize(
    ("place", "left"),
    [
        # the address decides, with a text fragment too, if the book has it
        (passage("guide/mooring.md", heading="Old", url=f"{MOORING}#radio:~:text=Call"), "Fenders"),
        (passage("guide/mooring.md", heading="Mooring > Radio", url=f"{MOORING}#fenders"), "Radio"),
        # else the path of headings
        (passage("guide/mooring.md", heading="Mooring > Radio", url=None), "Fenders"),
        (passage("guide/mooring.md", heading="Mooring > Radio", url="/old#radio"), "Fenders"),
        # neither
        (passage("guide/mooring.md", heading="Mooring", url=f"{MOORING}:~:text=a"), "both"),
        (passage("guide/mooring.md", url=f"{MOORING}#radio", cited=False), "both"),
        (passage("guide/tides.md", heading="Mooring > Radio", url=None), "both"),
    ],
)
async def test_a_cited_heading_is_recognised(logging: Api, place: Any, left: str) -> None:
    await write(logging, [logged(passages=(place, passage("guide/mooring.md", url=MOORING)))])
    never = (await read(logging, "/admin/pages"))["never"]["headings"]
    found = [each["heading"] for each in never if each["file_path"] == "guide/mooring.md"]
    assert found == (["Fenders", "Radio"] if left == "both" else [left])


async def test_headings_of_pages_that_quire_serves_are_recognised(
    served_book: MakeSettings,
) -> None:
    async with serving(served_book(question_log=30)) as api:
        await api.ingest()
        assert (await read(api, "/admin/pages"))["never"]["total"] == 4
        await api.ask("How many fenders?")
        await log_of(api).flush()
        found = await read(api, "/admin/pages")
        never = [each["heading"] for each in found["never"]["headings"]]
        assert never == ["Opening hours", "Radio", "Currents"]
        assert found["most"][0]["file_path"] == "guide/mooring.md"
        assert found["never"]["headings"][1]["url"] == "/book/guide/mooring#radio"


async def test_a_heading_above_a_cited_one_counts_as_cited(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    text = "# Top\n\n## Alone\n\nText.\n\n## Above\n\n### Below\n\nText.\n\n### Other\n\nText.\n"
    book = write_book(tmp_path / "book", {"index.md": text})
    settings = make_settings(
        book_content_path=book, qdrant_path=tmp_path / "index", question_log=30
    )
    async with serving(settings) as api:
        await api.ingest()
        place = passage("index.md", heading="Top > Above > Below", url=None)
        await write(api, [logged(passages=(place,))])
        never = (await read(api, "/admin/pages"))["never"]["headings"]
        assert [each["heading"] for each in never] == ["Alone", "Above > Other"]


async def test_pages_need_an_index(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings(
        qdrant_path=tmp_path, book_content_path=tmp_path / "none", question_log=30
    )
    async with serving(settings) as api:
        answer = await api.as_admin("GET", "/admin/pages")
        assert (answer.status, answer.json()["code"]) == (503, "INDEX_NOT_READY")


async def test_an_export_ends_when_its_client_leaves(
    logging: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(logging)
    await write(logging, [logged() for _ in range(1_100)])
    read, calls = log.read, 0
    reached, ended = asyncio.Event(), asyncio.Event()

    async def hold_the_second(query: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
        return await read(query)

    monkeypatch.setattr(log, "read", hold_the_second)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    client = logging.app.test_client()
    async with client.request("/admin/export", headers=headers) as leaving:
        await leaving.send_complete()
        await reached.wait()
        await leaving.disconnect()
        async with asyncio.timeout(5):
            await ended.wait()
    assert calls == 2
