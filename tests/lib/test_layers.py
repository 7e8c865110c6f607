"""What may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "lib").glob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a source file imports, at any depth of it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_lib_knows_nothing_of_the_web_framework_or_of_what_is_above_it(path: Path) -> None:
    above = {"quart", "quart_cors", "quart_rate_limiter", "werkzeug", "hypercorn"}
    above |= {"main", "handlers", "tests", "dotenv"}
    assert {name.partition(".")[0] for name in imported(path)} & above == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_lib_reads_no_environment(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "os.environ" not in source
    assert "getenv" not in source


def test_importing_the_application_does_nothing() -> None:
    """No setting is read, no folder made, and none of the heavy libraries is loaded."""
    heavy = ("onnxruntime", "openai", "qdrant_client", "qdrant_edge", "redis", "tokenizers")
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
