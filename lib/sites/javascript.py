"""Literal values of a JavaScript or TypeScript configuration, which is parsed and never run.

tree-sitter parses; `_Evaluator` works out object and array literals, the names of the same file
that they refer to, and `process.env.X ?? "/"`. The environment counts as empty except for
`NODE_ENV=production`, as in a release build. Any other value is `UNKNOWN`.

tree-sitter is imported on first use: most sites have no such configuration.
"""

import re
from typing import TYPE_CHECKING, Final

from lib.sites.config_files import UNKNOWN, UNREAD, DataError, measured

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
"""Expressions and spread items."""

_NAME: Final = re.compile(r"[\w$]++(?:\.[\w$]++)*+")
_LONGEST_NAME: Final = 200
_WRAPPER: Final = re.compile(r"^(?:define|with|extend|create)\w*$|Config$")
_MAX_WRAPPERS: Final = 10
_FUNCTIONS: Final = ("function_declaration", "function_expression", "arrow_function")
_SETS: Final = {"assignment_expression": ("left", "right")}
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "undefined": None}


def read_object(source: str, name: str, problems: list[str] | None = None) -> dict[str, object]:
    """The object that a configuration exports; empty without a source.

    Values are str, bool, None, list, dict or `UNKNOWN`; a dict may have the key `UNREAD`. Their
    size is proportional to that of the source. What is beyond a limit adds a line to `problems`
    about the file `name`.
    """
    problems = [] if problems is None else problems
    data = source.encode("utf-8", "replace")
    if len(data) > _MAX_BYTES:
        problems.append(f"{name}: more than {_MAX_BYTES} bytes")
        return {}
    tree, complete = _parse(data)
    evaluator = _Evaluator(data, tree.root_node)
    node = evaluator.exported
    for _ in range(_MAX_WRAPPERS):
        node = evaluator.inner(node) or node
    values = evaluator.value(node)
    if not complete or evaluator.exhausted:
        problems.append(f"{name}: too many expressions: the rest is not read")
    try:
        measured(values, 10_000 + 2 * _MAX_BYTES)
    except DataError as error:  # names that stand for others of the same file
        problems.append(f"{name}: {error}")
        values = UNKNOWN
    if isinstance(values, dict):
        return values
    return {UNREAD: UNKNOWN} if source.strip() else {}


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


class _Evaluator:
    def __init__(self, data: bytes, program: "Node") -> None:
        self._data = data
        self._depth = self._steps = 0
        self._busy: set[str] = set()
        self._known: dict[str, object] = {}
        self._names: dict[str, Node] = {}
        """Where each name of the top level gets its value."""
        self.exported: Node | None = None
        self._declare(program)

    def _declare(self, program: "Node") -> None:
        seen: set[str] = set()
        for node in program.named_children:
            if node.type == "export_statement":
                value, declared = self._fields(node, "value", "declaration")
                default = any(child.type == "default" for child in node.children)
                self.exported = self.exported or value or (declared if default else None)
                node = declared or node
            if node.type == "function_declaration" and (named := node.child_by_field_name("name")):
                self._names[self._text(named)] = node
            for part in node.named_children:
                target, value = self._fields(part, *_SETS.get(part.type, ("name", "value")))
                if target is None or value is None:
                    continue
                name = self._name(target)
                if name == "module.exports" or name == "exports":
                    self.exported = self.exported or value
                    continue
                owner = name.partition(".")[0]
                # The value of a name that is set twice depends on the order of execution.
                if owner in seen or owner != name:
                    self._names.pop(owner, None)
                else:
                    self._names[name] = value
                seen.add(owner)

    def _text(self, node: "Node") -> str:
        return self._data[node.start_byte : node.end_byte].decode("utf-8", "replace")

    @staticmethod
    def _fields(node: "Node", *fields: str) -> "list[Node | None]":
        return [node.child_by_field_name(field) for field in fields]

    def _name(self, node: "Node") -> str:
        """`a.b.c` as written; empty for anything else than names and dots."""
        written = self._text(node) if node.end_byte - node.start_byte < _LONGEST_NAME else ""
        return written if _NAME.fullmatch(written) else ""

    def _named(self, name: str) -> object:
        if name in self._known:
            return self._known[name]
        if name in self._busy or name not in self._names:
            return UNKNOWN
        self._busy.add(name)
        self._known[name] = self.value(self._names[name])
        self._busy.discard(name)
        return self._known[name]

    @property
    def exhausted(self) -> bool:
        return self._steps > _MAX_STEPS

    def value(self, node: "Node | None") -> object:
        self._steps += 1
        if node is None or self._depth > _MAX_DEPTH or self.exhausted:
            return UNKNOWN
        self._depth += 1
        try:
            return self._value(node)
        finally:
            self._depth -= 1

    def _value(self, node: "Node") -> object:
        match node.type:
            case "true" | "false" | "null" | "undefined":
                return _CONSTANTS[node.type]
            case "string" | "template_string":
                plain = all(child.type == "string_fragment" for child in node.named_children)
                return self._text(node)[1:-1] if plain else UNKNOWN
            case "identifier":
                return self._named(self._text(node))
            case "object":
                return self._object(node)
            case "array":
                return [self.value(each) for each in node.named_children if each.type != "comment"]
            case "parenthesized_expression" | "as_expression" | "satisfies_expression":
                inner = (child for child in node.named_children if child.type != "comment")
                return self.value(next(inner, None))
            case "call_expression":
                return self.value(self.inner(node))
            case "member_expression":
                name = self._name(node)
                if name.startswith("process.env."):
                    return "production" if name == "process.env.NODE_ENV" else None
            case "binary_expression":
                sign, left, right = self._fields(node, "operator", "left", "right")
                operator = self._text(sign) if sign is not None else ""
                return _combine(operator, self.value(left), self.value(right))
        return UNKNOWN

    def inner(self, node: "Node | None") -> "Node | None":
        """The argument of a function such as `defineConfig`, or what a function returns."""
        if node is None:
            return None
        if node.type == "identifier":
            named = self._names.get(self._text(node))
            return named if named is not None and named.type in _FUNCTIONS else None
        function, given, body = self._fields(node, "function", "arguments", "body")
        if node.type in _FUNCTIONS and body is not None:
            last = body.named_children[-1:]
            returns = bool(last) and last[0].type == "return_statement"
            return last[0].named_child(0) if returns else body
        if function is None or given is None or not _WRAPPER.search(self._name(function)):
            return None
        inner = [child for child in given.named_children if child.type != "comment"]
        return inner[0] if len(inner) == 1 else None

    def _object(self, node: "Node") -> dict[str, object]:
        values: dict[str, object] = {}
        for child in node.named_children:
            key, value, method = self._fields(child, "key", "value", "name")
            if child.type == "spread_element":
                spread = self.value(child.named_child(0))
                if spread is UNKNOWN:
                    spread = {UNREAD: UNKNOWN}
                if isinstance(spread, dict):
                    self._steps += len(spread)
                    if UNREAD in spread:  # it may replace all before it
                        values = dict.fromkeys(values, UNKNOWN)
                    values.update(spread)
            elif child.type == "shorthand_property_identifier":
                values[self._text(child)] = self._named(self._text(child))
            elif child.type == "pair" and key is not None and key.type != "computed_property_name":
                name = self.value(key) if key.type == "string" else self._text(key)
                values[str(name)] = self.value(value)
            elif child.type == "method_definition":
                values[self._text(method) if method is not None else ""] = UNKNOWN
        return values


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
        case "===" if right is not UNKNOWN:
            return left == right
    return UNKNOWN
