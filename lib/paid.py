"""What readers' questions cost, paid from the budget of the day: the model's answer, the vector."""

from collections.abc import Sequence
from math import ceil
from types import TracebackType

from lib.budget import Budget, BudgetUsedUp, Reservation
from lib.embedding import AroundEmbedder, Embedder, Vectors
from lib.errors import UpstreamError
from lib.generation import Delta, Finish, Idle, PromptMessage
from lib.pricing import Price, cost
from lib.tokens import estimate_tokens

MESSAGE_TOKENS = 4
"""What the form of a message takes besides its text."""
MARGIN = 1.1
"""The estimate is too low for some languages."""


class Payment:
    """What an answer of the model may cost at the most, reserved while it is written: a context.

    An answer that breaks off, or whose reader leaves, counts whole: what was thought and not said
    is billed too.
    """

    __slots__ = ("_begun", "_came", "_price", "_reservation")

    def __init__(self, reservation: Reservation, price: Price | None) -> None:
        self._reservation = reservation
        self._price = price
        self._came = self._begun = False

    def see(self, piece: Delta | Idle | Finish) -> None:
        """To be told of each piece of the answer."""
        self._came = True
        if isinstance(piece, Idle):
            return
        self._begun = True
        if isinstance(piece, Finish) and piece.prompt_tokens is not None:
            completion = piece.completion_tokens or 0
            spent = cost(self._price, piece.prompt_tokens, completion)
            self._reservation.settle(piece.prompt_tokens + completion, spent)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Spared by the breaker, not reached, or refused. A silence of some length may be billed.
        if isinstance(error, UpstreamError) and (
            not self._came or (not self._begun and "upstream_status" in error.details)
        ):
            self._reservation.release()
        self._reservation.settle(self._reservation.tokens, None)


async def payment(
    budget: Budget,
    messages: Sequence[PromptMessage],
    *,
    reader: str,
    max_tokens: int,
    price: Price | None,
) -> Payment:
    """For the answer to `messages`. Raises `BudgetUsedUp` besides what the budget raises."""
    prompt = prompt_tokens(messages)
    most = cost(price, prompt, max_tokens)
    reservation = await budget.reserve(reader, prompt + max_tokens, most)
    if reservation is None:
        raise BudgetUsedUp
    return Payment(reservation, price)


class PaidEmbedder(AroundEmbedder):
    """Pays for readers' questions. Documents are the author's own affair, who has them embedded."""

    def __init__(self, embedder: Embedder, budget: Budget, price: Price | None) -> None:
        super().__init__(embedder)
        self._budget = budget
        self._price = price

    async def embed_query(self, text: str) -> Vectors:
        """Raises `BudgetUsedUp` besides what the budget and the embedder raise."""
        tokens = self.paid_tokens(text)
        if not tokens:
            return await super().embed_query(text)
        reservation = await self._budget.reserve(None, tokens, cost(self._price, tokens, 0))
        if reservation is None:
            raise BudgetUsedUp
        try:
            return await super().embed_query(text)
        except UpstreamError as error:
            if "upstream_status" in error.details:
                reservation.release()
            raise
        finally:
            reservation.settle(reservation.tokens, None)


def prompt_tokens(messages: Sequence[PromptMessage]) -> int:
    """About how many tokens a prompt has, rather too many than too few."""
    return sum(ceil(MARGIN * estimate_tokens(m.content)) + MESSAGE_TOKENS for m in messages)
