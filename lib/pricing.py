"""What an answer costs: its tokens, and money by a table of prices.

The table is an estimate for the author's eyes, not a bill: prices change, and only the provider
knows what it charges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float = 0.0


PRICES: Final[dict[str, Price]] = {
    "gpt-4.1": Price(2.0, 8.0),
    "gpt-4.1-mini": Price(0.4, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.4),
    "gpt-4o": Price(2.5, 10.0),
    "gpt-4o-mini": Price(0.15, 0.6),
    "text-embedding-3-large": Price(0.13),
    "text-embedding-3-small": Price(0.02),
}
"""As OpenAI published them in 2025. `Settings.prices` adds to them and replaces them."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: Annotated[
        int, msgspec.Meta(description="Estimated; 0 for local embeddings and known questions.")
    ] = 0
    cached: Annotated[bool, msgspec.Meta(description="Whether the answer was given before.")] = (
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
    """The tokens and what they cost: nothing where no token was used."""
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


def token_cost(price: Price | None, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars; None for tokens whose price is not known."""
    if not input_tokens and not output_tokens:
        return 0.0
    if price is None:
        return None
    return (price.input * input_tokens + price.output * output_tokens) / MILLION
