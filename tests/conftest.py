"""Shared fixtures: a tiny book and its index, the application, the scripted upstream."""

import asyncio
import functools
import gc
import json
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings
from werkzeug.routing import Rule

import lib.embedding_e5
import lib.reader
import lib.store_edge
import lib.worker
from lib.book import digest
from lib.embedding_e5 import _E5
from lib.indexing import _settings_of_index
from lib.ingest import Ingestion, IngestRequest
from lib.replicas.client import RedisClient
from lib.services import open_services
from lib.settings import Settings
from lib.store_edge_shard import _copy_files
from lib.store_edge_writer import ShardWriter, WriterProcess
from tests.api import ADMIN_KEY, READER_KEY, Api, serving
from tests.redis_server import RedisServer, running_redis
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Upstream, running_upstream

_FREE_MEMORY = 2 << 30


def pytest_configure() -> None:
    """Keep temporary files in memory if there is room: the tests sync thousands of small files."""
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK):
        return
    if shutil.disk_usage(memory).free >= _FREE_MEMORY:
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None


# The suite creates thousands of applications. With the default thresholds, garbage collection
# takes a tenth of the time.
gc.set_threshold(200_000, 50, 50)

# Use the same examples in every run, so that a failure points to the last change. Search for new
# examples with `pytest --hypothesis-profile=explore`.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.register_profile("explore", deadline=None)
hypothesis_settings.load_profile("repeatable")


_embed = _E5.document


@pytest.fixture(scope="session", autouse=True)
def model_loaded_once() -> Iterator[None]:
    """Load the real model once: it would take half a second for each application.

    Most applications embed the same book and the same questions, so vectors are kept too.
    """
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(lib.embedding_e5.load_e5)
        patch.setattr(lib.embedding_e5, "load_e5", once)
        patch.setattr(_E5, "document", functools.cache(_embed))
        yield


@pytest.fixture
def vectors_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute every vector with the real model."""
    monkeypatch.setattr(_E5, "document", _embed)


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Load the CA certificates once: every Qdrant client spends 40 ms on it, even for HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(ssl.create_default_context)
        patch.setattr(ssl, "create_default_context", once)
        yield


class ReadingThread:
    """Stands in for the reading process, whose start takes 0.3 s of processor time."""

    stderr = None
    returncode = None

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel.dup()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(ConnectionError):
            lib.worker._serve(self._channel, lambda _seconds: None)

    def kill(self) -> None:
        """The closed channel ends it."""

    async def wait(self) -> None:
        await asyncio.to_thread(self._thread.join)


class WriterThread:
    """Stands in for the writing process, whose start takes 0.3 s of processor time."""

    def __init__(self, path: Path, _lock: object) -> None:
        self._writer = ShardWriter(path)

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        return method(self._writer, *args)

    def close(self) -> None:
        """Nothing runs between two calls."""


start_process = lib.reader._start_process


@pytest.fixture(scope="session", autouse=True)
def read_and_write_in_this_process() -> Iterator[None]:
    async def start(channel: socket.socket) -> ReadingThread:
        return ReadingThread(channel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lib.reader, "_start_process", start)
        patch.setattr(lib.store_edge, "WriterProcess", WriterThread)
        yield


@pytest.fixture
def reading_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in a real process."""
    monkeypatch.setattr(lib.reader, "_start_process", start_process)


