"""The native pack: what each member sees, may do and is paid; death, autoreset, seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.archetypes import load
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES, local_observation, pack_orders
from envs.contracts import layout as f
from envs.contracts.central import central_state
from envs.contracts.vocabulary import LOCAL_SIZE, NUM_PACK_ORDERS, OBS_SIZE
from envs.pack import PackVectorEnv
from envs.rewards import RewardLedger
from envs.simulation import state as s

NO_OP = [True] + [False] * (NUM_PACK_ORDERS - 1)


def legal_actions(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """A random legal order for each row of masks `(..., 8)`."""
    return np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=-1)


def trajectory(env: PackVectorEnv, seed: int | None, steps: int = 60) -> np.ndarray:
    """Observations and rewards of a run whose actions depend on the fight's number only."""
    obs, _ = env.reset(seed=seed)
    first = int(env.world.world[s.W_FIRST])
    rows = [obs["local"].reshape(env.num_envs, -1).copy()]
    for step in range(steps):
        fights = np.arange(first, first + env.num_envs)[:, None]
        actions = (fights * 5 + np.arange(env.num_members) * 3 + step) % NUM_PACK_ORDERS
        obs, rewards, *_ = env.step(actions)
        rows += [obs["local"].reshape(env.num_envs, -1).copy(), rewards]
    return np.concatenate(rows, axis=1)


def test_the_default_packs() -> None:
    assert PackVectorEnv(1, "mage").members == load("mage").team("3v3")
    assert PackVectorEnv(1, "mage").members[0] == "mage"
    env = PackVectorEnv(2, "tank", "5v5", "veteran")
    team = ["tank", "mage", "ranged", "support", "aggressive"]
    units = env.world.units[0]
    assert [ARCHETYPES[a] for a in units[:, f.ARCHETYPE]] == team + team
    assert units[:, s.BRAIN].tolist() == [1] * 5 + [0] * 5
    assert units[5:, s.SKILL_CHANCE].tolist() == [500] * 5
    mixed = PackVectorEnv(1, team=("tank", "tank", "mage"), enemies=("ranged", "ranged", "support"))
    kinds = [ARCHETYPES[a] for a in mixed.world.units[0, :, f.ARCHETYPE]]
    assert kinds == ["tank", "tank", "mage", "ranged", "ranged", "support"]
    styled = PackVectorEnv(1, "tank", opponent="kiter")
    assert (styled.world.units[0, 3:, s.STYLE] == s.STYLES.index("kiter")).all()
    # The curriculum's first level plays an aggressive one against one; a pack has three members at least.
    easy = PackVectorEnv(1, "aggressive", level=1)
    assert easy.members == ("aggressive", "support", "ranged")
    assert easy.world.units[0, 3, f.HP] == int(load("aggressive").stats.hp * 60 / 100)


def test_members_see_and_may_do_what_the_contracts_say() -> None:
    env = PackVectorEnv(6, "support", "4v4", "veteran")
    obs, info = env.reset(seed=3)
    rng = np.random.default_rng(0)
    seen_dead = 0
    for step in range(250):
        if step % 5 == 0:
            views = [env.world_view(fight) for fight in range(6) for _ in range(4)]
            slots = [0, 1, 2, 3] * 6
            alive = info["alive"]
            told = local_observation(views, slots).reshape(6, 4, LOCAL_SIZE)
            assert np.array_equal(obs["local"][alive], told[alive])
            assert np.array_equal(info["action_mask"], pack_orders(views, slots)[1].reshape(6, 4, -1))
            assert not obs["local"][~alive].any()
            styles = [s.STYLES[view] for view in env.world.units[:, 4, s.STYLE]]
            state = central_state(views[::4], tiers=["veteran"] * 6, styles=styles)
            assert np.array_equal(obs["global"], state)
            assert (info["action_mask"][~alive] == NO_OP).all()
            seen_dead += int((~alive).sum())
            own = [obs["local"][0, member, OBS_SIZE:].argmax() for member in range(4) if alive[0, member]]
            assert own == [ARCHETYPES.index(env.members[m]) for m in range(4) if alive[0, m]]
        obs, _, _, _, info = env.step(legal_actions(rng, info["action_mask"]))
    assert seen_dead > 20


