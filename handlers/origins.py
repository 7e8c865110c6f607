"""Learn the published book's origin, and report pages whose origin is refused."""

from typing import Final

from quart import request

from handlers import allowed_origins, is_own_origin, services

_PROBE_WAIT: Final = 0.5
"""Seconds that a page of an unknown origin waits for the index to tell the site's address."""


async def check_origin() -> None:
    """Run before each request, so that its CORS headers and `require_known_origin` agree."""
    origin = request.headers.get("Origin", "").lower()
    allowed = allowed_origins()
    if not origin or origin in allowed.configured or is_own_origin(origin):
        return
    if allowed.follows_site:
        # The probe is cached and shared, so that strangers cause no work.
        state = await services().store_probe.answer(0 if origin in allowed else _PROBE_WAIT)
        if state and state.manifest:
            allowed.learn(state.manifest.site_url)
    if origin not in allowed:
        allowed.refuse(origin)
