"""POST /ingest/archive, and DELETE /ingest"""

import asyncio
import errno
import gzip
import io
import json
import os
import stat
import tarfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lib.services import open_services, warm_up
from lib.store import UPLOADED
from tests.api import ADMIN_KEY, Api, Response, serving
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.tiny_book import BOOK
from tests.upstream import Upstream

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/octet-stream"}
SERVICE_MODEL = "openai/text-embedding-3-small"
PUSHED = {
    "index.md": "# Pushed\n\nThis book was pushed as an archive.\n",
    "guide/new.md": "# New\n\nA new page about lighthouses.\n",
    "guide/picture.png": "not a page",
}


def tar_of(files: Mapping[str, str], *extra: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for info in extra:
            archive.addfile(info)
    return out.getvalue()


def zip_of(files: Mapping[str, str], *extra: zipfile.ZipInfo) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        for info in extra:
            archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.fixture
async def api(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    settings = make_settings(
        qdrant_path=own_index, max_archive_bytes=500_000, max_total_bytes=1_000_000
    )
    async with serving(settings) as running:
        yield running


async def push(api: Api, body: bytes) -> Response:
    return await api.post("/ingest/archive", data=body, headers=ADMIN)


def left_behind(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("pack", [tar_of, zip_of])
async def test_a_pushed_book_is_ingested(api: Api, pack: type) -> None:
    answer = await push(api, pack(PUSHED))
    assert answer.status == 200
    assert answer.json()["status"] == "started"
    assert answer.json()["estimated_files"] == 2
    await wait_for_ingestion(api.services.ingestion)
    status = (await api.get(f"/ingest/status?task_id={answer.json()['task_id']}")).json()
    assert status["status"] == "completed"
    assert set(await api.services.store.ledger()) == {"index.md", "guide/new.md"}
    passages = (await api.post("/search", {"query": "lighthouses"})).json()["passages"]
    assert passages[0]["text"] in PUSHED["guide/new.md"]


async def test_a_second_push_replaces_the_first(api: Api) -> None:
    for files in (PUSHED, {"other.md": "# Other\n\nNothing is left of the first.\n"}):
        await push(api, tar_of(files))
        await wait_for_ingestion(api.services.ingestion)
    passages = (await api.post("/search", {"query": "first", "k": 50})).json()["passages"]
    assert {p["file_path"] for p in passages} == {"other.md"}


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no archive": b"hello " * 1000,
    "a cut-off tar": tar_of(PUSHED)[:-40],
    "a cut-off zip": zip_of(PUSHED)[:-30],
    "only gzip": gzip.compress(b"hello"),
    "a path outside": tar_of({"../outside.md": "# x"}),
    "a path outside, zipped": zip_of({"../outside.md": "# x"}),
    "a path far outside": tar_of({"a/../../../outside.md": "# x"}),
    "an absolute path": tar_of({"/srv/outside.md": "# x"}),
    "an absolute path, zipped": zip_of({"/outside.md": "# x"}),
    "a backslash": tar_of({"..\\outside.md": "# x"}),
    "a drive": zip_of({"C:/outside.md": "# x"}),
    "a symbolic link": tar_of(PUSHED, special("link.md", tarfile.SYMTYPE)),
    "a hard link": tar_of(PUSHED, special("link.md", tarfile.LNKTYPE)),
    "a pipe": tar_of(PUSHED, special("pipe.md", tarfile.FIFOTYPE)),
    "a device": tar_of(PUSHED, special("dev.md", tarfile.CHRTYPE)),
    "a symbolic link, zipped": zip_of(PUSHED, zipped_link("link.md")),
    "a bomb": tar_of({"bomb.md": "x" * 5_000_000}),
    "a bomb, zipped": zip_of({"bomb.md": "x" * 5_000_000}),
    "too deep": tar_of({"a/" * 40 + "x.md": "# x"}),
    "a name too long": tar_of({"x" * 300 + ".md": "# x"}),
    "a file below a file": tar_of({"a.md": "# x", "a.md/b.md": "# x"}),
    "a path too long, zipped": zip_of({"x" * 200 + "/" + "y/" * 20 + "z" * 300: "# x"}),
    "no pages": tar_of({}),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_what_cannot_be_unpacked_safely_changes_nothing(
    api: Api, own_index: Path, tmp_path: Path, body: bytes
) -> None:
    before = left_behind(tmp_path)
    answer = await push(api, body)
    assert answer.status == 400
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert str(tmp_path) not in answer.text
    assert left_behind(tmp_path) == before
    assert (await api.ask("When does the tide turn?")).json()["citations"]


async def test_a_full_disk_changes_nothing(
    api: Api, own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await push(api, tar_of(PUSHED))).status == 200
    await wait_for_ingestion(api.services.ingestion)
    real = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "xb":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, **options)

    with monkeypatch.context() as context:
        context.setattr(Path, "open", full)
        answer = await push(api, zip_of({"other.md": "# Other"}))
    assert answer.status == 503
    assert "No space left on device" in answer.json()["error"]
    content = api.services.settings.pushed_content
    assert [*content.parent.glob("content.*"), *content.parent.glob("archive-*")] == []
    assert (content / "guide/new.md").exists()
    assert (await push(api, zip_of({"other.md": "# Other"}))).status == 200


async def test_too_large_an_archive_is_a_413(api: Api) -> None:
    answer = await push(api, b"x" * 500_001)
    assert answer.status == 413
    assert answer.json()["code"] == "BODY_TOO_LARGE"


async def test_without_the_key_the_limit_of_other_bodies_holds(api: Api) -> None:
    answer = await api.post("/ingest/archive", data=b"x" * 300_000)
    assert answer.status in (401, 413)
    answer = await api.post("/ingest/archive", data=tar_of(PUSHED))
    assert answer.status == 401
    answer = await api.post("/chat", data=b" " * 300_000, headers=ADMIN)
    assert answer.status == 413


async def test_while_an_ingestion_runs_nothing_is_taken(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> None:
    upstream.embedding_gate = asyncio.Event()
    settings = make_settings(
        qdrant_path=own_index, openai_base_url=upstream.base_url, embedding_provider="openai"
    )
    async with serving(settings) as api:
        await api.as_admin("POST", "/ingest")
        answer = await push(api, tar_of(PUSHED))
        assert answer.status == 409
        assert answer.json()["code"] == "CONFLICT"
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)


async def test_a_pushed_book_includes_no_file_of_the_server_and_no_secret(
    api: Api, own_index: Path, tmp_path: Path
) -> None:
    """The folder of the index lies in a repository here, as in a developer's checkout."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "server.txt").write_text("hunter2")
    (tmp_path / "mkdocs.yml").write_text("site_url: https://other.example/\n")
    names = ["../../../server.txt", ".env", "deploy.key"]
    page = "# Kettles\n\n" + "\n\n".join(f"{{{{#include {name}}}}}" for name in names)
    files = {"index.md": f"{page}\n\n{{{{#include src/kettle.py}}}}\n", "src/kettle.py": "boil()"}
    answer = await push(api, tar_of(files | {".env": "hunter2", "deploy.key": "hunter2"}))
    await wait_for_ingestion(api.services.ingestion)
    status = (await api.get(f"/ingest/status?task_id={answer.json()['task_id']}")).json()
    assert [line.partition(" is not included: ")[0] for line in status["progress"]["errors"]] == [
        f"index.md: {name}" for name in names
    ]


def pretend_service_embedded(index: Path) -> None:
    """So that the start finds nothing to do."""
    for file in index.rglob("manifest.json"):
        manifest = json.loads(file.read_text()) | {"embedding_model": SERVICE_MODEL}
        file.write_text(json.dumps(manifest))


@pytest.mark.parametrize("first_ends", ["uploading", "embedding", "never"])
async def test_of_two_pushes_one_is_ingested_whole_and_the_other_refused(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream, first_ends: str
) -> None:
    """The second upload begins before, and ends after, the first one's ingestion begins."""
    pretend_service_embedded(own_index)
    upstream.embedding_gate = asyncio.Event()
    settings = make_settings(
        qdrant_path=own_index, openai_base_url=upstream.base_url, embedding_provider="openai"
    )
    books = [{f"{name}{n}.md": f"# {name} {n}\n\nText.\n" for n in range(80)} for name in "ab"]
    first, second = map(tar_of, books)
    async with serving(settings) as api:
        client = api.app.test_client()
        answers = []
        async with client.request("/ingest/archive", method="POST", headers=ADMIN) as slow:
            await slow.send(second[:100])
            await asyncio.sleep(0)
            if first_ends != "never":
                answers.append((await push(api, first)).status)
            if first_ends == "embedding" and answers == [200]:
                await upstream.until(lambda u: bool(u.embedded()))
            await slow.send(second[100:])
            await slow.send_complete()
            answers.append((await slow.as_response()).status_code)
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)
        assert answers.count(200) == 1
        assert {*answers} <= {200, 409}
        taken = books[0] if len(answers) == 2 and answers[0] == 200 else books[1]
        assert set(await api.services.store.ledger()) == {*taken}
        assert not (await api.get("/ingest/status")).json()["progress"]["errors"]
        assert (await push(api, first)).status == 200  # the folder is unlocked
        await wait_for_ingestion(api.services.ingestion)


async def test_an_upload_that_breaks_off_leaves_nothing(api: Api, own_index: Path) -> None:
    before = left_behind(own_index)
    client = api.app.test_client()
    async with client.request("/ingest/archive", method="POST", headers=ADMIN) as broken:
        await broken.send(tar_of(PUSHED)[:50])
        await asyncio.sleep(0)
        await broken.disconnect()
    assert left_behind(own_index) == before
    assert (await push(api, tar_of(PUSHED))).status == 200
    await wait_for_ingestion(api.services.ingestion)


async def test_leftovers_of_a_killed_push_go_at_the_next_start(
    make_settings: MakeSettings, own_index: Path
) -> None:
    settings = make_settings(qdrant_path=own_index)
    folder = own_index / settings.qdrant_collection
    before = left_behind(own_index)
    (folder / "content.12345678").mkdir()
    for name in ("archive-x1", "content.12345678/a.md"):
        (folder / name).write_text("# Left behind\n")
    async with open_services(settings) as services:
        await warm_up(services)
    assert left_behind(own_index) == before


async def test_an_ingestion_can_be_stopped(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> None:
    pretend_service_embedded(own_index)
    upstream.embedding_gate = asyncio.Event()
    settings = make_settings(
        qdrant_path=own_index, openai_base_url=upstream.base_url, embedding_provider="openai"
    )
    async with serving(settings) as api:
        assert (await api.as_admin("DELETE", "/ingest")).status == 404
        started = (await api.as_admin("POST", "/ingest", json={"force_reindex": True})).json()
        await upstream.until(lambda u: bool(u.embedded()))
        assert (await api.request("DELETE", "/ingest")).status == 401
        stopping = asyncio.create_task(api.as_admin("DELETE", "/ingest"))
        await asyncio.sleep(0)
        upstream.embedding_gate.set()
        answer = await stopping
        assert answer.status == 200
        assert answer.json()["task_id"] == started["task_id"]
        assert answer.json()["status"] in ("failed", "completed")
        path = f"/ingest?task_id={started['task_id']}x"
        assert (await api.as_admin("DELETE", path)).status == 404
        assert len(BOOK) == started["estimated_files"]


async def test_a_built_site_with_a_folder_at_the_top_is_read_as_html(api: Api) -> None:
    page = "<html lang=en><link rel=canonical href=https://b.example/docs/{0}><main><h1>{1}</h1>"
    site = {
        "build/index.html": page.format("", "Home") + "<p>Welcome to the harbour.</p></main>",
        "build/tides.html": page.format("tides", "Tides")
        + "<p>It turns twice a day.</p><h2 id=ebb>Ebb</h2><p>The water falls for hours.</p></main>",
        "build/404.html": "<main>The page is gone, sorry.</main>",
        "build/assets/app.js": "x" * 400_000,
        "build/tides.md": "# A copy\n",
    }
    assert (await push(api, tar_of(site))).json()["estimated_files"] == 3
    await wait_for_ingestion(api.services.ingestion)
    progress = (await api.get("/ingest/status", headers=ADMIN)).json()["progress"]
    assert progress["left_out"] == ["404.html: is the page of errors (404)"]
    assert "SITE_SOURCE=markdown" in progress["notes"][0]
    manifest = await api.services.store.manifest()
    assert manifest
    assert (manifest.generator, manifest.origin) == ("html", UPLOADED)
    # the configured address of the site wins over the pages' own
    configured = api.services.settings.site_url
    passages = (await api.get("/search?q=ebb&k=1")).json()["passages"]
    assert passages[0]["url"] == f"{configured}/tides#ebb"
    text = (await api.get("/book/tides.md")).text
    assert text == "# Tides\n\nIt turns twice a day.\n\n## Ebb\n\nThe water falls for hours."
