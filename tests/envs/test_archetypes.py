"""The six archetypes: the numbers of the specification, and errors that name file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envs import archetypes
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES
from envs.contracts import layout as f
from envs.rewards import RewardLedger

# SPEC 2: effective weights, individual and team factor included; learning rate, noise, reward scale.
WEIGHTS: dict[str, dict[str, float]] = {
    "aggressive": {"damage_dealt": 2.0, "kill": 100, "damage_taken": -0.5, "death": -50},
    "defensive": {
        "survival_time": 1.0, "damage_blocked": 1.5, "ally_protected": 20, "survival_bonus": 100,
        "win": 100,  # our addition
    },
    "support": {
        "healing_done": 0.6, "effective_healing": 1.2, "buff_applied": 4.5, "ally_death": -15, "team": 0.7,
    },
    "mage": {
        "spell_damage": 3.0, "spell_kill": 80, "spell_kill_bonus": 40, "optimal_distance": 10,
        "mana_efficiency": 0.5,
    },
    "tank": {"aggro": 4.5, "damage_absorbed": 0.6, "ally_death": -24, "survival_bonus": 45, "team": 0.7},
    "ranged": {
        "sustained_damage": 1.5, "optimal_distance": 15, "kiting": 8, "damage_taken": -1.2, "win": 100,
    },
}  # fmt: skip
TRAINING: dict[str, tuple[float | None, float | None, float | None]] = {
    "aggressive": (4e-4, 0.10, 1.5),
    "defensive": (2e-4, 0.05, 1.2),
    "support": (None, None, None),
    "mage": (3.5e-4, 0.12, None),
    "tank": (None, None, None),
    "ranged": (3e-4, 0.10, None),
}


@pytest.mark.parametrize("name", ARCHETYPES)
def test_weights_and_training_parameters_of_the_specification(name: str) -> None:
    config = archetypes.load(name)
    assert RewardLedger(config, 1).weights == pytest.approx(WEIGHTS[name])
    training = config.training
    assert (training.learning_rate, training.exploration_noise, training.reward_scale) == TRAINING[name]


def test_preferred_distances_of_the_specification() -> None:
    assert archetypes.load("mage").preferred_distance == (5, 10)
    assert archetypes.load("ranged").preferred_distance == (7, 12)


@pytest.mark.parametrize("name", ARCHETYPES)
def test_every_team_size_has_its_partners(name: str) -> None:
    config = archetypes.load(name)
    for size in range(1, 6):
        team = config.team(f"{size}v{size}")
        assert len(team) == size and team[0] == name and set(team) <= set(ARCHETYPES)


def test_skill_table() -> None:
    table = archetypes.skill_table()
    assert table.shape == (6, 6, f.NUM_SKILL_FIELDS + 1)
    for row, name in enumerate(ARCHETYPES):
        skills = archetypes.load(name).skills
        for slot, skill in enumerate(skills):
            cells = table[row, slot]
            assert f.SKILL_KINDS[cells[f.KIND]] == skill.kind and cells[f.REACH] == skill.range
            assert cells[f.COST] == skill.cost and cells[-1] == skill.chance
        assert (table[row, len(skills) :] == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0, 0] = 1


def test_every_skill_kind_is_someone_s() -> None:
    used = {skill.kind for name in ARCHETYPES for skill in archetypes.load(name).skills}
    assert used == set(f.SKILL_KINDS[1:])


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="unknown archetype 'tnk'; did you mean 'tank'"):
        archetypes.load("tnk")
    with pytest.raises(ConfigError, match="unknown scenario '6v6'; one of 1v1, 2v2, 3v3, 4v4, 5v5"):
        archetypes.load("tank").team("6v6")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  atk:", "  atkk:", "tank.yaml: unknown key 'stats.atkk'; did you mean 'atk'"),
        ("scenario: 3v3", "scenario: 3x3", "tank.yaml: scenario: unknown scenario '3x3'; one of 1v1"),
        ("kind: taunt", "kind: tount", "tank.yaml: skills[0]: kind: unknown skill kind 'tount'"),
        ("partners: [mage", "partners: [wizard", "tank.yaml: partners: unknown archetype 'wizard'"),
        ("  range: 1", "  range: 0", "tank.yaml: key 'stats.range' is 0; it must be at least 1"),
    ],
)
def test_a_broken_file_is_one_line_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    text = (archetypes.DATA / "archetypes" / "tank.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "archetypes").mkdir()
    (tmp_path / "archetypes" / "tank.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(archetypes, "DATA", tmp_path)
    load: Any = archetypes.load
    with pytest.raises(ConfigError) as raised:
        load.__wrapped__("tank")  # past the cache
    assert message in str(raised.value) and "\n" not in str(raised.value)
