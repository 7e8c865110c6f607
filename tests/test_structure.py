"""Rules of the code's structure that import-linter (pyproject.toml) cannot express."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "lib").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_lib_reads_no_environment(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "os.environ" not in source
    assert "getenv" not in source


def test_importing_the_application_does_nothing() -> None:
    """It reads no settings, creates no folder and loads no heavy library."""
    heavy = (
        "onnxruntime openai qdrant_client qdrant_edge redis tokenizers tree_sitter aiohttp".split()
    )
    code = f"import main, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"API_PORT": "not a number"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
