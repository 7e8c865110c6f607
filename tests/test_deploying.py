"""Deployment files of the handbook: they match Quire's settings, and systemd and nginx accept them.

`tests.test_workflows` tests the workflows.
"""

import asyncio
import io
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from lib.settings import Settings, load_settings, setting_names
from tests.api import ADMIN_KEY, listening
from tests.conftest import MakeSettings
from tests.handbook import ROOT, block
from tests.nginx import needs_nginx, running_nginx
from tests.shell import run
from tests.test_handbook import BUILD_ARGUMENTS
from tests.test_stopping import EXIT_SECONDS
from tests.upstream import DONE, Upstream, delta, finish

PORT = Settings().api_port


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(s|min)?", text)
    assert found, text
    return int(found[1]) * (60 if found[2] == "min" else 1)


REQUIRED = {"ADMIN_API_KEY": "admin", "QDRANT_API_KEY": "qdrant"}


def compose(**variables: str) -> dict[str, Any]:
    """Read `compose.yaml` and substitute variables as Compose does."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if not variables.get(name):
            assert operator == ":-", f"{name} is required"
        return variables.get(name) or rest

    def substitute(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: substitute(each) for key, each in node.items()}
        if isinstance(node, list):
            return [substitute(each) for each in node]
        variable = r"\$\{(\w+)(:[-?])([^}]*)\}"
        return re.sub(variable, value, node) if isinstance(node, str) else node

    return dict(substitute(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {
            "BOOK_FOLDER": "/home/me/docs",
            "SITE_URL": "https://you.github.io/book",
            "SITE_GENERATOR": "mkdocs",
            "OPENAI_API_KEY": "sk-x",
            "EMBEDDING_PROVIDER": "openai",
            "QUESTION_LOG": "30d",
        },
    ],
    ids=["defaults", "own book"],
)
def test_compose_file_matches_settings(chosen: dict[str, str]) -> None:
    services = compose(**REQUIRED, **chosen)["services"]
    quire = services["quire"]
    assert quire["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert seconds(quire["stop_grace_period"]) > EXIT_SECONDS
    assert set(quire["build"]["args"]) <= BUILD_ARGUMENTS
    environment = quire["environment"]
    assert set(environment) <= set(setting_names())
    settings = load_settings(environment)
    expected = load_settings(chosen)
    for name in chosen.keys() - {"BOOK_FOLDER"}:
        assert getattr(settings, name.lower()) == getattr(expected, name.lower())
    assert urlsplit(settings.qdrant_url).hostname == "qdrant"
    assert urlsplit(settings.redis_url).hostname == "redis"
    server = services["qdrant"]["environment"]
    assert settings.qdrant_api_key == server["QDRANT__SERVICE__API_KEY"] == "qdrant"
    mounts = {inside: outside for outside, inside, *_ in (v.split(":") for v in quire["volumes"])}
    assert set(mounts) == {"/app/qdrant_data", str(settings.book_content_path)}
    book = mounts[str(settings.book_content_path)]
    assert book == chosen.get("BOOK_FOLDER", "./book_content")
    assert chosen or (ROOT / book).is_dir()


@pytest.mark.parametrize("name", REQUIRED)
def test_compose_requires_its_keys(name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name} is required"):
        compose(**REQUIRED | {name: ""})


def test_every_compose_service_is_locked_down() -> None:
    whole = compose(**REQUIRED)
    assert set(whole) == {"services", "volumes"}
    for name, service in whole["services"].items():
        assert re.fullmatch(r"[\w/.-]+(:[\w.-]+)?", service["image"]), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
        assert service["restart"] == "unless-stopped"
        if name != "quire":  # its image defines a health check
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        assert set(service.get("depends_on", {})) <= set(whole["services"])
        assert name == "quire" or "ports" not in service
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("./") or source in whole["volumes"], volume


def test_host_configurations_match_settings() -> None:
    fly = tomllib.loads(block("hosts.md", "Fly.io", "toml"))
    assert fly["http_service"]["internal_port"] == PORT
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/health"]
    assert fly["kill_timeout"] > EXIT_SECONDS
    assert fly["kill_signal"] == "SIGTERM"
    assert set(fly["build"]["args"]) <= BUILD_ARGUMENTS
    load_settings(fly["env"] | fly["build"]["args"])
    assert set(fly["env"]) | set(fly["build"]["args"]) <= set(setting_names())

    (render,) = yaml.safe_load(block("hosts.md", "Render", "yaml"))["services"]
    assert (render["runtime"], render["healthCheckPath"]) == ("docker", "/health")
    assert render["maxShutdownDelaySeconds"] > EXIT_SECONDS
    assert render["numInstances"] == 1
    environment = {each["key"]: each.get("value", "x") for each in render["envVars"]}
    assert set(environment) <= set(setting_names())
    load_settings(environment)


def test_systemd_unit_matches_settings() -> None:
    text = (ROOT / "scripts/quire.service").read_text(encoding="utf-8")
    (environment,) = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    values = dict(each.split("=") for each in environment.split())
    assert set(values) - {"OPENBLAS_NUM_THREADS"} <= set(setting_names())
    (folder,) = re.findall(r"^StateDirectory=(.*)$", text, re.MULTILINE)
    assert values["QDRANT_PATH"] == f"/var/lib/{folder}"
    (named,) = re.findall(r"^EnvironmentFile=-(.*)$", text, re.MULTILINE)
    assert f"cat > {named} <<" in block("deploy.md", "Settings with systemd", "sh")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
async def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "scripts/quire.service").read_text(encoding="utf-8")
    stop = re.search(r"^TimeoutStopSec=(\w+)$", text, re.MULTILINE)
    assert stop
    assert seconds(stop[1]) > EXIT_SECONDS
    unit = tmp_path / "quire.service"
    # systemd checks that the program exists.
    unit.write_text(text.replace("/opt/quire/.venv/bin/python", shutil.which("env") or ""))
    verified = await run("systemd-analyze verify ./quire.service", tmp_path)
    assert (verified.code, verified.output) == (0, "")
    rated = await run("systemd-analyze security --offline=true ./quire.service", tmp_path)
    exposure = re.search(r"Overall exposure level for quire.service: ([\d.]+)", rated.output)
    assert exposure, rated.output
    chapter = (ROOT / "book_content/deploy.md").read_text(encoding="utf-8")
    assert f"rates it {exposure[1]} of 10" in chapter or float(exposure[1]) <= 2


@needs_nginx
async def test_answers_stream_through_nginx(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path
) -> None:
    location = block("deploy.md", "nginx configuration", "nginx")
    default = f"http://127.0.0.1:{PORT}"
    assert location.count(default) == 1
    settings = make_settings(openai_base_url=upstream.base_url, trusted_proxy_hops=1)
    more = asyncio.Event()
    upstream.replies.append([delta("The tide turns "), more, delta("slowly. [1]"), finish(), DONE])
    async with (
        listening(settings) as address,
        running_nginx(
            tmp_path,
            f"gzip on; gzip_types *; server {{ listen 80; {location.replace(default, address)} }}",
        ) as proxy,
        aiohttp.ClientSession() as client,
    ):
        asked = {"question": "When does the tide turn?"}
        async with asyncio.timeout(10), client.post(f"{proxy}/chat", json=asked) as response:
            assert response.status == 200
            # The model sends no more until the client has received its first words.
            received = b""
            while b"The tide" not in received:
                received += await response.content.readany()
            assert b"slowly" not in received
            more.set()
            assert b'"done"' in await response.content.read()

        large = io.BytesIO(b"x" * 2_000_000)
        key = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with client.post(f"{proxy}/ingest/archive", data=large, headers=key) as response:
            assert response.status == 400, "nginx must pass the archive to Quire, which rejects it"
