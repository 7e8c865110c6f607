"""The Dockerfile's text. `tests.test_container` tests the image built from it."""

import dataclasses
import http.server
import json
import re
import subprocess
import sys
import threading
import tomllib

import pytest

from lib.settings import Settings, setting_names
from tests.handbook import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"^ *#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
"""One instruction per line, without comments."""


def variables(word: str) -> dict[str, str]:
    """Return the variables that the `ARG` or `ENV` instructions set."""
    lines = re.findall(rf"^{word} +(.*)$", INSTRUCTIONS, re.MULTILINE)
    return {name: value for line in lines for name, value in re.findall(r"(\w+)=(\S*)", line)}


def health_check() -> list[str]:
    (command,) = re.findall(r"^HEALTHCHECK.* CMD (\[.*\])$", INSTRUCTIONS, re.MULTILINE)
    return list(json.loads(command))


@pytest.mark.parametrize(
    ("status", "variables", "code"),
    [
        (200, {"API_PORT": "*", "PORT": "9"}, 0),
        (503, {"API_PORT": "*"}, 1),
        (200, {"API_PORT": "", "PORT": "*"}, 0),
    ],
)
def test_health_check_asks_quire_directly(
    status: int, variables: dict[str, str], code: int
) -> None:
    """It uses no shell, no curl and no proxy from the environment."""

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    python, *arguments = health_check()
    assert python == "python"
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        server.timeout = 10
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = str(server.server_port)
        environment = {name: value.replace("*", port) for name, value in variables.items()}
        environment["http_proxy"] = "http://127.0.0.1:9"
        done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True)
    assert done.returncode == code, done.stderr


def test_health_check_uses_the_default_port() -> None:
    """An empty API_PORT counts as unset, because Compose passes missing variables as empty."""
    code = health_check()[2]
    assert f"e.get('API_PORT') or e.get('PORT') or {Settings().api_port}" in code


def test_no_argument_or_variable_holds_a_key() -> None:
    names = {*variables("ARG"), *variables("ENV")}
    secret = {each.name.upper() for each in dataclasses.fields(Settings) if each.metadata["secret"]}
    assert secret >= {"OPENAI_API_KEY", "REDIS_URL"}
    assert names >= {"SITE_URL", "PYTHON_IMAGE"}
    assert not names & secret


def test_index_is_built_and_served_with_the_same_settings() -> None:
    names = {
        *("BOOK_CONTENT_PATH", "SITE_URL", "SITE_GENERATOR", "SITE_OPTIONS", "CHUNK_TOKENS"),
        *("EMBEDDING_PROVIDER", "LOCAL_EMBEDDING_MODEL", "OPENAI_EMBEDDING_MODEL"),
    }
    assert names <= set(setting_names())
    environment = variables("ENV")
    assert {name: environment[name] for name in names} == {name: f"${name}" for name in names}


def test_version_matches_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert variables("ARG")["VERSION"] == project["version"]
