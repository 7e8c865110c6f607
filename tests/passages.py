"""Passages for tests that depend only on file and offsets."""

from lib.ranking import Passage


def passage_at(file: str, start: int, end: int, score: float = 0.5) -> Passage:
    return Passage(
        chunk_id=f"{file}:{start}",
        text="x" * (end - start),
        file_path=file,
        chapter="C",
        section="",
        heading="H",
        url=None,
        start_char=start,
        end_char=end,
        score=score,
    )
