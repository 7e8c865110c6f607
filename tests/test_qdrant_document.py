"""Requests and answers against Qdrant's published description of its API.

Always: against the models that qdrant-client generates from it, in which nothing is allowed that
they do not name. With QDRANT_OPENAPI, the path of a copy of the document, against the document.
"""

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lib.store import new_generation
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
    ({"status": 418}, "the status 418 is not known"),
    ({"answer": {"result": True, "more": 1}}, "'more' was unexpected"),
    ({"answer": {"result": None}}, "not of type 'boolean'"),
]


def told(folder: Path, changes: dict[str, Any]) -> list[str]:
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


def test_what_a_document_describes_is_fine(tmp_path: Path) -> None:
    assert told(tmp_path, {}) == []
    assert told(tmp_path, {"query": {}, "body": {"size": 3, "part": None}}) == []


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=str)
def test_what_it_does_not_describe_is_told(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    [complaint] = told(tmp_path, changes)
    assert words in complaint


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


@pytest.mark.skipif(VARIABLE in os.environ, reason="the document complains of these as well")
@pytest.mark.parametrize(("method", "path", "body"), UNKNOWN, ids=str)
async def test_a_field_that_qdrant_does_not_know_is_refused(
    tmp_path: Path, method: str, path: str, body: dict[str, Any]
) -> None:
    """By the stand-in, in every test and without the document."""
    async with running_qdrant(tmp_path / "server") as server, aiohttp.ClientSession() as session:
        made = {"vectors": {"d": {"size": 2, "distance": "Dot"}}}
        async with session.put(f"{server.url}/collections/b", json=made) as answer:
            assert answer.status == 200
        async with session.request(method, server.url + path, json=body) as answer:
            assert answer.status == 400


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no copy of the document")
async def test_everything_that_is_asked_and_answered_is_in_the_document(tmp_path: Path) -> None:
    async with running_qdrant(tmp_path / "server", strict=True) as server:
        for layout in (Layout(), Layout("scalar", on_disk=True), Layout("binary")):
            store = ServerStore(server.url, "", "book", layout=layout)
            await store.open()
            await publish(store, [chunk(n) for n in range(20)], random_vectors(20))
            await nearest(store, random_vectors(1)[0], 5, only={"kind": "prose"})
            await store.ledger()
            await store.urls()
            builder = await store.build(new_generation(), MODEL)
            await builder.reuse_vectors([chunk(0).content_hash])
            await builder.copy_unchanged(without=["b.md"])
            await builder.add([chunk(50)], random_vectors(1), sparse_vectors([chunk(50)]))
            await store.close()
        assert server.violations == []