def test_focus_orders_turn_the_member_to_that_enemy() -> None:
    env = PackVectorEnv(16, team=("aggressive",) * 3)
    _, info = env.reset(seed=1)
    for member, order in ((0, 1), (1, 2), (2, 3)):
        assert info["action_mask"][:, member, order].all()
    env.step(np.tile([1, 2, 3], (16, 1)))
    assert (env.world.units[:, :3, f.TARGET] == [3, 4, 5]).all()


def test_the_dead_do_nothing_and_stay_dead_but_are_paid_on() -> None:
    env = PackVectorEnv(24, "support", "3v3", "veteran")
    _, info = env.reset(seed=5)
    rng = np.random.default_rng(1)
    paid = 0.0
    deeds = [s.S_SWINGS, s.S_SKILLS, s.S_STEPS, s.S_DEALT, s.S_HEALED, s.S_ALIVE]
    was_dead = np.zeros((24, 3), bool)
    over = np.zeros(24, bool)
    for _ in range(300):
        cells = env.world.units[:, :3, : f.Y + 1].copy()
        _, rewards, terminated, _, info = env.step(rng.integers(0, NUM_PACK_ORDERS, (24, 3)))
        dead = was_dead & ~over[:, None]
        assert not info["alive"][dead].any()
        assert not info["statistics"][dead][:, deeds].any()
        assert np.array_equal(env.world.units[:, :3, : f.Y + 1][dead], cells[dead])
        assert info["alive"][over].all() and not rewards[over].any()  # NEXT_STEP: a new fight, nothing paid
        paid += np.abs(rewards[dead]).sum()
        was_dead, over = ~info["alive"], terminated
    assert paid > 0.0


def test_every_member_is_paid_by_its_own_archetype() -> None:
    env = PackVectorEnv(16, "tank", "5v5")
    env.reset(seed=2)
    rng = np.random.default_rng(2)
    for _ in range(150):
        _, rewards, _, _, info = env.step(rng.integers(0, NUM_PACK_ORDERS, (16, 5)))
        for member, name in enumerate(env.members):
            ledger = RewardLedger(load(name), 5)
            terms = info["reward_terms"][member]
            assert list(terms) == list(ledger.weights)
            total, again = ledger(info["statistics"][:, member])
            assert np.array_equal(rewards[:, member], total)
            assert all(np.array_equal(terms[key], again[key]) for key in terms)
            assert np.array_equal(rewards[:, member], sum(terms.values(), np.zeros(16)))


def test_next_step_autoreset() -> None:
    env = PackVectorEnv(32, "tank")
    env.reset(seed=3)
    rng = np.random.default_rng(1)
    ended = np.zeros(32, bool)
    resets = 0
    for _ in range(300):
        obs, rewards, terminated, truncated, info = env.step(rng.integers(0, NUM_PACK_ORDERS, (32, 3)))
        assert (rewards[ended] == 0).all() and not terminated[ended].any() and not truncated.any()
        assert (obs["local"][ended][:, :, 0] == 1).all() and (obs["local"][ended][:, :, 62] == 0).all()
        assert np.array_equal(info["outcome"] != 0, terminated)
        resets += int(ended.sum())
        ended = terminated
    assert resets >= 32


def test_observations_stay_in_their_space() -> None:
    rng = np.random.default_rng(0)
    for name in ARCHETYPES:
        env = PackVectorEnv(32, name, "5v5", "veteran")
        low, high = env.single_local_space.low, env.single_local_space.high
        env.reset(seed=7)
        for _ in range(64):  # 6 x 32 x 64 = 12,288 env steps
            obs, *_ = env.step(rng.integers(0, NUM_PACK_ORDERS, (32, 5)))
            assert (obs["local"] >= low).all() and (obs["local"] <= high).all()
            state = obs["global"]
            assert (state >= env.single_state_space.low).all() and (
                state <= env.single_state_space.high
            ).all()


