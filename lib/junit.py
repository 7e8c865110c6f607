"""What an evaluation found, as the JUnit XML that CI servers read."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Final

from lib.evaluation import Outcome
from lib.evaluation_metrics import failures
from lib.evaluation_report import Report, name_of
from lib.passages import Passage

SHOWN_PASSAGES: Final = 5

# All that XML 1.0 forbids, escaped or not: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> bytes:
    """One test case a question."""
    suites = ET.Element("testsuites", name="quire")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name="golden questions",
        tests=str(len(report.outcomes)),
        failures=str(
            sum(not each.error and bool(failures(each, report.plan.k)) for each in report.outcomes)
        ),
        errors=str(report.errors),
        skipped=str(sum(not report.plan.judges(each.question) for each in report.outcomes)),
        time=f"{sum(map(seconds_of, report.outcomes)):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in property_values(report):
        ET.SubElement(properties, "property", name=name, value=valid(value))
    for outcome in report.outcomes:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=valid(outcome.question.category or "questions"),
            name=valid(name_of(outcome)),
            time=f"{seconds_of(outcome):.3f}",
        )
        if wrong := failures(outcome, report.plan.k):
            kind = "error" if outcome.error else "failure"
            told = ET.SubElement(case, kind, message=valid(" ".join(wrong)))
            told.text = valid("\n".join(told_in_full(outcome)))
        elif not report.plan.judges(outcome.question):
            ET.SubElement(case, "skipped", message="Without answers nothing can be refused.")
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def property_values(report: Report) -> Iterable[tuple[str, str]]:
    yield from report.models.items()
    for name, metric in report.metrics.items():
        if metric.estimate:
            yield name, f"{metric.estimate.value:.4f}"
    for name, (middle, late) in report.seconds.items():
        yield f"{name}, p50 seconds", f"{middle:.3f}"
        yield f"{name}, p95 seconds", f"{late:.3f}"
    if report.usage and report.usage.cost_usd is not None:
        yield "cost, US dollars", f"{report.usage.cost_usd:.6f}"


def told_in_full(outcome: Outcome) -> Iterator[str]:
    """The question, where its answer stands, and what was found instead."""
    yield outcome.question.text
    for gold in outcome.question.answer:
        place = gold[0]
        where = "" if place.whole else f", characters {place.start} to {place.end}"
        yield f"Answered in {place.file}{where}"
    if outcome.found:
        yield "Found:"
    for nth, passage in enumerate(outcome.found[:SHOWN_PASSAGES], 1):
        yield f"  {nth}. {place_of(passage)} (score {passage.score:.2f})"
    if outcome.answer:
        yield f"Answer ({outcome.answer.mode}): {outcome.answer.answer}"
        for each in outcome.answer.check:
            if each.supported is False:
                yield f"Not in its passages: {each.sentence}"


def place_of(passage: Passage) -> str:
    headings = dict.fromkeys(filter(None, (passage.chapter, passage.section, passage.heading)))
    return f"{passage.file_path}: {' > '.join(headings)}"


def seconds_of(outcome: Outcome) -> float:
    return outcome.total_seconds or outcome.search_seconds or 0.0


def valid(text: str) -> str:
    """`text` with what XML cannot hold written out, such as `\\x1b`."""
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1], text)
