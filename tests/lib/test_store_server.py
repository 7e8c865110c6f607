"""The store on a Qdrant server: generations as collections, faults, recovery.

Over HTTP to `tests.qdrant_server`; where no network matters, on qdrant-client's local mode.

Collections for large books: what is asked of the server, and that scores mean the same.
"""

import asyncio
import re
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.models import (
    CreateAlias,
    CreateAliasOperation,
    Distance,
    Fusion,
    FusionQuery,
    Modifier,
    Prefetch,
    QuantizationSearchParams,
    QueryRequest,
    SearchParams,
    SparseVectorParams,
    VectorParams,
)

import lib.store
import lib.store_server
import lib.store_server_client
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.indexing import _settings_of_index
from lib.services import open_services, warm_up
from lib.settings import Settings
from lib.store import (
    _GENERATION_TIME,
    DENSE,
    FILTERS,
    SPARSE,
    GuardedStore,
    all_urls,
    new_generation,
    store_breaker,
)
from lib.store_server import Layout, ServerStore
from lib.store_server_client import connect
from lib.terms import query_vector
from tests.conftest import wait_for_ingestion
from tests.qdrant_server import Fault, QdrantServer, running_qdrant
from tests.store_kinds import change_retry_policies
from tests.stores import (
    DIMENSION,
    KEY,
    MODEL,
    chunk,
    make_ledger,
    make_manifest,
    nearest,
    publish,
    random_vectors,
    sparse_vectors,
)
from tests.tiny_book import write_book
from tests.upstream import Body, Drop, Hang, Status, Upstream

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")

ROOT = Path(__file__).parents[2]
VENDOR = f"vendor text with {KEY}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[QdrantServer]:
    async with running_qdrant(tmp_path / "server", api_key=KEY, strict=True) as running:
        yield running


MakeStore = Callable[..., ServerStore]


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses, with a timeout of one second."""
    change_retry_policies(monkeypatch, first_pause=0.0, longest_pause=0.0, timeout=1.0)
    monkeypatch.setattr(lib.store_server_client, "_TIMEOUT", 1)


@pytest.fixture
async def make(server: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeStore]:
    """Stores of separate processes on the server."""
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
    hurry(monkeypatch)
    made: list[ServerStore] = []

    def make_one(key: str = KEY) -> ServerStore:
        made.append(ServerStore(server.url, key, "book"))
        return made[-1]

    yield make_one
    for store in made:
        await store.close()


# --- Faults -------------------------------------------------------------------------------------

Call = Callable[[ServerStore], Coroutine[Any, Any, object]]


async def write(store: ServerStore) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.add([chunk(5)], random_vectors(1), sparse_vectors([chunk(5)]))


async def copy_unchanged(store: ServerStore) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.copy_unchanged(without=[])


async def reuse_vectors(store: ServerStore) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.reuse_vectors([chunk(0).content_hash])


CALLS: dict[str, Call] = {
    "open": lambda store: store.open(),
    "manifest": lambda store: store.manifest(),
    "search": lambda store: nearest(store, random_vectors(1)[0], 3),
    "restricted": lambda store: nearest(store, random_vectors(1)[0], 3, only={"file_path": "a.md"}),
    "by words": lambda store: store.search(None, query_vector("text"), 3),
    "ledger": lambda store: store.ledger(),
    "urls": all_urls,
    "write": write,
    "copy unchanged": copy_unchanged,
    "reuse vectors": reuse_vectors,
}
FAULTS: dict[str, tuple[Fault, str]] = {
    "401": (Status(401, message=VENDOR), "refuses the key. Check QDRANT_API_KEY"),
    "403": (Status(403, message=VENDOR), "whether the key may write"),
    "404": (
        Status(404, message=VENDOR),
        'Collection "book" not found on the Qdrant server. Run',
    ),
    "408": (Status(408, message=VENDOR), "takes too long"),
    "429": (Status(429, {"Retry-After": "3"}, VENDOR), "accepts no more requests for now"),
    "429 until a date": (
        Status(429, {"Retry-After": "Fri, 01"}, VENDOR),
        "accepts no more requests",
    ),
    "429 of a proxy": (Status(429, message=VENDOR), "accepts no more requests for now"),
    "500": (Status(500, message=VENDOR), "the status 500"),
    "503": (Status(503, message=VENDOR), "is starting or overloaded"),
    "redirect": (Status(307, {"Location": "http://127.0.0.1:9/"}, VENDOR), "the status 307"),
    "hang": (Hang(), "takes too long to answer"),
    "dropped": (Drop(), "cannot be reached. Check QDRANT_URL"),
    "page": (Body(b"<html>vendor text</html>", "text/html"), "is not a Qdrant server"),
    "empty": (Body(b""), "is not a Qdrant server"),
    "null": (Body(b'{"result": null, "status": "ok"}'), "is not a Qdrant server"),
    "foreign": (Body(b'{"vendor text": 1}'), "is not a Qdrant server"),
    "without an end": (Body(b"[" * 100_000), "is not a Qdrant server"),
}


async def complaint(call: Coroutine[Any, Any, object]) -> str:
    """The message of a failing call; neither it nor its traceback repeats the server's words."""
    with pytest.raises(StoreUnavailable) as caught:
        await call
    shown = "".join(traceback.format_exception(caught.value))
    assert "vendor" not in shown
    assert KEY not in shown
    return caught.value.message


