"""The process of a replayed image while it runs, asked over HTTP as its readers would."""

import contextlib
import dataclasses
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.replay_image_container import Run, start

PATIENCE: Final = 30.0
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
        seconds = time.monotonic() - began
        self._reading.join(PATIENCE)  # or what it said last would be missing
        return seconds


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
