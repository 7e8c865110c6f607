"""Configuration files and front matter as data: YAML, TOML, JSON, and literals of a Python file.

Nothing in them is run. A configuration file that is broken or beyond a limit reads as empty: a
site's configuration improves links and must never stop an ingestion.
"""

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import yaml
from yaml.composer import Composer

from lib.sites.globs import fits

_MAX_BYTES: Final = 1_000_000
_MAX_PYTHON_BYTES: Final = 200_000
"""A syntax tree takes several hundred bytes of memory for each of the text."""
_MAX_DEPTH: Final = 50
_MAX_DIGITS: Final = 100
_LONGEST_INTEGER: Final = 18
"""In characters. Longer ones stay text: many of them as keys would collide in a dict."""
_MAX_MERGED: Final = 10_000
_MAX_MERGE_KEYS: Final = 20
_MAX_DIRECTIVES: Final = 100
_MAX_KEY_PARTS: Final = 32
_TOO_BROKEN: Final = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, SyntaxError,
    TypeError, ValueError, yaml.YAMLError,
)  # fmt: skip


class DataError(ValueError):
    """Reason why a text cannot be read as data, in one line: `not valid YAML in line 3: …`."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A YAML value with an application's tag: `!!python/name:x`."""

    tag: str
    value: object


# The parser in C keeps its own stack; the composer in C recurses without a limit until the process
# is killed, so the one in Python comes first.
_BASES: Any = (Composer, yaml.CSafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)