@pytest.mark.parametrize("name", FAULTS)
async def test_every_call_tells_a_fault_in_our_words(
    name: str, server: QdrantServer, make: MakeStore
) -> None:
    store = make()
    await publish(store, [chunk(0)], random_vectors(1))
    fault, words = FAULTS[name]
    with server.failing(fault):
        for told in await asyncio.gather(*(complaint(call(store)) for call in CALLS.values())):
            assert words in told
    assert len(await nearest(store, random_vectors(1)[0], 3)) == 1  # the store recovers


@pytest.mark.parametrize("denied_status", [401, 403])
async def test_a_wrong_key(server: QdrantServer, make: MakeStore, denied_status: int) -> None:
    server.denied_status = denied_status
    store = make("the-key-but-wrong")
    assert not await store.reachable()
    for call in CALLS.values():
        assert "Check QDRANT_API_KEY" in await complaint(call(store))


@pytest.mark.parametrize(
    "step",
    [
        "GET /aliases",
        "GET /collections$",
        "PUT /collections/[^/]+$",
        "PUT .*/index",
        "PUT .*/points",
        "POST .*/points$",
        "POST .*/scroll",
        "PATCH ",
        "POST /collections/aliases",
    ],
)
async def test_a_fault_at_any_step_leaves_readers_what_they_had(
    server: QdrantServer, make: MakeStore, step: str
) -> None:
    store = make()
    old = await publish(store, [chunk(0)], random_vectors(1))

    async def ingest() -> None:
        generation = new_generation()
        builder = await store.build(generation, MODEL)
        await builder.reuse_vectors([chunk(0).content_hash])
        await builder.copy_unchanged(without=[])
        await builder.add([chunk(1)], random_vectors(1, seed=2), sparse_vectors([chunk(1)]))
        await builder.publish(make_manifest(generation, 2), make_ledger([chunk(0), chunk(1)]))

    with server.failing(Status(500, message=VENDOR), step):
        assert "the status 500" in await complaint(ingest())
    assert await store.manifest() == old
    assert len(await nearest(store, random_vectors(1)[0], 9)) == 1
    await ingest()
    assert len(await nearest(store, random_vectors(1)[0], 9)) == 2
    assert len(server.collections) == 1


