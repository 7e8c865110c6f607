"""Replay the Dockerfile without a container engine, and test what comes out.

    sudo python -m scripts.replay_image [--work FOLDER] [--build-arg NAME=VALUE] [--keep]

For developers and for CI. Every instruction is replayed in a clean root file system, as the user,
in the folder and with the environment that it says, and what it does not know stops it. Then the
image's command runs: read-only, without a network, with 512 MB, as user 1000, and has to answer
from the index that was built in. Only the standard library is used here.

It needs Linux, root (for namespaces and mounts) and the program debootstrap, which makes the root
file system that stands in for the base image (see `scripts.replay_image_build`). The packages are
fetched by this machine's pip, with its settings, and installed from there by their hashes. With
`--work`, the root file system and the packages are kept for the next time.

The exit code is 0 when every check has passed, 1 when one has not, 3 when nothing could be run.
"""

import argparse
import dataclasses
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scripts.replay_image_build import Builder, Image
from scripts.replay_image_checks import LAYERS
from scripts.replay_image_container import UNSHARE
from scripts.replay_image_parser import Refused
from scripts.replay_image_running import Plan, Row

CANNOT: Final = 3
ROOT: Final = Path(__file__).parents[1]
USER: Final = 1000
INDEX: Final = "app/qdrant_data"
NEVER: Final = (
    *("app/.env", "app/.git", "app/tests", "app/qdrant_data/quire/spending.json"),
    *("root/.cache", "usr/bin/gcc", "usr/bin/cc", "usr/local/bin/pip", "opt/quire/bin/pip"),
)
SECRET_NAMES: Final = ("KEY", "SECRET", "TOKEN", "PASSWORD")
OURS: Final = ("opt", "app", "etc", "run", "tmp", "root", "home", "usr/local", "var")
"""Where a build could leave something."""
SIZES: Final = ("opt/quire", "app/lib", "app/handlers", "app/book_content", INDEX)


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    if reason := why_not():
        print(f"The image cannot be replayed here: {reason}", file=sys.stderr)
        return CANNOT
    work = options.work or Path(tempfile.mkdtemp(prefix="replay-image-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        rows = replay(options, work.resolve())
    except (Refused, subprocess.CalledProcessError) as error:
        print(f"The replay has stopped: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            for made in (*work.glob("stage-[0-9]"), *(work / each for each in LAYERS)):
                shutil.rmtree(made, ignore_errors=True)
            if not options.work:
                shutil.rmtree(work)
    return 0 if rows and all(row.passed for row in rows) else 1


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.replay_image", description="Replay and test the Dockerfile."
    )
    parser.add_argument("--context", type=Path, default=ROOT, help="the folder that is built from")
    parser.add_argument("--work", type=Path, help="where to build; keeps base and packages")
    parser.add_argument("--keep", action="store_true", help="keep the root file systems too")
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as Docker's"
    )
    parser.add_argument("--question", default="Which port does Quire use?")
    parser.add_argument("--expect", default="7860", help="what the answer has to contain")
    parser.add_argument("--memory", type=int, default=512, help="limit in MB")
    parser.add_argument("--health-seconds", type=float, default=5.0)
    parser.add_argument("--answer-seconds", type=float, default=10.0)
    parser.add_argument("--stop-seconds", type=float, default=5.0)
    return parser.parse_args(arguments)


def why_not() -> str:
    """Why nothing can be run here, in a sentence; empty if it can."""
    if sys.platform != "linux":
        return "that needs Linux."
    if os.geteuid() != 0:
        return "it needs root, for namespaces and mounts."
    if not shutil.which("debootstrap"):
        return "debootstrap is missing; apt-get install debootstrap debian-archive-keyring."
    tried = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "try", "/tmp"], capture_output=True, text=True
    )
    return f"it may not mount anything ({tried.stderr.strip()})." if tried.returncode else ""


def replay(options: argparse.Namespace, work: Path) -> list[Row]:
    build_arguments = dict(each.partition("=")[::2] for each in options.build_arg)
    began = time.monotonic()
    builder = Builder(options.context.resolve(), work, build_arguments, say)
    image = builder.build()
    say(f"replayed in {time.monotonic() - began:.0f} s")
    rows = []
    for each in (sizes(image), files(image, builder.secret), running(options, image, work)):
        for row in each:
            say(f"{'ok  ' if row.passed else 'FAIL'} {row.check:36} {row.found}")
            rows.append(row)
    failed = [row.check for row in rows if not row.passed]
    say(f"{len(rows) - len(failed)} of {len(rows)} passed" + "".join(f"\n  {n}" for n in failed))
    return rows


