from typing import Any

import pytest

from experiments.learning_curves import Curve, Gain, Paired


def curve(seed: int, *scores: float, step: float = 10.0) -> Curve:
    return Curve(seed, f"run-{seed}", tuple(step * (k + 1) for k in range(len(scores))), scores)


def test_a_curve_is_read_from_the_epochs_that_were_measured() -> None:
    history: list[dict[str, Any]] = [
        {"epoch": 1, "env_steps": 100, "selection_win_rate": None},
        {"epoch": 2, "env_steps": 200, "selection_win_rate": 0.25},
        {"epoch": 3, "env_steps": 300, "selection_win_rate": 0.75},
    ]
    read = Curve.of_history(history, seed=4, run_id="r", score="selection_win_rate", steps="env_steps")
    assert read == Curve(4, "r", (200.0, 300.0), (0.25, 0.75))
    assert read.area == 0.5 and read.best == 0.75
    assert read.reached(0.7) == 300.0 and read.reached(0.8) is None
    with pytest.raises(ValueError, match="no 'val_skill'"):
        Curve.of_history(history, seed=4, run_id="r", score="val_skill", steps="epoch")


def test_gains_are_differences_of_pairs() -> None:
    # Seeds differ by far more than arms: only the pairs show it.
    scratch = [curve(1, 0.0, 0.2, 0.4), curve(2, 0.4, 0.6, 0.8), curve(3, 0.5, 0.7, 0.9)]
    transfer = [curve(1, 0.1, 0.3, 0.5), curve(2, 0.5, 0.8, 0.8), curve(3, 0.7, 0.8, 0.9)]
    paired = Paired.of(scratch, transfer, 0.7)
    gain = paired.area_gain
    # Differences 0.1, 0.1, 0.1; t(2) = 4.3027 times a spread of nothing.
    assert gain.mean == pytest.approx(0.1) and gain.low == pytest.approx(0.1) and gain.excludes_zero
    # To 0.7: never and never, 30 and 20, 20 and 10: saved 0, 10, 10 of which the mean is 20/3.
    saved = paired.steps_saved
    assert saved.mean == pytest.approx(20 / 3)
    # s² = (44.4 + 11.1 + 11.1)/2 = 33.3; 4.3027·√(33.3/3) = 14.34
    assert saved.low == pytest.approx(20 / 3 - 14.342, abs=1e-2) and not saved.excludes_zero
    assert paired.unreached == (1, 1)


def test_a_run_that_stopped_early_stays_with_its_best_weights() -> None:
    paired = Paired.of([curve(1, 0.2, 0.6, 0.5)], [curve(1, 0.2, 0.4, 0.6, 0.8, 0.7)], 0.7)
    assert paired.baseline[0].scores == (0.2, 0.6, 0.5, 0.6, 0.6)
    assert paired.baseline[0].steps == paired.treated[0].steps


def test_one_seed_has_no_interval() -> None:
    gain = Gain.of([0.3])
    assert (gain.mean, gain.low, gain.high, gain.n) == (0.3, None, None, 1) and not gain.excludes_zero


def test_arms_of_other_seeds_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        Paired.of([curve(1, 0.1)], [curve(2, 0.1)], 0.7)
    with pytest.raises(ValueError, match="no pairs"):
        Paired.of([], [], 0.7)