async def test_a_server_that_hangs_is_not_reachable(
    server: QdrantServer, make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    assert await store.reachable()
    with server.failing(Hang()), monkeypatch.context() as patch:
        patch.setattr(lib.store_server, "_PROBE_SECONDS", 0.1)
        assert not await store.reachable()
    assert await store.reachable()


@pytest.mark.parametrize("fault", [Hang(), Status(503)], ids=["hangs", "busy"])
async def test_readers_wait_three_seconds_at_most(
    server: QdrantServer, make: MakeStore, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries included; an ingestion waits longer."""
    assert lib.store._READER_SECONDS <= 3
    change_retry_policies(monkeypatch, first_pause=60.0, longest_pause=60.0, timeout=60.0)
    store = GuardedStore(make(), store_breaker())
    await store.manifest()  # imports the client
    monkeypatch.setattr(lib.store, "_READER_SECONDS", 0.05)
    with server.failing(fault):
        for call in (store.manifest(), nearest(store, random_vectors(1)[0], 3)):
            assert "takes too long to answer" in await complaint(call)


async def test_the_store_recovers_with_the_server(server: QdrantServer, make: MakeStore) -> None:
    store = make()
    await server.stop()
    assert not await store.reachable()
    assert "cannot be reached" in await complaint(store.open())
    await server.start()
    manifest = await publish(store, [chunk(0)], random_vectors(1))
    for _ in range(2):
        await server.stop()
        assert "cannot be reached" in await complaint(nearest(store, random_vectors(1)[0], 1))
        await server.start()
        assert await store.reachable()
        assert await store.manifest() == manifest
        assert len(await nearest(store, random_vectors(1)[0], 1)) == 1


async def test_nothing_of_the_client_is_imported_beside_its_loading() -> None:
    """Two threads that import one package deadlock."""
    code = """
import asyncio, sys
from lib.runtime import SingleFlight
from lib.store import all_urls
from lib.store_server import ServerStore
async def main():
    store = ServerStore("http://127.0.0.1:9", "", "book")
    connecting = asyncio.Event()
    async def connect():
        connecting.set()
        await asyncio.Event().wait()
    store._server = SingleFlight(connect)
    calls = [store.reachable(), store.open(), store.manifest(), store.ledger(), all_urls(store)]
    tasks = [asyncio.create_task(call) for call in calls]
    await connecting.wait()
    assert not any(task.done() for task in tasks)
    assert "qdrant_client" not in sys.modules
    print("apart")
    sys.stdout.flush()
    import os
    os._exit(0)
asyncio.run(main())
"""
    run = [sys.executable, "-c", code]
    done = await asyncio.to_thread(subprocess.run, run, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "apart\n", done.stderr


# --- Generations --------------------------------------------------------------------------------


async def test_fields_are_indexed_before_the_first_points(
    server: QdrantServer, make: MakeStore
) -> None:
    """Strict mode, the default of Qdrant Cloud, refuses filters on other fields."""
    store = make()
    manifest = await publish(store, [chunk(0)], random_vectors(1))
    name = f"/collections/book--{manifest.generation}"
    written = [each for each in server.requests if each.startswith(("PUT", "PATCH"))]
    assert written == [
        f"PUT {name}",
        *[f"PUT {name}/index"] * len(FILTERS),
        f"PUT {name}/points",
        f"PATCH {name}",
    ]
    assert server.collections[f"book--{manifest.generation}"].indexed == [*FILTERS]
    for field in FILTERS:
        value = getattr(chunk(0), field)
        only = {field: value[0] if isinstance(value, list) else value}
        assert len(await nearest(store, random_vectors(1)[0], 5, only=only)) == 1
    with pytest.raises(StoreUnavailable, match="strict mode") as caught:
        await nearest(store, random_vectors(1)[0], 5, only={"heading": "H"})
    assert caught.value.details == {"upstream_status": 400}  # so the breaker stays closed


async def test_a_question_is_one_request(server: QdrantServer, make: MakeStore) -> None:
    store = make()
    await publish(store, [chunk(0)], random_vectors(1))
    before = len(server.requests)
    await nearest(store, random_vectors(1)[0], 5)
    assert server.requests[before:] == ["POST /collections/book/points/query/batch"]


async def test_a_manifest_is_read_once(server: QdrantServer, make: MakeStore) -> None:
    """Its metadata includes the file records, which may be megabytes."""
    reader, writer = make(), make()
    for number in range(2):
        manifest = await publish(writer, [chunk(number)], random_vectors(1))
        before = len(server.requests)
        for _ in range(3):
            assert await reader.manifest() == manifest
        read = f"GET /collections/book--{manifest.generation}"
        assert server.requests[before:].count(read) == 1


async def test_a_collection_weighs_words_by_their_rarity(make: MakeStore) -> None:
    store = make()
    await publish(store, [chunk(0)], random_vectors(1))
    params = (await (await store._server.get()).client.get_collection("book")).config.params
    assert params.sparse_vectors == {SPARSE: SparseVectorParams(modifier=Modifier.IDF)}
    assert isinstance(params.vectors, dict)
    assert [*params.vectors] == [DENSE]


UNKNOWN: dict[str, dict[str, Any]] = {
    "another query": {"query": FusionQuery(fusion=Fusion.RRF), "prefetch": [Prefetch(limit=3)]},
    "another field": {"query": [0.0] * DIMENSION, "using": DENSE, "score_threshold": 0.5},
    "a field of a prefetch": {
        "query": [0.0] * DIMENSION,
        "using": DENSE,
        "prefetch": [Prefetch(query=[0.0] * DIMENSION, using=DENSE, score_threshold=0.5)],
    },
    "a vector by another name": {"query": [0.0] * DIMENSION, "using": "other"},
}


@pytest.mark.parametrize("request_", UNKNOWN.values(), ids=UNKNOWN)
async def test_what_quire_does_not_ask_is_refused(
    make: MakeStore, request_: dict[str, Any]
) -> None:
    """Check the test server, which would prove nothing if it accepted any request."""
    store = make()
    await publish(store, [chunk(0)], random_vectors(1))
    client = (await store._server.get()).client
    with pytest.raises(UnexpectedResponse, match="400"):
        await client.query_batch_points("book", [QueryRequest(**request_)])
    with pytest.raises(UnexpectedResponse, match="404"):
        await client.query_points("book", query=[0.0] * DIMENSION, using=DENSE)


async def test_readers_have_the_old_generation_until_the_one_request(
    server: QdrantServer, make: MakeStore
) -> None:
    reader, writer = make(), make()
    old = await publish(writer, [chunk(1)], random_vectors(1))

    async def seen() -> tuple[object, list[int]]:
        hits = await nearest(reader, random_vectors(1)[0], 9)
        return await reader.manifest(), [hit.chunk.start_char for hit in hits]

    before = len(server.requests_matching("POST /collections/aliases"))
    gate = asyncio.Event()
    with server.failing(gate, "POST /collections/aliases"):
        publishing = asyncio.create_task(publish(writer, [chunk(2)], random_vectors(1)))
        await server.until(lambda s: len(s.requests_matching("POST /collections/aliases")) > before)
        assert len(server.collections) == 2
        assert await seen() == (old, [1])
        gate.set()
        new = await publishing
    assert await seen() == (new, [2])
    assert len(server.requests_matching("POST /collections/aliases")) == before + 1
    assert [*server.collections] == [f"book--{new.generation}"]
    # The replaced collection is deleted only after the switch.
    last = server.requests.index(f"DELETE /collections/book--{old.generation}")
    switches = [n for n, r in enumerate(server.requests) if r == "POST /collections/aliases"]
    assert switches[-1] < last


async def test_what_cannot_be_removed_does_not_fail_the_new_index(
    server: QdrantServer, make: MakeStore
) -> None:
    store = make()
    await publish(store, [chunk(1)], random_vectors(1))
    with server.failing(Status(500), "DELETE "):
        new = await publish(store, [chunk(2)], random_vectors(1))
    assert await store.manifest() == new
    assert len(server.collections) == 2


async def test_opening_removes_what_a_killed_publication_left(
    server: QdrantServer, make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(20))
    began = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(
        "tests.stores.new_generation",
        lambda: f"{began + timedelta(minutes=next(times)):{_GENERATION_TIME}}-abcdef",
    )
    store = make()
    await publish(store, [chunk(1)], random_vectors(1))
    with server.failing(Status(500), "DELETE "):
        new = await publish(store, [chunk(2)], random_vectors(1))
    attempt = await store.build(new_generation(), MODEL)
    await attempt.add([chunk(3)], random_vectors(1), sparse_vectors([chunk(3)]))
    assert len(server.collections) == 3
    other = make()
    await other.open()
    assert await other.manifest() == new
    assert len(server.collections) == 2  # a fresh attempt may be another process's
    lent = await (await other.build(new_generation(), MODEL)).reuse_vectors([chunk(3).content_hash])
    assert [*lent] == [chunk(3).content_hash]


async def test_attempts_lend_their_vectors_until_the_next_publication(
    server: QdrantServer, make: MakeStore
) -> None:
    vectors = random_vectors(3)
    for number in range(3):
        builder = await make().build(new_generation(), MODEL)
        await builder.add(
            [chunk(number)], vectors[number : number + 1], sparse_vectors([chunk(number)])
        )
        await builder.discard()
    assert len(server.collections) == 3
    store = make()
    await store.open()
    builder = await store.build(generation := new_generation(), MODEL)
    hashes = [chunk(number).content_hash for number in range(4)]
    lent = await builder.reuse_vectors(hashes)
    assert sorted(lent) == hashes[:3]
    for number in range(3):
        assert lent[hashes[number]] == pytest.approx(vectors[number], abs=1e-6)
    await builder.add([chunk(9)], random_vectors(1), sparse_vectors([chunk(9)]))
    await builder.publish(make_manifest(generation, 1), make_ledger([chunk(9)]))
    assert [*server.collections] == [f"book--{generation}"]


async def test_of_two_that_build_the_loser_is_told_and_harms_nobody(
    server: QdrantServer, make: MakeStore
) -> None:
    """A server has no lock that ends with its holder's process."""
    generation = new_generation()
    slow = await make().build(generation, MODEL)
    await slow.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)]))
    quick = make()
    manifest = await publish(quick, [chunk(2)], random_vectors(1))
    for call in (
        slow.add([chunk(3)], random_vectors(1), sparse_vectors([chunk(3)])),
        slow.publish(make_manifest(generation, 1), make_ledger([chunk(1)])),
    ):
        with pytest.raises(Conflict, match=r"Another process published .* its index stays"):
            await call
    late = await make().build(generation, MODEL)  # creates its collection after the publication
    manifest = await publish(quick, [chunk(2)], random_vectors(1))
    await late.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)]))
    with pytest.raises(Conflict, match=r"Another process published .* its index stays"):
        await late.publish(make_manifest(generation, 1), make_ledger([chunk(1)]))
    assert await quick.manifest() == manifest
    assert len(await nearest(quick, random_vectors(1)[0], 5)) == 1


