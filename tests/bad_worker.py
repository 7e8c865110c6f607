"""The reading process with a parser that fails as a page or a configuration file tells it to."""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import lib.worker
from lib.book import BookReader
from lib.sites.detection import detect_site
from lib.sites.site import Site


class BadReader(BookReader):
    def read(self, paths: Any) -> Any:
        obey((self._book.root / paths[0]).read_text())
        return super().read(paths)


def obey(text: str) -> None:
    for word in text.split():
        match word:
            case "SEGFAULT":
                ctypes.string_at(0)
            case "SPIN":
                while True:
                    pass
            case "SLEEP":
                time.sleep(1000)
            case "STOP":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "EAT":
                bytearray(1 << 30)
            case "RAISE":
                raise ZeroDivisionError("secret detail")


def detect(root: Path, **options: Any) -> Site:
    if options["generator"] != "none" and (file := root / "mkdocs.yml").exists():
        obey(file.read_text())
    return detect_site(root, **options)


if __name__ == "__main__":
    changes = {"CPU_SECONDS": 0, "BookReader": BadReader, "detect_site": detect}
    vars(lib.worker).update(changes)
    lib.worker._main()
