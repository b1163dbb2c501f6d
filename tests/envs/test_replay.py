import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import terrain
from envs.contracts import layout as f
from envs.control import ControlVectorEnv
from envs.movement import MovementVectorEnv
from envs.playback import build_world, frames
from envs.recorder import Recorder
from envs.replay import Replay, ReplayError, load, rules_version, save
from envs.rewards import TERMS
from envs.simulation import state as s
from envs.simulation.world import World

TEAMS = (("tank", "mage", "support"), ("ranged", "defensive", "aggressive"))


def play(world: World, row: int = 0, *, seed: int = 0, **kwargs: Any) -> tuple[Replay, np.ndarray]:
    """Play a world at random until the fight in a row is over; returns its replay and last state."""
    rng = np.random.default_rng(seed)
    recorder = Recorder(world, row, **kwargs)
    while not world.outcome[row]:
        if world.head == "control":
            actions: Any = rng.uniform(-1, 1, (world.num_fights, world.learners, 5)).astype(np.float32)
        else:
            scores = np.where(world.masks[:, : world.learners], rng.random(world.masks.shape), -1)
            actions = scores.argmax(axis=-1)
        recorder.decide(actions[row])
        world.step(actions)
    return recorder.finish(), world.units[row, :, : f.NUM_UNIT_FIELDS].copy()


@pytest.fixture(scope="module")
def recorded() -> Replay:
    world = World(1, TEAMS, learners=1, seed=11)
    return play(world, weights={"damage_dealt": 2.0})[0]


def body_of(replay: Replay, folder: Path) -> dict[str, Any]:
    """Plain values of a replay's file."""
    return dict(json.loads(save(replay, folder / "replay.json").read_text()))


@pytest.mark.parametrize(
    ("head", "learners"),
    [("combat", 1), ("movement", 1), ("skill", 1), ("control", 1), ("pack", 3), ("combat", 0)],
)
def test_a_file_gives_the_same_fight_again(tmp_path: Path, head: str, learners: int) -> None:
    world = World(1, TEAMS, learners=learners, head=head, seed=5)
    replay, last = play(world)
    path = save(replay, tmp_path / "deep" / "replay.json")
    assert path.stat().st_size < 40_000
    again = load(path)
    assert again == replay
    states = list(frames(again))
    assert len(states) == replay.decisions + 1
    assert np.array_equal(states[-1].units, last)
    assert states[-1].outcome == replay.end.outcome != 0
    assert [p.name for p in path.parent.iterdir()] == ["replay.json"]


def test_any_fight_of_a_batch_in_any_setting_and_episode() -> None:
    world = World(
        3, TEAMS, learners=1, tiers=("classic", "veteran"), seed=2**64 - 5, first_fight=40, swap_sides=True,
        rules="prerenewal", size=48, time_limit_ticks=120, starts="random", hp_percent=(50, 130.5),
        styles=((), ("kiter", "turtle")), switching=True, terrain=terrain.layout("pillars", 48),
    )  # fmt: skip
    world.reset()
    world.reset()
    replay, last = play(world, 2)
    assert (replay.seed, replay.fight, replay.episode) == (2**64 - 5, 42, 2)
    assert replay.arena.styles == ((), ("kiter", "turtle")) and replay.arena.terrain is not None
    states = list(frames(replay))
    assert np.array_equal(states[-1].units, last)
    assert states[0].units[3, f.MAX_HP] == int(3300 * 1.305)  # ranged, by hp_percent


def test_rewards_are_those_of_the_recording() -> None:
    env = MovementVectorEnv(1, "ranged")
    _, info = env.reset(seed=3)
    recorder = Recorder(env.world, weights=env.ledger.weights, about={"policy": "first legal"})
    rewards, terms = [], []
    while not info["outcome"][0]:
        actions = info["action_mask"][:, ::-1].argmax(axis=1)
        actions = info["action_mask"].shape[1] - 1 - actions
        recorder.decide(actions)
        _, reward, _, _, info = env.step(actions)
        rewards.append(float(reward[0]))
        terms.append({name: float(value[0]) for name, value in info["reward_terms"].items()})
    replay = recorder.finish()
    states = list(frames(replay))
    assert [state.terms for state in states[1:]] == terms
    assert [state.reward for state in states[1:]] == rewards and sum(rewards) != 0
    assert set(replay.weights) <= set(TERMS) and replay.about == {"policy": "first legal"}


