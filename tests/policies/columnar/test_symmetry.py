"""Which symmetries a run gets: none, those of its world, or a named refusal."""

from __future__ import annotations

import pytest

from envs.configuration import ConfigError
from envs.symmetries import Symmetries
from policies.columnar.symmetry import symmetries_of
from policies.profiles import load_run, resolve_run
from tests.policies.tiny_runs import tiny_run


def test_none_if_not_asked_for() -> None:
    assert symmetries_of(load_run(tiny_run("dqn"))) is None


def test_of_the_runs_world() -> None:
    run = resolve_run(
        "combat_dqn",
        {"id": "MLMonster/Combat-v0", "archetype": "mage"},
        overrides={"training": {"symmetries": True}},
    )
    assert isinstance(symmetries_of(load_run(run)), Symmetries)


def test_unknown_worlds_are_refused() -> None:
    run = tiny_run("dqn", training={"symmetries": True})
    with pytest.raises(ConfigError, match=r"symmetries of 'tests.policies.fake_env:counting' are not known"):
        symmetries_of(load_run(run))
