"""Report of `benchmarks.retrieval`: printed tables and `--details`."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.retrieval_measures import MEASURES, Answer
from benchmarks.separation import auroc
from benchmarks.tables import format_estimate, print_table
from lib.evaluation import estimate

Column = Sequence[Answer]


def print_report(answers: Mapping[str, Column]) -> None:
    columns = list(answers.values())
    hybrid, others = answers["hybrid"], [way for way in answers if way != "hybrid"]
    answerable = [each.question for each in hybrid if each.question.answer]
    rows = {
        each: [format_estimate(estimate(values(of, each))) for of in columns] for each in MEASURES
    }
    rows |= {
        "AUROC": [format_estimate(auroc(scores(of, True), scores(of, False))) for of in columns],
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
                    format_estimate(estimate(values(of_category(of, category), "recall@5")))
                    for of in columns
                ]
                for category, count in sorted(counts.items())
            },
        )


def added(new: Column, old: Column, measure: str) -> str:
    pairs = zip(values(new, measure), values(old, measure), strict=True)
    return format_estimate(estimate([after - before for after, before in pairs]), "+")


def values(of: Column, measure: str) -> list[float]:
    """Values of a measure, for the questions that have it."""
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


def details(model: str, answers: Mapping[str, Column]) -> Iterator[dict[str, object]]:
    """Yield the result of each way for each question."""
    for way, of in answers.items():
        for each in of:
            yield {
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
