"""How often search finds what answers a question, measured with questions whose answers are known.

    python -m benchmarks.retrieval FOLDER QUESTIONS.jsonl [MORE.jsonl ...]
        [--model multilingual|english|FOLDER ...] [--k 10] [--budget 4000]
        [--calibrate] [--details FILE]

FOLDER is ingested into an index of its own, in this process; for each question `--k` passages are
fetched from it, as /search does. What the environment sets (CHUNK_TOKENS, SITE_GENERATOR) holds.
The questions have the form that `lib.golden` reads; those with a `history` are left out.

A passage hits a span of which it has half the characters, or a hundred. The columns are search as
it is (hybrid), its words without vectors, which is also what readers get while an embedding service
is away, and the order of cosines alone; all three over the same chunks, and joined and cut short by
`lib.passages`. The rows:

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
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from lib.commands import whole_number
from lib.embedding import Embedder, Similarity, Vectors
from lib.golden import BadQuestions, Gold, Question, ranks, read_questions, recall
from lib.ingest import Ingestion, IngestRequest
from lib.intervals import SEED, Estimate, Numbers, estimate, resampled, within
from lib.passages import Passage, passages
from lib.ranking import Ranked, rank
from lib.search import (
    CANDIDATES,
    DEFAULT_K,
    Looked,
    check_index,
    look,
    retrieve,
)
from lib.services import make_local_embedder, make_store
from lib.setting_values import MULTILINGUAL
from lib.settings import Settings, SettingsError, load_settings
from lib.store import Found, Manifest, Store

MEASURES: Final = ("recall@5", "recall@10", "MRR@10", "recall in budget", "IoU@5")
SAMPLED_QUESTIONS: Final = 100
"""Whose cosines with every chunk tell what is unrelated."""
RIDGE: Final = 1e-4
"""Keeps the curve from being infinitely steep where the two kinds of questions do not overlap."""


# Searching


@dataclass(frozen=True, slots=True)
class Index:
    """The book, to be searched."""

    embedder: Embedder
    store: Store
    manifest: Manifest


async def seen(
    index: Index,
    text: str,
    n: int,
    *,
    meaning: bool = True,
    only: Mapping[str, str] | None = None,
) -> Looked:
    """What `lib.search` looks at."""

    async def embed(question: str) -> Vectors | None:
        return await index.embedder.embed_query(question) if meaning else None

    return await look(index.store, index.manifest, text, n, embed, only=only)


async def hybrid(index: Index, text: str, k: int) -> list[Passage]:
    return (await retrieve(index.embedder, index.store, text, k)).passages


async def words_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await seen(index, text, max(CANDIDATES, 4 * k), meaning=False)
    return passages(rank(looked.query, looked.asked, looked.found, index.manifest, None), k)


async def meaning_alone(index: Index, text: str, k: int) -> list[Passage]:
    looked = await seen(index, text, max(CANDIDATES, 4 * k))
    return passages(by_cosine(looked.found, index.embedder.similarity), k)


def by_cosine(found: Found, similarity: Similarity) -> list[Ranked]:
    """As `lib.ranking.rank`, with the similarity as the sum; here it has no bounds."""
    scale = similarity.answering - similarity.unrelated
    hits = sorted(found.hits, key=lambda hit: (-hit.cosine, hit.chunk.chunk_id))
    return [Ranked(hit, (hit.cosine - similarity.unrelated) / scale) for hit in hits]


WAYS: Final[Mapping[str, Callable[[Index, str, int], Awaitable[list[Passage]]]]] = {
    "hybrid": hybrid,
    "words alone": words_alone,
    "meaning alone": meaning_alone,
}


@asynccontextmanager
async def ingested(settings: Settings) -> AsyncIterator[Index]:
    """The index of the content folder."""
    embedder = make_local_embedder(settings.local_embedding_model)  # without a cache of questions
    store = make_store(settings)
    try:
        ingestion = Ingestion(settings, embedder, store)
        began = time.perf_counter()
        started = await ingestion.start(IngestRequest())
        await ingestion.wait()
        status = ingestion.status(started.task_id)
        if status.status != "completed":
            sys.exit(f"the ingestion failed: {status.error}")
        manifest = check_index(await store.manifest(), embedder)
        print(
            f"\n{manifest.embedding_model}: {manifest.chunks} chunks of {manifest.documents} files,"
            f" ingested in {time.perf_counter() - began:.0f} s with {len(status.progress.errors)} "
            "errors"
        )
        yield Index(embedder, store, manifest)
    finally:
        await embedder.close()
        await store.close()


async def missing_files(index: Index, questions: Iterable[Question]) -> list[str]:
    """Files of answers that the index does not have, because the book does not publish them."""
    ledger = await index.store.ledger()
    named = {place.file for each in questions for gold in each.answer for place in gold}
    return sorted(file for file in named if file not in ledger or not ledger[file].chunks)


# Judging


@dataclass(frozen=True, slots=True)
class Judged:
    ranks: tuple[int | None, ...]
    """Of each part of the answer, the first passage that hits it, from 1."""
    measures: Mapping[str, float]
    """By `MEASURES`; none for a question without an answer, no IoU for one of whole files."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one way of searching made of a question."""

    question: Question
    found: Sequence[Passage]
    seconds: float
    judged: Judged

    @property
    def score(self) -> float:
        return self.found[0].score if self.found else 0.0


