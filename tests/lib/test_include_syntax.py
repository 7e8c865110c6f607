"""What each generator's directives ask for; `test_includes` reads the files."""

import pytest

from lib.include_parts import Part
from lib.include_syntax import expand, names_files
from lib.markdown import parse_page
from lib.markdown_page import Flavour

Asked = tuple[str, Part, bool]


def expanded(text: str, flavour: Flavour = "commonmark") -> tuple[list[Asked], list[str | None]]:
    """What is read for each block of a page (file, part, as code), and what they stand for."""
    asked: list[Asked] = []

    def read(target: str, part: Part, *, code: bool) -> str:
        asked.append((target, part, code))
        return f"<{target}>"

    page = parse_page(text, flavour)
    assert names_files(text, page)
    return asked, [expand(b, text[b.start : b.end], page, read) for b in page.blocks]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("{{#include ../x.md}}", ("../x.md", Part(), False)),
        ("```rust\n{{#rustdoc_include x.rs:body}}\n```", ("x.rs", Part("body"), True)),
        ("```rust\n{{#playground x.rs editable}}\n```", ("x.rs", Part(), True)),
        ('--8<-- "x.md"', ("x.md", Part(), False)),
        ('```py\n--8<-- "x.py:part"\n```', ("x.py", Part("part"), True)),
        ("--8<--\nx.md\n;y.md\n--8<--", ("x.md", Part(), False)),
        ("{* ../x.py hl[2] *}", ("../x.py", Part(), False)),
        ("{* ../x.py ln[1,3:4] *}", ("../x.py", Part(spans=((1, 1), (3, 4))), False)),
        ("<<< ../x.py#tail{1} [Tail]", ("../x.py", Part("tail"), True)),
        ("<!--@include: ../x.md-->", ("../x.md", Part(), False)),
        ("<!-- @include: @/x.md#part -->", ("@/x.md", Part("part"), False)),
        ("<!-- @include: @/x.md{6,} -->", ("@/x.md", Part(spans=((6, None),)), False)),
        ("<!-- @include: @/x.md{,6} -->", ("@/x.md", Part(spans=((1, 6),)), False)),
    ],
)
def test_what_a_directive_asks_for(text: str, asked: Asked) -> None:
    read, (stands_for, *_) = expanded(f"{text}\n")
    assert read == [asked]
    assert stands_for is not None
    assert f"<{asked[0]}>" in stands_for


def test_what_stands_around_a_directive_stays() -> None:
    _, shown = expanded("```rust\nlet a = 1;\n{{#include x.rs}}\n```\n\nText.\n")
    assert shown == ["let a = 1;\n<x.rs>\n", None]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```\n\\{{#include x.rs}}\n```\n", "{{#include x.rs}}\n"),
        ('```\n;--8<-- "x.rs"\n```\n', '--8<-- "x.rs"\n'),
    ],
)
def test_an_escaped_directive_is_shown(text: str, shown: str) -> None:
    assert expanded(text) == ([], [shown])


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("import Note from '../_x.mdx';\n\n<Note title='T' />\n", ("../_x.mdx", Part(), False)),
        (
            "import s from '!!raw-loader!./x.py';\n\n<CodeBlock>{s}</CodeBlock>\n",
            ("./x.py", Part(), True),
        ),
    ],
)
def test_mdx_imports(text: str, asked: Asked) -> None:
    assert expanded(text, "mdx")[0] == [asked]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("```{include} ../x.md\n```\n", ("../x.md", Part(), False)),
        ("```{literalinclude} x.py\n:language: python\n```\n", ("x.py", Part(), True)),
    ],
)
def test_myst_directives(text: str, asked: Asked) -> None:
    assert expanded(text, "myst")[0] == [asked]


def test_a_plain_page_names_nothing() -> None:
    text = "# Tides\n\nThe tide *turns*. <b>Twice</b> { a day }.\n"
    assert not names_files(text, parse_page(text, "commonmark"))
