"""How often search finds what answers a question, measured with questions whose answers are known.

    python -m benchmarks.retrieval FOLDER QUESTIONS.jsonl [MORE.jsonl ...]
        [--model multilingual|FOLDER ...] [--k 10] [--budget 4000]
        [--calibrate] [--details FILE]

FOLDER is ingested into an index of its own, in this process; for each question `--k` passages are
fetched from it, as /search does. What the environment sets (CHUNK_TOKENS, SITE_GENERATOR) holds.
The questions have the form that `lib.golden` reads; those with a `history` are left out.

A passage hits a span of which it has half the characters, or a hundred. The columns are search as
it is (hybrid), its words without vectors, which is also what readers get while an embedding service
is away, and the order of cosines alone; all three over the same chunks, and joined and cut short by
`lib.ranking`. The rows:

    recall@5, recall@10  share of a question's spans that the first 5 or 10 passages hit
    MRR@10               1 over the place of the first passage that hits, 0 if none of 10 does
    recall in budget     recall of the first passages that fit into `--budget` characters together:
                         unlike the rows above it gains nothing from longer passages
    IoU@5                characters both in the first 5 passages and in the spans, over those in
                         either; not for whole files
    AUROC                how often the first passage's score is higher for a question that the book
                         answers than for one that it does not; 0.5 is chance
    passages, characters how many a question gets, and how long one is
    p50, p99             milliseconds a question takes, its embedding included

In brackets stand the ends of the 95 % interval, by resampling the questions: another set of as many
such questions would likely come out between them; of less than ten questions they say little.
"Added by hybrid" compares question by question, and so sees more than the columns side by side.

`--calibrate` prints what a new model's `Similarity` and the curve of `lib.ranking` should be by
these questions. `--details` writes what every question got, one JSON object a line.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.book_index import Index, ingested, missing_files, seen, settings_for
from benchmarks.calibration import print_calibration
from benchmarks.retrieval_measures import Answer, judge
from benchmarks.retrieval_report import details, print_report
from lib.cli import integer_argument
from lib.embedding import Similarity
from lib.golden import BadQuestions, Question, read_questions
from lib.ranking import Passage, Ranked, rank, select_passages
from lib.search import CANDIDATES, DEFAULT_K, search_passages
from lib.settings import MULTILINGUAL, Settings, SettingsError
from lib.store import Candidates


async def hybrid(index: Index, text: str, k: int) -> list[Passage]:
    return (await search_passages(index.embedder, index.store, text, k)).passages


async def words_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await seen(index, text, max(CANDIDATES, 4 * k), meaning=False)
    return select_passages(rank(looked.query, looked.asked, looked.found, index.manifest, None), k)


async def meaning_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await seen(index, text, max(CANDIDATES, 4 * k))
    return select_passages(by_cosine(looked.found, index.embedder.similarity), k)


def by_cosine(found: Candidates, similarity: Similarity) -> list[Ranked]:
    """As `lib.ranking.rank`, with the similarity as the sum; here it has no bounds."""
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
    """The answers of each of `WAYS`."""
    await index.embedder.load()
    for ask in WAYS.values():  # the first call of anything is slow
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
    """Print what there is to say about one model; the lines of `--details`."""
    async with ingested(settings) as index:
        missing = await missing_files(index, questions)
        if missing:
            print(f"not in the index, and so never found: {', '.join(missing)}")
        answers = await ask_all(index, questions, options.k, options.budget)
        print_report(answers)
        if options.calibrate:
            await print_calibration(index, questions)
        return list(details(index.manifest.embedding_model, answers))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--model", nargs="+", default=[MULTILINGUAL])
    parser.add_argument("--k", type=integer_argument(1, 50), default=DEFAULT_K, help="passages")
    parser.add_argument(
        "--budget", type=integer_argument(1, 1_000_000), default=4_000, help="characters"
    )
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--details", type=Path)
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
        sys.exit("there are no questions without a history")
    rows = [row for model in models for row in asyncio.run(measure(model, questions, options))]
    if options.details:
        options.details.write_bytes(msgspec.json.Encoder().encode_lines(rows))


if __name__ == "__main__":
    main()