class _DataLoader(*_BASES):  # type: ignore[misc]
    """YAML as data, within limits."""

    def __init__(self, text: str) -> None:
        _BASES[-1].__init__(self, text)
        Composer.__init__(self)
        self._depth = self._merged = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DataError(f"nested more than {_MAX_DEPTH} levels deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        merges = [value for key, value in node.value if key.tag == _MERGE]
        if sum(len(v.value) if v.id == "sequence" else 1 for v in merges) > _MAX_MERGE_KEYS:
            raise DataError(f"a mapping merges more than {_MAX_MERGE_KEYS} others")
        super().flatten_mapping(node)
        self._merged += len(node.value) if merges else 0
        if self._merged > _MAX_MERGED:
            raise DataError(f"merge keys expand to more than {_MAX_MERGED} values")


_MERGE: Final = "tag:yaml.org,2002:merge"


def _number(loader: _DataLoader, node: yaml.ScalarNode) -> object:
    if len(node.value) > _MAX_DIGITS:
        raise DataError(f"a number has more than {_MAX_DIGITS} digits")
    if node.tag.endswith("float"):
        return loader.construct_yaml_float(node)
    return loader.construct_yaml_int(node) if len(node.value) <= _LONGEST_INTEGER else node.value


_DataLoader.add_constructor("tag:yaml.org,2002:int", _number)
_DataLoader.add_constructor("tag:yaml.org,2002:float", _number)


class _ConfigLoader(_DataLoader):
    """Tags are data. Merge keys are dropped: settings that matter for links are not shared."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        node.value = [
            (key, value)
            for key, value in node.value
            if key.tag != _MERGE and isinstance(key, yaml.ScalarNode)
        ]


def _tagged(loader: _ConfigLoader, suffix: str, node: yaml.Node) -> object:
    value: object = node.value
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    if suffix == "ENV":  # !ENV [NAME, "default"]: outside the build only the default is known
        return value[-1] if isinstance(value, list) and len(value) > 1 else None
    return Tagged(suffix, value)


_ConfigLoader.add_multi_constructor("!", _tagged)
_ConfigLoader.add_multi_constructor("tag:yaml.org,2002:python/", _tagged)
# Dates stay as written: an invalid one would make the whole file unreadable.
_ConfigLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def _load_yaml(text: str, loader: type[_DataLoader] = _DataLoader) -> object:
    if text.count("\n%") > _MAX_DIRECTIVES:
        raise DataError(f"more than {_MAX_DIRECTIVES} directives")
    return yaml.load(text, Loader=loader)


# All that TOML can begin before an error, so that dots in strings and comments do not count.
_TOML: Final = re.compile(
    r"""\"{3}(?:[^"\\]++|\\.|"(?!""))*+"{3,5}+ | '{3}(?:[^']++|'(?!''))*+'{3,5}+
    | (?P<broken>"{3}|'{3}) | "(?:[^"\\\n]++|\\.)*+" | '[^'\n]*+' | [\w-]++ | [ \t]++
    | (?P<dot>\.) | (?P<other>\#[^\n]*+|.)""",
    re.DOTALL | re.VERBOSE,
)


def _load_toml(text: str) -> object:
    """`tomllib` takes time and memory quadratic in the parts of a dotted key."""
    dots = 0
    for token in _TOML.finditer(text) if "." in text else ():
        kind = token.lastgroup
        if kind == "broken":
            break
        dots = 0 if kind == "other" else dots + (kind == "dot")
        if dots >= _MAX_KEY_PARTS:
            raise DataError(f"a key has more than {_MAX_KEY_PARTS} parts")
    return tomllib.loads(text)


def _json_integer(digits: str) -> object:
    if len(digits) > _MAX_DIGITS:
        raise DataError(f"a number has more than {_MAX_DIGITS} digits")
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def measured(value: object, left: int, depth: int = 0) -> int:
    """Return `left` minus the size of a value with its aliases expanded. Raises `DataError`."""
    if depth > _MAX_DEPTH:
        raise DataError(f"nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, int) and value.bit_length() > 4 * _MAX_DIGITS:
        raise DataError(f"a number has more than {_MAX_DIGITS} digits")
    left -= 1 + (len(value) if isinstance(value, str | bytes) else 0)
    if left < 0:
        raise DataError("its aliases expand to many times its size")
    if isinstance(value, Tagged):
        value = (value.value,)
    if isinstance(value, dict):
        for key in value:
            left = measured(key, left, depth + 1)
        value = value.values()
    elif not isinstance(value, list | tuple | set):
        return left
    for item in value:
        left = measured(item, left, depth + 1)
    return left


_LOADERS: Final[Mapping[str, Callable[[str], object]]] = {
    "YAML": _load_yaml,
    "TOML": _load_toml,
    "JSON": lambda text: json.loads(text, parse_int=_json_integer),
    "configuration": lambda text: _load_yaml(text, _ConfigLoader),
}


def load_data(
    text: str, syntax: Literal["YAML", "TOML", "JSON", "configuration"], *, first_line: int = 1
) -> Any:
    """Parse untrusted text in linear time. Raises `DataError`.

    The value has at most `_MAX_DEPTH` levels and a size proportional to the text with all aliases
    expanded, so that `str` and `repr` of it are safe. Integers too long for 64 bits stay text in
    YAML and JSON. "configuration" is YAML whose tags and dates are data and whose merge keys are
    dropped. `first_line` is the number of the first line in messages.
    """
    try:
        if len(text) > _MAX_BYTES:
            raise DataError(f"more than {_MAX_BYTES} characters")
        value = _LOADERS[syntax](text)
        measured(value, 10_000 + 4 * len(text))
    except DataError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" in line {mark.line + first_line}" if mark else ""
        raise DataError(f"not valid YAML{line}: {error.problem or error.context}") from None
    except _TOO_BROKEN as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"not valid {syntax}: {reason}") from None
    return value


_MAX_FRONT_MATTER: Final = 65_536
_FRONT_OPEN: Final = re.compile(r"\ufeff?\s*+(---|\+\+\+)(json|toml|yaml)?[ \t]*(?:\r\n?|\n)")
_FRONT_CLOSE: Final = {
    "---": re.compile(r"(?m)(?:^|(?<=\r))(?:---|\.\.\.)[ \t]*(?:\r\n?|\n|\Z)"),
    "+++": re.compile(r"(?m)(?:^|(?<=\r))\+\+\+[ \t]*(?:\r\n?|\n|\Z)"),
}
_JSON_OPEN: Final = re.compile(r"\ufeff?\s*+(?=\{\s*[\"}])")
_JSON_BRACE: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}]', re.DOTALL)
_JSON_CLOSE: Final = re.compile(r"[ \t]*(?:\r\n?|\n|\Z)")
_KEY_LINE: Final = {
    "---": re.compile(r"(?m)^[ \t]*+[\w\"'][^\n]*?(?::(?:\s|$)|\s=\s)"),
    "+++": re.compile(r"(?m)^[ \t]*+[\w\"'][^\n=]*+="),
}
_NEWLINE: Final = re.compile(r"\r\n?")
# What is still legible in front matter that is not valid: a value in one line.
_PLAIN_VALUE: Final = re.compile(r"(?m)^([A-Za-z][\w-]*+)[ \t]*+(?::(?=[ \t]|$)|=)(.*)")
_JSON_VALUE: Final = re.compile(r'"([A-Za-z][\w-]*+)"\s*+:\s*+("(?:[^"\\\n]|\\.)*+"|\w++)')
_OTHER_LINE: Final = re.compile(r"[ \t#]|-[ \t]|\Z")


