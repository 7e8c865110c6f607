"""One factory per kind of store, and patches that make Qdrant's client faster in tests.

`ServerStore` is tested over HTTP against `tests.qdrant_server` in strict mode. With QDRANT_TEST_URL
(and QDRANT_TEST_API_KEY) it is also tested against that server, in collections named `quire-test-…`
that are removed after each test.
"""

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client.embed import type_inspector
from qdrant_client.embed.schema_parser import ModelSchemaParser

import lib.store_server_client
from lib.store import Store
from lib.store_edge import EdgeStore
from lib.store_server import ServerStore
from lib.store_server_client import connect
from tests.qdrant_server import running_qdrant
from tests.stores import KEY


def change_retry_policies(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change fields of every retry policy of `lib.store_server_client`."""
    client = lib.store_server_client
    changed = [(pattern, replace(each, **changes)) for pattern, each in client._POLICIES]
    monkeypatch.setattr(client, "_POLICIES", changed)


# Every client would copy the schema of all models: 20 ms.
setattr(type_inspector, "ModelSchemaParser", functools.cache(ModelSchemaParser))  # noqa: B010


MakeStore = Callable[[], Store]
REAL_URL = os.environ.get("QDRANT_TEST_URL", "")
REAL_KEY = os.environ.get("QDRANT_TEST_API_KEY", "")
STORE_KINDS = ["edge", "wire", *(["real"] if REAL_URL else [])]


@asynccontextmanager
async def open_stores(kind: str, folder: Path) -> AsyncIterator[MakeStore]:
    """Yield a factory of stores on the same index, as separate processes would open them."""
    made: list[Store] = []
    async with AsyncExitStack() as stack:
        if kind == "wire":
            running = running_qdrant(folder / "server", api_key=KEY, strict=True)
            server = await stack.enter_async_context(running)
        collection = f"quire-test-{uuid4().hex}"
        if kind == "real":
            stack.push_async_callback(delete_collections, collection)

        def make_one() -> Store:
            match kind:
                case "edge":
                    made.append(EdgeStore(folder / "index"))
                case "wire":
                    made.append(ServerStore(server.url, KEY, "book"))
                case "real":
                    made.append(ServerStore(REAL_URL, REAL_KEY, collection))
            return made[-1]

        yield make_one
        for store in made:
            await store.close()


async def delete_collections(prefix: str) -> None:
    """Delete the collections with this prefix, and so their aliases, on the real server."""
    client = connect(REAL_URL, REAL_KEY)
    for collection in (await client.get_collections()).collections:
        if collection.name.startswith(prefix):
            await client.delete_collection(collection.name)
    await client.close()
