from pathlib import Path

import pytest

from benchmarks.typing import keystrokes, main

PAGE = "# Berths\n\nA boat lies at a quay.\n\n## Mooring lines\n\nTwo lines hold each boat.\n"


def test_every_letter_is_a_search() -> None:
    assert list(keystrokes("Tide tables")) == [
        ("Ti", ""),
        ("Tid", ""),
        ("Tide", ""),
        ("Tide t", ""),
        ("Tide ta", ""),
        ("Tide tab", "3 letters"),
        ("Tide tabl", "4 letters"),
        ("Tide table", ""),
        ("Tide tables", "whole"),
    ]
    assert {share for _, share in keystrokes("The tide")} == {""}


def test_shares_and_times_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "berths.md").write_text(PAGE)
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "2 headings" in printed
    assert printed.count("1.000 [1.00 1.00]") == 3
    assert "16 searches" in printed