def test_frames_name_who_hurt_and_killed_whom(recorded: Replay) -> None:
    states = list(frames(recorded))
    assert [state.decision for state in states] == list(range(recorded.decisions + 1))
    assert states[0].tick == 0 and not states[0].damage.any() and not states[0].stats.any()
    assert sum(int((state.killer >= 0).sum()) for state in states) >= 3  # a side fell
    for before, after in itertools.pairwise(states):
        fell = (before.units[:, f.HP] > 0) & (after.units[:, f.HP] <= 0)
        assert np.array_equal(fell, after.killer >= 0)
        lost = before.units[:, f.HP] - after.units[:, f.HP]
        assert (after.damage.sum(axis=0) >= lost).all()


def test_control_numbers_survive_the_text_exactly(tmp_path: Path) -> None:
    env = ControlVectorEnv(1, "aggressive")
    env.reset(seed=0)
    actions = np.array(
        [[0.1, -1 / 3, 0.333333343, np.nextafter(np.float32(0.3), np.float32(1)), 1]], np.float32
    )
    recorder = Recorder(env.world)
    recorder.decide(actions[0])
    env.step(actions)
    replay = load(save(recorder.finish(), tmp_path / "r.json"))
    assert np.array_equal(np.array(replay.actions[0], np.float32), actions)
    assert replay.end.outcome == 0  # cut in mid-fight
    assert len(list(frames(replay))) == 2


def test_monsters_come_with_their_own_numbers(recorded: Replay) -> None:
    # As if recorded with a monster that this installation does not have.
    odd = replace(recorded.fighters[0], name="dragon", hp=98_765)
    changed = replace(recorded, fighters=(odd, *recorded.fighters[1:]))
    world = build_world(changed)
    assert world.teams[0][0] == "dragon" and world.units[0, 0, f.HP] == 98_765
    names = [fighter.name for fighter in recorded.fighters]
    assert names == [*TEAMS[0], *TEAMS[1]]
    assert recorded.fighters[1].skills[1].name == "storm" and recorded.fighters[1].skills[1].kind == "ground"


def test_notes_come_back(tmp_path: Path) -> None:
    world = World(1, (("mage",), ("tank",)), learners=1)
    recorder = Recorder(world)
    for value in (0.123456789, -2.5):
        recorder.decide(1, values=[value], probabilities=[[0.25] * 4], threat=[[value]])
        world.step(np.array([[1]]))
    note = load(save(recorder.finish(), tmp_path / "r.json")).notes[0]
    assert note.values == (0.12346, -2.5)
    assert note.threat == ((0.12346,), (-2.5,))
    assert note.probabilities == ((0.25,) * 4,) * 2


def test_a_recorder_refuses_what_would_not_replay() -> None:
    world = World(1, (("mage",), ("tank",)), learners=1)
    recorder = Recorder(world)
    with pytest.raises(ValueError, match="unknown note 'mood'"):
        recorder.decide(0, mood=[1.0])
    with pytest.raises(ValueError, match="values is nan; only finite"):
        recorder.decide(0, values=[float("nan")])
    world.step(np.zeros((1, 1)))
    with pytest.raises(ValueError, match="at tick 2; a recording begins right after the reset"):
        Recorder(world)
    world.reset()
    with pytest.raises(ValueError, match="gone on to its next episode"):
        recorder.finish()
    recorder = Recorder(world)
    recorder.decide(0, values=[1.0])
    world.step(np.zeros((1, 1)))
    recorder.decide(0)
    with pytest.raises(ValueError, match="values noted at 1 of 2 decisions"):
        recorder.finish()


def test_a_changed_fight_is_refused_with_time_and_cause(recorded: Replay) -> None:
    changed = replace(recorded, actions=((0,),) * 20 + recorded.actions[20:])
    with pytest.raises(ReplayError, match="differing between 0 and 10 s: the file was changed"):
        list(frames(changed))
    older = replace(recorded, rules_version="0" * 16, checks=("0" * 16, *recorded.checks[1:]))
    with pytest.raises(ReplayError, match=f"between 0 and 0 s: the rules have changed .*{rules_version()}"):
        list(frames(older))
    assert len(list(frames(older, check=False))) == recorded.decisions + 1
    end = replace(recorded, end=replace(recorded.end, tick=recorded.end.tick + 1))
    with pytest.raises(ReplayError, match="no longer gives the recorded fight"):
        list(frames(end))


def test_other_rules_with_the_same_fight_are_fine(recorded: Replay) -> None:
    assert len(list(frames(replace(recorded, rules_version="f" * 16)))) == recorded.decisions + 1


