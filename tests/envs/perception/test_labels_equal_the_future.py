"""Labels equal what really happened: the fights are played again in plain Python from seed and actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from envs.contracts import layout as f
from envs.perception import labels, maps
from envs.perception.recorder import record_fights
from envs.perception.recording import Recording
from envs.reference import Fight, ReferenceWorld, Unit, obey, rules, script
from envs.reference import fight as fight_module
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import TEAMS, random_actions, symmetric_terrain


def blind(world: World) -> np.ndarray:
    """Legal actions that depend on the state alone, so that chunks do not matter."""
    ticks = world.fights[:, s.G_TICK]
    return random_actions(world.masks, np.random.default_rng(int(ticks.max()) + 5))


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "duel": ("1v1", {"learners": 1, "policy": blind, "time_limit_ticks": 150}),
    "styles": ("3v3", {"styles": (("turtle", "kiter"), s.STYLES), "switching": True, "starts": "around"}),
    "ground": (
        "5v5",
        {
            "tiers": ("veteran", "classic"),
            "terrain": symmetric_terrain(np.random.default_rng(2), 0.1),
            "time_limit_ticks": 240,
        },
    ),
}
FIGHTS = 3


@dataclass
class Window:
    """What one decision window of one fight brought, as the oracle tells it."""

    alive: list[bool]  # before it
    place: list[tuple[int, int]]  # after it, as all below
    hp: list[int]
    target: list[int]
    damage: dict[tuple[int, int], int]
    killers: dict[int, int]
    deed: list[str]
    landed: set[int]
    style: list[str]


@dataclass
class Played:
    """A fight of the oracle."""

    windows: list[Window] = field(default_factory=list)
    by_kill: bool = False


def look(fight: Fight, before: list[bool], skills: dict[Unit, str], landed: set[Unit]) -> Window:
    deeds = []
    for unit in fight.units:
        deed = "move" if unit.stats["steps"] else "none"
        deed = "swing" if unit.stats["swings"] else deed
        deeds.append(skills.get(unit, deed))
    return Window(
        alive=before,
        place=[(unit.x, unit.y) for unit in fight.units],
        hp=[unit.hp for unit in fight.units],
        target=[-1 if unit.target is None else unit.target.index for unit in fight.units],
        damage={(a.index, b.index): points for (a, b), points in fight.damage_log.items()},
        killers={a.index: b.index for a, b in fight.killers.items()},
        deed=deeds,
        landed={unit.index for unit in fight.units if unit in landed},
        style=[unit.style for unit in fight.units],
    )


def play_again(recording: Recording, teams: str, arguments: dict[str, Any]) -> list[Played]:
    """Play the recorded fights by seed and actions and write down every window."""
    arguments = {name: value for name, value in arguments.items() if name != "policy"}
    world = ReferenceWorld(
        FIGHTS, TEAMS[teams], seed=int(recording.seed[0]), first_fight=int(recording.number[0]), **arguments
    )
    skills: dict[Unit, str] = {}
    landed: set[Unit] = set()
    use, finish = rules.use_skill, rules.finish_cast

    def use_skill(fight: Fight, me: Unit, slot: int, target: Unit) -> bool:
        used = use(fight, me, slot, target)
        if used:
            skills.setdefault(me, me.skills[slot].kind)
        return used

    def finish_cast(fight: Fight, me: Unit, cast: Any) -> None:
        if me.skills[cast.slot].kind == "ground":
            landed.add(me)
        finish(fight, me, cast)

    out = [Played() for _ in range(FIGHTS)]
    firsts = list(world.fights)  # a fight that has ended is replaced by its next episode
    with pytest.MonkeyPatch.context() as patch:
        for module in (obey, script):
            patch.setattr(module, "use_skill", use_skill)
        patch.setattr(fight_module, "finish_cast", finish_cast)
        for t in range(recording.num_windows):
            fights = list(world.fights)
            running = [fight.outcome == s.RUNNING and fight in firsts for fight in fights]
            before = [[unit.alive for unit in fight.units] for fight in fights]
            skills.clear()
            landed.clear()
            if world.learners:
                world.step(recording.actions[t])
            else:
                world.step_orders(np.zeros((FIGHTS, 0, 5), np.int32), recording.actions[t])
            for b in np.flatnonzero(running):
                out[b].windows.append(look(fights[b], before[b], skills, landed))
                out[b].by_kill = fights[b].outcome in (s.WON_BY_KILL, s.LOST_BY_KILL) or not any(
                    unit.alive for unit in fights[b].units
                )
    return out


@pytest.fixture(scope="module", params=CASES)
def played(request: pytest.FixtureRequest) -> tuple[Recording, list[Played]]:
    teams, arguments = CASES[request.param]
    recording = record_fights(FIGHTS, TEAMS[teams], seed=23, first_fight=4, **arguments)
    return recording, play_again(recording, teams, arguments)


def known(played: Played, t: int, horizon: int) -> bool:
    return t < len(played.windows) and (t + horizon <= len(played.windows) or played.by_kill)


def test_length_ends_and_censoring(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    assert recording.length.tolist() == [len(fight.windows) for fight in fights]
    assert recording.by_kill.tolist() == [fight.by_kill for fight in fights]
    for horizon in (5, 10, 25):
        exact = labels.exact(recording, horizon)
        for b, fight in enumerate(fights):
            assert exact[:, b].tolist() == [known(fight, t, horizon) for t in range(recording.num_windows)]


@pytest.mark.parametrize("horizon", [10, 25])
def test_damage_kills_and_deaths(played: tuple[Recording, list[Played]], horizon: int) -> None:
    recording, fights = played
    n, half = recording.num_units, recording.num_units // 2
    threat, team = labels.threat(recording, horizon), labels.team_threat(recording, horizon)
    kills, deaths = labels.kills(recording, horizon), labels.deaths(recording, horizon)
    total = 0
    for b, fight in enumerate(fights):
        for t, now in enumerate(fight.windows):
            future = fight.windows[t : t + horizon]
            for i in range(n):
                valid = now.alive[i] and known(fight, t, horizon)
                assert team.valid[t, b, i] == kills.valid[t, b, i] == deaths.valid[t, b, i] == valid
                if not valid:
                    continue
                assert kills.value[t, b, i] == any(i in window.killers.values() for window in future)
                assert deaths.value[t, b, i] == any(i in window.killers for window in future)
                foes = range(half, n) if i < half else range(half)
                done = {j: sum(window.damage.get((i, j), 0) for window in future) for j in foes}
                bars = sum(int(recording.max_hp[j]) for j in foes)
                assert team.value[t, b, i] == np.float32(sum(done.values()) / bars)
                for j in foes:
                    assert threat.valid[t, b, i, j] == now.alive[j]
                    assert threat.value[t, b, i, j] == np.float32(done[j] / int(recording.max_hp[j]))
                total += sum(done.values())
    assert total > 0 and kills.value[kills.valid].any() and deaths.value[deaths.valid].any()
    same_team = ~recording.hostile
    assert not threat.valid[..., same_team].any()


def test_targets_deeds_and_hp(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    target, deed = labels.next_target(recording), labels.next_deed(recording)
    hp = labels.future_hp(recording)
    seen: set[str] = set()
    for b, fight in enumerate(fights):
        for t, now in enumerate(fight.windows):
            for i in range(recording.num_units):
                for m, horizon in enumerate((5, 10, 15, 20, 25)):
                    assert hp.valid[t, b, i, m] == (now.alive[i] and known(fight, t, horizon))
                    end = fight.windows[min(t + horizon, len(fight.windows)) - 1]
                    assert hp.value[t, b, i, m] == np.float32(end.hp[i] / int(recording.max_hp[i]))
                assert target.valid[t, b, i] == deed.valid[t, b, i] == hp.valid[t, b, i, 0]
                if not target.valid[t, b, i]:
                    continue
                end = fight.windows[min(t + 5, len(fight.windows)) - 1]
                aim = end.target[i]
                stands = end.hp[i] > 0 and aim >= 0 and end.hp[aim] > 0
                assert target.value[t, b, i] == (aim if stands else -1)
                did = [window.deed[i] for window in fight.windows[t : t + 5]]
                hands = [d for d in did if d not in ("none", "move")]
                truth = hands[0] if hands else "move" if "move" in did else "none"
                assert labels.DEEDS[deed.value[t, b, i]] == truth
                seen.add(truth)
    assert {"none", "move", "swing"} < seen


def test_styles(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    mixed = 0
    for window in (10, 25, 50):
        style, switched = labels.style(recording, window), labels.switched(recording, window)
        for b, fight in enumerate(fights):
            for t in range(recording.num_windows + 1):
                for i in range(recording.num_units):
                    inside = 1 <= t <= len(fight.windows) and fight.windows[t - 1].hp[i] > 0
                    if not inside or recording.template[i, s.BRAIN]:
                        assert not style.valid[t, b, i] and not switched.valid[t, b, i]
                        continue
                    over = {past.style[i] for past in fight.windows[max(t - window, 0) : t]}
                    assert style.valid[t, b, i] == (len(over) == 1)
                    assert switched.valid[t, b, i] == (len(over) == 2)
                    assert s.STYLES[style.value[t, b, i]] == fight.windows[t - 1].style[i]
                    mixed += len(over) == 2
    assert (mixed > 0) == bool((recording.switch_tick >= 0).any())


def test_maps(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    chosen = maps.frames(recording, stride=7)
    n, half, size = recording.num_units, recording.num_units // 2, 32
    own, other = maps.damage_map(recording, chosen), maps.damage_map(recording, chosen, own=False)
    occupied = maps.enemy_occupancy(recording, chosen)
    assert own.sum() > 0 and occupied.any()
    for row, (t, b, i) in enumerate(chosen.tolist()):
        fight = fights[b]
        x, y = recording.units[t, b, i, :2].tolist()
        if t > 0:
            assert (x, y) == fight.windows[t - 1].place[i]
        truth = np.zeros((2, size, size))
        for window in fight.windows[t : t + 10]:
            for (_, j), points in window.damage.items():
                cx, cy = window.place[j][0] - x + 16, window.place[j][1] - y + 16
                if 0 <= cx < size and 0 <= cy < size:
                    truth[int((j < half) != (i < half)), cy, cx] += points / int(recording.max_hp[j])
        np.testing.assert_allclose(own[row], truth[0], atol=1e-6)
        np.testing.assert_allclose(other[row], truth[1], atol=1e-6)
        end = fight.windows[min(t + 5, len(fight.windows)) - 1]
        cells = {
            (end.place[j][1] - y + 16, end.place[j][0] - x + 16)
            for j in range(n)
            if (j < half) != (i < half) and end.hp[j] > 0
        }
        cells = {cell for cell in cells if min(cell) >= 0 and max(cell) < size}
        assert {tuple(cell) for cell in np.argwhere(occupied[row]).tolist()} == cells


def test_landings(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    landed = maps.landings(recording)
    truth = np.zeros_like(landed)
    for b, fight in enumerate(fights):
        for t, window in enumerate(fight.windows):
            truth[t, b, list(window.landed)] = True
    # Exact but for casts that hit nobody, in the second tick of a window that hurts their caster.
    assert not (landed & ~truth).any()
    missed = truth & ~landed
    assert not recording.damage.sum(axis=3)[missed].any()
    assert missed.sum() * 3 <= truth.sum()
    assert truth.any() or recording.num_units == 6


def test_best_cell_by_brute_force(played: tuple[Recording, list[Played]]) -> None:
    recording, fights = played
    chosen = maps.frames(recording, stride=31)
    best = maps.best_cell(recording, chosen)
    landed = maps.landings(recording)
    for row, (t, b, i) in enumerate(chosen.tolist()):
        x, y = recording.units[t, b, i, :2].tolist()
        options = []
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                cell = x + dx, y + dy
                if not (0 <= cell[0] < 32 and 0 <= cell[1] < 32):
                    continue
                if recording.blocked[cell[1], cell[0]] and (dx or dy):
                    continue
                fire = aims = 0
                for k, window in enumerate(fights[b].windows[t : t + 10], start=t):
                    for e in recording.enemies(i):
                        ex, ey = window.place[e]
                        apart = max(abs(ex - cell[0]), abs(ey - cell[1]))
                        if window.hp[e] > 0:
                            if apart <= recording.template[e, f.RANGE]:
                                swing = int(recording.swing_points[e, i]) * 200_000
                                fire += swing // int(recording.template[e, f.ATTACK_DELAY])
                            aims += apart <= recording.template[i, f.RANGE]
                        if landed[k, b, e]:
                            slot, cx, cy = recording.units[k, b, e][[4, 7, 8]].tolist()
                            if (
                                max(abs(cx - cell[0]), abs(cy - cell[1]))
                                <= recording.skills[e, slot, f.RADIUS]
                            ):
                                fire += 1000 * int(recording.skill_points[e, slot, i])
                assert best.fire[row, dy + 3, dx + 3] == fire and best.aims[row, dy + 3, dx + 3] == aims
                far = max(abs(dx), abs(dy)), abs(dx) + abs(dy)
                options.append((fire, -aims, *far, dy, dx))
        *_, dy, dx = min(options)
        assert best.step[row].tolist() == [dx, dy]
