"""The handbook's examples parse, and every name in them exists."""

import ast
import configparser
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import regex
import yaml

from lib import errors
from lib.cli import _parse_arguments
from lib.settings import load_settings, setting_names
from tests.handbook import CHAPTERS, PAGES, ROOT, Block, anchors, blocks, links, prose

BUILD_ARGUMENTS = frozenset(
    re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
)
OTHER_VARIABLES = frozenset(
    # the shell and examples for it
    "OLLAMA_HOST PATH PWD ASK_URL SPACE TASK PORT END "
    # Hugging Face, GitHub, Docker Compose, ONNX Runtime
    "HF_TOKEN GITHUB_SHA GITHUB_OUTPUT GH_TOKEN GH_REPO RUNNER_TEMP COMPOSE_PROFILES "
    "OPENBLAS_NUM_THREADS "
    # Qdrant
    "QDRANT__SERVICE__API_KEY QDRANT__STORAGE__SNAPSHOTS_PATH QDRANT_INIT_FILE_PATH "
    "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR "
    # the tests
    "QDRANT_TEST_URL QDRANT_TEST_API_KEY QDRANT_OPENAPI "
    # file names
    "SUMMARY LICENSE".split()
)
CODES = frozenset(
    code for each in vars(errors).values() if isinstance(code := getattr(each, "code", None), str)
) | frozenset(re.findall(r"`([A-Z_]+)`", (ROOT / "book_content/http.md").read_text()))
KNOWN = frozenset(setting_names()) | BUILD_ARGUMENTS | OTHER_VARIABLES

ASSIGNED = re.compile(r"^(?:export )?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def parse_ini(text: str) -> None:
    # systemd allows some keys more than once.
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    assert parser.sections()


def parse_nginx(text: str) -> None:
    depth = 0
    for line in filter(None, map(str.strip, text.splitlines())):
        assert line.endswith((";", "{", "}")) or line.startswith("#"), line
        depth += line.count("{") - line.count("}")
        assert depth >= 0, line
    assert depth == 0


def parse_json(text: str) -> None:
    """Accept one value, or one value per line."""
    try:
        json.loads(text)
    except ValueError:
        assert [json.loads(line) for line in text.splitlines()]


PARSERS: dict[str, Callable[[str], object]] = {
    "json": parse_json,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "ini": parse_ini,
    "nginx": parse_nginx,
}


@pytest.mark.parametrize("block", blocks(*PARSERS), ids=lambda each: each.name)
def test_data_blocks_parse(block: Block) -> None:
    assert PARSERS[block.language](block.code) != []


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_shell_blocks_parse(tmp_path: Path) -> None:
    for number, each in enumerate(blocks("sh")):
        (tmp_path / f"{number}.sh").write_text(f": {each.name!r}\n{each.code}", encoding="utf-8")
    assert len(list(tmp_path.iterdir())) > 40
    script = """for file in *.sh; do
        bash -n "$file" || { head -1 "$file"; failed=1; }
    done; exit $failed"""
    checked = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def named_variables() -> Iterator[tuple[str, str]]:
    """Yield everything that looks like an environment variable, with its place."""
    for each in blocks("sh", "ini", "yaml", "toml"):
        code = re.sub(r"'[^'\n]*\b(?:import|print)\b[^'\n]*'", "", each.code)
        for pattern in (
            r"(?<![\w$./-])([A-Z][A-Z0-9_]{2,})=",
            r"\$\{?([A-Z][A-Z0-9_]{2,})\b",
            r"^\s*([A-Z][A-Z0-9_]{2,}):",
            r"^([A-Z][A-Z0-9_]{2,}) =",
            r"- key: (\w+)$",
            r"(?:id|env)=([A-Z][A-Z0-9_]{2,})\b",
            r"--secrets (\w+)$",
        ):
            for name in re.findall(pattern, code, re.MULTILINE):
                yield name, each.name
    for path in PAGES:
        for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", prose(path)):
            yield name, path.name


def test_every_variable_exists() -> None:
    named = list(named_variables())
    assert len({name for name, _ in named} & set(setting_names())) > 40
    unknown = {(name, place) for name, place in named if name not in KNOWN | CODES}
    assert not unknown


def settings_of(text: str) -> dict[str, str]:
    """Parse the settings in a block of `NAME=value` lines."""
    known = set(setting_names())
    return {
        name: "".join(shlex.split(value, comments=True)[:1])
        for name, value in ASSIGNED.findall(text)
        if name in known and "$" not in value
    }


@pytest.mark.parametrize(
    "block",
    [each for each in blocks("sh") if settings_of(each.code)],
    ids=lambda each: each.name,
)
def test_values_of_settings_are_valid(block: Block) -> None:
    values = settings_of(block.code)
    if "LOCAL_EMBEDDING_MODEL" in values:
        assert values.pop("LOCAL_EMBEDDING_MODEL").startswith(("/", "multilingual"))
    if values.get("EMBEDDING_PROVIDER") == "openai":
        values.setdefault("OPENAI_API_KEY", "sk-x")
    load_settings(values)


def command_lines() -> Iterator[tuple[str, str]]:
    for each in blocks("sh", "yaml", "text", "ini"):
        for line in each.code.replace("\\\n", " ").splitlines():
            yield line, each.name
    for path in PAGES:
        for code in re.findall(r"`([^`]+)`", prose(path)):
            yield code.replace("\n", " "), path.name


def test_every_command_of_quire_exists(capsys: pytest.CaptureFixture[str]) -> None:
    seen = set()
    for line, place in command_lines():
        for match in re.finditer(r"python main\.py((?: [^;&|`#)]*)?)", line):
            arguments = shlex.split(match[1])
            seen.add(" ".join(arguments[:1]))
            if arguments in (["ask"], ["eval"]):  # the name of a command in prose
                assert line == match[0], f"{place}: {line}"
                continue
            try:
                _parse_arguments(arguments)
            except SystemExit:
                pytest.fail(f"{place}: {line}\n{capsys.readouterr().err}")
    assert {"", "ask", "eval", "ingest"} <= seen


def test_every_make_target_and_module_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set()
    for line, place in command_lines():
        for target in re.findall(r"(?:^|[;&|] *)make (\w+)", line):
            assert target in targets, f"{place}: {line}"
            used.add(target)
        for module in re.findall(r"python3? -m ([\w.]+)", line):
            if module.split(".")[0] in ("benchmarks", "scripts", "lib"):
                assert importlib.util.find_spec(module), f"{place}: {line}"
    assert "run" in used


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_target_exists(path: Path) -> None:
    for target in links(path):
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), target
        if anchor:
            assert anchor in anchors(to), target


