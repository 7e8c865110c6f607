import numpy as np
import pytest

from benchmarks.separation import auroc, logistic


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    found = auroc([0.9, 0.5, 0.5], [0.5, 0.1])
    assert found is not None
    assert found.value == pytest.approx(5 / 6)
    assert found.low < found.value <= found.high <= 1
    assert found == auroc([0.9, 0.5, 0.5], [0.5, 0.1])
    assert auroc([], [0.1]) is None
    assert auroc([0.1], []) is None


def test_logistic_recovers_the_weights() -> None:
    random = np.random.default_rng(2)
    table = random.normal(3.0, 1.0, size=(4_000, 2))
    likely = 1 / (1 + np.exp(-(2 * table[:, 0] - table[:, 1] - 3)))
    truth = (random.random(4_000) < likely).astype(float)
    weights, constant = logistic(table, truth, np.full(4_000, 1 / 4_000))
    assert weights == pytest.approx([2.0, -1.0], abs=0.2)
    assert constant == pytest.approx(-3.0, abs=0.5)


def test_a_constant_column_has_no_weight() -> None:
    table = np.array([[0.1, 0.9], [0.2, 0.9], [0.3, 0.9], [0.4, 0.9]])
    weights, _ = logistic(table, np.array([0.0, 1.0, 0.0, 1.0]), np.full(4, 0.25))
    assert weights[0] > 0
    assert abs(weights[1]) < 1e-6
