"""Grouping questions by meaning, with the real embedding model."""

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lib.embedding_e5
from lib.embedding import Vectors, l2_normalise
from lib.gap_groups import (
    EXAMPLES,
    Calibration,
    Meanings,
    _Labels,
    assign,
    calibrate,
    group_means,
    link_average,
)


def embed(texts: Sequence[str]) -> Vectors:
    model = lib.embedding_e5.load_e5()
    return np.array([model.question(text) for text in texts])


@functools.cache
def calibration() -> Calibration:
    return calibrate(embed(EXAMPLES))


def group(texts: Sequence[str], languages: Sequence[str] | None = None) -> list[set[str]]:
    vectors, spoken = embed(texts), languages or ["english"] * len(texts)
    fitted = Meanings(calibration(), vectors, texts, spoken)
    meanings = fitted.of(vectors, texts, spoken)
    labels = link_average(meanings @ meanings.T, fitted.near)
    return [
        {text for text, each in zip(texts, labels, strict=True) if each == label}
        for label in range(labels.max() + 1)
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["dark mode", "Is there a dark theme?"],
        ["Can I rent a kayak?", "Do you rent out kayaks?", "kayak rental"],
        ["How do I install it on Windows?", "Wie installiere ich es unter Windows?"],
        [f"Can I rent a {colour} kayak?" for colour in "red blue green black pink".split()] * 8,
    ],
)
def test_one_topic_is_one_group(texts: list[str]) -> None:
    """Also a log about nothing else, whose mean is the topic."""
    languages = ["german" if text.startswith("Wie") else "english" for text in texts]
    assert group(texts, languages) == [set(texts)]


@pytest.mark.parametrize(
    "texts",
    [
        ["Is there a dark theme?"],
        ["dark mode", "pdf export"],
        ["dark mode", "pdf export", "keyboard shortcuts", "webhook signature"],
        ["Is there a dark theme?", "Is there a mobile app?", "Is there a Helm chart?"],
    ],
)
def test_the_form_of_a_question_groups_nothing(texts: list[str]) -> None:
    assert group(texts) == [{text} for text in texts]


def brute_force(similarity: Vectors, near: float) -> _Labels:
    """Average linkage by its definition."""
    groups = [[row] for row in range(len(similarity))]
    while len(groups) > 1:
        pairs = [
            (float(similarity[np.ix_(one, other)].mean()), place, later)
            for place, one in enumerate(groups)
            for later, other in enumerate(groups[:place])
        ]
        best, one, other = max(pairs)
        if best < near:
            break
        groups[other] += groups.pop(one)
    labels = np.empty(len(similarity), np.intp)
    for number, rows in enumerate(sorted(groups, key=min)):
        labels[rows] = number
    return labels


@settings(max_examples=40)
@given(st.integers(1, 20), st.floats(-0.5, 0.9), st.integers(0, 1_000))
def test_average_linkage_is_that_of_its_definition(size: int, near: float, seed: int) -> None:
    rows = l2_normalise(np.random.default_rng(seed).normal(size=(size, 4)).astype(np.float32))
    expected = brute_force((rows @ rows.T).astype(np.float64), near)
    assert link_average(rows @ rows.T, near).tolist() == expected.tolist()


def test_a_row_joins_the_group_with_the_largest_average_similarity() -> None:
    random = np.random.default_rng(3)
    rows = l2_normalise(random.normal(size=(40, 5)).astype(np.float32))
    labels = np.arange(30) % 7
    found = assign(rows[30:], group_means(rows[:30], labels), 0.2)
    for row, group_number in zip(rows[30:], found, strict=True):
        averages = [float((rows[:30][labels == each] @ row).mean()) for each in range(7)]
        expected = int(np.argmax(averages)) if max(averages) >= 0.2 else -1
        assert group_number == expected
    assert -1 in found


def test_the_language_and_the_form_are_removed() -> None:
    """Vectors that tell nothing else than language and form have no similar meanings."""
    random = np.random.default_rng(4)
    texts = [f"What is number {n}?" if n % 2 else f"number {n}" for n in range(200)]
    languages = ["english" if n % 3 else "german" for n in range(200)]
    effects = random.normal(size=(2, 100))
    rows = random.normal(size=(200, 100))
    for n in range(200):
        rows[n] += 3 * effects[0] * (n % 2) + 3 * effects[1] * (n % 3 > 0)
    vectors = l2_normalise(rows.astype(np.float32))
    zeros = np.zeros((4, 100), np.float32)
    none = Calibration(zeros[0], zeros[:, 0], zeros, 0.1)
    meanings = Meanings(none, vectors, texts, languages).of(vectors, texts, languages)
    different = ~np.eye(200, dtype=bool)
    assert (vectors @ vectors.T)[different].mean() > 0.3
    assert abs((meanings @ meanings.T)[different].mean()) < 0.05
