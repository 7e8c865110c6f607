"""Stream answers from any server with OpenAI's chat-completions API.

Server-sent events are parsed here without an object per token. With a hundred concurrent readers
the openai client takes four times the processor time, and first tokens arrive seconds later.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from lib.errors import upstream_error
from lib.resilience import Breaker
from lib.runtime import SingleFlight, network_errors, open_http
from lib.settings import Settings

if TYPE_CHECKING:
    import aiohttp

_log = logging.getLogger(__name__)

_SERVICE = "The language model"
_IDLE_SECONDS = 15.0
"""Yield `Idle` after this much silence, so that the caller can keep the reader's connection."""
_PROBE_TIMEOUT = 2.0
_MAX_LINE_BYTES = 1_000_000
"""The line of a token has some hundred bytes."""
_MAX_TOKENS = 100_000_000

_FEW_STREAMS: Final = 20
"""Up to this many streams are not paced. The first token is never delayed."""
_MANY_STREAMS: Final = 100
"""Above this many, pauses get longer, and several tokens arrive during one."""
_PAUSE: Final = 0.04
"""Seconds between two deltas, up to `_MANY_STREAMS`: 25 updates a second look smooth."""
_PAUSE_PER_STREAM: Final = 0.0004
_MAX_PAUSE: Final = 0.25
_TICK: Final = 0.01
"""Seconds between two wake-ups. With longer ticks, more streams would wake in the same moment and
delay other work."""


class PromptMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of text: all tokens that arrived in one read."""

    text: str


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing arrived for `_IDLE_SECONDS`; the stream goes on."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a complete answer. Exactly once, last."""

    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


def make_model(settings: Settings) -> "ChatModel | None":
    """The configured language model; None if there is none."""
    if not settings.has_model:
        return None
    return ChatModel(
        api_key=settings.openai_api_key,
        base_url=settings.model_base_url,
        name=settings.openai_model,
        token_limit_field=settings.token_limit_field,
        max_tokens=settings.max_output_tokens,
        timeout=settings.openai_timeout,
    )


def model_breaker() -> Breaker:
    """Circuit breaker without a time limit: a local model may think before its first token."""
    return Breaker(upstream_error(_SERVICE, 408))


