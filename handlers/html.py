"""HTML pages of Quire itself, from the templates beside this module."""

import asyncio

from quart import Response, render_template

from handlers.static import pack, send_packed

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_LARGE = 200_000
"""Characters that take more than a few milliseconds to compress."""


async def send_page(template: str, *, depth: int = 0, **values: object) -> Response:
    """Answer with a page whose addresses are relative: a proxy may serve Quire under a path.

    `depth` is the number of folders between the page at `/` and this one.
    """
    html = await render_template(template, root="../" * depth, **values)
    content = html.encode("utf-8", "replace")
    packed = await asyncio.to_thread(pack, content) if len(content) > _LARGE else pack(content)
    response = await send_packed(packed, "text/html; charset=utf-8", "no-cache")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response
