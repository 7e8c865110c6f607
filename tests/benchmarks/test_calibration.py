import pytest

from benchmarks.calibration import logistic_curve


def test_curve_gives_both_classes_equal_weight() -> None:
    low, high = [0.1, 0.2, 0.3, 0.6], [0.4, 0.5, 0.7, 0.8, 0.2]
    steepness, middle = logistic_curve(high, low)
    assert steepness > 0
    assert 0.3 < middle < 0.5
    # Ten times as many of one class change nothing.
    assert logistic_curve(high, low * 10) == pytest.approx((steepness, middle), rel=0.05)
    # Doubling the values halves the steepness.
    twice = logistic_curve([2 * x for x in high], [2 * x for x in low])
    assert twice == pytest.approx((steepness / 2, middle * 2))


def test_curve_is_finite_without_overlap() -> None:
    steepness, middle = logistic_curve([0.8, 0.9], [0.1, 0.2])
    assert 5 < steepness < 100
    assert middle == pytest.approx(0.5)
