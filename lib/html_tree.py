"""Parse the bytes of an HTML file into a tree, as browsers do.

selectolax (lexbor) follows the HTML standard, so structure and ids are those of a browser. lxml
does not, and stops at 256 levels.
"""

import re
from typing import Final

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

from lib.documents import DocumentError

_MAX_TAGS: Final = 300_000
"""A tag takes about 500 bytes of memory."""

_LATIN: Final = re.compile(rb"(charset\s*+=\s*+[\"']?+)(?:iso-?8859-?1|latin-?1|us-ascii)\b", re.I)
_DECLARATION_BYTES: Final = 1_024


def parse_html(data: bytes) -> LexborHTMLParser:
    """Parse a file in the encoding that browsers would choose.

    Raises `DocumentError` for a file that would take too much time or memory.
    """
    if data.count(b"<") > _MAX_TAGS:
        raise DocumentError(f"has more than {_MAX_TAGS:,} tags")
    head = _LATIN.sub(rb"\1windows-1252", data[:_DECLARATION_BYTES])
    return LexborHTMLParser(
        head + data[_DECLARATION_BYTES:],
        options=LexborDocumentOptions.WO_EVENTS,
        encoding=True,
        scripting=True,
    )
