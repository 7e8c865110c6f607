import pytest

from lib.intervals import Estimate, estimate, share


def test_an_estimate_is_the_same_each_time() -> None:
    numbers = [0.0, 1.0] * 50
    first = estimate(numbers)
    assert first is not None
    assert first == estimate(numbers)
    assert first.value == 0.5
    # 1.96 standard errors of a coin are 0.098.
    assert 0.08 < first.value - first.low < 0.12
    assert 0.08 < first.high - first.value < 0.12
    assert estimate([]) is None
    assert estimate([1.0]) == Estimate(1, 1, 1)


def test_wilson_s_interval() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = share([1.0] * hits + [0.0] * (n - hits))
        assert found is not None
        assert found.value == pytest.approx(hits / n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_all_the_same_leaves_doubt() -> None:
    sure = share([1.0] * 30)
    assert sure is not None
    assert (sure.value, sure.high) == (1, 1)
    assert 0.85 < sure.low < 0.9
    assert share([]) is None
