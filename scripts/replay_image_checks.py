"""What a replayed image is tested for, in namespaces without a network.

Run as a module, by `unshare`, it reads a `Plan` as JSON and prints a `Row` a line. Each container
is limited in memory, runs as the image's user, and is asked over HTTP.
"""

import contextlib
import dataclasses
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from scripts.replay_image_container import limited_memory, mount, prepare, raise_loopback
from scripts.replay_image_running import Container, Plan, Row, status_of

READ_ONLY: Final = "Read-only file system"
MODEL_PORT: Final = 11434
STRANGER: Final = 1_000_620_000
"""A user that the image does not know, as OpenShift gives each project one."""
LAYERS: Final = ("layer", "layer-in-memory")
"""Folders for what is written above the image."""


class Model(http.server.BaseHTTPRequestHandler):
    """A language model that begins to answer and never ends."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in range(1_000_000):
            delta = {"choices": [{"index": 0, "delta": {"content": f"Word {number}. "}}]}
            try:
                self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def checks(plan: Plan) -> Iterator[Row]:
    """All of them. The last container may write, so it comes last."""
    root = Path(plan.run["root"])
    cgroup = limited_memory(f"quire-replay-{os.getpid()}", plan.memory)
    how = "as a control group" if cgroup else "no control group can be made: measured only"
    yield Row("memory is limited", True, f"{plan.memory >> 20} MB, {how}")
    try:
        prepare(root, read_only=True, temporary=True)
        yield from answers(plan, cgroup)
        mount("-o", "remount,ro", str(root / "tmp"))
        yield from stops(plan, cgroup)
        yield from writes(plan, cgroup)
    finally:
        if cgroup:
            cgroup.rmdir()


def answers(plan: Plan, cgroup: Path | None) -> Iterator[Row]:
    """A start with the root read-only and the network off, and a question to it."""
    with Container(plan, plan.run, cgroup) as container:
        container.until_it_listens()
        status, _ = container.ask("GET", "/health")
        seconds = time.monotonic() - container.began
    yield timed("start to the first 200 of /health", seconds, plan.health_seconds, status == 200)
    with Container(plan, plan.run, cgroup) as container:
        container.until_it_listens()
        text, cited, first = "", 0, 0.0
        for event in container.chat():
            if event["type"] == "chunk":
                first = first or time.monotonic() - container.began
                text += event["content"]
            cited += event["type"] == "citation"
        right = plan.expected in text and cited > 0
        yield timed("start to the first streamed answer", first, plan.answer_seconds, right)
        _, health = container.ask("GET", "/health")
        built_in = health["index_version"] == plan.index and not health["ingesting"]
        yield Row("answers from the prebuilt index", right and built_in, health["index_version"])
        yield from confined(plan, container, cgroup)
        told = container.ingest()
        said = READ_ONLY in str(told["error"])
        yield Row(
            "ingesting says why it cannot", told["status"] == "failed" and said, told["error"]
        )
        yield Row("and searching goes on", plan.expected in container.answer(), "")
        yield container.memory_used("after answers")
        seconds = container.stop()
        yield timed("SIGTERM to the end, idle", seconds, plan.stop_seconds, container.ended())
        sick = container.beside(plan.healthcheck, cgroup).returncode != 0
        yield Row("HEALTHCHECK then fails", sick, "")
    with Container(plan, plan.run | {"user": STRANGER}, cgroup) as container:
        container.until_it_listens()
        yield Row("answers as any other user", plan.expected in container.answer(), str(STRANGER))


def confined(plan: Plan, container: Container, cgroup: Path | None) -> Iterator[Row]:
    """What the process may do."""
    its = status_of(container.process.pid)
    user = str(container.run.user)
    own = all(set(its[ids].split()) == {user} for ids in ("Uid", "Gid"))
    yield Row("runs as the image's user", own, user)
    yield Row("has no capabilities", int(its["CapEff"], 16) == 0, its["CapEff"])
    lines = Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()[2:]
    names = [line.partition(":")[0].strip() for line in lines]
    alone = same_network(container.process.pid) and names == ["lo"]
    yield Row("the network is off", alone, " ".join(names))
    refused = container.beside(["touch", f"{plan.index_folder}x"], cgroup)
    message = refused.stderr.decode().strip()
    yield Row("the root file system is read-only", READ_ONLY in message, message)
    healthy = container.beside(plan.healthcheck, cgroup).returncode == 0
    yield Row("HEALTHCHECK passes", healthy, "")


def stops(plan: Plan, cgroup: Path | None) -> Iterator[Row]:
    """A language model, on this machine's loopback, whose stream is open when it has to end.

    Here `/tmp` cannot be written either, as with `docker run --read-only` alone.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", MODEL_PORT), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{MODEL_PORT}/v1"
    with Container(plan, plan.run, cgroup, OPENAI_BASE_URL=url) as container:
        container.until_it_listens()
        _, found = container.ask("POST", "/search", {"query": plan.question})
        passed = any(plan.expected in passage["text"] for passage in found["passages"])
        yield Row("searches without a /tmp too", passed, "")
        stream = container.chat()
        streams = any(event["type"] == "chunk" and "Word" in event["content"] for event in stream)
        yield container.memory_used("with a stream")
        seconds = container.stop()
        passed = streams and container.ended()
        yield timed("SIGTERM to the end, a stream open", seconds, plan.stop_seconds, passed)
    server.shutdown()


