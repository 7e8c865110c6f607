"""The files a page includes, so that a chunk can be found by what they say.

Pages name other files in the ways of their generators (`lib.includes`), and the text lies
elsewhere. Only what is embedded takes it in; a chunk's text and offsets stay those of the page.

A file is read if it lies in the boundary folder after links are resolved. A file that is missing,
too large, no text or already being included is left out, and named in `problems_of`.

Which lines of a file a page includes: a named region, or some by their numbers.

How the generators' pages name the files they include.

A partial imported in MDX (`import Note from './_note.mdx'` and `<Note />`), a listing
(`{{#include x.rs}}`, `{* ../x.py *}`, `<<< @/x.ts`, `--8<-- "x.md"`, `{literalinclude}`), a page's
part (`<!--@include: ./x.md-->`, `{include}`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from lib.documents import Document
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, Page, fence, render

# Lines that only mark a region for an include: mdBook's, VitePress's and pymdownx's ways.
_REGION_LINE: Final = re.compile(
    r"ANCHOR(?:_END)?:\s*[\w-]+|#(?:end)?region\b|--8<--\s*\[(?:start|end):"
)


class Part(NamedTuple):
    """Which lines of a file: a named region, or first to last, counted from 1."""

    region: str = ""
    spans: tuple[tuple[int, int | None], ...] = ()


def mdbook_part(target: str) -> tuple[str, Part]:
    """`file`, `file:3`, `file:2:5`, `file::5`, `file:2:` or `file:anchor`."""
    path, *rest = target.split(":")
    if not rest or not any(rest):
        return path, Part()
    if rest[0] and not rest[0].isdecimal():
        return path, Part(rest[0])
    return path, Part(spans=_spans([":".join(rest[:2])]))


def snippet_part(target: str) -> tuple[str, Part]:
    """`file`, `file:section`, or lines as `file:2:5`, `file::5`, `file:2`."""
    found = re.fullmatch(r"(.*?)((?::-?\d*){1,2}(?:,\d*:\d*)*|:[A-Za-z][\w-]*)?", target)
    if found is None or not found[2]:
        return target, Part()
    rest = found[2][1:]
    if rest[:1].isalpha():
        return found[1], Part(rest)
    return found[1], Part(spans=line_spans(rest))


def line_spans(lines: str) -> tuple[tuple[int, int | None], ...]:
    """`1:3,5,7:` as pairs of first and last line."""
    return _spans(lines.split(","))


def _spans(pieces: Iterable[str]) -> tuple[tuple[int, int | None], ...]:
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
    """No file has more lines than nine digits count, and thousands of them are no number."""
    return int(digits[:9]) if digits.isdecimal() else None


def select(text: str, part: Part) -> str:
    """The lines of `part`, without those that only mark a region; indented as little as may be."""
    lines = text.split("\n")
    if part.region:
        lines = list(_region(lines, part.region))
    elif part.spans:
        chosen: list[str] = []
        for first, last in part.spans:
            chosen.extend(lines[max(first - 1, 0) : last])
        lines = chosen
    kept = [line for line in lines if not _REGION_LINE.search(line)]
    return _dedent("\n".join(kept)) if part.region or part.spans else "\n".join(kept)


def _region(lines: Sequence[str], name: str) -> Iterable[str]:
    word = re.escape(name)
    begin = re.compile(
        rf"ANCHOR:\s*{word}(?![\w-])|#region\s+{word}(?![\w-])|--8<--\s*\[start:\s*{word}\]"
    )
    end = re.compile(
        rf"ANCHOR_END:\s*{word}(?![\w-])|#endregion(?:\s+{word}(?![\w-])|\s*(?:\*/|-->)?\s*$)"
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


def _dedent(text: str) -> str:
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


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


class Includes:
    """Reads included files and keeps them for the next page that names them.

    `root` is the content folder, `boundary` the folder nothing is read outside of (the site's
    repository; the content folder if not given).
    """

    def __init__(
        self,
        root: Path,
        boundary: Path | None = None,
        *,
        max_file_bytes: int = 200_000,
        max_page_bytes: int = 1_000_000,
        max_depth: int = 4,
    ) -> None:
        self.root = root.resolve()
        self.boundary = (boundary or root).resolve()
        self.max_file_bytes = max_file_bytes
        self.max_page_bytes = max_page_bytes
        self.max_depth = max_depth
        self._files: dict[Path, str | None] = {}
        self._used: dict[str, set[Path]] = {}
        self._problems: dict[str, list[str]] = {}

    def of(self, document: Document, page: Page) -> Callable[[Block], str | None] | None:
        """What `lib.chunking.chunk_page` takes as `includes`; None for a page that includes
        nothing."""
        if not names_files(document.text, page):
            return None
        spent = [0]
        file = self.root / document.path
        return self._resolver(document.path, document.text, page, file, (file,), spent)

    def used_by(self, path: str) -> list[Path]:
        """The files that the page's chunks have taken in so far, those that includes include
        among them."""
        return sorted(self._used.get(path, ()))

    def problems_of(self, path: str) -> list[str]:
        """What could not be included in one page."""
        return self._problems.get(path, [])

    def _resolver(
        self,
        name: str,
        text: str,
        page: Page,
        file: Path,
        above: tuple[Path, ...],
        spent: list[int],
    ) -> Callable[[Block], str | None]:
        resolved: dict[tuple[int, int], str | None] = {}

        def read(target: str, part: Part, *, code: bool) -> str:
            found = self._find(target, file)
            if found is None:
                return self._left_out(name, target, "no such file can be read")
            if found in above:
                return self._left_out(name, target, "it includes itself")
            taken = self._take(found, target, name, spent)
            if taken is None:
                return ""
            shown = select(taken, part)
            if code:
                return shown.strip("\n")
            if found.suffix.lower() not in MARKDOWN:
                return fence(shown, found.suffix.removeprefix("."))
            if len(above) > self.max_depth:
                return self._left_out(name, target, "it is nested too deep")
            flavour: Flavour = "mdx" if found.suffix.lower() == ".mdx" else page.flavour
            inner = parse_page(shown, flavour)
            resolver = self._resolver(name, shown, inner, found, (*above, found), spent)
            parts = (render(block, resolver) for block in inner.blocks)
            return "\n\n".join(part for part in parts if part)

        def include(block: Block) -> str | None:
            place = block.start, block.end
            if place not in resolved:
                source = text[block.start : block.end]
                resolved[place] = expand(block, source, page, read)
            return resolved[place]

        return include

    def _left_out(self, name: str, target: str, reason: str) -> str:
        """What then stands in the place of the file: nothing."""
        problems = self._problems.setdefault(name, [])
        problem = f"{target} is not included: {reason}"
        if problem not in problems:
            problems.append(problem)
        return ""

    def _take(self, found: Path, target: str, name: str, spent: list[int]) -> str | None:
        text = self._read(found)
        if text is None:
            self._left_out(name, target, "it is too large or not text")
            return None
        if spent[0] + len(text) > self.max_page_bytes:
            self._left_out(name, target, "the page includes too much")
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

    def _find(self, target: str, file: Path) -> Path | None:
        """The file `target` means on the page `file`: beside it, else from a folder above it up
        to the boundary (generators count from the site's folder), else from an alias's root."""
        if "\0" in target or "://" in target or len(target) > 1000:
            return None
        if target.startswith("@"):
            target = target.partition("/")[2]  # @/x, @site/x, @docs/x
            bases: Sequence[Path] = [self.root, *_between(self.root, self.boundary)]
        elif target.startswith("/"):
            target = target.lstrip("/")
            bases = [self.root, *_between(self.root, self.boundary)]
        else:
            bases = [file.parent, *_between(file.parent, self.boundary)]
        for base in bases:
            for suffix in ("", ".md", ".mdx"):
                found = self._inside(base / (target + suffix))
                if found is not None:
                    return found
                if PurePosixPath(target).suffix:
                    break
        return None

    def _inside(self, path: Path) -> Path | None:
        try:
            path = path.resolve()
            if path.is_relative_to(self.boundary) and path.is_file():
                return path
        except (OSError, RuntimeError, ValueError):  # a name too long, a loop of links, a NUL
            pass
        return None


def _between(folder: Path, boundary: Path) -> list[Path]:
    """The folders above `folder`, nearest first, up to and with `boundary`."""
    return [above for above in folder.parents if above.is_relative_to(boundary)]
