"""What the handbook's deployment chapters offer, tried as far as this machine can: the files fit
Quire, the unit and the proxy are accepted by the real programs, the workflows' steps really run.
"""

import asyncio
import io
import json
import os
import re
import shutil
import socket
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from lib.settings import Settings, load_settings, setting_names
from lib.site_config import detect_site
from tests.conftest import ADMIN_KEY, BOOK, MakeSettings, listening, write_book
from tests.handbook import ROOT, block, blocks
from tests.test_handbook import BUILD_ARGUMENTS
from tests.test_stopping import EXIT_SECONDS
from tests.upstream import DONE, Upstream, delta, finish

PORT = Settings().api_port
PUSH = "Push the docs on each site build"
DEPLOY = "Deploy the Space on each push of the book"
"""Headings of the chapter on GitHub Actions."""


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(s|min)?", text)
    assert found, text
    return int(found[1]) * (60 if found[2] == "min" else 1)


def compose() -> dict[str, Any]:
    text = block("docker.md", "Docker Compose with a Qdrant server", "yaml")
    return dict(yaml.safe_load(text))


def test_the_compose_file_fits_quire() -> None:
    quire = compose()["services"]["quire"]
    assert quire["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert seconds(quire["stop_grace_period"]) > EXIT_SECONDS
    assert set(quire["build"]["args"]) <= BUILD_ARGUMENTS
    environment = {
        name: re.sub(r"\$\{\w+:\?[^}]*\}", "x", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)))
        for name, value in quire["environment"].items()
    }
    assert set(environment) <= set(setting_names())
    settings = load_settings(environment)
    assert urlsplit(settings.qdrant_url).hostname == "qdrant"
    writable = {str(volume).split(":")[1] for volume in quire["volumes"]}
    assert {"/app/qdrant_data", str(settings.book_content_path)} == writable
    (kind, python, flag, code) = quire["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    assert f"127.0.0.1:{PORT}/health" in code
    compile(code, "healthcheck", "exec")


def test_every_compose_service_is_locked_down() -> None:
    whole = compose()
    assert set(whole) == {"services", "volumes"}
    for name, service in whole["services"].items():
        assert re.fullmatch(r"[\w/.-]+(:[\w.-]+)?", service["image"]), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        assert set(service.get("depends_on", {})) <= set(whole["services"])
        assert name == "quire" or "ports" not in service
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("./") or source in whole["volumes"], volume


def test_the_hosts_files_fit_quire() -> None:
    fly = tomllib.loads(block("hosts.md", "Deploy to Fly.io", "toml"))
    assert fly["http_service"]["internal_port"] == PORT
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/health"]
    assert fly["kill_timeout"] > EXIT_SECONDS
    assert fly["kill_signal"] == "SIGTERM"
    assert set(fly["build"]["args"]) <= BUILD_ARGUMENTS
    load_settings(fly["env"] | fly["build"]["args"])
    assert set(fly["env"]) | set(fly["build"]["args"]) <= set(setting_names())

    (render,) = yaml.safe_load(block("hosts.md", "Deploy to Render", "yaml"))["services"]
    assert (render["runtime"], render["healthCheckPath"]) == ("docker", "/health")
    assert render["maxShutdownDelaySeconds"] > EXIT_SECONDS
    assert render["numInstances"] == 1
    environment = {each["key"]: each.get("value", "x") for each in render["envVars"]}
    assert environment["PORT"] == environment["API_PORT"]
    assert set(environment) - {"PORT"} <= set(setting_names())
    load_settings(environment)


def test_the_front_matter_of_a_space_is_the_project_s_own() -> None:
    shown = block("hugging-face.md", "The README of a Space", "yaml").strip("-\n")
    own = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert yaml.safe_load(shown).items() <= yaml.safe_load(own).items()
    assert yaml.safe_load(shown)["app_port"] == PORT


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
async def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = block("deploy.md", "Run Quire with systemd", "ini")
    stop = re.search(r"^TimeoutStopSec=(\w+)$", text, re.MULTILINE)
    assert stop
    assert seconds(stop[1]) > EXIT_SECONDS
    unit = tmp_path / "quire.service"
    # The program that it names has to be there.
    unit.write_text(text.replace("/opt/quire/.venv/bin/python", shutil.which("env") or ""))
    verified = await run("systemd-analyze verify ./quire.service", tmp_path)
    assert (verified.code, verified.output) == (0, "")
    rated = await run("systemd-analyze security --offline=true ./quire.service", tmp_path)
    exposure = re.search(r"Overall exposure level for quire.service: ([\d.]+)", rated.output)
    assert exposure, rated.output
    said = (ROOT / "book_content/deploy.md").read_text(encoding="utf-8")
    assert f"rates it {exposure[1]} of 10" in said or float(exposure[1]) <= 2


@dataclass(frozen=True)
class Ran:
    code: int
    output: str


async def run(
    script: str, folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 30
) -> Ran:
    """As GitHub's runner does with `shell: bash`."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, output.decode())


# --- nginx ---


@asynccontextmanager
async def nginx(folder: Path, location: str, address: str) -> AsyncIterator[str]:
    """The handbook's `location` in front of a Quire; the proxy's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = f"http://127.0.0.1:{PORT}"
    assert location.count(named) == 1
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers cannot write there
    (folder / "nginx.conf").write_text(
        f"""
        {user}
        worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; gzip on; gzip_types *;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{ listen 127.0.0.1:{port}; {location.replace(named, address)} }}
        }}
        """
    )
    configured = ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "error.log")
    checked = await run(" ".join((*configured, "-t")), folder)
    assert checked.code == 0, checked.output
    # It goes into the background once it listens.
    started = await run(" ".join(configured), folder)
    assert started.code == 0, started.output
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await run(" ".join((*configured, "-s", "stop")), folder)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
async def test_an_answer_streams_through_nginx(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path
) -> None:
    location = block("deploy.md", "Quire behind nginx", "nginx")
    settings = make_settings(openai_base_url=upstream.base_url, trusted_proxy_hops=1)
    more = asyncio.Event()
    upstream.replies.append([delta("The tide turns "), more, delta("slowly. [1]"), finish(), DONE])
    async with (
        listening(settings) as address,
        nginx(tmp_path, location, address) as proxy,
        aiohttp.ClientSession() as client,
    ):
        asked = {"question": "When does the tide turn?"}
        async with asyncio.timeout(10), client.post(f"{proxy}/chat", json=asked) as response:
            assert response.status == 200
            # The model says no more until the reader has its first words.
            begun = b""
            while b"The tide" not in begun:
                begun += await response.content.readany()
            assert b"slowly" not in begun
            more.set()
            assert b'"done"' in await response.content.read()

        large = io.BytesIO(b"x" * 2_000_000)
        key = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with client.post(f"{proxy}/ingest/archive", data=large, headers=key) as response:
            assert response.status == 400, "nginx has to let it through to Quire, which refuses it"


