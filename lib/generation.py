"""The answer as a stream of deltas, from any server that speaks OpenAI's chat completions.

The bytes are read here and parsed by `lib.completion_events`: with a hundred readers at once the
openai client's own loop costs four times as much processor time, and its first tokens come seconds
later.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from lib.completion_events import EventReader, Usage, credible
from lib.once import Once
from lib.settings import Settings
from lib.upstream import upstream_error

if TYPE_CHECKING:
    import aiohttp

SERVICE = "The language model"
CONNECT_TIMEOUT = 5.0  # seconds
IDLE_SECONDS = 15.0  # of silence, after which the caller may tell the reader that all is well
PROBE_TIMEOUT = 2.0
FEW_STREAMS = 20
"""So many at once are passed on as they come; with more, each is read a little less often, so that
one read, one event and one write serve several tokens. The first token never waits."""
PAUSE = 0.04
"""Seconds, up to `MANY_STREAMS`: text that grows 25 times a second grows steadily to the eye."""
MANY_STREAMS = 100
PAUSE_PER_STREAM = 0.0004
LONGEST_PAUSE = 0.25
"""Readers see text grow four times a second at the least."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of text: all that came in one read."""

    text: str


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing came for a while; the stream goes on."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end, told by the server. Exactly once, last."""

    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class PromptMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Generator:
    """Asks one model. Holds a pool of connections, opened on first use."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        model: str,
        token_limit_field: str,
        max_tokens: int,
        silence: float = 30.0,
    ) -> None:
        """`silence`: seconds without a byte, before the first token or between two, to bear."""
        self.model = model
        self._url = f"{base_url}/chat/completions"
        self._models_url = f"{base_url}/models"
        self._headers = {"Authorization": f"Bearer {api_key or 'none'}"}
        self._options = {token_limit_field: max_tokens}
        self._silence = silence
        self._streams = 0
        """That are open."""
        self._http = Once(self._connect)

    async def load(self) -> None:
        """Get ready, so that the first reader does not wait for it. Asks nothing."""
        await self._http.get()

    async def generate(
        self, messages: Sequence[PromptMessage]
    ) -> AsyncGenerator[Delta | Idle | Finish, None]:
        """Stream the answer to `messages`. Closing the iterator closes the connection.

        Raises `lib.errors.UpstreamError` when the server cannot be reached, refuses, breaks off,
        or ends without saying that it is done.
        """
        body = msgspec.json.encode(
            {
                "model": self.model,
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
                **self._options,
            }
        )
        del messages
        http = await self._http.get()
        self._streams += 1
        try:
            async with self._request(http, body) as request:
                del body  # with hundreds of streams open, prompts would take most of the memory
                silent = 0.0
                while not request.done():
                    wait = min(IDLE_SECONDS, self._silence - silent)
                    await asyncio.wait((request,), timeout=wait)
                    if not request.done():
                        silent += wait
                        if silent >= self._silence:
                            raise TimeoutError
                        yield Idle()
                response = request.result()
                if response.status != 200:
                    raise upstream_error(SERVICE, response.status)
                async with aclosing(read_stream(response.content, self._silence)) as pieces:
                    async for piece in pieces:
                        yield piece
        except network_errors():
            raise upstream_error(SERVICE) from None
        finally:
            self._streams -= 1

    def pause(self) -> float:
        """Seconds to let pass before the next piece of a stream is asked for."""
        return pause_among(self._streams)

    async def reachable(self) -> bool:
        """Whether the server lists its models: costs no token, two seconds at most."""
        http = await self._http.get()
        try:
            async with (
                asyncio.timeout(PROBE_TIMEOUT),
                http.get(self._models_url, headers=self._headers) as response,
            ):
                return response.status < 500 and response.status not in (401, 403)
        except network_errors():
            return False

    async def close(self) -> None:
        if self._http.value is not None:
            await self._http.value.close()

    @asynccontextmanager
    async def _request(
        self, http: "aiohttp.ClientSession", body: bytes
    ) -> "AsyncIterator[asyncio.Task[aiohttp.ClientResponse]]":
        """The request under way, closed at the end whatever state it is in."""
        headers = {**self._headers, "Content-Type": "application/json"}

        async def send(data: bytes) -> "aiohttp.ClientResponse":
            return await http.post(self._url, data=data, headers=headers)

        task = asyncio.create_task(send(body))
        del body
        try:
            yield task
        finally:
            # Called back, since who waits here may be cancelled once more.
            task.add_done_callback(close_response)
            task.cancel()
            await asyncio.wait((task,))

    async def _connect(self) -> "aiohttp.ClientSession":
        # The import takes a tenth of a second: not on the event loop, and not without a model.
        await asyncio.to_thread(__import__, "aiohttp")
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            # Silence is watched by who reads: a timer set anew for each packet costs as much as to
            # read it.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            auto_decompress=True,
        )


def close_response(asked: "asyncio.Task[aiohttp.ClientResponse]") -> None:
    """Close the connection, whatever became of the request."""
    if not asked.cancelled() and not asked.exception():
        # Not released but closed: a model goes on generating, and is paid, as long as the
        # connection stands.
        asked.result().close()


def network_errors() -> tuple[type[Exception], ...]:
    """What a connection may fail with."""
    import aiohttp

    return aiohttp.ClientError, TimeoutError, OSError


def pause_among(streams: int) -> float:
    """Seconds between two pieces of one of so many streams."""
    if streams <= FEW_STREAMS:
        return 0.0
    more = PAUSE_PER_STREAM * max(0, streams - MANY_STREAMS)
    return min(LONGEST_PAUSE, PAUSE + more)


def make_generator(settings: Settings) -> Generator | None:
    """The generator of the configured model, None where there is none."""
    if not settings.has_model:
        return None
    return Generator(
        api_key=settings.openai_api_key,
        base_url=settings.model_base_url,
        model=settings.openai_model,
        token_limit_field=settings.token_limit_field,
        max_tokens=settings.max_output_tokens,
        silence=settings.openai_timeout,
    )


async def read_stream(
    content: "aiohttp.StreamReader", silence: float
) -> AsyncGenerator[Delta | Idle | Finish, None]:
    """Parse server-sent events from `content`. Raises TimeoutError after `silence` seconds."""
    events, silent = EventReader(), 0.0
    while True:
        data = content.read_nowait()
        if not data:
            wait = min(IDLE_SECONDS, silence - silent)
            try:
                async with asyncio.timeout(wait):
                    data = await content.readany()
            except TimeoutError:
                silent += wait
                if silent >= silence:
                    raise
                yield Idle()
                continue
        if not data:
            break
        silent = 0.0
        text = events.feed(data)
        del data  # while the reader has the text, hundreds of streams would hold what it came in
        if text:
            yield Delta(text)
        if events.failed:
            raise upstream_error(SERVICE, 500)
    if events.finish is None:
        # A clean end of the body without a finish_reason is a broken answer, not a short one.
        raise upstream_error(SERVICE)
    usage = events.usage if credible(events.usage) else Usage()
    yield Finish(events.finish, usage.prompt_tokens, usage.completion_tokens)
