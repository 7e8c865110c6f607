import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.chunking import chunk_page
from lib.documents import read_document
from lib.includes import (
    Includes,
    _expand,
    _mdbook_part,
    _names_files,
    _Part,
    _ranges,
    _select,
    _snippet_part,
)
from lib.markdown import parse_page
from lib.markdown_page import Flavour, apply_edits, render
from tests.listings import LISTING, PYTHON


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "listings/main.rs": LISTING,
        "src/app.py": PYTHON,
        "docs/_note.mdx": "import X from './_deep.mdx'\n\n## Note\n\nMind *this*.\n\n<X />\n",
        "docs/_deep.mdx": "Deep text.\n",
        "docs/part.md": "---\ntitle: x\n---\nPart one.\n\nPart two.\n",
        "docs/loop.md": "Loop. \n\n<!--@include: ./loop.md-->\n",
        "docs/data.bin": "\0\0",
        "docs/big.md": "word " * 3000,
    }
    for path, text in files.items():
        (tmp_path / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / path).write_text(text)
    (tmp_path / "secret.md").write_text("secret words")
    (tmp_path / "site/docs/link.md").symlink_to(tmp_path / "secret.md")
    return tmp_path / "site"


def embedded(site: Path, text: str, flavour: Flavour = "commonmark") -> tuple[str, list[str]]:
    """Return the embedded text of a page of the site, without its title, and the problems."""
    (site / "docs/guide").mkdir(exist_ok=True)
    (site / "docs/guide/page.md").write_text(text)
    document = read_document(site / "docs", "guide/page.md")
    page = parse_page(document.text, flavour)
    includes = Includes(site / "docs", site, max_file_bytes=10_000)
    chunks = chunk_page(
        document,
        page,
        budget=200,
        count_tokens=lambda text: len(text.split()),
        includes=includes.of(document, page),
    )
    for chunk in chunks:
        assert chunk.text == document.text[chunk.start : chunk.end]
        # readers see what is embedded
        content = f"{chunk.lead}{apply_edits(chunk.text, chunk.edits)}{chunk.tail}"
        blocks = parse_page(content.replace("\n…", ""), flavour).blocks
        seen = "\n".join(filter(None, map(render, blocks)))
        assert seen.split() == chunk.embed_text.split("\n\n", 1)[1].split()
    bodies = [chunk.embed_text.split("\n\n", 1)[1] for chunk in chunks]
    return "\n\n".join(bodies), includes.problems_of("guide/page.md")


MAIN = "fn main() {\n    run();\n}"
WHOLE = f"use std::io;\n{MAIN}"
APP = "import os\ndef f():\n    return 1\nx = f()"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```rust\n{{#include ../../listings/main.rs}}\n```", f"```rust\n{WHOLE}\n```"),
        ("```rust\n{{#rustdoc_include ../../listings/main.rs:body}}\n```", f"```rust\n{MAIN}\n```"),
        ("```rust\n{{#include ../../listings/main.rs:1}}\n```", "```rust\nuse std::io;\n```"),
        (
            "```rust\nlet a = 1;\n{{#include ../../listings/main.rs:1}}\n```",
            "```rust\nlet a = 1;\nuse std::io;\n```",
        ),
        ("```\n\\{{#include ../x.rs}}\n```", "```\n{{#include ../x.rs}}\n```"),
        ("{{#include ../part.md}}", "Part one.\n\nPart two."),
        ('--8<-- "docs/part.md"', "Part one.\n\nPart two."),
        ('```py\n--8<-- "src/app.py:part"\n```', "```py\ndef f():\n    return 1\n```"),
        ('```py\n;--8<-- "src/app.py"\n```', '```py\n--8<-- "src/app.py"\n```'),
        ("{* ../../src/app.py hl[2] *}", f"```py\n{APP}\n```"),
        ("{* ../../src/app.py ln[1,3:4] *}", "```py\nimport os\ndef f():\n    return 1\n```"),
        ("<<< ../../src/app.py#tail{1} [Tail]", "```py\nx = f()\n```"),
        ("<<< @/part.md", "```md\n---\ntitle: x\n---\nPart one.\n\nPart two.\n```"),
        ("<!--@include: ../part.md-->", "Part one.\n\nPart two."),
        ("<!-- @include: @/part.md{6,} -->", "Part two."),
    ],
)
def test_included_files_are_embedded(site: Path, text: str, expected: str) -> None:
    assert embedded(site, f"{text}\n") == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import Note from '../_note.mdx';\n\n<Note title='T' />",
            "T\n\nNote\n\nMind this.\n\nDeep text.",
        ),
        ("import N from '@site/docs/_deep.mdx';\n\n- item\n\n  <N/>", "- item\n  Deep text."),
        (
            "import s from '!!raw-loader!../../src/app.py';\n\n<CodeBlock>{s}</CodeBlock>",
            f"```py\n{APP}\n```",
        ),
    ],
)
def test_mdx_partials(site: Path, text: str, expected: str) -> None:
    assert embedded(site, f"{text}\n", "mdx") == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```{include} ../part.md\n```", "Part one.\n\nPart two."),
        ("```{literalinclude} ../../src/app.py\n:language: python\n```", f"```python\n{APP}\n```"),
    ],
)
def test_myst_includes(site: Path, text: str, expected: str) -> None:
    assert embedded(site, f"{text}\n", "myst") == (expected, [])


