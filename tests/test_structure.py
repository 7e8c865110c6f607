"""Rules of the code's structure that import-linter (pyproject.toml) cannot express."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "lib").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_lib_reads_no_environment(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "os.environ" not in source
    assert "getenv" not in source


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_lib_normalises_and_unescapes_in_linear_time(path: Path) -> None:
    """Only the functions that bound the input call the library's."""
    source = path.read_text(encoding="utf-8")
    assert "unicodedata.normalize(" not in source or path.stem == "languages"
    assert "html.unescape(" not in source or path.stem == "sanitizer_syntax"


def test_importing_the_application_does_nothing() -> None:
    """It reads no settings, creates no folder and loads no heavy library."""
    heavy = (
        "onnxruntime openai qdrant_client qdrant_edge redis selectolax tokenizers tree_sitter "
        "aiohttp"
    ).split()
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


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {
    module_name(path): parse(path)
    for folder in ("lib", "handlers", "benchmarks", "scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
} | {"main": parse(ROOT / "main.py")}


def used_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, name) for each name that a module takes from another of ours."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (whole := f"{node.module}.{alias.name}") in SOURCES:
                    modules[alias.asname or alias.name] = whole
                else:
                    yield node.module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield modules.get(node.value.id, ""), node.attr


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Top-level names, without Quart's routes, which are registered and not imported."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if not any("blueprint" in ast.unparse(each) for each in node.decorator_list):
                    yield node.name
            case ast.Assign():
                for target in node.targets:
                    yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


IN_OPENAPI = {
    "AskQuery",
    "CompletionRequest",
    "DayActivity",
    "ErrorAnswer",
    "Gap",
    "GapLanguage",
    "GapOutcomes",
    "GapsQuery",
    "IndexFacts",
    "LogStatus",
    "InterfaceActivity",
    "LanguageActivity",
    "ModelList",
    "NearestPage",
    "PageUse",
    "SearchQuery",
    "Selection",
    "StatusQuery",
    "UIChatRequest",
    "UncitedHeading",
    "UncitedHeadings",
}
"""Names that /openapi.json shows as schemas."""


def test_a_public_name_is_imported_by_another_module() -> None:
    """A name that only its own module (or a test) uses begins with an underscore."""
    used = {pair for tree in SOURCES.values() for pair in used_names(tree)}
    unused = [
        f"{module}.{name}"
        for module, tree in SOURCES.items()
        if module.startswith(("lib", "handlers"))
        for name in defined_names(tree)
        if not name.startswith("_")
        and name not in IN_OPENAPI | {"blueprint"}
        and (module, name) not in used
    ]
    assert unused == []
