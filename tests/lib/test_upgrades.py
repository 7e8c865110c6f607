"""An index of an older or a newer version is made anew by itself, and never misread.

With the embedded store and, over HTTP, with the one on a server; embeddings come from a service,
so that it shows what would be paid for again.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lib.ingest import IngestRequest
from lib.services import Services, open_services, warm_up
from lib.settings import Settings
from lib.store import INDEX_FORMAT
from tests.conftest import wait_for_ingestion
from tests.qdrant_server import QdrantServer, running_qdrant
from tests.tiny_book import write_book
from tests.upstream import Upstream

PAGES = {f"page{n}.md": f"# Page {n}\n\nLamp {n} takes oil {n * 7}.\n" for n in range(5)}
Change = Callable[[dict[str, Any]], Any]
"""Of a manifest, as JSON; bytes are a file that is no JSON at all."""


@dataclass
class Place:
    """Where the index is kept, and the settings of who uses it."""

    settings: Settings
    upstream: Upstream
    server: QdrantServer | None

    def change(self, change: Change) -> None:
        """What another version would have left as the manifest of the published index."""
        if self.server:
            metadata = self.server.collections[self.server.aliases["quire"]].metadata
            metadata["manifest"] = change(metadata["manifest"])
            return
        folder = self.settings.qdrant_path / "quire"
        file = folder / "generations" / (folder / "current").read_text() / "manifest.json"
        kept = change(json.loads(file.read_bytes()))
        file.write_bytes(kept if isinstance(kept, bytes) else json.dumps(kept).encode())


@pytest.fixture(params=["edge", "wire"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, upstream: Upstream
) -> AsyncIterator[Place]:
    """With an index of the same book that this version has made."""
    async with AsyncExitStack() as stack:
        server = None
        if request.param == "wire":
            running = running_qdrant(tmp_path / "server", strict=True)
            server = await stack.enter_async_context(running)
        settings = Settings(
            book_content_path=write_book(tmp_path / "book", PAGES),
            qdrant_path=tmp_path / "index",
            qdrant_url=server.url if server else "",
            embedding_provider="openai",
            openai_api_key="sk-of-the-test",
            openai_base_url=upstream.base_url,
        )
        place = Place(settings, upstream, server)
        await started(place)
        assert sum(map(len, upstream.embedded())) == len(PAGES)
        upstream.requests.clear()
        yield place


async def started(place: Place, look: Callable[[Services], Any] | None = None) -> Any:
    """Start with these settings and let an ingestion that begins by itself end."""
    async with open_services(place.settings) as services:
        await warm_up(services)
        if services.ingestion.latest:
            await wait_for_ingestion(services.ingestion)
            assert services.ingestion.status(None).status == "completed"
        return await look(services) if look else services.ingestion.latest


def paid(place: Place) -> int:
    return sum(map(len, place.upstream.embedded()))


async def is_whole(services: Services) -> None:
    manifest = await services.store.manifest()
    assert manifest is not None
    assert manifest.index_format == INDEX_FORMAT
    assert manifest.chunks == len(PAGES)
    assert set(await services.store.ledger()) == set(PAGES)


async def ingest(services: Services) -> None:
    await services.ingestion.start(IngestRequest())
    await wait_for_ingestion(services.ingestion)
    assert services.ingestion.status(None).status == "completed"
    await is_whole(services)


READABLE: dict[str, Change] = {
    "older": lambda kept: kept | {"index_format": INDEX_FORMAT - 1},
    "newer": lambda kept: kept | {"index_format": INDEX_FORMAT + 1, "of_tomorrow": {"a": [1]}},
    "fewer fields": lambda kept: {
        name: kept[name] for name in ("generation", "embedding_model", "dimension", "chunks")
    },
    "another type": lambda kept: kept | {"languages": {"en": 5}, "index_format": INDEX_FORMAT + 1},
}


@pytest.mark.parametrize("change", READABLE.values(), ids=READABLE)
async def test_another_version_s_index_is_made_anew_and_nothing_is_paid_again(
    place: Place, change: Change
) -> None:
    place.change(change)
    assert await started(place) is not None
    assert paid(place) == 0
    await started(place, is_whole)
    assert await started(place) is None  # once is enough


async def test_an_index_of_this_version_with_unknown_fields_is_left_alone(place: Place) -> None:
    place.change(lambda kept: kept | {"of_tomorrow": 5})
    assert await started(place) is None


@pytest.mark.parametrize("place", ["edge"], indirect=True)
@pytest.mark.parametrize("content", [b"", b'{"generation": "2026'])
async def test_a_half_written_manifest_is_not_read(
    place: Place, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its vectors may be damaged, too: that something may be paid again is said, not done."""
    place.change(lambda _: content)
    assert await started(place) is None
    assert "may charge for it" in caplog.text
    await started(place, ingest)
    assert paid(place) == 0  # what could be read of it was taken over


async def test_a_damaged_list_of_files_is_made_anew_from_the_points(place: Place) -> None:
    if place.server:
        kept = place.server.collections[place.server.aliases["quire"]].metadata
        kept["files"] = {"page1.md": 5}
    else:
        folder = place.settings.qdrant_path / "quire"
        generation = folder / "generations" / (folder / "current").read_text()
        (generation / "files.json").write_bytes(b"{")
    (place.settings.book_content_path / "page1.md").write_text("# New\n\nA buoy.\n")
    await started(place, ingest)
    assert paid(place) == 1