@pytest.mark.parametrize(
    "target",
    [
        "../../../secret.md",
        "../link.md",
        "/../secret.md",
        "missing.md",
        "../data.bin",
        "../big.md",
        "..",
        "a" * 5000,
    ],
)
def test_what_lies_outside_or_cannot_be_read_is_left_out_and_named(site: Path, target: str) -> None:
    body, problems = embedded(site, f"Before.\n\n{{{{#include {target}}}}}\n\nAfter.\n")
    assert "secret" not in body
    assert body.split() == ["Before.", "After."]
    (problem,) = problems
    assert problem.startswith(f"{target} is not included: ")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../../../../x.md", "it is outside the folder that may be read"),
        ("@/../../x.md", "it is outside the folder that may be read"),
        ("../x.md", "no such file"),
        ("virtual:shapes", "only the build of the site knows"),
        ("@components/x.md", "only the build of the site knows"),
        ("@/x.md", "no such file"),
    ],
)
def test_why_a_file_is_not_included(site: Path, target: str, reason: str) -> None:
    _, [problem] = embedded(site, f"<!--@include: {target}-->\n")
    assert problem.startswith(f"{target} is not included: {reason}")


def test_an_absolute_path_is_read_below_the_site_only(site: Path) -> None:
    body, problems = embedded(site, f"{{{{#include {site.parent}/secret.md}}}}\n\nAfter.\n")
    assert body == "After."
    assert len(problems) == 1


def test_a_file_that_includes_itself_is_taken_once(site: Path) -> None:
    body, problems = embedded(site, "<!--@include: ../loop.md-->\n")
    assert body == "Loop."
    assert "includes itself" in problems[0]


def test_what_a_page_includes_is_capped_in_depth_and_in_all(site: Path) -> None:
    for n in range(8):
        (site / f"docs/d{n}.md").write_text(f"Level {n}.\n\n<!--@include: ./d{n + 1}.md-->\n")
    body, problems = embedded(site, "<!--@include: ../d0.md-->\n")
    assert "Level 3." in body
    assert "Level 5." not in body
    assert "nested more than 4 levels deep" in problems[0]

    (site / "docs/wide.md").write_text("x" * 90)
    (site / "docs/p.md").write_text("<!--@include: ./wide.md-->\n\n" * 3)
    document = read_document(site / "docs", "p.md")
    page = parse_page(document.text, "commonmark")
    includes = Includes(site / "docs", max_page_characters=200)
    resolve = includes.of(document, page)
    assert resolve is not None
    assert [bool(resolve(block)) for block in page.blocks] == [True, True, False]
    assert "more than 200 characters" in includes.problems_of("p.md")[0]


def test_a_page_that_includes_nothing_needs_no_resolver(site: Path) -> None:
    document = read_document(site / "docs", "part.md")
    page = parse_page(document.text, "commonmark")
    assert Includes(site / "docs").of(document, page) is None


