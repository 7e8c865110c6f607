"""Passages that depend only on file and offsets, and extracts of passages."""

from collections.abc import Sequence

from lib.extractive import Extract, extract_in_steps
from lib.ranking import Passage
from lib.runtime import run_to_end


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


def extract(question: str, passages: Sequence[Passage]) -> list[Extract]:
    return run_to_end(extract_in_steps(question, passages))