class FrontMatter(NamedTuple):
    values: dict[str, object]
    end: int
    """Offset of the text below it."""
    problem: str = ""
    complete: bool = True
    """False if it may set more than could be read."""


def read_front_matter(text: str, *, json: bool = False) -> FrontMatter | None:
    """Read the front matter of a page: YAML, TOML, or with `json` a JSON object.

    None without front matter; prose between two rules is none. Invalid front matter gives a
    `problem` and its values that stand in one line.
    """
    if opening := _FRONT_OPEN.match(text):
        fence, start = opening[1], opening.end()
        closing = _FRONT_CLOSE[fence].search(text, start)
        if closing is None:
            return None
        body, end = text[start : closing.start()], closing.end()
        if len(body) > _MAX_FRONT_MATTER and _KEY_LINE[fence].match(body) is None:
            return None
        if body.strip() and _KEY_LINE[fence].search(body) is None and body.lstrip()[0] not in "#{":
            return None
        name = opening[2] or ("toml" if fence == "+++" else "yaml")
        return _front_matter(body, end, name)
    if json and (opening := _JSON_OPEN.match(text)):
        depth = 0
        for found in _JSON_BRACE.finditer(text, opening.end()):
            depth += {"{": 1, "}": -1}.get(found[0], 0)
            if not depth:
                below = _JSON_CLOSE.match(text, found.end())
                body = text[opening.end() : found.end()]
                return _front_matter(body, below.end(), "json") if below else None
    return None


_FRONT_SYNTAXES: Final[Mapping[str, Literal["YAML", "TOML", "JSON"]]] = {
    "yaml": "YAML", "toml": "TOML", "json": "JSON",
}  # fmt: skip


def _front_matter(body: str, end: int, name: str) -> FrontMatter:
    body = _NEWLINE.sub("\n", body)
    try:
        if len(body) > _MAX_FRONT_MATTER:
            raise DataError(f"more than {_MAX_FRONT_MATTER} characters")
        values = load_data(body, _FRONT_SYNTAXES[name], first_line=2)
    except DataError as error:
        plain, complete = _plain_values(body, name)
        return FrontMatter(plain, end, f"the front matter cannot be read: {error}", complete)
    if isinstance(values, dict):
        return FrontMatter({str(key): value for key, value in values.items()}, end)
    problem = "" if values is None else "the front matter must be a mapping of names to values"
    return FrontMatter({}, end, problem)


