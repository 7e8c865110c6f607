"""How well golden questions were answered. Metrics are shares from 0 to 1, and more is better:

    hit@n      share of an answer's parts that the first n passages hold
    mrr        1 over the place of the first passage that holds a part, 0 if none does
    linked     citations that have a link
    links      links that the index knows, and the built site where it was given
    support    cited sentences that their passages support, of those that `lib.attribution` can tell
    refusal    questions that the book does not answer, and that were refused
    answered   questions that the book answers, and that were not refused

Where no answers were asked for, the first k passages stand for the citations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lib.evaluation import Outcome
from lib.golden import recall
from lib.intervals import Estimate, estimate, share

HITS: Final = (1, 5, 10)
"""The n of hit@n that are always told."""
SHARES: Final = ("mrr", "linked", "links", "support", "refusal", "answered")
"""The other metrics."""


@dataclass(frozen=True, slots=True)
class Metric:
    estimate: Estimate | None
    """None where there was nothing to measure."""
    n: int
    """Of how many questions, citations or links."""


def metrics(outcomes: Iterable[Outcome], hits: Iterable[int]) -> dict[str, Metric]:
    """By name, for these n of hit@n. What broke off counts as not right."""
    outcomes = list(outcomes)
    answerable = [each for each in outcomes if each.question.answer]
    other = [each for each in outcomes if not each.question.answer]
    links = [link for each in outcomes for link in each.links]
    given = [link.valid for link in links if link.url]
    measured = {f"hit@{n}": shares([hit(each, n) for each in answerable]) for n in hits}
    first = [min(filter(None, each.ranks), default=0) for each in answerable]
    measured["mrr"] = Metric(estimate([1 / nth if nth else 0.0 for nth in first]), len(first))
    measured["linked"] = shares([link.url is not None for link in links])
    measured["links"] = shares(given)
    answers = [each.answer for each in outcomes if each.answer]
    if answers:
        told = [each.supported for answer in answers for each in answer.check]
        measured["support"] = shares([each for each in told if each is not None])
        measured["refusal"] = shares([each.refused for each in other])
        measured["answered"] = shares([bool(e.answer) and not e.refused for e in answerable])
    return measured


def hit(outcome: Outcome, n: int) -> float:
    return recall(outcome.ranks, n) if outcome.ranks else 0.0


def shares(numbers: Sequence[float]) -> Metric:
    return Metric(share(numbers), len(numbers))


def failures(outcome: Outcome, k: int) -> list[str]:
    """What is wrong with an outcome, in sentences; nothing where all is well."""
    if outcome.error:
        return [outcome.error]
    wrong = []
    if outcome.question.answer and hit(outcome, k) < 1:
        wrong.append(f"The first {k} passages do not hold the answer.")
    if outcome.refused and outcome.question.answer:
        wrong.append("It was refused, though the book answers it.")
    if outcome.answer and not outcome.refused and not outcome.question.answer:
        wrong.append("It was answered, though the book does not.")
    wrong += [f"{each.url} leads nowhere." for each in outcome.links if each.url and not each.valid]
    return wrong
