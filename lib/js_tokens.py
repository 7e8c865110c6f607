"""Tokens of JavaScript and TypeScript, well enough told apart to find literals among them."""

import re
from dataclasses import dataclass

from lib.js_values import UNKNOWN

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
