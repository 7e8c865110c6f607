"""Resolve the files that a page includes, so that their text is found and shown.

A chunk's text and offsets stay those of the page; what is embedded and shown contains the files.
Supported: partials imported in MDX (`import Note from './_note.mdx'` and `<Note />`), listings
(`{{#include x.rs}}`, `{* ../x.py *}`, `<<< @/x.ts`, `--8<-- "x.md"`, `{literalinclude}`), and parts
of pages (`<!--@include: ./x.md-->`, `{include}`).

A file is read only if its real path is inside the boundary folder, is not hidden, and neither its
name nor its text is that of a secret. Files that git ignores are read, because builds include
generated ones. One that is refused, missing, too large, not text or included recursively is skipped
and reported by `problems_of`.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path, PurePath, PurePosixPath
from typing import Final, NamedTuple

from lib.documents import Document
from lib.markdown import parse_page
from lib.markdown_page import (
    Block,
    Edit,
    Flavour,
    Include,
    Page,
    apply_edits,
    edits_for_readers,
    fence,
)

# Markers of a region in an included file: mdBook, VitePress, pymdownx.
_REGION_LINE: Final = re.compile(
    r"ANCHOR(?:_END)?:\s*[\w-]+|#(?:end)?region\b|--8<--\s*\[(?:start|end):"
)


_SECRET_SUFFIXES: Final = frozenset(
    ".env .gpg .htpasswd .jks .kdbx .key .keystore .netrc .npmrc .ovpn .p12 .p8 .pem .pfx .pgpass "
    ".pkcs12 .ppk .tfstate .tfvars".split()
)
_SECRET_WORDS: Final = re.compile(
    r"secret|credential|passwd|password|kubeconfig|netrc|htpasswd|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|(?:private|api|access)[_-]?key|service[_-]?account"
)
_DATA_SUFFIXES: Final = frozenset(
    ("", *".cfg .conf .config .csv .ini .json .properties .toml .txt .xml .yaml .yml".split())
)
_MISSING: Final = "no such file in the repository"
_OUTSIDE: Final = (
    "it is outside the folder that may be read. That is the repository (the folder with .git), or "
    "without one the folder of the site's configuration; to allow the file, index a copy with .git"
)
_ALIAS: Final = "only the build of the site knows what this name stands for"
_PRIVATE: Final = "it is hidden, or may hold a secret"


def is_private(path: PurePath) -> bool:
    """Tell whether a file is hidden, or has a name that files with secrets have."""
    if any(part.startswith(".") and part.strip(".") for part in path.parts):
        return True
    name = PurePath(path.name.lower())
    return not _SECRET_SUFFIXES.isdisjoint(name.suffixes) or (
        name.suffix in _DATA_SUFFIXES and _SECRET_WORDS.search(name.stem) is not None
    )


class _Part(NamedTuple):
    """Selection of lines: a named region, or ranges (first, last) counted from 1."""

    region: str = ""
    spans: tuple[tuple[int, int | None], ...] = ()


def _mdbook_part(target: str) -> tuple[str, _Part]:
    """Parse `file`, `file:3`, `file:2:5`, `file::5`, `file:2:` or `file:anchor`."""
    path, *rest = target.split(":")
    if not rest or not any(rest):
        return path, _Part()
    if rest[0] and not rest[0].isdecimal():
        return path, _Part(rest[0])
    return path, _Part(spans=_ranges([":".join(rest[:2])]))


_MAX_PART: Final = 1_000
_SNIPPET_PART: Final = re.compile(r"(?:(?::-?\d*+){1,2}(?:,\d*+:\d*+){0,20}+|:[A-Za-z][\w-]*+)\Z")


def _snippet_part(target: str) -> tuple[str, _Part]:
    """Parse `file`, `file:section`, or lines as `file:2:5`, `file::5`, `file:2`."""
    found = _SNIPPET_PART.search(target[-_MAX_PART:])
    if found is None:
        return target, _Part()
    path, rest = target[: len(target) - len(found[0])], found[0][1:]
    if rest[:1].isalpha():
        return path, _Part(rest)
    return path, _Part(spans=_ranges(rest.split(",")))


def _ranges(pieces: Iterable[str]) -> tuple[tuple[int, int | None], ...]:
    """Parse `1:3`, `5`, `7:` into pairs of first and last line."""
    spans: list[tuple[int, int | None]] = []
    for piece in pieces:
        first, colon, last = piece.strip().partition(":")
        start = _line(first)
        if colon:
            spans.append((1 if start is None else start, _line(last)))
        elif start is not None:
            spans.append((start, start))
    return tuple(spans)


def _line(digits: str) -> int | None:
    """Parse a line number; nine digits exceed any file, and int() rejects thousands of them."""
    return int(digits[:9]) if digits.isdecimal() else None


def _select(text: str, part: _Part) -> str:
    """Return the lines of `part`, dedented, without region markers."""
    lines = text.split("\n")
    if part.region:
        lines = list(_region(lines, part.region))
    elif part.spans:
        chosen: list[str] = []
        for first, last in part.spans:
            chosen.extend(lines[max(first - 1, 0) : last])
        lines = chosen
    kept = [line for line in lines if not _REGION_LINE.search(line)]
    margin = 0
    if part.region or part.spans:
        margin = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    return "\n".join(line[margin:] for line in kept)


def _region(lines: Sequence[str], name: str) -> Iterable[str]:
    word = re.escape(name)
    begin = re.compile(
        rf"ANCHOR:\s*{word}(?![\w-])|#region\s+{word}(?![\w-])|--8<--\s*\[start:\s*{word}\]"
    )
    end = re.compile(
        rf"ANCHOR_END:\s*{word}(?![\w-])|#endregion(?:\s++{word}(?![\w-])|\s*+(?:(?:\*/|-->)\s*+)?+$)"
        rf"|--8<--\s*\[end:\s*{word}\]"
    )
    inside = False
    for line in lines:
        if begin.search(line):
            inside = True
        elif inside and end.search(line):
            inside = False
        elif inside:
            yield line


_MARKDOWN: Final = frozenset({".md", ".mdx", ".markdown"})

_MDBOOK: Final = re.compile(
    r"(\\?)\{\{\s*+#(include|rustdoc_include|playground|playpen)\s++([^{}\s]++)[^{}]*+\}\}"
)
_SNIPPET: Final = re.compile(r"(?m)^[ \t]*+(;?)-++8<-++[ \t]++([\"'])(.+?)\2[ \t]*+$")
_SNIPPETS: Final = re.compile(r"(?ms)^[ \t]*+-++8<-++[ \t]*+\n(.*?)^[ \t]*+-++8<-++[ \t]*+$")
_BRACE_STAR: Final = re.compile(r"(?m)^[ \t]*+\{\*[ \t]++([^\s*]++)([^*\n]*+)\*\}[ \t]*+$")
_BRACE_STAR_LINES: Final = re.compile(r"\bln\[([^\[\]]*+)\]")
_VITEPRESS: Final = re.compile(
    r"(?m)^[ \t]*+<<<[ \t]++([^\s{\[#]++)(?:#([\w*-]++))?+"
    r"[ \t]*+(?:\{[^}\n]*+\})?+[ \t]*+(?:\[[^\]\n]*+\])?+[ \t]*+$"
)
_VITEPRESS_PART: Final = re.compile(
    r"<!--\s*+@include:\s*+((?:(?!-->)[^\s{#<])++)(?:#((?:(?!-->)[^\s{<])++))?+"
    r"(?:\{(\d*+),?+(\d*+)\})?+\s*+-->"
)
_MYST: Final = re.compile(r"\s*(?:`{3,}|~{3,}|:{3,})\{(include|literalinclude)\}[ \t]+(\S+)")
_MODULE: Final = re.compile(r"@(?!site/)[\w-]|[a-z]++:")
_JSX: Final = re.compile(r"<([A-Z][\w$]*)|\{([A-Za-z_$][\w$]*)\}")
_ANY: Final = re.compile(r"\{\{\s*#|8<|\{\*|<<<|@include|\{(?:literal)?include\}")


def _names_files(text: str, page: Page) -> bool:
    """Tell whether a page may include files; `text` is the source of the page."""
    return bool(_ANY.search(text)) or any(
        PurePosixPath(module).suffix.lower() in _MARKDOWN or module.startswith("!!raw-loader!")
        for module in page.imports.values()
    )


def _expand(block: Block, source: str, page: Page, read: Callable[..., str]) -> str | None:
    """Return the text that `block` includes, or None if it includes nothing.

    `source` is the Markdown of the block. `read(target, part, code=…)` returns the selected part of
    the file `target`: unchanged for `code`, else parsed as Markdown.
    """
    if block.kind == "code":
        if found := _MYST.match(source):
            return read(found[2], _Part(), code=True)
        expanded = _lines(block.text, read, code=True)
        return expanded if expanded != block.text else None
    if block.kind in ("marker", "expression", "paragraph") and page.imports:
        components = _components(block, source, page, read)
        if components is not None:
            return components
    if block.kind in ("comment", "html") and (found := _VITEPRESS_PART.search(source)):
        spans = _ranges([f"{found[3]}:{found[4]}"]) if found[3] or found[4] else ()
        return read(found[1], _Part(found[2] or "", spans), code=False)
    if block.kind == "marker" and (found := _MYST.match(source)):
        return read(found[2], _Part(), code=False)
    if block.kind in ("paragraph", "expression", "marker") and _ANY.search(source):
        expanded = _lines(source, read, code=False)
        return expanded if expanded != source else None
    return None


def _components(block: Block, source: str, page: Page, read: Callable[..., str]) -> str | None:
    """Expand MDX partials (`<Note />`) and raw files (`{source}`) in a block of tags."""
    parts: list[str] = []
    own = block.text
    for component, variable in _JSX.findall(source):
        module = page.imports.get(component or variable, "").replace("\\", "")
        raw = module.removeprefix("!!raw-loader!")
        if raw != module:
            own = own.replace(f"{{{variable}}}", "").strip()
            parts.append(fence(read(raw, _Part(), code=True), PurePosixPath(raw).suffix[1:]))
        elif component and PurePosixPath(module).suffix.lower() in _MARKDOWN:
            parts.append(read(module, _Part(), code=False))
    if not parts:
        return None
    return "\n\n".join(filter(None, [own, *parts]))


def _lines(source: str, read: Callable[..., str], *, code: bool) -> str:
    """Replace the include directives in `source` by the included text."""

    def single(found: re.Match[str]) -> str:
        if found[1]:  # escaped
            return found[0].replace(found[1], "", 1)
        part_of = _mdbook_part if found.re is _MDBOOK else _snippet_part
        path, part = part_of(found[3])
        return read(path, part, code=code)

    def snippets(found: re.Match[str]) -> str:
        paths = [line.strip() for line in found[1].splitlines() if line.strip()]
        wanted = [_snippet_part(path) for path in paths if not path.startswith(";")]
        return "\n".join(read(path, part, code=code) for path, part in wanted)

    def brace_star(found: re.Match[str]) -> str:
        lines = _BRACE_STAR_LINES.search(found[2])
        return read(found[1], _Part(spans=_ranges(lines[1].split(",")) if lines else ()), code=code)

    def vitepress(found: re.Match[str]) -> str:
        shown = read(found[1], _Part(found[2] or ""), code=True)
        return shown if code or not shown else fence(shown, PurePosixPath(found[1]).suffix[1:])

    source = _SNIPPETS.sub(snippets, source)
    source = _MDBOOK.sub(single, source)
    source = _SNIPPET.sub(single, source)
    source = _BRACE_STAR.sub(brace_star, source)
    return _VITEPRESS.sub(vitepress, source)


_MAX_PROBLEMS: Final = 50
_MAX_INCLUDES: Final = 1_000


class Includes:
    """Reads included files and caches them for other pages.

    `root` is the content folder. Nothing outside `boundary` is read: the repository of the site, or
    the content folder by default.
    """

    def __init__(
        self,
        root: Path,
        boundary: Path | None = None,
        *,
        max_file_bytes: int = 200_000,
        max_page_characters: int = 1_000_000,
        max_depth: int = 4,
    ) -> None:
        self.root = root.resolve()
        self.boundary = (boundary or root).resolve()
        self.max_file_bytes = max_file_bytes
        self.max_page_characters = max_page_characters
        self.max_depth = max_depth
        self._files: dict[Path, str | None] = {}
        self._used: dict[str, set[Path]] = {}
        self._problems: dict[str, list[str]] = {}

    def of(self, document: Document, page: Page) -> Include | None:
        """Return the `includes` argument of `chunk_page`, or None for a page without includes."""
        if not _names_files(document.text, page):
            return None
        spent = [0, 0]  # characters and includes
        file = self.root / document.path
        return self._resolver(document.path, document.text, page, file, (file,), spent)

    def used_by(self, path: str) -> list[Path]:
        """Files included by the page's chunks so far, nested ones too."""
        return sorted(self._used.get(path, ()))

    def problems_of(self, path: str) -> list[str]:
        """Problems of the includes of one page."""
        return self._problems.get(path, [])

    def _resolver(
        self,
        name: str,
        text: str,
        page: Page,
        file: Path,
        above: tuple[Path, ...],
        spent: list[int],
    ) -> Include:
        resolved: dict[tuple[int, int], str | None] = {}

        def read(target: str, part: _Part, *, code: bool) -> str:
            if len(self._problems.get(name, ())) >= _MAX_PROBLEMS:
                return ""  # searching for a file takes a millisecond
            spent[1] += 1
            if spent[1] > _MAX_INCLUDES:
                return self._left_out(name, target, f"the page has over {_MAX_INCLUDES} includes")
            found = self._find(target, file)
            if isinstance(found, str):
                return self._left_out(name, target, found)
            if found in above:
                return self._left_out(name, target, "it includes itself")
            taken = self._take(found, target, name, spent)
            if taken is None:
                return ""
            shown = _select(taken, part)
            if code:
                return shown.strip("\n")
            if found.suffix.lower() not in _MARKDOWN:
                return fence(shown, found.suffix.removeprefix("."))
            if len(above) > self.max_depth:
                return self._left_out(
                    name, target, f"nested more than {self.max_depth} levels deep"
                )
            flavour: Flavour = "mdx" if found.suffix.lower() == ".mdx" else page.flavour
            inner = parse_page(shown, flavour)
            resolver = self._resolver(name, shown, inner, found, (*above, found), spent)
            start = inner.blocks[0].start if inner.blocks else len(shown)  # after front matter
            edits = [Edit(0, start, ""), *edits_for_readers(shown, inner, resolver)]
            return apply_edits(shown, edits).strip("\n")

        def include(block: Block) -> str | None:
            place = block.start, block.end
            if place not in resolved:
                source = text[block.start : block.end]
                resolved[place] = _expand(block, source, page, read)
            return resolved[place]

        return include

    def _left_out(self, name: str, target: str, reason: str) -> str:
        """Record the problem and return the empty text that replaces the include."""
        problems = self._problems.setdefault(name, [])
        problem = f"{target[:5000]} is not included: {reason}"
        if len(problems) < _MAX_PROBLEMS and problem not in problems:
            problems.append(problem)
        return ""

    def _take(self, found: Path, target: str, name: str, spent: list[int]) -> str | None:
        text = self._read(found)
        if text is None:
            self._left_out(name, target, f"larger than {self.max_file_bytes} bytes or not text")
            return None
        if "PRIVATE KEY-----" in text:
            self._left_out(name, target, _PRIVATE)
            return None
        if spent[0] + len(text) > self.max_page_characters:
            self._left_out(
                name, target, f"the page includes more than {self.max_page_characters} characters"
            )
            return None
        spent[0] += len(text)
        self._used.setdefault(name, set()).add(found)
        return text

    def _read(self, file: Path) -> str | None:
        if file not in self._files:
            text = None
            try:
                with file.open("rb") as stream:
                    data = stream.read(self.max_file_bytes + 1)
                if len(data) <= self.max_file_bytes and b"\0" not in data:
                    text = data.decode("utf-8-sig").replace("\r\n", "\n")
            except (OSError, UnicodeDecodeError):
                pass
            self._files[file] = text
        return self._files[file]

    def _find(self, target: str, file: Path) -> Path | str:
        """Find the file that `target` means on the page `file`. Returns the reason if refused.

        Tried in order: beside the page and in each folder above it up to the boundary, since
        generators resolve from the site's folder. A leading `/` or alias (`@/`, `@site/`) starts at
        the content folder instead.
        """
        if "\0" in target or "://" in target or len(target) > 1000:
            return _MISSING
        if is_private(PurePosixPath(target)):
            return _PRIVATE  # before the disk is asked, so that nobody learns what exists
        folder = self.root if target.startswith(("@", "/")) else file.parent
        missing = _ALIAS if _MODULE.match(target) else _MISSING
        if target.startswith("@"):
            target = target.partition("/")[2]  # @/x, @site/x, @docs/x
        elif target.startswith("/"):
            target = target.lstrip("/")
        # judged by the path alone, so that nobody learns what exists outside
        if not Path(os.path.normpath(folder / target)).is_relative_to(self.boundary):
            missing = _OUTSIDE
        above = [base for base in folder.parents if base.is_relative_to(self.boundary)]
        suffixes = ("",) if PurePosixPath(target).suffix else ("", ".md", ".mdx")
        for base, suffix in product([folder, *above], suffixes):
            found = self._inside(base / (target + suffix))
            if found is not None:
                folder = self.root if found.is_relative_to(self.root) else self.boundary
                return _PRIVATE if is_private(found.relative_to(folder)) else found
        return missing

    def _inside(self, path: Path) -> Path | None:
        try:
            path = path.resolve()
            if path.is_relative_to(self.boundary) and path.is_file():
                return path
        except (OSError, RuntimeError, ValueError):  # name too long, loop of links, NUL
            pass
        return None