def test_seeds_batches_and_threads() -> None:
    whole = trajectory(PackVectorEnv(8, "mage"), 5)
    assert np.array_equal(whole, trajectory(PackVectorEnv(8, "mage", threads=2), 5))
    assert np.array_equal(whole[:3], trajectory(PackVectorEnv(3, "mage"), 5))
    assert np.array_equal(whole[3:], trajectory(PackVectorEnv(5, "mage", first_fight=3), 5))
    assert np.array_equal(whole, trajectory(PackVectorEnv(8, "mage", copy=False), 5))
    assert not np.array_equal(whole, trajectory(PackVectorEnv(8, "mage"), 6))
    assert not np.array_equal(
        trajectory(PackVectorEnv(8, "mage"), None), trajectory(PackVectorEnv(8, "mage"), None)
    )
    for bad in (-1, 2**63):
        with pytest.raises(ValueError, match=r"is outside \[0, 2\^63\)"):
            PackVectorEnv(1).reset(seed=bad)


def test_reset_without_a_seed_goes_on_to_the_next_episode() -> None:
    env = PackVectorEnv(16, "mage")
    one = env.reset(seed=5)[0]["local"]
    two = env.reset()[0]["local"]
    assert not np.array_equal(one, two) and np.array_equal(one, env.reset(seed=5)[0]["local"])
    assert np.array_equal(two, env.reset()[0]["local"])


def test_state_resumes_exactly() -> None:
    def go_on(env: PackVectorEnv) -> list[np.ndarray]:
        rng = np.random.default_rng(4)
        steps = (env.step(rng.integers(0, NUM_PACK_ORDERS, (8, 3))) for _ in range(120))
        return [np.concatenate([obs["local"].reshape(8, -1), rewards], axis=1) for obs, rewards, *_ in steps]

    env = PackVectorEnv(8, "support")
    env.reset(seed=9)
    go_on(env)
    kept = env.get_state()
    ahead = go_on(env)
    fresh = PackVectorEnv(8, "support")
    fresh.set_state(kept)
    assert all(np.array_equal(a, b) for a, b in zip(ahead, go_on(fresh), strict=True))


def test_copies_are_kept_and_views_are_overwritten() -> None:
    for copy in (True, False):
        env = PackVectorEnv(4, "mage", copy=copy)
        obs, info = env.reset(seed=1)
        before, mask = obs["local"].copy(), info["action_mask"].copy()
        for _ in range(20):
            env.step(np.ones((4, 3), np.int64))
        assert np.array_equal(obs["local"], before) is copy
        assert np.array_equal(info["action_mask"], mask) is copy


def test_a_scripted_pack_is_the_mirror() -> None:
    env = PackVectorEnv(4, "tank", opponent="veteran", learner="script")
    env.reset(seed=1)
    first = [env.step(np.full((4, 3), k % 8))[0]["local"] for k in range(10)]
    env.reset(seed=1)
    again = [env.step(np.zeros((4, 3)))[0]["local"] for _ in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))  # actions change nothing
    assert (env.world.units[..., s.BRAIN] == 0).all() and (env.world.units[..., s.SKILL_CHANCE] == 500).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"archetype": "tnk"}, "unknown archetype 'tnk'; did you mean 'tank'"),
        ({"opponent": "clasic"}, "unknown opponent 'clasic'; did you mean 'classic'"),
        ({"scenario": "2v2"}, "a pack of 2 (aggressive, support); packs have 3 to 5 members"),
        ({"team": ("tank",) * 6}, "a pack of 6"),
        ({"team": ("tank", "tank", "mge")}, "unknown archetype 'mge'; did you mean 'mage'"),
        ({"team": ("tank",) * 3, "enemies": ("tank",)}, "1 enemies against a pack of 3"),
        ({"team": ("tank",) * 3, "scenario": "3v3"}, "team and scenario both say who is in the pack"),
        ({"level": 2, "opponent": "veteran"}, "level 2 says who fights whom"),
        ({"learner": "human"}, "unknown learner 'human'; 'policy' or 'script'"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PackVectorEnv(**arguments)
    assert message in str(raised.value) and "\n" not in str(raised.value)
