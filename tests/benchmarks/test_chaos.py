import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif("CHAOS" not in os.environ, reason="takes half a minute; set CHAOS=1 to run it")
def test_a_short_run() -> None:
    """The real server with all client behaviours, for a few seconds."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--seconds", "3", "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert "passed, seed 1" in ran.stdout
    for happened in ("stream 200", "malformed", "done generated", "done extractive"):
        assert happened in ran.stdout
