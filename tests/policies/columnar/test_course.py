"""The curriculum in training: promotions between rounds, fights broken off cleanly, exact resumption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from envs import curriculum
from envs.configuration import ConfigError
from envs.curriculum import CurriculumSettings
from policies.columnar.course import Course, level_env
from policies.columnar.dqn import ColumnarDQNConfig
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.episodes import EpisodeLog
from policies.columnar.rollout import Rollout
from policies.profiles import load_run, resolve_run
from policies.settings import DQNRun
from policies.training import Trainer, build_trainer
from tests.policies.tiny_runs import equal, steady, weights

FIGHTS = 8
TRAINING = {
    "epochs": 8, "num_envs": FIGHTS, "rollout_length": 24, "rounds_per_epoch": 4, "updates_per_round": 2,
    "learning_starts": 100, "buffer_capacity": 2000, "batch_size": 32,
}  # fmt: skip
# Any three finished fights lead to the next level.
EASY = {"enabled": True, "level_thresholds": [-3e6, -2e6, -1e6]}


@pytest.fixture(autouse=True)
def quick_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = dataclasses.replace(curriculum.rules(), window=3, win_rate=0.0)
    monkeypatch.setattr(curriculum, "rules", lambda: rules)


def tiny(model_type: str = "combat_dqn", head: str = "Combat", **settings: Any) -> dict[str, Any]:
    return resolve_run(
        model_type,
        {"id": f"MLMonster/{head}-v0", "archetype": "mage", "opponent": "classic"},
        curriculum=EASY,
        overrides={"model": {"hidden_dims": [8]}, "training": TRAINING},
        **settings,
    )


def finished(log: EpisodeLog, *episodes: tuple[float, bool]) -> None:
    """Let episodes of one step end, one after the other."""
    for reward, won in episodes:
        done, valid = np.ones(1, bool), np.ones(1, bool)
        log.record(np.array([reward]), done, valid, {"outcome": np.array([1 if won else -1], np.int8)})


def test_a_level_takes_the_place_of_scenario_and_opponent() -> None:
    env = {"id": "x", "archetype": "mage", "scenario": "2v2", "opponent": "classic", "reward": {"a": 1}}
    assert level_env(env, 3) == {"id": "x", "archetype": "mage", "reward": {"a": 1}, "level": 3}
    assert level_env(env, None) == env


def test_episodes_of_all_runners_count_once_and_a_promotion_truncates_what_runs() -> None:
    course = Course(CurriculumSettings(True, level_thresholds=(10.0, 20.0)))
    logs, rollout = [EpisodeLog(1, 400), EpisodeLog(1, 400)], Rollout.empty(3, 2, 4)
    rollout.valid[:] = [[True, True], [True, False], [True, True]]
    rollout.terminated[2, 1] = True
    finished(logs[0], (11.0, True))
    finished(logs[1], (9.0, False))
    assert not course.follow(logs, rollout) and course.curriculum.episodes == 2
    assert not course.follow(logs, rollout) and course.curriculum.episodes == 2  # nothing new
    # 11, 9 and 10 are 10 on average: promoted. The fourth was played on the old level and does not count.
    finished(logs[0], (10.0, True))
    finished(logs[1], (99.0, True))
    assert course.follow(logs, rollout) and course.level == 2 and course.curriculum.episodes == 3
    # An autoreset row is no step of an episode, and what has ended by itself cannot be cut.
    assert rollout.truncated.tolist() == [[False, True], [False, False], [False, False]]
    assert course.metrics() == {"curriculum_level": 2.0, "curriculum_share": 0.5}
    again = Course(CurriculumSettings(True, level_thresholds=(10.0, 20.0)))
    again.set_state(course.get_state())
    assert again.get_state() == course.get_state()
    assert not again.follow(logs, rollout)


def test_a_new_level_begins_with_an_autoreset_row_and_forgets_what_was_broken_off() -> None:
    runner = ColumnarEnvRunner(config=ColumnarDQNConfig.of_run(cast(DQNRun, load_run(tiny()))))
    before = runner.sample(level=1)
    last, steps = before.obs[:, -1].copy(), runner.env_steps
    assert runner.env.unwrapped.level == 1
    after = runner.sample(level=2)
    assert runner.env.unwrapped.level == 2 and runner.env.unwrapped.opponent == "level 2"
    # The value of a cut row looks at what was seen last, which therefore waits in the first row.
    assert np.array_equal(after.obs[:, 0], last)
    assert not after.valid[:, 0].any() and after.valid[:, 1:].any()
    assert (after.rewards[:, 0] == 0.0).all() and not after.terminated[:, 0].any()
    assert runner.env_steps == steps + int(after.valid.sum())
    # As long as fights of the new level alone: the old ones' steps are gone.
    running = runner.episodes.get_state()["length"]
    assert running.max() <= after.time - 1


@pytest.mark.ray
@pytest.mark.parametrize(("model_type", "head"), [("combat_dqn", "Combat"), ("skill_dqn", "Skill")])
def test_a_resumed_run_keeps_its_level_and_equals_one_never_stopped(
    tmp_path: Path, model_type: str, head: str
) -> None:
    run = tiny(model_type, head, seed=3)
    run["training"]["warm_start_fights"] = 0
    made = [cast(Trainer, build_trainer(run)) for _ in range(2)]
    whole, resumed = made
    try:
        levels: list[float] = []
        while not levels or levels[-1] < 2:
            levels.append(whole.train_epoch()["curriculum_level"])
            assert len(levels) < 8
        folder = whole.save(tmp_path / "checkpoint")
        rest = [steady(whole.train_epoch()) for _ in range(4)]
        resumed.restore(folder)
        again = [steady(resumed.train_epoch()) for _ in range(4)]
    finally:
        for trainer in made:
            trainer.stop()
    assert again == rest and equal(weights(whole), weights(resumed))
    assert rest[-1]["curriculum_level"] == 3.0  # promoted after the resumption too


def test_lanes_and_minds_without_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="stock"):
        tiny(sampler="stock")
    with pytest.raises(ConfigError, match="pack keeps its own"):
        resolve_run("team_coordination", {"factory": "policies.columnar.pack_rows:make"}, curriculum=EASY)
