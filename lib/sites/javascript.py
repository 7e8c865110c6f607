"""Literal values of a JavaScript or TypeScript configuration, which is parsed and never run.

tree-sitter parses; `_Evaluator` works out object and array literals, the names they refer to,
`process.env.X ?? "/"`, `isProd ? a : b` and the like. The environment counts as empty except for
`NODE_ENV=production`, as in a release build. Any other value is `UNKNOWN`, never a guess.

tree-sitter is imported on first use: most sites have no such configuration.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lib.sites.config_files import (
    PACKAGE,
    PARENTS,
    UNKNOWN,
    UNREAD,
    DataError,
    measured,
    merged,
    opened,
    read_text,
    repository_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

JAVASCRIPT_SUFFIXES: Final = (".js", ".ts", ".mjs", ".mts", ".cjs", ".cts")
_MAX_BYTES: Final = 100_000
"""From about 240 kB of nested brackets, tree-sitter exhausts a thread's stack of 8 MB."""
_PARSE_STEPS: Final = 300_000
"""A usual configuration takes two or three per byte. The limit is not in seconds: the result must
not depend on the load of the machine."""
_READ_BYTES: Final = 64
_MAX_DEPTH: Final = 100
_MAX_STEPS: Final = 200_000
"""Expressions, spread items, and tens of joined characters: `a = b + b` doubles with every name."""
_MAX_SIZE: Final = 10_000
"""Characters of a string and items of a list."""
_MAX_MEMBERS: Final = 20
_MAX_MODULES: Final = 20

_ESCAPE: Final = re.compile(
    r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n|.)", re.DOTALL
)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_WRAPPER: Final = re.compile(r"^(?:define|with|extend|merge|create)\w*$|Config$")
_PATH_CALLS: Final = frozenset(
    "path.resolve path.join path.posix.join path.posix.resolve resolve join require.resolve"
    " fileURLToPath".split()
)
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "undefined": None}


def read_object(
    source: str,
    wanted: Iterable[str],
    file: Path,
    problems: list[str] | None = None,
    *,
    folder: Path | None = None,
) -> dict[str, object]:
    """The exported configuration, or the object that has most of the `wanted` keys.

    Empty when there is none. Values are str, float, bool, None, list, dict or `UNKNOWN`; a dict may
    have the key `UNREAD`. Their size is proportional to that of the source and the files it
    imports by a relative path, in the repository of `file`, or else in the project's `folder`
    (default: that of `file`). What is beyond a limit adds a line to `problems`.
    """
    problems = [] if problems is None else problems
    name = file.name
    data = source.encode("utf-8", "replace")
    if len(data) > _MAX_BYTES:
        problems.append(f"{name}: more than {_MAX_BYTES} bytes")
        return {}
    tree, complete = _parse(data)
    evaluator = _Evaluator(data, tree.root_node, file, _Modules(folder or file.parent))
    values = _best(evaluator, tree.root_node, frozenset(wanted))
    if not complete or evaluator.exhausted:
        problems.append(f"{name}: too many expressions: the rest is not read")
    left = 10_000 + 4 * evaluator.modules.size
    for key, value in values.items():
        try:
            left = measured(value, left)
        except DataError as error:
            problems.append(f"{name}: {key[:60]}: {error}")
            values[key] = UNKNOWN
            left //= 2  # so that the time for all keys is bounded
    return values


def _best(evaluator: "_Evaluator", root: "Node", keys: frozenset[str]) -> dict[str, object]:
    for node in evaluator.exported:
        value = evaluator.value(node)
        if isinstance(value, dict):
            return dict(value)
    best: dict[str, object] = {}
    for value in chain(
        map(evaluator.named, evaluator.names), map(evaluator.value, _returned_objects(root))
    ):
        if isinstance(value, dict) and len(keys & value.keys()) > len(keys & best.keys()):
            best = value
    return dict(best)


def _parse(data: bytes) -> "tuple[Tree, bool]":
    """Parse up to the first syntax error, in at most `_PARSE_STEPS`.

    The bindings have no timeout, hold the interpreter lock while parsing, and recover from errors
    in more than quadratic time: 16 kB of "-`<;" took 15 s. The parser's logger tells when it
    starts to recover. From then on, and after too many steps, it is given no more text. The second
    value is False after too many steps.
    """
    import tree_sitter
    import tree_sitter_typescript

    steps, broken = 0, False

    def log(_: object, message: str) -> None:
        nonlocal steps, broken
        steps += 1
        broken = broken or message.startswith("resume")

    def read(at: int, _: object) -> bytes:
        nonlocal steps
        steps += 1
        return data[at : at + _READ_BYTES] if steps < _PARSE_STEPS and not broken else b""

    parser = tree_sitter.Parser(
        tree_sitter.Language(tree_sitter_typescript.language_typescript()), logger=log
    )
    return parser.parse(read), broken or steps < _PARSE_STEPS


