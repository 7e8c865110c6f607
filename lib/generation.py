"""The answer as a stream of deltas, from any server that speaks OpenAI's chat completions.

The bytes are read here and parsed by `lib.generation`: with a hundred readers at once the
openai client's own loop costs four times as much processor time, and its first tokens come seconds
later.

How often each of many streams is passed on.

With more of them, each is read a little less often, so that one read, one event and one write serve
several tokens. And those that are read next wait for the same moment: a hundred of them, each with
a timer of its own, would wake the event loop thousands of times a second.

The server-sent events of OpenAI's chat completions, parsed with no object for a token.

With a hundred readers at once, those would cost more than all the rest.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
import msgspec

from lib.errors import upstream_error
from lib.resilience import Breaker
from lib.runtime import SingleFlight
from lib.settings import Settings

FEW_STREAMS: Final = 20
"""So many at once are passed on as they come. The first token never waits."""
PAUSE: Final = 0.04
"""Seconds, up to `MANY_STREAMS`: text that grows 25 times a second grows steadily to the eye."""
MANY_STREAMS: Final = 100
PAUSE_PER_STREAM: Final = 0.0004
LONGEST_PAUSE: Final = 0.25
"""Readers see text grow four times a second at the least."""
TICK: Final = 0.01
"""Seconds between two moments; with longer ones, more streams at once would keep others waiting."""


class Pacer:
    """Lets the streams of one server wait together."""

    def __init__(self) -> None:
        self.streams = 0
        """That are open; whoever opens one counts it here."""
        self._moments: dict[int, asyncio.Event] = {}

    @property
    def crowded(self) -> bool:
        """Whether pauses are so long that several tokens come in one."""
        return self.streams > MANY_STREAMS

    async def wait(self) -> None:
        """Let the time pass that is to lie between two pieces of a stream, if any."""
        pause = pause_among(self.streams)
        if not pause:
            return
        loop = asyncio.get_running_loop()
        number = moment(loop.time(), pause)
        come = self._moments.get(number)
        if come is None:
            come = self._moments[number] = asyncio.Event()
            loop.call_at(number * TICK, self._wake, number)
        await come.wait()

    def _wake(self, number: int) -> None:
        self._moments.pop(number).set()


def moment(now: float, seconds: float) -> int:
    """The number of the moment that is nearest to `seconds` from `now`."""
    return round((now + seconds) / TICK)


def pause_among(streams: int) -> float:
    """Seconds between two pieces of one of so many streams."""
    if streams <= FEW_STREAMS:
        return 0.0
    more = PAUSE_PER_STREAM * max(0, streams - MANY_STREAMS)
    return min(LONGEST_PAUSE, PAUSE + more)


log = logging.getLogger(__name__)

LONGEST_LINE = 1_000_000  # bytes; a token's line has some hundreds
MOST_TOKENS = 100_000_000


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    """What the server says that an answer took."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def credible(usage: Usage) -> bool:
    """Whether an answer can have taken so many tokens: what is told is paid from the budget."""
    told = (usage.prompt_tokens, usage.completion_tokens)
    return all(tokens is None or 0 <= tokens <= MOST_TOKENS for tokens in told)


