"""What readers' questions cost, paid from the budget of the day: the model's answer, the vector."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from math import ceil

from lib.breaker import Breaker
from lib.budget import Budget, BudgetUsedUp
from lib.embedding import AroundEmbedder, Embedder, Vectors
from lib.errors import UpstreamError
from lib.generation import Delta, Finish, Generator, Idle, PromptMessage
from lib.guarded import guarded
from lib.prices import Price, cost
from lib.tokens import estimate_tokens

MESSAGE_TOKENS = 4
"""What the form of a message takes besides its text."""
MARGIN = 1.1
"""The estimate is too low for some languages."""


async def paid(
    budget: Budget,
    breaker: Breaker,
    generator: Generator,
    messages: Sequence[PromptMessage],
    *,
    reader: str,
    max_tokens: int,
    price: Price | None,
) -> AsyncGenerator[Delta | Idle | Finish, None]:
    """As `Generator.generate`, with the most that it may cost reserved before.

    An answer that breaks off, or whose reader leaves, counts whole: what was thought and not said
    is billed too. Raises `BudgetUsedUp` besides what the budget and the generator raise.
    """
    prompt = prompt_tokens(messages)
    most = cost(price, prompt, max_tokens)
    reservation = await budget.reserve(reader, prompt + max_tokens, most)
    if reservation is None:
        raise BudgetUsedUp
    came = begun = False
    try:
        generated = generator.generate(messages)
        del messages  # a stream lasts long
        async with aclosing(guarded(breaker, generated)) as pieces:
            async for piece in pieces:
                came = True
                if not isinstance(piece, Idle):
                    begun = True
                if isinstance(piece, Finish) and piece.prompt_tokens is not None:
                    completion = piece.completion_tokens or 0
                    reservation.settle(
                        piece.prompt_tokens + completion,
                        cost(price, piece.prompt_tokens, completion),
                    )
                yield piece
    except UpstreamError as error:
        # Spared by the breaker, not reached, or refused. A silence of some length may be billed.
        if not came or (not begun and "upstream_status" in error.details):
            reservation.release()
        raise
    finally:
        reservation.settle(reservation.tokens, None)


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