def alter(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one entry changed; `None` removes it."""
    body = copy.deepcopy(body)
    *way, last = path.split(".")
    place: Any = body
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if isinstance(place, list):
        place[int(last)] = value
    elif value is None:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", "other", "no replay: it does not say"),
        ("version", 2, "replay version 2, this reads 1; update this installation"),
        ("version", "x", "replay version 'x', this reads 1; record the fight again"),
        ("seed", None, "key 'seed' is missing"),
        ("seed", -1, "key 'seed' is -1; it must be at least 0"),
        ("seed", 1.5, "key 'seed' must be a whole number"),
        ("sede", 1, "unknown key 'sede'; did you mean 'seed'?"),
        ("head", "combta", "unknown head 'combta'; did you mean 'combat'?"),
        ("contracts.action", "combat_v0", "recorded with action contract 'combat_v0'"),
        ("contracts.observation", None, "observation contract None"),
        ("fighters.0.base", "dragon", "unknown archetype 'dragon'"),
        ("fighters.0.attack_delay_ms", 0, "key 'fighters[0].attack_delay_ms' is 0"),
        ("fighters.0.hp", 2**40, "key 'fighters[0].hp'"),
        ("fighters.0.skills.0.kind", "teleport", "unknown skill kind 'teleport'"),
        ("teams.0.0", 99, "an index beyond the 6 fighters"),
        ("teams.1", [3], "3 against 1"),
        ("learners", 4, "learners: 4 in a team of 3"),
        ("weights", {"gold": 1.0}, "unknown reward term 'gold'"),
        ("actions.3", [], "actions[3]: a whole number for each of 1 learners"),
        ("actions.3", [[0.0] * 5], "actions[3]"),
        ("actions.3", ["attack"], "actions[3]"),
        ("actions.3", [2**40], "actions[3]"),
        ("decisions", 10**9, "key 'decisions' is 1000000000"),
        ("decisions", 7, "decisions; the file is cut short"),
        ("checks", ["00"], "checksums do not fit"),
        ("notes", [{}, {}], "notes: 2 entries for 1 learners"),
        ("notes", [{"values": [1.0]}], "notes: values: 1 entries for"),
        ("arena.size", 33, "unknown value '33'"),
        ("arena.starts", "far", "unknown value 'far'"),
        ("arena.styles", [["brave"], []], "unknown style 'brave'"),
        ("arena.terrain", ["#"], "needs 32 rows of 32 letters"),
        ("arena.terrain", ["x" * 32] * 32, "holds '#' (blocked) and '.' (free) only"),
        ("end.outcome", 9, "key 'end.outcome' is 9"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_one_clear_line(
    recorded: Replay, tmp_path: Path, path: str, value: Any, said: str
) -> None:
    body = alter(body_of(recorded, tmp_path), path, value)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(body))
    with pytest.raises(ReplayError) as caught:
        load(file)
    message = str(caught.value)
    assert said in message and "\n" not in message and "bad.json" in message


def test_terrain_that_no_fight_can_be_fought_on(recorded: Replay, tmp_path: Path) -> None:
    body = alter(body_of(recorded, tmp_path), "arena.terrain", ["#" * 32] * 32)
    (tmp_path / "bad.json").write_text(json.dumps(body))
    with pytest.raises(ReplayError, match="cannot be played: terrain must leave"):
        list(frames(load(tmp_path / "bad.json")))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"null", b'{"format": NaN}', b"[" * 100_000]
)
def test_what_is_no_replay_at_all(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(ReplayError, match=r"bad\.json is no replay"):
        load(tmp_path / "bad.json")


def test_a_truncated_file_a_missing_one_and_a_folder(recorded: Replay, tmp_path: Path) -> None:
    path = save(recorded, tmp_path / "r.json")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ReplayError, match=r"r\.json is no replay"):
        load(path)
    with pytest.raises(ReplayError, match="cannot be read"):
        load(tmp_path / "none.json")
    with pytest.raises(ReplayError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ReplayError, match="cannot be written"):
        save(recorded, path / "below.json")


def test_the_rules_version_is_stable_within_a_process_and_short() -> None:
    assert rules_version() == rules_version() and len(rules_version()) == 16


def test_a_batch_is_not_disturbed_by_a_recorder() -> None:
    worlds = [World(4, TEAMS, learners=1, seed=1) for _ in range(2)]
    recorder = Recorder(worlds[0], 3)
    for _ in range(30):
        recorder.decide(1)
        for world in worlds:
            world.step(np.ones((4, 1)))
    assert np.array_equal(worlds[0].units, worlds[1].units)
    assert recorder.finish().end.tick == int(worlds[0].fights[3, s.G_TICK]) == 60
