"""Start the server under test in a separate process, with a small book."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.chaos_http import ADMIN_KEY
from lib.settings import setting_names

ROOT: Final = Path(__file__).parents[1]
ERROR_LINE: Final = re.compile(r"Traceback|never retrieved|never awaited|Unclosed|\bERROR\b")
PAGES: Final = {
    "index.md": """# The harbour

## Opening hours

The harbour office is open from eight to six, each day that the harbour is open.
""",
    "mooring.md": """# Mooring

A boat is moored in the harbour with two lines and a spring at the quay.

## Fenders

Three fenders hang at the side of the quay; two fenders are not enough.
""",
    "tides.md": """# Tides

The tide turns every six hours. At spring tide the water rises four metres.

## Currents

The current in the entrance runs at three knots when the tide falls.
""",
}


@dataclass
class Server:
    """The process under test."""

    process: asyncio.subprocess.Process
    port: int = 0
    error_lines: list[str] = field(default_factory=list)
    """Errors in its log, each with the lines after it."""

    async def read(self, ready: asyncio.Future[int]) -> None:
        assert self.process.stderr is not None
        follows = 0
        async for raw in self.process.stderr:
            line = raw.decode(errors="replace")
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                ready.set_result(int(found[1]))
            follows = 25 if ERROR_LINE.search(line) else follows - 1
            if follows > 0 and len(self.error_lines) < 200:
                self.error_lines.append(line.rstrip())


@asynccontextmanager
async def started(folder: Path, upstream: str, tokens: int) -> AsyncIterator[Server]:
    """Start the server. `folder` receives book and index; `tokens` is the daily budget."""
    book = folder / "book"
    book.mkdir()
    for page, text in PAGES.items():
        (book / page).write_text(text)
    variables = dict.fromkeys(setting_names(), "") | {
        "BOOK_CONTENT_PATH": str(book),
        "QDRANT_PATH": str(folder / "index"),
        "SITE_URL": "https://book.example",
        "CHUNK_TOKENS": "50",
        "OPENAI_BASE_URL": upstream,
        "OPENAI_TIMEOUT": "2",
        "EMBEDDING_PROVIDER": "openai",
        "MAX_OUTPUT_TOKENS": "400",
        "MAX_CONCURRENT_ANSWERS": "24",
        "DAILY_TOKENS": str(tokens),
        "ADMIN_API_KEY": ADMIN_KEY,
        "TRUSTED_PROXY_HOPS": "1",
        "API_HOST": "127.0.0.1",
        "API_PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "main.py",
        cwd=ROOT,
        env={**os.environ, **variables},
        stderr=asyncio.subprocess.PIPE,
    )
    server, ready = Server(process), asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(server.read(ready))
    try:
        async with asyncio.timeout(60):
            server.port = await ready
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
