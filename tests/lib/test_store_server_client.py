"""Retries to a Qdrant server, and messages for wrong addresses.

Over real connections, each to a listener that answers as that mistake would be answered.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import lib.store_server
from lib.errors import StoreUnavailable
from lib.store import new_generation
from lib.store_server import ServerStore
from lib.store_server_client import _INGESTING, _READING, connect
from lib.terms import query_vector
from tests.qdrant_server import Fault, Page, QdrantServer, running_qdrant
from tests.store_kinds import change_retry_policies
from tests.stores import MODEL, chunk, nearest, publish, random_vectors, sparse_vectors
from tests.upstream import Drop, Hang, Status

BUSY = {
    "429": Status(429, {"Retry-After": "0"}),
    "502": Page(502, b"<html>Bad gateway</html>", "text/html"),
    "503": Status(503),
    "504": Page(504, b"", "text/html"),
    "dropped": Drop(),
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[QdrantServer]:
    async with running_qdrant(tmp_path / "server", strict=True) as running:
        yield running


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses, unless the server asks for one."""
    change_retry_policies(monkeypatch, first_pause=0.0, longest_pause=1.0)


@pytest.fixture
async def store(
    server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ServerStore]:
    """A store with one chunk."""
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
    made = ServerStore(server.url, "", "book")
    await publish(made, [chunk(0)], random_vectors(1))
    yield made
    await made.close()


async def search(store: ServerStore) -> object:
    return await store.search(None, query_vector("text"), 3)


async def write(store: ServerStore) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.add([chunk(5)], random_vectors(1), sparse_vectors([chunk(5)]))


async def overwrite(store: ServerStore) -> object:
    return await publish(store, [chunk(6)], random_vectors(1))


Call = Callable[[ServerStore], Awaitable[object]]
REPEATED: dict[str, tuple[Call, str, int]] = {
    "a search": (search, "POST .*/query/batch", _READING.retries),
    "a look": (lambda store: store.manifest(), "GET /aliases", _READING.retries),
    "a scroll": (lambda store: store.ledger(), "POST .*/scroll", _INGESTING.retries),
    "points": (write, "PUT .*/points", _INGESTING.retries),
    "a field's index": (write, "PUT .*/index", _INGESTING.retries),
    "the manifest": (overwrite, "PATCH ", _INGESTING.retries),
}


@pytest.mark.parametrize(("call", "on", "repeats"), REPEATED.values(), ids=REPEATED)
async def test_what_is_safe_to_repeat_is_sent_again(
    server: QdrantServer, store: ServerStore, call: Call, on: str, repeats: int
) -> None:
    before = len(server.requests_matching(on))
    with server.failing(Status(503), on, times=repeats):
        await call(store)
    assert len(server.requests_matching(on)) > before + repeats


@pytest.mark.parametrize("fault", BUSY.values(), ids=BUSY)
async def test_when_it_is_sent_again(
    server: QdrantServer, store: ServerStore, fault: Fault
) -> None:
    with server.failing(fault, "query/batch", times=_READING.retries):
        await search(store)


async def test_requests_to_a_local_server_share_a_connection(
    server: QdrantServer, store: ServerStore
) -> None:
    assert server._runner
    assert server._runner.server
    connections = []
    for _ in range(3):
        await search(store)
        connections.append(server._runner.server.connections)
    assert connections[0] == connections[1] == connections[2]


async def test_it_is_not_sent_for_ever(server: QdrantServer, store: ServerStore) -> None:
    before = len(server.requests_matching("query/batch"))
    fault = server.failing(Status(503), "query/batch")
    with fault, pytest.raises(StoreUnavailable, match="overloaded"):
        await search(store)
    assert len(server.requests_matching("query/batch")) == before + 1 + _READING.retries


