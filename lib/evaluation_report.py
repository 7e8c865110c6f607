"""Report an evaluation as text, as JSON, and as JUnit XML for CI servers."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from lib.evaluation import HITS, Metric, Outcome, Plan, compute_metrics, describe_failures
from lib.pricing import Usage
from lib.ranking import join_headings

_SHOWN_FAILURES: Final = 20
_LATENCIES: Final[Mapping[str, Callable[[Outcome], float | None]]] = {
    "search": lambda outcome: outcome.search_seconds,
    "first words": lambda outcome: outcome.first_seconds,
    "whole answer": lambda outcome: outcome.total_seconds,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    outcomes: Sequence[Outcome]
    plan: Plan
    models: Mapping[str, str]
    """Names of the embedding model and the language model."""
    metrics: Mapping[str, Metric]
    seconds: Mapping[str, tuple[float, float]]
    """Median and 95th percentile of each measured latency in `_LATENCIES`."""
    modes: Counter[str]
    """Number of answers by mode, generated or extractive."""
    usage: Usage | None
    """Total of all answers except those to earlier questions; None without answers. The cost is
    None if a price is unknown."""
    below: Sequence[str]
    """A sentence for each missed threshold."""

    @property
    def errors(self) -> int:
        return sum(bool(each.error) for each in self.outcomes)

    @property
    def wrong(self) -> list[tuple[Outcome, list[str]]]:
        """The wrong outcomes with their failures."""
        described = ((each, describe_failures(each, self.plan.k)) for each in self.outcomes)
        return [(outcome, failures) for outcome, failures in described if failures]

    @property
    def passed(self) -> bool:
        return not self.below and not self.errors


def make_report(
    outcomes: Sequence[Outcome],
    plan: Plan,
    thresholds: Mapping[str, float],
    models: Mapping[str, str],
) -> _Report:
    """Summarise `outcomes`. `thresholds` holds the minimum of metrics, by name."""
    asked = (int(name.removeprefix("hit@")) for name in thresholds if name.startswith("hit@"))
    measured = compute_metrics(outcomes, sorted({*HITS, plan.k, *asked}))
    answers = [each.answer for each in outcomes if each.answer]
    return _Report(
        outcomes=outcomes,
        plan=plan,
        models=models,
        metrics=measured,
        seconds={
            name: percentiles(times)
            for name, seconds in _LATENCIES.items()
            if (times := [each for each in map(seconds, outcomes) if each is not None])
        },
        modes=Counter(each.mode for each in answers),
        usage=_sum_usage([each.usage for each in answers]) if answers else None,
        below=list(_describe_missed(measured, thresholds)),
    )


def _sum_usage(used: Sequence[Usage]) -> Usage:
    costs = [each.cost_usd for each in used if each.cost_usd is not None]
    return Usage(
        prompt_tokens=sum(each.prompt_tokens for each in used),
        completion_tokens=sum(each.completion_tokens for each in used),
        embedding_tokens=sum(each.embedding_tokens for each in used),
        cost_usd=sum(costs) if len(costs) == len(used) else None,
    )


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    middle, late = np.percentile(times, [50, 95])
    return float(middle), float(late)


def _describe_missed(
    measured: Mapping[str, Metric], thresholds: Mapping[str, float]
) -> Iterator[str]:
    """Describe missed thresholds. An unmeasured metric counts as missed, so that CI fails."""
    for name, least in thresholds.items():
        found = measured[name].estimate if name in measured else None
        if found is None:
            yield f"{name} was not measured: no question needs it."
        elif found.value < least:
            yield f"{name} is {found.value:.3f}, below {least:g}."


def format_text(report: _Report) -> str:
    """Format a table, then a line for each wrong question."""
    answerable = sum(bool(each.question.answer) for each in report.outcomes)
    lines = [
        f"{answerable} answerable questions, {len(report.outcomes) - answerable} not, "
        f"{report.errors} errors",
        *(f"{name}: {model}" for name, model in report.models.items()),
        "",
        *(_format_metric(name, metric) for name, metric in report.metrics.items()),
    ]
    if report.seconds:
        lines += ["", f"{'':14}{'p50':>10}{'p95':>10}"]
        for name, (middle, late) in report.seconds.items():
            lines.append(f"{name:14}{middle * 1e3:>7.0f} ms{late * 1e3:>7.0f} ms")
    if report.usage:
        modes = ", ".join(f"{count} {mode}" for mode, count in sorted(report.modes.items()))
        lines += ["", f"answers: {modes}", *_format_usage(report.usage, report.modes.total())]
    lines += ["", *_format_categories(report)]
    if wrong := report.wrong:
        lines += ["", "Wrong:"]
        lines += [f"  {_name_of(each)}: {' '.join(why)}" for each, why in wrong[:_SHOWN_FAILURES]]
    if len(wrong) > _SHOWN_FAILURES:
        lines.append(f"  ... and {len(wrong) - _SHOWN_FAILURES} more")
    return "\n".join([*lines, *([""] if report.below else []), *report.below])


def _format_metric(name: str, metric: Metric) -> str:
    found = metric.estimate
    if found is None:
        return f"{name:14}{'-':>8}"
    interval = f"[{found.low:.2f} {found.high:.2f}]"
    return f"{name:14}{found.value:>8.3f}{interval:>14}  of {metric.n}"


def _format_usage(used: Usage, answers: int) -> Iterator[str]:
    yield (
        f"tokens: {used.prompt_tokens} prompt, {used.completion_tokens} completion, "
        f"{used.embedding_tokens} embedding"
    )
    if used.cost_usd is None:
        yield "cost: not known; see PRICES"
    else:
        yield f"cost: about ${used.cost_usd:.4f}, ${used.cost_usd / answers:.6f} an answer"


def _format_categories(report: _Report) -> Iterator[str]:
    judged = [each for each in report.outcomes if report.plan.judges(each.question)]
    counts = Counter(each.question.category for each in judged)
    if len(counts) < 2:
        return
    yield f"{'category':24}{'questions':>10}{'right':>8}"
    for category, count in sorted(counts.items()):
        of = [each for each in judged if each.question.category == category]
        right = sum(not describe_failures(each, report.plan.k) for each in of)
        yield f"{category or 'none':24}{count:>10}{right:>8}"


def _name_of(outcome: Outcome) -> str:
    return outcome.question.id or outcome.question.text


def format_json(report: _Report) -> bytes:
    """Format everything as indented JSON; null for unmeasured values. Times are in seconds."""
    whole = {
        "passed": report.passed,
        "below": report.below,
        "errors": report.errors,
        "k": report.plan.k,
        "models": report.models,
        "metrics": {
            name: {
                "value": metric.estimate and metric.estimate.value,
                "low": metric.estimate and metric.estimate.low,
                "high": metric.estimate and metric.estimate.high,
                "n": metric.n,
            }
            for name, metric in report.metrics.items()
        },
        "seconds": {
            name.replace(" ", "_"): {"p50": middle, "p95": late}
            for name, (middle, late) in report.seconds.items()
        },
        "answers": report.modes,
        "usage": report.usage,
        "questions": [_question_json(each, report.plan.k) for each in report.outcomes],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _question_json(outcome: Outcome, k: int) -> dict[str, Any]:
    question, answer = outcome.question, outcome.answer
    return {
        "id": question.id,
        "question": question.text,
        "category": question.category,
        "answerable": bool(question.answer),
        "wrong": describe_failures(outcome, k),
        "ranks": outcome.ranks,
        "seconds": outcome.total_seconds or outcome.search_seconds,
        "answer": answer and answer.answer,
        "finish_reason": answer and answer.finish_reason,
        "mode": answer and answer.mode,
        "usage": answer and answer.usage,
        "check": answer and answer.check,
        "links": outcome.links,
        "passages": [
            {
                "file": each.file_path,
                "heading": each.heading,
                "url": each.url,
                "start": each.start_char,
                "end": each.end_char,
                "score": each.score,
            }
            for each in outcome.found
        ],
    }


_SHOWN_PASSAGES: Final = 5

# Characters that XML 1.0 forbids even escaped: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def format_junit(report: _Report) -> bytes:
    """Format as JUnit XML, one test case per question."""
    suites = ET.Element("testsuites", name="quire")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name="golden questions",
        tests=str(len(report.outcomes)),
        failures=str(len(report.wrong) - report.errors),
        errors=str(report.errors),
        skipped=str(sum(not report.plan.judges(each.question) for each in report.outcomes)),
        time=f"{sum(map(_seconds_of, report.outcomes)):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _property_values(report):
        ET.SubElement(properties, "property", name=name, value=_escape_xml(value))
    for outcome in report.outcomes:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_escape_xml(outcome.question.category or "questions"),
            name=_escape_xml(_name_of(outcome)),
            time=f"{_seconds_of(outcome):.3f}",
        )
        if wrong := describe_failures(outcome, report.plan.k):
            kind = "error" if outcome.error else "failure"
            told = ET.SubElement(case, kind, message=_escape_xml(" ".join(wrong)))
            told.text = _escape_xml("\n".join(_describe_question(outcome)))
        elif not report.plan.judges(outcome.question):
            ET.SubElement(case, "skipped", message="A refusal cannot be judged without answers.")
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _property_values(report: _Report) -> Iterable[tuple[str, str]]:
    yield from report.models.items()
    for name, metric in report.metrics.items():
        if metric.estimate:
            yield name, f"{metric.estimate.value:.4f}"
    for name, (middle, late) in report.seconds.items():
        yield f"{name}, p50 seconds", f"{middle:.3f}"
        yield f"{name}, p95 seconds", f"{late:.3f}"
    if report.usage and report.usage.cost_usd is not None:
        yield "cost, US dollars", f"{report.usage.cost_usd:.6f}"


def _describe_question(outcome: Outcome) -> Iterator[str]:
    """Describe a question, the place of its answer, and the passages found instead."""
    yield outcome.question.text
    for gold in outcome.question.answer:
        place = gold[0]
        where = "" if place.whole else f", characters {place.start} to {place.end}"
        yield f"Answered in {place.file}{where}"
    if outcome.found:
        yield "Found:"
    for nth, passage in enumerate(outcome.found[:_SHOWN_PASSAGES], 1):
        headings = join_headings(passage.chapter, passage.section, passage.heading)
        yield f"  {nth}. {passage.file_path}: {headings} (score {passage.score:.2f})"
    if outcome.answer:
        yield f"Answer ({outcome.answer.mode}): {outcome.answer.answer}"
        for each in outcome.answer.check:
            if each.supported is False:
                yield f"Not in its passages: {each.sentence}"


def _seconds_of(outcome: Outcome) -> float:
    return outcome.total_seconds or outcome.search_seconds or 0.0


def _escape_xml(text: str) -> str:
    """Write out characters that XML forbids, such as `\\x1b`."""
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1], text)
