"""Estimate what an answer costs, from its tokens and a table of prices.

Prices change, and only the provider's bill counts.

Why not the package genai-prices: importing it takes 0.7 s and 30 MB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

_MILLION: Final = 1_000_000
_USUAL_EMBEDDING_WEIGHT: Final = 0.05
"""That of text-embedding-3-small beside gpt-4.1-mini, for models without a price."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float = 0.0


PRICES: Final[dict[str, Price]] = {
    "gpt-4.1": Price(2.0, 8.0),
    "gpt-4.1-mini": Price(0.4, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.4),
    "gpt-4o": Price(2.5, 10.0),
    "gpt-4o-mini": Price(0.15, 0.6),
    "gpt-5": Price(1.25, 10.0),
    "gpt-5-mini": Price(0.25, 2.0),
    "gpt-5-nano": Price(0.05, 0.4),
    "gpt-5.1": Price(1.25, 10.0),
    "gpt-5.2": Price(1.75, 14.0),
    "gpt-5.4": Price(2.5, 15.0),
    "gpt-5.4-mini": Price(0.75, 4.5),
    "gpt-5.4-nano": Price(0.2, 1.25),
    "gpt-5.5": Price(5.0, 30.0),
    "gpt-5.6-luna": Price(0.2, 1.2),
    "gpt-5.6-sol": Price(4.0, 20.0),
    "gpt-5.6-terra": Price(2.0, 12.0),
    "gpt-6-luna": Price(0.1, 0.5),
    "gpt-6-sol": Price(2.0, 10.0),
    "gpt-6.1-sol": Price(2.0, 10.0),
    "gpt-6.1-terra": Price(1.0, 5.0),
    "text-embedding-3-large": Price(0.13),
    "text-embedding-3-small": Price(0.02),
}
"""OpenAI's prices in November 2026, for prompts below 272,000 tokens. `Settings.prices` adds to
them and replaces them."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and cost of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: Annotated[
        int, msgspec.Meta(description="Estimated; 0 for local embeddings and known questions.")
    ] = 0
    cached: Annotated[bool, msgspec.Meta(description="Whether the answer came from the cache.")] = (
        False
    )
    cost_usd: Annotated[
        float | None,
        msgspec.Meta(description="Estimated; null where the price is not known."),
    ] = 0.0


def price_usage(
    prices: Mapping[str, Price],
    *,
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    embedding_model: str = "",
    embedding_tokens: int = 0,
) -> Usage:
    """Join token counts with their cost; models that used no tokens cost nothing."""
    costs = (
        token_cost(prices.get(model), prompt_tokens, completion_tokens),
        token_cost(prices.get(embedding_model), embedding_tokens, 0),
    )
    known = [each for each in costs if each is not None]
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        embedding_tokens=embedding_tokens,
        cost_usd=round(sum(known), 8) if len(known) == len(costs) else None,
    )


def embedding_weight(model: Price | None, embedding: Price | None) -> float:
    """Prompt tokens of `model` that cost as much as one embedding token, at most 1."""
    if model is None or embedding is None or not model.input:
        return _USUAL_EMBEDDING_WEIGHT
    return min(1.0, embedding.input / model.input)


def token_cost(price: Price | None, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars; None if tokens were used and the price is unknown."""
    if not input_tokens and not output_tokens:
        return 0.0
    if price is None:
        return None
    return (price.input * input_tokens + price.output * output_tokens) / _MILLION