# --- GitHub Actions ---


def workflow(heading: str) -> dict[str, Any]:
    text = block("github-actions.md", heading, "yaml")
    # YAML takes the key `on` for a truth value.
    return dict(yaml.safe_load(re.sub(r"^on:", "'on':", text, flags=re.MULTILINE)))


def steps(heading: str) -> dict[str, dict[str, Any]]:
    """The steps that run a script, by name."""
    (job,) = workflow(heading)["jobs"].values()
    assert job["defaults"]["run"]["shell"] == "bash"
    return {step["name"]: step for step in job["steps"] if "run" in step}


@pytest.mark.parametrize("heading", [PUSH, DEPLOY])
def test_a_workflow_may_do_little(heading: str) -> None:
    whole = workflow(heading)
    assert whole["permissions"] == {"contents": "read"}
    assert whole["concurrency"]["cancel-in-progress"] is False
    assert set(whole["on"]) == {"push", "workflow_dispatch"}
    (job,) = whole["jobs"].values()
    assert job["timeout-minutes"] <= 60
    used = [step for step in job["steps"] if "uses" in step]
    assert used
    for step in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert step["with"]["persist-credentials"] is False
    # A secret only for the step that needs it, and never within a script's text.
    assert "secrets." not in json.dumps(job.get("env", {}))
    assert "${{" not in "".join(step.get("run", "") for step in job["steps"])


def test_pinned_actions_say_their_version() -> None:
    (text, other) = (block("github-actions.md", heading, "yaml") for heading in (PUSH, DEPLOY))
    for line in re.findall(r"uses: .*", text + other):
        assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


CHECKOUT = {
    "mkdocs.yml": "site_name: Harbour\nsite_url: https://you.github.io/book/\n",
    **{f"docs/{path}": text for path, text in BOOK.items()},
    "docs/ropes.md": "# Ropes\n\n## Splicing\n\nA rope is spliced by its three strands.\n",
}


