"""The files a page includes, so that a chunk can be found by what they say.

Pages name other files in the ways of their generators, and the text lies elsewhere: a partial
imported in MDX (`import Note from './_note.mdx'` and `<Note />`), a listing (`{{#include x.rs}}`,
`{* ../x.py *}`, `<<< @/x.ts`, `--8<-- "x.md"`, `{literalinclude}`), a page's part
(`<!--@include: ./x.md-->`, `{include}`). Only what is embedded takes it in; a chunk's text and
offsets stay those of the page.

A file is read if it lies in the boundary folder after links are resolved. A file that is missing,
too large, no text or already being included is left out, and named in `problems`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from lib.documents import Document
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, Page, fence, render

_MARKDOWN: Final = frozenset({".md", ".mdx", ".markdown"})

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


class _Part(NamedTuple):
    """Which lines of a file: a named region, or first to last, counted from 1."""

    region: str = ""
    spans: tuple[tuple[int, int | None], ...] = ()


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
        self.problems: list[str] = []
        """`page: what could not be included`."""
        self._files: dict[Path, str | None] = {}
        self._used: dict[str, set[Path]] = {}

    def of(self, document: Document, page: Page) -> Callable[[Block], str | None] | None:
        """What `lib.chunking.chunk_page` takes as `includes`; None for a page that includes
        nothing."""
        if not _ANY.search(document.text) and not _partials(page):
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
        prefix = f"{path}: "
        return [line[len(prefix) :] for line in self.problems if line.startswith(prefix)]

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

        def read(target: str, part: _Part, *, code: bool) -> str:
            found = self._find(target, file)
            shown = self._take(found, target, name, spent) if found is not None else None
            if found is None or shown is None or found in above:
                reason = "it includes itself" if found in above else "no such file can be read"
                if found is None or found in above:
                    self._problem(f"{name}: {target} is not included: {reason}")
                return ""
            shown = _select(shown, part)
            if code:
                return shown.strip("\n")
            if found.suffix.lower() not in _MARKDOWN:
                return fence(shown, found.suffix.removeprefix("."))
            if len(above) > self.max_depth:
                self._problem(f"{name}: {target} is not included: it is nested too deep")
                return ""
            flavour: Flavour = "mdx" if found.suffix.lower() == ".mdx" else page.flavour
            inner = parse_page(shown, flavour)
            resolver = self._resolver(name, shown, inner, found, (*above, found), spent)
            parts = (render(block, resolver) for block in inner.blocks)
            return "\n\n".join(part for part in parts if part)

        def include(block: Block) -> str | None:
            place = block.start, block.end
            if place not in resolved:
                source = text[block.start : block.end]
                resolved[place] = _expand(block, source, page, read)
            return resolved[place]

        return include

    def _problem(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)

    def _take(self, found: Path, target: str, name: str, spent: list[int]) -> str | None:
        text = self._read(found)
        if text is None:
            self._problem(f"{name}: {target} is not included: it is too large or not text")
            return None
        if spent[0] + len(text) > self.max_page_bytes:
            self._problem(f"{name}: {target} is not included: the page includes too much")
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
                text = None
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


def _partials(page: Page) -> bool:
    return any(
        PurePosixPath(module).suffix.lower() in _MARKDOWN or module.startswith("!!raw-loader!")
        for module in page.imports.values()
    )


def _expand(block: Block, source: str, page: Page, read: Callable[..., str]) -> str | None:
    """The text `block` stands for; None if it names no file."""
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
        spans = (
            ((int(found[3] or 1), int(found[4]) if found[4] else None),)
            if found[3] or found[4]
            else ()
        )
        return read(found[1], _Part(found[2] or "", spans), code=False)
    if block.kind == "marker" and (found := _MYST.match(source)):
        return read(found[2], _Part(), code=False)
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
            parts.append(fence(read(raw, _Part(), code=True), PurePosixPath(raw).suffix[1:]))
        elif component and PurePosixPath(module).suffix.lower() in _MARKDOWN:
            parts.append(read(module, _Part(), code=False))
    if not parts:
        return None
    return "\n\n".join(filter(None, [own, *parts]))


def _lines(source: str, read: Callable[..., str], *, code: bool) -> str:
    """`source` with the directives that name a file replaced by what they name."""

    def mdbook(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        path, part = _mdbook_part(found[3])
        return read(path, part, code=code)

    def snippet(found: re.Match[str]) -> str:
        if found[1]:
            return found[0].replace(";", "", 1)
        path, part = _snippet_part(found[3])
        return read(path, part, code=code)

    def snippets(found: re.Match[str]) -> str:
        paths = [line.strip() for line in found[1].splitlines() if line.strip()]
        wanted = [_snippet_part(path) for path in paths if not path.startswith(";")]
        return "\n".join(read(path, part, code=code) for path, part in wanted)

    def brace_star(found: re.Match[str]) -> str:
        lines = _BRACE_STAR_LINES.search(found[2])
        return read(found[1], _Part(spans=_spans(lines[1]) if lines else ()), code=code)

    def vitepress(found: re.Match[str]) -> str:
        shown = read(found[1], _Part(found[2] or ""), code=True)
        return shown if code or not shown else fence(shown, PurePosixPath(found[1]).suffix[1:])

    source = _SNIPPETS.sub(snippets, source)
    source = _MDBOOK.sub(mdbook, source)
    source = _SNIPPET.sub(snippet, source)
    source = _BRACE_STAR.sub(brace_star, source)
    return _VITEPRESS.sub(vitepress, source)


def _mdbook_part(target: str) -> tuple[str, _Part]:
    """`file`, `file:3`, `file:2:5`, `file::5`, `file:2:` or `file:anchor`."""
    path, *rest = target.split(":")
    if not rest or not any(rest):
        return path, _Part()
    if rest[0] and not rest[0].isdecimal():
        return path, _Part(rest[0])
    first = int(rest[0]) if rest[0] else 1
    if len(rest) == 1:
        return path, _Part(spans=((first, first),))
    return path, _Part(spans=((first, int(rest[1]) if rest[1].isdecimal() else None),))


def _snippet_part(target: str) -> tuple[str, _Part]:
    """`file`, `file:section`, or lines as `file:2:5`, `file::5`, `file:2`."""
    found = re.fullmatch(r"(.*?)((?::-?\d*){1,2}(?:,\d*:\d*)*|:[A-Za-z][\w-]*)?", target)
    if found is None or not found[2]:
        return target, _Part()
    rest = found[2][1:]
    if rest[:1].isalpha():
        return found[1], _Part(rest)
    return found[1], _Part(spans=_spans(rest))


def _spans(lines: str) -> tuple[tuple[int, int | None], ...]:
    """`1:3,5,7:` as pairs of first and last line."""
    spans: list[tuple[int, int | None]] = []
    for piece in lines.split(","):
        first, colon, last = piece.strip().partition(":")
        start = int(first) if first.isdecimal() else 1
        if colon:
            spans.append((start, int(last) if last.isdecimal() else None))
        elif first.isdecimal():
            spans.append((start, start))
    return tuple(spans)


# Lines that only mark a region for an include: mdBook's, VitePress's and pymdownx's ways.
_REGION_LINE: Final = re.compile(
    r"ANCHOR(?:_END)?:\s*[\w-]+|#(?:end)?region\b|--8<--\s*\[(?:start|end):"
)


def _select(text: str, part: _Part) -> str:
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
