"""Work of some milliseconds on the event loop, cut in slices between which the others have a turn.

A thread is no cheaper place for work in Python: it and the event loop want the same interpreter,
and hand it to and fro. With a hundred streams open, that cost three times the work itself.
"""

import asyncio
from collections.abc import Generator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def in_slices(work: Generator[Any, None, T]) -> T:
    """What `work` returns; it runs from one of its `yield`s to the next at a time.

    One piece of work after the other: were a hundred answers checked at once, since they ended at
    once, each turn of the loop would take a hundred slices.
    """
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        while True:
            try:
                next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            await asyncio.sleep(0)


def at_once(work: Generator[Any, None, T]) -> T:
    """The same without an event loop."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
