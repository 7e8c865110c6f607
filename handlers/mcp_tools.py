"""The tools of MCP: search the book, read a page, ask a question.

Each tool is a function of its decoded arguments. A `QuireError` of a tool, such as a wrong argument
or a used-up rate limit, is a result that tells the model what to do. Only an unknown tool is an
error of the protocol (section "Error Handling" of Tools).
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from quart import Response

from handlers import respond, services
from handlers.mcp_ask import AskArguments, AskResult, ask
from handlers.mcp_book import Server, describe_server
from handlers.mcp_messages import (
    Call,
    InvalidParams,
    ToolResult,
    refuse_cursor,
    required_text,
    shown,
    tool_error,
    tool_result,
)
from handlers.mcp_resources import MAX_ADDRESS, find_page, part_of
from handlers.search import find_passages
from lib.api import decode_body, trimmed
from lib.errors import InvalidRequest, QuireError
from lib.ranking import Passage, join_headings
from lib.search import MAX_QUERY_CHARACTERS
from lib.settings import ToolText

_DEFAULT_LIMIT: Final = 8
_CONTENTS_SECONDS: Final = 1.0
_MOST_TEXT: Final = 8_000
"""Characters of a passage."""


# --- search_docs --------------------------------------------------------------------------------


def _text(description: str, most: int = MAX_ADDRESS) -> Any:
    return msgspec.Meta(max_length=most, description=description)


class _Filters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[str, _text("Only this page: its path, as in a result, or its address.")] = ""
    chapter: Annotated[str, _text("Only the page with this title.")] = ""
    kind: (
        Annotated[
            Literal["prose", "code", "table"],
            msgspec.Meta(
                description="Only prose, code or tables.", extra_json_schema={"type": "string"}
            ),
        ]
        | UnsetType
    ) = UNSET
    version: Annotated[str, _text("Only this version of the documentation.")] = ""
    locale: Annotated[str, _text("Only this language of the site, such as en.")] = ""


class _SearchArguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    query: Annotated[
        str, required_text("A whole question, or words to look for.", MAX_QUERY_CHARACTERS)
    ]
    limit: Annotated[int, msgspec.Meta(ge=1, le=20, description="Maximum number of passages.")] = (
        _DEFAULT_LIMIT
    )
    filters: Annotated[
        _Filters, msgspec.Meta(description="Restrict the search to a part of the book.")
    ] = msgspec.field(default_factory=_Filters)


class _Found(msgspec.Struct, kw_only=True):
    headings: Annotated[str, msgspec.Meta(description="Page > section > heading.")]
    url: Annotated[str | None, msgspec.Meta(description="Address of the heading, to cite.")]
    path: Annotated[str, msgspec.Meta(description="File path of the page, to read it.")]
    text: Annotated[str, msgspec.Meta(description="The passage, in Markdown.")]
    score: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="Estimated probability that it answers.")
    ]


class _SearchResult(msgspec.Struct, kw_only=True):
    results: Annotated[list[_Found], msgspec.Meta(description="The best first.")]


async def _search(server: Server, arguments: _SearchArguments) -> ToolResult:
    query = trimmed(arguments.query, "query", MAX_QUERY_CHARACTERS)
    await services().chat.until_indexed()
    filters = msgspec.structs.asdict(arguments.filters)
    if path := filters.pop("path"):
        filters["file_path"] = await find_page(path)
    only = {name: value for name, value in filters.items() if value}
    results = [_found(server, each) for each in await find_passages(query, arguments.limit, only)]
    text = "\n\n".join(map(_render, results)) or "Nothing in the book matches this query."
    return tool_result(text, _SearchResult(results=results))


def _found(server: Server, passage: Passage) -> _Found:
    return _Found(
        headings=join_headings(passage.chapter, passage.section, passage.heading)
        or passage.file_path,
        url=server.address(passage.url),
        path=passage.file_path,
        text=passage.content[:_MOST_TEXT],
        score=round(passage.score, 3),
    )


def _render(found: _Found) -> str:
    return f"## {found.headings}\n\n{_place(found.path, found.url)}\n\n{found.text}"


def _place(path: str, url: str | None) -> str:
    return "\n".join(filter(None, (f"Path: {path}", url)))


# --- read_page ----------------------------------------------------------------------------------


class _ReadArguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[str, _text("The page by its file path, as in a search result.")] = ""
    url: Annotated[str, _text("The page by its address, if no path is given.")] = ""
    heading: Annotated[str, _text("Only the part under this heading.", 500)] = ""
    offset: Annotated[
        int,
        msgspec.Meta(ge=0, description="Continue a long page: next_offset of the last result."),
    ] = 0


class _ReadResult(msgspec.Struct, kw_only=True):
    path: Annotated[str, msgspec.Meta(description="File path of the page.")]
    title: str
    url: Annotated[str | None, msgspec.Meta(description="Address of the page, to cite.")]
    text: Annotated[str, msgspec.Meta(description="In Markdown.")]
    next_offset: Annotated[
        int | None, msgspec.Meta(description="Where the text goes on; null at its end.")
    ]


async def _read(server: Server, arguments: _ReadArguments) -> ToolResult:
    pages = services().page_markdown
    if not (place := arguments.path.strip() or arguments.url.strip()):
        raise InvalidRequest("The page is missing. Name it with path or url.")
    path = await find_page(place)
    if arguments.heading.strip():
        whole = await pages.section(path, arguments.heading)
    else:
        whole = await pages.of_file(path)
    part = part_of(whole, arguments.offset)
    contents = await services().contents.get(_CONTENTS_SECONDS)
    page = contents.by_path.get(path) if contents else None
    result = _ReadResult(
        path=path,
        title=page.title if page else "",
        url=server.address(page.url) if page else None,
        text=part.text,
        next_offset=part.next_offset,
    )
    shown = f"{_place(path, result.url)}\n\n{part.text}"
    if part.next_offset:
        shown += f"\n\n[The text goes on: offset {part.next_offset}, or name a heading.]"
    return tool_result(shown, result)


# --- The tools ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    name: str
    title: str
    description: str
    """`{book}` and `{about}` stand for those of `Server`."""
    arguments: type[msgspec.Struct]
    result: type[msgspec.Struct]
    run: Callable[[Call, Server, Any], Awaitable[Response]]
    repeatable: bool = True
    """Whether another call gives the same result."""


def _simple(
    run: Callable[[Server, Any], Awaitable[ToolResult]],
) -> Callable[[Call, Server, Any], Awaitable[Response]]:
    """A tool whose result is one JSON object."""

    async def answer(call: Call, server: Server, arguments: Any) -> Response:
        return respond(call.answer(await run(server, arguments), server))

    return answer


_TOOLS: Final = (
    _Tool(
        name="search_docs",
        title="Search the documentation",
        description="Search {book}. Returns the passages that fit best, each with its headings, "
        "its address and the page to read on. {about}",
        arguments=_SearchArguments,
        result=_SearchResult,
        run=_simple(_search),
    ),
    _Tool(
        name="read_page",
        title="Read a page of the documentation",
        description="Read a page of {book} as Markdown, or the part under one of its headings.",
        arguments=_ReadArguments,
        result=_ReadResult,
        run=_simple(_read),
    ),
    _Tool(
        name="ask",
        title="Ask the documentation",
        description="Ask a question about {book}. A language model answers from it, and links "
        "each claim to its source. Slower than a search; says so if the book has no answer.",
        arguments=AskArguments,
        result=AskResult,
        run=ask,
        repeatable=False,
    ),
)


async def list_tools(call: Call) -> Response:
    refuse_cursor(call)
    server = await describe_server()
    tools = [_describe(tool, server, name) for name, tool in _offered().items()]
    return respond(call.answer({"tools": tools}, server, cached=True))


class _CallParams(msgspec.Struct):
    name: str
    arguments: dict[str, msgspec.Raw] | None = None


async def call_tool(call: Call) -> Response:
    params = call.decode(_CallParams)
    tool = _offered().get(params.name)
    if tool is None:
        raise InvalidParams(f"There is no tool {shown(params.name)}.")
    server = await describe_server()
    try:
        arguments = decode_body(msgspec.json.encode(params.arguments or {}), tool.arguments)
        return await tool.run(call, server, arguments)
    except QuireError as error:
        services().metrics.count_failure(error.code)
        return respond(call.answer(tool_error(error.message), server))


def _offered() -> dict[str, _Tool]:
    """The tools by the names that clients know, always in the same order."""
    texts = services().settings.mcp_tools
    return {
        texts.get(tool.name, ToolText()).name or tool.name: tool
        for tool in _TOOLS
        if tool.name != "ask" or services().chat.model
    }


def _describe(tool: _Tool, server: Server, name: str) -> dict[str, Any]:
    own = services().settings.mcp_tools.get(tool.name, ToolText()).description
    return {
        "name": name,
        "title": tool.title,
        "description": own or tool.description.format(book=server.book, about=server.about).strip(),
        "inputSchema": _schema(tool.arguments),
        "outputSchema": _schema(tool.result),
        "annotations": {
            "title": tool.title,
            "readOnlyHint": True,
            "idempotentHint": tool.repeatable,
            "openWorldHint": False,
        },
    }


@functools.cache
def _schema(form: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema 2020-12 of an object, without references."""
    _, components = msgspec.json.schema_components([form], ref_template="{name}")
    return dict(_inline(components[form.__name__], components))


def _inline(schema: Any, components: Mapping[str, Any]) -> Any:
    """Models and clients read a schema better without references and names of our classes."""
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [_inline(each, components) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        own = {name: value for name, value in schema.items() if name != "$ref"}
        return {**_inline(components[schema["$ref"]], components), **own}
    return {
        name: {field: _inline(each, components) for field, each in value.items()}
        if name == "properties"
        else _inline(value, components)
        for name, value in schema.items()
        if name != "title"
    }
