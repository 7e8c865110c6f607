"""A Dockerfile's stages, replayed as folders: each is a copy of the one it is built from.

The base image is stood in for by Debian's own packages (`debian`): the release and the minor
version of Python that the tag names, made to look like the official image as far as a Dockerfile
can see. It differs in that Python is Debian's build, below /usr, with a virtual environment in
/usr/local, and that Debian's packages are those of today.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from scripts.replay_image_container import Run
from scripts.replay_image_parser import Ignored, Stage, Step, parse, secret_of, substitute

BASE_PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
IMAGE: Final = re.compile(r"python:(\d+\.\d+)-slim-([a-z]+)(@sha256:[0-9a-f]{64})?")
INSIDE_WHEELS: Final = "/run/wheels"


@dataclass(slots=True)
class Image:
    """A stage that was replayed: its files and what it says of itself."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    ports: list[int] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> Run:
        """`command` in a container of this image; `environment` wins over the image's own."""
        merged = {"HOME": self.home()} | self.environment | (environment or {})
        return Run(str(self.root), command, merged, self.uid(), self.folder)

    def uid(self) -> int:
        if not self.user.isdecimal():
            raise SystemExit(f"USER {self.user}: only a number is known")
        return int(self.user)

    def home(self) -> str:
        lines = (self.root / "etc/passwd").read_text(encoding="utf-8").splitlines()
        homes = {row[2]: row[5] for row in (line.split(":") for line in lines)}
        return homes.get(self.user, "/")


