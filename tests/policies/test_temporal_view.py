"""The temporal mind is asked in service what it was taught on: views give the inputs of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from envs.contracts import layout as f
from envs.perception.labels import DEEDS
from envs.perception.sights import record_sights
from envs.simulation import state as s
from envs.simulation.world import World
from policies.perception.temporal import TemporalTask, decisions
from policies.temporal_transformer import TemporalTransformer
from policies.temporal_view import temporal_inputs

TEAMS = (("mage", "tank", "ranged"), ("support", "aggressive", "mage"))
ARGUMENTS: dict[str, Any] = {"seed": 5, "styles": (s.STYLES, s.STYLES)}
FIGHTS = 6


def test_views_give_the_inputs_of_the_rows() -> None:
    rows = TemporalTask().rows(record_sights(FIGHTS, TEAMS, **ARGUMENTS), stride=1)
    taught = decisions({name: torch.from_numpy(values) for name, values in rows.items()})
    world = World(FIGHTS, TEAMS, **ARGUMENTS)
    history = [[world.view(fight)] for fight in range(FIGHTS)]
    done = set()
    for when in range(45):
        for fight in np.flatnonzero(when < rows["length"]).tolist():
            asked = temporal_inputs(history[fight], 0)
            for name, values in asked.items():
                assert values.dtype == np.float32
                # Rows hold observations in half precision.
                expected = getattr(taught, name)[fight, when].numpy()
                np.testing.assert_allclose(values[0], expected, atol=1e-3, err_msg=f"{name} {fight} {when}")
            done |= set(np.flatnonzero(asked["deeds"][0].any(axis=0)).tolist())
        world.step(np.zeros((FIGHTS, 0), np.int32))
        for fight in range(FIGHTS):
            history[fight].append(world.view(fight))
    assert len(done) > 6, "many kinds of deed were seen"


def test_a_first_view_has_no_deeds_and_the_dead_show_nothing() -> None:
    world = World(1, TEAMS, **ARGUMENTS)
    view = world.view(0)
    asked = temporal_inputs([view], 0)
    assert [DEEDS[k] for k in asked["deeds"][0, :3].argmax(axis=-1)] == ["none"] * 3
    assert not asked["deeds"][0, 3:].any() and not asked["aims"][0, 3:].any()
    view.units[4, f.HP] = 0
    asked = temporal_inputs([view], 0)
    assert not any(asked[name][0, 1].any() for name in ("opponents", "aims", "deeds"))
    assert asked["kinds"][0, 5].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_they_fit_the_signature() -> None:
    asked = temporal_inputs([World(1, TEAMS, **ARGUMENTS).view(0)], 1)
    for port in TemporalTransformer().signature().inputs[: len(asked)]:
        assert asked[port.name].shape == (1, *port.shape)
    assert asked["kinds"][0, 0].argmax() == 3, "the mage is the tank's first team mate"
