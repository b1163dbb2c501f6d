"""Labels of demonstrations: what an action orders is what the script did."""

from __future__ import annotations

import numpy as np
import pytest

from envs.arena import ArenaVectorEnv
from envs.contracts import combat_orders, control_orders, movement_orders, skill_orders
from envs.contracts import layout as f
from envs.contracts.view import WorldView
from envs.demonstration_labels import STRONG, Labeller
from envs.demonstrations import ENVIRONMENTS, Demonstrations, demonstrate
from envs.simulation import state as s
from envs.simulation.heads import plan_head
from envs.simulation.world import TIERS, World

SCRIPT = (f.O_SCRIPT, -1, -1, 0, 0)
READY, WAITING = 0, 2_000
FIGHTS = 6


def label(
    head: str, *, distance: int, clock: int, skill_chance: int = 0, cooldowns: tuple[int, ...] = ()
) -> tuple[object, bool]:
    """Label of one window of an aggressive unit in the middle, its enemy `distance` cells to the east."""
    world, probe = (World(1, (("aggressive",), ("aggressive",)), learners=1, head=head) for _ in range(2))
    me, enemy = world.units[0]
    me[[f.X, f.Y]], enemy[[f.X, f.Y]] = (12, 16), (12 + distance, 16)
    me[[f.ACTION_CLOCK, f.MOVE_LOCK, f.ACT_LOCK]] = clock, 0, 0
    me[s.SKILL_CHANCE] = skill_chance
    for slot, left in enumerate(cooldowns):
        me[f.COOLDOWN + slot] = left
    enemy[f.STUN] = 10_000  # it neither walks nor hits
    plan_head(world.units[0], world.skills, world.world, 0, 2, world.orders[0, 0], world.masks[0, 0])
    labeller = Labeller(world, probe)
    labeller.before()
    world.step_orders(np.array([[SCRIPT]]), np.array([[-1]]))
    actions, valid = labeller.after(np.ones(1, bool))
    return actions[0].tolist(), bool(valid[0])


def test_walking_swinging_and_waiting_by_hand() -> None:
    # Five cells to the east, reach 1: the script walks east. Movement 3 is E.
    press = pytest.approx([0.0, 0.0, STRONG, 0.0, 0.0])
    assert label("combat", distance=5, clock=READY) == (1, True)
    assert label("movement", distance=5, clock=READY) == (3, True)
    assert label("skill", distance=5, clock=READY) == (0, True)  # attack:enemy_0
    assert label("control", distance=5, clock=READY) == (press, True)
    # Beside it with the clock run down: a swing; the feet stay.
    assert label("combat", distance=1, clock=READY) == (1, True)
    assert label("movement", distance=1, clock=READY) == (0, True)
    assert label("skill", distance=1, clock=READY) == (0, True)
    assert label("control", distance=1, clock=READY) == (press, True)
    # Beside it, two seconds until the next swing: hold, and the skill head's "wait" (the attack on oneself).
    assert label("combat", distance=1, clock=WAITING) == (0, True)
    assert label("skill", distance=1, clock=WAITING) == (5, True)


def test_skills_by_hand() -> None:
    # Slots of the aggressive archetype: 0 strike 220 %, 1 power, 2 stun 120 %, 3 dash 120 %, 4 area 150 %.
    # With every chance certain the script takes the first that it can use.
    sure = 10_000
    assert label("combat", distance=1, clock=READY, skill_chance=sure) == (5, True)  # strongest: the strike
    assert label("skill", distance=1, clock=READY, skill_chance=sure) == (10, True)  # (0 + 1) x 10 + enemy 0
    urge = pytest.approx([0.0, 0.0, STRONG, STRONG, 0.0])
    assert label("control", distance=1, clock=READY, skill_chance=sure) == (urge, True)
    # Strike cooling down: power, a buff on oneself (combat 6); pointer 5 is oneself: (1 + 1) x 10 + 5.
    cold = (9_000,)
    assert label("combat", distance=1, clock=READY, skill_chance=sure, cooldowns=cold) == (6, True)
    assert label("skill", distance=1, clock=READY, skill_chance=sure, cooldowns=cold) == (25, True)


def test_what_no_action_does_has_no_label() -> None:
    # Strike, power and stun cool down: the script dashes (slot 3), but the strongest attacking and the first
    # hampering skill of the combat head are both the area in slot 4. The skill head can: (3 + 1) x 10.
    cold, sure = (9_000, 9_000, 9_000), 10_000
    assert label("combat", distance=1, clock=READY, skill_chance=sure, cooldowns=cold) == (0, False)
    assert label("skill", distance=1, clock=READY, skill_chance=sure, cooldowns=cold) == (40, True)


def fights_again(demos: Demonstrations, *, log_damage: bool = False) -> ArenaVectorEnv:
    """The demonstrations' fights at their start."""
    env = ENVIRONMENTS[demos.head](FIGHTS, demos.archetype, opponent=demos.opponent, log_damage=log_damage)
    env.world.template[0, s.SKILL_CHANCE] = TIERS[demos.teacher][1]
    env.reset(seed=demos.seed)
    return env