class Builder:
    """Replays the Dockerfile of `context` below the folder `work`."""

    def __init__(
        self, context: Path, work: Path, arguments: dict[str, str], say: Callable[[str], None]
    ) -> None:
        self._context, self._work, self._say = context, work, say
        self._arguments = arguments
        ignore = context / ".dockerignore"
        self._ignored = Ignored(ignore.read_text(encoding="utf-8") if ignore.exists() else "")
        self._done: dict[str, Image] = {}
        requirements = (context / "requirements.txt").read_bytes()
        self._wheels = work / f"wheels-{sha256(requirements).hexdigest()[:16]}"
        self.secret = secrets.token_hex(16)
        """Given to every step that mounts a secret, to be looked for in what comes out."""

    def build(self) -> Image:
        """The image of the last stage. Raises `Refused`, `CalledProcessError`."""
        text = (self._context / "Dockerfile").read_text(encoding="utf-8")
        for number, stage in enumerate(parse(text, self._arguments)):
            self._say(f"stage {stage.name} from {stage.base}")
            image = self._begin(stage, number)
            variables: dict[str, str] = {}
            for step in stage.steps:
                self._say(f"  {step.word} {step.rest[:90]}")
                getattr(self, f"_{step.word.lower()}")(step, image, variables)
            self._done[stage.name] = image
        return image

    def _begin(self, stage: Stage, number: int) -> Image:
        root = self._work / f"stage-{number}"
        if stage.base in self._done:
            base = self._done[stage.base]
            copy_tree(base.root, root)
            return Image(root, dict(base.environment), {}, base.folder, base.user)
        found = IMAGE.fullmatch(stage.base)
        if not found:
            raise SystemExit(f"there is nothing to stand in for the image {stage.base}")
        copy_tree(debian(self._work, python=found[1], release=found[2]), root)
        self._download(found[1])
        return Image(root, {"PATH": BASE_PATH, "LANG": "C.UTF-8"})

    def _download(self, python: str) -> None:
        """The packages, by this machine's own pip and its settings; inside there is no network."""
        if self._wheels.exists():
            return
        begun = self._work / "wheels-begun"
        command = (
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--only-binary", ":all:", "--python-version", python),
            *("--dest", str(begun), "-r", str(self._context / "requirements.txt")),
        )
        with (self._work / "download.log").open("wb") as log:
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                raise SystemExit((self._work / "download.log").read_text(encoding="utf-8"))
        begun.rename(self._wheels)

    def _arg(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        if "=" not in step.rest:
            step = Step(step.line, step.word, step.flags, step.rest + "=")
        for name, default in step.pairs().items():
            scope = image.environment | variables
            given = self._arguments.get(name)
            variables[name] = substitute(default, scope, step) if given is None else given

    def _env(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        # All of one instruction see what was before it; the environment wins over arguments.
        scope = variables | image.environment
        pairs = step.pairs().items()
        image.environment |= {name: substitute(value, scope, step) for name, value in pairs}

    def _label(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        scope = variables | image.environment
        image.labels |= {k: substitute(v, scope, step) for k, v in step.pairs().items()}

    def _workdir(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        where = substitute(step.rest, variables | image.environment, step)
        image.folder = os.path.normpath(Path(image.folder, where))
        inside(image, image.folder).mkdir(parents=True, exist_ok=True)

    def _user(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        image.user = substitute(step.rest, variables | image.environment, step)

    def _expose(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        image.ports.append(int(step.rest))

    def _cmd(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        image.command = step.command()

    def _healthcheck(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        image.healthcheck = step.command()

    def _copy(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        scope = variables | image.environment
        *sources, target = (substitute(word, scope, step) for word in step.words())
        owner = step.flags.get("chown", "0:0").split(":")
        uid, gid = int(owner[0]), int(owner[-1])
        there = inside(image, target)
        as_folder = target.endswith("/") or len(sources) > 1
        for source in sources:
            if "from" in step.flags:
                origin, kept = inside(self._done[step.flags["from"]], source), None
            else:
                origin, kept = self._context / source, self._ignored
                if self._ignored(source):
                    raise step.refuse(f"{source} is left out by .dockerignore")
            if not origin.exists():
                raise step.refuse(f"there is no {source}")
            final = there / origin.name if origin.is_file() and as_folder else there
            copy(origin, final, uid, gid, self._context, kept)

    def _run(self, step: Step, image: Image, variables: dict[str, str]) -> None:
        # Docker hands arguments to a step as environment, where the environment wins over them.
        environment = variables | image.environment
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": INSIDE_WHEELS}
        run = image.run(step.command(), environment)
        run.binds[INSIDE_WHEELS] = str(self._wheels)
        if secret := secret_of(step):
            name, mode = secret
            file = self._work / "secret"
            file.write_text(self.secret, encoding="ascii")
            file.chmod(mode)
            run.binds[f"/run/secrets/{name}"] = str(file)
        run.wait()


def debian(work: Path, *, python: str, release: str) -> Path:
    """A root file system of a Debian release with its Python. Made once for each folder `work`."""
    made = work / f"base-{release}"
    if made.exists():
        return made
    root = work / "base-begun"
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates"]
    if Path(KEYRING).exists():
        command.append(f"--keyring={KEYRING}")
    with (work / "debootstrap.log").open("wb") as log:
        done = subprocess.run([*command, release, str(root), MIRROR], stdout=log, stderr=log)
    if done.returncode:
        lines = (work / "debootstrap.log").read_text(encoding="utf-8").splitlines()
        raise SystemExit("debootstrap has failed:\n" + "\n".join(lines[-20:]))
    there = [path.name for path in (root / "usr/bin").glob("python3.*")]
    if f"python{python}" not in there:
        raise SystemExit(f"Debian {release} has {there}, but the image is of Python {python}")
    # The official image has its Python in /usr/local, with pip, and without bytecode.
    subprocess.run(["chroot", str(root), "python3", "-m", "venv", "/usr/local"], check=True)
    for cache in root.rglob("__pycache__"):
        shutil.rmtree(cache)
    for folder in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / folder, ignore_errors=True)
    root.rename(made)
    return made


def inside(image: Image, path: str) -> Path:
    """The file of the image that is called `path` in it."""
    return image.root / os.path.normpath(Path(image.folder, path)).lstrip("/")


def copy_tree(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def copy(
    source: Path, target: Path, uid: int, gid: int, context: Path, ignored: Ignored | None
) -> None:
    """A file to a file, or what is in a folder into a folder; modes and times are kept."""
    if ignored and source != context and ignored(source.relative_to(context).as_posix()):
        return
    if source.is_dir() and not source.is_symlink():
        new = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        for each in sorted(source.iterdir()):
            copy(each, target / each.name, uid, gid, context, ignored)
        if not new:  # a folder that is there stays as it is, as with Docker
            return
        shutil.copystat(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        shutil.copy2(source, target, follow_symlinks=False)
    os.chown(target, uid, gid, follow_symlinks=False)
