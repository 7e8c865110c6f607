"""GET /llms.txt and GET /llms-full.txt"""

import asyncio
import gzip
import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from lib import llms
from lib.packing import Packed, pack
from tests.api import Api, listening, serving
from tests.handlers.test_book import index, make
from tests.handlers.test_book import own as own
from tests.handlers.test_book import settings as settings
from tests.tiny_book import write_book

FILES = ("/llms.txt", "/llms-full.txt")


async def test_the_pages_are_listed(own: Api) -> None:
    answer = await own.get("/llms.txt")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    title, summary, usage, *parts = answer.text.split("\n\n")
    assert title == "# A \\<b>harbour\\</b>"
    assert summary == "> Tides, then mooring."
    assert "[llms-full.txt](llms-full.txt)" in usage
    assert parts[:2] == [
        "## Pages",
        "- [Welcome](book/index.md): Tides, then mooring.\n"
        "- [About & more](book/about.md): No heading here.",
    ]
    assert "- [Tides](book/guide/tides.md): The tide turns.\n" in answer.text
    assert "## The guide\n\n" in answer.text
    assert "Draft" not in answer.text
    assert "Secret" not in answer.text


@pytest.mark.parametrize("prefix", ["", "/tools/quire"])
async def test_all_links_lead_to_markdown(own: Api, prefix: str) -> None:
    text = (await own.get("/llms.txt")).text
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", text)
    assert len(links) == 7
    for link in links:
        url = urljoin(f"{prefix}/llms.txt", link)
        answer = await own.get(url.removeprefix(prefix))
        assert answer.status == 200
        assert answer.headers["Content-Type"].partition(";")[0] in ("text/markdown", "text/plain")


async def test_the_full_text(own: Api) -> None:
    answer = await own.get("/llms-full.txt")
    assert answer.status == 200
    pages = re.findall(r"^# (.*)\nSource: (\S+)$", answer.text, re.MULTILINE)
    listed = await own.services.contents.get(5)
    assert listed
    assert [title for title, _ in pages] == [page.title for page in listed.pages]
    for _, address in pages:
        own_text = (await own.get(f"/{address}")).text
        assert own_text.strip().splitlines()[-1] in answer.text
    assert "left out" not in answer.text


async def test_a_site_s_addresses_are_the_sources(api: Api) -> None:
    assert (
        "\nSource: https://book.example/docs/guide/tides\n"
        in (await api.get("/llms-full.txt")).text
    )


async def test_pages_that_do_not_fit_are_counted(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (await own.get("/llms-full.txt")).text
    await own.ingest(force_reindex=True)
    monkeypatch.setattr(llms, "_MAX_FULL", len(whole) - 1)
    text = (await own.get("/llms-full.txt")).text
    left_out = re.search(r"(\d) pages? (?:is|are) left out, because", text)
    assert left_out
    assert text.count("\nSource: ") == 6 - int(left_out[1])
    assert len(text) <= len(whole) - 1


@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_sent_once_and_compressed(own: Api, path: str) -> None:
    first = await own.get(path, headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(first.content) == (await own.get(path)).content
    again = await own.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")
    head = await own.request("HEAD", path)
    assert (head.status, head.headers["ETag"]) == (200, first.headers["ETag"])


@pytest.mark.parametrize("path", FILES)
async def test_a_new_index_shows_at_once(own: Api, path: str) -> None:
    before = (await own.get(path)).text
    folder = own.services.settings.book_content_path
    write_book(folder, {"about.md": "# Changed\n\nOther words.\n"})
    assert (await own.get(path)).text == before
    await own.ingest()
    after = (await own.get(path)).text
    assert "Other words." in after
    assert "No heading here." not in after


async def test_the_same_index_gives_the_same_files(own: Api) -> None:
    before = [(await own.get(path)).content for path in FILES]
    await own.ingest(force_reindex=True)
    assert [(await own.get(path)).content for path in FILES] == before


async def test_a_file_is_made_once_for_all_and_no_client_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make(tmp_path)
    await index(settings)
    packed: list[bytes] = []

    def count_and_pack(content: bytes) -> Packed:
        packed.append(content)
        return pack(content)

    monkeypatch.setattr(llms, "pack", count_and_pack)
    async with serving(settings) as api:
        files = api.services.llms
        callers = [asyncio.create_task(files.full()) for _ in range(100)]
        await asyncio.sleep(0)
        for caller in callers[:50]:
            caller.cancel()
        done = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in done[:50]] == [asyncio.CancelledError] * 50
    assert {id(each) for each in done[50:]} == {id(done[50])}
    assert len(packed) == 1


async def test_a_client_that_leaves_does_not_stop_the_file(tmp_path: Path) -> None:
    settings = make(tmp_path)
    await index(settings)
    async with listening(settings) as address, httpx.AsyncClient(base_url=address) as client:
        leaving = [asyncio.create_task(client.get("/llms-full.txt")) for _ in range(5)]
        staying = asyncio.create_task(client.get("/llms-full.txt"))
        await asyncio.sleep(0.01)
        for each in leaving:
            each.cancel()
        assert (await staying).status_code == 200


async def test_after_a_failure_it_is_made_again(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(llms, "pack", None)
        assert (await own.get("/llms.txt")).status == 500
    assert (await own.get("/llms.txt")).status == 200


async def test_while_the_contents_are_read_it_says_so(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def being_read(_: float) -> None:
        return None

    monkeypatch.setattr(own.services.contents, "get", being_read)
    answer = await own.get("/llms.txt")
    assert (answer.status, answer.json()["code"]) == (503, "INDEX_NOT_READY")
    assert answer.headers["Retry-After"]


async def test_the_rate_is_limited(own: Api) -> None:
    assert (await own.get("/llms.txt")).headers["RateLimit-Limit"] == "120"
    statuses = [(await own.get("/llms-full.txt")).status for _ in range(21)]
    assert statuses == [200] * 20 + [429]
