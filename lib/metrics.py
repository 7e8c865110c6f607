"""Prometheus metrics. Each application has its own registry.

Callers cannot create label values: routes are URL rules, codes are those of `lib.errors`. Gauges
read the state of a budget or a queue when Prometheus scrapes.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

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

from lib import __version__, errors
from lib.events import NOT_IN_BOOK, Done

# Saves one line per metric with the time of its first value.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0
_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))
_CODES = sorted(
    each.code
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.QuireError)
)
_VOTES = ("up", "down")
_REASONS = ("none", "wrong", "incomplete", "unclear", "source", "other")


class Metrics:
    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("quire", "Version of Quire.", registry=registry).info({"version": __version__})
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, labelnames=("mode",), registry=registry)
        self._requests = counter(
            "quire_requests",
            "Requests by route, method and status. 499: the reader left before the answer.",
            ("route", "method", "status"),
        )
        self._failures = counter("quire_failures", "Errors and refusals by code.", ("code",))
        self._first = histogram(
            "quire_chat_first_token_seconds",
            "Seconds from the question to the first token, by mode.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60),
        )
        self._total = histogram(
            "quire_chat_seconds",
            "Seconds from the question to the end of a complete answer, by mode.",
            buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 900),
        )
        self._tokens = counter(
            "quire_tokens", "Tokens by kind: prompt, completion or embedding.", ("kind",)
        )
        self._cost = counter("quire_cost_usd", "Estimated cost in US dollars.")
        self._not_in_book = counter("quire_not_in_book", "Questions without an answer in the book.")
        self._votes = counter(
            "quire_votes", "Readers' votes on answers, by vote and reason.", ("vote", "reason")
        )
        self._gauges: dict[str, Gauge] = {}
        # In Prometheus, a series that begins with 1 did not increase.
        for code in _CODES:
            self._failures.labels(code)
        for kind in ("prompt", "completion", "embedding"):
            self._tokens.labels(kind)
        for vote, reason in product(_VOTES, _REASONS):
            self._votes.labels(vote, reason)

    def count_request(self, route: str, method: str, status: int) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()

    def count_failure(self, code: str) -> None:
        """Count an error by its `code` in `lib.errors`."""
        self._failures.labels(code).inc()

    def count_answer(self, done: Done, first: float | None) -> None:
        """Count a complete answer; `first`: seconds to its first token, if it was streamed."""
        mode = answer_mode(done)
        if first is not None:
            self._first.labels(mode).observe(first)
        self._total.labels(mode).observe(done.response_time)
        if done.finish_reason == NOT_IN_BOOK:
            self._not_in_book.inc()
        spent = done.usage
        for kind, count in (
            ("prompt", spent.prompt_tokens),
            ("completion", spent.completion_tokens),
            ("embedding", spent.embedding_tokens),
        ):
            self._tokens.labels(kind).inc(count)
        self._cost.inc(spent.cost_usd or 0.0)

    def count_vote(self, vote: str, reason: str) -> None:
        """Count a vote by its values in `lib.feedback.FeedbackRequest`."""
        self._votes.labels(vote, reason).inc()

    def gauge(self, name: str, help_text: str, read: Callable[[], float], **labels: str) -> None:
        """Register a gauge that calls `read` on each scrape, once for each set of labels."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, help_text, tuple(labels), registry=self._registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def answer_mode(done: Done) -> str:
    """How an answer was made: its `mode`, or "cached"."""
    return "cached" if done.usage.cached else done.mode