def _plain_values(body: str, name: str) -> tuple[dict[str, object], bool]:
    """Return the values that stand in one line, and whether there can be no others."""
    pattern = _JSON_VALUE if name == "json" else _PLAIN_VALUE
    values: dict[str, object] = {}
    for key, text in pattern.findall(body):
        value = text.strip()
        if value[:1] in ("'", '"') and value[-1:] == value[:1]:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        if value and value[0] not in "|>&*":
            values[key] = {"true": True, "false": False}.get(value.lower(), value)
    return values, name != "json" and all(
        _OTHER_LINE.match(line) or _PLAIN_VALUE.match(line) for line in body.split("\n")
    )


PARENTS: Final = 4
"""How many folders above the content folder may belong to the same project."""


def repository_of(folder: Path) -> Path | None:
    """Return the nearest folder with a `.git`: this one, or one of the `PARENTS` above it."""
    above = [folder, *folder.parents][: PARENTS + 1]
    return next((each for each in above if (each / ".git").exists()), None)


def read_text(path: Path, problems: list[str] | None = None) -> str:
    """The text of a file; empty if it is missing, too large, not regular or not UTF-8."""
    limit = _MAX_PYTHON_BYTES if path.suffix == ".py" else _MAX_BYTES
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size <= limit:
            return path.read_bytes().decode("utf-8-sig")
        problem = f"more than {limit} bytes"
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8"
    if problems is not None:
        problems.append(f"{path.name}: {problem}")
    return ""


def _python_literals(text: str) -> dict[str, Any]:
    """The names that the top level sets once, to a literal; all others are `UNKNOWN`."""
    tree = ast.parse(text)
    stored = Counter(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    values: dict[str, Any] = dict.fromkeys(stored, UNKNOWN)
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if stored[name] == 1:
                values[name] = _literal(value, len(text))
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                values = {**dict.fromkeys(values, UNKNOWN), UNREAD: UNKNOWN}
    return values


def _literal(node: ast.expr, size: int) -> Any:
    try:
        value = ast.literal_eval(node)
        measured(value, size)
    except _TOO_BROKEN:
        return UNKNOWN
    return value


_SYNTAXES: Final[Mapping[str, Literal["TOML", "JSON"]]] = {".toml": "TOML", ".json": "JSON"}


def read_config(path: Path, problems: list[str] | None = None) -> dict[str, Any]:
    """The values of a configuration file; YAML for any other suffix than .toml, .json and .py.

    A file that cannot be read adds a line to `problems`.
    """
    suffix, text = path.suffix.lower(), read_text(path, problems)
    try:
        if suffix == ".py":
            return _python_literals(text)
        value = load_data(text, _SYNTAXES.get(suffix, "configuration"))
    except _TOO_BROKEN as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        if problems is not None:
            problems.append(f"{path.name}: {reason}")
        return {}
    return value if isinstance(value, dict) else {}


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()
"""A value that only running the configuration would tell. Falsy, so that defaults apply."""
UNREAD: Final = "..."
"""Key, with the value `UNKNOWN`, of a mapping that has more values than could be read, such as
those of `...base`."""


def setting(config: object, *keys: str) -> Any:
    """The value below `keys`; `UNKNOWN` where it could not be read, None where it is not set."""
    for key in keys:
        if not isinstance(config, Mapping):
            return config if config is UNKNOWN else None
        config = config.get(key, config.get(UNREAD))
    return config


def base_of(config: Mapping[str, Any], key: str) -> str | None:
    """The path of a site in `config`; `UNREAD` if it could not be read."""
    value = setting(config, key)
    return UNREAD if value is UNKNOWN else value if isinstance(value, str) else "/"


def section(config: object, *keys: str) -> dict[str, Any]:
    """The mapping below `keys`; empty if there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return dict(config) if isinstance(config, Mapping) else {}


def string(config: Mapping[str, Any], key: str, default: str = "") -> str:
    value = config.get(key)
    return value if isinstance(value, str) else default


def strings(value: object) -> tuple[str, ...]:
    """A list's strings, none if they are too many; a single string counts as a list of one."""
    values = value if isinstance(value, list | tuple) else [value]
    found = tuple(each for each in values if isinstance(each, str))
    return found if fits(found) else ()
