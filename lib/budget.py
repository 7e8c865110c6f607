"""What a day may cost: reserved before a model is asked, settled when its answer has ended.

A reservation counts as its whole estimate until it is settled: one that never is, because a task
was cancelled or the process was killed, counts so for the rest of the day. So spending stays below
the budget but for what single answers take beyond their estimates. Days are those of UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

import msgspec

DAY: Final = 86_400  # seconds
MAX_READERS: Final = 50_000
NEAR: Final = 0.9
"""Of the budget, from where on the author may want to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a day may cost; 0 is no limit."""

    tokens: int = 0
    usd: float = 0.0
    reader_tokens: int = 0
    """Of one reader."""


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """How today's budget stands."""

    tokens: int
    tokens_reserved: Annotated[int, msgspec.Meta(description="For what is under way.")]
    tokens_limit: Annotated[int | None, msgspec.Meta(description="null: none.")]
    usd: Annotated[float, msgspec.Meta(description="Estimated.")]
    usd_reserved: float
    usd_limit: Annotated[float | None, msgspec.Meta(description="null: none.")]
    share: Annotated[float, msgspec.Meta(description="Spent and reserved, of the limit: 0 to 1.")]
    refused: Annotated[int, msgspec.Meta(description="What it had no room for.")]
    resets_at: Annotated[str, msgspec.Meta(description="ISO 8601.")]


class BudgetUsedUp(Exception):
    """The budget has no room for what was to be asked; nothing was."""


class Reservation(Protocol):
    """Room for one answer, or for one question's vector.

    The first of `settle` and `release` counts, later calls do nothing.
    """

    @property
    def tokens(self) -> int: ...

    def settle(self, tokens: int, usd: float | None) -> None:
        """The answer took so many tokens and US dollars; None: what was reserved."""

    def release(self) -> None:
        """Nothing was spent: the model was not asked, or could not be reached."""


class Budget(Protocol):
    """Today's spending."""

    @property
    def limits(self) -> Limits: ...

    async def open(self) -> None:
        """Take over what was spent earlier today, if it is known. Never raises."""

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> Reservation | None:
        """Room for at most `tokens` and `usd`; None where the budget has none left.

        `reader` is None for what counts for no reader of its own. `usd` is None where no price is
        known, for which a budget in money has no room. Raises `lib.errors.RedisUnavailable` where
        what replicas have spent together cannot be known.
        """

    def state(self) -> Spending: ...

    def near(self) -> bool:
        """Whether today's budget is used up, or will soon be."""

    async def close(self) -> None:
        """Write down what is not yet."""


def exceeds(amount: float, limit: float) -> bool:
    return bool(limit) and amount > limit


def share(limits: Limits, tokens: int, usd: float) -> float:
    """How much of the limits so much is: of the one that is reached first, 0 without any."""
    return max(
        tokens / limits.tokens if limits.tokens else 0.0,
        usd / limits.usd if limits.usd else 0.0,
    )


def midnight(day: int) -> str:
    """When a day ends, as ISO 8601."""
    return datetime.fromtimestamp((day + 1) * DAY, UTC).isoformat()
