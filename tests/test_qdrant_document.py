"""Validation of requests and responses against Qdrant's API description.

Always: against the models that qdrant-client generates from it, with unknown fields forbidden.
If QDRANT_OPENAPI is the path of a copy of the document: against the document as well.
"""

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lib.store import all_urls, new_generation
from lib.store_server import Layout, ServerStore
from tests.qdrant_document import VARIABLE, Document, Exchange
from tests.qdrant_server import running_qdrant
from tests.stores import MODEL, chunk, nearest, publish, random_vectors, sparse_vectors

DOCUMENT = {
    "paths": {
        "/things/{name}": {
            "put": {
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "wait", "in": "query", "schema": {"type": "boolean"}},
                ],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}}
                },
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"result": {"type": "boolean"}},
                                }
                            }
                        }
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {
            "T": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "note": {"type": "string", "nullable": True},
                    "part": {"anyOf": [{"$ref": "#/components/schemas/P"}, {"nullable": True}]},
                },
            },
            "P": {"type": "object", "properties": {"x": {"type": "number"}}},
        }
    },
}
GOOD: dict[str, Any] = {
    "path": "/things/a",
    "query": {"wait": "true"},
    "body": {"size": 1, "note": None, "part": {"x": 1.5}},
    "status": 200,
    "answer": {"result": True},
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"path": "/others/a"}, "no such operation"),
    ({"query": {"wait": "soon"}}, "not of type 'boolean'"),
    ({"query": {"hurry": "true"}}, "unknown parameter hurry"),
    ({"body": {}}, "'size' is a required property"),
    ({"body": {"size": 0}}, "minimum"),
    ({"body": {"size": 1, "sise": 1}}, "'sise' was unexpected"),
    ({"body": {"size": 1, "part": {"y": 1}}}, "not valid under any"),
    ({"body": {"size": None}}, "not of type 'integer'"),
    ({"status": 418}, "unknown status 418"),
    ({"answer": {"result": True, "more": 1}}, "'more' was unexpected"),
    ({"answer": {"result": None}}, "not of type 'boolean'"),
]


def violations(folder: Path, changes: dict[str, Any]) -> list[str]:
    path = folder / "openapi.json"
    path.write_text(json.dumps(DOCUMENT))
    made = GOOD | changes
    return Document(path).violations(
        Exchange(
            "PUT",
            made["path"],
            made["query"],
            json.dumps(made["body"]).encode(),
            made["status"],
            json.dumps(made["answer"]).encode(),
        )
    )


def test_documented_exchanges_pass(tmp_path: Path) -> None:
    assert violations(tmp_path, {}) == []
    assert violations(tmp_path, {"query": {}, "body": {"size": 3, "part": None}}) == []


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=str)
def test_undocumented_exchanges_are_reported(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    [violation] = violations(tmp_path, changes)
    assert words in violation


UNKNOWN: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/collections/a", {"vectors": {"d": {"size": 2, "distance": "Dot", "sise": 2}}}),
    ("PUT", "/collections/a", {"vectors": {"d": {"size": 2, "distance": "Dot"}}, "more": 1}),
    ("PUT", "/collections/b/index", {"field_name": "f", "field_schema": "keyword", "more": 1}),
    ("POST", "/collections/aliases", {"actions": [], "more": 1}),
    ("POST", "/collections/b/points/scroll", {"limit": 5, "more": 1}),
    ("POST", "/collections/b/points/query/batch", {"searches": [{"limit": 5, "more": 1}]}),
    ("POST", "/collections/b/points/query/batch?more=1", {"searches": []}),
    ("PATCH", "/collections/b", {"metadata": {}, "more": 1}),
]


@pytest.mark.skipif(VARIABLE in os.environ, reason="these requests violate the document too")
@pytest.mark.parametrize(("method", "path", "body"), UNKNOWN, ids=str)
async def test_unknown_fields_are_rejected(
    tmp_path: Path, method: str, path: str, body: dict[str, Any]
) -> None:
    """The test server rejects them in every test, without the document."""
    async with running_qdrant(tmp_path / "server") as server, aiohttp.ClientSession() as session:
        made = {"vectors": {"d": {"size": 2, "distance": "Dot"}}}
        async with session.put(f"{server.url}/collections/b", json=made) as answer:
            assert answer.status == 200
        async with session.request(method, server.url + path, json=body) as answer:
            assert answer.status == 400


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set")
async def test_all_requests_and_responses_match_the_document(tmp_path: Path) -> None:
    async with running_qdrant(tmp_path / "server", strict=True) as server:
        for layout in (Layout(), Layout("scalar", on_disk=True), Layout("binary")):
            store = ServerStore(server.url, "", "book", layout=layout)
            await store.open()
            await publish(store, [chunk(n) for n in range(20)], random_vectors(20))
            await nearest(store, random_vectors(1)[0], 5, only={"kind": "prose"})
            await store.ledger()
            await all_urls(store)
            builder = await store.build(new_generation(), MODEL)
            await builder.reuse_vectors([chunk(0).content_hash])
            await builder.copy_unchanged(without=["b.md"])
            await builder.add([chunk(50)], random_vectors(1), sparse_vectors([chunk(50)]))
            await store.close()
        assert server.violations == []
