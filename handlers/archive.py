"""POST /ingest/archive"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from quart import Blueprint, Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from handlers import has_admin_key, operation, respond, services
from handlers.limits import require_admin
from lib.api import Operation
from lib.archives import UPLOAD_PREFIX, lock_folder, unpack
from lib.errors import Conflict, StoreUnavailable
from lib.ingest import IngestRequest, IngestStarted
from lib.settings import Settings

PATH = "/ingest/archive"

_RUNNING = (
    "An ingestion is running, so nothing was taken. Send the archive again when it has ended."
)

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
            409: "An ingestion is running, or another archive is being uploaded.",
            503: "The disk is full, or Redis, which coordinates replicas, cannot be reached.",
        },
        admin=True,
    )
)
async def push() -> Response:
    require_admin()
    settings, ingestion = services().settings, services().ingestion
    folder = settings.qdrant_path / settings.qdrant_collection
    unlock = lock_folder(folder)
    if unlock is None:
        raise Conflict(_RUNNING)
    try:
        if ingestion.latest and ingestion.latest.running:
            raise Conflict(_RUNNING)
        async with AsyncExitStack() as stack:
            file = tempfile.NamedTemporaryFile(dir=folder, prefix=UPLOAD_PREFIX)  # noqa: SIM115
            stack.push_async_callback(asyncio.to_thread, file.close)  # deletes up to a gigabyte
            size = 0
            async for data in request.body:
                size += len(data)
                if size > settings.max_archive_bytes:
                    raise RequestEntityTooLarge
                await asyncio.to_thread(file.write, data)
            file.flush()
            content = settings.pushed_content
            whole = settings.site_source == "markdown"
            unpacking = asyncio.ensure_future(
                asyncio.to_thread(unpack, Path(file.name), content, settings.limits, whole=whole)
            )
            try:
                await asyncio.shield(unpacking)
            finally:
                # a thread cannot be cancelled, and the folder stays locked while it writes
                await asyncio.wait((unpacking,))
        started = await ingestion.start(IngestRequest(), root=content)
        if started.status == "in_progress":
            raise Conflict(_RUNNING)
    except OSError as error:
        if error.errno is None:  # a timeout
            raise
        raise StoreUnavailable(
            f"The archive cannot be stored: {error.strerror}. See QDRANT_PATH."
        ) from error
    finally:
        # the ingestion reads the folder until its end, whether this request is cancelled or not
        if ingestion.latest and ingestion.latest.run:
            ingestion.latest.run.add_done_callback(lambda _: unlock())
        else:
            unlock()
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
