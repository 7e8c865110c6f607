"""GET /llms.txt and GET /llms-full.txt: the book for language models (https://llmstxt.org)."""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import operation, services
from handlers.limits import SEARCH_BURST, limits
from handlers.static import send_packed
from lib.api import Operation
from lib.packing import Packed

_NO_INDEX = {503: "There is no usable index, or its contents are being read."}

blueprint = Blueprint("llms", __name__)


@blueprint.get("/llms.txt")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "The pages of the book, each with a description, for language models.",
        content_type="text/plain",
        statuses=_NO_INDEX,
        has_etag=True,
    )
)
async def index() -> Response:
    return await _send(await services().llms.index())


@blueprint.get("/llms-full.txt")
@rate_limit(limits=limits())  # fewer, because it may have some megabytes
@operation(
    Operation(
        "The text of the book's pages, for language models.",
        content_type="text/plain",
        statuses=_NO_INDEX,
        has_etag=True,
    )
)
async def full() -> Response:
    return await _send(await services().llms.full())


async def _send(packed: Packed) -> Response:
    return await send_packed(packed, "text/plain; charset=utf-8", "no-cache")
