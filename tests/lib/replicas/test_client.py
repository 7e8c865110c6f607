"""The Redis client while Redis is down, hangs, refuses or recovers."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import lib.replicas.client
from lib.errors import RedisUnavailable
from lib.replicas.client import RedisClient
from tests.redis_server import RedisServer, running_redis

ECHO = "return ARGV[1]"
PASSWORD = "geheim"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as running:
        yield running


async def test_what_a_script_returns(redis: RedisClient) -> None:
    assert await redis.run(ECHO, [], b"\x00\xff") == b"\x00\xff"
    assert await redis.run("return {1, 'a', {2}}", []) == [1, b"a", [2]]
    assert await redis.run("return KEYS[1]:match(':(%w+)$')", ["key"]) == b"key"


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis: RedisClient) -> None:
    await redis.run(ECHO, [], "a")
    await redis.run("return redis.call('PING')", [])
    await (await redis._client.get()).script_flush()
    assert await redis.run(ECHO, [], "b") == b"b"


async def test_redis_is_not_asked_before_it_is_needed() -> None:
    await RedisClient("redis://127.0.0.1:1", "book").close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.replicas.client, "_TIMEOUT", 0.05)
    monkeypatch.setattr(lib.replicas.client, "_PAUSE", 0.1)


@pytest.mark.usefixtures("impatient")
async def test_who_is_away_is_found_again(server: RedisServer) -> None:
    client = RedisClient(server.url, "book")
    for _ in range(2):
        assert await client.run(ECHO, [], "a") == b"a"
        server.kill()
        for _ in range(10):
            with pytest.raises(RedisUnavailable, match=r"cannot be reached\. Check REDIS_URL"):
                await client.run(ECHO, [], "a")
        assert client.breaker.refused >= 5
        assert not await client.reachable()
        server.start()
        assert await client.reachable()
        back = False
        while not back:
            with suppress(RedisUnavailable):
                back = await client.run(ECHO, [], "a") == b"a"
            await client.reachable()
        assert client.breaker.state == "closed"
    await client.close()


@pytest.mark.usefixtures("impatient")
async def test_a_redis_that_hangs_keeps_few_waiting(server: RedisServer) -> None:
    client = RedisClient(server.url, "book")
    await client.run(ECHO, [], "a")
    with server.paused():
        began = time.monotonic()
        for _ in range(30):
            with pytest.raises(RedisUnavailable):
                await client.run(ECHO, [], "a")
        assert time.monotonic() - began < 1
        assert client.breaker.failed <= 8
    await client.close()


async def test_who_leaves_takes_nobody_s_answer(redis: RedisClient) -> None:
    """The reply to a cancelled call must not reach the connection's next user."""
    for number in range(50):
        leaving = [asyncio.create_task(redis.run(ECHO, [], f"left{n}")) for n in range(3)]
        for _ in range(number % 7):
            await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert await redis.run(ECHO, [], f"asked{number}") == f"asked{number}".encode()
        await asyncio.gather(*leaving, return_exceptions=True)
    assert redis.breaker.failed == 0


async def test_many_at_once_share_few_connections(redis: RedisClient) -> None:
    answers = await asyncio.gather(*(redis.run(ECHO, [], str(n)) for n in range(500)))
    assert answers == [str(n).encode() for n in range(500)]
    connected = "return redis.call('INFO', 'clients'):match('connected_clients:(%d+)')"
    assert int(await redis.run(connected, [])) < 100


@pytest.mark.usefixtures("impatient")
async def test_a_busy_loop_is_no_sign_of_redis_being_away(redis: RedisClient) -> None:
    """Other tasks run between a reply's arrival and its processing."""

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)
            time.sleep(lib.replicas.client._TIMEOUT)  # noqa: ASYNC251

    await redis.reachable()
    others = asyncio.create_task(busy())
    answers = await asyncio.gather(*(redis.run(ECHO, [], str(n)) for n in range(2)))
    others.cancel()
    assert answers == [b"0", b"1"]
    assert redis.breaker.failed == 0


async def test_who_is_told_to_stop_is_not_late() -> None:
    async def work() -> None:
        with lib.replicas.client._LoopTimeout(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_late_goes_on_and_who_is_told_to_stop_meanwhile_stops() -> None:
    async def work(*, stopped: bool) -> int:
        task = asyncio.current_task()
        assert task is not None
        try:
            with lib.replicas.client._LoopTimeout(0.01):
                try:
                    await asyncio.Event().wait()
                finally:
                    if stopped:
                        task.cancel()
        except TimeoutError:
            await asyncio.sleep(0)
        return task.cancelling()

    assert await asyncio.create_task(work(stopped=False)) == 0
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work(stopped=True))


@pytest.mark.parametrize("given", ["", "wrong-", "user:"], ids=repr)
async def test_a_wrong_password_is_told_and_never_shown(
    tmp_path: Path, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with running_redis(tmp_path, "--requirepass", PASSWORD) as server:
        user = f"{given}{PASSWORD}x@" if given else ""
        client = RedisClient(f"redis://{user}127.0.0.1:{server.port}", "book")
        with pytest.raises(RedisUnavailable) as caught:
            await client.run(ECHO, [], "a")
        assert "refuses the name or the password" in caught.value.message
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert not await client.reachable()
        right = RedisClient(f"redis://:{PASSWORD}@127.0.0.1:{server.port}", "book")
        assert await right.run(ECHO, [], "a") == b"a"
        server.kill()
        with pytest.raises(RedisUnavailable) as away:
            await right.run(ECHO, [], "a")
        await client.close()
        await right.close()
    for text in (caplog.text, str(caught.value), str(away.value), repr(right), repr(client)):
        assert PASSWORD not in text


@pytest.mark.usefixtures("impatient")
async def test_an_address_with_tls_is_not_spoken_to_without(server: RedisServer) -> None:
    client = RedisClient(server.url.replace("redis:", "rediss:"), "book")
    with pytest.raises(RedisUnavailable):
        await client.run(ECHO, [], "a")
    await client.close()


async def test_a_full_redis_is_no_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_redis(tmp_path, "--maxmemory", "1") as server:
        client = RedisClient(server.url, "book")
        with pytest.raises(RedisUnavailable, match="answered with an error"):
            await client.run("return redis.call('SET', KEYS[1], ARGV[1])", ["a"], "a reader's text")
        await client.close()
    assert "OutOfMemoryError" in caplog.text
    assert "a reader's text" not in caplog.text
