"""Write entries into a question log, as Quire does: log.py FILE, with JSON entries on stdin."""

import asyncio
import sys
from pathlib import Path

import msgspec

from lib.question_log import LoggedQuestion, QuestionLog


async def main(file: str) -> None:
    log = QuestionLog(Path(file), days=90, max_bytes=100_000_000)
    entries = msgspec.json.decode(sys.stdin.buffer.read(), type=list[LoggedQuestion])
    for at, entry in enumerate(entries, 1):
        log.add(entry)
        if not at % 1_000:
            await log.flush()  # more than some thousand that wait would be lost
    await log.close()


asyncio.run(main(sys.argv[1]))