def order_of(demos: Demonstrations, row: int, view: WorldView) -> np.ndarray:
    """What the label of a row orders, by the wire contract alone."""
    if demos.head == "control":
        return control_orders([view], [0], demos.actions[row : row + 1])[0]
    contract = {"combat": combat_orders, "movement": movement_orders, "skill": skill_orders}[demos.head]
    orders, legal = contract([view], [0])
    action = int(demos.actions[row])
    assert legal[0, action]
    return orders[0, action]


CASES = [
    ("combat", "aggressive", "classic"),
    ("combat", "support", "classic"),
    ("movement", "mage", "classic"),
    ("skill", "defensive", "veteran"),
    ("control", "defensive", "classic"),
]


@pytest.mark.parametrize(("head", "archetype", "teacher"), CASES)
def test_the_order_of_a_label_is_what_the_script_did(head: str, archetype: str, teacher: str) -> None:
    demos = demonstrate(archetype, head=head, teacher=teacher, fights=FIGHTS, seed=5)
    env = fights_again(demos, log_damage=True)
    first = np.searchsorted(demos.fights, np.arange(FIGHTS))
    length = np.bincount(demos.fights)
    seen = {"swing": 0, "skill": 0, "step": 0}
    for t in range(length.max()):
        running = np.flatnonzero(t < length)
        before = [env.world_view(int(b)) for b in range(FIGHTS)]
        env.step_orders(np.tile(np.array(SCRIPT), (FIGHTS, 1)))
        for b in running:
            row = int(first[b]) + t
            if not demos.valid[row] or not demos.choice[row]:
                continue
            kind, skill, target, dx, dy = order_of(demos, row, before[b])
            own, after, deeds = before[b].units[0], env.world.units[b, 0], env.world.stats[b, 0]
            started = [k for k in range(6) if after[f.COOLDOWN + k] > own[f.COOLDOWN + k]]
            if deeds[s.S_SKILLS]:
                seen["skill"] += 1
                if head != "movement":  # there the hands always fight by script
                    assert kind in (f.O_SKILL, f.O_STEER) and [skill] == started
            elif deeds[s.S_SWINGS]:
                seen["swing"] += 1
                hit = np.flatnonzero(env.world.damage[b, 0])
                if head != "movement" and len(hit):
                    assert kind in (f.O_ATTACK, f.O_HOLD, f.O_STEER) and [target] == hit.tolist()
            step = np.sign(after[[f.X, f.Y]] - own[[f.X, f.Y]])
            if deeds[s.S_STEPS] and not deeds[s.S_SKILLS] and not deeds[s.S_SWINGS]:
                seen["step"] += 1
                if kind == f.O_ATTACK or kind == f.O_SKILL:
                    # The target may have stepped aside before: its cell at the window's start or end.
                    cells = (before[b].units[target], env.world.units[b, target])
                    toward = [np.sign(cell[[f.X, f.Y]] - own[[f.X, f.Y]]).tolist() for cell in cells]
                    assert step.tolist() in toward
                else:
                    assert [dx, dy] == step.tolist()
            elif not deeds[[s.S_STEPS, s.S_SKILLS, s.S_SWINGS]].any() and head == "movement":
                assert [dx, dy] == [0, 0]
    assert min(seen.values()) > 0, seen


@pytest.mark.parametrize(("head", "archetype", "teacher"), CASES)
def test_taking_the_label_does_what_the_script_did(head: str, archetype: str, teacher: str) -> None:
    demos = demonstrate(archetype, head=head, teacher=teacher, fights=FIGHTS, seed=6)
    env, other = fights_again(demos), fights_again(demos)
    first = np.searchsorted(demos.fights, np.arange(FIGHTS))
    length = np.bincount(demos.fights)
    compared = 0
    for t in range(length.max()):
        rows = np.where(t < length, first + t, first)
        other.set_state(env.get_state())
        env.step_orders(np.tile(np.array(SCRIPT), (FIGHTS, 1)))
        other.step(demos.actions[rows])
        mine, its = env.world.units, other.world.units
        hands = [f.SP, f.ACTION_CLOCK, *range(f.CAST_SLOT, f.CAST_LEFT + 1), *range(f.COOLDOWN, f.GUARD)]
        for b in np.flatnonzero((t < length) & demos.valid[rows]):
            deeds = env.world.stats[b, 0]
            assert mine[b, 0, hands].tolist() == its[b, 0, hands].tolist()
            assert mine[b, 1:, f.HP].tolist() == its[b, 1:, f.HP].tolist()
            if not deeds[[s.S_SWINGS, s.S_SKILLS]].any():
                step, its_step = (deed[b, 0, s.S_STEPS] > 0 for deed in (env.world.stats, other.world.stats))
                assert step == its_step
            compared += 1
    assert compared > 0.9 * len(demos.obs[demos.valid])