def _returned_objects(root: "Node") -> Iterator["Node"]:
    """Object literals that a function returns or a call receives."""
    stack = [(root, "")]
    steps = 0
    while stack and steps < _MAX_STEPS:
        steps += 1
        node, parent = stack.pop()
        if node.type == "object" and parent in ("return_statement", "arguments", "arrow_function"):
            yield node
        # parentheses are looked through: `() => ({…})`
        kind = parent if node.type == "parenthesized_expression" else node.type
        stack.extend((child, kind) for child in reversed(node.named_children))


class _Modules:
    """The files of a configuration, and the work that they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = (repository_of(folder, PARENTS) or folder).resolve()
        self.read: dict[Path, _Evaluator | None] = {}
        self.size = _MAX_BYTES // 2
        self.depth = 0
        self.steps = 0

    def load(self, name: str, importer: Path) -> "_Evaluator | None":
        """The module that `name` means in `importer`; None if it cannot be read."""
        for suffix in ("", *JAVASCRIPT_SUFFIXES, *(f"/index{s}" for s in JAVASCRIPT_SUFFIXES)):
            try:
                file = (importer.parent / f"{name}{suffix}").resolve()
                if file.is_relative_to(self.folder) and file.is_file():
                    break
            except (OSError, RuntimeError, ValueError):
                continue
        else:
            return None
        if file not in self.read:
            self.read[file] = None
            data = read_text(file).encode()
            self.size += len(data)
            if data and self.size <= 2 * _MAX_BYTES and len(self.read) <= _MAX_MODULES:
                data = b"export default " + data if file.suffix == ".json" else data
                self.read[file] = _Evaluator(data, _parse(data)[0].root_node, file, self)
        return self.read[file]


class _Evaluator:
    def __init__(self, data: bytes, program: "Node", file: Path, modules: _Modules) -> None:
        self._data = data
        self._file = file
        self.modules = modules
        self._imports: dict[str, tuple[str, str]] = {}  # local name: module, name in it
        self._exports: dict[str, str] = {}
        self._busy: set[str] = set()
        self._known: dict[str, object] = {}
        self._changes: dict[str, list[tuple[str, Node]]] = {}  # config.baseUrl = …
        self.names: dict[str, Node] = {}
        """Where each name of the top level gets its value."""
        self.exported: list[Node] = []
        self._declare(program)

    def _declare(self, program: "Node") -> None:
        counts: dict[str, int] = {}
        for node in program.named_children:
            if node.type == "import_statement":
                self._import(node)
            if node.type == "export_statement":
                self._export(node)
                if (value := node.child_by_field_name("value")) is not None:
                    self.exported.append(value)
                node = node.child_by_field_name("declaration") or node
            for part in node.named_children:
                if part.type == "variable_declarator":
                    target, value = self._fields(part, "name", "value")
                elif part.type == "assignment_expression":
                    target, value = self._fields(part, "left", "right")
                else:
                    continue
                if target is None or value is None:
                    continue
                name = self._name(target)
                owner, _, key = name.rpartition(".")
                if name == "module.exports" or name == "exports":
                    self.exported.append(value)
                elif "." in owner:
                    continue
                elif owner:
                    self._changes.setdefault(owner, []).append((key, value))
                elif name:
                    self.names[name] = value
                    counts[name] = counts.get(name, 0) + 1
        # The value of a name that is set twice depends on the order of execution.
        self.names = {name: node for name, node in self.names.items() if counts[name] == 1}

    def _import(self, node: "Node") -> None:
        """Record the names of `import a, { b as c } from "d"`; `* as e` has no name there."""
        source = self._module(node)
        clause = next((each for each in node.named_children if each.type == "import_clause"), None)
        for part in clause.named_children if clause else ():
            if part.type == "identifier":
                self._imports[self._text(part)] = source, "default"
            for each in part.named_children:
                if part.type == "namespace_import":
                    self._imports[self._text(each)] = source, "*"
                elif each.type == "import_specifier":
                    name, alias = self._fields(each, "name", "alias")
                    if name is not None:
                        self._imports[self._text(alias or name)] = source, self._text(name)

    def _export(self, node: "Node") -> None:
        """Record the names of `export { a as b }` and `export { a as b } from "c"`."""
        clause = next((each for each in node.named_children if each.type == "export_clause"), None)
        for each in clause.named_children if clause else ():
            name, alias = self._fields(each, "name", "alias")
            if name is None:
                continue
            local, exported = self._text(name), self._text(alias or name)
            if source := self._module(node):
                self._imports[f"{exported} from"] = source, local
                local = f"{exported} from"
            self._exports[exported] = local
            if exported == "default" and (alias is not None and not source):
                self.exported.append(name)

    def _module(self, node: "Node") -> str:
        source = node.child_by_field_name("source")
        return self._text(source)[1:-1] if source is not None else ""

    def export(self, name: str) -> object:
        """The value that a module exports as `name`."""
        if name == "default" and self.exported:
            return self.value(self.exported[-1])
        if name == "*":
            names = {*self.names, *self._exports}
            return {each: self.export(each) for each in names}
        return self.named(self._exports.get(name, name))

    def _from(self, source: str, name: str) -> object:
        if not source.startswith("."):
            return UNKNOWN
        module = self.modules.load(source, self._file)
        return UNKNOWN if module is None else module.export(name)

    def _unread(self, node: "Node | None") -> object:
        """Where the unknown value of `node` comes from: `PACKAGE`, or else "code"."""
        while node is not None and node.type in ("call_expression", "member_expression"):
            node = node.child_by_field_name("function") or node.child_by_field_name("object")
        source = self._imports.get(self._text(node), ("",))[0] if node is not None else ""
        return "code" if not source or source.startswith((".", "node:")) else PACKAGE

    def _text(self, node: "Node") -> str:
        return self._data[node.start_byte : node.end_byte].decode("utf-8", "replace")

    @staticmethod
    def _fields(node: "Node", *fields: str) -> "list[Node | None]":
        return [node.child_by_field_name(field) for field in fields]

    def _name(self, node: "Node") -> str:
        """`a.b.c` as written; empty for anything else than names and dots."""
        members: list[str] = []
        while node.type == "member_expression" and len(members) < _MAX_MEMBERS:
            target, member = self._fields(node, "object", "property")
            if target is None or member is None:
                return ""
            members.append(self._text(member))
            node = target
        if node.type not in ("identifier", "meta_property"):
            return ""
        return ".".join([self._text(node), *reversed(members)])

    def named(self, name: str) -> object:
        if name in self._known:
            return self._known[name]
        if name in self._busy or not (name in self.names or name in self._imports):
            return UNKNOWN
        self._busy.add(name)
        if name in self.names:
            value = self.value(self.names[name])
        else:
            value = self._from(*self._imports[name])
        self._busy.discard(name)
        if isinstance(value, dict):
            value |= {key: self.value(node) for key, node in self._changes.get(name, ())}
        self._known[name] = value
        return value

    @property
    def exhausted(self) -> bool:
        return self.modules.steps > _MAX_STEPS

    def value(self, node: "Node | None") -> object:
        shared = self.modules
        shared.steps += 1
        if node is None or shared.depth > _MAX_DEPTH or self.exhausted:
            return UNKNOWN
        shared.depth += 1
        try:
            return self._value(node)
        finally:
            shared.depth -= 1

    def _value(self, node: "Node") -> object:
        match node.type:
            case "true" | "false" | "null" | "undefined":
                return _CONSTANTS[node.type]
            case "string":
                return _unescaped(self._text(node)[1:-1])
            case "template_string":
                plain = all(child.type != "template_substitution" for child in node.named_children)
                return _unescaped(self._text(node)[1:-1]) if plain else UNKNOWN
            case "number":
                return _number(self._text(node))
            case "identifier":
                name = self._text(node)
                return "." if name == "__dirname" else self.named(name)
            case "object":
                return self._object(node)
            case "array" | "sequence_expression":
                values = self._items(node)
                return values if node.type == "array" else values[-1] if values else UNKNOWN
            case (
                "parenthesized_expression"
                | "as_expression"
                | "satisfies_expression"
                | "non_null_expression"
                | "await_expression"
            ):
                inner = (child for child in node.named_children if child.type != "comment")
                return self.value(next(inner, None))
            case "call_expression" | "new_expression":
                return self._call(node)
            case "member_expression":
                target, member = self._fields(node, "object", "property")
                key = self._text(member) if member is not None else ""
                return _member(self.value(target), key, self._name(node))
            case "subscript_expression":
                target, index = self._fields(node, "object", "index")
                return _member(self.value(target), self.value(index), "")
            case "ternary_expression":
                test, yes, no = self._fields(node, "condition", "consequence", "alternative")
                chosen = self.value(test)
                return UNKNOWN if chosen is UNKNOWN else self.value(yes if chosen else no)
            case "unary_expression" | "binary_expression":
                return self._operation(node)
        return UNKNOWN

    def _operation(self, node: "Node") -> object:
        sign, left, right = self._fields(node, "operator", "left", "right")
        operator = self._text(sign) if sign is not None else ""
        if node.type == "binary_expression":
            return self._short(_combine(operator, self.value(left), self.value(right)))
        value = self.value(node.child_by_field_name("argument"))
        if operator == "-" and isinstance(value, float):
            return -value
        return not value if operator == "!" and value is not UNKNOWN else UNKNOWN

    def _call(self, node: "Node") -> object:
        function, given = self._fields(
            node, "constructor" if node.type == "new_expression" else "function", "arguments"
        )
        name = self._name(function) if function is not None else ""
        arguments = self._items(given) if given is not None else []
        if name in _PATH_CALLS:
            parts = [part for part in arguments if isinstance(part, str)]
            known = parts and len(parts) == len(arguments)
            return self._short("/".join(parts)) if known else UNKNOWN
        if name == "require" and arguments and isinstance(arguments[0], str):
            return self._from(arguments[0], "default")
        if given is not None and (name.startswith("merge") or name == "Object.assign"):
            return self._merged([each for each in given.named_children if each.type != "comment"])
        if name == "URL" and arguments and isinstance(arguments[0], str):
            return arguments[0]
        if _WRAPPER.search(name):
            return next((part for part in arguments if isinstance(part, dict)), UNKNOWN)
        return UNKNOWN

    def _merged(self, nodes: "list[Node]") -> dict[str, object]:
        """The result of `mergeConfig(a, b)`."""
        result: dict[str, object] = {}
        for node in nodes:
            value = self.value(node)
            if isinstance(value, dict) and self._affords(len(value)):
                result = merged(result, value)
            elif value is UNKNOWN:
                result = opened(result, self._unread(node))
        return result

    def _affords(self, size: int, present: int = 0) -> bool:
        """Count the items of a copy; False if they are too many."""
        self.modules.steps += size
        return present + size <= _MAX_SIZE and not self.exhausted

    def _short(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        self.modules.steps += len(value) // 10
        return value if len(value) <= _MAX_SIZE else UNKNOWN

    def _items(self, node: "Node") -> list[object]:
        values: list[object] = []
        for child in node.named_children:
            if child.type == "spread_element":
                value = self.value(child.named_child(0))
                if isinstance(value, list) and self._affords(len(value), len(values)):
                    values.extend(value)
                else:
                    values.append(UNKNOWN)
            elif child.type != "comment":
                values.append(self.value(child))
        return values

    def _object(self, node: "Node") -> dict[str, object]:
        values: dict[str, object] = {}
        for child in node.named_children:
            key, value, method = self._fields(child, "key", "value", "name")
            if child.type == "spread_element":
                node = child.named_child(0)
                spread = self.value(node)
                if isinstance(spread, dict) and self._affords(len(spread)):
                    values.update(spread)
                elif spread is UNKNOWN or isinstance(spread, dict):
                    source = self._unread(node)
                    if source != PACKAGE:  # which may replace what stands before it
                        values = dict.fromkeys(values, UNKNOWN)
                    values[UNREAD] = source
            elif child.type == "shorthand_property_identifier":
                values[self._text(child)] = self.named(self._text(child))
            elif child.type == "pair" and key is not None and key.type != "computed_property_name":
                name = self.value(key) if key.type == "string" else self._text(key)
                read = self.value(value)
                if name == "extends" and read is UNKNOWN:
                    read = {UNREAD: self._unread(value)}
                values[str(name)] = read
            elif child.type == "method_definition":
                values[self._text(method) if method is not None else ""] = UNKNOWN
        return values


def _unescaped(body: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "ux" and len(code) > 1:
            number = int(code[1:].strip("{}"), 16)
            return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
        return "" if code.endswith("\n") else _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, body)


def _number(text: str) -> object:
    try:
        return float(int(text, 16)) if text[:2].lower() == "0x" else float(text.replace("_", ""))
    except (ValueError, OverflowError):  # 0b1, 1n, 0xFF…
        return UNKNOWN


def _combine(operator: str, left: object, right: object) -> object:
    if operator == "&&" and (left is False or right is False):
        return False
    if left is UNKNOWN:
        return UNKNOWN
    match operator:
        case "??":
            return right if left is None else left
        case "||":
            return left or right
        case "&&":
            return right if left else left
        case "+":
            texts = isinstance(left, str) and isinstance(right, str)
            return f"{left}{right}" if texts else UNKNOWN
        case "==" | "===" | "!=" | "!==" if right is not UNKNOWN:
            return (left == right) == (operator in ("==", "==="))
    return UNKNOWN


def _member(value: object, key: object, name: str) -> object:
    if name.startswith(("process.env.", "import.meta.env.")):
        return "production" if key == "NODE_ENV" else None
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, float) and 0 <= key < len(value):
        return value[int(key)]
    return UNKNOWN
