"""What a server holds in a quiet moment, and what has leaked between two of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES, THREADS, TASKS = 8, 4, 4
"""So many more may there be at the end than after the warm-up."""
MEMORY: Final = 32.0
"""MB, likewise: caches and conversations fill up to their bounds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server in a quiet moment. Memory in MB."""

    seconds: float
    memory: float
    anonymous: float
    """The part of it that is no mapped file."""
    files: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"quiet at {self.seconds:.0f} s: {self.memory:.1f} MB, {self.anonymous:.1f} of them "
            f"own, {self.files} files, {self.threads} threads, {self.tasks} tasks"
        )


def sample(pid: int, *, seconds: float, tasks: int) -> Sample:
    """Of the process now; `seconds` of the run have gone by, and the server has `tasks`."""
    proc = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return Sample(
        seconds=seconds,
        memory=int(status["VmRSS"].split()[0]) / 1024,
        anonymous=int(status["RssAnon"].split()[0]) / 1024,
        files=len(list((proc / "fd").iterdir())),
        threads=int(status["Threads"]),
        tasks=tasks,
    )


def judge(first: Sample, last: Sample) -> list[str]:
    """What has leaked between two quiet moments."""
    return [
        f"{name}: {before:g} after the warm-up, {after:g} at the end"
        for name, before, after, margin in (
            ("memory", first.memory, last.memory, MEMORY),
            ("open files", first.files, last.files, FILES),
            ("threads", first.threads, last.threads, THREADS),
            ("tasks", first.tasks, last.tasks, TASKS),
        )
        if after > before + margin
    ]
