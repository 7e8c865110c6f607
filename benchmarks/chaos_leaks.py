"""Detect leaks: sample a process's memory, files, threads and tasks, and compare samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES, THREADS, TASKS = 8, 4, 4
"""Allowed growth between the warm-up and the end."""
MEMORY: Final = 32.0
"""Allowed growth in MB: caches and sessions fill up to their limits."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's resources in a quiet phase. Memory in MB."""

    seconds: float
    memory: float
    anonymous: float
    """Memory that is not mapped from files."""
    files: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"quiet at {self.seconds:.0f} s: {self.memory:.1f} MB, {self.anonymous:.1f} MB "
            f"anonymous, {self.files} files, {self.threads} threads, {self.tasks} tasks"
        )


def sample(pid: int, *, seconds: float, tasks: int) -> Sample:
    """Sample the process, `seconds` after the start of the run; `tasks` is the server's count."""
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
    """Describe what leaked between two samples."""
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
