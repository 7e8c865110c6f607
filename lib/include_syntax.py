"""How the generators' pages name the files they include.

A partial imported in MDX (`import Note from './_note.mdx'` and `<Note />`), a listing
(`{{#include x.rs}}`, `{* ../x.py *}`, `<<< @/x.ts`, `--8<-- "x.md"`, `{literalinclude}`), a page's
part (`<!--@include: ./x.md-->`, `{include}`).
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from lib.include_parts import Part, line_spans, mdbook_part, snippet_part
from lib.markdown_page import Block, Page, fence

MARKDOWN: Final = frozenset({".md", ".mdx", ".markdown"})

_MDBOOK: Final = re.compile(
    r"(\\?)\{\{\s*#(include|rustdoc_include|playground|playpen)\s+([^}\s]+)[^}]*\}\}"
)
_SNIPPET: Final = re.compile(r"(?m)^[ \t]*(;?)-+8<-+[ \t]+([\"'])(.+?)\2[ \t]*$")
_SNIPPETS: Final = re.compile(r"(?ms)^[ \t]*-+8<-+[ \t]*\n(.*?)^[ \t]*-+8<-+[ \t]*$")
_BRACE_STAR: Final = re.compile(r"(?m)^[ \t]*\{\*[ \t]+(\S+)([^*\n]*)\*\}[ \t]*$")
_BRACE_STAR_LINES: Final = re.compile(r"\bln\[([^\]]*)\]")
_VITEPRESS: Final = re.compile(
    r"(?m)^[ \t]*<<<[ \t]+([^\s{\[#]+)(?:#([\w*-]+))?"
    r"[ \t]*(?:\{[^}\n]*\})?[ \t]*(?:\[[^\]\n]*\])?[ \t]*$"
)
_VITEPRESS_PART: Final = re.compile(
    r"<!--\s*@include:\s*([^\s{#]+)(?:#([^\s{]+))?(?:\{(\d*),?(\d*)\})?\s*-->"
)
_MYST: Final = re.compile(r"\s*(?:`{3,}|~{3,}|:{3,})\{(include|literalinclude)\}[ \t]+(\S+)")
_JSX: Final = re.compile(r"<([A-Z][\w$]*)|\{([A-Za-z_$][\w$]*)\}")
_ANY: Final = re.compile(r"\{\{\s*#|8<|\{\*|<<<|@include|\{(?:literal)?include\}")


def names_files(text: str, page: Page) -> bool:
    """Whether a page may include anything; `text` is what it was read from."""
    return bool(_ANY.search(text)) or any(
        PurePosixPath(module).suffix.lower() in MARKDOWN or module.startswith("!!raw-loader!")
        for module in page.imports.values()
    )


def expand(block: Block, source: str, page: Page, read: Callable[..., str]) -> str | None:
    """The text `block` stands for; None if it names no file.

    `source` is what the block was read from. `read(target, part, code=…)` returns the part of the
    file that `target` names: as it stands for `code`, else as Markdown.
    """
    if block.kind == "code":
        if found := _MYST.match(source):
            return read(found[2], Part(), code=True)
        expanded = _lines(block.text, read, code=True)
        return expanded if expanded != block.text else None
    if block.kind in ("marker", "expression", "paragraph") and page.imports:
        components = _components(block, source, page, read)
        if components is not None:
            return components
    if block.kind in ("comment", "html") and (found := _VITEPRESS_PART.search(source)):
        spans = line_spans(f"{found[3]}:{found[4]}") if found[3] or found[4] else ()
        return read(found[1], Part(found[2] or "", spans), code=False)
    if block.kind == "marker" and (found := _MYST.match(source)):
        return read(found[2], Part(), code=False)
    if block.kind in ("paragraph", "expression", "marker") and _ANY.search(source):
        expanded = _lines(source, read, code=False)
        return expanded if expanded != source else None
    return None


def _components(block: Block, source: str, page: Page, read: Callable[..., str]) -> str | None:
    """MDX: imported partials (`<Note />`) and raw files (`{source}`) in a block of tags."""
    parts: list[str] = []
    own = block.text
    for component, variable in _JSX.findall(source):
        module = page.imports.get(component or variable, "").replace("\\", "")
        raw = module.removeprefix("!!raw-loader!")
        if raw != module:
            own = own.replace(f"{{{variable}}}", "").strip()
            parts.append(fence(read(raw, Part(), code=True), PurePosixPath(raw).suffix[1:]))
        elif component and PurePosixPath(module).suffix.lower() in MARKDOWN:
            parts.append(read(module, Part(), code=False))
    if not parts:
        return None
    return "\n\n".join(filter(None, [own, *parts]))


def _lines(source: str, read: Callable[..., str], *, code: bool) -> str:
    """`source` with the directives that name a file replaced by what they name."""

    def mdbook(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        path, part = mdbook_part(found[3])
        return read(path, part, code=code)

    def snippet(found: re.Match[str]) -> str:
        if found[1]:
            return found[0].replace(";", "", 1)
        path, part = snippet_part(found[3])
        return read(path, part, code=code)

    def snippets(found: re.Match[str]) -> str:
        paths = [line.strip() for line in found[1].splitlines() if line.strip()]
        wanted = [snippet_part(path) for path in paths if not path.startswith(";")]
        return "\n".join(read(path, part, code=code) for path, part in wanted)

    def brace_star(found: re.Match[str]) -> str:
        lines = _BRACE_STAR_LINES.search(found[2])
        return read(found[1], Part(spans=line_spans(lines[1]) if lines else ()), code=code)

    def vitepress(found: re.Match[str]) -> str:
        shown = read(found[1], Part(found[2] or ""), code=True)
        return shown if code or not shown else fence(shown, PurePosixPath(found[1]).suffix[1:])

    source = _SNIPPETS.sub(snippets, source)
    source = _MDBOOK.sub(mdbook, source)
    source = _SNIPPET.sub(snippet, source)
    source = _BRACE_STAR.sub(brace_star, source)
    return _VITEPRESS.sub(vitepress, source)
