"""The Markdown of a book's pages, rebuilt from the index: no file is needed for it.

A page of HTML is given as the index keeps it: the offsets of its passages count in this text. A
Markdown page is given as readers see it, with included files and without comments.
"""

import posixpath
from collections.abc import Sequence
from typing import Final

from cachetools import LRUCache

from lib.contents import PublishedContents
from lib.documents import HTML_SUFFIXES, MARKDOWN_SUFFIXES
from lib.errors import NotFound
from lib.markdown_page import apply_edits
from lib.search import check_index
from lib.sites.site import HTML
from lib.store import Store, StoredChunk, page_text

_MAX_CACHED: Final = 8_000_000
"""Characters of Markdown in memory."""
_CONTENTS_SECONDS: Final = 1.0


class PageMarkdown:
    def __init__(self, store: Store, contents: PublishedContents) -> None:
        self._store = store
        self._contents = contents
        self._cache: LRUCache[tuple[str, str], str] = LRUCache(_MAX_CACHED, getsizeof=len)

    async def of(self, page: str) -> str:
        """The Markdown of a page. `page` is the path of its file without the suffix.

        Raises `NotFound`, `IndexNotReady` and `StoreUnavailable`.
        """
        manifest = check_index(await self._store.manifest())
        contents = await self._contents.get(_CONTENTS_SECONDS)
        is_html = manifest.generator == HTML.name
        for suffix in sorted(HTML_SUFFIXES if is_html else MARKDOWN_SUFFIXES):
            key = manifest.generation, posixpath.normpath(page) + suffix
            if found := self._cache.get(key):
                return found
            if contents and contents.complete and key[1] not in contents.by_path:
                continue  # spares a search in vain
            if chunks := await self._store.chunks_of(key[1]):
                text = page_text(chunks) if is_html else _shown_text(chunks)
                if len(text) <= _MAX_CACHED:
                    self._cache[key] = text
                return text
        raise NotFound("The book has no such page. Its address is the path of its file, with .md.")


def _shown_text(chunks: Sequence[StoredChunk]) -> str:
    """What readers see of a page, from its chunks in order."""
    parts: list[str] = []
    for before, chunk in zip((None, *chunks), chunks, strict=False):
        if before is not None:
            joined = chunk.before is not None
            gap = chunk.before if chunk.before and not chunk.before.strip() else "\n\n"
            parts += (gap,) if joined else (before.tail, gap, chunk.lead)
        else:
            parts.append(chunk.lead)
        parts.append(apply_edits(chunk.text, chunk.edits))
    return "".join((*parts, *(chunk.tail for chunk in chunks[-1:])))