@dataclass(frozen=True)
class Runner:
    """Runs the steps of the push workflow in a checked out repository."""

    folder: Path
    address: str

    @classmethod
    def of(cls, folder: Path, address: str, files: Mapping[str, str]) -> "Runner":
        write_book(folder / "checkout", files)
        # The pauses between two looks are not what is tested.
        pause = folder / "bin/sleep"
        pause.parent.mkdir()
        pause.write_text("#!/bin/sh\nexec /bin/sleep 0.02\n")
        pause.chmod(0o755)
        return cls(folder, address)

    async def step(self, name: str, **secrets: str) -> Ran:
        output = self.folder / "output"
        output.touch()
        outputs = dict(line.partition("=")[::2] for line in output.read_text().splitlines())

        def value(expression: str) -> str:
            found = re.fullmatch(
                r"\$\{\{ (secrets|vars|steps\.push\.outputs)\.(\w+) \}\}", expression
            )
            assert found, expression
            return (outputs if found[1].startswith("steps") else secrets)[found[2]]

        step = steps(PUSH)[name]
        environment = {each: value(raw) for each, raw in step.get("env", {}).items()}
        environment |= {
            "ASK_URL": self.address,
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(output),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }
        return await run(step["run"], self.folder / "checkout", environment)


needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("tar")), reason="curl or tar is not installed"
)
WAIT, SEND, FOLLOW = "Wait until Quire is awake and idle", "Push", "Wait until it is ingested"


@needs_curl
async def test_the_push_workflow_puts_the_docs_into_quire(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    settings = make_settings(qdrant_path=own_index, site_generator="auto", site_url="")
    async with listening(settings) as address, aiohttp.ClientSession() as client:
        runner = Runner.of(tmp_path, address, CHECKOUT)
        assert list(steps(PUSH)) == [WAIT, SEND, FOLLOW]
        for name in (WAIT, SEND, FOLLOW):
            ran = await runner.step(name, ADMIN_API_KEY=ADMIN_KEY)
            assert ran.code == 0, f"{name}: {ran.output}"
        assert '"status": "completed"' in ran.output
        asked = {"q": "How is a rope spliced?", "k": "1"}
        async with client.get(f"{address}/search", params=asked) as response:
            (passage,) = (await response.json())["passages"]
        assert passage["url"].startswith("https://you.github.io/book/ropes/#")


@needs_curl
@pytest.mark.parametrize(
    ("key", "files", "fails", "says"),
    [
        ("a-wrong-key", CHECKOUT, SEND, "UNAUTHORIZED"),
        (
            ADMIN_KEY,
            {"mkdocs.yml": "site_name: x\n", "docs/a.txt": "x"},
            FOLLOW,
            "no readable text",
        ),
    ],
    ids=["wrong key", "no pages"],
)
async def test_the_push_workflow_fails_where_the_push_does(
    make_settings: MakeSettings,
    own_index: Path,
    tmp_path: Path,
    key: str,
    files: Mapping[str, str],
    fails: str,
    says: str,
) -> None:
    async with listening(make_settings(qdrant_path=own_index)) as address:
        runner = Runner.of(tmp_path, address, files)
        for name in (WAIT, SEND, FOLLOW):
            ran = await runner.step(name, ADMIN_API_KEY=key)
            if name == fails:
                assert ran.code != 0
                assert says in ran.output
                break
            assert ran.code == 0, f"{name}: {ran.output}"


@needs_curl
async def test_the_push_workflow_fails_where_there_is_no_quire(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    runner = Runner.of(tmp_path, f"http://127.0.0.1:{port}", CHECKOUT)
    (tmp_path / "bin/sleep").write_text("#!/bin/sh\n")
    ran = await runner.step(WAIT)
    assert ran.code == 1
    assert "There is no Quire at" in ran.output


async def test_the_space_gets_the_book_and_its_configuration(tmp_path: Path) -> None:
    write_book(tmp_path / "book", CHECKOUT)
    write_book(tmp_path / "space", {"book_content/old.md": "# Old\n", ".git/config": ""})
    shutil.copy(ROOT / "README.md", tmp_path / "space")
    ran = await run(steps(DEPLOY)["Put the book into the Space"]["run"], tmp_path)
    assert ran.code == 0, ran.output
    content = tmp_path / "space/book_content"
    found = {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}
    assert found == set(CHECKOUT)
    assert not (tmp_path / "space/.git").exists()
    assert "\ntitle: Ask my book\n" in (tmp_path / "space/README.md").read_text(encoding="utf-8")
    site = detect_site(content)
    assert (site.generator, site.base_url) == ("mkdocs", "/book/")


def test_the_upload_by_hand_is_the_workflow_s() -> None:
    by_hand, by_workflow = (
        re.findall(r'hf"? upload ([^\\\n]*)', "".join(each.code for each in found))
        for found in (
            blocks("sh", page="hugging-face.md"),
            blocks("yaml", page="github-actions.md"),
        )
    )
    assert [each.strip() for each in by_workflow] == by_hand
    assert by_hand
