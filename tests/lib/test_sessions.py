"""What a conversation remembers: in memory and in Redis alike, then each on its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib.replicas.client
from lib.replicas.client import _SESSIONS_KEY, RedisClient, RedisSessions
from lib.sessions import (
    _MAX_MESSAGE_CHARACTERS,
    _MAX_SESSIONS,
    _SESSION_BYTES,
    MAX_EXCHANGES,
    SESSION_SECONDS,
    MemorySessions,
    Message,
    Sessions,
    conversation_key,
    new_session_id,
    recent_messages,
)
from tests.clock import Clock
from tests.redis_server import RedisServer, running_redis

MILLISECONDS = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)"
TEXTS = ["", "\x00", "a\r\nb", "'; DROP", "\U0001f30a" * 4_000, "déjà vu", "\\u0000 %s {}"]


@pytest.fixture(params=["memory", "redis"])
async def sessions(request: pytest.FixtureRequest) -> AsyncIterator[Sessions]:
    if request.param == "memory":
        yield MemorySessions()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    client = RedisClient(server.url, new_session_id())
    yield RedisSessions(client)
    await client.close()


async def test_an_unknown_session_has_no_history(sessions: Sessions) -> None:
    assert await sessions.history("nobody") == ()


async def test_exchanges_are_kept_in_order(sessions: Sessions) -> None:
    await sessions.remember("s", "first?", "one")
    await sessions.remember("s", "second?", "two")
    await sessions.remember("t", "other?", "three")
    assert await sessions.history("s") == (
        Message("user", "first?"),
        Message("assistant", "one"),
        Message("user", "second?"),
        Message("assistant", "two"),
    )


@pytest.mark.parametrize("count", [1, 2, MAX_EXCHANGES, MAX_EXCHANGES + 1, 20])
async def test_a_session_keeps_its_last_exchanges_whole(sessions: Sessions, count: int) -> None:
    for number in range(count):
        await sessions.remember("s", f"{number}?", f"{number}.")
    history = await sessions.history("s")
    assert len(history) == 2 * min(count, MAX_EXCHANGES)
    assert [m.role for m in history] == ["user", "assistant"] * (len(history) // 2)
    assert history[-1].content == f"{count - 1}."


async def test_what_is_asked_again_is_another_exchange(sessions: Sessions) -> None:
    for _ in range(2):
        await sessions.remember("s", "?", ".")
    assert len(await sessions.history("s")) == 4


async def test_a_long_message_is_cut(sessions: Sessions) -> None:
    await sessions.remember("s", "q" * 100_000, "a" * 100_000)
    assert {len(m.content) for m in await sessions.history("s")} == {_MAX_MESSAGE_CHARACTERS}


async def test_what_was_said_is_kept_as_it_was(sessions: Sessions) -> None:
    for text in TEXTS:
        await sessions.remember("s", text, text[::-1])
        history = await sessions.history("s")
        assert [message.content for message in history[-2:]] == [text, text[::-1]]


async def test_answers_that_end_at_once_are_all_kept(sessions: Sessions) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(MAX_EXCHANGES):
            group.create_task(sessions.remember("s", f"{number}?", f"{number}."))
    history = await sessions.history("s")
    assert sorted(m.content for m in history[::2]) == ["0?", "1?", "2?"]
    assert [m.content for m in history[1::2]] == [f"{m.content[0]}." for m in history[::2]]


# In memory


async def test_only_so_many_sessions_are_kept_and_the_least_used_goes_first() -> None:
    sessions = MemorySessions(max_sessions=3)
    for name in "abc":
        await sessions.remember(name, "?", ".")
    await sessions.history("a")
    await sessions.remember("d", "?", ".")
    assert len(sessions) == 3
    known = [bool(await sessions.history(name)) for name in "abcd"]
    assert known == [True, False, True, True]


async def test_there_is_a_bound_by_default() -> None:
    sessions = MemorySessions()
    for number in range(_MAX_SESSIONS + 10):
        await sessions.remember(str(number), "?", ".")
    assert len(sessions) == _MAX_SESSIONS


async def test_long_sessions_take_the_place_of_several() -> None:
    sessions = MemorySessions(max_sessions=20)
    for number in range(20):
        await sessions.remember(str(number), "?", "\U0001f30a" * _MAX_MESSAGE_CHARACTERS)
    assert len(sessions) == 20 * _SESSION_BYTES // (4 * _MAX_MESSAGE_CHARACTERS + 30) == 3
    assert (await sessions.history("19"))[1].content == "\U0001f30a" * _MAX_MESSAGE_CHARACTERS


@given(st.lists(st.tuples(st.text(), st.text()), max_size=MAX_EXCHANGES))
async def test_every_text_is_kept_as_it_was(exchanges: list[tuple[str, str]]) -> None:
    sessions = MemorySessions()
    for question, answer in exchanges:
        await sessions.remember("s", question, answer)
    said = [message.content for message in await sessions.history("s")]
    assert said == [text for exchange in exchanges for text in exchange]


@pytest.mark.parametrize(("later", "known"), [(59.0, True), (60.0, False), (1e9, False)])
async def test_a_session_ends_after_its_time(later: float, known: bool) -> None:
    clock = Clock()
    sessions = MemorySessions(seconds=60, clock=clock)
    await sessions.remember("s", "?", ".")
    clock.now += later
    assert bool(await sessions.history("s")) is known
    assert len(sessions) == known


async def test_an_answer_begins_the_time_anew() -> None:
    clock = Clock()
    sessions = MemorySessions(seconds=60, clock=clock)
    for _ in range(3):
        await sessions.remember("s", "?", ".")
        clock.now += 50
    assert len(await sessions.history("s")) == 6


def test_of_a_conversation_that_its_client_keeps_the_last_messages_count() -> None:
    told = [Message("user", f"{number}" * 5_000) for number in range(9)]
    kept = recent_messages(told)
    assert [each.content[0] for each in kept] == list("345678")
    assert {len(each.content) for each in kept} == {_MAX_MESSAGE_CHARACTERS}
    assert recent_messages([]) == ()


def test_new_ids_are_distinct() -> None:
    assert len({new_session_id() for _ in range(100)}) == 100


# In Redis

TIME_LEFT = "return redis.call('PTTL', KEYS[1])"


async def test_each_answer_gives_a_conversation_its_whole_time(redis: RedisClient) -> None:
    sessions = RedisSessions(redis)
    for _ in range(2):
        await sessions.remember("s", "?", ".")
        left = await redis.run(TIME_LEFT, ["session:s"])
        assert 0.9 < left / (1000 * SESSION_SECONDS) <= 1
        await redis.run("return redis.call('PEXPIRE', KEYS[1], 60000)", ["session:s"])
    await RedisSessions(redis, seconds=0.001).remember("s", "?", ".")
    while await sessions.history("s"):
        pass


async def test_two_replicas_have_one_conversation(redis_server: RedisServer) -> None:
    here, there = RedisClient(redis_server.url, "book"), RedisClient(redis_server.url, "book")
    name = new_session_id()
    await RedisSessions(here).remember(name, "here?", "yes")
    await RedisSessions(there).remember(name, "there?", "too")
    for client in (here, there):
        said = [message.content for message in await RedisSessions(client).history(name)]
        assert said == ["here?", "yes", "there?", "too"]
        await client.close()


async def test_two_books_in_one_redis_do_not_meet(redis_server: RedisServer) -> None:
    one, other = (RedisClient(redis_server.url, new_session_id()) for _ in range(2))
    await RedisSessions(one).remember("s", "?", ".")
    assert await RedisSessions(other).history("s") == ()
    await one.close()
    await other.close()


async def test_invented_sessions_fill_no_redis(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one used longest ago goes first."""
    monkeypatch.setattr(lib.replicas.client, "_MAX_SESSIONS", 3)
    sessions = RedisSessions(redis)

    async def known() -> str:
        return "".join([name for name in "abcde" if await sessions.history(name)])

    async def remember(name: str) -> None:
        await sessions.remember(name, "?", ".")
        # Redis's clock, by which they are in order, goes on by a millisecond.
        begun = await redis.run(MILLISECONDS, [])
        while await redis.run(MILLISECONDS, []) == begun:
            continue

    for name in "abcab":
        await remember(name)
    assert await known() == "abc"
    await remember("d")
    assert await known() == "abd"
    await remember("e")
    assert await known() == "bde"
    assert await redis.run("return redis.call('ZCARD', KEYS[1])", [_SESSIONS_KEY]) == 3


