"""Daily budget in tokens and US dollars: reserved before a request, settled after the answer.

A reservation counts in full until it is settled, and for the rest of the day if its task was
cancelled or the process killed. So only answers that exceed their estimate can exceed the budget.
Days are in UTC. `MemoryBudget` is for one process; `lib.replicas.budget` is shared by several.
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

_log = logging.getLogger(__name__)

DAY: Final = 86_400  # seconds
MAX_TRACKED_READERS: Final = 50_000
_SAVE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """Limits per day; 0 means no limit."""

    tokens: int = 0
    usd: float = 0.0
    reader_tokens: int = 0
    """Per reader."""


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """Today's spending."""

    tokens: int
    tokens_reserved: Annotated[int, msgspec.Meta(description="For answers in progress.")]
    tokens_limit: Annotated[int | None, msgspec.Meta(description="null: no limit.")]
    usd: Annotated[float, msgspec.Meta(description="Estimated.")]
    usd_reserved: float
    usd_limit: Annotated[float | None, msgspec.Meta(description="null: no limit.")]
    share: Annotated[float, msgspec.Meta(description="Share of the limit, 0 to 1.")]
    refused: Annotated[int, msgspec.Meta(description="Number of refused requests.")]
    resets_at: Annotated[str, msgspec.Meta(description="ISO 8601.")]


class BudgetExhausted(Exception):
    """The daily budget has no room for the request, which was not sent."""


class Reservation(Protocol):
    """The reserved maximum cost of one request.

    Only the first call of `settle` or `release` has an effect.
    """

    @property
    def tokens(self) -> int: ...

    def settle(self, tokens: int, usd: float | None) -> None:
        """Charge the actual tokens and US dollars; None charges the reserved amount."""

    def release(self) -> None:
        """Charge nothing: the request was not sent, or did not reach the service."""


class Budget(Protocol):
    """A daily budget."""

    @property
    def limits(self) -> BudgetLimits: ...

    async def open(self) -> None:
        """Load what was spent earlier today, if known. Never raises."""

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> Reservation | None:
        """Reserve at most `tokens` and `usd`; None if the budget has no room.

        `reader` None counts towards the total only. `usd` None means an unknown price, which a
        budget in dollars refuses. Raises `lib.errors.RedisUnavailable` if the replicas' common
        spending is unknown.
        """

    def state(self) -> Spending: ...

    async def close(self) -> None:
        """Save unsaved changes."""


def _exceeds(amount: float, limit: float) -> bool:
    return bool(limit) and amount > limit


def summarise_spending(
    limits: BudgetLimits,
    day: int,
    *,
    tokens: int,
    tokens_reserved: int,
    usd: float,
    usd_reserved: float,
    refused: int,
) -> Spending:
    """Join the figures of a day (counted from 1970) with the limits."""
    shares = (
        (tokens + tokens_reserved) / limits.tokens if limits.tokens else 0.0,
        (usd + usd_reserved) / limits.usd if limits.usd else 0.0,
    )
    return Spending(
        tokens=tokens,
        tokens_reserved=tokens_reserved,
        tokens_limit=limits.tokens or None,
        usd=round(usd, 6),
        usd_reserved=round(max(0.0, usd_reserved), 6),
        usd_limit=limits.usd or None,
        share=round(max(shares), 4),
        refused=refused,
        resets_at=datetime.fromtimestamp((day + 1) * DAY, UTC).isoformat(),
    )


_Amount = Annotated[float, msgspec.Meta(ge=0)]


class _SavedSpending(msgspec.Struct, frozen=True, kw_only=True):
    """Spending as saved to disk, without any reader's address."""

    day: int
    tokens: Annotated[int, msgspec.Meta(ge=0)]
    usd: _Amount


@dataclass(slots=True)
class _Account:
    """Spending of one day, in total or of one reader."""

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


class _MemoryReservation:
    __slots__ = ("_accounts", "_changed", "_open", "tokens", "usd")

    def __init__(
        self, accounts: list[_Account], tokens: int, usd: float, changed: Callable[[], None]
    ) -> None:
        # References: settling after midnight changes yesterday's accounts, which is harmless.
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
    """The daily budget of one process, saved to the file `path` if given.

    Usage per reader is kept in memory only, for the latest `MAX_TRACKED_READERS`. Forgotten
    readers, and all readers after a restart, start at zero; the total does not.
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
        self._total = _Account()
        self._readers: LRUCache[str, _Account] = LRUCache(MAX_TRACKED_READERS)
        self._refused = 0
        self._changed = False
        self._saving: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._warned = False

    async def open(self) -> None:
        saved = await asyncio.to_thread(_load, self._path) if self._path else None
        if saved is not None and saved.day == self._day:
            self._total.tokens += saved.tokens
            self._total.usd += saved.usd

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> _MemoryReservation | None:
        self._begin_day()
        accounts, limits = [self._total], self.limits
        readers_limit = 0
        if reader is not None and limits.reader_tokens:
            readers_limit = limits.reader_tokens
            accounts.append(self._account(reader))
        if (
            _exceeds(self._total.all_tokens + tokens, limits.tokens)
            or _exceeds(accounts[-1].all_tokens + tokens, readers_limit)
            or (limits.usd and usd is None)
            or _exceeds(self._total.all_usd + (usd or 0.0), limits.usd)
        ):
            self._refused += 1
            return None
        return _MemoryReservation(accounts, tokens, usd or 0.0, self._save)

    def state(self) -> Spending:
        self._begin_day()
        return summarise_spending(
            self.limits,
            self._day,
            tokens=self._total.tokens,
            tokens_reserved=self._total.reserved_tokens,
            usd=self._total.usd,
            usd_reserved=self._total.reserved_usd,
            refused=self._refused,
        )

    async def close(self) -> None:
        self._closing.set()
        if self._saving is not None:
            await self._saving

    def _today(self) -> int:
        return int(self._clock() // DAY)

    def _begin_day(self) -> None:
        # A clock that is set back must not start another day's budget.
        if (today := self._today()) > self._day:
            self._day = today
            self._total = _Account()
            self._readers.clear()
            self._refused = 0

    def _account(self, reader: str) -> _Account:
        account = self._readers.get(reader)
        if account is None:
            account = self._readers[reader] = _Account()
        return account

    def _save(self) -> None:
        if self._path is None:
            return
        self._changed = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_changes(self._path))

    async def _save_changes(self, path: Path) -> None:
        """Save now and then once a second until nothing changes."""
        while self._changed:
            self._changed = False
            total = self._total
            saved = _SavedSpending(
                day=self._day, tokens=total.all_tokens, usd=max(0.0, total.all_usd)
            )
            try:
                await asyncio.to_thread(_save, path, saved)
            except OSError as error:
                if not self._warned:
                    _log.warning("cannot save today's spending: %s", error.strerror)
                self._warned = True
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue


def _load(path: Path) -> _SavedSpending | None:
    """Read saved spending; None if there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_SavedSpending)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        _log.warning("cannot read today's saved spending; counting starts from zero")
        return None


def _save(path: Path, saved: _SavedSpending) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.encode(saved))
