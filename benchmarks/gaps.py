"""Measure how well `lib.gaps` groups questions without a good answer.

    python -m benchmarks.gaps [--book FOLDER] [--entries 100000]

`gap_questions/` has sets of 20 topics that a book lacks. Each is asked in short and whole questions
and complaints, in two languages. A line is a language's code, a tab and a question; `== topic`
begins a topic. Every question has a conversation of its own. Columns:

    purity        share of the questions whose topic is the most frequent one in their group
    completeness  share of a topic's questions in its largest group, mean of the topics
    B-cubed       mean of the questions' F1: how much of the group has the question's topic, and how
                  much of the topic is in the group
    V             harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg, 2007)
    gaps          number of groups
    visible       topics that are the most frequent one in one of the first 25 gaps
    nearer        probability that two questions about one topic are more similar than two others:
                  of the embeddings, and of what `lib.gap_groups` makes of them

`handbook, all` asks the 200 questions of `handbook.txt`, and 400 that the handbook answers, of an
index of the handbook. A question is logged as refused if it is refused before generation. Of the
others, the 200 are logged as declined, as a model should.

Finally, `--entries` are logged, three tenths of them without a good answer, all worded differently,
about 400 topics. Time, added memory and event loop lag are measured for the first request for gaps.
The lag of the same process without other work is the baseline.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import fmean, quantiles
from typing import Final

import msgspec
import numpy as np

from benchmarks.book_index import Index, settings_for, temporary_index
from lib.cli import integer_argument
from lib.embedding import GuardedEmbedder, Vectors
from lib.gap_groups import EXAMPLES, Meanings, calibrate
from lib.gaps import Gap, GapFinder
from lib.golden import read_questions
from lib.languages import language_of_code
from lib.question_log import (
    FILE_NAME,
    LoggedPassage,
    LoggedQuestion,
    Outcome,
    QuestionLog,
    pack_vector,
)
from lib.ranking import Passage, join_headings
from lib.retrieval import retrieve_passages
from lib.runtime import freeze_heap
from lib.services import make_local_embedder
from lib.settings import MULTILINGUAL

SETS: Final = Path(__file__).with_name("gap_questions")
OWN: Final = "handbook"
"""The set about the book of `--book`."""
ANSWERABLE: Final = 400
FIRST_PAGE: Final = 25
ALL: Final = 1_000_000
COLUMNS: Final = ("purity", "completeness", "B-cubed", "V", "gaps", "visible", "nearer")
TOPICS: Final = 400
TICK: Final = 0.001
NEAREST: Final = 3
MONTH: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    topic: str
    """Empty for questions that the book answers."""
    language: str
    text: str


def read_set(path: Path) -> list[Asked]:
    asked, topic = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            topic = line.removeprefix("== ")
        else:
            code, text = line.split("\t")
            asked.append(Asked(topic, language_of_code(code), text))
    return asked


@dataclass(frozen=True, slots=True)
class Figures:
    purity: float
    completeness: float
    b_cubed: float
    v_measure: float
    gaps: int
    visible: int


def measure(groups: Sequence[Sequence[str]]) -> Figures:
    """Compare groups, given as the topics of their questions in order, with the topics."""
    counts = [Counter(group) for group in groups]
    topics = Counter(topic for group in groups for topic in group)
    total = topics.total()
    largest = {topic: max(count[topic] for count in counts) for topic in topics}
    cells = [
        (number, count.total(), topics[topic])
        for count in counts
        for topic, number in count.items()
    ]
    of_groups = sum(-number / total * log(number / group) for number, group, _ in cells)
    of_topics = sum(-number / total * log(number / topic) for number, _, topic in cells)
    homogeneity = 1 - of_groups / max(entropy(topics.values()), 1e-9)
    v_completeness = 1 - of_topics / max(entropy(map(Counter.total, counts)), 1e-9)
    return Figures(
        purity=sum(max(count.values()) for count in counts) / total,
        completeness=fmean(largest[topic] / topics[topic] for topic in topics),
        b_cubed=sum(n * 2 * n / (group + topic) for n, group, topic in cells) / total,
        v_measure=2 * homogeneity * v_completeness / max(homogeneity + v_completeness, 1e-9),
        gaps=len(groups),
        visible=len({count.most_common(1)[0][0] for count in counts[:FIRST_PAGE]} - {""}),
    )


def entropy(counts: Iterable[int]) -> float:
    numbers = list(counts)
    return sum(-number / sum(numbers) * log(number / sum(numbers)) for number in numbers)


@asynccontextmanager
async def temporary_log() -> AsyncIterator[QuestionLog]:
    with tempfile.TemporaryDirectory() as folder:
        log_file = QuestionLog(Path(folder) / FILE_NAME, days=30, max_bytes=10**10)
        try:
            yield log_file
        finally:
            await log_file.close()


def entry(
    asked: Asked, number: int, outcome: Outcome = "declined", nearest: Sequence[Passage] = ()
) -> LoggedQuestion:
    """A question of the last 30 days."""
    age = random.Random(number).random() * MONTH
    return LoggedQuestion(
        asked_at=round(1e3 * (time.time() - age)),
        answer=number,
        conversation=f"conversation {number}",
        question=asked.text,
        language=asked.language,
        interface="/chat",
        outcome=outcome,
        passages=tuple(
            LoggedPassage(
                file_path=each.file_path,
                heading=join_headings(each.chapter, each.section, each.heading),
                url=each.url,
                start_char=each.start_char,
                end_char=each.end_char,
                score=each.score,
                cited=False,
            )
            for each in nearest[:NEAREST]
        ),
    )


def month_ago() -> int:
    return round(1e3 * (time.time() - MONTH))


async def find_gaps(embedder: GuardedEmbedder, entries: Sequence[LoggedQuestion]) -> list[Gap]:
    """Log the entries in a log of their own, and find all gaps."""
    async with temporary_log() as log_file:
        for each in entries:
            log_file.add(each)
        await log_file.flush()
        finder = GapFinder(log_file, embedder)
        while (found := await finder.find(since=month_ago(), limit=ALL)).ungrouped:
            pass  # each request embeds a part
        return found.gaps


def topics_of(gaps: Sequence[Gap], topics: Sequence[str]) -> list[list[str]]:
    """`topics`: of all entries, in the order of their ids."""
    return [[topics[each - 1] for each in gap.ids] for gap in gaps]


def report(name: str, figures: Figures, nearer: str = "") -> None:
    print(
        f"{name:16}{figures.purity:8.3f}{figures.completeness:14.3f}{figures.b_cubed:9.3f}"
        f"{figures.v_measure:7.3f}{figures.gaps:6}{figures.visible:9}{nearer:>16}",
        flush=True,
    )


async def compare_similarities(embedder: GuardedEmbedder, asked: Sequence[Asked]) -> str:
    """The column "nearer"."""
    texts, languages = [each.text for each in asked], [each.language for each in asked]
    calibration = calibrate(np.array([await embedder.embed_query(text) for text in EXAMPLES]))
    vectors = np.array([await embedder.embed_query(text) for text in texts])
    fitted = Meanings(calibration, vectors, texts, languages)
    meanings = fitted.of(vectors, texts, languages)
    topics = [each.topic for each in asked]
    return f"{probability_nearer(vectors, topics):.2f}, {probability_nearer(meanings, topics):.2f}"


def probability_nearer(vectors: Vectors, topics: Sequence[str]) -> float:
    named = np.array(topics)
    pairs = np.triu_indices(len(named), 1)
    same = named[pairs[0]] == named[pairs[1]]
    similarity = (vectors @ vectors.T)[pairs]
    others = np.sort(similarity[~same])
    return float(np.searchsorted(others, similarity[same]).mean()) / len(others)


def answerable_questions(book: Path) -> list[Asked]:
    """Golden questions of the book, questions about its settings, and its headings."""
    golden = read_questions([book / "questions.jsonl"], book.resolve())
    texts = [each.text for each in golden if each.answer and not each.history]
    settings = re.findall(r"^\| `([A-Z_]+)`", (book / "settings.md").read_text(), re.MULTILINE)
    for form in ("What does {} do?", "Wozu dient {}?", "What is the default of {}?"):
        texts += [form.format(name) for name in settings]
    for page in sorted(book.glob("*.md")):
        texts += re.findall(r"^##+ (.+)$", page.read_text(), re.MULTILINE)
    return [Asked("", "english", text) for text in dict.fromkeys(texts)][:ANSWERABLE]


async def ask_book(index: Index, embedder: GuardedEmbedder, book: Path) -> None:
    unanswerable = read_set(SETS / f"{OWN}.txt")
    entries, refused = [], Counter[bool]()
    for asked in [*unanswerable, *answerable_questions(book)]:
        found = await retrieve_passages(embedder, index.store, asked.text, (), 5)
        refused[bool(asked.topic)] += not found.answerable
        if asked.topic or not found.answerable:
            outcome: Outcome = "declined" if found.answerable else "refused"
            entries.append((asked.topic, outcome, asked, found.passages))
    logged = [
        entry(asked, number, outcome, nearest)
        for number, (_, outcome, asked, nearest) in enumerate(entries)
    ]
    gaps = topics_of(await find_gaps(embedder, logged), [topic for topic, *_ in entries])
    report(f"{OWN}, all", measure(gaps))
    print(
        f"\nRefused before generation: {refused[True]} of {len(unanswerable)} without an answer, "
        f"{refused[False]} of {ANSWERABLE} with one."
    )


async def measure_large_log(embedder: GuardedEmbedder, number: int) -> None:
    generator = np.random.default_rng(1)
    dimension = len(await embedder.embed_query(EXAMPLES[0]))
    topics = generator.normal(size=(TOPICS, dimension))
    async with temporary_log() as log_file:
        for each in range(number):
            words = " ".join(f"word{word}" for word in generator.integers(0, 5_000, 8))
            vector = b""
            if each % 10 < 3:
                noise = generator.normal(size=dimension)
                vector = pack_vector((topics[each % TOPICS] + 0.8 * noise).astype(np.float32))
            log_file.add(
                msgspec.structs.replace(
                    entry(Asked("", "english", f"How do I {words}?"), each),
                    conversation=f"conversation {each // 2}",
                    outcome="declined" if vector else "answered",
                    vector=vector,
                    vector_model=embedder.model_id if vector else "",
                )
            )
            if not each % 1_000:
                await log_file.flush()
        await log_file.flush()
        for text in EXAMPLES:  # memory of the model itself does not count
            await embedder.embed_query(text)
        freeze_heap()  # as the server
        finder = GapFinder(log_file, embedder)
        async with lags() as idle:
            await asyncio.sleep(2)
        before = reset_peak()
        began = time.perf_counter()
        async with lags() as busy:
            found = await finder.find(since=month_ago(), limit=50)
        first, began = time.perf_counter() - began, time.perf_counter()
        peak = memory("VmHWM")
        await finder.find(since=month_ago(), limit=50)
        again = time.perf_counter() - began
    print(
        f"\n{number} entries, {found.questions} without a good answer, {found.total} gaps\n"
        f"first request {first:.1f} s, again {1e3 * again:.0f} ms, memory +{peak - before:.0f} MB\n"
        f"lag of the event loop, p50, p99, maximum: {summary(busy)} ms; idle: {summary(idle)} ms"
    )


@asynccontextmanager
async def lags() -> AsyncIterator[list[float]]:
    """Lag of the event loop, in seconds, at each millisecond of the block."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - began - TICK)

    ticking = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticking.cancel()
        await asyncio.wait((ticking,))


