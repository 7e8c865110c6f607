"""Measure retrieval quality with questions whose answers are known.

    python -m benchmarks.retrieval FOLDER QUESTIONS.jsonl [MORE.jsonl ...]
        [--model multilingual|FOLDER ...] [--k 10] [--budget 4000]
        [--calibrate] [--details FILE]

FOLDER is ingested into a temporary index in this process. `--k` passages are retrieved for each
question, as /search does. Other settings of the environment apply (CHUNK_TOKENS, SITE_GENERATOR).
`lib.golden` documents the format of the questions. Those with a `history` are skipped.

A passage hits a span if it contains half of its characters, or a hundred. The columns are the
search itself (hybrid), its lexical part without vectors, which readers also get during an outage of
the embedding service (words alone), and the order of cosines (meaning alone). All three rank the
same chunks, and `lib.ranking` merges and shortens the passages of all three. The rows:

    recall@5, recall@10  share of a question's spans that the first 5 or 10 passages hit
    MRR@10               1 / rank of the first passage that hits, 0 if none of 10 does
    recall in budget     recall of the first passages that fit into `--budget` characters together;
                         unlike the rows above, it does not reward longer passages
    IoU@5                intersection over union of the characters of the first 5 passages and the
                         spans; not for whole files
    AUROC                how often the first passage's score is higher for an answerable question
                         than for an unanswerable one; 0.5 is chance
    passages, characters passages per question, and characters per passage
    p50, p99             milliseconds per question, including its embedding

Brackets contain the 95 % interval, from resampling the questions. With less than ten questions it
means little. "Added by hybrid" compares question by question, which is more sensitive than
comparing columns.

`--calibrate` prints the `Similarity` and the curve of `lib.ranking` that fit these questions, for a
new model. `--details` writes the results of every question, one JSON object per line.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.book_index import (
    Index,
    find_candidates,
    missing_files,
    settings_for,
    temporary_index,
)
from benchmarks.calibration import print_calibration
from benchmarks.retrieval_measures import Answer, judge
from benchmarks.retrieval_report import details, print_report
from lib.cli import integer_argument
from lib.embedding import Similarity
from lib.golden import BadQuestions, Question, read_questions
from lib.ranking import Passage, Ranked, rank, select_passages
from lib.search import CANDIDATES, DEFAULT_SEARCH_K, MAX_SEARCH_K, search_passages
from lib.settings import MULTILINGUAL, Settings, SettingsError
from lib.store import Candidates


async def hybrid(index: Index, text: str, k: int) -> list[Passage]:
    return (await search_passages(index.embedder, index.store, text, k)).passages


async def words_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await find_candidates(index, text, max(CANDIDATES, 4 * k), meaning=False)
    return select_passages(rank(looked.query, looked.asked, looked.found, index.manifest, None), k)


async def meaning_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await find_candidates(index, text, max(CANDIDATES, 4 * k))
    return select_passages(by_cosine(looked.found, index.embedder.similarity), k)


def by_cosine(found: Candidates, similarity: Similarity) -> list[Ranked]:
    """Rank like `lib.ranking.rank`, but by unbounded similarity alone."""
    scale = similarity.answering - similarity.unrelated
    hits = sorted(found.hits, key=lambda hit: (-hit.cosine, hit.chunk.chunk_id))
    return [Ranked(hit, (hit.cosine - similarity.unrelated) / scale) for hit in hits]


WAYS: Final[Mapping[str, Callable[[Index, str, int], Awaitable[list[Passage]]]]] = {
    "hybrid": hybrid,
    "words alone": words_alone,
    "meaning alone": meaning_alone,
}


async def ask_all(
    index: Index, questions: Sequence[Question], k: int, budget: int
) -> dict[str, list[Answer]]:
    """Ask all questions in each of `WAYS`."""
    await index.embedder.load()
    for ask in WAYS.values():  # warm-up
        await ask(index, questions[0].text, k)
    answers: dict[str, list[Answer]] = {way: [] for way in WAYS}
    for question in questions:
        for way, ask in WAYS.items():
            began = time.perf_counter()
            found = await ask(index, question.text, k)
            seconds = time.perf_counter() - began
            answers[way].append(Answer(question, found, seconds, judge(question, found, budget)))
    return answers


async def measure(
    settings: Settings, questions: Sequence[Question], options: argparse.Namespace
) -> list[dict[str, object]]:
    """Print the report on one model. Returns the lines of `--details`."""
    async with temporary_index(settings) as index:
        missing = await missing_files(index, questions)
        if missing:
            print(f"not in the index, so never found: {', '.join(missing)}")
        answers = await ask_all(index, questions, options.k, options.budget)
        print_report(answers)
        if options.calibrate:
            await print_calibration(index, questions)
        return list(details(index.manifest.embedding_model, answers))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="book")
    parser.add_argument("questions", type=Path, nargs="+", help="files with golden questions")
    parser.add_argument(
        "--model", nargs="+", default=[MULTILINGUAL], help="local embedding models to compare"
    )
    parser.add_argument(
        "--k", type=integer_argument(1, MAX_SEARCH_K), default=DEFAULT_SEARCH_K, help="passages"
    )
    parser.add_argument(
        "--budget", type=integer_argument(1, 1_000_000), default=4_000, help="characters"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="print fitted constants for a new model"
    )
    parser.add_argument("--details", type=Path, help="write results per question (JSON lines)")
    options = parser.parse_args(arguments)
    for folder in (options.folder, *([options.details.parent] if options.details else [])):
        if not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    try:
        models = [settings_for(options.folder, model) for model in options.model]
        asked = read_questions(options.questions, options.folder, models[0].limits)
    except (SettingsError, BadQuestions) as error:
        sys.exit(str(error))
    questions = [each for each in asked if not each.history]
    if not questions:
        sys.exit("no questions without a history")
    rows = [row for model in models for row in asyncio.run(measure(model, questions, options))]
    if options.details:
        options.details.write_bytes(msgspec.json.Encoder().encode_lines(rows))


if __name__ == "__main__":
    main()