SECRET = "hunter2"
PRIVATE = [
    ".env",
    ".env.local",
    "prod.env",
    ".git/config",
    ".npmrc",
    ".aws/credentials",
    "id_rsa",
    "keys/id_ed25519",
    "server.pem",
    "server.key",
    "Server.KEY",
    "server.pem.bak",
    "credentials.json",
    "aws-credentials.csv",
    "my_secrets.yaml",
    "passwords.txt",
    "prod.tfstate",
    "prod.tfstate.backup",
    "service-account.json",
    "deploy",  # found by its text
    "docs/linked.txt",
]
INCLUDES: dict[str, tuple[str, Flavour]] = {
    "mdBook": ("{{{{#include ../../{}}}}}", "commonmark"),
    "mdBook, lines": ("```\n{{{{#rustdoc_include ../../{}:1:2}}}}\n```", "commonmark"),
    "mdBook, absolute": ("{{{{#include /../{}}}}}", "commonmark"),
    "MkDocs": ('--8<-- "{}"', "commonmark"),
    "MkDocs, many": ("--8<--\n../{}\n--8<--", "commonmark"),
    "FastAPI": ("{{* ../../{} ln[1] *}}", "commonmark"),
    "VitePress": ("<<< ../../{}", "commonmark"),
    "VitePress, alias": ("<<< @/../{}", "commonmark"),
    "VitePress, part": ("<!--@include: ../../{}-->", "commonmark"),
    "nested": ("<!--@include: ../nested.md-->", "commonmark"),
    "MyST": ("```{{include}} ../../{}\n```", "myst"),
    "Sphinx": ("```{{literalinclude}} ../../{}\n```", "myst"),
    "Docusaurus": ("import s from '!!raw-loader!../../{}';\n\n<Code>{{s}}</Code>", "mdx"),
    "Docusaurus, alias": ("import s from '!!raw-loader!@site/../{}';\n\n<Code>{{s}}</Code>", "mdx"),
}


@pytest.mark.parametrize(("directive", "flavour"), INCLUDES.values(), ids=INCLUDES)
def test_no_syntax_includes_hidden_files_and_secrets(
    site: Path, directive: str, flavour: Flavour
) -> None:
    for name in PRIVATE[:-1]:
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(f"PASSWORD={SECRET}\n")
    (site / "deploy").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n")
    (site / "docs/linked.txt").symlink_to(site / ".env")
    for name in PRIVATE:
        (site / "docs/nested.md").write_text(f"{{{{#include ../{name}}}}}\n")
        body, problems = embedded(site, f"{directive.format(name)}\n\nAfter.\n", flavour)
        assert SECRET not in body
        (problem,) = problems
        assert problem.endswith(f"{name} is not included: it is hidden, or may hold a secret")


@pytest.mark.parametrize(
    "name", ["src/secrets.py", "src/password_reset.rs", "src/config.yml", "keys.md", "Makefile"]
)
def test_sources_beside_the_book_are_included(site: Path, name: str) -> None:
    (site / name).write_text("The text.\n")
    body, problems = embedded(site, f"```\n{{{{#include ../../{name}}}}}\n```\n")
    assert "The text." in body
    assert problems == []


MANY = "9" * 5_000


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("x.rs", _Part()),
        ("x.rs:", _Part()),
        ("x.rs::", _Part()),
        ("x.rs:body", _Part("body")),
        ("x.rs:3", _Part(spans=((3, 3),))),
        ("x.rs:2:5", _Part(spans=((2, 5),))),
        ("x.rs::5", _Part(spans=((1, 5),))),
        ("x.rs:2:", _Part(spans=((2, None),))),
        ("x.rs:2:end", _Part(spans=((2, None),))),
        (f"x.rs:{MANY}", _Part(spans=((999_999_999, 999_999_999),))),
    ],
)
def test_what_mdbook_names(target: str, part: _Part) -> None:
    assert _mdbook_part(target) == ("x.rs", part)


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("x.py", _Part()),
        ("x.py:part", _Part("part")),
        ("x.py:2", _Part(spans=((2, 2),))),
        ("x.py:2:5", _Part(spans=((2, 5),))),
        ("x.py::5", _Part(spans=((1, 5),))),
        ("x.py:1:3,6:7", _Part(spans=((1, 3), (6, 7)))),
    ],
)
def test_what_a_snippet_names(target: str, part: _Part) -> None:
    assert _snippet_part(target) == ("x.py", part)


def test_lines_are_named_by_their_numbers() -> None:
    assert _ranges("1:3,5,7:".split(",")) == ((1, 3), (5, 5), (7, None))
    assert _ranges(["x", "", f"{MANY}:{MANY}"]) == ((999_999_999, 999_999_999),)


