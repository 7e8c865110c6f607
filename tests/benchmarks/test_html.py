from pathlib import Path

import pytest

from benchmarks.html import main

PAGE = "<main><h1>Berths</h1><p>A boat lies at a quay of the harbour.</main>"


def test_each_step_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.html").write_text(PAGE)
    main([str(tmp_path), "--most", "2"])
    printed = capsys.readouterr().out
    assert "2 pages" in printed
    assert "2 chunks" in printed
    for step in ("parser", "content", "Markdown", "chunks", "all", "Peak memory"):
        assert step in printed


def test_a_folder_without_pages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"contains no \.html files"):
        main([str(tmp_path)])