def writes(plan: Plan, cgroup: Path | None) -> Iterator[Row]:
    """With a layer above the image that can be written, as a plain `docker run` makes one."""
    merged, upper = layered(Path(plan.run["root"]), Path(plan.work))
    prepare(merged)
    with Container(plan, plan.run | {"root": str(merged)}, cgroup) as container:
        container.until_it_listens()
        passed = plan.expected in container.answer()
        seconds = time.monotonic() - container.began
        yield timed("start to the end of an answer", seconds, plan.answer_seconds, passed)
        yield from only_index(upper, plan, "written by then")
        told = container.ingest()
        found = told["error"] or f"{told['progress']['chunks_embedded']} chunks embedded"
        yield Row("ingests at run time", told["status"] == "completed", found)
        passed = plan.expected in container.answer()
        _, health = container.ask("GET", "/health")
        new = passed and health["index_version"] != plan.index
        yield Row("answers from the new index", new, health["index_version"])
        yield container.memory_used("after ingesting")
        seconds = container.stop()
        yield timed("SIGTERM to the end", seconds, plan.stop_seconds, container.ended())
    yield from only_index(upper, plan, "written at the end")


def layered(root: Path, work: Path) -> tuple[Path, Path]:
    """An overlay above `root`, and the folder that gets what is written."""
    for place in (work / name for name in LAYERS):
        shutil.rmtree(place, ignore_errors=True)
        upper, inner, merged = (place / name for name in ("upper", "inner", "merged"))
        place.mkdir()
        if place.name.endswith("memory"):  # the disk may be an overlay itself, which cannot nest
            mount("-t", "tmpfs", "layer", str(place))
        for folder in (upper, inner, merged):
            folder.mkdir()
        options = f"lowerdir={root},upperdir={upper},workdir={inner}"
        with contextlib.suppress(subprocess.CalledProcessError):
            mount("-t", "overlay", "-o", options, "overlay", str(merged))
            return merged, upper
    raise SystemExit("no overlay can be mounted")


def only_index(upper: Path, plan: Plan, check: str) -> Iterator[Row]:
    """Whether what was written lies in the index folder or in /tmp, and how much that is."""
    files = [path for path in upper.rglob("*") if not path.is_dir()]
    outside = [
        name
        for name in (f"/{path.relative_to(upper)}" for path in files)
        if not name.startswith((plan.index_folder, "/tmp/"))
    ]
    size = sum(path.lstat().st_blocks * 512 for path in files) / 2**20
    found = ", ".join(outside[:5]) or f"{len(files)} files, {size:.1f} MB, in the index folder"
    yield Row(check, not outside, found)


def timed(check: str, seconds: float, limit: float, passed: bool) -> Row:
    return Row(check, passed and seconds <= limit, f"{seconds:.2f} s (at most {limit:g})")


def same_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


def main() -> int:
    plan = Plan(**json.load(sys.stdin))
    raise_loopback()
    for row in checks(plan):
        print(json.dumps(dataclasses.asdict(row)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