@pytest.mark.parametrize(
    ("text", "part", "selected"),
    [
        (LISTING, _Part("call"), "run();"),
        (LISTING, _Part("body"), "fn main() {\n    run();\n}"),
        (LISTING, _Part("bod"), ""),
        (LISTING, _Part(spans=((3, 3),)), "fn main() {"),
        (LISTING, _Part(spans=((5, 5),)), "run();"),
        (LISTING, _Part(spans=((1, 1), (7, None))), "use std::io;\n}\n"),
        (LISTING, _Part(spans=((99, None),)), ""),
        (PYTHON, _Part("part"), "def f():\n    return 1"),
        (PYTHON, _Part("tail"), "x = f()"),
        (PYTHON, _Part(), "import os\ndef f():\n    return 1\nx = f()\n"),
    ],
)
def test_a_part_is_its_lines(text: str, part: _Part, selected: str) -> None:
    assert _select(text, part) == selected


@given(st.text(":,0123456789²٣ax-", max_size=20))
def test_any_target_names_something(target: str) -> None:
    for named in (_mdbook_part, _snippet_part):
        _, part = named(target)
        _select(PYTHON, part)


Asked = tuple[str, _Part, bool]


def expanded(text: str, flavour: Flavour = "commonmark") -> tuple[list[Asked], list[str | None]]:
    """Return what is read for each block of a page (file, part, code), and the replacements."""
    asked: list[Asked] = []

    def read(target: str, part: _Part, *, code: bool) -> str:
        asked.append((target, part, code))
        return f"<{target}>"

    page = parse_page(text, flavour)
    assert _names_files(text, page)
    return asked, [_expand(b, text[b.start : b.end], page, read) for b in page.blocks]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("{{#include ../x.md}}", ("../x.md", _Part(), False)),
        ("```rust\n{{#rustdoc_include x.rs:body}}\n```", ("x.rs", _Part("body"), True)),
        ("```rust\n{{#playground x.rs editable}}\n```", ("x.rs", _Part(), True)),
        ('--8<-- "x.md"', ("x.md", _Part(), False)),
        ('```py\n--8<-- "x.py:part"\n```', ("x.py", _Part("part"), True)),
        ("--8<--\nx.md\n;y.md\n--8<--", ("x.md", _Part(), False)),
        ("{* ../x.py hl[2] *}", ("../x.py", _Part(), False)),
        ("{* ../x.py ln[1,3:4] *}", ("../x.py", _Part(spans=((1, 1), (3, 4))), False)),
        ("<<< ../x.py#tail{1} [Tail]", ("../x.py", _Part("tail"), True)),
        ("<!--@include: ../x.md-->", ("../x.md", _Part(), False)),
        ("<!-- @include: @/x.md#part -->", ("@/x.md", _Part("part"), False)),
        ("<!-- @include: @/x.md{6,} -->", ("@/x.md", _Part(spans=((6, None),)), False)),
        ("<!-- @include: @/x.md{,6} -->", ("@/x.md", _Part(spans=((1, 6),)), False)),
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
        ("import Note from '../_x.mdx';\n\n<Note title='T' />\n", ("../_x.mdx", _Part(), False)),
        (
            "import s from '!!raw-loader!./x.py';\n\n<CodeBlock>{s}</CodeBlock>\n",
            ("./x.py", _Part(), True),
        ),
    ],
)
def test_mdx_imports(text: str, asked: Asked) -> None:
    assert expanded(text, "mdx")[0] == [asked]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("```{include} ../x.md\n```\n", ("../x.md", _Part(), False)),
        ("```{literalinclude} x.py\n:language: python\n```\n", ("x.py", _Part(), True)),
    ],
)
def test_myst_directives(text: str, asked: Asked) -> None:
    assert expanded(text, "myst")[0] == [asked]


def test_a_plain_page_names_nothing() -> None:
    text = "# Tides\n\nThe tide *turns*. <b>Twice</b> { a day }.\n"
    assert not _names_files(text, parse_page(text, "commonmark"))


@pytest.mark.parametrize(
    "text",
    [
        "<<< a" + " " * 8_000 + "x",
        "<<< a{" + " " * 8_000 + "x",
        "{{#include a" * 700,
        "{* a" + " " * 8_000 + "x",
        "{* a " + "ln[" * 2_500 + "*}",
        "<!--@include:a" * 600,
        "<!--@include:a{" + "1" * 8_000,
        '--8<-- "' + ":1" * 4_000 + 'x"',
        '--8<-- "a"' + " " * 8_000 + "x",
        "<<< a\n" * 60,
        "\n".join(f"{{{{#include {n}}}}}" for n in range(3_000)),
    ],
)
def test_hostile_directives_take_linear_time(site: Path, text: str) -> None:
    """Regression: at this size each took from half a second to hours."""
    started = time.process_time()
    embedded(site, text)
    assert time.process_time() - started < 0.5