async def test_of_two_that_copy_the_loser_is_told(server: QdrantServer, make: MakeStore) -> None:
    """The winner deletes the generation that the loser copies."""
    quick = make()
    await publish(quick, [chunk(1)], random_vectors(1))
    slow = await make().build(new_generation(), MODEL)
    hold = asyncio.Event()
    with server.failing(hold, "POST .*/scroll", times=1):
        copying = asyncio.create_task(slow.copy_unchanged(without=[]))
        await server.until(lambda s: bool(s.requests_matching("POST .*/scroll")))
        await publish(quick, [chunk(2)], random_vectors(1))
        hold.set()
        with pytest.raises(Conflict, match="Another process published"):
            await copying


async def test_a_key_limited_to_one_collection_cannot_ingest(
    server: QdrantServer, make: MakeStore
) -> None:
    """Qdrant's words for a key (JWT) with access to a collection only."""
    denied = Status(403, message="Forbidden: Global access is required")
    with server.failing(denied, "PUT /collections/[^/]+$"):
        told = await complaint(write(make()))
    assert "limited to one collection" in told
    assert "manage access" in told


# --- Indexing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("polls", [0, 3])
async def test_a_generation_is_published_once_it_is_indexed(
    server: QdrantServer, make: MakeStore, polls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_server, "_FIRST_POLL_PAUSE", 0.001)
    server.optimizing = polls
    manifest = await publish(make(), [chunk(0)], random_vectors(1))
    asked = f"GET /collections/book--{manifest.generation}$"
    assert len(server.requests_matching(asked)) == polls + 1
    steps = [each for each in server.requests if re.search(rf"{asked}|POST .*/aliases", each)]
    assert steps[-1] == "POST /collections/aliases"