@pytest.fixture
def writing_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the embedded index in a real process."""
    monkeypatch.setattr(lib.store_edge, "WriterProcess", WriterProcess)


@pytest.fixture(scope="session", autouse=True)
def routes_build_no_urls() -> Iterator[None]:
    """Compile no functions that build URLs: each application would take 5 ms for unused ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", lambda *_: Rule.build)
        yield


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny book, read-only. Tests that change it use `own_book`."""
    return write_book(tmp_path_factory.mktemp("book"), BOOK)


async def wait_for_ingestion(ingestion: Ingestion) -> None:
    """Wait until the latest ingestion has finished."""
    assert ingestion.latest is not None
    assert ingestion.latest.run is not None
    await asyncio.wait((ingestion.latest.run,))


@pytest.fixture(scope="session")
def indexed(
    book: Path,
    tmp_path_factory: pytest.TempPathFactory,
    model_loaded_once: None,
    read_and_write_in_this_process: None,
) -> Path:
    """A QDRANT_PATH with the published index of the tiny book, read-only."""
    settings = Settings(
        book_content_path=book,
        qdrant_path=tmp_path_factory.mktemp("index"),
        site_url=SITE,
        site_generator="docusaurus",
        chunk_tokens=50,
    )

    async def ingest() -> None:
        async with open_services(settings) as services:
            started = await services.ingestion.start(IngestRequest())
            await wait_for_ingestion(services.ingestion)
            status = services.ingestion.status(started.task_id)
            assert status.status == "completed", status

    asyncio.run(ingest())
    return settings.qdrant_path


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(book: Path, indexed: Path) -> MakeSettings:
    """Factory of settings for the indexed tiny book; keyword arguments override them."""

    def make(**changes: Any) -> Settings:
        # Another book or embedder would be ingested into the shared index.
        others = {"book_content_path", "qdrant_url", "embedding_provider", "openai_api_key"}
        assert "qdrant_path" in changes or not others & {*changes}
        values: dict[str, Any] = {
            "book_content_path": book,
            "qdrant_path": indexed,
            "site_url": SITE,
            "site_generator": "docusaurus",
            "chunk_tokens": 50,
            "admin_api_key": ADMIN_KEY,
            "api_keys": (READER_KEY,),
        }
        return Settings(**(values | changes))

    return make


@pytest.fixture
def own_book(book: Path, tmp_path: Path) -> Path:
    """A writable copy of the tiny book."""
    return Path(shutil.copytree(book, tmp_path / "book"))


@pytest.fixture
def own_index(
    indexed: Path, tmp_path: Path, make_settings: MakeSettings, request: pytest.FixtureRequest
) -> Path:
    """A writable copy of the index. It belongs to `own_book` if the test uses that fixture."""
    index = tmp_path / "index"
    _copy_files(indexed, index)
    if "own_book" in request.fixturenames:
        book = (tmp_path / "book").resolve()
        wanted = _settings_of_index(make_settings(book_content_path=book, qdrant_path=index))
        changes = {
            "content": digest([str(book)]),
            "configured": digest(wanted.values()),
            "settings": wanted,
        }
        for file in index.rglob("manifest.json"):
            manifest = json.loads(file.read_text())
            file.write_text(json.dumps(manifest | changes))
    return index


@pytest.fixture
def served_book(make_settings: MakeSettings, own_book: Path, tmp_path: Path) -> MakeSettings:
    """Factory of settings for a book whose pages Quire serves itself; not indexed yet."""
    (own_book / "quire.toml").write_text('title = "The harbour"')
    own = {"book_content_path": own_book, "qdrant_path": tmp_path / "index", "site_url": ""}
    return functools.partial(make_settings, **own, site_generator="auto")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running_upstream() as running:
        yield running


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A shared redis-server. Tests that kill or pause it start their own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    """A client with a key prefix that no other test uses."""
    client = RedisClient(redis_server.url, uuid4().hex)
    yield client
    await client.close()


@pytest.fixture
async def api(make_settings: MakeSettings) -> AsyncIterator[Api]:
    """The application without a language model: answers are extractive."""
    async with serving(make_settings()) as running:
        yield running


@pytest.fixture
async def logging(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """The application with a question log, without a language model."""
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as running:
        yield running


@pytest.fixture
async def generating(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[Api]:
    """The application with the scripted upstream as language model and local embeddings."""
    async with serving(make_settings(openai_base_url=upstream.base_url)) as running:
        yield running
