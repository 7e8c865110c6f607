"""`Link` headers (RFC 8288): other forms of a page, and the files for language models.

Addresses are relative, because a proxy may serve Quire under a path.
"""

from typing import Final, NamedTuple
from urllib.parse import quote

from quart import Response

_NOT_ENCODED: Final = "%/:?#[]@!$&'()*+,;=~"


class Link(NamedTuple):
    address: str
    """Absolute, or relative to the page at `/`."""
    relation: str
    content_type: str = ""


# The first relation is that of llmstxt.org, the others those of Mintlify's sites.
_FILES: Final = (
    Link("llms.txt", "describedby"),
    Link("llms.txt", "llms-txt"),
    Link("llms-full.txt", "llms-full-txt"),
)


def add_links(response: Response, depth: int, *links: Link) -> None:
    """Add these links, and those to the files for language models.

    `depth` is the number of folders between the page at `/` and the address of the response.
    """
    root = "../" * depth
    response.headers["Link"] = ", ".join(_format(each, root) for each in (*links, *_FILES))


def _format(link: Link, root: str) -> str:
    address = link.address if "://" in link.address else root + link.address
    described = f'; type="{link.content_type}"' if link.content_type else ""
    return f'<{quote(address, _NOT_ENCODED)}>; rel="{link.relation}"{described}'
