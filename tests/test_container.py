"""The container, run by a real engine. `.ci/image` builds the image and runs these tests."""

import asyncio
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.settings import Settings
from tests.api import parse_events
from tests.container import (
    BUILD,
    ENGINE,
    IMAGE,
    LIMITED,
    MEMORY,
    READ_ONLY,
    container,
    engine,
    inspected,
    run,
    streaming,
)
from tests.handbook import ROOT
from tests.onnx_model import write_model
from tests.qdrant_server import running_qdrant
from tests.redis_server import running_redis
from tests.test_stopping import EXIT_SECONDS
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Hang, Upstream, delta

pytestmark = pytest.mark.skipif(not IMAGE, reason="QUIRE_IMAGE is not set: run .ci/image")

QUESTION = "Which port does Quire use?"
EXPECTED = "7860"
READY_SECONDS = 10
INDEX = "/app/qdrant_data"
CONFINED = (
    *(*LIMITED, *READ_ONLY),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256"),
)
PROCESS_STATUS = "print(open('/proc/1/status').read())"
MEMORY_LIMIT = """
import pathlib
for name in ("memory/memory.limit_in_bytes", "memory.max"):
    path = pathlib.Path("/sys/fs/cgroup", name)
    if path.exists():
        print(path.read_text())
"""
INDEX_VERSION = f"print(open('{INDEX}/quire/current').read())"


async def test_answers_in_a_confined_container_without_network() -> None:
    async with container(*CONFINED) as quire:
        assert await quire.until_ready() < READY_SECONDS
        answer = await quire.chat(QUESTION)
        assert EXPECTED in answer["answer"]
        assert answer["citations"]
        health = await quire.health()
        assert not health["ingesting"]
        assert health["index_version"] == (await quire.python(INDEX_VERSION)).output.strip()

        lines = (await quire.python(PROCESS_STATUS)).output.splitlines()
        status = {name: value.split() for name, _, value in (x.partition(":") for x in lines)}
        assert set(status["Uid"]) == set(status["Gid"]) == {"1000"}
        assert int(status["CapEff"][0], 16) == 0
        interfaces = await quire.python("import os; print(os.listdir('/sys/class/net'))")
        assert interfaces.output.strip() == "['lo']"
        assert int((await quire.python(MEMORY_LIMIT)).output) == MEMORY
        touched = await quire.python(f"open('{INDEX}/x', 'w')", check=False)
        assert "Read-only file system" in touched.errors

        ingested = await quire.ingest()
        assert ingested["status"] == "failed"
        assert "Read-only file system" in ingested["error"]
        assert EXPECTED in (await quire.chat(QUESTION))["answer"]
        assert int(status["VmHWM"][0]) << 10 < MEMORY

        seconds, code = await quire.stop()
        assert (seconds < EXIT_SECONDS, code) == (True, 0)
        assert "Traceback" not in await quire.log()


async def test_answers_as_any_user_without_tmp() -> None:
    # Podman mounts a /tmp in a read-only container by default; Docker does not.
    bare = ("--read-only-tmpfs=false",) if "podman" in ENGINE else ()
    async with container(*LIMITED, "--read-only", *bare, "--user", "4242:4242") as quire:
        await quire.until_ready()
        assert EXPECTED in (await quire.chat(QUESTION))["answer"]


async def test_sigterm_ends_an_open_stream(upstream: Upstream) -> None:
    upstream.replies.append([delta("Quire uses "), Hang()])
    options = {"network": "host", "OPENAI_BASE_URL": upstream.base_url}
    async with container(*CONFINED, **options) as quire:
        await quire.until_ready()
        async with streaming(quire.port, QUESTION) as stream:
            received = b""
            while b"Quire uses" not in received:
                received += await stream.readany()
            stopping = asyncio.create_task(quire.stop())
            # Raises if the stream is cut off.
            last = parse_events(received + await stream.read())[-1]
            assert (last["type"], last["code"]) == ("error", "STOPPING")
            seconds, code = await stopping
        assert (seconds < EXIT_SECONDS, code) == (True, 0)
        assert "Traceback" not in await quire.log()


