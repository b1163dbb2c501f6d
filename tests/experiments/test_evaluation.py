import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from experiments.errors import ExperimentError
from experiments.evaluation import (
    OnnxPolicy,
    Tally,
    _play_chunk,
    attack_nearest,
    play_baselines,
    play_fights,
    random_policy,
)
from experiments.seeds import Purpose


class FakeFights:
    """Fight i lasts i + 1 decisions and restarts; the reward of decision t (from 1) is 10 i + t.

    Observations hold (fight, decision, episode), so a row that is mixed up or counted twice shows.
    """

    def __init__(self, outcomes: list[int]) -> None:
        self.num_envs = len(outcomes)
        self.outcomes = np.array(outcomes, np.int8)
        self.seen: list[np.ndarray] = []

    def _obs(self) -> np.ndarray:
        return np.stack([np.arange(self.num_envs), self.decision, self.episode], axis=1).astype(np.float32)

    def _info(self, outcome: np.ndarray) -> dict[str, Any]:
        return {"action_mask": np.ones((self.num_envs, 10), bool), "outcome": outcome}

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self.decision, self.episode = np.zeros(self.num_envs, int), np.zeros(self.num_envs, int)
        return self._obs(), self._info(np.zeros(self.num_envs, np.int8))

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        restarting = self.decision > np.arange(self.num_envs)  # NEXT_STEP: the step after the end resets
        self.decision = np.where(restarting, 0, self.decision + 1)
        self.episode += restarting
        done = self.decision > np.arange(self.num_envs)
        reward = np.where(restarting, 0.0, 10.0 * np.arange(self.num_envs) + self.decision)
        info = self._info(np.where(done, self.outcomes, 0).astype(np.int8))
        info["reward_terms"] = {"whole": reward, "half": reward / 2}
        return self._obs(), reward, done, np.zeros(self.num_envs, bool), info


def test_only_the_first_episode_of_each_fight_counts() -> None:
    fights, asked = FakeFights([1, -1, 2, 3]), []

    def policy(obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        asked.append(obs.copy())
        return np.zeros(len(obs), np.int64)

    tally = Tally()
    _play_chunk(fights, policy, 0, tally)
    score = tally.score(scripted=False)
    # Rewards: fight i sums 10 i (i + 1) + (1 + .. + i + 1): 1, 20 + 3, 60 + 6, 120 + 10
    assert tally.rewards[0].tolist() == [1.0, 23.0, 66.0, 130.0]
    assert score.average_reward == pytest.approx(55.0)
    assert score.reward_terms == {"whole": pytest.approx(55.0), "half": pytest.approx(27.5)}
    assert score.episode_length == pytest.approx(2.5)
    assert (score.n, score.wins, score.win_rate, score.score) == (4, 1, 0.25, (1 + 1 + 0.5) / 4)
    assert score.outcomes == {"won_kill": 1, "lost_kill": 1, "won_time": 1, "lost_time": 0, "draw": 1}
    # A fight that is over is not asked again: 4 + 3 + 2 + 1 rows, all of episode 0.
    assert [len(rows) for rows in asked] == [4, 3, 2, 1]
    assert all((rows[:, 2] == 0).all() for rows in asked)


def test_evaluation_does_not_depend_on_how_fights_are_cut_into_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = play_fights("aggressive", attack_nearest, 48, 0)
    monkeypatch.setattr("experiments.evaluation.CHUNK", 20)
    assert play_fights("aggressive", attack_nearest, 48, 0) == whole
    assert play_fights("aggressive", attack_nearest, 48, 1) != whole
    assert play_fights("aggressive", attack_nearest, 48, 0, purpose=Purpose.SELECTION) != whole


def test_the_baselines_are_ordered_as_expected() -> None:
    scores = play_baselines("aggressive", 300, 0)
    assert set(scores) == {"random", "mirror", "attack_nearest"}
    assert scores["mirror"].score == pytest.approx(0.5, abs=0.12)  # 4 standard errors at n = 300
    assert scores["mirror"].action_entropy_bits is None
    assert (scores["random"].action_entropy_bits or 0.0) > 1.5
    for score in scores.values():
        assert sum(score.outcomes.values()) == score.n == 300
        assert sum(score.reward_terms.values()) == pytest.approx(score.average_reward, abs=1e-9)


def test_random_is_uniform_over_the_legal_actions_and_never_illegal() -> None:
    mask = np.zeros((30_000, 10), bool)
    mask[:, [0, 3, 9]] = True
    counts = np.bincount(random_policy(1)(np.zeros((30_000, 64)), mask), minlength=10)
    assert counts[[0, 3, 9]].sum() == 30_000
    # Each expects 10,000; five standard deviations are 5 * sqrt(30,000 * 1/3 * 2/3) = 408
    assert np.abs(counts[[0, 3, 9]] - 10_000).max() < 408


def test_attack_nearest_holds_where_it_may_not_attack() -> None:
    mask = np.ones((2, 10), bool)
    mask[1, 1] = False
    assert attack_nearest(np.zeros((2, 64)), mask).tolist() == [1, 0]


def test_no_fights_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        play_fights("tank", None, 0, 0)


def _argmax_file(path: Path) -> None:
    """An ONNX file that chooses the legal action with the largest of the first ten features."""
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["obs", "zero", "ten", "one"], ["ten_values"]),
            helper.make_node("Sub", ["action_mask", "unit"], ["closed"]),
            helper.make_node("Mul", ["closed", "large"], ["penalty"]),
            helper.make_node("Add", ["ten_values", "penalty"], ["q_values"]),
            helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0),
        ],
        "argmax",
        [
            helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["n", 64]),
            helper.make_tensor_value_info("action_mask", TensorProto.FLOAT, ["n", 10]),
        ],
        [
            helper.make_tensor_value_info("q_values", TensorProto.FLOAT, ["n", 10]),
            helper.make_tensor_value_info("action", TensorProto.INT64, ["n"]),
        ],
        [
            helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
            helper.make_tensor("ten", TensorProto.INT64, [1], [10]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("unit", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("large", TensorProto.FLOAT, [], [1e4]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))


def test_an_onnx_file_plays_greedily_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    _argmax_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    obs = np.zeros((2, 64), np.float32)
    obs[:, 7], obs[:, 4] = 0.9, 0.5
    mask = np.ones((2, 10), bool)
    mask[1, 7] = False
    assert OnnxPolicy(path, digest)(obs, mask).tolist() == [7, 4]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ExperimentError, match="was changed"):
        OnnxPolicy(path, digest)
