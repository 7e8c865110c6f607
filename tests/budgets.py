"""Helpers for the budget tests."""

from lib.budget import DAY, Budget, Reservation, Spending
from lib.replicas.budget import RedisBudget
from tests.clock import Clock

LAPSE_SECONDS = 600.0


def clock_at_noon() -> Clock:
    """Return a clock at noon UTC of a Friday in 2024."""
    return Clock(20_000 * DAY + DAY / 2)


async def current_spending(budget: Budget) -> Spending:
    """Return the spending, refreshed from Redis if the budget is shared."""
    if isinstance(budget, RedisBudget):
        await budget.refresh()
    return budget.state()


async def reserve(budget: Budget, tokens: int, usd: float = 0.0, reader: str = "a") -> Reservation:
    reservation = await budget.reserve(reader, tokens, usd)
    assert reservation is not None
    return reservation


async def run_steps(budget: Budget, steps: list[tuple[int, int, int]]) -> None:
    """Reserve, settle and release at random, and check the totals after each step.

    A step is (kind, tokens, which): kinds 0 and 1 reserve, 2 settles, others release. No
    answer uses more than its reservation.
    """
    running: list[Reservation] = []
    spent = 0
    for kind, tokens, which in steps:
        if kind < 2:
            reservation = await budget.reserve("ab"[which % 2], tokens, tokens / 200)
            running += [reservation] if reservation else []
        elif running:
            reservation = running.pop(which % len(running))
            used = min(tokens, reservation.tokens)
            spent += used if kind == 2 else 0
            reservation.settle(used, used / 200) if kind == 2 else reservation.release()
        state = await current_spending(budget)
        assert state.tokens == spent
        assert state.tokens_reserved == sum(each.tokens for each in running)
        assert state.tokens + state.tokens_reserved <= 100
        assert state.usd + state.usd_reserved <= 0.5 + 1e-6
