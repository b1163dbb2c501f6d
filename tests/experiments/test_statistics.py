import math

import pytest

from experiments.statistics import entropy_bits, mean_interval, percentile, t_quantile, wilson_interval


def test_wilson_interval_of_a_worked_example() -> None:
    # p = 0.5, n = 100, z = 1.96: z² = 3.8416, shrink = 1.038416,
    # centre = 0.519208 / 1.038416 = 0.5, half = 1.96 * sqrt(0.0025 + 0.00009604) / 1.038416 = 0.096170
    low, high = wilson_interval(50, 100, z=1.96)
    assert low == pytest.approx(0.403830, abs=2e-6)
    assert high == pytest.approx(0.596170, abs=2e-6)


def test_the_gate_needs_about_74_percent_at_500_fights_and_73_at_1000() -> None:
    def fewest_wins(n: int) -> int:
        return next(w for w in range(n + 1) if wilson_interval(w, n)[0] > 0.70)

    assert fewest_wins(500) / 500 == pytest.approx(0.74, abs=0.005)
    assert fewest_wins(1000) / 1000 == pytest.approx(0.73, abs=0.005)


def test_bounds_at_the_ends_are_exact_and_nothing_known_is_everything() -> None:
    # All of 10 won: low = 1 / (1 + z²/n) = 1 / 1.3841459
    assert wilson_interval(10, 10) == (pytest.approx(0.722467, abs=1e-6), 1.0)
    assert wilson_interval(0, 10) == (0.0, pytest.approx(1 - 0.722467, abs=1e-6))
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("wins", "n"), [(-1, 10), (11, 10), (0, -1)])
def test_impossible_counts_are_refused(wins: int, n: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        wilson_interval(wins, n)


def test_entropy_in_bits() -> None:
    assert entropy_bits([5, 5, 5, 5]) == pytest.approx(2.0)
    assert entropy_bits([7, 0, 0]) == 0.0
    assert entropy_bits([0, 0]) == 0.0
    # -(3/4 log2 3/4 + 1/4 log2 1/4) = 0.311278 + 0.5
    assert entropy_bits([3, 1]) == pytest.approx(0.811278, abs=1e-6)


def test_nearest_rank_percentile() -> None:
    values = [float(v) for v in range(20, 0, -1)]  # 1 .. 20
    assert percentile(values, 0.95) == 19.0  # rank ceil(0.95 * 20) = 19
    assert percentile(values, 0.5) == 10.0
    assert percentile([4.0], 0.99) == 4.0
    with pytest.raises(ValueError):
        percentile([], 0.5)


def test_a_mean_of_few_seeds_has_students_interval() -> None:
    # 1, 2, 3: mean 2, s = 1, t(2) = 4.3027, half width 4.3027/√3 = 2.484
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, -0.484, 4.484), abs=1e-3)
    assert mean_interval([5.0]) == (5.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_students_quantile_agrees_with_the_table_and_ends_in_the_normal_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 7, 30, 31, 60, 1000):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)