async def test_a_server_that_never_finishes_indexing(
    server: QdrantServer,
    make: MakeStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = make()
    server.optimizing = sys.maxsize
    builder = await store.build(generation := new_generation(), MODEL)
    await builder.add([chunk(0)], random_vectors(1), sparse_vectors([chunk(0)]))
    manifest = make_manifest(generation, 1)
    waiting = asyncio.create_task(builder.publish(manifest, make_ledger([chunk(0)])))
    await server.until(lambda s: bool(s.requests_matching("GET /collections/book--")))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await store.manifest() is None
    monkeypatch.setattr(lib.store_server, "_INDEXING_SECONDS", 0)
    await builder.publish(manifest, make_ledger([chunk(0)]))
    assert await store.manifest() == manifest
    assert "has not finished indexing" in caplog.text


# --- Strict mode --------------------------------------------------------------------------------

TIGHT = {
    "max_query_limit": 7,
    "search_max_batchsize": 3,
    "upsert_max_batchsize": 4,
    "condition_max_size": 5,
    "search_max_oversampling": 1.5,
}


@pytest.mark.parametrize(
    ("inherited", "limits"),
    [(True, TIGHT), (False, {"max_query_limit": 20})],
    ids=["inherited", "changed"],
)
async def test_requests_keep_to_the_limits_of_the_strict_mode(
    server: QdrantServer, make: MakeStore, inherited: bool, limits: dict[str, Any]
) -> None:
    """Collections inherit the server's strict mode; otherwise it is changed after publication."""
    store, reader = make(), make()
    reader._layout = Layout("scalar")
    # Texts of different lengths have different scores.
    chunks = [chunk(n, f"{n % 3}.md", text="text " + "tide " * n) for n in range(20)]
    vectors = random_vectors(20)
    asked = [
        (vector, query_vector("text of the tide"), n, only)
        for vector in (None, vectors[4])
        for n, only in ((3, {}), (12, {}), (50, {"file_path": "1.md"}))
    ]
    await publish(store, chunks, vectors)
    unlimited = [await store.search(v, terms, n, only=only) for v, terms, n, only in asked]
    strict = server.strict_mode.model_copy(update=limits)
    if inherited:
        server.strict_mode = strict
        await publish(store, chunks, vectors)
    else:
        [collection] = server.collections.values()
        collection.strict_mode = strict
    for (v, terms, n, only), expected in zip(asked, unlimited, strict=True):
        assert await reader.search(v, terms, n, only=only) == expected
    assert await reader.ledger() == make_ledger(chunks)
    assert len(await all_urls(reader)) == 20
    builder = await store.build(generation := new_generation(), MODEL)
    lent = await builder.reuse_vectors([each.content_hash for each in chunks])
    assert len(lent) == 20
    await builder.copy_unchanged(without=["2.md"])
    await builder.publish(make_manifest(generation, 14), make_ledger(chunks))
    [collection] = server.collections.values()
    assert collection.info().points_count == 14
    await reader.search(*asked[-1][:3])
    asked_for = len(server.requests_matching("GET /collections/book$"))
    await reader.search(*asked[-1][:3])  # does not read the limits again
    assert len(server.requests_matching("GET /collections/book$")) == asked_for


async def test_an_index_limit_names_its_setting(server: QdrantServer, make: MakeStore) -> None:
    server.strict_mode = server.strict_mode.model_copy(update={"max_payload_index_count": 2})
    told = await complaint(write(make()))
    assert "limit of 2" in told
    assert "Raise max_payload_index_count in the strict_mode_config" in told


async def test_a_collection_of_the_same_name_is_said_before_anything_is_paid(
    server: QdrantServer, make: MakeStore
) -> None:
    client = (await make()._server.get()).client
    params = VectorParams(size=2, distance=Distance.COSINE)
    await client.create_collection("book", vectors_config={"dense": params})
    with pytest.raises(Conflict, match="QDRANT_COLLECTION"):
        await make().build(new_generation(), MODEL)
    assert [*server.collections] == ["book"]


@pytest.mark.parametrize(
    "metadata", [{}, {"manifest": {}}, {"manifest": "1"}, {"manifest": {"generation": "g"}}]
)
async def test_a_manifest_of_another_version(
    server: QdrantServer, make: MakeStore, metadata: dict[str, Any]
) -> None:
    store = make()
    manifest = await publish(store, [chunk(1)], random_vectors(1))
    server.collections[f"book--{manifest.generation}"].metadata = metadata
    with pytest.raises(IndexUnreadable, match="another version of Quire"):
        await store.manifest()
    new = await publish(store, [chunk(2)], random_vectors(1))  # as an ingestion does
    assert await store.manifest() == new
    assert len(server.collections) == 1


async def test_a_manifest_of_a_later_version_with_more_in_it(
    server: QdrantServer, make: MakeStore
) -> None:
    store = make()
    manifest = await publish(store, [chunk(1)], random_vectors(1))
    kept = server.collections[f"book--{manifest.generation}"].metadata["manifest"]
    kept |= {"index_format": 99, "of_tomorrow": True}
    found = await store.manifest()
    assert found is not None
    assert found.index_format == 99  # so that the search says that the index is outdated


async def test_the_metadata_is_added_to_that_of_the_creation(
    server: QdrantServer, make: MakeStore
) -> None:
    """Reusing vectors of a published generation needs its model's name, too."""
    manifest = await publish(make(), [chunk(1)], random_vectors(1))
    [collection] = server.collections.values()
    assert collection.metadata["embedding_model"] == MODEL
    assert collection.metadata["manifest"]["generation"] == manifest.generation


# --- Collections and aliases ---------------------------------------------------------------------


@pytest.fixture
async def client(server: QdrantServer) -> AsyncIterator[AsyncQdrantClient]:
    made = connect(server.url, KEY)
    yield made
    await made.close()


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch, make: MakeStore) -> MakeStore:
    """Stores that ask for the manifest once in a minute."""
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 60)
    return make


