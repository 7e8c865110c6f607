"""POST /ingest/archive"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from quart import Blueprint, Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from handlers import has_admin_key, operation, respond, services
from handlers.limits import require_admin
from lib.api import Operation
from lib.documents import unpack
from lib.errors import Conflict
from lib.ingest import IngestRequest, IngestStarted
from lib.settings import Settings

PATH = "/ingest/archive"

blueprint = Blueprint("archive", __name__)


@blueprint.post(PATH)
@operation(
    Operation(
        "Upload a content folder as .tar.gz or .zip, and ingest it.",
        binary=True,
        answer=IngestStarted,
        statuses={
            400: "The archive is invalid or unsafe.",
            401: "The admin key is missing or wrong.",
            409: "An ingestion is running.",
            503: "Redis, which coordinates ingestion between replicas, cannot be reached.",
        },
        admin=True,
    )
)
async def push() -> Response:
    require_admin()
    settings, ingestion = services().settings, services().ingestion
    if ingestion.latest and ingestion.latest.running:
        raise Conflict("An ingestion is running. Try again when it has finished.")
    folder = settings.qdrant_path / settings.qdrant_collection
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="archive-") as file:
        size = 0
        async for data in request.body:
            size += len(data)
            if size > settings.max_archive_bytes:
                raise RequestEntityTooLarge
            await asyncio.to_thread(file.write, data)
        file.flush()
        content = folder / "content"
        await asyncio.to_thread(unpack, Path(file.name), content, settings.limits)
    started = await ingestion.start(IngestRequest(), root=content.resolve())
    if reports := services().reports:
        await reports.publish()  # the next request may reach another replica
    return respond(started)


def request_class(settings: Settings) -> type[Request]:
    """Make a request class with a larger body limit for archives that the admin uploads.

    The limit must be set before a handler runs, because until then the body is kept in memory.
    """

    class ArchiveRequest(Request):
        def __init__(self, method: str, scheme: str, path: str, *args: Any, **options: Any) -> None:
            super().__init__(method, scheme, path, *args, **options)
            if path == PATH and has_admin_key(settings, self):
                options["max_content_length"] = settings.max_archive_bytes
                super().__init__(method, scheme, path, *args, **options)

    return ArchiveRequest
