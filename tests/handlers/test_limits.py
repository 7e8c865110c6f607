"""How many questions a reader may ask."""

from datetime import UTC, datetime

import pytest

import handlers.limits
from handlers.limits import BURST, BURST_WITH_KEY, MAX_READERS, BoundedStore
from tests.conftest import ADMIN_KEY, READER_KEY, SITE, Answer, Api, MakeSettings, serving

BAD = {"question": ""}
"""Counted as any other question, and answered sooner."""


async def ask(api: Api, caller: str = "203.0.113.9", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.post("/chat", BAD, caller=(caller, 1), headers=named)


async def use_up(api: Api, count: int = BURST, caller: str = "203.0.113.9", **headers: str) -> None:
    for _ in range(count):
        assert (await ask(api, caller, **headers)).status == 400


async def test_twenty_at_once_and_then_a_429(api: Api) -> None:
    assert BURST == 20
    for asked in range(1, BURST + 1):
        answer = await ask(api)
        assert answer.status == 400
        assert answer.headers["RateLimit-Limit"] == "20"
        # A question comes back every six seconds; on a slow machine one may have.
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
    assert BURST_WITH_KEY == 200
    await use_up(api)
    answer = await api.post("/chat", BAD, headers=headers)
    assert answer.status == 400
    assert answer.headers["RateLimit-Limit"] == "200"
    assert answer.headers["RateLimit-Remaining"] == "199"


async def test_two_hundred_are_an_end_too(api: Api) -> None:
    await use_up(api, BURST_WITH_KEY, X_API_Key=READER_KEY)
    assert (await ask(api, X_API_Key=READER_KEY)).status == 429
    assert (await ask(api, "198.51.100.7", X_API_Key=READER_KEY)).status == 429
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


async def test_the_store_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_READERS <= 100_000
    monkeypatch.setattr(handlers.limits, "MAX_READERS", 3)
    store = BoundedStore()
    never, now = datetime.min.replace(tzinfo=UTC), datetime.now(UTC)
    for number in range(10):
        await store.set(str(number), now)
    known = [number for number in range(10) if await store.get(str(number), never) == now]
    assert known == [7, 8, 9]
