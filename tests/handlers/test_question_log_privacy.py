"""Nothing of a reader is in the question log but the question: every stored byte is looked at."""

import asyncio
import logging
import sqlite3
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from lib.question_log import FILE_NAME
from lib.sessions import conversation_key
from lib.settings import Settings
from tests.api import Api, listening, serving
from tests.conftest import MakeSettings
from tests.logged import log_of
from tests.tiny_book import SITE
from tests.upstream import Drop, Hang, Upstream, delta

FIELDS = {
    "questions": "id asked_at answer conversation question folded language interface outcome mode "
    "fallback code stands_alone supported unsupported unknown first_ms total_ms prompt_tokens "
    "completion_tokens embedding_tokens cost_usd vote reason note",
    "places": "id file_path heading url",
    "passages": "question_id position place_id start_char end_char score cited",
    "vectors": "question_id model vector",
    "sqlite_sequence": "name seq",
}

ADDRESS, FORWARDED, FORWARDED_SIX = "203.0.113.199", "198.51.100.177", "2001:db8:77:1::abcd"
SESSION = "session_8f3k2m9x7q1w5z"
READER, READER_KEY = "Wilhelmina", "the-key-of-wilhelmina"
ADMIN_KEY = "the-key-of-the-author"
HEADERS = {
    "User-Agent": "RemarkableBrowser/7.3",
    "Referer": "https://referring.example/page",
    "Cookie": "tracker=remarkable-cookie",
    "X-Request-Id": "remarkable-request-id",
    "Accept-Language": "haw-US",
    "Host": "remarkable-host.example",
    "X-Real-IP": FORWARDED,
}
PERSONAL = [
    *(ADDRESS, FORWARDED, "203.0.113", "198.51.100", "2001:db8", "127.0.0.1"),
    *(SESSION, READER, READER_KEY, ADMIN_KEY),
    *("Remarkable", "remarkable", "referring", "haw-US", "haw"),
    *("private-page", "selected-words", "private-source", "key-in-the-body"),
    *("earlier-words", "system-words", "remarkable-client", "message-id-77"),
    *("john.doe", "@example.com", "7654321", "sk-abcdef", "abcdef0123"),
]
"""What is sent beside the question, or masked in it."""
QUESTION = (
    "Which zanzibarian enzyme breaks down starch? I am john.doe@example.com, +49 171 7654321, and "
    f"use sk-abcdef0123456789 or {READER_KEY} or {ADMIN_KEY}."
)
STORED_QUESTION = (
    "Which zanzibarian enzyme breaks down starch? I am [email], [number], and use [redacted] or "
    "[redacted] or [redacted]."
)
NOTE = f"zanzibarian note: john.doe(at)example.com, {READER_KEY}, 0171-7654321"
STORED_NOTE = "zanzibarian note: [email], [redacted], [number]"
TIDE = "When does the tide turn? My mail is john.doe@example.com."


def messages() -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "system-words"},
        {"role": "user", "content": "Which earlier-words?"},
        {"role": "assistant", "content": "These earlier-words."},
        {"role": "user", "content": QUESTION},
    ]


def mcp(version: Mapping[str, str]) -> dict[str, Any]:
    params = {
        "name": "ask",
        "arguments": {"question": QUESTION},
        "_meta": {"progressToken": "remarkable-token", "clientInfo": dict(version)},
    }
    return {"jsonrpc": "2.0", "id": "message-id-77", "method": "tools/call", "params": params}


async def ask_everywhere(api: Api, **sender: Any) -> list[str]:
    """Ask through each interface, streamed and not, and return the ids of the answers."""
    context = {"selectedText": "selected-words", "source": "/private-source"}
    chat = {
        "question": QUESTION,
        "session_id": SESSION,
        "page": f"{SITE}/private-page",
        "api_key": "key-in-the-body",
    }
    ids = []
    for fields in ({}, {"context": context}, {"question": TIDE}):
        whole = await api.post("/chat", {**chat, **fields, "stream": False}, **sender)
        ids.append(whole.json()["answer_id"])
        streamed = await api.post("/chat", {**chat, **fields}, **sender)
        ids.append(streamed.events()[-1]["answer_id"])
    for stream in (True, False):
        body = {"messages": messages(), "stream": stream, "user": "remarkable-user"}
        await api.post("/v1/chat/completions", body, **sender)
    parts = [
        {
            "id": "message-id-77",
            "role": m["role"],
            "parts": [{"type": "text", "text": m["content"]}],
        }
        for m in messages()
    ]
    await api.post("/ui/chat", {"messages": parts, "page": "/private-page"}, **sender)
    asked = urlencode({"q": QUESTION, "page": "/private-page"})
    await api.get(f"/ask?{asked}", **sender)
    for accepted in ("application/json", "text/event-stream"):
        own = {**sender["headers"], "MCP-Protocol-Version": "2025-11-25", "Accept": accepted}
        body = mcp({"name": "remarkable-client", "version": "1"})
        await api.post("/mcp", body, **(sender | {"headers": own}))
    return ids


