"""What the tests of rate limits share."""

from tests.api import Api, Response

BURST = 20
KEY_FACTOR = 10
NETWORK_FACTOR = 10

BAD = {"question": ""}
"""Counted like any other question, but answered faster."""


async def ask(api: Api, caller: str = "203.0.113.9", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.post("/chat", BAD, caller=(caller, 1), headers=named)


async def use_up(api: Api, count: int = BURST, caller: str = "203.0.113.9", **headers: str) -> None:
    for _ in range(count):
        assert (await ask(api, caller, **headers)).status == 400
