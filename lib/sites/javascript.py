"""Literal values out of a JavaScript or TypeScript configuration, which is never run.

A small scanner, not an interpreter: it knows comments, strings, templates, regular expressions and
brackets well enough not to be fooled by them, and works out object and array literals, the names
they refer to, `process.env.X ?? "/"`, `isProd ? a : b` and the like. The environment counts as
empty but for `NODE_ENV=production`, as in a plain release build. What it cannot work out is
`UNKNOWN`, never a guess.

What is known of a JavaScript expression's value, and what follows from it.

Tokens of JavaScript and TypeScript, well enough told apart to find literals among them.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()
"""A value that only running the configuration would tell. Falsy, so that defaults apply."""


def combine(operator: str, left: object, right: object) -> object:
    """`left operator right`; the environment is read by `member_of`."""
    if operator == "&&" and (left is False or right is False):
        return False
    if left is UNKNOWN:
        return UNKNOWN
    if operator == "??":
        return right if left is None else left
    if operator == "||":
        return left or right
    if operator == "&&":
        return right if left else left
    if right is UNKNOWN:
        return UNKNOWN
    if operator == "+":
        return left + right if isinstance(left, str) and isinstance(right, str) else UNKNOWN
    return (left == right) == (operator in ("==", "==="))


def member_of(value: object, key: object, name: str) -> object:
    if name.startswith(("process.env.", "import.meta.env.")):
        return "production" if key == "NODE_ENV" else None
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, float) and 0 <= key < len(value):
        return value[int(key)]
    return UNKNOWN


_TOKEN = re.compile(
    r"""
    (?P<skip>\s+)
  | (?P<string>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')
  | (?P<number>0[xX][0-9a-fA-F]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_$\u0080-\U0010ffff][\w$]*)
  | (?P<punct>\.\.\.|=>|===|!==|==|!=|\?\?|\?\.|&&|\|\||[{}()\[\];,<>+\-*/%&|^!~?:=.@\#])
    """,
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n]){0,200}+\]|[^/\\\n\[]){1,400}+/[a-z]*")
_ESCAPE = re.compile(
    r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n|.)", re.DOTALL
)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
OPEN = {"(": ")", "[": "]", "{": "}"}
CLOSE = {")", "]", "}"}


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # string, template, number, name, punct, end
    text: str
    value: object = None


def _unescape(body: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "ux" and len(code) > 1:
            number = int(code[1:].strip("{}"), 16)
            return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
        return "" if code.endswith("\n") else _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, body)


def _comment_end(source: str, at: int) -> int:
    """Index after the comment at `at`; 0 when there is none."""
    if source.startswith("//", at):
        return _line_end(source, at)
    if source.startswith("/*", at):
        end = source.find("*/", at + 2)
        return len(source) if end < 0 else end + 2
    return 0


def _line_end(source: str, at: int) -> int:
    end = source.find("\n", at)
    return len(source) if end < 0 else end


def _after_stray(source: str, at: int) -> int:
    """A quote that its line never closes says nothing about where the next string begins."""
    return _line_end(source, at) if source[at] in "\"'" else at + 1


def _template_end(source: str, start: int) -> tuple[int, bool]:
    """Where the template that opens at `start` is over, and whether it has substitutions."""
    stack, at, substituted = ["`"], start + 1, False
    while at < len(source) and stack:
        char = source[at]
        if char == "\\":
            at += 1
        elif stack[-1] == "`":
            if char == "`":
                stack.pop()
            elif char == "$" and source[at + 1 : at + 2] == "{":
                stack.append("}")
                substituted = True
                at += 1
        elif char in "`{":
            stack.append("`" if char == "`" else "}")
        elif char == "}":
            stack.pop()
        elif char in "\"'":
            match = _TOKEN.match(source, at)
            at = (match.end() if match else _after_stray(source, at)) - 1
        elif end := _comment_end(source, at):
            at = end - 1
        at += 1
    return at, substituted


def tokenize(source: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        char = source[at]
        if char == "`":
            end, substituted = _template_end(source, at)
            value: object = UNKNOWN if substituted else _unescape(source[at + 1 : end - 1])
            tokens.append(Token("template", "`", value))
            at = end
            continue
        if char == "/" and (end := _comment_end(source, at)):
            at = end
            continue
        if char == "/":
            before = tokens[-1] if tokens else None
            operand = before is not None and (
                before.kind in ("string", "number", "template")
                or before.text in (")", "]", "}")
                or (before.kind == "name" and before.text not in ("return", "typeof", "case"))
            )
            regex = None if operand else _REGEX.match(source, at)
            if regex:
                tokens.append(Token("template", "/", UNKNOWN))
                at = regex.end()
                continue
        match = _TOKEN.match(source, at)
        if match is None:
            at = _after_stray(source, at)
            continue
        at = match.end()
        kind, text = match.lastgroup or "", match[0]
        if kind == "string":
            tokens.append(Token(kind, text, _unescape(text[1:-1])))
        elif kind == "number":
            plain = text.replace("_", "")
            number = int(plain, 16) if plain[:2].lower() == "0x" else float(plain)
            tokens.append(Token(kind, text, number))
        elif kind != "skip":
            tokens.append(Token(kind, text))
    tokens.append(Token("end", ""))
    return tokens


def bracket_pairs(tokens: list[Token]) -> dict[int, int]:
    """Index of each opening bracket to that of its closing one."""
    pairs: dict[int, int] = {}
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind != "punct":
            continue
        if token.text in OPEN:
            stack.append(index)
        elif token.text in CLOSE:
            while stack:
                opened = stack.pop()
                if OPEN[tokens[opened].text] == token.text:
                    pairs[opened] = index
                    break
    return pairs


MAX_CHARS: Final = 1_000_000
_MAX_DEPTH: Final = 80
_MAX_STEPS: Final = 200_000

_WRAPPER = re.compile(r"^(?:define|with|extend|merge|create)\w*$|Config$")
_PATH_CALLS = {"path.resolve", "path.join", "path.posix.join", "path.posix.resolve", "resolve"}
_PATH_CALLS |= {"join", "require.resolve", "fileURLToPath"}


class _Reader:
    """One configuration: its tokens, and where each name of the top level gets its value."""

    def __init__(self, source: str) -> None:
        self.tokens = tokenize(source)
        self.pairs = bracket_pairs(self.tokens)
        self.at = 0
        self.depth = 0
        self.steps = 0
        self.names: dict[str, int] = {}
        self.exported: list[int] = []
        self.assigned: list[tuple[str, str, int]] = []  # config.baseUrl = …
        self.busy: set[str] = set()
        self.known: dict[str, object] = {}
        self._declarations()

    def _text(self, index: int) -> str:
        token = self.tokens[min(index, len(self.tokens) - 1)]
        return token.text if token.kind in ("punct", "name") else ""

    def _declarations(self) -> None:
        index, counts = 0, dict[str, int]()
        while index < len(self.tokens):
            text, after = self._text(index), self._text(index + 1)
            if text in ("const", "let", "var") and self.tokens[index + 1].kind == "name":
                start = self._after_type(index + 2)
                if self._text(start) == "=":
                    self.names[after] = start + 1
                    counts[after] = counts.get(after, 0) + 1
                index += 2
                continue
            if text == "export" and after == "default":
                self.exported.append(index + 2)
            elif text in ("module", "exports") and self._text(index + 2) == "exports":
                if self._text(index + 3) == "=":
                    self.exported.append(index + 4)
            elif self.tokens[index].kind == "name" and after == "=":
                counts[text] = counts.get(text, 0) + 1
            elif after == "." and self._text(index + 3) == "=":
                self.assigned.append((text, self._text(index + 2), index + 4))
            if text in OPEN and index in self.pairs:
                index = self.pairs[index]
            index += 1
        # A name that is set more than once has the value of whichever line ran last.
        self.names = {name: at for name, at in self.names.items() if counts[name] == 1}

    def _after_type(self, index: int) -> int:
        """Past `: Type<X>` when there is one, to the `=`."""
        if self._text(index) != ":":
            return index
        while index < len(self.tokens) and self._text(index) not in ("=", ";", "const", "export"):
            index = self.pairs.get(index, index) + 1
        return index

    # -- values -----------------------------------------------------------------------------

    def value_at(self, index: int) -> object:
        at, self.at = self.at, index
        try:
            return self.expression()
        finally:
            self.at = at

    def named(self, name: str) -> object:
        if name in self.known:
            return self.known[name]
        if name not in self.names or name in self.busy:
            return UNKNOWN
        self.busy.add(name)
        value = self.value_at(self.names[name])
        self.busy.discard(name)
        if isinstance(value, dict):
            for owner, key, start in self.assigned:
                if owner == name:
                    value[key] = self.value_at(start)
        self.known[name] = value
        return value

    def expression(self) -> object:
        self.depth += 1
        self.steps += 1
        try:
            if self.depth > _MAX_DEPTH or self.steps > _MAX_STEPS:
                self._skip_operand()
                return UNKNOWN
            if self._is_function():
                self._skip_operand()
                return UNKNOWN
            test = self._binary(0)
            if self._text(self.at) != "?":
                return test
            self.at += 1
            yes = self.expression()
            if self._text(self.at) == ":":
                self.at += 1
            no = self.expression()
            return UNKNOWN if test is UNKNOWN else yes if test else no
        finally:
            self.depth -= 1

    def _is_function(self) -> bool:
        at = self.at
        if self._text(at) == "async":
            at += 1
        if self._text(at) in ("function", "class"):
            return True
        if self.tokens[at].kind == "name" and self._text(at + 1) == "=>":
            return True
        if self._text(at) != "(" or at not in self.pairs:
            return False
        after = self.pairs[at] + 1
        if self._text(after) == ":":  # a result type, unless this is the middle of `a ? (b) : c`
            for index in range(after + 1, min(after + 12, len(self.tokens))):
                if self._text(index) == "=>":
                    return True
                if self._text(index) in (",", ";", ")", "}", "{"):
                    return False
        return self._text(after) == "=>"

    def _skip_operand(self) -> None:
        """To the `,` or closing bracket that ends the expression."""
        while self.tokens[self.at].kind != "end":
            text = self._text(self.at)
            if text in (",", ";") or text in CLOSE:
                return
            was = text
            self.at = self.pairs.get(self.at, self.at) + 1
            if was == "{" and self.tokens[self.at].kind == "name" and self.depth <= 1:
                return  # a function's body at the top level needs no semicolon

    _OPERATORS: Final = (("??", "||"), ("&&",), ("===", "!==", "==", "!="), ("+",))

    def _binary(self, level: int) -> object:
        if level == len(self._OPERATORS):
            return self._unary()
        left = self._binary(level + 1)
        while (operator := self._text(self.at)) in self._OPERATORS[level]:
            self.at += 1
            left = combine(operator, left, self._binary(level + 1))
        if level == 0 and self._text(self.at) in ("-", "*", "/", "%", "<", ">", "&", "|", "^"):
            self._skip_operand()
            return UNKNOWN
        return left

    def _unary(self) -> object:
        inverted = 0
        while self._text(self.at) == "!":
            inverted += 1
            self.at += 1
        if self._text(self.at) in ("-", "+", "~", "typeof", "void", "new", "await", "delete"):
            word = self._text(self.at)
            self.at += 1
            value = self._postfix()
            if word == "-" and isinstance(value, float):
                return -value
            return value if word in ("await", "new") else UNKNOWN
        value = self._postfix()
        if not inverted or value is UNKNOWN:
            return value
        return bool(value) == (inverted % 2 == 0)

    def _postfix(self) -> object:
        value, name = self._primary()
        while True:
            text = self._text(self.at)
            if text in (".", "?."):
                member = self._text(self.at + 1)
                name = f"{name}.{member}" if name else ""
                value = member_of(value, member, name)
                self.at += 2
            elif text == "[" and self.at in self.pairs:
                end = self.pairs[self.at]
                self.at += 1
                value, name = member_of(value, self.expression(), ""), ""
                self.at = end + 1
            elif text == "<" and name and (start := self._type_arguments()):
                self.at = start
            elif text == "(" and self.at in self.pairs:
                value = self._call(name)
                name = ""
            elif text in ("as", "satisfies"):
                self.at += 1
                while self._text(self.at) not in (",", ";", "=", "?", "") and (
                    self._text(self.at) not in CLOSE
                ):
                    self.at = self.pairs.get(self.at, self.at) + 1
            elif text == "!" and self._text(self.at + 1) in (".", ",", ")", "}"):
                self.at += 1
            else:
                return value

    def _type_arguments(self) -> int:
        """Index of the `(` after `<T>`; 0 when this `<` compares."""
        level = 0
        for index in range(self.at, min(self.at + 60, len(self.tokens))):
            text = self._text(index)
            level += (text == "<") - (text == ">")
            if level == 0:
                return index + 1 if self._text(index + 1) == "(" else 0
        return 0

    def _call(self, name: str) -> object:
        arguments = self._items("(")
        if name in _PATH_CALLS:
            parts = [part for part in arguments if isinstance(part, str)]
            return "/".join(parts) if parts and len(parts) == len(arguments) else UNKNOWN
        if name == "URL" and arguments and isinstance(arguments[0], str):
            return arguments[0]
        if _WRAPPER.search(name):
            return next((part for part in arguments if isinstance(part, dict)), UNKNOWN)
        return UNKNOWN

    def _primary(self) -> tuple[object, str]:
        token = self.tokens[self.at]
        if token.kind == "end" or token.text in CLOSE or token.text in (",", ";"):
            return UNKNOWN, ""
        if token.text in OPEN and token.kind == "punct" and self.at not in self.pairs:
            self.at = len(self.tokens) - 1  # never closed: nothing after it can be trusted
            return UNKNOWN, ""
        if token.text == "(" and token.kind == "punct":
            values = self._items("(")
            return (values[-1] if values else UNKNOWN), ""
        if token.text == "[" and token.kind == "punct":
            return self._items("["), ""
        if token.text == "{" and token.kind == "punct":
            return self._object(), ""
        self.at += 1
        if token.kind != "name":
            return (UNKNOWN if token.kind == "punct" else token.value), ""
        constants = {"true": True, "false": False, "null": None, "undefined": None}
        if token.text in constants:
            return constants[token.text], ""
        if token.text == "__dirname":
            return ".", ""
        if token.text == "import" and self._text(self.at) == ".":
            return UNKNOWN, "import"
        return self.named(token.text), token.text

    def _items(self, opening: str) -> list[object]:
        end = self.pairs[self.at]
        self.at += 1
        values: list[object] = []
        while self.at < end:
            before = self.at
            spread = self._text(self.at) == "..."
            if spread:
                self.at += 1
            value = self.expression()
            if spread and isinstance(value, list):
                values.extend(value)
            else:
                values.append(UNKNOWN if spread else value)
            while self.at < end and self._text(self.at) != ",":
                self.at = max(self.pairs.get(self.at, self.at), before) + 1
            self.at += 1
        self.at = end + 1
        return values

    def _object(self) -> dict[str, object]:
        end = self.pairs[self.at]
        self.at += 1
        values: dict[str, object] = {}
        while self.at < end:
            token, after = self.tokens[self.at], self._text(self.at + 1)
            if token.text == "..." and token.kind == "punct":
                self.at += 1
                value = self.expression()
                if isinstance(value, dict):
                    values.update(value)
            elif token.kind in ("name", "string", "number") and after == ":":
                key = str(token.value) if token.kind == "string" else token.text
                self.at += 2
                values[key] = self.expression()
            elif token.kind == "name" and after in (",", "}"):
                values[token.text] = self.named(token.text)
                self.at += 1
            elif token.kind == "name" and after == "(":  # a method
                values[token.text] = UNKNOWN
            while self.at < end and self._text(self.at) != ",":
                self.at = self.pairs.get(self.at, self.at) + 1
            self.at += 1
        self.at = end + 1
        return values


def read_object(source: str, wanted: Iterable[str]) -> dict[str, object]:
    """The exported configuration, or the object that has most of the `wanted` keys.

    Empty when there is none. Values are str, float, bool, None, list, dict or `UNKNOWN`.
    """
    if len(source) > MAX_CHARS:
        return {}
    reader = _Reader(source)
    for index in reader.exported:
        value = reader.value_at(index)
        if isinstance(value, dict):
            return value
    keys = frozenset(wanted)
    score: Callable[[dict[str, object]], int] = lambda found: len(keys & found.keys())  # noqa: E731
    named = [reader.named(name) for name in reader.names]
    found = [value for value in named if isinstance(value, dict)]
    for index, token in enumerate(reader.tokens):
        if token.text == "{" and token.kind == "punct" and index in reader.pairs:
            before = (reader._text(index - 1), reader._text(index - 2))
            if before[0] == "return" or before == ("(", "=>") or before[0] == "(":
                value = reader.value_at(index)
                if isinstance(value, dict):
                    found.append(value)
    best = max(found, key=score, default={})
    return best if score(best) else {}
