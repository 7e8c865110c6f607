"""How often search finds what answers a question, measured with questions whose answers are known.

    python -m benchmarks.retrieval FOLDER QUESTIONS.jsonl [MORE.jsonl ...]
        [--model multilingual|english|FOLDER ...] [--k 10] [--budget 4000]
        [--calibrate] [--details FILE]

FOLDER is ingested into an index of its own, in this process; for each question `--k` passages are
fetched from it, as /search does. What the environment sets (CHUNK_TOKENS, SITE_GENERATOR) holds.
A question is a JSON object, one a line:

    {"question": "When does the tide turn?", "file": "tides.md", "text": "turns every six hours"}
    {"question": "...", "spans": [{"file": "...", "text": "..."}, ...], "category": "howto"}
    {"question": "How deep is the Dead Sea?", "answerable": false}

`text` answers the question and is quoted from the file, white space aside; where it stands more
than once, each place is as good. `spans` is for answers in several parts. A span may have `start`
and `end` (characters of the file) in place of or beside its text, and other places that are as
good: `alts`, pairs of start and end in the same file, and `also`, a list of spans. With `"level":
"file"` any passage of the file will do. Questions with a `history` are left out.

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
import re
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
import numpy.typing as npt

from lib.documents import DocumentError, read_document
from lib.embedding import Embedder, Similarity, Vectors
from lib.ingest import Ingestion, IngestRequest
from lib.passages import Passage, passages
from lib.ranking import Ranked, rank
from lib.search import (
    CANDIDATES,
    DEFAULT_K,
    MAX_QUERY_CHARACTERS,
    Looked,
    check_index,
    look,
    retrieve,
)
from lib.services import make_local_embedder, make_store
from lib.settings import MULTILINGUAL, Settings, SettingsError, load_settings
from lib.store import Found, Manifest, Store, StoredChunk

Numbers = npt.NDArray[np.float64]

ENOUGH_CHARACTERS: Final = 100
"""Of a long span: who reads them has found the place."""
MEASURES: Final = ("recall@5", "recall@10", "MRR@10", "recall in budget", "IoU@5")
RESAMPLES: Final = 2_000
SEED: Final = 7
SAMPLED_QUESTIONS: Final = 100
"""Whose cosines with every chunk tell what is unrelated."""
RIDGE: Final = 1e-4
"""Keeps the curve from being infinitely steep where the two kinds of questions do not overlap."""


# Questions


class Span(msgspec.Struct):
    """A part of an answer, as it stands in the file of questions."""

    file: str
    text: str | None = None
    start: int | None = None
    end: int | None = None
    alts: list[tuple[int, int]] = []
    also: list["Span"] = []


class Line(msgspec.Struct):
    """A question, as it stands in the file of questions. Other fields are nobody's business."""

    question: str
    file: str | None = None
    text: str | None = None
    spans: list[Span] = []
    category: str | None = None
    answerable: bool = True
    level: str | None = None
    history: list[object] = []


@dataclass(frozen=True, slots=True)
class Place:
    """Characters of a file that answer, or all of it, of which any are enough."""

    file: str
    start: int
    end: int
    whole: bool = False

    def hit_by(self, found: Passage | StoredChunk) -> bool:
        if found.file_path != self.file:
            return False
        common = min(found.end_char, self.end) - max(found.start_char, self.start)
        return common > 0 and (
            self.whole or common >= min(ENOUGH_CHARACTERS, (self.end - self.start) / 2)
        )


