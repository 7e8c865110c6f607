from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from lib import __version__
from lib.events import Done
from lib.metrics import Metrics
from lib.pricing import Usage


def figures(metrics: Metrics) -> dict[str, float]:
    """By name and labels: `quire_tokens_total{kind=prompt}`."""
    return {
        sample.name
        + (
            f"{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}"
            if sample.labels
            else ""
        ): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def done(**changes: object) -> Done:
    values = {
        "session_id": "s",
        "response_time": 1.5,
        "tokens_used": 120,
        "finish_reason": "stop",
        "mode": "generated",
        "usage": Usage(prompt_tokens=100, completion_tokens=20, embedding_tokens=5, cost_usd=0.25),
    }
    return Done(**(values | changes))  # type: ignore[arg-type]


def test_two_in_one_process_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.count_failure("BUSY")
    assert figures(one)["quire_failures_total{code=BUSY}"] == 1
    assert figures(other)["quire_failures_total{code=BUSY}"] == 0


def test_what_an_answer_took() -> None:
    metrics = Metrics()
    metrics.count_answer(done(), 0.25)
    cached = Usage(embedding_tokens=5, cached=True, cost_usd=None)
    metrics.count_answer(done(usage=cached), None)
    metrics.count_answer(done(mode="none", finish_reason="not_in_book", usage=Usage()), 0.1)
    told = figures(metrics)
    for name, value in {
        "quire_tokens_total{kind=prompt}": 100,
        "quire_tokens_total{kind=completion}": 20,
        "quire_tokens_total{kind=embedding}": 10,
        "quire_cost_usd_total": 0.25,
        "quire_not_in_book_total": 1,
        "quire_chat_first_token_seconds_count{mode=generated}": 1,
        "quire_chat_first_token_seconds_bucket{le=0.2,mode=generated}": 0,
        "quire_chat_first_token_seconds_bucket{le=0.3,mode=generated}": 1,
        "quire_chat_seconds_count{mode=cached}": 1,
        "quire_chat_seconds_sum{mode=generated}": 1.5,
    }.items():
        assert told[name] == value, name
    assert "quire_chat_first_token_seconds_count{mode=cached}" not in told


def test_a_method_that_was_invented_is_no_label() -> None:
    metrics = Metrics()
    for n in range(100):
        metrics.count_request("other", f"INVENTED{n}", 405)
    assert figures(metrics)["quire_requests_total{method=other,route=other,status=405}"] == 100


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    metrics, level = Metrics(), {"model": 1.0, "store": 0.0}
    for name in level:
        metrics.gauge(
            "quire_breaker_open", "Whether.", partial(level.__getitem__, name), service=name
        )
    level["store"] = 5
    told = figures(metrics)
    assert told["quire_breaker_open{service=model}"] == 1
    assert told["quire_breaker_open{service=store}"] == 5


def test_the_program_and_its_process_are_told() -> None:
    told = figures(Metrics())
    assert told[f"quire_info{{version={__version__}}}"] == 1
    assert told["process_resident_memory_bytes"] > 1e6
    assert told["process_open_fds"] > 2
