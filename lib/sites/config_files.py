"""Configuration files read as data: YAML, TOML, JSON, and the literals of a Python file.

Nothing in them is run. A file that is too large, too deep or broken reads as empty: a site's
configuration improves links and must never stop an ingestion.
"""

import ast
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

_MAX_BYTES: Final = 1_000_000
_TOO_BROKEN: Final = (
    ValueError, TypeError, KeyError, RecursionError, MemoryError, SyntaxError, yaml.YAMLError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tagged:
    """A YAML value with an application's tag: `!!python/name:x`."""

    tag: str
    value: object


class _DataLoader(yaml.SafeLoader):
    """YAML as data, without merge keys: nested ones expand without limit, and settings that matter
    for links are not shared between sections."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        node.value = [
            (key, value)
            for key, value in node.value
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode)
        ]


def _tagged(loader: _DataLoader, suffix: str, node: yaml.Node) -> object:
    value: object = node.value
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    if suffix == "ENV":  # !ENV [NAME, "default"]: outside the build only the default is known
        return value[-1] if isinstance(value, list) and len(value) > 1 else None
    return Tagged(suffix, value)


_DataLoader.add_multi_constructor("!", _tagged)
_DataLoader.add_multi_constructor("tag:yaml.org,2002:python/", _tagged)
# Dates stay as written: an invalid one would make the whole file unreadable.
_DataLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def read_text(path: Path) -> str:
    """The text of a file; empty if it is missing, too large, not regular or not UTF-8."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return ""
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError):
        return ""


def _python_literals(text: str) -> dict[str, Any]:
    """The names that the top level sets to a literal, once."""
    values: dict[str, Any] = {}
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            try:
                # mypy does not see that only assignments, which have a value, have targets
                value = None if target.id in values else ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except _TOO_BROKEN:
                value = None
            values[target.id] = value
    return {name: value for name, value in values.items() if value is not None}


_YAML: Final = partial(yaml.load, Loader=_DataLoader)
_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    ".toml": tomllib.loads,
    ".json": json.loads,
    ".py": _python_literals,
}


def read_config(path: Path) -> dict[str, Any]:
    """The values of a configuration file; YAML for any other suffix than .toml, .json and .py."""
    try:
        value = _PARSERS.get(path.suffix.lower(), _YAML)(read_text(path))
    except _TOO_BROKEN:
        return {}
    return value if isinstance(value, dict) else {}


def merged(base: Mapping[str, Any], over: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    result = {**base, **over}
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and depth < 20:
            result[key] = merged(old, value, depth + 1)
    return result


def section(config: object, *keys: str) -> dict[str, Any]:
    """The mapping below `keys`; empty if there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return dict(config) if isinstance(config, Mapping) else {}


def string(config: Mapping[str, Any], key: str, default: str = "") -> str:
    value = config.get(key)
    return value if isinstance(value, str) else default


def strings(value: object) -> tuple[str, ...]:
    """A list's strings; a single string counts as a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()


def glob_matches(patterns: tuple[str, ...], path: str) -> bool:
    """Whether one of the globs (`*`, `**`, `?`, `[x]`, `{a,b}`) matches the whole path.

    The time is proportional to pattern times path, for any number of stars.
    """
    parts = path.split("/")
    return any(
        _segments_match(glob.removeprefix("./").split("/"), parts)
        for pattern in patterns[:200]
        for glob in _expanded(pattern)
    )


def _expanded(pattern: str) -> list[str]:
    """`a.{b,c}` as `a.b` and `a.c`; at most 64 of them."""
    done: list[str] = []
    todo = [pattern[:300]]
    while todo and len(done) + len(todo) <= 64:
        glob = todo.pop()
        braces = re.search(r"\{([^{}]*,[^{}]*)\}", glob)
        if braces is None:
            done.append(glob)
            continue
        head, tail = glob[: braces.start()], glob[braces.end() :]
        todo.extend(head + choice + tail for choice in braces[1].split(","))
    return done


def _segments_match(glob: list[str], parts: list[str]) -> bool:
    """One column of a table for each segment of the glob: the lengths of `parts` it can match."""
    reached = [True] + [False] * len(parts)
    for index, piece in enumerate(glob):
        if piece == "**":
            last = index == len(glob) - 1
            first = reached.index(True) if True in reached else len(reached)
            reached = [at > first if last else at >= first for at in range(len(reached))]
        else:
            reached = [False] + [
                reached[at] and fnmatchcase(part, piece) for at, part in enumerate(parts)
            ]
    return reached[-1]