async def test_old_generations_are_dropped_and_other_collections_left(
    client: AsyncQdrantClient, server: QdrantServer, make: MakeStore
) -> None:
    params = {"other": VectorParams(size=2, distance=Distance.COSINE)}
    foreign = {"notes", "book-2", "book--x", "booklet--20260101T000000-abcdef"}
    for name in (*foreign, "book--20260101T000000-abcdef"):
        await client.create_collection(name, vectors_config=params)
    store = make()
    await store.open()
    assert {*server.collections} == foreign  # only our old attempt is deleted
    for number in range(3):
        manifest = await publish(store, [chunk(number)], random_vectors(1))
    assert {*server.collections} == foreign | {f"book--{manifest.generation}"}


async def test_a_generation_with_another_alias_is_left(
    client: AsyncQdrantClient, server: QdrantServer, make: MakeStore
) -> None:
    """The alias may be a pin, or belong to another Quire."""
    store = make()
    first = await publish(store, [chunk(1)], random_vectors(1))
    alias = CreateAlias(collection_name=f"book--{first.generation}", alias_name="pinned")
    await client.update_collection_aliases([CreateAliasOperation(create_alias=alias)])
    second = await publish(store, [chunk(2)], random_vectors(1))
    await store.open()
    assert {*server.collections} == {f"book--{each.generation}" for each in (first, second)}


