"""Work that is done once and shared by all who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """The result of `begin()`, started by the first `get()` and shared by the others.

    A caller that is cancelled does not cancel it for the rest. After a failure, which all who
    waited see, the next `get()` begins anew.
    """

    def __init__(self, begin: Callable[[], Awaitable[T]]) -> None:
        self._begin = begin
        self._task: asyncio.Task[T] | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.value is not None

    @property
    def value(self) -> T | None:
        """The result if it is there."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()

    async def get(self) -> T:
        if self._task is None or (self._task.done() and self.value is None):
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(self._task)

    async def _run(self) -> T:
        return await self._begin()
