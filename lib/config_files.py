"""Configuration files read as data: YAML, TOML, JSON, and the literals of a Python file.

Nothing in them is ever run or looked up. What is too large, too deep or broken reads as empty: a
site's configuration only makes links better, it must never stop an ingest.
"""

import ast
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1_000_000
_TOO_BROKEN: Final = (ValueError, TypeError, KeyError, RecursionError, MemoryError, yaml.YAMLError)


@dataclass(frozen=True, slots=True)
class Tagged:
    """A YAML value behind a tag that plain data has not: `!ENV x`, `!!python/name:x`."""

    tag: str
    value: object


class _DataLoader(yaml.SafeLoader):
    """YAML as data. Merge keys are left out: nested ones grow beyond all bounds, and what decides
    about links is never shared between sections."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        node.value = [
            (key, value)
            for key, value in node.value
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode)
        ]


def _tagged(loader: _DataLoader, suffix: str, node: yaml.Node) -> object:
    value: object
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = node.value
    if suffix == "ENV":  # !ENV [NAME, "default"]: outside the build only the default is known
        return value[-1] if isinstance(value, list) and len(value) > 1 else None
    return Tagged(suffix, value)


_DataLoader.add_multi_constructor("!", _tagged)
_DataLoader.add_multi_constructor("tag:yaml.org,2002:python/", _tagged)
# Dates stay as written: what looks like one but is none would otherwise fail the whole file.
_DataLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def read_text(path: Path) -> str:
    """Empty where there is no such regular file, or it is too large or not UTF-8."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ""
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError):
        return ""


def parse_yaml(text: str) -> dict[str, Any]:
    loader = _DataLoader(text)
    try:
        value = loader.get_single_data()
    except _TOO_BROKEN:
        return {}
    finally:
        loader.dispose()
    return value if isinstance(value, dict) else {}


def parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except _TOO_BROKEN:
        return {}


def parse_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except _TOO_BROKEN:
        return {}
    return value if isinstance(value, dict) else {}


def parse_python(text: str) -> dict[str, Any]:
    """The names that the top level sets to a literal; one that is set twice is unknown."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, *_TOO_BROKEN):
        return {}
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        for target in targets:
            if not isinstance(target, ast.Name):
                continue
            try:
                value = None if target.id in seen else ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except (*_TOO_BROKEN, SyntaxError):
                value = None
            seen.add(target.id)
            values[target.id] = value
    return {name: value for name, value in values.items() if value is not None}


def read_config(path: Path) -> dict[str, Any]:
    text = read_text(path)
    match path.suffix.lower():
        case ".toml":
            return parse_toml(text)
        case ".json":
            return parse_json(text)
        case ".py":
            return parse_python(text)
    return parse_yaml(text)


def merged(base: Mapping[str, Any], over: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and depth < 20:
            result[key] = merged(old, value, depth + 1)
        else:
            result[key] = value
    return result


def section(config: object, *keys: str) -> dict[str, Any]:
    """The mapping below `keys`; empty where something else, or nothing, stands there."""
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
    """Whether one of the globs (`*`, `**`, `?`, `[x]`, `{a,b}`) matches the whole path."""
    return any(_glob(pattern).fullmatch(path) for pattern in patterns[:200])


def _glob(pattern: str) -> re.Pattern[str]:
    out, at, braces = "", 0, 0
    pattern = re.sub(r"\*{3,}", "**", pattern.removeprefix("./"))
    if len(pattern) > 300 or pattern.count("*") > 12:  # many stars take for ever to fail
        return re.compile(r"(?!)")
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 2
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            body = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out, at = out + "[" + ("^" + body[1:] if body[0] in "!^" else body) + "]", end
        elif char == "{" and "}" in pattern[at:]:
            out, braces = out + "(?:", braces + 1
        elif char == "}" and braces:
            out, braces = out + ")", braces - 1
        elif char == "," and braces:
            out += "|"
        else:
            out += re.escape(char)
        at += 1
    try:
        return re.compile(out + ")" * braces)
    except re.error:
        return re.compile(r"(?!)")
