"""The resources of MCP: the pages of the book as Markdown.

A long page is given in parts. Each part but the last ends with a note that tells where the next one
begins: `book:///guide/tides.md?offset=50000`.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec
from quart import Response, request

from handlers import respond, services
from handlers.mcp_book import describe_server
from handlers.mcp_messages import Call, InvalidParams, ResourceNotFound, read_cursor, refuse_cursor
from lib.errors import IndexNotReady, InvalidRequest, NotFound
from lib.search import check_index

_SCHEME: Final = "book:///"
_TYPE: Final = "text/markdown"
_LISTED: Final = 200
"""Resources in one response."""
_PART: Final = 50_000
"""Maximum characters of a page in one response."""
MAX_ADDRESS: Final = 2_000
"""Characters of a page's address or path."""
_CONTENTS_SECONDS: Final = 5.0
_OFFSET: Final = re.compile(r"\?offset=([0-9]{1,9})\Z")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a text that may be too long for one response."""

    text: str
    next_offset: int | None
    """Where the next part begins; None after the last."""


def part_of(text: str, offset: int) -> _Part:
    """The part that begins at `offset`. It ends after a line break, if it has one.

    Raises `InvalidRequest`.
    """
    if offset and offset >= len(text):
        raise InvalidRequest(
            f"The field offset is {offset:,}, but the text has {len(text):,} characters.",
            details={"field": "offset"},
        )
    end = offset + _PART
    if end >= len(text):
        return _Part(text[offset:], None)
    end = text.rfind("\n", offset + 1, end) + 1 or end
    return _Part(text[offset:end], end)


async def find_page(place: str) -> str:
    """The file path of a page. `place`: that path, or an address of the page.

    Raises `NotFound`, which names similar pages, `IndexNotReady` and the errors of the store.
    """
    return await services().page_markdown.find(place, request.host)


async def list_resources(call: Call) -> Response:
    check_index(await services().store.manifest())
    contents = await services().contents.get(_CONTENTS_SECONDS)
    if contents is None:
        raise IndexNotReady("The contents of the book are being read. Try again in a moment.")
    start = _position(read_cursor(call), len(contents.pages))
    end = start + _LISTED
    resources = [
        {
            "uri": _SCHEME + quote(page.file_path),
            "name": page.file_path,
            "title": page.title or page.file_path,
            "mimeType": _TYPE,
        }
        for page in contents.pages[start:end]
    ]
    more = {"nextCursor": str(end)} if end < len(contents.pages) else {}
    result = {"resources": resources, **more}
    return respond(call.answer(result, await describe_server(), cached=True))


def _position(cursor: str | None, count: int) -> int:
    """The first resource to list. Raises `InvalidParams`."""
    if cursor is None:
        return 0
    is_number = cursor.isascii() and cursor.isdigit() and len(cursor) < 10
    if not is_number or int(cursor) % _LISTED or not 0 < int(cursor) < count:
        raise InvalidParams("The field cursor is invalid. List the resources from the beginning.")
    return int(cursor)


async def list_templates(call: Call) -> Response:
    refuse_cursor(call)
    template = {
        "uriTemplate": _SCHEME + "{+path}",
        "name": "page",
        "title": "A page of the book",
        "description": "The Markdown of a page by the path of its file, such as guide/start.md.",
        "mimeType": _TYPE,
    }
    result = {"resourceTemplates": [template]}
    return respond(call.answer(result, await describe_server(), cached=True))


class _ReadParams(msgspec.Struct):
    uri: str


async def read_resource(call: Call) -> Response:
    uri = call.decode(_ReadParams).uri
    if not 0 < len(uri) <= MAX_ADDRESS:
        raise InvalidParams(f"The field uri must have 1 to {MAX_ADDRESS:,} characters.")
    place, offset = uri, 0
    if uri.startswith(_SCHEME) and (asked := _OFFSET.search(uri)):
        place, offset = uri[: asked.start()], int(asked[1])
    try:
        text = await services().page_markdown.of_file(await find_page(place))
        part = part_of(text, offset)
    except (NotFound, InvalidRequest) as error:
        raise ResourceNotFound(error.message, details={"uri": uri}) from None
    shown = part.text
    if part.next_offset:
        shown += f"\n\n[The page goes on: {place}?offset={part.next_offset}]"
    result = {"contents": [{"uri": uri, "mimeType": _TYPE, "text": shown}]}
    return respond(call.answer(result, await describe_server(), cached=True))