@pytest.mark.parametrize("days", [0, 3])
async def test_a_fresh_attempt_of_another_process_is_left(
    server: QdrantServer, make: MakeStore, days: int
) -> None:
    """To embed a large book takes days."""
    generation = f"{datetime.now(UTC) - timedelta(days=days):{_GENERATION_TIME}}-abcdef"
    builder = await make().build(generation, MODEL)
    await builder.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)]))
    await make().open()
    assert len({*server.collections}) == 1


async def test_the_manifest_is_asked_for_now_and_then(remembering: MakeStore) -> None:
    reader, writer = remembering(), remembering()
    first = await publish(writer, [chunk(1)], random_vectors(1))
    assert await reader.manifest() == first
    builder = await writer.build(generation := new_generation(), MODEL)
    assert await writer.manifest() == first
    await builder.add([chunk(2)], random_vectors(1), sparse_vectors([chunk(2)]))
    second = make_manifest(generation, 1)
    await builder.publish(second, make_ledger([chunk(2)]))
    assert await writer.manifest() == second
    assert await reader.manifest() == first
    reader.forget()
    assert await reader.manifest() == second


async def test_who_builds_builds_upon_what_was_published_a_moment_ago(
    remembering: MakeStore,
) -> None:
    reader, writer = remembering(), remembering()
    first = await publish(writer, [chunk(1)], random_vectors(1))
    assert await reader.manifest() == first
    second = await publish(writer, [chunk(2, "b.md")], random_vectors(1))
    await reader.build(new_generation(), MODEL)
    assert await reader.manifest() == second
    assert [*await reader.ledger()] == ["b.md"]


async def test_a_foreign_collection_behind_the_alias_is_said(
    client: AsyncQdrantClient, make: MakeStore
) -> None:
    await client.create_collection(
        "other", vectors_config={"other": VectorParams(size=2, distance=Distance.COSINE)}
    )
    alias = CreateAlias(collection_name="other", alias_name="book")
    await client.update_collection_aliases([CreateAliasOperation(create_alias=alias)])
    store = make()
    for call in (store.manifest(), store.build(new_generation(), MODEL)):
        with pytest.raises(StoreUnavailable, match="QDRANT_COLLECTION"):
            await call


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
async def test_a_server_that_is_not_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    store = ServerStore(url, "the-key", "book")
    assert not await store.reachable()
    for call in (store.manifest(), store.open(), nearest(store, random_vectors(1)[0], 1)):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            await call
        assert "the-key" not in caught.value.message
    await store.close()


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://qdrant.example", 6333),
        ("https://x.cloud.qdrant.io:443", 443),
        ("https://x.cloud.qdrant.io:6333", 6333),
        ("http://qdrant.example:8080", 8080),
    ],
)
async def test_the_port_is_the_one_that_was_given(url: str, port: int) -> None:
    store = ServerStore(url, "", "book")
    client = (await store._connect()).client
    assert f":{port}" in str(client._client.rest_uri)  # type: ignore[attr-defined]
    await client.close()