def judge(question: Question, found: Sequence[Passage], budget: int) -> Judged:
    if not question.answer:
        return Judged((), {})
    hits = ranks(question.answer, found)
    best = min(filter(None, hits), default=11)
    measures = {
        "recall@5": recall(hits, 5),
        "recall@10": recall(hits, 10),
        "MRR@10": 1 / best if best <= 10 else 0.0,
        "recall in budget": recall(hits, fitting(found, budget)),
    }
    if not any(place.whole for gold in question.answer for place in gold):
        measures["IoU@5"] = overlap(question.answer, found[:5])
    return Judged(hits, measures)


def fitting(found: Iterable[Passage], budget: int) -> int:
    """How many of the first passages have no more than `budget` characters together."""
    return sum(size <= budget for size in itertools.accumulate(len(p.text) for p in found))


def overlap(answer: Iterable[Gold], found: Iterable[Passage]) -> float:
    """Characters both found and asked for, over those that are either."""
    given = {(p.file_path, at) for p in found for at in range(p.start_char, p.end_char)}
    wanted: set[tuple[str, int]] = set()
    for gold in answer:
        each = [{(place.file, at) for at in range(place.start, place.end)} for place in gold]
        wanted |= max(each, key=lambda characters: len(characters & given))
    return len(given & wanted) / len(given | wanted)


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


# Statistics


def auroc(answered: Sequence[float], unanswered: Sequence[float]) -> Estimate | None:
    """How often one of the first is above one of the second; None without any of either."""
    if not answered or not unanswered:
        return None
    above, below = np.asarray(answered)[:, np.newaxis], np.asarray(unanswered)
    wins: Numbers = (above > below) + 0.5 * (above == below)
    generator = np.random.default_rng(SEED)
    rows, columns = resampled(generator, len(answered)), resampled(generator, len(unanswered))
    return within(float(wins.mean()), ((rows @ wins) * columns).sum(axis=1))


def logistic_curve(answered: Sequence[float], unanswered: Sequence[float]) -> tuple[float, float]:
    """Steepness and middle of the curve that tells one from the other, both as likely."""
    totals = np.array([*answered, *unanswered])
    truth = np.repeat([1.0, 0.0], [len(answered), len(unanswered)])
    weights = np.where(truth == 1, 0.5 / len(answered), 0.5 / len(unanswered))
    mean, spread = totals.mean(), max(float(totals.std()), 1e-9)
    inputs = np.stack([(totals - mean) / spread, np.ones_like(totals)], axis=1)
    curve = np.zeros(2)
    for _ in range(100):
        likely = 1 / (1 + np.exp(-inputs @ curve))
        gradient = inputs.T @ (weights * (truth - likely)) - RIDGE * curve
        bend = (inputs * (weights * likely * (1 - likely))[:, np.newaxis]).T @ inputs
        step = np.linalg.solve(bend + RIDGE * np.eye(2), gradient)
        curve += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return float(curve[0] / spread), float(mean - curve[1] / curve[0] * spread)


