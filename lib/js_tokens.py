"""Tokens of JavaScript and TypeScript, well enough told apart to find literals among them."""

import re
from dataclasses import dataclass
from typing import Final


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()
"""A value that only running the configuration would tell. Falsy, so that defaults apply."""

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*|/\*.*?\*/)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<number>0[xX][0-9a-fA-F]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_$\u0080-\U0010ffff][\w$]*)
  | (?P<punct>\.\.\.|=>|===|!==|==|!=|\?\?|\?\.|&&|\|\||[{}()\[\];,<>+\-*/%&|^!~?:=.@\#])
    """,
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*")
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
            return chr(number) if number < 0x110000 else ""
        return "" if code.endswith("\n") else _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, body)


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
        elif char in "\"'/" and (match := _TOKEN.match(source, at)) and match.lastgroup != "punct":
            at = match.end() - 1
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
        if char == "/" and not source.startswith(("//", "/*"), at):
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
        if match is None:  # a stray quote or a character that no configuration needs
            at += 1
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
