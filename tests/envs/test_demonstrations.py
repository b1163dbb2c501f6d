"""Demonstrations: the script's fights as rows, their file and their split."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from envs import demonstrations
from envs.combat import CombatVectorEnv
from envs.configuration import ConfigError
from envs.demonstrations import Demonstrations, demonstrate, load


def equal(a: Demonstrations, b: Demonstrations) -> bool:
    """Bit for bit, types included."""
    for field in fields(a):
        mine, its = getattr(a, field.name), getattr(b, field.name)
        if type(mine) is not type(its):
            return False
        if not isinstance(mine, np.ndarray):
            if mine != its:
                return False
        elif mine.dtype != its.dtype or mine.shape != its.shape or mine.tobytes() != its.tobytes():
            return False
    return True


def test_same_seed_same_bits_however_the_fights_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    demos = demonstrate("defensive", fights=8, seed=3)
    monkeypatch.setattr(demonstrations, "CHUNK", 3)
    assert equal(demos, demonstrate("defensive", fights=8, seed=3, threads=2))
    assert not equal(demos, demonstrate("defensive", fights=8, seed=4))


def test_rows_are_the_fights_of_the_traditional_ai() -> None:
    # 1v1, classic on both sides: exactly the mirror that the environment plays with learner="script".
    demos = demonstrate("ranged", scenario="1v1", teacher="classic", fights=5, seed=9)
    env = CombatVectorEnv(5, "ranged", "1v1", learner="script")
    obs, info = env.reset(seed=9)
    for t in range(int(np.bincount(demos.fights).min())):
        rows = np.searchsorted(demos.fights, np.arange(5)) + t
        assert (demos.obs[rows] == obs).all()
        assert demos.action_mask is not None and (demos.action_mask[rows] == info["action_mask"]).all()
        obs, rewards, terminated, _, info = env.step(np.zeros(5))
        assert (demos.rewards[rows] == rewards.astype(np.float32)).all()
    assert terminated.any()  # the shortest fight ended with its last row


def test_rows_and_types() -> None:
    demos = demonstrate("mage", head="skill", fights=4, seed=1)
    rows = len(demos.obs)
    assert demos.obs.shape == (rows, 64 + 7 * 15 + 7) and demos.obs.dtype == np.float32
    assert demos.action_mask is not None and demos.action_mask.shape == (rows, 70)
    assert demos.actions.dtype == np.int64 and demos.rewards.dtype == np.float32
    assert demos.fights.tolist() == sorted(demos.fights) and set(demos.fights) == {0, 1, 2, 3}
    labelled = np.flatnonzero(demos.valid)
    assert demos.action_mask[labelled, demos.actions[labelled]].all()
    assert (demos.head, demos.scenario, demos.opponent, demos.teacher) == (
        "skill",
        "1v1",
        "classic",
        "veteran",
    )


def test_control_labels_are_five_numbers_without_a_mask() -> None:
    demos = demonstrate("mage", head="control", fights=4, seed=1)
    assert demos.action_mask is None and demos.choice.all()
    assert demos.actions.shape == (len(demos.obs), 5) and demos.actions.dtype == np.float32
    assert np.abs(demos.actions).max() < 1.0  # within what tanh reaches


@pytest.mark.parametrize("head", ["combat", "control"])
def test_a_saved_file_is_what_was_saved(head: str, tmp_path: Path) -> None:
    demos = demonstrate("aggressive", head=head, fights=2, seed=1)
    demos.save(tmp_path / "demos.npz")
    assert equal(demos, load(tmp_path / "demos.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["demos.npz"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", obs=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz: no demonstrations: actions, .* missing"):
        load(tmp_path / "other.npz")


def test_a_fight_is_on_one_side_of_the_split() -> None:
    demos = demonstrate("aggressive", fights=60, seed=2)
    train, validation = demos.split(0.25)
    first, second = set(train.fights.tolist()), set(validation.fights.tolist())
    assert not first & second and first | second == set(range(60))
    # 60 fights, a quarter expected: 15 with a standard deviation of sqrt(60 x 1/4 x 3/4) = 3.4.
    assert 5 <= len(second) <= 25
    assert len(train.obs) + len(validation.obs) == len(demos.obs)
    whole = np.concatenate([train.rewards, validation.rewards])
    assert np.sort(whole).tolist() == np.sort(demos.rewards).tolist()


def test_few_decisions_have_no_label() -> None:
    demos = demonstrate("tank", fights=12, seed=2)
    assert demos.valid[demos.choice].mean() > 0.9
    assert len(np.unique(demos.actions[demos.valid])) > 5


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="no demonstrations for head 'pack'; a pack's free order"):
        demonstrate("aggressive", head="pack")
    with pytest.raises(ConfigError, match="unknown teacher 'passive'"):
        demonstrate("aggressive", teacher="passive")
    with pytest.raises(ValueError, match="0 fights cannot be played"):
        demonstrate("aggressive", fights=0)