class EventReader:
    """What the lines of a stream say, as far as they have come."""

    __slots__ = ("_rest", "failed", "finish", "usage")

    def __init__(self) -> None:
        self._rest = b""
        self.finish: str | None = None
        """Why the answer ended."""
        self.usage = Usage()
        self.failed = False
        """The server said so, or sends a line without end; nothing is read any more."""

    def feed(self, data: bytes) -> str:
        """The text in the lines that are whole now."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self.failed = len(self._rest) > LONGEST_LINE
        texts: list[str] = []
        for line in lines:
            event = read_line(line)
            if event is None:
                continue
            if event.error is not None:
                self.failed = True
                break
            self.usage = event.usage or self.usage
            for choice in event.choices[:1]:
                if choice.delta.content:
                    texts.append(choice.delta.content)
                self.finish = choice.finish_reason or self.finish
        return "".join(texts)


def read_line(line: bytes) -> _Event | None:
    """The event of one line of the stream; None for all that carries none."""
    if not line.startswith(b"data:"):
        return None
    payload = line[5:].strip()
    if payload in (b"", b"[DONE]"):
        return None
    try:
        return _decode_event(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        log.warning("the language model sent a line that is no event; it was left out")
        return None


SERVICE = "The language model"
CONNECT_TIMEOUT = 5.0  # seconds
IDLE_SECONDS = 15.0  # of silence, after which the caller may tell the reader that all is well
PROBE_TIMEOUT = 2.0


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


class Incoming:
    """The body of an answer that was asked for, as it comes in."""

    __slots__ = ("_held", "_request", "_response")

    def __init__(self, request: "Coroutine[Any, Any, aiohttp.ClientResponse]") -> None:
        self._request = asyncio.create_task(request)
        self._response: aiohttp.ClientResponse | None = None
        self._held: asyncio.Transport | None = None

    async def read(self, seconds: float, *, hold: bool = False) -> bytes | None:
        """What has come; empty at the end; None where nothing comes for so many seconds.

        With `hold`, nothing more is taken from the connection before the next read: what comes then
        waits in the system's buffer and is taken at once, instead of waking the event loop for
        every token. Raises `lib.errors.UpstreamError` where the server refuses.
        """
        if self._response is None:
            await asyncio.wait((self._request,), timeout=seconds)
            if not self._request.done():
                return None
            self._response = self._request.result()
            if self._response.status != 200:
                raise upstream_error(SERVICE, self._response.status)
        if self._held:
            self._held.resume_reading()
            self._held = None
        data = self._response.content.read_nowait()
        if not data:
            try:
                async with asyncio.timeout(seconds):
                    data = await self._response.content.readany()
            except TimeoutError:
                return None
        connection = self._response.connection if hold else None
        if connection and connection.transport:  # else all has come, and others may be using it
            self._held = connection.transport
            self._held.pause_reading()
        return data

    async def close(self) -> None:
        """Break the connection off, however far it has come."""
        # Called back, since who waits here may be cancelled once more.
        self._request.add_done_callback(close_response)
        self._request.cancel()
        await asyncio.wait((self._request,))


def close_response(asked: "asyncio.Task[aiohttp.ClientResponse]") -> None:
    """Close the connection, whatever became of the request."""
    if not asked.cancelled() and not asked.exception():
        # Not released but closed: a model goes on generating, and is paid, as long as the
        # connection stands.
        asked.result().close()


class ChatModel:
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
        self.pacer = Pacer()
        self._http = SingleFlight(self._connect)

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
        self.pacer.streams += 1
        incoming = Incoming(self._request(http, body))
        del body  # with hundreds of streams open, prompts would take most of the memory
        events, silent = EventReader(), 0.0
        try:
            while True:
                wait = min(IDLE_SECONDS, self._silence - silent)
                data = await incoming.read(wait, hold=self.pacer.crowded)
                if data is None:
                    silent += wait
                    if silent >= self._silence:
                        raise TimeoutError
                    yield Idle()
                    continue
                if not data:
                    break
                silent = 0.0
                text = events.feed(data)
                del data  # nor what a text came in, while its reader has it
                if text:
                    yield Delta(text)
                if events.failed:
                    raise upstream_error(SERVICE, 500)
            yield ended(events)
        except network_errors():
            raise upstream_error(SERVICE) from None
        finally:
            self.pacer.streams -= 1
            await incoming.close()

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

    async def _request(
        self, http: "aiohttp.ClientSession", body: bytes
    ) -> "aiohttp.ClientResponse":
        headers = {**self._headers, "Content-Type": "application/json"}
        return await http.post(self._url, data=body, headers=headers)

    async def _connect(self) -> "aiohttp.ClientSession":
        # The import takes a tenth of a second: not on the event loop, and not without a model.
        await asyncio.to_thread(__import__, "aiohttp")
        await asyncio.to_thread(__import__, "encodings.idna")  # for the first host to be looked up
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            # Silence is watched by who reads: a timer set anew for each packet costs as much as to
            # read it.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            auto_decompress=True,
        )


def network_errors() -> tuple[type[Exception], ...]:
    """What a connection may fail with."""
    import aiohttp

    return aiohttp.ClientError, TimeoutError, OSError


def make_generator(settings: Settings) -> ChatModel | None:
    """The generator of the configured model, None where there is none."""
    if not settings.has_model:
        return None
    return ChatModel(
        api_key=settings.openai_api_key,
        base_url=settings.model_base_url,
        model=settings.openai_model,
        token_limit_field=settings.token_limit_field,
        max_tokens=settings.max_output_tokens,
        silence=settings.openai_timeout,
    )


def ended(events: EventReader) -> Finish:
    """Raises `UpstreamError` for an end of the body without a finish_reason: it is a broken answer,
    not a short one."""
    if events.finish is None:
        raise upstream_error(SERVICE)
    usage = events.usage if credible(events.usage) else Usage()
    return Finish(events.finish, usage.prompt_tokens, usage.completion_tokens)


def model_breaker() -> Breaker:
    """Without patience: a model of one's own may think for a while before its first word."""
    return Breaker(upstream_error(SERVICE, 408))
