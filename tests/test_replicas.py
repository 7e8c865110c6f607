"""Two replicas behind nginx, set up as in the handbook: real processes and a real Redis.

Qdrant, the embeddings and the language model are test servers.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.api import ADMIN_KEY, OTHER_SESSION, READER_KEY, SESSION
from tests.handbook import block
from tests.limits import BURST, KEY_FACTOR
from tests.nginx import needs_nginx, running_nginx
from tests.qdrant_server import running_qdrant
from tests.redis_server import RedisServer, running_redis
from tests.test_stopping import Server, running_quire
from tests.tiny_book import BOOK, write_book
from tests.upstream import Hang, Step, Upstream, answer, delta, finish, running_upstream, usage

DAILY_TOKENS = 100_000

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_nginx,
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning"),
]


@dataclass
class Reply:
    status: int
    served_by: str
    body: Any


@dataclass
class Replicas:
    """The replicas. `address` is nginx's; `servers` are keyed by their own addresses."""

    address: str
    http: aiohttp.ClientSession
    upstream: Upstream
    redis: RedisServer
    servers: dict[str, Server] = field(default_factory=dict)

    async def ask(self, question: str = "When does the tide turn?", **fields: Any) -> Reply:
        body = {"question": question, "stream": False} | fields
        return await self.post(body, {"X-API-Key": READER_KEY})

    async def post(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        async with self.http.post(f"{self.address}/chat", json=body, headers=headers) as reply:
            return Reply(reply.status, reply.headers["X-Served-By"], await reply.json())

    async def ask_other(self, than: str, question: str, **fields: Any) -> Reply:
        """Ask until another replica answers. nginx distributes requests in turn."""
        for _ in range(4):
            replied = await self.ask(question, **fields)
            if replied.served_by != than:
                return replied
        raise AssertionError(f"only {than} answered")

    async def internals(self, replica: str) -> Any:
        """Return the part of /health that only an admin sees."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with self.http.get(f"http://{replica}/health", headers=headers) as reply:
            return (await reply.json())["inside"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(running_upstream())
        qdrant = await stack.enter_async_context(running_qdrant(folder / "qdrant"))
        redis = stack.enter_context(running_redis(folder))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        running = Replicas("", http, upstream, redis)
        book = write_book(folder / "book", BOOK)
        environment = {
            "QDRANT_URL": qdrant.url,
            "REDIS_URL": redis.url,
            "TRUSTED_PROXY_HOPS": "1",
            "ADMIN_API_KEY": ADMIN_KEY,
            "API_KEYS": READER_KEY,
            "OPENAI_API_KEY": "sk-of-the-test",
            "OPENAI_BASE_URL": upstream.base_url,
            "DAILY_TOKENS": str(DAILY_TOKENS),
            "ANSWER_CACHE_SIZE": "0",
        }
        for name in ("here", "there"):
            server = await stack.enter_async_context(
                running_quire(book, folder / name, **environment)
            )
            address = f"127.0.0.1:{server.port}"
            running.servers[address] = server
            await until_ready(http, address)
        running.address = await stack.enter_async_context(
            running_nginx(folder, nginx_config(list(running.servers)))
        )
        yield running


async def until_ready(http: aiohttp.ClientSession, address: str) -> None:
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"http://{address}/health") as reply:
                if (await reply.json())["ready"]:
                    return


def nginx_config(servers: list[str]) -> str:
    """Return the handbook's nginx configuration with these servers."""
    config = block("scaling.md", "nginx as load balancer", "nginx")
    for example, real in zip(re.findall(r"server ([\d.:]+);", config), servers, strict=True):
        config = config.replace(example, real)
    return "add_header X-Served-By $upstream_addr always;" + config


async def test_a_conversation_across_replicas(replicas: Replicas) -> None:
    replicas.upstream.replies.append(answer("Every six hours [1]."))
    first = await replicas.ask("When does the tide turn?", session_id=SESSION)
    assert (first.status, first.body["mode"]) == (200, "generated")
    second = await replicas.ask_other(
        first.served_by, "And how fast is the current?", session_id=SESSION
    )
    assert second.status == 200
    prompt = json.dumps(replicas.upstream.chats()[-1]["messages"])
    assert "When does the tide turn?" in prompt
    assert "Every six hours" in prompt
    third = await replicas.ask_other(second.served_by, "And at spring tide?", session_id=SESSION)
    prompt = json.dumps(replicas.upstream.chats()[-1]["messages"])
    assert third.status == 200
    assert prompt.index("When does the tide") < prompt.index("how fast is the current")
    await replicas.ask_other(third.served_by, "What is a spring?", session_id=OTHER_SESSION)
    assert "how fast" not in json.dumps(replicas.upstream.chats()[-1]["messages"])


async def test_rate_limits_are_shared(replicas: Replicas) -> None:
    answers = [await replicas.post({"question": ""}, {}) for _ in range(BURST + 3)]
    statuses = [each.status for each in answers]
    assert {each.served_by for each in answers[:BURST]} == set(replicas.servers)
    assert statuses[:BURST] == [400] * BURST
    # One request is allowed again every six seconds, and each replica may see the limit late.
    assert statuses[BURST:].count(429) >= 2
    key = await replicas.ask()
    assert key.status == 200
    assert BURST * KEY_FACTOR == 200


async def test_the_budget_is_shared(replicas: Replicas) -> None:
    before = await tokens_spent(replicas)
    replied = await replicas.ask()
    await replicas.ask_other(replied.served_by, "How high is spring tide?")
    assert await tokens_spent(replicas) > before
    here, there = [(await replicas.internals(each))["budget"] for each in replicas.servers]
    assert here["tokens_limit"] == there["tokens_limit"] == DAILY_TOKENS


async def tokens_spent(replicas: Replicas) -> int:
    """Wait until both replicas report the same total and nothing is reserved; return it."""
    async with asyncio.timeout(10):
        while True:
            here, there = [(await replicas.internals(each))["budget"] for each in replicas.servers]
            if here["tokens"] == there["tokens"] and not here["tokens_reserved"]:
                return int(here["tokens"])


async def test_both_replicas_report_an_ingestion(replicas: Replicas) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    here, there = replicas.servers
    body = {"force_reindex": True}
    async with replicas.http.post(f"http://{here}/ingest", json=body, headers=headers) as reply:
        started = await reply.json()
    for address in (there, here):
        for query in ("", f"?task_id={started['task_id']}"):
            task = await until_finished(replicas.http, f"http://{address}/ingest/status{query}")
            assert task["task_id"] == started["task_id"]
            assert task["status"] == "completed"


async def until_finished(http: aiohttp.ClientSession, url: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            async with http.get(url) as reply:
                assert reply.status == 200
                task = await reply.json()
                if task["finished_at"]:
                    return task


@pytest.mark.parametrize("through", ["nginx", "directly"])
async def test_tokens_are_not_buffered(replicas: Replicas, through: str) -> None:
    """The model sends a word only after the client has received the one before."""
    words = [f"word{number} " for number in range(30)]
    gates = [asyncio.Event() for _ in words]
    script: list[Step] = [
        step for word, gate in zip(words, gates, strict=True) for step in (delta(word), gate)
    ]
    replicas.upstream.replies.append([*script, finish(), usage(100, 20)])
    address = replicas.address if through == "nginx" else f"http://{next(iter(replicas.servers))}"
    body = {"question": "When does the tide turn?"}
    headers = {"X-API-Key": READER_KEY}
    async with (
        asyncio.timeout(20),
        replicas.http.post(f"{address}/chat", json=body, headers=headers) as reply,
    ):
        received = b""
        for word, gate in zip(words, gates, strict=True):
            while word.strip().encode() not in received:
                received += await reply.content.readany()
            gate.set()
        assert b'"done"' in received + await reply.read()


async def test_a_replica_is_killed_while_answering(replicas: Replicas) -> None:
    replicas.upstream.replies.append(answer("Every six hours [1]."))
    await replicas.ask("When does the tide turn?", session_id=SESSION)
    replicas.upstream.replies.append([delta("It runs at"), Hang()])
    body = {"question": "How fast is the current?", "session_id": SESSION}
    headers = {"X-API-Key": READER_KEY}
    async with replicas.http.post(f"{replicas.address}/chat", json=body, headers=headers) as reply:
        killed = reply.headers["X-Served-By"]
        received = b""
        while b"It runs at" not in received:
            received += await reply.content.readany()
        replicas.servers[killed].process.kill()
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    for _ in range(4):
        replied = await replicas.ask("And how high does it rise?", session_id=SESSION)
        assert replied.status == 200
        assert killed != replied.served_by.split(", ")[-1]
    [left] = set(replicas.servers) - {killed}
    asked = [json.dumps(each["messages"]) for each in replicas.upstream.chats()[-4:]]
    assert "When does the tide turn?" in asked[0]
    assert all("It runs at" not in each for each in asked)
    # The killed replica's reservation stays, because the provider may bill its answer.
    assert (await replicas.internals(left))["budget"]["tokens_reserved"] > 0
    replicas.upstream.replies.append([delta("x"), finish(), usage(DAILY_TOKENS, 0)])
    await replicas.ask("When does the tide turn?")
    spent = await replicas.ask("When does the tide turn?")
    assert spent.body["mode"] == "extractive"
    assert "daily budget" in spent.body["answer"]
