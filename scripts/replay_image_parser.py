"""Dockerfile and .dockerignore, as far as the project uses them; the rest is refused by its line.

What is not known must stop: passed over, it would prove something about another image.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FLAGS: Final[Mapping[str, frozenset[str]]] = {
    "FROM": frozenset(),
    "ARG": frozenset(),
    "ENV": frozenset(),
    "LABEL": frozenset(),
    "WORKDIR": frozenset(),
    "USER": frozenset(),
    "EXPOSE": frozenset(),
    "COPY": frozenset({"from", "chown"}),
    "RUN": frozenset({"mount"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "retries"}),
    "CMD": frozenset(),
}
"""The instructions that are known, and the flags of each."""
VARIABLE: Final = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?::-([^${}]*))?\})|\$")


class Refused(Exception):
    """Something that the replay does not know, and where it stands."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: `COPY --from=a b c` is `COPY`, `{"from": "a"}`, `b c`."""

    line: int
    word: str
    flags: Mapping[str, str]
    rest: str

    def refuse(self, reason: str) -> Refused:
        return Refused(f"line {self.line}: {self.word}: {reason}")

    def command(self) -> list[str]:
        """Of RUN, CMD and HEALTHCHECK CMD: the arguments, the shell's own included."""
        rest = self.rest
        if self.word == "HEALTHCHECK":
            kind, _, rest = rest.partition(" ")
            if kind != "CMD":
                raise self.refuse("only CMD is known")
        if rest.lstrip().startswith("["):
            try:
                parts = json.loads(rest)
            except ValueError:
                raise self.refuse("no JSON array of strings") from None
            if not parts or not all(isinstance(part, str) for part in parts):
                raise self.refuse("no JSON array of strings")
            return list(parts)
        return ["/bin/sh", "-c", rest]

    def words(self) -> list[str]:
        """The arguments, without their quotes."""
        if "'" in self.rest:
            raise self.refuse("single quotes are not known")
        return shlex.split(self.rest)

    def pairs(self) -> dict[str, str]:
        """Of ENV, LABEL and ARG: names and values."""
        pairs = [word.partition("=") for word in self.words()]
        if any(not equals for _, equals, _ in pairs):
            raise self.refuse("only NAME=VALUE is known")
        return {name: value for name, _, value in pairs}


@dataclass(slots=True)
class Stage:
    """`FROM base AS name`, and what follows it."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


def parse(text: str, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """The stages; `arguments` are those of the build, for what stands in FROM. Raises `Refused`."""
    before: dict[str, str] = {}
    stages: list[Stage] = []
    for step in steps_of(text):
        if step.word == "FROM":
            stages.append(stage_of(step, before | dict(arguments or {}), len(stages)))
        elif stages:
            stages[-1].steps.append(step)
        elif step.word == "ARG":
            before |= step.pairs()
        else:
            raise step.refuse("stands before the first FROM")
    if not stages:
        raise Refused("there is no FROM")
    return stages


def stage_of(step: Step, arguments: Mapping[str, str], number: int) -> Stage:
    words = substitute(step.rest, arguments, step).split()
    if len(words) == 1:
        return Stage(words[0], str(number))
    if len(words) != 3 or words[1].upper() != "AS":
        raise step.refuse("only FROM image AS name is known")
    return Stage(words[0], words[2])


def steps_of(text: str) -> list[Step]:
    """The instructions, their continued lines put together and comments left out."""
    steps: list[Step] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            # Only at the very top is a comment more than that.
            if not steps and not parts and re.match(r"#\s*\w+\s*=", line.strip()):
                raise Refused(f"line {number}: parser directives are not known")
            continue
        if not line.strip() and not parts:
            continue
        begun = begun if parts else number
        parts.append(line.rstrip().removesuffix("\\"))
        if not line.rstrip().endswith("\\"):
            steps.append(step_of(begun, "".join(parts)))
            parts = []
    if parts:
        raise Refused(f"line {begun}: the last line is continued")
    return steps


def step_of(line: int, text: str) -> Step:
    word, _, rest = text.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    if word not in FLAGS:
        raise Refused(f"line {line}: the instruction {word} is not known")
    flags: dict[str, str] = {}
    while found := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        if found[1] not in FLAGS[word] or found[1] in flags:
            raise Refused(f"line {line}: {word} --{found[1]} is not known, or twice")
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    if rest.startswith("--") or "<<" in rest:
        raise Refused(f"line {line}: {word} {rest[:40]} is not known")
    return Step(line, word, flags, rest)


def substitute(text: str, variables: Mapping[str, str], step: Step) -> str:
    """`text` with `$NAME`, `${NAME}` and `${NAME:-default}` replaced; unknown ones are empty."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "\\$":
            return "$"
        name = found[1] or found[2]
        if not name:
            raise step.refuse("a $ that is not known")
        return variables.get(name) or found[3] or ""

    return VARIABLE.sub(value, text)


def secret_of(step: Step) -> tuple[str, int] | None:
    """The id and the mode of the secret that a RUN step mounts, if it does."""
    if "mount" not in step.flags:
        return None
    options = dict(part.partition("=")[::2] for part in step.flags["mount"].split(","))
    if options.pop("type", "") != "secret" or set(options) != {"id", "mode"}:
        raise step.refuse("only --mount=type=secret,id=...,mode=... is known")
    return options["id"], int(options["mode"], 8)


class Ignored:
    """The patterns of a .dockerignore. Raises `Refused` for exceptions that begin with `!`."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
        if any(pattern.startswith("!") or "[" in pattern for pattern in patterns):
            raise Refused(".dockerignore: patterns with ! or [ are not known")
        self._expression = re.compile("|".join(map(expression, patterns)) or r"(?!)")

    def __call__(self, path: str) -> bool:
        """Whether the file or folder `path`, relative to the context, is left out."""
        parts = path.split("/")
        return any(self._expression.fullmatch("/".join(parts[: n + 1])) for n in range(len(parts)))


def expression(pattern: str) -> str:
    """A pattern of .dockerignore as a regular expression: `*` and `?` stop at a slash."""
    parts: Sequence[str] = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meaning.get(part) or re.escape(part) for part in parts)
