"""What a replayed image is tested for, in namespaces without a network.

Run as a module, by `unshare`, it reads a `Plan` as JSON and prints a `Row` a line. Each container
is limited in memory, runs as the image's user, and is asked over HTTP.
"""

import contextlib
import dataclasses
import http.client
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.replay_image_container import (
    Run,
    limited_memory,
    mount,
    prepare,
    raise_loopback,
    start,
)

READ_ONLY: Final = "Read-only file system"
PATIENCE: Final = 30.0
MODEL_PORT: Final = 11434
POLL: Final = 0.005


@dataclass(frozen=True, slots=True)
class Plan:
    """The image, and what is asked of it."""

    run: dict[str, Any]
    work: str
    """A folder to write to."""
    healthcheck: list[str]
    port: int
    index: str
    """The name of the generation that was built in."""
    index_folder: str
    question: str
    expected: str
    memory: int
    health_seconds: float
    answer_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    check: str
    passed: bool
    found: str


class Container:
    """The image's process while it runs."""

    def __init__(
        self, plan: Plan, image: dict[str, Any], cgroup: Path | None, **environment: str
    ) -> None:
        self.plan = plan
        run = Run(**image)
        self.run = dataclasses.replace(run, environment=run.environment | environment)
        self.began = time.monotonic()
        self.process = start(self.run, cgroup, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace"))

    def until_it_listens(self) -> None:
        while time.monotonic() < self.began + PATIENCE and self.process.poll() is None:
            with contextlib.suppress(OSError):
                connection = self.connect()
                connection.connect()
                connection.close()
                return
            time.sleep(POLL)
        raise SystemExit("it does not listen:\n" + "".join(self.log))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.plan.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = self.connect()
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    def chat(self) -> Iterator[dict[str, Any]]:
        """The events of the answer, as they come; closed, it leaves the stream open."""
        connection = self.connect()
        body = json.dumps({"question": self.plan.question})
        connection.request("POST", "/chat", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"/chat: {answer.status} {answer.read()!r}")
        self.stream = answer
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def ingest(self) -> dict[str, Any]:
        """Anew, to its end; the status."""
        status, started = self.ask("POST", "/ingest", {"force_reindex": True})
        if status not in (200, 202):
            return {"status": "failed", "error": started.get("error", str(started))}
        until = time.monotonic() + PATIENCE
        while True:
            _, told = self.ask("GET", f"/ingest/status?task_id={started['task_id']}")
            if told["finished_at"] or time.monotonic() > until:
                return dict(told)
            time.sleep(POLL)

    def answer(self) -> str:
        return "".join(event.get("content", "") for event in self.chat())

    def beside(
        self, command: list[str], cgroup: Path | None
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run another command in the same container to its end."""
        run = dataclasses.replace(self.run, command=command)
        process = start(run, cgroup, stderr=subprocess.PIPE)
        _, stderr = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, None, stderr)

    def memory_used(self, when: str) -> Row:
        """The most that its processes together had in memory so far."""
        size = sum(peak_of(pid) for pid in family(self.process.pid))
        return Row(f"memory, {when}", size < self.plan.memory, f"{size / 2**20:.0f} MB at the most")

    def ended(self) -> bool:
        """Whether it ended well."""
        return self.process.returncode == 0 and "Traceback" not in "".join(self.log)

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure:
            sys.stderr.write("".join(self.log))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> float:
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - began


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
    for place in (work / "layer", work / "layer-in-memory"):
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


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def peak_of(pid: int) -> int:
    return int(status_of(pid).get("VmHWM", "0 kB").split()[0]) * 1024


def family(pid: int) -> list[int]:
    """The process and what it has started."""
    children: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        children += map(int, path.read_text(encoding="ascii").split())
    return [pid, *(each for child in children for each in family(child))]


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
