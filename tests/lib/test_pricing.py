"""The estimated cost of an answer."""

import pytest

from lib.pricing import Price, embedding_weight, price_usage

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


@pytest.mark.parametrize(
    ("model", "embedding", "weight"),
    [
        (Price(0.4, 1.6), Price(0.02), 0.05),
        (Price(0.1, 0.1), Price(0.5), 1.0),
        (Price(0.4, 1.6), Price(0.0), 0.0),
        (Price(0.0, 0.0), Price(0.02), 0.05),
        (None, Price(0.02), 0.05),
        (Price(0.4), None, 0.05),
    ],
)
def test_an_embedding_token_counts_as_much_as_it_costs(
    model: Price | None, embedding: Price | None, weight: float
) -> None:
    assert embedding_weight(model, embedding) == pytest.approx(weight)
