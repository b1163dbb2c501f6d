import json
from typing import Any

import numpy as np
import pytest

from envs.contracts import COMBAT_ACTIONS
from envs.contracts import layout as f
from envs.playback import Frame, frames
from envs.simulation import state as s
from experiments.watch.scene import action_names, build_scene, true_threat
from tests.experiments.watch.fights import WEIGHTS, fight

NEW_RULES = np.zeros((2, s.NUM_STATISTICS), np.int32)


def frame(decision: int, hp: tuple[int, int] = (1000, 1000), **more: Any) -> Frame:
    """A state of a duel; `damage` and `killer` belong to the window before it."""
    units = np.zeros((2, f.NUM_UNIT_FIELDS), np.int32)
    units[:, f.MAX_HP], units[:, f.HP] = 1000, hp
    units[:, [f.TARGET, f.CAST_SLOT]] = [[1, -1], [0, -1]]
    values: dict[str, Any] = {
        "stats": NEW_RULES, "damage": np.zeros((2, 2), np.int32), "killer": np.full(2, -1), "terms": {},
        "orders": np.zeros((1, 5)), "masks": np.ones((1, 10), bool), "outcome": 0, **more,
    }  # fmt: skip
    return Frame(decision=decision, tick=2 * decision, units=units, **values)


def damage(source: int, target: int, amount: int) -> np.ndarray:
    out = np.zeros((2, 2), np.int32)
    out[source, target] = amount
    return out


def test_true_threat_is_the_damage_of_the_next_ten_windows() -> None:
    # Enemy 1 hits me for 100 in window 3 and for 250 in window 12; I hit it in window 5.
    hits = {3: damage(1, 0, 100), 12: damage(1, 0, 250), 5: damage(0, 1, 400)}
    states = [frame(k, damage=hits.get(k, np.zeros((2, 2), np.int32))) for k in range(15)]
    tables = np.stack([state.units for state in states])
    threat = true_threat(states, tables, 0)
    assert len(threat) == 14  # decisions 0 to 13
    # Decision d is followed by windows d+1 to d+10: window 12 counts from decision 2 on, window 3 up to it.
    wanted = [0.1, 0.1, 0.35] + [0.25] * 9 + [0.0] * 2
    assert threat == [[value] for value in wanted]
    assert true_threat(states, tables, 1) == [[0.4]] * 5 + [[0.0]] * 9


def test_events_say_what_happened_in_each_window() -> None:
    from experiments.watch.scene import _events

    missed = NEW_RULES.copy()
    missed[0, s.S_SWINGS] = 1
    states = [
        frame(0),
        frame(1, (1000, 900), damage=damage(0, 1, 150)),  # 150 hurt and 50 healed
        frame(2, (1000, 900), stats=missed),
        frame(3, (1000, 0), damage=damage(0, 1, 1200), killer=np.array([-1, 0])),
    ]
    states[1].units[0, f.COOLDOWN + 2] = 1500
    states[2].units[0, f.COOLDOWN + 2] = 1300
    assert _events(states) == [
        [1, "hit", 0, 1, 150],
        [1, "skill", 0, 1, 2],
        [1, "heal", -1, 1, 50],
        [2, "miss", 0, 1, 0],
        [3, "hit", 0, 1, 1200],
        [3, "death", 0, 1, 0],
    ]


def test_a_shield_that_held_is_no_miss() -> None:
    from experiments.watch.scene import _events

    swung = NEW_RULES.copy()
    swung[0, s.S_SWINGS] = 1
    states = [frame(0), frame(1, stats=swung)]
    states[0].units[1, [f.SHIELD, f.SHIELD_LEFT]] = 500, 4000
    states[1].units[1, [f.SHIELD, f.SHIELD_LEFT]] = 380, 3800
    assert _events(states) == [[1, "block", -1, 1, 120]]


def test_the_scene_holds_the_whole_fight() -> None:
    replay = fight()
    states = list(frames(replay))
    scene = build_scene(replay, states)
    assert scene["title"] == "mage and 2 allies, 3 v 3" and scene["genuine"] is True
    assert scene["ticks"] == [state.tick for state in states] and scene["outcome"] == replay.end.outcome
    for name, column in (("x", f.X), ("hp", f.HP), ("sp", f.SP)):
        wanted = [[int(state.units[unit, column]) for state in states] for unit in range(6)]
        assert scene["series"][name] == wanted
    (learner,) = scene["learners"]
    assert len(learner["chosen"]) == len(learner["legal"]) == len(learner["values"]) == replay.decisions
    assert all(
        legal[action] == "1" for legal, action in zip(learner["legal"], learner["chosen"], strict=True)
    )
    assert all(len(row) == 3 for row in learner["true_threat"] + learner["predicted_threat"])
    total = sum(v for row in scene["terms"].values() for v in row)
    assert set(scene["terms"]) == set(WEIGHTS)
    assert total == pytest.approx(sum(state.reward for state in states), abs=0.05)
    dealt = sum(event[4] for event in scene["events"] if event[1] == "hit")
    assert dealt == sum(int(state.damage.sum()) for state in states) > 0
    assert [u["name"] for u in scene["units"]] == ["mage", "tank", "support"] * 2
    assert [u["learner"] for u in scene["units"]] == [True] + [False] * 5
    assert len(json.dumps(scene, separators=(",", ":"))) < 400_000


@pytest.mark.parametrize(
    ("head", "names"), [("combat", 10), ("movement", 9), ("skill", 70), ("pack", 8), ("control", 5)]
)
def test_actions_are_named_by_the_contracts(head: str, names: int) -> None:
    assert len(action_names(head)) == len(set(action_names(head))) == names
    assert action_names("combat") == list(COMBAT_ACTIONS)


def test_a_fight_without_a_mind_and_one_with_three() -> None:
    nobody = fight(learners=0, team=("mage",))
    scene = build_scene(nobody, list(frames(nobody)))
    assert scene["learners"] == [] and scene["title"] == "mage against mage"
    pack = fight("pack", learners=3, noted=False)
    scene = build_scene(pack, list(frames(pack)))
    assert [learner["unit"] for learner in scene["learners"]] == [0, 1, 2]
    assert (
        scene["learners"][2]["probabilities"] == [] and len(scene["learners"][2]["chosen"]) == pack.decisions
    )
