from pathlib import Path

import numpy as np
import pytest

from benchmarks.gaps import (
    ANSWERABLE,
    SETS,
    answerable_questions,
    entry,
    find_gaps,
    measure,
    read_set,
    topics_of,
)
from lib.embedding import GuardedEmbedder
from lib.services import make_local_embedder
from lib.settings import MULTILINGUAL
from tests.handbook import ROOT


def test_measures_of_perfect_groups() -> None:
    found = measure([["a", "a"], ["b"], ["c", "c"]])
    assert (found.purity, found.completeness, found.b_cubed) == (1, 1, 1)
    assert found.v_measure == pytest.approx(1)
    assert (found.gaps, found.visible) == (3, 3)


def test_measures_of_mixed_groups() -> None:
    """Computed by hand."""
    found = measure([["a", "a", "b"], ["b"], ["a"]])
    assert found.purity == pytest.approx(4 / 5)
    assert found.completeness == pytest.approx((2 / 3 + 1 / 2) / 2)
    # F1 by question: two a with 2/3 and 2/3, one with 1 and 1/3; b with 1/3 and 1/2, and 1 and 1/2.
    assert found.b_cubed == pytest.approx((2 * 2 / 3 + 1 / 2 + 2 / 5 + 2 / 3) / 5)
    assert found.visible == 2


def test_the_v_measure_is_that_of_mutual_information() -> None:
    random = np.random.default_rng(5)
    groups, topics = random.integers(0, 4, 200), random.integers(0, 5, 200)
    table = np.array([[np.mean((groups == g) & (topics == t)) for t in range(5)] for g in range(4)])
    of_groups, of_topics = table.sum(axis=1), table.sum(axis=0)
    shared = float((table * np.log(table / np.outer(of_groups, of_topics))).sum())
    entropies = [float(-(each * np.log(each)).sum()) for each in (of_groups, of_topics)]
    found = measure([[str(topic) for topic in topics[groups == group]] for group in range(4)])
    assert found.v_measure == pytest.approx(2 * shared / sum(entropies))


@pytest.mark.parametrize("path", sorted(SETS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_set_has_twenty_topics_in_two_languages(path: Path) -> None:
    asked = read_set(path)
    assert len({each.topic for each in asked}) == 20
    assert len(asked) in (120, 200)
    for topic in {each.topic for each in asked}:
        assert len({each.language for each in asked if each.topic == topic} - {""}) == 2


def test_the_handbook_has_enough_questions() -> None:
    assert len({each.text for each in answerable_questions(ROOT / "book_content")}) == ANSWERABLE


async def test_nearly_all_topics_are_on_the_first_page() -> None:
    asked = read_set(SETS / "documentation.txt")
    embedder = GuardedEmbedder(make_local_embedder(MULTILINGUAL))
    gaps = await find_gaps(embedder, [entry(each, number) for number, each in enumerate(asked)])
    await embedder.close()
    found = measure(topics_of(gaps, [each.topic for each in asked]))
    assert found.visible >= 18
    assert found.purity > 0.85
    assert found.completeness > 0.65
