import time
from pathlib import Path

from benchmarks.hostile import Pattern, measure, patterns

SIZE = 2_000
SECONDS = 0.3
"""Includes that do not exist take half of it; a pattern of quadratic time took seconds."""


def test_hostile_patterns_take_linear_time(tmp_path: Path) -> None:
    """Every parser gets a part of the patterns; the benchmark measures all of them, and larger."""
    chosen = list(patterns(tmp_path, SIZE))[::23]
    assert {each.parser for each in chosen} > {"docusaurus", "front matter", "JSON", "answer"}
    slow = [each for each in chosen if each.seconds(SIZE) > SECONDS]
    assert [each.name for each in slow if each.seconds(SIZE) > SECONDS] == []


def test_quadratic_time_is_a_failure() -> None:
    def run(text: str) -> None:
        until = time.process_time() + 0.02 * (len(text) / 100) ** 2
        while time.process_time() < until:
            pass

    result = measure(Pattern("", ("", "a", ""), run, 100))
    assert result.failed
    assert 3 < result.twice / result.once < 5
