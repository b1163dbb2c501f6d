import numpy as np

from experiments.evaluation import attack_nearest
from experiments.recording import record_steps


def test_recorded_steps_are_whole_rows_from_many_moments_and_repeat() -> None:
    steps = record_steps("aggressive", attack_nearest, 0, steps=200)
    assert steps["obs"].shape == (200, 64) and steps["obs"].dtype == np.float32
    assert steps["action_mask"].shape == (200, 10) and steps["action_mask"].any(axis=1).all()
    time_left = np.unique(steps["obs"][:, 62])  # feature 62 is the fight's time
    assert len(time_left) > 20
    again = record_steps("aggressive", attack_nearest, 0, steps=200)
    assert np.array_equal(again["obs"], steps["obs"])
    assert not np.array_equal(record_steps("aggressive", attack_nearest, 1)["obs"], steps["obs"])
