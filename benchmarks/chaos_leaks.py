"""Measure an idle server's resources and compare two measurements to find leaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES, THREADS, TASKS = 8, 4, 4
"""Allowed growth from the warm-up to the end."""
MEMORY: Final = 32.0
"""Allowed growth in MB: caches and sessions fill up to their limits."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Resources of the idle server. Memory in MB."""

    seconds: float
    memory: float
    anonymous: float
    """Anonymous memory, without mapped files."""
    files: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"idle at {self.seconds:.0f} s: {self.memory:.1f} MB, of which {self.anonymous:.1f} "
            f"anonymous, {self.files} files, {self.threads} threads, {self.tasks} tasks"
        )


def take_sample(pid: int, *, seconds: float, tasks: int) -> Sample:
    """Measure a process; `seconds` since the start and `tasks` come from the caller."""
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


def find_leaks(first: Sample, last: Sample) -> list[str]:
    """Return the resources that grew by more than is allowed."""
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