async def test_conversations_that_are_over_take_nobody_s_place(redis: RedisClient) -> None:
    await redis.run("return redis.call('ZADD', KEYS[1], 5, 'of 1970')", [_SESSIONS_KEY])
    await RedisSessions(redis).remember("s", "?", ".")
    assert await redis.run("return redis.call('ZCARD', KEYS[1])", [_SESSIONS_KEY]) == 1
    left = await redis.run("return redis.call('PTTL', KEYS[1])", [_SESSIONS_KEY])
    assert 0 < left <= 1000 * SESSION_SECONDS


async def test_an_exchange_that_is_sent_again_is_kept_once(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words in another exchange are kept, too."""
    run, sessions = redis.run, RedisSessions(redis)

    async def twice(*arguments: Any) -> Any:
        await run(*arguments)
        return await run(*arguments)

    monkeypatch.setattr(redis, "run", twice)
    for _ in range(2):
        await sessions.remember("s", "?", ".")
    assert [message.content for message in await sessions.history("s")] == ["?", "."] * 2


async def test_what_another_version_has_kept_is_no_conversation(redis: RedisClient) -> None:
    await redis.run("return redis.call('RPUSH', KEYS[1], 'other')", ["session:s"])
    assert await RedisSessions(redis).history("s") == ()


async def test_without_redis_nothing_is_known_and_nothing_fails(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_redis(tmp_path_factory.mktemp("own")) as server:
        client = RedisClient(server.url, "book")
        sessions = RedisSessions(client)
        await sessions.remember("s", "?", ".")
        server.kill()
        for _ in range(10):
            await sessions.remember("s", "?", ".")
            assert await sessions.history("s") == ()
        await client.close()


@given(st.text("0123456789abcdef", min_size=16, max_size=128), st.sampled_from("ab"))
def test_a_conversation_is_found_by_reader_and_id(session: str, reader: str) -> None:
    """Its key shows neither of them."""
    key = conversation_key(reader, session)
    assert bool(key) is (len(set(session)) >= 6)
    if key:
        assert session not in key
        assert key != conversation_key(reader + "c", session)
        assert key != conversation_key(reader, session + "c")


def test_ids_that_clients_make_keep_a_history() -> None:
    for session in (new_session_id(), "anon_1732270000000_x7f3k2", "9f86d081884c7d65"):
        assert conversation_key("", session)
