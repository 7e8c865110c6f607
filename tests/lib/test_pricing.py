"""What an answer is said to cost."""

import pytest

from lib.pricing import Price, price_usage

TABLE = {"writer": Price(2.0, 8.0), "vectors": Price(0.1)}


def test_tokens_cost_what_the_table_says() -> None:
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


def test_what_uses_no_token_costs_nothing_whatever_the_model() -> None:
    assert price_usage(TABLE, model="unknown", embedding_model="unknown").cost_usd == 0.0


@pytest.mark.parametrize("used", [{"completion_tokens": 1}, {"embedding_tokens": 1}])
def test_a_price_that_is_not_known_is_not_guessed(used: dict[str, int]) -> None:
    found = price_usage(TABLE, model="unknown", embedding_model="unknown", **used)
    assert found.cost_usd is None
