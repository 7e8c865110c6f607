"""Work of some milliseconds on the event loop, cut in slices between which the others have a turn.

A thread is no cheaper place for work in Python: it and the event loop want the same interpreter,
and hand it to and fro. With a hundred streams open, that cost three times the work itself.
"""

import asyncio
from collections.abc import Generator
from time import perf_counter
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

AT_ONCE: Final = 1
"""Piece of work. Were a hundred answers checked together, since they ended together, each turn of
the loop would take a hundred slices; so those who wait for their first word go first."""
SLICE_SECONDS: Final = 0.001

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def in_slices(work: Generator[Any, None, T], seconds: float = SLICE_SECONDS) -> T:
    """What `work` returns. It runs for `seconds`, and then to its next `yield`, at a time."""
    async with _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)):
        until = perf_counter() + seconds
        while True:
            try:
                next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            if perf_counter() >= until:
                await asyncio.sleep(0)
                until = perf_counter() + seconds


def at_once(work: Generator[Any, None, T]) -> T:
    """The same without an event loop."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