def test_contents_list_every_chapter_once() -> None:
    contents = (ROOT / "book_content/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\) \|", contents, re.MULTILINE)
    assert sorted(listed) == [path.name for path in CHAPTERS if path.name != "index.md"]


def program_texts() -> tuple[set[str], set[str]]:
    """The program's string literals, and patterns of its f-strings; their values match any text."""
    literals: set[str] = set()
    patterns: set[str] = set()
    for path in (ROOT / "main.py", *ROOT.glob("handlers/*.py"), *ROOT.glob("lib/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)):
                    literals.add(text)
                case ast.JoinedStr(values=[ast.Constant(), *_] as parts):
                    fixed = (
                        each.value if isinstance(each, ast.Constant) else None for each in parts
                    )
                    patterns.add("".join(regex.escape(str(e)) if e else ".+" for e in fixed))
    for path in ROOT.glob("lib/**/*.toml"):
        literals.update(re.findall(r'"([^"\n]+)"', path.read_text(encoding="utf-8")))
    return literals, patterns


def test_troubleshooting_quotes_messages_of_the_program() -> None:
    text = re.sub(r"`[^`]*`", "", prose(ROOT / "book_content/troubleshooting.md"))
    quoted = set(re.findall(r'"([^"]+)"', text.replace("\n", " ")))
    assert len(quoted) > 20
    literals, patterns = program_texts()
    # A quote may be the beginning of a message.
    beginnings = "\0" + "\0".join(literals)
    composed = {quote for quote in quoted if f"\0{quote}" not in beginnings}
    texts = [regex.compile(each) for each in patterns]
    assert not {q for q in composed if not any(t.fullmatch(q, partial=True) for t in texts)}
