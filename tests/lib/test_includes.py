from pathlib import Path

import pytest

from lib.chunking import chunk_page
from lib.documents import read_document
from lib.includes import Includes
from lib.markdown import parse_page
from lib.markdown_page import Flavour
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
    """What is embedded of a page of the site, its title left off, and the problems."""
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
    assert all(chunk.text == document.text[chunk.start : chunk.end] for chunk in chunks)
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
    assert "nested too deep" in problems[0]

    (site / "docs/wide.md").write_text("x" * 90)
    (site / "docs/p.md").write_text("<!--@include: ./wide.md-->\n\n" * 3)
    document = read_document(site / "docs", "p.md")
    page = parse_page(document.text, "commonmark")
    includes = Includes(site / "docs", max_page_bytes=200)
    resolve = includes.of(document, page)
    assert resolve is not None
    assert [bool(resolve(block)) for block in page.blocks] == [True, True, False]
    assert "too much" in includes.problems_of("p.md")[0]


def test_a_page_that_includes_nothing_needs_no_resolver(site: Path) -> None:
    document = read_document(site / "docs", "part.md")
    page = parse_page(document.text, "commonmark")
    assert Includes(site / "docs").of(document, page) is None