# Calibration


async def fitted_similarity(index: Index, questions: Sequence[Question]) -> Similarity | None:
    """What cosines the model gives any chunk, and the best chunk that answers.

    None where no chunk answers any question.
    """
    every_chunk = index.manifest.chunks
    unrelated, answering = [], []
    for question in random.Random(SEED).sample(questions, min(len(questions), SAMPLED_QUESTIONS)):
        looked = await seen(index, question.text, every_chunk)
        unrelated.append(statistics.fmean(hit.cosine for hit in looked.found.hits))
    for question in questions:
        wanted = [place for gold in question.answer for place in gold]
        cosines: list[float] = []
        for file in {place.file for place in wanted}:
            looked = await seen(index, question.text, every_chunk, only={"file_path": file})
            cosines += [
                hit.cosine
                for hit in looked.found.hits
                if any(place.hit_by(hit.chunk) for place in wanted)
            ]
        answering += [max(cosines)] if cosines else []
    if not answering:
        return None
    return Similarity(statistics.fmean(unrelated), statistics.median(answering))


async def fitted_curve(
    index: Index, questions: Iterable[Question], similarity: Similarity
) -> tuple[float, float] | None:
    """Of the sums of the first hits; None without questions of both kinds."""
    answered: list[float] = []
    unanswered: list[float] = []
    for question in questions:
        looked = await seen(index, question.text, CANDIDATES)
        ranked = rank(looked.query, looked.asked, looked.found, index.manifest, similarity)
        (answered if question.answer else unanswered).extend(each.total for each in ranked[:1])
    return logistic_curve(answered, unanswered) if answered and unanswered else None


async def print_calibration(index: Index, questions: Sequence[Question]) -> None:
    own, fitted = index.embedder.similarity, await fitted_similarity(index, questions)
    if fitted is None:
        print("\nno calibration: no question has an answer in the index")
        return
    print(
        f"\nSimilarity by these questions: unrelated={fitted.unrelated:.3f}, "
        f"answering={fitted.answering:.3f}; the model's: {own.unrelated} and {own.answering}"
    )
    if fitted.answering <= fitted.unrelated:
        print("no curve: to this model, what answers is no nearer than what does not")
        return
    for name, similarity in (("the model's", own), ("that", fitted)):
        curve = await fitted_curve(index, questions, similarity)
        if curve is None:
            print("no curve: it takes questions with an answer and questions without")
            return
        print(f"curve with {name} Similarity: STEEPNESS {curve[0]:.1f}, MIDDLE {curve[1]:.3f}")


# Reports

Column = Sequence[Answer]
Table = Mapping[str, Sequence[str]]


def print_report(answers: Mapping[str, Column]) -> None:
    columns = list(answers.values())
    hybrid, others = answers["hybrid"], [way for way in answers if way != "hybrid"]
    answerable = [each.question for each in hybrid if each.question.answer]
    rows = {each: [shown(estimate(values(of, each))) for of in columns] for each in MEASURES}
    rows |= {
        "AUROC": [shown(auroc(scores(of, True), scores(of, False))) for of in columns],
        "passages": [f"{statistics.fmean(len(each.found) for each in of):.1f}" for of in columns],
        "characters": [mean_length(of) for of in columns],
        "p50": [milliseconds(of, 50) for of in columns],
        "p99": [milliseconds(of, 99) for of in columns],
    }
    print_table(f"{len(answerable)} answerable, {len(hybrid) - len(answerable)} not", answers, rows)
    print_table(
        "added by hybrid to",
        others,
        {each: [added(hybrid, answers[way], each) for way in others] for each in MEASURES},
    )
    counts = Counter(question.category for question in answerable)
    if len(counts) > 1:
        print_table(
            "recall@5",
            answers,
            {
                f"{category or 'none'} ({count})": [
                    shown(estimate(values(of_category(of, category), "recall@5"))) for of in columns
                ]
                for category, count in sorted(counts.items())
            },
        )


