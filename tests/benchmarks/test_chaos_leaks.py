import os
from dataclasses import replace

from benchmarks.chaos_leaks import Sample, find_leaks, take_sample


def test_leaks_are_found() -> None:
    first = Sample(seconds=90, memory=170, anonymous=100, files=8, threads=12, tasks=10)
    assert find_leaks(first, replace(first, seconds=600, memory=180, files=10)) == []
    last = replace(first, memory=300, files=99, threads=40, tasks=500)
    assert [text.partition(":")[0] for text in find_leaks(first, last)] == [
        "memory",
        "open files",
        "threads",
        "tasks",
    ]


def test_a_process_is_measured() -> None:
    own = take_sample(os.getpid(), seconds=1.5, tasks=3)
    assert (own.seconds, own.tasks) == (1.5, 3)
    assert own.memory > own.anonymous > 1
    assert own.files >= 3
    assert own.threads >= 1
    assert str(own).startswith("idle at 2 s: ")