LAYOUTS = [
    Layout("none", on_disk=False),
    Layout("none", on_disk=True),
    Layout("scalar", on_disk=False),
    Layout("scalar", on_disk=True),
    Layout("binary", on_disk=True),
]


@pytest.fixture
async def large_server(tmp_path: Path) -> AsyncIterator[QdrantServer]:
    async with running_qdrant(tmp_path / "server", strict=True) as running:
        yield running


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
async def test_scores_are_those_of_the_vectors_themselves(
    large_server: QdrantServer, layout: Layout
) -> None:
    """Quantised vectors only select the candidates."""
    store = ServerStore(large_server.url, "", "book", layout=layout)
    chunks, vectors = [chunk(n) for n in range(200)], random_vectors(200)
    await publish(store, chunks, vectors)
    numbers = {each.chunk_id: n for n, each in enumerate(chunks)}
    for query in random_vectors(3, seed=2):
        scores = vectors @ query
        hits = await nearest(store, query, 20)
        for hit in hits:
            assert hit.cosine == pytest.approx(scores[numbers[hit.chunk.chunk_id]], abs=1e-5)
        found = {numbers[hit.chunk.chunk_id] for hit in hits}
        wanted = set(np.argsort(-scores)[:20].tolist())
        assert len(found & wanted) >= (9 if layout.quantization == "binary" else 20)
    await store.close()


async def test_without_rescoring_they_would_not_be(large_server: QdrantServer) -> None:
    """Check that the engine scores by single bits; the test above relies on it."""
    store = ServerStore(large_server.url, "", "book", layout=Layout("binary"))
    await publish(store, [chunk(n) for n in range(50)], random_vectors(50))
    client = (await store._server.get()).client
    query = random_vectors(1)[0].tolist()
    raw = SearchParams(quantization=QuantizationSearchParams(rescore=False))
    [answer] = await client.query_batch_points(
        "book", [QueryRequest(query=query, using=DENSE, params=raw, limit=1)]
    )
    assert answer.points[0].score > 1
    await store.close()


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3], LAYOUTS[4]], ids=str)
async def test_what_the_collection_is_made_with(large_server: QdrantServer, layout: Layout) -> None:
    store = ServerStore(large_server.url, "", "book", layout=layout)
    await publish(store, [chunk(0)], random_vectors(1))
    config = (await (await store._server.get()).client.get_collection("book")).config
    assert isinstance(config.params.vectors, dict)
    assert config.params.sparse_vectors is not None
    index = config.params.sparse_vectors[SPARSE].index
    told = (
        config.params.vectors[DENSE].on_disk,
        index.on_disk if index else None,
        config.hnsw_config.on_disk,
    )
    assert told == (True if layout.on_disk else None,) * 3
    assert config.params.on_disk_payload  # the server's default
    kind = type(config.quantization_config).__name__.lower()
    assert layout.quantization in kind
    await store.close()


async def test_a_changed_layout_takes_effect_with_the_next_start_and_costs_nothing(
    large_server: QdrantServer, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
    settings = Settings(
        book_content_path=write_book(tmp_path / "book", {"a.md": "# A\n\nLamps burn oil.\n"}),
        qdrant_path=tmp_path / "unused",
        qdrant_url=large_server.url,
        openai_api_key="sk-of-the-test",
        openai_base_url=upstream.base_url,
    )

    async def start(settings: Settings) -> bool:
        """Whether an ingestion started automatically."""
        async with open_services(settings) as services:
            await warm_up(services)
            if services.ingestion.latest:
                await wait_for_ingestion(services.ingestion)
            return services.ingestion.latest is not None

    assert await start(settings)
    paid = len(upstream.embedded())
    assert not await start(settings)
    small = replace(settings, qdrant_quantization="scalar")
    assert await start(small)
    [collection] = large_server.collections.values()
    assert collection.asked.quantization_config is not None
    assert not await start(small)
    assert len(upstream.embedded()) == paid


def test_where_there_is_no_server_the_layout_is_no_reason() -> None:
    plain, of = Settings(), _settings_of_index
    assert of(replace(plain, qdrant_quantization="binary")) == of(plain)
    large_server = replace(plain, qdrant_url="http://127.0.0.1:9")
    assert of(large_server) == of(plain)
    assert of(replace(large_server, qdrant_on_disk=True)) != of(plain)