def print_table(title: str, columns: Iterable[str], rows: Table) -> None:
    wide = max(map(len, (title, *rows)))
    print()
    for name, cells in {title: columns, **rows}.items():
        print(f"{name:{wide}}" + "".join(f"{cell:>22}" for cell in cells))


def shown(estimated: Estimate | None, sign: str = "") -> str:
    if estimated is None:
        return "-"
    value, low, high = estimated.value, estimated.low, estimated.high
    return f"{value:{sign}.3f} [{low:{sign}.2f} {high:{sign}.2f}]"


def added(new: Column, old: Column, measure: str) -> str:
    pairs = zip(values(new, measure), values(old, measure), strict=True)
    return shown(estimate([after - before for after, before in pairs]), "+")


def values(of: Column, measure: str) -> list[float]:
    """Of the questions that have this measure."""
    return [each.judged.measures[measure] for each in of if measure in each.judged.measures]


def scores(of: Column, answerable: bool) -> list[float]:
    return [each.score for each in of if bool(each.question.answer) is answerable]


def of_category(of: Column, category: str) -> list[Answer]:
    return [each for each in of if each.question.category == category]


def mean_length(of: Column) -> str:
    lengths = [len(passage.text) for each in of for passage in each.found]
    return f"{statistics.fmean(lengths):.0f}" if lengths else "-"


def milliseconds(of: Column, percent: int) -> str:
    return f"{np.percentile([each.seconds for each in of], percent) * 1e3:.1f} ms"


def details(model: str, answers: Mapping[str, Column]) -> Iterator[bytes]:
    """A line for what each way found for each question."""
    for way, of in answers.items():
        for each in of:
            yield msgspec.json.encode(
                {
                    "model": model,
                    "way": way,
                    "question": each.question.text,
                    "category": each.question.category,
                    "answerable": bool(each.question.answer),
                    "ranks": each.judged.ranks,
                    **each.judged.measures,
                    "score": each.score,
                    "milliseconds": round(each.seconds * 1e3, 2),
                    "passages": [
                        {
                            "file": passage.file_path,
                            "start": passage.start_char,
                            "end": passage.end_char,
                            "score": passage.score,
                        }
                        for passage in each.found
                    ],
                }
            )


# The command


async def measure(
    settings: Settings, questions: Sequence[Question], options: argparse.Namespace
) -> list[bytes]:
    """Print what there is to say about one model; the lines of `--details`."""
    with tempfile.TemporaryDirectory() as scratch:
        async with ingested(replace(settings, qdrant_path=Path(scratch))) as index:
            missing = await missing_files(index, questions)
            if missing:
                print(f"not in the index, and so never found: {', '.join(missing)}")
            answers = await ask_all(index, questions, options.k, options.budget)
            print_report(answers)
            if options.calibrate:
                await print_calibration(index, questions)
            return list(details(index.manifest.embedding_model, answers))


def settings_for(folder: Path, model: str) -> Settings:
    """What the environment says, but for the book, the model and the index."""
    return load_settings(
        os.environ
        | {
            "BOOK_CONTENT_PATH": str(folder),
            "EMBEDDING_PROVIDER": "local",
            "LOCAL_EMBEDDING_MODEL": model,
            "QDRANT_URL": "",
        }
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--model", nargs="+", default=[MULTILINGUAL])
    parser.add_argument("--k", type=whole_number(1, 50), default=DEFAULT_K, help="passages")
    parser.add_argument(
        "--budget", type=whole_number(1, 1_000_000), default=4_000, help="characters"
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
    lines = [line for model in models for line in asyncio.run(measure(model, questions, options))]
    if options.details:
        options.details.write_bytes(b"".join(line + b"\n" for line in lines))


if __name__ == "__main__":
    main()