class ChatModel:
    """One language model, and the connection pool to its server (opened on first use)."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        name: str,
        token_limit_field: str,
        max_tokens: int,
        timeout: float = 30.0,
    ) -> None:
        """`timeout`: seconds, for the first token and between tokens."""
        self.name = name
        self.pacer = _Pacer()
        self._url = f"{base_url}/chat/completions"
        self._models_url = f"{base_url}/models"
        self._headers = {"Authorization": f"Bearer {api_key or 'none'}"}
        self._options = {token_limit_field: max_tokens}
        self._timeout = timeout
        self._http = SingleFlight(open_http)

    async def load(self) -> None:
        """Import the HTTP client, so that the first reader does not wait. Sends no request."""
        await self._http.get()

    async def generate(
        self, messages: Sequence[PromptMessage]
    ) -> AsyncGenerator[Delta | Idle | Finish, None]:
        """Stream the answer to `messages`. Closing the iterator closes the connection.

        Raises `lib.errors.UpstreamError` if the server cannot be reached, refuses, stops midway, or
        ends without a finish_reason.
        """
        body = msgspec.json.encode(
            {
                "model": self.name,
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
                **self._options,
            }
        )
        del messages
        http = await self._http.get()
        self.pacer.streams += 1
        response = _StreamedResponse(self._post(http, body))
        del body  # with hundreds of open streams, prompts would take most of the memory
        parser, silent = _EventParser(), 0.0
        try:
            while True:
                wait = min(_IDLE_SECONDS, self._timeout - silent)
                data = await response.read(wait, hold=self.pacer.streams > _MANY_STREAMS)
                if data is None:
                    silent += wait
                    if silent >= self._timeout:
                        raise TimeoutError
                    yield Idle()
                    continue
                if not data:
                    break
                silent = 0.0
                text = parser.feed(data)
                del data  # not needed while the reader receives the text
                if text:
                    yield Delta(text)
                if parser.failed:
                    raise upstream_error(_SERVICE, 500)
            yield parser.finish()
        except network_errors():
            raise upstream_error(_SERVICE) from None
        finally:
            self.pacer.streams -= 1
            await response.close()

    async def reachable(self) -> bool:
        """Whether the server lists its models. Costs no token and takes two seconds at most."""
        http = await self._http.get()
        try:
            async with (
                asyncio.timeout(_PROBE_TIMEOUT),
                http.get(self._models_url, headers=self._headers) as response,
            ):
                return response.status < 500 and response.status not in (401, 403)
        except network_errors():
            return False

    async def close(self) -> None:
        await self._http.cancel()  # else a session that is still being opened would stay open
        if self._http.value is not None:
            await self._http.value.close()

    async def _post(self, http: "aiohttp.ClientSession", body: bytes) -> "aiohttp.ClientResponse":
        headers = {**self._headers, "Content-Type": "application/json"}
        return await http.post(self._url, data=body, headers=headers)


class _StreamedResponse:
    """The response to a request, read as it arrives."""

    __slots__ = ("_held", "_request", "_response")

    def __init__(self, request: "Coroutine[Any, Any, aiohttp.ClientResponse]") -> None:
        self._request = asyncio.create_task(request)
        self._response: aiohttp.ClientResponse | None = None
        self._held: asyncio.Transport | None = None

    async def read(self, seconds: float, *, hold: bool = False) -> bytes | None:
        """The bytes that have arrived; empty at the end, None after `seconds` of silence.

        With `hold`, the socket is not read again before the next call. Further tokens wait in the
        system's buffer and are read together, instead of waking the event loop for each. Raises
        `lib.errors.UpstreamError` if the server refuses.
        """
        if self._response is None:
            await asyncio.wait((self._request,), timeout=seconds)
            if not self._request.done():
                return None
            self._response = self._request.result()
            if self._response.status != 200:
                raise upstream_error(_SERVICE, self._response.status)
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
        # A complete response has given its connection back to the pool, where others may use it.
        if connection and connection.transport:
            self._held = connection.transport
            self._held.pause_reading()
        return data

    async def close(self) -> None:
        """Close the connection in any state."""
        # A callback, because the caller may be cancelled again while waiting here.
        self._request.add_done_callback(_close_response)
        self._request.cancel()
        await asyncio.wait((self._request,))


def _close_response(request: "asyncio.Task[aiohttp.ClientResponse]") -> None:
    if not request.cancelled() and not request.exception():
        # Close instead of release: a model goes on generating, at a cost, while the connection is
        # open.
        request.result().close()


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _TokenCounts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def plausible(self) -> bool:
        """These counts are charged to the budget."""
        counts = (self.prompt_tokens, self.completion_tokens)
        return all(tokens is None or 0 <= tokens <= _MAX_TOKENS for tokens in counts)


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _TokenCounts | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode_event = msgspec.json.Decoder(_Event).decode


class _EventParser:
    """Incremental parser of the server-sent events of one answer."""

    __slots__ = ("_finish_reason", "_rest", "_skipped", "_usage", "failed")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipped = False
        self._finish_reason: str | None = None
        self._usage = _TokenCounts()
        self.failed = False
        """The server sent an error or an endless line. Nothing is parsed any more."""

    def feed(self, data: bytes) -> str:
        """The text in the lines that are now complete."""
        whole, line_break, rest = data.rpartition(b"\n")
        if line_break:
            lines = bytes(self._rest + whole).split(b"\n")
            self._rest.clear()
        else:
            lines = []
        self._rest += rest
        self.failed = len(self._rest) > _MAX_LINE_BYTES
        texts: list[str] = []
        for line in lines:
            event = self._parse_line(line)
            if event is None:
                continue
            if bytes(event.error) != b"null":
                self.failed = True
                break
            self._usage = event.usage or self._usage
            for choice in event.choices[:1]:
                if choice.delta.content:
                    texts.append(choice.delta.content)
                self._finish_reason = choice.finish_reason or self._finish_reason
        return "".join(texts)

    def finish(self) -> Finish:
        """Raises `UpstreamError` without a finish_reason: the answer is broken, not short."""
        if self._finish_reason is None:
            raise upstream_error(_SERVICE)
        usage = self._usage if self._usage.plausible else _TokenCounts()
        return Finish(self._finish_reason, usage.prompt_tokens, usage.completion_tokens)

    def _parse_line(self, line: bytes) -> _Event | None:
        """None for lines without an event."""
        payload = line[5:].strip() if line.startswith(b"data:") else b""
        if payload in (b"", b"[DONE]"):
            return None
        try:
            return _decode_event(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if not self._skipped:  # there may be thousands
                _log.warning("skipped a line from the language model that is not a valid event")
            self._skipped = True
            return None


class _Pacer:
    """Pace many streams of one server: read each less often, and wake them together.

    One read, one event and one write then serve several tokens. Streams that are due at about the
    same time share a timer. A hundred timers would wake the event loop thousands of times a second.
    """

    def __init__(self) -> None:
        self.streams = 0
        """Number of open streams, kept by the caller."""
        self._wakeups: dict[int, asyncio.Event] = {}

    async def wait(self) -> None:
        """Wait as long as two deltas of a stream should be apart."""
        pause = _pause_seconds(self.streams)
        if not pause:
            return
        loop = asyncio.get_running_loop()
        tick = _nearest_tick(loop.time() + pause)
        wakeup = self._wakeups.get(tick)
        if wakeup is None:
            wakeup = self._wakeups[tick] = asyncio.Event()
            loop.call_at(tick * _TICK, lambda: self._wakeups.pop(tick).set())
        await wakeup.wait()


def _nearest_tick(time: float) -> int:
    return round(time / _TICK)


def _pause_seconds(streams: int) -> float:
    if streams <= _FEW_STREAMS:
        return 0.0
    extra = _PAUSE_PER_STREAM * max(0, streams - _MANY_STREAMS)
    return min(_MAX_PAUSE, _PAUSE + extra)
