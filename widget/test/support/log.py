"""Write entries into a question log, as Quire does: log.py FILE, with JSON entries on stdin."""

import asyncio
import sys
from pathlib import Path

import msgspec

from lib.question_log import LoggedQuestion, QuestionLog


async def main(file: str) -> None:
    log = QuestionLog(Path(file), days=90, max_bytes=100_000_000)
    for entry in msgspec.json.decode(sys.stdin.buffer.read(), type=list[LoggedQuestion]):
        log.add(entry)
    await log.close()


asyncio.run(main(sys.argv[1]))
