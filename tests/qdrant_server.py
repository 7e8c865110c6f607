"""Qdrant test server: the part of Qdrant's REST API that `lib.store_server` uses.

It runs Qdrant's own engine (qdrant-edge, one shard per collection, all below one folder). Requests
and responses use the models that qdrant-client generates from Qdrant's API description. So a test
sends real HTTP in the documented form, and Qdrant's code stores, filters and scores. With
QDRANT_OPENAPI, `tests.qdrant_document` also validates both against the description itself. After a
violation, the server raises when it stops.

Not covered: whether a release of Qdrant matches its description; its limits and timing (requests
run one at a time); durability (points are written when the server stops, and lost when it is
killed); replicas, consensus, optimisers, HNSW over many points, TLS, Qdrant Cloud's proxy. Requests
that Quire never sends are rejected with 400 or 404.

    python -m tests.qdrant_server --port 6333 --path DIR [--api-key KEY] [--strict]
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from aiohttp import web
from qdrant_client.http import models

from tests.qdrant_collection import UNINDEXED_REFUSED, Collection, Rejected, dump, replace
from tests.qdrant_document import Document, Exchange
from tests.upstream import Body, Drop, Hang, Status


@dataclass(frozen=True)
class Page:
    """A response of a proxy or another service instead of Qdrant."""

    status: int
    content: bytes
    content_type: str = "text/plain"


Fault = Status | Body | Page | Hang | Drop | asyncio.Event
"""With an event, the request waits for it and is then answered normally."""

MAX_BODY = 32 * 1024 * 1024  # Qdrant's default
PARAMETERS = {"GET": frozenset[str](), "PUT": {"wait", "ordering", "timeout"}}
"""Query parameters by method; other methods accept `OTHER_PARAMETERS`."""
OTHER_PARAMETERS = frozenset({"timeout", "consistency"})
Model = TypeVar("Model", bound=pydantic.BaseModel)


class Unauthorized(Rejected):
    """Missing or wrong API key. Qdrant answers in plain text."""


class UnknownPath(Exception):
    """Unknown path. Qdrant answers with an empty body."""


class QdrantServer:
    """The server's collections, the requests it received, and the faults to inject."""

    def __init__(self, folder: Path, *, api_key: str = "", strict: bool = False) -> None:
        self.folder = folder
        self.api_key = api_key
        self.denied_status = 401
        """Status for a wrong key. Qdrant uses 403 for a key without the required rights."""
        self.strict_mode = UNINDEXED_REFUSED if strict else models.StrictModeConfig()
        """Limits of the collections that are created from now on."""
        self.optimizing = 0
        """How many more times a collection with points is reported as yellow."""
        self.version = "1.19.0"
        self.port = 0
        self.violations: list[str] = []
        """Violations of Qdrant's OpenAPI document, if QDRANT_OPENAPI is set."""
        self._document = Document.from_environment()
        self.requests: list[str] = []
        """Method and path of each request, in order."""
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self._faults: list[tuple[str, Fault, range]] = []
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on a free port the first time, later on the same port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in self.folder.iterdir():
            if (folder / "collection.json").exists():
                self.collections[folder.name] = Collection.load(folder)
        with suppress(FileNotFoundError):
            self.aliases = json.loads((self.folder / "aliases.json").read_bytes())
        self._stopping.clear()
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening. The stored points stay in the folder."""
        self._stopping.set()  # ends the requests that hang
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for collection in self.collections.values():
            collection.shard.close()
        self.collections, self.aliases = {}, {}

    @contextmanager
    def failing(
        self, fault: Fault, on: str = "", *, after: int = 0, times: int = sys.maxsize
    ) -> Iterator[None]:
        """Inject `fault` into requests whose "METHOD /path" matches the pattern `on`.

        The first `after` matching requests, and those after `times` faults, succeed.
        """
        first = len(self.requests_matching(on)) + after
        self._faults.append((on, fault, range(first, first + times)))
        try:
            yield
        finally:
            self._faults.pop()

    async def until(self, predicate: Callable[["QdrantServer"], bool]) -> None:
        """Wait until `predicate` is true for this server. Checked after each request."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: predicate(self))

    def requests_matching(self, pattern: str) -> list[str]:
        """Return the requests whose "METHOD /path" matches `pattern`."""
        return [each for each in self.requests if re.search(pattern, each)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        line = f"{request.method} {request.path}"
        async with self._changed:
            self.requests.append(line)
            self._changed.notify_all()
        for pattern, fault, places in list(self._faults):
            if re.search(pattern, line) and len(self.requests_matching(pattern)) - 1 in places:
                failed = await self._fail(request, fault)
                if failed is not None:
                    return failed
        answer = self._respond(request, body)
        if self._document:
            sent = b"" if answer.body is None else bytes(answer.body)  # type: ignore[arg-type]
            self.violations += self._document.violations(
                Exchange(request.method, request.path, request.query, body, answer.status, sent)
            )
        return answer

    def _respond(self, request: web.Request, body: bytes) -> web.Response:
        began = time.perf_counter()
        try:
            self._admit(request)
            reject_other_parameters(request)
            result = self._answer(request.method, request.path, body)
        except Unauthorized as unauthorized:
            return web.Response(status=unauthorized.status, text=str(unauthorized))
        except UnknownPath:
            return web.Response(status=404)
        except Rejected as rejected:
            return failure(rejected.status, str(rejected))
        except pydantic.ValidationError as error:
            return failure(400, f"Format error in JSON body: {error.error_count()} errors")
        if request.path == "/":
            return web.json_response(result)
        answer = {"result": result, "status": "ok", "time": time.perf_counter() - began}
        return web.json_response(answer)

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        match fault:
            case Status():
                return failure(fault.status, fault.message, dict(fault.headers))
            case Page():
                return web.Response(
                    status=fault.status, body=fault.content, content_type=fault.content_type
                )
            case Body():
                return web.Response(body=fault.content, content_type=fault.content_type)
            case Hang():
                return await self._silence()
            case Drop():
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case asyncio.Event():
                await fault.wait()
        return None

    async def _silence(self) -> web.Response:
        await self._stopping.wait()
        return failure(503, "stopped")

    def _admit(self, request: web.Request) -> None:
        if request.path == "/":
            return  # needs no key in Qdrant either
        if self.api_key and request.headers.get("api-key") != self.api_key:
            raise Unauthorized(self.denied_status, "Invalid API key or JWT")

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        """Return the `result` for a request. Raises `Rejected`, or pydantic's ValidationError."""
        match method, path.strip("/").split("/"):
            case "GET", [""]:
                return {"title": "qdrant - vector search engine", "version": self.version}
            case "GET", ["collections"]:
                return {"collections": [{"name": name} for name in self.collections]}
            case "GET", ["aliases"]:
                pairs = self.aliases.items()
                return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in pairs]}
            case "POST", ["collections", "aliases"]:
                return self._change_aliases(parse(models.ChangeAliasesOperation, body))
            case "GET", ["collections", name]:
                info = self._named(name).info()
                if self.optimizing and info.points_count:
                    self.optimizing -= 1
                    info.status = models.CollectionStatus.YELLOW
                return dump(info)
            case "PUT", ["collections", name]:
                return self._create(name, parse(models.CreateCollection, body))
            case "PATCH", ["collections", name]:
                return self._named(name).update(parse(models.UpdateCollection, body))
            case "DELETE", ["collections", name]:
                return self._delete(name)
            case "PUT", ["collections", name, "index"]:
                return self._named(name).index(parse(models.CreateFieldIndex, body))
            case "PUT", ["collections", name, "points"]:
                return self._named(name).upsert(parse(models.PointsList, body))
            case "POST", ["collections", name, "points"]:
                return self._named(name).retrieve(parse(models.PointRequest, body))
            case "POST", ["collections", name, "points", "query", "batch"]:
                batch = parse(models.QueryRequestBatch, body)
                return self._named(name).query(batch.searches)
            case "POST", ["collections", name, "points", "scroll"]:
                return self._named(name).scroll(parse(models.ScrollRequest, body))
        raise UnknownPath

    def _named(self, name: str) -> Collection:
        """Find a collection by name or alias."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise Rejected(404, f"Not found: Collection `{name}` doesn't exist!")
        return found

    def _create(self, name: str, asked: models.CreateCollection) -> bool:
        if not re.fullmatch(r"[\w-]+", name):
            raise Rejected(400, "Bad request: Quire uses no such collection name")
        if name in self.collections:
            raise Rejected(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise Rejected(400, "Bad request: Can't create collection with the name of an alias")
        self.collections[name] = Collection.create(self.folder / name, asked, self.strict_mode)
        return True

    def _delete(self, name: str) -> bool:
        collection = self.collections.pop(name, None)
        if collection is None:
            return False
        self._save_aliases({a: c for a, c in self.aliases.items() if c != name})
        collection.remove()
        return True

    def _change_aliases(self, asked: models.ChangeAliasesOperation) -> bool:
        """Apply all actions or none."""
        aliases = dict(self.aliases)
        for action in asked.actions:
            match action:
                case models.CreateAliasOperation(create_alias=create):
                    if create.alias_name in self.collections:
                        raise Rejected(400, "Bad request: an alias with a collection's name")
                    if create.collection_name not in self.collections:
                        raise Rejected(404, f"Not found: Collection `{create.collection_name}`")
                    aliases[create.alias_name] = create.collection_name
                case models.DeleteAliasOperation(delete_alias=delete):
                    aliases.pop(delete.alias_name, None)
                case _:
                    raise Rejected(400, "Bad request: unsupported action")
        self._save_aliases(aliases)
        return True

    def _save_aliases(self, aliases: dict[str, str]) -> None:
        replace(self.folder / "aliases.json", aliases)
        self.aliases = aliases


def reject_other_parameters(request: web.Request) -> None:
    known = PARAMETERS.get(request.method, OTHER_PARAMETERS)
    if request.query.keys() - known:
        raise Rejected(400, "Bad request: unsupported query parameters")


def parse(model: type[Model], body: bytes) -> Model:
    return model.model_validate_json(body)


def failure(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"status": {"error": reason}, "time": 0.0}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def running_qdrant(
    folder: Path, *, api_key: str = "", strict: bool = False
) -> AsyncIterator[QdrantServer]:
    server = QdrantServer(folder, api_key=api_key, strict=strict)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    if server.violations:
        raise AssertionError("\n".join(server.violations))


async def serve(arguments: argparse.Namespace) -> None:
    server = QdrantServer(arguments.path, api_key=arguments.api_key, strict=arguments.strict)
    server.port = arguments.port
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(server.url, flush=True)
    await stop.wait()
    await server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.qdrant_server", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="default: a free port, which is printed"
    )
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--strict", action="store_true")
    asyncio.run(serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
