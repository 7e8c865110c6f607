"""Memory that is not needed any more, given back to the system; and what stays.

A C library keeps what was freed for the next time it is asked. After loading a model or ingesting a
book that is tens of megabytes, for which there is no next time.
"""

import ctypes
import gc
import mmap
import sys


def give_back() -> None:
    """Give freed memory back, where the C library can (glibc). Takes some milliseconds."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def keep() -> None:
    """Leave out of the search for garbage what is there now and stays for good: to look through it
    again and again would stop the event loop for 10 ms each time."""
    gc.collect()
    gc.freeze()


def forget(mapping: mmap.mmap) -> None:
    """Let go of a file's pages that were read; those that are needed again are read again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
