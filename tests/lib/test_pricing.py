"""The estimated cost of an answer."""

import pytest

from lib.pricing import Price, price_usage

TABLE = {"writer": Price(2.0, 8.0), "vectors": Price(0.1)}


def test_cost_is_computed_from_the_table() -> None:
    found = price_usage(
        TABLE,
        model="writer",
        prompt_tokens=1_000,
        completion_tokens=100,
        embedding_model="vectors",
        embedding_tokens=20,
    )
    assert found.cost_usd == pytest.approx((2_000 + 800 + 2) / 1_000_000)
    assert (found.prompt_tokens, found.completion_tokens, found.embedding_tokens) == (
        1_000,
        100,
        20,
    )


def test_unused_models_cost_nothing() -> None:
    assert price_usage(TABLE, model="unknown", embedding_model="unknown").cost_usd == 0.0


@pytest.mark.parametrize("used", [{"completion_tokens": 1}, {"embedding_tokens": 1}])
def test_an_unknown_price_gives_no_cost(used: dict[str, int]) -> None:
    found = price_usage(TABLE, model="unknown", embedding_model="unknown", **used)
    assert found.cost_usd is None
