"""A user's own archetypes: from a file, from a parent's environment, from a run's definitions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs import archetypes
from envs.combat import CombatVectorEnv
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES
from envs.contracts import layout as f

ROOT = Path(__file__).resolve().parents[2]
MINE = """\
ant:
  base: ranged
  stats: {hp: 1234, def: 7}
  partners: [bee, tank]
  skills:
    - {name: sting, kind: strike, magic: false, effect: 111, range: 4, cost: 1, cast_ms: 0, cooldown_ms: 1000, radius: 0, duration_ms: 0, chance: 10}
bee:
  base: support
"""  # noqa: E501


@pytest.fixture
def mine(tmp_path: Path, own_archetypes: None) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_what_an_entry_leaves_out_is_its_base_s(mine: Path) -> None:
    assert archetypes.known() == ARCHETYPES
    assert archetypes.use_file(mine) == ("ant", "bee")
    assert archetypes.known() == (*ARCHETYPES, "ant", "bee")
    ant, ranged = archetypes.load("ant"), archetypes.load("ranged")
    assert (ant.name, ant.base, ant.stats.hp, ant.stats.def_) == ("ant", "ranged", 1234, 7)
    assert ant.stats.atk == ranged.stats.atk and ant.reward == ranged.reward and ranged.base == "ranged"
    assert ant.team("3v3") == ("ant", "bee", "tank")
    rows = archetypes.skill_rows(ant)
    assert rows.shape == (6, f.NUM_SKILL_FIELDS + 1) and rows[0, f.EFFECT] == 111 and (rows[1:] == 0).all()


def test_another_file_takes_the_place_of_the_first(mine: Path) -> None:
    archetypes.use_file(mine)
    assert archetypes.load("ant").stats.hp == 1234
    mine.write_text("ant: {base: tank, stats: {hp: 99}}\n", encoding="utf-8")
    archetypes.use_file(mine)
    assert archetypes.load("ant").stats.hp == 99 and archetypes.known() == (*ARCHETYPES, "ant")


def test_a_broken_file_leaves_the_old_one_in_use(mine: Path) -> None:
    archetypes.use_file(mine)
    other = mine.with_name("other.yaml")
    other.write_text("ant: {base: tank, stats: {hp: 0}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"other\.yaml: ant: key 'stats.hp' is 0"):
        archetypes.use_file(other)
    assert archetypes.load("ant").stats.hp == 1234


def test_unknown_names_suggest_the_nearest(mine: Path) -> None:
    archetypes.use_file(mine)
    with pytest.raises(ConfigError, match="unknown archetype 'ants'; did you mean 'ant'"):
        archetypes.load("ants")


def test_definitions_are_complete_and_plain(mine: Path) -> None:
    archetypes.use_file(mine)
    assert archetypes.definitions(["tank", "mage"]) == {}
    found = archetypes.definitions(["ant"])
    assert list(found) == ["ant", "bee"]  # its partner of that file comes along
    assert json.loads(json.dumps(found)) == found
    ant = archetypes.load("ant")
    mine.write_text("ant: {base: tank}\n", encoding="utf-8")
    archetypes.use_file(mine)
    archetypes.define(json.loads(json.dumps(found)))
    assert archetypes.load("ant") == ant  # what a run carries along stands above the file
    with pytest.raises(ConfigError, match="'tank' is a built-in name"):
        archetypes.define({"tank": found["ant"]})


def test_child_processes_know_the_names(mine: Path) -> None:
    archetypes.use_file(mine)
    code = (
        "from envs import archetypes as a; print(a.load('ant').stats.hp, a.known()[-1], a.load('tank').base)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1234", "bee", "tank"]
    mine.unlink()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "MONSTER_ARCHETYPES: " in done.stderr and "no such file" in done.stderr


def test_they_fight_and_are_seen_as_their_base(mine: Path) -> None:
    archetypes.use_file(mine)
    env = CombatVectorEnv(3, "ant", "2v2", "classic")
    env.reset(seed=1)
    for _ in range(5):
        obs, reward, _, _, _ = env.step(np.zeros(3, np.int64))
    view = env.world_view(0)
    assert [ARCHETYPES[a] for a in view.units[:, f.ARCHETYPE]] == ["ranged", "support"] * 2
    assert view.units[0, f.MAX_HP] == 1234 and view.to_json()["units"][0]["archetype"] == "ranged"
    assert np.isfinite(obs).all() and np.isfinite(reward).all()
    env.close()