def summary(late: Sequence[float]) -> str:
    cuts = quantiles(late, n=100)
    return ", ".join(f"{1e3 * each:.1f}" for each in (cuts[49], cuts[98], max(late)))


def memory(name: str) -> float:
    """A line of /proc/self/status in MB; 0 on other systems than Linux."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+)", status.read_text() if status.exists() else "", re.M)
    return int(found[1]) / 1024 if found else 0.0


def reset_peak() -> float:
    """Reset `VmHWM` to the memory used now, and return it."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")
    return memory("VmRSS")


async def run(book: Path, entries: int) -> None:
    embedder = GuardedEmbedder(make_local_embedder(MULTILINGUAL))
    sys.setswitchinterval(0.0005)  # as the server
    try:
        columns = zip(COLUMNS, (8, 14, 9, 7, 6, 9, 16), strict=True)
        print(" " * 16 + "".join(f"{name:>{width}}" for name, width in columns))
        for path in sorted(SETS.glob("*.txt")):
            asked = read_set(path)
            logged = [entry(each, number) for number, each in enumerate(asked)]
            gaps = await find_gaps(embedder, logged)
            figures = measure(topics_of(gaps, [each.topic for each in asked]))
            report(path.stem, figures, await compare_similarities(embedder, asked))
        async with temporary_index(settings_for(book, MULTILINGUAL)) as index:
            await ask_book(index, embedder, book)
        await measure_large_log(embedder, entries)
    finally:
        await embedder.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--book", type=Path, default=Path("book_content"))
    parser.add_argument("--entries", type=integer_argument(1_000, 10**6), default=100_000)
    options = parser.parse_args(arguments)
    asyncio.run(run(options.book, options.entries))


if __name__ == "__main__":
    main()
