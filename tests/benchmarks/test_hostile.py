import time
from pathlib import Path

from benchmarks.hostile import Pattern, measure, patterns

SIZE = 1_500


def test_hostile_patterns_take_linear_time(tmp_path: Path) -> None:
    """Every parser gets a part of the patterns; the benchmark measures all at a larger size."""
    chosen = list(patterns(tmp_path, SIZE))[::7]
    assert {each.parser for each in chosen} > {"docusaurus", "front matter", "JSON", "answer"}
    assert [each.name for each in chosen if measure(each).failed] == []


def test_quadratic_time_is_a_failure() -> None:
    def run(text: str) -> None:
        until = time.process_time() + 0.08 * (len(text) / 100) ** 2
        while time.process_time() < until:
            pass

    assert measure(Pattern("", ("", "a", ""), run, 100)).failed
