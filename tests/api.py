"""HTTP client for the application, in this process or behind a real server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, ClassVar, cast

import hypercorn.asyncio
import jsonschema
from quart import Quart
from werkzeug.datastructures import Headers

from handlers.serving import _LimitedListener, _server_config
from lib.services import Services
from lib.sessions import Message, conversation_key
from lib.settings import Settings
from main import create_app

ADMIN_KEY = "the-admin-key"
READER_KEY = "a-reader-key"
REMOTE_CLIENT = ("203.0.113.9", 4321)
LOCAL_CLIENT = ("127.0.0.1", 4321)
SESSION = "anon_1732270000000_x7f3k2"
OTHER_SESSION = "anon_1732270000001_q9w8e7"


@dataclass(frozen=True)
class Response:
    """A complete HTTP response."""

    status: int
    headers: Headers
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)

    def events(self) -> list[dict[str, Any]]:
        return parse_events(self.content)


def parse_events(stream: bytes) -> list[dict[str, Any]]:
    """Parse a complete event stream. Accepts only `data: <JSON>`, ping comments and a last
    `data: [DONE]`."""
    assert stream.endswith(b"\n\n")
    events = []
    for block in stream.removesuffix(b"data: [DONE]\n\n")[:-2].split(b"\n\n"):
        assert b"\n" not in block, block
        if block == b": ping":
            continue
        assert block.startswith(b"data: "), block
        events.append(json.loads(block[6:]))
    return events


def answer_text(events: list[dict[str, Any]]) -> str:
    return "".join(e["content"] for e in events if e["type"] == "chunk")


class Api:
    """Test client for the application.

    Checks every response of a documented route against /openapi.json, and every error response
    against the common error format.
    """

    document: ClassVar[dict[str, Any]] = {}
    """Every application describes the same routes, so one asks for all."""

    def __init__(self, app: Quart) -> None:
        self.app = app

    @property
    def services(self) -> Services:
        return cast(Services, self.app.extensions["services"])

    async def request(
        self,
        method: str,
        path: str,
        *,
        caller: tuple[str, int] = REMOTE_CLIENT,
        headers: dict[str, str] | Headers | None = None,
        **kwargs: Any,
    ) -> Response:
        if "data" in kwargs:
            headers = Headers(headers or {})
            headers.setdefault("Content-Type", "application/json")
        client = self.app.test_client()
        response = await client.open(
            path, method=method, headers=headers, scope_base={"client": caller}, **kwargs
        )
        content = await response.get_data(as_text=False)
        result = Response(response.status_code, response.headers, content)
        await self.check(method, path, result)
        return result

    async def get(self, path: str, **kwargs: Any) -> Response:
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, body: Any = None, **kwargs: Any) -> Response:
        if body is not None:
            kwargs["json"] = body
        return await self.request("POST", path, **kwargs)

    async def ask(self, question: str = "When does the tide turn?", **fields: Any) -> Response:
        """Ask a question. Returns a JSON answer unless `stream` is true."""
        headers = fields.pop("headers", None)
        body = {"question": question, "stream": False} | fields
        return await self.post("/chat", body, headers=headers)

    async def history(
        self, session_id: str = SESSION, reader: str = REMOTE_CLIENT[0]
    ) -> tuple[Message, ...]:
        key = conversation_key(reader, session_id)
        return await self.services.chat.sessions.history(key)

    async def as_admin(self, method: str, path: str, **kwargs: Any) -> Response:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return await self.request(method, path, headers=headers, **kwargs)

    async def ingest(self, **fields: Any) -> dict[str, Any]:
        """Run an ingestion to completion and return its status."""
        started = (await self.as_admin("POST", "/ingest", json=fields)).json()
        await self.services.ingestion.wait()
        path = f"/ingest/status?task_id={started['task_id']}"
        return cast(dict[str, Any], (await self.as_admin("GET", path)).json())

    async def check(self, method: str, path: str, response: Response) -> None:
        assert response.headers["X-Request-Id"]
        if method in ("HEAD", "OPTIONS"):
            return
        if response.status >= 400 and (path, response.status) != ("/health", 503):
            assert_failure(response, path)
        operations = (await self.openapi())["paths"].get(path.partition("?")[0], {})
        if method.lower() not in operations:
            return
        responses = operations[method.lower()]["responses"]
        status = str(response.status)
        assert status in responses, f"{method} {path}: status {status} is not documented"
        content = responses[status]["content"]
        content_type = response.headers["Content-Type"].partition(";")[0]
        if content_type == "application/json" and content:
            self.validate(response.json(), content[content_type]["schema"])
        elif content_type == "text/event-stream":
            schema = content[content_type]["schema"]["properties"]["data"]["contentSchema"]
            for each in response.events():
                self.validate(each, {"oneOf": schema["oneOf"]})

    def validate(self, value: Any, schema: dict[str, Any]) -> None:
        resolvable = {**schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator(resolvable).validate(value)

    async def openapi(self) -> dict[str, Any]:
        if not self.document:
            response = await self.app.test_client().get("/openapi.json")
            Api.document = await response.get_json()
        return self.document


def assert_failure(response: Response, path: str = "") -> None:
    """Check the error format of `path`, and that the response leaks no secret or path."""
    body = response.json()
    if path.startswith("/v1/"):
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        sentence = body["error"]["message"]
        assert body["error"]["code"].replace("_", "").islower()
    elif path.startswith("/mcp"):
        assert body["jsonrpc"] == "2.0"
        assert set(body) - {"id"} == {"jsonrpc", "error"}
        assert set(body["error"]) == {"code", "message", "data"}
        assert isinstance(body["error"]["code"], int)
        sentence = body["error"]["message"]
    else:
        assert set(body) == {"error", "code", "details"}
        sentence = body["error"]
        assert body["code"].replace("_", "").isupper()
        assert isinstance(body["details"], dict)
    assert sentence.endswith((".", "!", "`")), sentence
    for secret in ("Traceback", "sk-", str(Path(__file__).parents[1]), ADMIN_KEY, gettempdir()):
        assert secret not in response.text


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """Run the application with its lifespan, called in this process."""
    app = create_app(settings)
    async with app.test_app():
        yield Api(app)


@asynccontextmanager
async def listening(settings: Settings, *, connections: int = 1_000) -> AsyncIterator[str]:
    """Run the application behind a real server and yield its address.

    `connections`: how many it accepts.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = _server_config(_LimitedListener(listener, connections, connections))
    stop = asyncio.Event()
    served = asyncio.create_task(
        hypercorn.asyncio.serve(
            create_app(settings),
            config,
            shutdown_trigger=stop.wait,
        )
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await served
