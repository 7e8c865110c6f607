"""Chaos test: check the server's invariants under failures, hostile clients and reindexing.

    python -m benchmarks.chaos [--seconds 600] [--readers 40] [--seed N]

Starts the real server with a scripted upstream that fails at random. Clients ask, leave, stall,
flood and send garbage, while the book changes and is ingested again. In quiet phases memory, open
files, threads and tasks are compared with those after the warm-up. At the end the budget is used
up, and the server receives SIGTERM with streams open.

Each session has a secret that the upstream repeats: a reader who sees another secret reveals a mix
of sessions. Exits with 1 if any invariant was violated, and prints the seed.
"""

import argparse
import asyncio
import json
import random
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.chaos_crowd import TOPICS, Crowd
from benchmarks.chaos_leaks import judge
from benchmarks.chaos_run import TOKENS_A_SECOND, Run
from benchmarks.chaos_server import started
from benchmarks.chaos_upstream import SLOWLY, Upstream, serving
from benchmarks.chaos_watch import Watch
from benchmarks.chaos_wire import connected

TOKENS_AT_END: Final = 100_000
"""Tokens of the budget reserved for the final phase."""
SLOW_STREAMS: Final = 12


async def run(seconds: float, readers: int, seed: int) -> int:
    """Run the test and return the exit code."""
    draw = random.Random(seed)
    upstream = Upstream(random.Random(seed))
    limit = round(TOKENS_AT_END + TOKENS_A_SECOND * seconds)
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with serving(upstream), started(folder, upstream.base_url, limit) as server:
            crowd = Crowd(server.port, draw, lingering=seconds >= 30)
            watch = Watch(upstream, crowd, limit)
            this = Run(server, watch, folder / "book", seconds)
            for share in (0.15, 0.25, 0.25, 0.25) if crowd.lingering else (0.5, 0.5):
                async with this.chaos(readers, planned=True):
                    await asyncio.sleep(share * seconds)
                await this.quiet()
            crowd.problems += judge(this.samples[0], this.samples[-1])
            async with AsyncExitStack() as stack:
                slow = []
                for place in range(SLOW_STREAMS):
                    question = f"{TOPICS[0]}, secret{place:012x}, {SLOWLY}?"
                    data = crowd.chat(question=question)
                    slow.append(await stack.enter_async_context(connected(crowd.port, data)))
                    await slow[-1].head()
                await stack.enter_async_context(this.chaos(readers, planned=False))
                await this.use_up()
                await asyncio.sleep(0.05 * seconds)
                await this.stop(slow)
        kept = json.loads((folder / "index" / "spending.json").read_bytes())["tokens"]
        if kept < upstream.billed:
            crowd.problem(f"{kept} tokens are kept as spent, {upstream.billed} were billed")
    for text in upstream.mixed:
        crowd.problem(f"one prompt with {text}")
    crowd.problems += server.mistakes
    report(this, kept)
    if crowd.problems:
        print(f"FAILED, seed {seed}:", *crowd.problems, sep="\n  ")
        return 1
    print(f"passed, seed {seed}")
    return 0


def report(this: Run, kept: int) -> None:
    crowd, upstream, watch = this.crowd, this.upstream, this.watch
    for name, counts in (
        ("answers", crowd.statuses),
        ("ends of answers", crowd.ends),
        ("faults", upstream.faults),
    ):
        print(f"{name}: " + ", ".join(f"{key} {n}" for key, n in sorted(counts.items())))
    late = sorted(watch.health_seconds)
    print(
        f"requests {crowd.statuses.total()}, ingestions {this.ingestions}, model asked "
        f"{upstream.asked} times and left {upstream.left} times, follow-ups that knew their "
        f"session {crowd.remembered}\n"
        f"budget {watch.limit}: spent and reserved at the most {watch.most_spent}, billed "
        f"{upstream.billed}, kept {kept}, answers at once {watch.most_running} of at the most "
        f"{upstream.largest} tokens\n"
        f"/health: median {1000 * late[len(late) // 2]:.0f} ms, p99 "
        f"{1000 * late[len(late) * 99 // 100]:.0f} ms\n"
        f"SIGTERM: exit after {this.exit_seconds:.1f} s, {this.told} of {SLOW_STREAMS} slow "
        "streams were told"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--readers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args(arguments)
    return asyncio.run(run(given.seconds, given.readers, given.seed))


if __name__ == "__main__":
    sys.exit(main())
