import gc
import mmap
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib.memory import forget, give_back, keep

FREED_AND_GIVEN_BACK = """
from pathlib import Path
from lib.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytes(100_000) + b"x" for _ in range(500)]
kept = blocks[::50]
del blocks
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_what_was_freed_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED_AND_GIVEN_BACK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 20_000_000


def test_what_stays_is_not_looked_through_again() -> None:
    class Stays:
        pass

    kept, before = Stays(), gc.get_freeze_count()
    try:
        keep()
        assert gc.get_freeze_count() > before
        assert not any(each is kept for each in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(each is kept for each in gc.get_objects())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_a_forgotten_file_takes_no_memory_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"tide" * 100_000)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapping)
    assert bytes(view) == b"tide" * 100_000
    assert resident(path) >= 400_000
    forget(mapping)
    assert resident(path) == 0
    assert bytes(view[-4:]) == b"tide"
    give_back()


def resident(path: Path) -> int:
    """How many bytes of a mapped file are in the memory of this process."""
    maps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.search(rf" {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps)
    assert found
    return 1024 * int(found[1])
