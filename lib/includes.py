"""The files a page includes, so that a chunk can be found by what they say.

Pages name other files in the ways of their generators (`lib.include_syntax`), and the text lies
elsewhere. Only what is embedded takes it in; a chunk's text and offsets stay those of the page.

A file is read if it lies in the boundary folder after links are resolved. A file that is missing,
too large, no text or already being included is left out, and named in `problems_of`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from lib.documents import Document
from lib.include_parts import Part, select
from lib.include_syntax import MARKDOWN, expand, names_files
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, Page, fence, render


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