async def test_ingests_in_a_writable_container() -> None:
    async with container(*LIMITED) as quire:
        await quire.until_ready()
        before = (await quire.health())["index_version"]
        assert EXPECTED in (await quire.chat(QUESTION))["answer"]
        page = (
            "open('/app/book_content/tides.md', 'w').write('# Tides\\n\\nThe tide turns at noon.')"
        )
        await quire.inside("python", "-c", page, user="0")
        ingested = await quire.ingest()
        assert ingested["status"] == "completed", ingested["error"]
        assert ingested["progress"]["chunks_embedded"] == 1
        assert EXPECTED in (await quire.chat(QUESTION))["answer"]
        assert "at noon" in (await quire.chat("When do the tides turn?"))["answer"]
        assert (await quire.health())["index_version"] != before
        seconds, code = await quire.stop()
        assert (seconds < EXIT_SECONDS, code) == (True, 0)
        changed = (await engine("diff", quire.name)).output.split("\n")
        written = [line.split()[1] for line in changed if line]
        # Writes elsewhere would fail in a read-only container. The engine mounts the parents.
        parents = {"/app", *(f"/{name}" for name in ("etc", "run", "tmp", "proc", "sys", "dev"))}
        ours = (INDEX, "/tmp/", "/run/", "/etc/")
        page_written = {"/app/book_content", "/app/book_content/tides.md"}
        assert {p for p in written if p not in parents and not p.startswith(ours)} == page_written


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")
async def test_openai_embeddings_with_qdrant_server_and_redis(
    upstream: Upstream, tmp_path: Path
) -> None:
    with running_redis(tmp_path) as redis:
        async with (
            running_qdrant(tmp_path / "qdrant", api_key="the-key", strict=True) as qdrant,
            container(
                *CONFINED,
                network="host",
                OPENAI_BASE_URL=upstream.base_url,
                OPENAI_API_KEY="sk-x",
                EMBEDDING_PROVIDER="openai",
                QDRANT_URL=qdrant.url,
                QDRANT_API_KEY="the-key",
                REDIS_URL=redis.url,
            ) as quire,
        ):
            await quire.until_ready()
            health = await quire.until_indexed()
            assert health["index_version"]
            assert "The answer" in (await quire.chat(QUESTION))["answer"]
            assert upstream.embedded()
            assert redis.size() > 0
            _, code = await quire.stop()
            assert code == 0
            assert "Traceback" not in await quire.log()


async def test_mounted_model_and_book(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_book(tmp_path / "book", BOOK)
    mounts = [f"--volume={tmp_path / name}:/{name}:ro" for name in ("model", "book")]
    settings = {"LOCAL_EMBEDDING_MODEL": "/model", "BOOK_CONTENT_PATH": "/book", "SITE_URL": SITE}
    async with container(*LIMITED, *mounts, **settings) as quire:
        await quire.until_ready()
        await quire.until_indexed()
        answer = await quire.chat("When does the tide turn?")
        assert answer["citations"][0]["source"]["file_path"] == "guide/tides.md"


async def test_image_configuration() -> None:
    config = await inspected()
    assert (config["User"], config["WorkingDir"]) == ("1000", "/app")
    assert list(config["ExposedPorts"]) == [f"{Settings().api_port}/tcp"]
    assert config["Cmd"] == ["python", "main.py"]
    assert config["Labels"]["org.opencontainers.image.title"] == "Quire"
    secret = ("KEY", "SECRET", "TOKEN", "PASSWORD")
    variables = dict(each.split("=", 1) for each in config["Env"])
    assert not [name for name in variables if variables[name] and name.endswith(secret)]


async def test_files_in_the_image() -> None:
    """File owners, bytecode for every module, and no unwanted files."""
    audit = (ROOT / "tests/container_audit.py").read_text(encoding="utf-8")
    alone = ("run", "--rm", "--interactive", "--user", "0", "--network", "none", IMAGE)
    found = json.loads((await engine(*alone, "python", "-", given=audit)).output)
    assert found.pop("sources") > 1000
    assert found == {"without_bytecode": [], "wrong_owner": [], "unwanted": []}


PLANTED = (
    *(".env", ".env.local", "book_content/.env", "lib/.env.production", ".git/config"),
    *("book_content/certs/server.key", "handlers/server.pem", "book_content/.npmrc"),
    *("book_content/.ssh/id", "lib/__pycache__/x.pyc", "book_content/node_modules/x.js"),
)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")
async def test_no_layer_holds_a_secret(upstream: Upstream, tmp_path: Path) -> None:
    """Neither the build's API key nor secret files in the build context."""
    context = tmp_path / "context"
    tracked = await run("git", "-C", str(ROOT), "ls-files", "-z")
    for name in tracked.output.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    planted = "planted-2f6c1e"
    for name in PLANTED:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(f"{planted} {name}")
    key = "sk-build-9d41b7"
    (tmp_path / "key").write_text(key)
    image = "quire-test-secret"
    await run(
        *BUILD,
        *("--tag", image, "--secret", f"id=OPENAI_API_KEY,src={tmp_path / 'key'}"),
        *("--build-arg", "EMBEDDING_PROVIDER=openai"),
        *("--build-arg", f"OPENAI_BASE_URL={upstream.base_url}"),
        str(context),
    )
    try:
        embedding = [each for each in upstream.requests if each.path == "/v1/embeddings"]
        assert {each.headers["authorization"] for each in embedding} == {f"Bearer {key}"}
        await engine("save", "--output", str(tmp_path / "image.tar"), image)
    finally:
        await engine("rmi", image, check=False)
    names = set()
    for name, content in archived(tmp_path / "image.tar"):
        names.add(name)
        assert key.encode() not in content, name
        assert planted.encode() not in content, name
    assert {"app/main.py", "app/qdrant_data/quire/current"} <= names


def archived(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a saved image: configuration, layers, and the names in each layer."""
    with tarfile.open(path) as image:
        for entry in image:
            file = image.extractfile(entry) if entry.isfile() else None
            if file is None:
                continue
            content = file.read()
            if content[:2] == b"\x1f\x8b":
                content = gzip.decompress(content)
            yield entry.name, content
            if content[257:262] == b"ustar":
                with tarfile.open(fileobj=io.BytesIO(content)) as layer:
                    yield from ((each.name, b"") for each in layer)
