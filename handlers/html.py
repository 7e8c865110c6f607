"""HTML pages of Quire itself, from the templates beside this module."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from quart import Response

from handlers.links import Link, add_links
from handlers.static import asset_address, send_packed
from lib.packing import Packed, pack

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
# Not Quart's: its templates await each step, which takes several times as long and holds the event
# loop.
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = asset_address


async def send_page(
    template: str,
    *,
    status: int = 200,
    depth: int = 0,
    links: Sequence[Link] = (),
    **values: object,
) -> Response:
    """Answer with a page whose addresses are relative: a proxy may serve Quire under a path.

    `depth` is the number of folders between the page at `/` and this one. `links` lead to
    other forms of the page.
    """
    values["root"] = "../" * depth
    packed = await asyncio.to_thread(_render, template, values)
    response = await send_packed(packed, "text/html; charset=utf-8", "no-cache", status=status)
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    add_links(response, depth, *links)
    return response


def _render(template: str, values: dict[str, object]) -> Packed:
    return pack(_templates.get_template(template).render(values).encode("utf-8", "replace"))
