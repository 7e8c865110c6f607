"""Rate limits, in memory and in Redis."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import lib.auth
from handlers.limits import _MAX_READERS, SEARCH_BURST, _BoundedStore, _WrongKeys
from tests.api import ADMIN_KEY, READER_KEY, Api, Response, serving
from tests.clock import Clock
from tests.conftest import MakeSettings
from tests.limits import BAD, BURST, KEY_FACTOR, NETWORK_FACTOR, ask, use_up
from tests.redis_server import RedisServer
from tests.tiny_book import SITE


@pytest.fixture(params=["memory", "redis"])
def make_settings(make_settings: MakeSettings, request: pytest.FixtureRequest) -> MakeSettings:
    if request.param == "memory":
        return make_settings
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    return partial(make_settings, redis_url=server.url)


async def test_twenty_at_once_and_then_a_429(api: Api) -> None:
    for asked in range(1, BURST + 1):
        answer = await ask(api)
        assert answer.status == 400
        assert answer.headers["RateLimit-Limit"] == "20"
        # The allowance regains one question every six seconds, which a slow machine may take.
        assert int(answer.headers["RateLimit-Remaining"]) >= BURST - asked
        assert int(answer.headers["RateLimit-Reset"]) > 0
    answer = await ask(api, Origin=SITE)
    assert answer.status == 429
    body = answer.json()
    assert body["code"] == "RATE_LIMITED"
    assert 1 <= int(answer.headers["Retry-After"]) <= 6
    assert body["details"] == {"retry_after": int(answer.headers["Retry-After"])}
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


async def test_readers_are_counted_apart(api: Api) -> None:
    await use_up(api)
    assert (await ask(api)).status == 429
    assert (await ask(api, "203.0.113.10")).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": READER_KEY},
        {"Authorization": f"Bearer {READER_KEY}"},
        {"X-API-Key": ADMIN_KEY},
    ],
    ids=str,
)
async def test_a_key_gets_two_hundred(api: Api, headers: dict[str, str]) -> None:
    await use_up(api)
    answer = await api.post("/chat", BAD, headers=headers)
    assert answer.status == 400
    assert answer.headers["RateLimit-Limit"] == "200"
    assert answer.headers["RateLimit-Remaining"] == "199"


async def test_two_hundred_are_an_end_too(api: Api) -> None:
    await use_up(api, BURST * KEY_FACTOR, X_API_Key=READER_KEY)
    # The allowance regains one question every 0.6 seconds.
    for address in ("203.0.113.9", "198.51.100.7"):
        asked = [await ask(api, address, X_API_Key=READER_KEY) for _ in range(15)]
        assert 429 in {answer.status for answer in asked}
    assert (await ask(api)).status == 400


async def test_the_key_in_the_body_of_older_clients_counts(api: Api) -> None:
    await use_up(api)
    assert (await ask(api)).status == 429
    answer = await api.post("/chat", BAD | {"api_key": READER_KEY})
    assert answer.status == 400


@pytest.mark.parametrize("key", ["wrong", "", "ключ", READER_KEY + "x"])
async def test_a_wrong_key_gets_no_more(api: Api, key: str) -> None:
    await use_up(api)
    assert (await ask(api, X_API_Key=key)).status == 429


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"]
)
async def test_an_invented_address_does_not_help(api: Api, header: str) -> None:
    for number in range(BURST):
        headers = {header: f"198.51.100.{number}"}
        assert (await api.post("/chat", BAD, headers=headers)).status == 400
    assert (await api.post("/chat", BAD, headers={header: "198.51.100.99"})).status == 429


async def test_behind_a_trusted_proxy_its_word_counts(make_settings: MakeSettings) -> None:
    async with serving(make_settings(trusted_proxy_hops=1)) as api:
        await use_up(api, caller="10.0.0.1", X_Forwarded_For="198.51.100.1")
        assert (await ask(api, "10.0.0.1", X_Forwarded_For="198.51.100.1")).status == 429
        assert (await ask(api, "10.0.0.2", X_Forwarded_For="198.51.100.1")).status == 429
        spoofed = "192.0.2.1, 198.51.100.1"
        assert (await ask(api, "10.0.0.1", X_Forwarded_For=spoofed)).status == 429
        assert (await ask(api, "10.0.0.1", X_Forwarded_For="198.51.100.2")).status == 400


async def test_an_ipv6_reader_is_their_network(api: Api) -> None:
    for number in range(BURST):
        assert (await ask(api, f"2001:db8:1:2::{number:x}")).status == 400
    assert (await ask(api, "2001:db8:1:2:ffff:ffff:ffff:ffff")).status == 429
    assert (await ask(api, "2001:db8:1:3::1")).status == 400


@pytest.mark.parametrize("forwarded", ["", ",", "unknown", "999.1.1.1", "\u00e4", ",,,"])
async def test_a_forwarded_header_of_nonsense_is_no_500(
    make_settings: MakeSettings, forwarded: str
) -> None:
    async with serving(make_settings(trusted_proxy_hops=1)) as api:
        assert (await ask(api, X_Forwarded_For=forwarded)).status == 400


async def test_a_preflight_uses_nothing_up(api: Api) -> None:
    preflight = {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    for _ in range(BURST + 5):
        assert (await api.request("OPTIONS", "/chat", headers=preflight)).status == 200
    answer = await ask(api)
    assert answer.status == 400
    assert answer.headers["RateLimit-Remaining"] == "19"
    await use_up(api, BURST - 1)
    assert (await api.request("OPTIONS", "/chat", headers=preflight)).status == 200


async def test_the_limit_can_be_turned_off(make_settings: MakeSettings) -> None:
    async with serving(make_settings(rate_limit_enabled=False)) as api:
        await use_up(api, BURST + 5)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_searches_are_limited_more_generously(api: Api, method: str) -> None:
    assert SEARCH_BURST == 120

    async def search(**headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "GET":
            return await api.get("/search?q=", headers=named)
        return await api.post("/search", {"query": ""}, headers=named)

    for _ in range(SEARCH_BURST + 5):  # the allowance regains one a second
        answer = await search()
        if answer.status == 429:
            break
        assert answer.status == 400
        assert answer.headers["RateLimit-Limit"] == "120"
    answer = await search(Origin=SITE)
    while answer.status != 429:
        answer = await search(Origin=SITE)
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    answer = await search(X_API_Key=READER_KEY)
    assert answer.status == 400
    assert answer.headers["RateLimit-Limit"] == "1200"
    assert (await ask(api)).status == 400  # questions are counted separately


async def test_every_answer_of_a_limited_route_tells_the_limit(api: Api) -> None:
    answers = {
        200: await api.ask("tide"),
        400: await ask(api),
        403: await ask(api, Origin="https://evil.example"),
        413: await api.post("/chat", data=b"x" * 300_000),
        415: await api.post("/chat", data=b"x", headers={"Content-Type": "text/plain"}),
    }
    answers[429] = await ask(api)
    while answers[429].status != 429:
        answers[429] = await ask(api)
    for status, answer in answers.items():
        assert answer.status == status
        assert answer.headers["RateLimit-Limit"] == "20"
        assert 0 <= int(answer.headers["RateLimit-Remaining"]) < 20
        assert int(answer.headers["RateLimit-Reset"]) > 0
        assert ("Retry-After" in answer.headers) == (status == 429)


async def test_a_network_of_many_networks_is_limited_too(api: Api) -> None:
    for number in range(BURST * NETWORK_FACTOR):
        assert (await ask(api, f"2001:db8:1:{number:x}::1")).status == 400
    # The allowance regains one question every 0.6 seconds.
    while (answer := await ask(api, f"2001:db8:1:{number:x}::1")).status != 429:
        number += 1
    assert answer.headers["Retry-After"] == "1"
    assert (await ask(api, "2001:db8:2:1::1")).status == 400
    assert (await api.post("/chat", BAD, headers={"X-API-Key": READER_KEY})).status == 400


async def test_keys_of_one_name_are_one_reader(make_settings: MakeSettings) -> None:
    async with serving(make_settings(api_keys=("ann:one", "ann:two", "bob:three"))) as api:
        await use_up(api, 5, X_API_Key="one")
        answer = await ask(api, X_API_Key="two")
        assert int(answer.headers["RateLimit-Remaining"]) < BURST * KEY_FACTOR - 5
        answer = await ask(api, X_API_Key="three")
        assert answer.headers["RateLimit-Remaining"] == "199"
        for wrong in ("ann", "ann:one"):
            assert (await ask(api, X_API_Key=wrong)).headers["RateLimit-Limit"] == "20"


async def test_keys_change_without_a_restart(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.auth, "_CHECK_SECONDS", 0.0)

    async def limit_of(key: str) -> str:
        return (await ask(api, X_API_Key=key)).headers["RateLimit-Limit"]

    file = tmp_path / "keys"
    file.write_text("ann:first")
    async with serving(make_settings(api_keys_file=file)) as api:
        assert await limit_of("first") == "200"
        assert await limit_of("second") == "20"
        file.write_text("ann:second\n")
        assert await limit_of("first") == "20"
        assert await limit_of("second") == "200"
        assert await limit_of(READER_KEY) == "200"


NEVER = datetime.min.replace(tzinfo=UTC)


async def known(store: _BoundedStore, *readers: str) -> list[str]:
    return [reader for reader in readers if await store.get(reader, NEVER) != NEVER]


async def test_the_store_forgets_whose_allowance_is_whole() -> None:
    store, now = _BoundedStore(), datetime.now(UTC)
    await store.set("a", now - timedelta(seconds=1))
    await store.set("b", now + timedelta(minutes=1))
    assert await known(store, "a", "b") == ["b"]
    await store.set("b", now - timedelta(seconds=1))
    await store.set("c", now + timedelta(minutes=1))
    assert await known(store, "b", "c") == ["c"]


async def test_a_clock_that_is_set_back_shuts_nobody_out() -> None:
    store, now = _BoundedStore(), datetime.now(UTC)
    await store.set("a", now + timedelta(minutes=2))
    await store.set("b", now + timedelta(minutes=30))  # set before the clock was put back
    assert await known(store, "a", "b") == ["a"]


async def test_who_has_asked_least_is_forgotten_first() -> None:
    store, now = _BoundedStore(3), datetime.now(UTC)
    for number, seconds in enumerate([50, 10, 30, 40, 20, 60]):
        await store.set(str(number), now + timedelta(seconds=seconds))
    assert await known(store, *"012345") == ["0", "3", "5"]


async def test_a_reader_who_goes_on_asking_takes_no_more_room() -> None:
    store, now = _BoundedStore(10), datetime.now(UTC)
    for number in range(1_000):
        await store.set("a", now + timedelta(seconds=60, milliseconds=number))
    assert await known(store, "a") == ["a"]
    assert len(store._order) <= 40


async def test_a_flood_of_addresses_is_bounded_and_forgets_no_one_who_asked_a_lot() -> None:
    assert _MAX_READERS <= 100_000
    store, now = _BoundedStore(1_000), datetime.now(UTC)
    greedy = now + timedelta(minutes=2)
    await store.set("greedy", greedy)
    tracemalloc.start()
    try:
        for number in range(20_000):
            await store.set(f"10.0.0.{number}", now + timedelta(seconds=60, microseconds=number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) == 1_000
    assert held < 2_000_000
    assert await store.get("greedy", NEVER) == greedy


def test_wrong_keys_are_limited() -> None:
    clock = Clock(1_000.0)
    wrong = _WrongKeys(clock)
    for _ in range(10):
        assert wrong.wait("a") == 0
        wrong.count("a")
    assert wrong.wait("a") == 60
    assert wrong.wait("b") == 0
    clock.now += 60
    assert wrong.wait("a") == 0
    wrong.count("a")
    assert wrong.wait("a") == 60
    clock.now += 600
    for _ in range(10):
        assert wrong.wait("a") == 0
        wrong.count("a")
    assert wrong.wait("a") == 60