def stored(path: Path) -> Iterator[tuple[str, object]]:
    """Every value in every table, with its place."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            assert names == FIELDS[table].split(), f"decide whether {table} may store this"
            for row in rows:
                yield from (
                    (f"{table}.{name}", each) for name, each in zip(names, row, strict=True)
                )


def files(path: Path) -> bytes:
    """The bytes of the log's files, also of those that exist only while it is open."""
    found = sorted(path.parent.glob(f"{path.name}*"))
    return b"".join(each.read_bytes() for each in found)


def find(needles: list[str], content: bytes) -> list[str]:
    lowered = content.lower()
    return [
        needle
        for needle in needles
        for encoding in ("utf-8", "utf-16-le")
        if needle.lower().encode(encoding) in lowered
    ]


@pytest.fixture
def settings(make_settings: MakeSettings, own_index: Path, upstream: Upstream) -> Settings:
    return make_settings(
        qdrant_path=own_index,
        question_log=30,
        openai_base_url=upstream.base_url,
        admin_api_key=ADMIN_KEY,
        api_keys=(f"{READER}:{READER_KEY}",),
        trusted_proxy_hops=1,
        rate_limit_enabled=False,
    )


async def test_nothing_of_the_reader_is_stored(
    settings: Settings, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("access", "handlers", "lib", "quire"):
        caplog.set_level(logging.DEBUG, name)
    path = settings.qdrant_path / FILE_NAME
    ids: list[str] = []
    async with serving(settings) as api:
        for name, value in (
            ("X-Forwarded-For", f"192.0.2.1, {FORWARDED}"),
            ("X-Forwarded-For", FORWARDED_SIX),
            ("X-API-Key", READER_KEY),
            ("Authorization", f"Bearer {ADMIN_KEY}"),
        ):
            sender: dict[str, Any] = {
                "headers": {**HEADERS, name: value},
                "caller": (ADDRESS, 4321),
            }
            ids += await ask_everywhere(api, **sender)
            upstream.replies.append([delta("The tide "), Drop()])
            await api.post("/chat", {"question": TIDE, "session_id": SESSION}, **sender)
        for voted in ids:
            body = {"answer_id": voted, "vote": "down", "reason": "other", "note": NOTE}
            assert (await api.post("/feedback", body, **sender)).status == 200
        await log_of(api).flush()
        while_open = await asyncio.to_thread(files, path)
        key = api.services.chat.feedback._secret
    upstream.replies.append([delta("The tide "), Hang()])
    async with listening(settings) as address, aiohttp.ClientSession() as http:
        headers = {**HEADERS, "X-Forwarded-For": FORWARDED}
        asked = {"question": QUESTION, "context": {"selectedText": "selected-words"}}
        async with http.post(f"{address}/chat", json=asked, headers=headers) as response:
            await response.content.readuntil(b"\n\n")
            await upstream.until(lambda u: not u.replies)
            response.close()
        await upstream.until(lambda u: u.disconnects >= 1)
    everything = while_open + await asyncio.to_thread(files, path)

    values = [*stored(path)]
    questions = [each for place, each in values if place == "questions.question"]
    assert len(questions) == 4 * 13 + 1
    assert {*questions} == {STORED_QUESTION, "When does the tide turn? My mail is [email]."}
    notes = [each for place, each in values if place == "questions.note"]
    assert {*notes} == {STORED_NOTE, None}
    outcomes = {each for place, each in values if place == "questions.outcome"}
    assert outcomes == {"answered", "refused", "failed", "left"}
    for place, held in values:
        assert not find(PERSONAL, str(held).encode()), place

    assert find(["zanzibarian"], everything)
    assert find(PERSONAL, everything) == []
    derived = [part for each in ids for part in (each.encode(), urlsafe_b64decode(each))]
    for reader in (ADDRESS, FORWARDED, "2001:db8:77:1::/64", f"key:{READER}", "admin"):
        conversation = conversation_key(reader, SESSION)
        derived += [conversation.encode(), bytes.fromhex(conversation)]
    assert not [each for each in derived if each in everything]
    assert key not in everything
    readers = {str(getattr(each, "fields", {}).get("reader")) for each in caplog.records}
    pseudonyms = sorted(readers - {"None", "admin"})
    assert len(pseudonyms) > 2
    assert find(pseudonyms, everything) == []

    assert not find(["zanzibarian", "starch", "tide turn"], caplog.text.encode())
