"""Figures for Prometheus. Each application has a registry of its own.

No label takes a value that a caller could invent: routes are rules, codes are those of
`lib.errors`. What changes by itself (a budget, a queue) is read when Prometheus asks, through
`Metrics.gauge`.
"""

from collections.abc import Callable
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest

from lib import __version__
from lib.events import Done, Event, Failed, TextDelta
from lib.logs import exchange

# Else each figure would have a line more, with the time of its first value.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0
METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))
FIRST_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60)
TOTAL_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 900)


class Metrics:
    """What is counted, and the text that tells it."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("quire", "The program.", registry=registry).info({"version": __version__})
        self._requests = Counter(
            "quire_requests",
            "Requests by route, method and status; 499: the reader left before the answer.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._failures = Counter(
            "quire_failures", "Refusals and errors by code.", ("code",), registry=registry
        )
        self._first = Histogram(
            "quire_chat_first_token_seconds",
            "From the question to the first piece of text, by mode.",
            ("mode",),
            buckets=FIRST_SECONDS,
            registry=registry,
        )
        self._total = Histogram(
            "quire_chat_seconds",
            "From the question to the end of a complete answer, by mode.",
            ("mode",),
            buckets=TOTAL_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "quire_tokens",
            "Tokens used: prompt, completion, embedding.",
            ("kind",),
            registry=registry,
        )
        self._cost = Counter("quire_cost_usd", "Estimated, in US dollars.", registry=registry)
        self._not_in_book = Counter(
            "quire_not_in_book", "Questions that the book does not answer.", registry=registry
        )
        self._gauges: dict[str, Gauge] = {}

    def request(self, route: str, method: str, status: int) -> None:
        """A request is over."""
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()

    def failure(self, code: str) -> None:
        """Someone was refused, or something failed; `code` as in `lib.errors`."""
        self._failures.labels(code).inc()

    def answered(self, done: Done, first: float | None) -> None:
        """A whole answer; `first`: seconds to its first piece of text."""
        mode = mode_of(done)
        if first is not None:
            self._first.labels(mode).observe(first)
        self._total.labels(mode).observe(done.response_time)
        if done.finish_reason == "not_in_book":
            self._not_in_book.inc()
        spent = done.usage
        for kind, count in (
            ("prompt", spent.prompt_tokens),
            ("completion", spent.completion_tokens),
            ("embedding", spent.embedding_tokens),
        ):
            self._tokens.labels(kind).inc(count)
        self._cost.inc(spent.cost_usd or 0.0)

    def gauge(self, name: str, about: str, read: Callable[[], float], **labels: str) -> None:
        """A figure that `read` tells whenever it is asked for. Once for each set of labels."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, about, tuple(labels), registry=self._registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


def mode_of(done: Done) -> str:
    return "cached" if done.usage.cached else done.mode


class Watch:
    """Counts how one answer goes, and notes it for the access log, as its events are shown here."""

    __slots__ = ("_first", "_metrics", "_note", "_started", "_streamed")

    def __init__(self, metrics: Metrics, started: float, *, streamed: bool) -> None:
        """`started` is the question's, by `time.perf_counter`. Only what is streamed has a first
        piece."""
        self._metrics = metrics
        self._started = started
        self._streamed = streamed
        self._first: float | None = None
        self._note = exchange.get()

    def see(self, event: Event) -> None:
        match event:
            case TextDelta() if self._streamed and self._first is None:
                self._first = perf_counter() - self._started
                if self._note:
                    self._note.first = self._first
            case Done():
                self._metrics.answered(event, self._first)
                if self._note:
                    self._note.mode, self._note.tokens = mode_of(event), event.tokens_used
            case Failed():
                self._metrics.failure(event.code)
                if self._note:
                    self._note.mode = event.code.lower()
