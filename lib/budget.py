"""What a day may cost: reserved before a model is asked, settled when its answer has ended.

A reservation counts as its whole estimate until it is settled: one that never is, because a task
was cancelled or the process was killed, counts so for the rest of the day. So spending stays below
the budget but for what single answers take beyond their estimates. Days are those of UTC.

The budget of one process, kept on its disk where there is one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from cachetools import LRUCache

from lib.runtime import write_atomically

DAY: Final = 86_400  # seconds
MAX_TRACKED_READERS: Final = 50_000
NEARLY_EXHAUSTED: Final = 0.9
"""Of the budget, from where on the author may want to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
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


class BudgetExhausted(Exception):
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
    def limits(self) -> BudgetLimits: ...

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

    def is_nearly_exhausted(self) -> bool:
        """Whether today's budget is used up, or will soon be."""

    async def close(self) -> None:
        """Write down what is not yet."""


def exceeds(amount: float, limit: float) -> bool:
    return bool(limit) and amount > limit


def share(limits: BudgetLimits, tokens: int, usd: float) -> float:
    """How much of the limits so much is: of the one that is reached first, 0 without any."""
    return max(
        tokens / limits.tokens if limits.tokens else 0.0,
        usd / limits.usd if limits.usd else 0.0,
    )


def next_reset(day: int) -> str:
    """When a day ends, as ISO 8601."""
    return datetime.fromtimestamp((day + 1) * DAY, UTC).isoformat()


log = logging.getLogger(__name__)

SAVE_SECONDS: Final = 1.0

Amount = Annotated[float, msgspec.Meta(ge=0)]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """As it is kept on disk: no reader's address is."""

    day: int
    tokens: Annotated[int, msgspec.Meta(ge=0)]
    usd: Amount


@dataclass(slots=True)
class Account:
    """Of one day, and of all readers or one."""

    tokens: int = 0
    usd: float = 0.0
    reserved_tokens: int = 0
    reserved_usd: float = 0.0

    @property
    def all_tokens(self) -> int:
        return self.tokens + self.reserved_tokens

    @property
    def all_usd(self) -> float:
        return self.usd + self.reserved_usd


class MemoryReservation:
    __slots__ = ("_accounts", "_changed", "_open", "tokens", "usd")

    def __init__(
        self, accounts: list[Account], tokens: int, usd: float, changed: Callable[[], None]
    ) -> None:
        # The accounts themselves: that of a day that is over, or of a reader who was forgotten,
        # takes the figures and is in nobody's way.
        self._accounts = accounts
        self._changed = changed
        self._open = True
        self.tokens = tokens
        self.usd = usd
        for account in accounts:
            account.reserved_tokens += tokens
            account.reserved_usd += usd
        changed()

    def settle(self, tokens: int, usd: float | None) -> None:
        if not self._open:
            return
        self._open = False
        for account in self._accounts:
            account.reserved_tokens -= self.tokens
            account.reserved_usd -= self.usd
            account.tokens += tokens
            account.usd += self.usd if usd is None else usd
        self._changed()

    def release(self) -> None:
        self.settle(0, 0.0)


class MemoryBudget:
    """Today's spending. Kept in the file `path`, if there is one, through restarts.

    Usage per reader is kept in memory, for the latest `MAX_TRACKED_READERS`. A reader who was
    forgotten, or a restart, starts a new share, but never exceeds the total.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        path: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self._path = path
        self._clock = clock
        self._day = self._today()
        self._total = Account()
        self._readers: LRUCache[str, Account] = LRUCache(MAX_TRACKED_READERS)
        self._refused = 0
        self._changed = False
        self._saving: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._warned = False

    async def open(self) -> None:
        saved = await asyncio.to_thread(load, self._path) if self._path else None
        if saved is not None and saved.day == self._day:
            self._total.tokens += saved.tokens
            self._total.usd += saved.usd

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> MemoryReservation | None:
        self._begin_day()
        accounts, limits = [self._total], self.limits
        readers_limit = 0
        if reader is not None and limits.reader_tokens:
            readers_limit = limits.reader_tokens
            accounts.append(self._account(reader))
        if (
            exceeds(self._total.all_tokens + tokens, limits.tokens)
            or exceeds(accounts[-1].all_tokens + tokens, readers_limit)
            or (limits.usd and usd is None)
            or exceeds(self._total.all_usd + (usd or 0.0), limits.usd)
        ):
            self._refused += 1
            return None
        return MemoryReservation(accounts, tokens, usd or 0.0, self._save)

    def state(self) -> Spending:
        self._begin_day()
        total, limits = self._total, self.limits
        return Spending(
            tokens=total.tokens,
            tokens_reserved=total.reserved_tokens,
            tokens_limit=limits.tokens or None,
            usd=round(total.usd, 6),
            usd_reserved=round(max(0.0, total.reserved_usd), 6),
            usd_limit=limits.usd or None,
            share=round(self._share(), 4),
            refused=self._refused,
            resets_at=next_reset(self._day),
        )

    def is_nearly_exhausted(self) -> bool:
        self._begin_day()
        return self._share() >= NEARLY_EXHAUSTED

    async def close(self) -> None:
        self._closing.set()
        if self._saving is not None:
            await self._saving

    def _share(self) -> float:
        return share(self.limits, self._total.all_tokens, self._total.all_usd)

    def _today(self) -> int:
        return int(self._clock() // DAY)

    def _begin_day(self) -> None:
        # Not on a clock that is set back: each time would be a budget more.
        if (today := self._today()) > self._day:
            self._day = today
            self._total = Account()
            self._readers.clear()
            self._refused = 0

    def _account(self, reader: str) -> Account:
        account = self._readers.get(reader)
        if account is None:
            account = self._readers[reader] = Account()
        return account

    def _save(self) -> None:
        if self._path is None:
            return
        self._changed = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_changes(self._path))

    async def _save_changes(self, path: Path) -> None:
        """At once and then once a second, until nothing changes any more."""
        while self._changed:
            self._changed = False
            total = self._total
            saved = Saved(day=self._day, tokens=total.all_tokens, usd=max(0.0, total.all_usd))
            try:
                await asyncio.to_thread(store, path, saved)
            except OSError as error:
                if not self._warned:
                    log.warning("today's spending cannot be kept on disk: %s", error.strerror)
                self._warned = True
            try:
                async with asyncio.timeout(SAVE_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue


def load(path: Path) -> Saved | None:
    """What was kept; None where nothing was, or nothing that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Saved)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        log.warning("what was spent today cannot be read from disk; counting begins anew")
        return None


def store(path: Path, saved: Saved) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.encode(saved))
