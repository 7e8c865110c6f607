"""What a container engine does around a process: namespaces, mounts, user, memory, no network.

Run as a module it reads a `Run` as JSON and becomes that process; `unshare` starts it.
"""

import ctypes
import dataclasses
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DEVICES: Final = ("null", "zero", "full", "random", "urandom")
UNSHARE: Final = (
    *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts"),
    *("--fork", "--mount-proc", "--kill-child"),
)
PR_SET_NO_NEW_PRIVS: Final = 38
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1


@dataclass(frozen=True, slots=True)
class Run:
    """A process in the root file system `root`."""

    root: str
    command: list[str]
    environment: dict[str, str]
    user: int = 0
    folder: str = "/"
    binds: dict[str, str] = field(default_factory=dict)
    """Files and folders from outside, read-only, by their paths inside."""

    def wait(self) -> None:
        """Run it in namespaces of its own to its end. Raises `CalledProcessError`."""
        subprocess.run(
            [*UNSHARE, sys.executable, "-m", __name__],
            input=json.dumps(dataclasses.asdict(self)),
            text=True,
            check=True,
        )


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def prepare(root: Path, *, read_only: bool = False, temporary: bool = False) -> None:
    """Mount what a container finds in its root file system. In a mount namespace of its own."""
    mount("--bind", str(root), str(root))
    if read_only:
        mount("-o", "remount,ro,bind", str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "tmpfs", "-o", "size=64k,mode=755", "dev", str(root / "dev"))
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", str(root / "dev" / name))
    (root / "dev/shm").mkdir()
    # Docker's own size of it
    mount("-t", "tmpfs", "-o", "size=64m,mode=1777,nosuid,nodev", "shm", str(root / "dev/shm"))
    if temporary:
        mount("-t", "tmpfs", "-o", "size=64m,mode=1777,nosuid,nodev", "tmp", str(root / "tmp"))


def bind(root: Path, binds: dict[str, str]) -> None:
    if not binds:
        return
    # Mount points must not stay in the root file system.
    mount("-t", "tmpfs", "-o", "size=64k,mode=755", "run", str(root / "run"))
    for inside, outside in binds.items():
        target = root / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if Path(outside).is_dir() else target.touch()
        mount("--bind", outside, str(target))
        mount("-o", "remount,ro,bind", str(target))


def enter(run: Run, cgroup: Path | None = None) -> None:
    """Become what `run` says, between fork and exec."""
    if cgroup:
        (cgroup / "cgroup.procs").write_text("0")
    os.chroot(run.root)
    os.chdir(run.folder)
    os.setgroups([])
    os.setgid(run.user)
    os.setuid(run.user)
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs cannot be set")


def start(run: Run, cgroup: Path | None = None, **pipes: Any) -> "subprocess.Popen[bytes]":
    """The process of `run`, in the namespaces that the caller is in."""
    return subprocess.Popen(
        run.command, env=run.environment, preexec_fn=lambda: enter(run, cgroup), **pipes
    )


def raise_loopback() -> None:
    """A new network namespace has nothing but `lo`, and that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked)
        flags = struct.unpack("16sH14x", answer)[1] | IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def limited_memory(name: str, size: int) -> Path | None:
    """A new control group that may use `size` bytes; None where none can be made."""
    for place, limit, swap in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
    ):
        group = Path(place) / name
        try:
            group.mkdir()
            (group / limit).write_text(str(size))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        if (group / swap).exists():
            (group / swap).write_text("0" if swap.endswith("swap.max") else str(size))
        return group
    return None


def main() -> int:
    run = Run(**json.load(sys.stdin))
    raise_loopback()
    prepare(Path(run.root))
    bind(Path(run.root), run.binds)
    return start(run, stdin=subprocess.DEVNULL).wait()


if __name__ == "__main__":
    sys.exit(main())