@pytest.mark.parametrize(
    "fault",
    [Status(400), Status(401), Status(404), Status(500), Page(507, b""), Hang()],
    ids=lambda fault: str(getattr(fault, "status", "hang")),
)
async def test_what_will_not_pass_is_not_repeated(
    server: QdrantServer, store: ServerStore, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_retry_policies(monkeypatch, timeout=0.1)
    before = len(server.requests_matching("query/batch"))
    with server.failing(fault, "query/batch"), pytest.raises(StoreUnavailable):
        async with asyncio.timeout(5):
            await search(store)
    assert len(server.requests_matching("query/batch")) == before + 1


@pytest.mark.parametrize("fault", [Status(503), Drop()], ids=["503", "dropped"])
@pytest.mark.parametrize("on", [r"PUT /collections/[^/]+$", "POST /collections/aliases"])
async def test_what_must_not_be_done_twice_is_sent_once(
    server: QdrantServer, store: ServerStore, fault: Fault, on: str
) -> None:
    """Creating a collection fails the second time, and the alias may have moved since."""
    before = len(server.requests_matching(on))
    with server.failing(fault, on), pytest.raises(StoreUnavailable):
        await overwrite(store)
    assert len(server.requests_matching(on)) == before + 1


async def test_nobody_waits_longer_than_they_have_patience_for(
    server: QdrantServer, store: ServerStore
) -> None:
    before = len(server.requests_matching("query/batch"))
    hour = Status(429, {"Retry-After": "3600"})
    with server.failing(hour, "query/batch"), pytest.raises(StoreUnavailable) as caught:
        await search(store)
    assert len(server.requests_matching("query/batch")) == before + 1
    assert caught.value.retry_after == 3600  # passed on to the reader


def test_pauses_grow_and_are_drawn() -> None:
    drawn = {_INGESTING.pause(2, None) for _ in range(50)}
    assert len(drawn) > 40
    assert all(1 <= each <= 2 for each in drawn if each)
    assert max(_INGESTING.pause(20, None) or 0 for _ in range(50)) <= _INGESTING.longest_pause
    asked = _INGESTING.pause(0, 7.0)
    assert asked is not None
    assert 7.25 <= asked <= 7.5
    assert _READING.pause(0, 7.0) is None


# --- Wrong addresses ----------------------------------------------------------------------------


async def told(url: str) -> str:
    """The error message for the server at `url`."""
    store = ServerStore(url, "", "book")
    with pytest.raises(StoreUnavailable) as caught:
        await store.manifest()
    await store.close()
    assert "127.0.0.1" not in caught.value.message
    return caught.value.message


@asynccontextmanager
async def listening(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Port of a server that answers any input with these bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "cannot be reached" in await told(f"http://127.0.0.1:{free.getsockname()[1]}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.invalid", "host name in QDRANT_URL is unknown"),
        ("gone.cloud.qdrant.io", "Free clusters pause"),
    ],
)
async def test_a_name_that_nobody_has(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert words in await told(f"http://{name}:6333")


async def test_tls_where_there_is_none(server: QdrantServer) -> None:
    said = await told(server.url.replace("http:", "https:"))
    assert "does not speak TLS" in said
    assert "http://" in said


TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
HTTP2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("answer", [TLS_ALERT, HTTP2_SETTINGS], ids=["tls", "grpc"])
async def test_a_port_that_speaks_something_else(answer: bytes) -> None:
    async with listening(answer) as port:
        said = await told(f"http://127.0.0.1:{port}")
    assert "does not speak HTTP" in said
    assert "6334" in said
    assert "https://" in said


PAGES = {
    "html": Page(200, b"<!doctype html><title>Hello</title>", "text/html"),
    "html 404": Page(404, b"<html>Not found</html>", "text/html"),
    "text 404": Page(404, b"404 page not found\n"),
    "json 404": Page(404, b'{"detail": "Not Found"}', "application/json"),
    "method": Page(405, b"Method not allowed"),
    "json": Page(200, b'{"status": "ok"}', "application/json"),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
async def test_another_service(server: QdrantServer, page: Page) -> None:
    with server.failing(page):
        assert "is not a Qdrant server" in await told(server.url)


IN_ITS_WORDS: dict[str, tuple[Status, str]] = {
    "full disk": (
        Status(500, message="Service internal error: No space left on device: WAL buffer"),
        "no room left",
    ),
    "quota": (Status(507, message="Insufficient storage: Disk usage is at 96%"), "no room left"),
    "quota of 1.18": (
        Status(400, message="Bad request: Disk usage is at 96% of total capacity, exceeding the"),
        "no room left",
    ),
    "507 of a proxy": (Status(507, message="vendor text"), "no room left"),
    "memory": (Status(500, message="Service internal error: Out of memory, free: 1"), "no room"),
    "read-only": (
        Status(500, message="Service internal error: File IO error: Read-only file system (30)"),
        "disk of the Qdrant server is read-only",
    ),
    "locked": (Status(403, message="Storage locked: maintenance"), "locked for writing"),
    "collections": (
        Status(400, message="Bad request: Can't create. Max collections limit reached: 10"),
        "A limit of the Qdrant server's plan or strict mode is reached",
    ),
    "points": (
        Status(400, message="Bad request: Max points count limit of 1000 reached! Help: ..."),
        "A limit of the Qdrant server's plan or strict mode is reached",
    ),
    "unindexed": (
        Status(400, message='Bad request: Index required but not found for "kind" of one'),
        "strict mode of the Qdrant server refuses",
    ),
    "too much": (
        Status(400, message='Bad request: Limit exceeded 2000 > 100 for "limit". Help: ...'),
        "limit of 100. Raise max_query_limit in the strict_mode_config",
    ),
    "filter": (
        Status(400, message="Bad request: Filter condition limit reached (3 > 2). Help: ..."),
        "limit of 2. Raise filter_max_conditions",
    ),
    "size": (
        Status(400, message="Bad request: Max vector storage size limit of 0.5MB reached!"),
        "max_collection_vector_size_bytes: 0.5MB",
    ),
    "exact": (
        Status(400, message="Bad request: Exact search disabled!. Help: Set exact=false."),
        "strict mode of the Qdrant server refuses",
    ),
}
"""Qdrant's responses, from its sources."""


@pytest.mark.parametrize(("fault", "words"), IN_ITS_WORDS.values(), ids=IN_ITS_WORDS)
async def test_what_qdrant_itself_complains_of(
    server: QdrantServer, fault: Status, words: str
) -> None:
    with server.failing(fault):
        assert words in await told(server.url)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> str:
    """A Qdrant Cloud host name that resolves to this machine."""
    name, look_up = "x-y.eu-central.aws.cloud.qdrant.io", socket.getaddrinfo

    def look_up_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        here = "127.0.0.1" if host in (name, name.encode()) else host
        return look_up(here, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    return name


PAUSED = {
    "no route": Page(404, b"404 page not found\n"),
    "nothing behind": Page(503, b"no available server\n"),
    "gateway": Page(502, b"<html>Bad Gateway</html>", "text/html"),
    "timeout": Page(504, b"upstream request timeout"),
    "dropped": Drop(),
}


@pytest.mark.parametrize("fault", PAUSED.values(), ids=PAUSED)
async def test_a_paused_cluster(server: QdrantServer, cloud: str, fault: Fault) -> None:
    """Its proxy answers instead, or the connection fails."""
    with server.failing(fault):
        said = await told(f"http://{cloud}:{server.port}")
    assert "Free clusters pause" in said
    assert "resume it in the Qdrant console" in said
    assert "QDRANT_URL" in said


async def test_a_missing_collection_in_the_cloud_is_no_pause(
    server: QdrantServer, cloud: str
) -> None:
    with server.failing(Status(404, message="Not found: Collection `x` doesn't exist!")):
        assert "not found on the Qdrant server" in await told(f"http://{cloud}:{server.port}")


@pytest.mark.parametrize("version", ["1.15.5", "v0.11.0"])
async def test_a_server_that_is_too_old_is_said_before_anything_is_paid(
    server: QdrantServer, version: str
) -> None:
    """It would store the points and silently drop the manifest."""
    server.version = version
    store = ServerStore(server.url, "", "book")
    with pytest.raises(StoreUnavailable, match=r"too old. Quire needs Qdrant 1\.16"):
        await store.build(new_generation(), MODEL)
    await store.close()


@pytest.mark.parametrize("version", ["1.16.0", "2.0.0-dev", "unknown"])
async def test_a_server_that_is_new_enough(server: QdrantServer, version: str) -> None:
    server.version = version
    store = ServerStore(server.url, "", "book")
    await store.build(new_generation(), MODEL)
    with server.failing(Page(404, b"hidden by a proxy"), "GET /$"):
        await store.build(new_generation(), MODEL)
    await store.close()


async def test_an_address_that_an_old_server_does_not_have(server: QdrantServer) -> None:
    with server.failing(Page(404, b"")):
        assert "too old" in await told(server.url)


# --- gRPC ---------------------------------------------------------------------------------------


async def test_grpc_is_used_where_a_port_is_named() -> None:
    """No test server speaks gRPC: check the setting, and the message for a wrong port."""
    client = connect("http://127.0.0.1:6333", "", 6334)
    assert client.init_options["prefer_grpc"] is True
    assert client.init_options["grpc_port"] == 6334
    assert connect("http://127.0.0.1:6333", "").init_options["prefer_grpc"] is False
    await client.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = ServerStore("http://127.0.0.1:9", "", "book", grpc_port=free.getsockname()[1])
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await nearest(store, random_vectors(1)[0], 3)
        await store.close()