Gold = tuple[Place, ...]
"""Places that are as good as each other."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: tuple[Gold, ...] = ()
    """Its parts; none for a question that the book does not answer."""
    category: str = ""


class BadQuestions(Exception):
    """What is wrong with a question, or a line for each that something is wrong with."""


def read_questions(files: Iterable[Path], settings: Settings) -> list[Question]:
    """The questions about the content folder. Raises `BadQuestions`."""
    read: list[Question] = []
    wrong: list[str] = []
    texts: dict[str, str] = {}

    def text_of(file: str) -> str:
        if file not in texts:
            try:
                document = read_document(settings.book_content_path, file, settings.limits)
            except DocumentError as error:
                raise BadQuestions(f"{file}: {error}") from None
            texts[file] = document.text
        return texts[file]

    for path in files:
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            wrong.append(f"{path} cannot be read: {reason}")
            continue
        for number, line in enumerate(lines, 1):
            try:
                question = parse_question(line, text_of) if line.strip() else None
            except BadQuestions as error:
                wrong.append(f"{path}, line {number}: {error}")
            else:
                read += [question] if question else []
    if not read and not wrong:
        wrong.append("there are no questions")
    if wrong:
        raise BadQuestions("\n".join(wrong))
    return read


def parse_question(line: str, text_of: Callable[[str], str]) -> Question | None:
    """None for a question that is left out. Raises `BadQuestions`, as does `text_of`, which gives
    the text of a file."""
    try:
        row = msgspec.json.decode(line, type=Line)
    except msgspec.MsgspecError as error:
        raise BadQuestions(f"not a question: {error}") from None
    text = row.question.strip()
    if not 1 <= len(text) <= MAX_QUERY_CHARACTERS:
        raise BadQuestions(f"the question has to have 1 to {MAX_QUERY_CHARACTERS} characters")
    if row.history:
        return None
    if not row.answerable:
        return Question(text, category=row.category or "")
    spans = row.spans or ([Span(row.file, row.text)] if row.file else [])
    if not spans:
        raise BadQuestions("it needs `file` and `text`, or `spans`, or `answerable` false")
    whole = row.level == "file"
    answer = tuple(tuple(places(span, text_of, whole=whole)) for span in spans)
    return Question(text, answer, row.category or "")


def places(span: Span, text_of: Callable[[str], str], *, whole: bool) -> list[Place]:
    """Where a part of an answer stands. Raises `BadQuestions`."""
    text = text_of(span.file)
    if whole:
        found = [(0, len(text))]
    elif span.start is not None and span.end is not None:
        found = [(span.start, span.end)]
        if span.text is not None and text[span.start : span.end] != span.text:
            raise BadQuestions(
                f"{span.file} has another text at {span.start} to {span.end}: "
                f"{shortened(text[span.start : span.end])}"
            )
    elif span.text and span.text.strip():
        found = quoted(span.text, text)
        if not found:
            raise BadQuestions(f"{span.file} does not have the quote {shortened(span.text)}")
    else:
        raise BadQuestions("an answer needs a `text`, or `start` and `end`")
    found += span.alts
    for start, end in found:
        if not 0 <= start < end <= len(text):
            raise BadQuestions(f"{span.file} has no characters {start} to {end}")
    return [
        *(Place(span.file, start, end, whole) for start, end in found),
        *(place for other in span.also for place in places(other, text_of, whole=whole)),
    ]


def quoted(quote: str, text: str) -> list[tuple[int, int]]:
    """Every place where `quote` stands in `text`, however the lines are broken."""
    pattern = r"\s+".join(map(re.escape, quote.split()))
    return [found.span() for found in re.finditer(pattern, text)]


def shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


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
    return await retrieve(index.embedder, index.store, text, k)


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
    ranks = tuple(
        next((nth for nth, each in enumerate(found, 1) if any(p.hit_by(each) for p in gold)), None)
        for gold in question.answer
    )

    def recall(first: int) -> float:
        return sum(nth is not None and nth <= first for nth in ranks) / len(ranks)

    best = min(filter(None, ranks), default=11)
    measures = {
        "recall@5": recall(5),
        "recall@10": recall(10),
        "MRR@10": 1 / best if best <= 10 else 0.0,
        "recall in budget": recall(fitting(found, budget)),
    }
    if not any(place.whole for gold in question.answer for place in gold):
        measures["IoU@5"] = overlap(question.answer, found[:5])
    return Judged(ranks, measures)


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


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float


def estimate(numbers: Sequence[float]) -> Estimate | None:
    """The mean and its interval; None for no numbers."""
    if not numbers:
        return None
    weights = resampled(np.random.default_rng(SEED), len(numbers))
    return within(statistics.fmean(numbers), weights @ np.asarray(numbers))


def auroc(answered: Sequence[float], unanswered: Sequence[float]) -> Estimate | None:
    """How often one of the first is above one of the second; None without any of either."""
    if not answered or not unanswered:
        return None
    above, below = np.asarray(answered)[:, np.newaxis], np.asarray(unanswered)
    wins: Numbers = (above > below) + 0.5 * (above == below)
    generator = np.random.default_rng(SEED)
    rows, columns = resampled(generator, len(answered)), resampled(generator, len(unanswered))
    return within(float(wins.mean()), ((rows @ wins) * columns).sum(axis=1))


def resampled(generator: np.random.Generator, n: int) -> Numbers:
    """`(RESAMPLES, n)`: the weight of each of `n` where as many are drawn with repetitions."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n


def within(value: float, resamples: Numbers) -> Estimate:
    low, high = np.percentile(resamples, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


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


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isdecimal() or not low <= int(raw) <= high:
            raise argparse.ArgumentTypeError(f"{raw!r} is no whole number from {low} to {high}")
        return int(raw)

    return parse


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
        questions = read_questions(options.questions, models[0])
    except (SettingsError, BadQuestions) as error:
        sys.exit(str(error))
    lines = [line for model in models for line in asyncio.run(measure(model, questions, options))]
    if options.details:
        options.details.write_bytes(b"".join(line + b"\n" for line in lines))


if __name__ == "__main__":
    main()
