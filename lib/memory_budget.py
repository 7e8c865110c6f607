"""The budget of one process, kept on its disk where there is one."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cachetools import LRUCache

from lib.budget import DAY, MAX_READERS, NEAR, Limits, Spending, exceeds, midnight, share
from lib.durable import write_durably

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

    Readers are known in memory only, the latest `MAX_READERS` of them: one who is forgotten, or a
    restart, gives a reader's own share anew, never more of the common one.
    """

    def __init__(
        self, limits: Limits, path: Path | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.limits = limits
        self._path = path
        self._clock = clock
        self._day = self._today()
        self._total = Account()
        self._readers: LRUCache[str, Account] = LRUCache(MAX_READERS)
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
            resets_at=midnight(self._day),
        )

    def near(self) -> bool:
        self._begin_day()
        return self._share() >= NEAR

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
    write_durably(path, msgspec.json.encode(saved))
