"""Chaos test: check the server's invariants under faulty clients and a faulty upstream.

    python -m benchmarks.chaos [--seconds 600] [--readers 40] [--seed N]

Starts the real server with a scripted upstream that fails at random. Clients ask, disconnect,
stall, flood and send malformed requests while the book changes and is ingested again. Between the
phases, when the server is idle, memory, files, threads and tasks are compared with those after the
warm-up. Finally the budget is exhausted, and the server gets SIGTERM with all connections open.

Every session has a secret, which the upstream repeats. A client that sees another session's secret
has found a leak. Exits with 1 after a violation, and prints the seed.
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

from benchmarks.chaos_http import connected
from benchmarks.chaos_leaks import find_leaks
from benchmarks.chaos_monitor import Monitor
from benchmarks.chaos_run import TOKENS_PER_SECOND, ChaosRun
from benchmarks.chaos_server import started
from benchmarks.chaos_state import TOPICS, ChaosState
from benchmarks.chaos_upstream import SLOWLY, Upstream, serving

RESERVED_TOKENS: Final = 100_000
"""Part of the budget that is left for the last phase."""
SLOW_STREAMS: Final = 12


async def run(seconds: float, clients: int, seed: int) -> int:
    """Run the chaos test and return the exit code."""
    rng = random.Random(seed)
    upstream = Upstream(random.Random(seed))
    limit = round(RESERVED_TOKENS + TOKENS_PER_SECOND * seconds)
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with serving(upstream), started(folder, upstream.base_url, limit) as server:
            state = ChaosState(server.port, rng, keep_alive=seconds >= 30)
            monitor = Monitor(upstream, state, limit)
            chaos = ChaosRun(server, monitor, folder / "book", seconds)
            for share in (0.15, 0.25, 0.25, 0.25) if state.keep_alive else (0.5, 0.5):
                async with chaos.running(clients, planned=True):
                    await asyncio.sleep(share * seconds)
                await chaos.settle()
            state.problems += find_leaks(chaos.samples[0], chaos.samples[-1])
            async with AsyncExitStack() as stack:
                slow = []
                for place in range(SLOW_STREAMS):
                    question = f"{TOPICS[0]}, secret{place:012x}, {SLOWLY}?"
                    data = state.chat(question=question)
                    slow.append(await stack.enter_async_context(connected(state.port, data)))
                    await slow[-1].head()
                await stack.enter_async_context(chaos.running(clients, planned=False))
                await chaos.exhaust_budget()
                await asyncio.sleep(0.05 * seconds)
                await chaos.stop(slow)
        saved = json.loads((folder / "index" / "spending.json").read_bytes())["tokens"]
        if saved < upstream.billed:
            state.report(f"{saved} tokens saved as spent, but {upstream.billed} billed")
    for text in upstream.mixed_prompts:
        state.report(f"secrets of several sessions in one prompt: {text}")
    state.problems += server.error_lines
    print_report(chaos, saved)
    if state.problems:
        print(f"FAILED, seed {seed}:", *state.problems, sep="\n  ")
        return 1
    print(f"passed, seed {seed}")
    return 0


def print_report(chaos: ChaosRun, saved: int) -> None:
    state, upstream, monitor = chaos.state, chaos.upstream, chaos.monitor
    for name, counts in (
        ("answers", state.statuses),
        ("outcomes", state.outcomes),
        ("faults", upstream.faults),
    ):
        print(f"{name}: " + ", ".join(f"{key} {n}" for key, n in sorted(counts.items())))
    latencies = sorted(monitor.health_seconds)
    print(
        f"requests {state.statuses.total()}, ingestions {chaos.ingestions}, model requests "
        f"{upstream.chat_requests}, of which {upstream.disconnects} cancelled, follow-ups with "
        f"their session's secret {state.remembered}\n"
        f"budget {monitor.limit}: peak spent and reserved {monitor.peak_spent}, billed "
        f"{upstream.billed}, saved {saved}, concurrent answers {monitor.peak_running}, largest "
        f"answer {upstream.largest_answer} tokens\n"
        f"/health: median {1000 * latencies[len(latencies) // 2]:.0f} ms, p99 "
        f"{1000 * latencies[len(latencies) * 99 // 100]:.0f} ms\n"
        f"SIGTERM: exit after {chaos.exit_seconds:.1f} s, {chaos.notified} of {SLOW_STREAMS} "
        "slow streams ended with an event"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600, help="duration; default 600")
    parser.add_argument("--readers", type=int, default=40, help="concurrent clients; default 40")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10**6),
        help="random seed; default: a new one",
    )
    given = parser.parse_args(arguments)
    return asyncio.run(run(given.seconds, given.readers, given.seed))


if __name__ == "__main__":
    sys.exit(main())
