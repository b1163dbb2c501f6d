import numpy as np
import pytest

from experiments.statistics import bonferroni_z
from experiments.stopping import Looks, looks_of


def test_looks_are_at_the_least_the_half_and_the_most() -> None:
    assert looks_of(2000, 500, 0.7).fights == (500, 1000, 2000)
    assert looks_of(1000, 500, 0.7).fights == (500, 1000)
    assert looks_of(40, 500, 0.7).fights == (40,)


def test_the_interval_is_widened_for_the_looks() -> None:
    # 1 - 0.05 / 6 = 0.99167, whose normal quantile is 2.394
    assert bonferroni_z(3) == pytest.approx(2.394, abs=1e-3)
    assert bonferroni_z(1) == pytest.approx(1.95996, abs=1e-4)


def test_clear_cases_end_and_close_ones_go_on() -> None:
    looks = looks_of(2000, 500, 0.7, rivals=(0.55,))
    assert looks.clear(450, 500)  # 0.90
    assert looks.clear(250, 500)  # 0.50
    # 0.72 of 500: standard error 0.02, so the bound is near 0.67
    assert not looks.clear(360, 500)
    assert not Looks((500, 1000), 0.7, rivals=(0.9,)).clear(450, 500)  # the best baseline is in the way


def test_no_more_than_five_in_a_hundred_minds_at_the_target_pass() -> None:
    rng = np.random.default_rng(0)
    looks = looks_of(2000, 500, 0.7)
    passed = 0
    for _ in range(2000):
        won = np.cumsum(rng.random(2000) < 0.7)
        for n in looks.fights:
            wins = int(won[n - 1])
            if looks.clear(wins, n):
                passed += wins / n > 0.7
                break
    assert passed / 2000 < 0.025 + 0.01
