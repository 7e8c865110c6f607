"""Index a book into a temporary index in this process, for search benchmarks."""

import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lib.embedding import Embedder, Vectors
from lib.golden import Question
from lib.ingest import Ingestion, IngestRequest
from lib.search import Lookup, check_index, look_up
from lib.services import make_local_embedder, make_store
from lib.settings import Settings, load_settings
from lib.store import Manifest, Store


@dataclass(frozen=True, slots=True)
class Index:
    """The searchable index of a book."""

    embedder: Embedder
    store: Store
    manifest: Manifest


async def find_candidates(
    index: Index,
    text: str,
    n: int,
    *,
    meaning: bool = True,
    only: Mapping[str, str] | None = None,
) -> Lookup:
    """Return the candidates that `lib.search` ranks. Without `meaning`: no query embedding."""

    async def embed(question: str) -> Vectors | None:
        return await index.embedder.embed_query(question) if meaning else None

    return await look_up(index.store, index.manifest, text, n, embed, only=only)


def settings_for(folder: Path, model: str) -> Settings:
    """Return the settings from the environment, with this book and model and a local index."""
    return load_settings(
        os.environ
        | {
            "BOOK_CONTENT_PATH": str(folder),
            "EMBEDDING_PROVIDER": "local",
            "LOCAL_EMBEDDING_MODEL": model,
            "QDRANT_URL": "",
        }
    )


@asynccontextmanager
async def temporary_index(settings: Settings) -> AsyncIterator[Index]:
    """Index the content folder; the index is deleted at the end."""
    embedder = make_local_embedder(settings.local_embedding_model)  # without a query cache
    with TemporaryDirectory() as scratch:
        settings = replace(settings, qdrant_path=Path(scratch))
        store = make_store(settings)
        try:
            ingestion = Ingestion(settings, embedder, store)
            began = time.perf_counter()
            started = await ingestion.start(IngestRequest())
            await ingestion.wait()
            status = ingestion.status(started.task_id)
            if status.status != "completed":
                sys.exit(f"the ingestion failed: {status.error}")
            manifest = check_index(await store.manifest())
            print(
                f"\n{manifest.embedding_model}: {manifest.chunks} chunks of {manifest.documents} "
                f"files, ingested in {time.perf_counter() - began:.0f} s with "
                f"{len(status.progress.errors)} errors"
            )
            yield Index(embedder, store, manifest)
        finally:
            await embedder.close()
            await store.close()


async def missing_files(index: Index, questions: Iterable[Question]) -> list[str]:
    """Return the files of expected answers that the book does not publish."""
    ledger = await index.store.ledger()
    files = {place.file for each in questions for gold in each.answer for place in gold}
    return sorted(file for file in files if file not in ledger or not ledger[file].chunks)
