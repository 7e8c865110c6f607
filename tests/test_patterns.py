"""No regular expression of the code backtracks: text that is twice as long takes twice the time."""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LENGTHS = (16, 20, 24, 28, 34, 40, 50, 60, 100, 300, 1_500, 8_000)
MAX_ATTACKS = 120
SECONDS = 0.01
"""A linear pattern takes 1 ms for the longest text, a quadratic one 40 ms and more."""
CANDIDATES = " \t\n\\aA0_-.:/<>{}()[]\"'`~*#|=!,;$%&^+?@\x00é\u4e00"
UNBOUNDED = 60
SHORT = {
    "lib.sanitizer_syntax._UNFINISHED": "reads the last 80 characters",
    "lib.sites.mkdocs._TAG": "reads text that ends with >",
}
"""Patterns whose text is short, and why."""


class Use(NamedTuple):
    """A pattern and how the code applies it."""

    place: str
    pattern: re.Pattern[str]
    searched: bool


def uses() -> Iterator[Use]:
    """Every pattern of the code: the compiled ones of each module, and those of single calls."""
    for path in sorted([*ROOT.glob("lib/**/*.py"), *ROOT.glob("handlers/*.py")]):
        source = path.read_text(encoding="utf-8")
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        found: list[Use] = []
        for key, value in vars(module).items():
            matched = re.search(rf"\b{re.escape(key)}\b\S*\.(full)?match\b", source)
            searching = re.search(
                rf"\b{re.escape(key)}\b\S*\.(sub|subn|search|finditer|findall|split)\b", source
            )
            found += [
                Use(f"{name}.{key}", pattern, bool(searching) or not matched)
                for pattern in patterns_in(value)
            ]
        named = {each.pattern.pattern for each in found}
        yield from found
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="re"), attr=method),
                    args=[ast.Constant(value=str(text)), *_],
                    keywords=keywords,
                ) if text not in named:
                    searched = method not in ("match", "fullmatch", "compile")
                    named_flags = [each.value for each in keywords if each.arg == "flags"]
                    flags = [eval(ast.unparse(each)) for each in named_flags]  # re.DOTALL
                    yield Use(f"{name}:{node.lineno}", re.compile(text, *flags), searched)


def patterns_in(value: object, depth: int = 0) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth < 3 and isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from patterns_in(each, depth + 1)
    elif depth < 3 and isinstance(value, dict):
        yield from patterns_in([*value, *value.values()], depth)


def attacks(pattern: re.Pattern[str]) -> list[tuple[str, str, str]]:
    """Texts `(before, unit, after)` whose unit is repeated, one for each repeat and character."""
    found: dict[tuple[str, str, str], None] = {}
    tree = parser.parse(pattern.pattern, pattern.flags)
    for before, unit in pumps(list(tree), "", pattern.flags):
        for after in ("", "\x00", "\n"):
            for each in ((before, unit), ("", before + unit), ("", before)):
                found[*each, after] = None
    chosen = [each for each in found if each[1]]
    return chosen[:: len(chosen) // MAX_ATTACKS + 1]


def pumps(nodes: list[Any], before: str, flags: int) -> Iterator[tuple[str, str]]:
    """The text before each repeat and what it repeats."""
    for kind, value in nodes:
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, body = value
            if high >= UNBOUNDED:
                for unit in samples(list(body), flags):
                    yield before, unit
                    yield before, unit + before[-1:]
            yield from pumps(list(body), before, flags)
            before += next(samples(list(body), flags), "") * low
            continue
        for branch in branches(kind, value):
            yield from pumps(branch, before, flags)
        before += next(samples([(kind, value)], flags), "")


def branches(kind: Any, value: Any) -> list[list[Any]]:
    if kind is op.SUBPATTERN:
        return [list(value[3])]
    if kind is op.ATOMIC_GROUP:
        return [list(value)]
    if kind is op.BRANCH:
        return [list(each) for each in value[1]]
    return []


def samples(nodes: list[Any], flags: int) -> Iterator[str]:
    """Some texts that the nodes match, the plainest one first."""
    texts = [""]
    for kind, value in nodes:
        if kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY, op.CATEGORY):
            more = characters(kind, value, flags)
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, body = value
            more = [each * max(low, min(high, 1)) for each in samples(list(body), flags)]
            more += [""] * (low == 0)
        elif inner := branches(kind, value):
            more = [text for branch in inner for text in samples(branch, flags)]
        else:
            continue
        texts = [text + each for text in texts[:6] for each in more[:12]] or texts
    yield from dict.fromkeys(texts)


def characters(kind: Any, value: Any, flags: int) -> list[str]:
    """Characters that a node of one character matches."""
    if kind is op.LITERAL:
        return [chr(value)]
    if kind is op.IN and value[0][0] is not op.NEGATE:
        own = [chr(each) for name, each in value if name is op.LITERAL]
        own += [chr(each[0]) for name, each in value if name is op.RANGE]
    else:
        own = []
    state = parser.State()
    state.flags, state.str = flags, ""
    one = parser.SubPattern(state, [(kind, value)])
    matches = compiled(one, flags).match
    return list(dict.fromkeys([*own, *(each for each in CANDIDATES if matches(each))]))


def compiled(tree: Any, flags: int) -> re.Pattern[str]:
    from re import _compiler as compiler  # type: ignore[attr-defined]

    result: re.Pattern[str] = compiler.compile(tree, flags & ~re.DEBUG)
    return result


def seconds(use: Use, text: str) -> float:
    began = time.process_time()
    if use.searched:
        for _ in use.pattern.finditer(text):
            pass
    else:
        use.pattern.match(text)
        use.pattern.fullmatch(text)
    return time.process_time() - began


def slow(use: Use) -> str | None:
    """A text that takes the pattern long; None if there is none."""
    for before, unit, after in attacks(use.pattern):
        for length in LENGTHS:
            text = before + unit * (length // len(unit)) + after
            if min(seconds(use, text), SECONDS) == SECONDS and seconds(use, text) > SECONDS:
                return f"{before!r} + {unit!r} * {length // len(unit)} + {after!r}"
    return None


@pytest.mark.parametrize(
    "use", [each for each in uses() if each.place not in SHORT], ids=lambda use: use.place
)
def test_no_pattern_backtracks(use: Use) -> None:
    assert slow(use) is None


@pytest.mark.parametrize(
    "pattern", [r"[ \t]+x", r"(a|a)*b", r"\[[^\]]*\]", r"(?:a+)+b", r"#.*\s+$", r"<(?:\w+\s*)*>"]
)
def test_a_pattern_that_backtracks_is_found(pattern: str) -> None:
    assert slow(Use("", re.compile(pattern), searched=True)) is not None
