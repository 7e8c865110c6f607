"""Six pages to ingest; the scripted upstream is the embedder and records the texts."""

from pathlib import Path
from typing import Any

from lib.indexing import IngestStatus
from lib.ingest import IngestRequest
from lib.services import Services
from lib.settings import Settings
from tests.tiny_book import write_book
from tests.upstream import Upstream

FILES = {
    f"page-{number}.md": f"# Page {number}\n\nSome text, number {number}.\n" for number in range(6)
}


def ingest_settings(folder: Path, upstream: Upstream) -> Settings:
    """Write the pages to `folder/book` and return settings for them."""
    return Settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        book_content_path=write_book(folder / "book", FILES),
        qdrant_path=folder / "index",
        site_url="https://b.example",
        site_generator="mkdocs",
    )


async def run(services: Services, **fields: Any) -> IngestStatus:
    started = await services.ingestion.start(IngestRequest(**fields))
    await services.ingestion.wait()
    return services.ingestion.status(started.task_id)