def say(line: str) -> None:
    print(line, flush=True)


def sizes(image: Image) -> Iterator[Row]:
    for name in SIZES:
        done = subprocess.run(
            ["du", "-s", "--block-size=K", str(image.root / name)], capture_output=True, text=True
        )
        yield Row(f"size of /{name}", True, f"{int(done.stdout.split('K')[0]) / 1024:.1f} MB")


def files(image: Image, secret: str) -> Iterator[Row]:
    """What is in the image, to whom it belongs, and what must not be there."""
    root = image.root
    user = str(image.uid())
    yield Row("USER", user == str(USER), user)
    yield Row("EXPOSE", image.ports == [7860], str(image.ports))
    yield Row("WORKDIR", image.folder == "/app", image.folder)
    wrong = sorted(f"/{path.relative_to(root)}" for path in writable(root))
    yield Row("only the index belongs to the user", not wrong, ", ".join(wrong[:5]))
    there = [name for name in NEVER if (root / name).exists()]
    yield Row("no keys, tests, compiler, pip, cache", not there, ", ".join(there))
    named = [
        name
        for name, value in image.environment.items()
        if value and any(part in name.upper() for part in SECRET_NAMES)
    ]
    held = sorted(str(path.relative_to(root)) for path in holding(root, secret.encode()))
    yield Row("the build's secret is in no file", not (named or held), ", ".join(named + held))
    sources = list((root / "opt/quire/lib").rglob("*.py")) + list((root / "app").rglob("*.py"))
    bare = [path for path in sources if not compiled(path)]
    found = f"{len(sources)} modules" + "".join(f", not {path}" for path in bare[:3])
    yield Row("bytecode that needs no check", not bare, found)
    labels = [name for name in image.labels if not name.startswith("org.opencontainers.image.")]
    yield Row("labels", bool(image.labels) and not labels, ", ".join(image.labels.values()))


def writable(root: Path) -> Iterator[Path]:
    """What belongs to the user or may be written by all, where it should not; and what should."""
    for top in OURS:
        for folder, _, names in os.walk(root / top):
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                its = path.lstat()
                index = path.is_relative_to(root / INDEX)
                everybody = its.st_mode & stat.S_IWOTH and not stat.S_ISLNK(its.st_mode)
                sticky = its.st_mode & stat.S_ISVTX
                if (its.st_uid == USER) != index or (everybody and not sticky):
                    yield path


def holding(root: Path, secret: bytes) -> Iterator[Path]:
    for top in OURS:
        for folder, _, names in os.walk(root / top):
            for path in (Path(folder, name) for name in names):
                if path.is_file() and not path.is_symlink() and secret in path.read_bytes():
                    yield path


def compiled(source: Path) -> bool:
    """Whether there is bytecode beside it that is not compared with it."""
    found = list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
    return any(path.read_bytes()[4:8] == b"\1\0\0\0" for path in found)


def running(options: argparse.Namespace, image: Image, work: Path) -> Iterator[Row]:
    current = image.root / INDEX / "quire/current"
    if not current.exists():
        yield Row("an index is built in", False, "without one, nothing is run")
        return
    plan = Plan(
        run=dataclasses.asdict(image.run(image.command)),
        work=str(work),
        healthcheck=image.healthcheck,
        port=image.ports[0],
        index=current.read_text(encoding="utf-8").strip(),
        index_folder=f"/{INDEX}/",
        question=options.question,
        expected=options.expect,
        memory=options.memory << 20,
        health_seconds=options.health_seconds,
        answer_seconds=options.answer_seconds,
        stop_seconds=options.stop_seconds,
    )
    command = [*UNSHARE, sys.executable, "-m", "scripts.replay_image_checks"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(dataclasses.asdict(plan)))
        process.stdin.close()
        for line in process.stdout:
            yield Row(**json.loads(line))
    yield Row("the checks came to their end", process.returncode == 0, "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
