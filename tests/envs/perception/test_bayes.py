"""The posterior over styles, held against what styles really do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import layout as f
from envs.perception import bayes, labels
from envs.perception.bayes_kernel import share_below
from envs.perception.branching import branch
from envs.perception.labels import Label
from envs.perception.recorder import record_fights
from envs.perception.recording import STYLE, Recording
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import TEAMS, random_actions, random_control, symmetric_terrain

SIX = s.STYLES[1:]
ORDER = slice(s.ORDER, s.ORDER + f.NUM_ORDER_FIELDS)


def a_fight(windows: int, **more: Any) -> World:
    """One fight of styles on both sides, so many windows old."""
    styles = (("healer_first",), ("focus_fire",))
    world = World(1, TEAMS["3v3"], seed=4, styles=styles, log_damage=True, **more)
    for _ in range(windows):
        world.step(np.zeros((1, 0), np.int32))
    assert world.outcome[0] == s.RUNNING
    return world


@pytest.mark.parametrize(("windows", "tier"), [(8, "classic"), (30, "classic"), (12, "passive")])
def test_orders_come_as_often_as_the_law_says(windows: int, tier: str) -> None:
    world, copies = a_fight(windows, tiers=(tier, tier)), 1500
    several = 0
    for style in range(1, len(s.STYLES)):
        copied = branch(world, 0, copies, salt=style)
        copied.units[..., s.STYLE] = style
        copied.step(np.zeros((copies, 0), np.int32))
        for unit in np.flatnonzero(world.units[0, :, f.HP] > 0):
            rows, chance = bayes.order_law(world, 0, int(unit))
            assert chance[style].sum() == pytest.approx(1)
            expected: dict[tuple[int, ...], float] = {}
            for row, share in zip(rows.tolist(), chance[style], strict=True):
                expected[tuple(row)] = expected.get(tuple(row), 0.0) + share
            orders, counts = np.unique(copied.units[:, unit, ORDER], axis=0, return_counts=True)
            found = dict(zip(map(tuple, orders.tolist()), counts / copies, strict=True))
            assert set(found) <= {order for order, share in expected.items() if share > 0}
            for order, share in expected.items():
                spread = np.sqrt(max(share * (1 - share), 0) / copies)
                assert found.get(order, 0.0) == pytest.approx(share, abs=4.5 * spread + 1e-9)
            several += len(found) > 1
    assert several >= 6  # chance had a say


def test_rolls_are_counted_exactly() -> None:
    # 2^31 = 100 x 21,474,836 + 48: the rests 0 to 47 come once more than the others.
    assert share_below(50, 100) == (21_474_836 * 50 + 48) / 2**31
    assert share_below(3, 7) == len(range(0, 2**31, 7)) / 2**31 + 2 * (2**31 // 7) / 2**31 + 1 / 2**31
    assert (share_below(0, 9), share_below(9, 9)) == (0, 1)


@pytest.mark.parametrize("kind", ["1v1", "2v2", "3v3"])
def test_the_true_style_is_always_possible(kind: str) -> None:
    arguments: dict[str, Any] = {
        "seed": 5, "styles": (SIX, ("script", *SIX)), "tiers": ("veteran", "classic"), "switching": True,
        "terrain": symmetric_terrain(np.random.default_rng(1), 0.08), "first_fight": 7,
    }  # fmt: skip
    recording, orders = bayes.likelihoods(24, TEAMS[kind], **arguments)
    _, deeds = bayes.likelihoods(24, TEAMS[kind], seen="deeds", chunk=9, **arguments)
    style = recording.units[1:, ..., STYLE].astype(np.int64)[..., None]  # of decision t, in state t + 1
    for seen in (orders, deeds):
        truth = np.take_along_axis(seen, style, axis=-1)[..., 0]
        assert np.isfinite(truth).all() and (seen <= 1e-12).all()
        ran = np.arange(recording.num_windows)[:, None] < recording.length
        decides = ran[..., None] & recording.alive[:-1] & (style[..., 0] > 0)
        np.testing.assert_array_equal(np.isneginf(seen[..., s.SCRIPT]), decides)
        assert (seen[~decides] == 0).all()
    # Whoever reads orders sees more.
    assert (deeds >= orders - 1e-12).all() and (deeds > orders + 0.1).any()
    np.testing.assert_array_equal(recording.units, record_fights(24, TEAMS[kind], **arguments).units)


def test_deeds_are_alike_where_the_next_state_is() -> None:
    teams, compared, alike = TEAMS["2v2"], 0, 0
    arguments: dict[str, Any] = {"seed": 11, "styles": (("kiter",), ("turtle", "random"))}
    recording, deeds = bayes.likelihoods(1, teams, seen="deeds", **arguments)
    world = World(1, teams, log_damage=True, **arguments)
    hidden = [s.BRAIN, s.STYLE, f.LAST_ACTION, *range(s.ORDER, s.ORDER + 5)]
    for t in range(int(recording.length[0])):
        before = branch(world, 0, 1, salt=0)
        world.step(np.zeros((1, 0), np.int32))
        if t % 4:
            continue
        for unit in np.flatnonzero(before.units[0, :, f.HP] > 0):
            rows, chance = bayes.order_law(before, 0, int(unit))
            other = branch(before, 0, len(rows), salt=0)
            other.fights[:, s.G_KEY] = before.fights[0, s.G_KEY]
            other.units[:, unit, s.BRAIN], other.units[:, unit, ORDER] = 1, rows  # it keeps this order
            other.step(np.zeros((len(rows), 0), np.int32))
            differs = np.delete(other.units != world.units, hidden, axis=2).any(axis=(1, 2))
            seen = chance[:, ~differs].sum(axis=1)
            np.testing.assert_allclose(np.exp(deeds[t, 0, unit]), seen, atol=1e-12)
            same_order = (rows == world.units[0, unit, ORDER]).all(axis=1)
            compared, alike = compared + 1, alike + int((~differs).sum() > same_order.sum())
    assert compared > 40 and alike > 5


def test_two_styles_by_hand() -> None:
    log = np.zeros((3, 1, 1, 7))
    log[..., s.SCRIPT] = -np.inf
    log[0, 0, 0, [s.RUSHER, s.KITER]] = np.log([0.8, 0.2])
    log[1, 0, 0, [s.RUSHER, s.KITER]] = np.log([0.5, 0.25])
    log[2, 0, 0, s.RUSHER] = -np.inf
    prior = bayes.even(("rusher", "kiter"))
    whole = bayes.posterior(log, prior=prior)[:, 0, 0]
    np.testing.assert_allclose(whole[:, s.RUSHER], np.array([1 / 2, 4 / 5, 8 / 9, 0]))
    last = bayes.posterior(log, 1, prior=prior)[:, 0, 0]
    np.testing.assert_allclose(last[:, s.RUSHER], np.array([1 / 2, 4 / 5, 2 / 3, 0]))
    for rows in (whole, last):
        np.testing.assert_allclose(rows[:, s.KITER], 1 - rows[:, s.RUSHER])
    uneven = bayes.posterior(log, 1, prior=np.array([0, 0.2, 0.8, 0, 0, 0, 0]))
    assert uneven[1, 0, 0, s.RUSHER] == pytest.approx(1 / 2)
    log[2, 0, 0, s.KITER] = -np.inf  # nobody does that
    np.testing.assert_allclose(bayes.posterior(log, prior=prior)[3, 0, 0], prior)
    two = np.concatenate([log[:2], log[:2]], axis=2)
    two[..., 1, :] = np.log(0.5)
    together = bayes.by_team(np.concatenate([two, np.zeros_like(two)], axis=2))
    np.testing.assert_allclose(together[:, 0, 0], log[:2, 0, 0] + np.log(0.5))
    assert (together[:, 0, 0] == together[:, 0, 1]).all() and (together[:, 0, 2:] == 0).all()


def test_ties_count_their_share() -> None:
    probability = np.zeros((4, 1, 1, 7))
    probability[0, 0, 0, [1, 2, 3]], probability[1, 0, 0, 4] = 1 / 3, 1
    probability[2, 0, 0, 5] = probability[3, 0, 0, 6] = 1
    value = np.array([2, 4, 1, 0]).reshape(4, 1, 1)  # the last one is a plain script
    assert bayes.accuracy(probability, Label(value, np.ones_like(value, bool))) == pytest.approx(4 / 9)
    assert np.isnan(bayes.accuracy(probability, Label(value, np.zeros_like(value, bool))))


def calibrated(probability: np.ndarray, style: np.ndarray, rows: np.ndarray) -> None:
    """Among (row, style) pairs of probability p the style is true with frequency p, p in eight bins."""
    fights = np.broadcast_to(np.arange(rows.shape[1])[None, :, None], rows.shape)[rows]
    chance, true = probability[rows][:, 1:], style[rows][:, None] == np.arange(1, 7)
    assert rows.sum() >= 2000
    filled = 0
    for low in np.arange(0, 1, 0.125):
        inside = (chance >= low) & ((chance < low + 0.125) | (low == 0.875))
        # Rows of a fight hang together, so the error is taken over fights.
        gap = np.bincount(fights, ((true - chance) * inside).sum(axis=1), rows.shape[1])
        error = np.sqrt((gap**2).sum())
        if len(np.unique(fights[inside.any(axis=1)])) >= 30:
            filled += 1
            assert abs(gap.sum()) < 4 * error + 1e-9, f"bin {low}: {gap.sum() / inside.sum()}"
            assert error < 0.12 * inside.sum()
    assert filled >= 4


def states(recording: Recording) -> np.ndarray:
    """States behind a decision, of living units of team 1, bool `(time, fight, unit)`."""
    rows = labels.style(recording, 1).valid | labels.switched(recording, 1).valid
    rows[..., : recording.num_units // 2] = False
    return rows


@pytest.mark.parametrize(("kind", "seen", "fights"), [("1v1", "deeds", 600), ("2v2", "orders", 300)])
def test_the_posterior_is_calibrated(kind: str, seen: str, fights: int) -> None:
    recording, log = bayes.likelihoods(fights, TEAMS[kind], seen=seen, seed=21, styles=((), SIX))
    rows = states(recording)
    rows[16:] = False  # later most are certain
    calibrated(bayes.posterior(bayes.by_team(log)), recording.units[..., STYLE], rows)


def test_the_filter_is_calibrated_while_styles_change() -> None:
    arguments: dict[str, Any] = {"seed": 22, "styles": ((), SIX), "hp_percent": (400, 400)}
    recording, log = bayes.likelihoods(250, TEAMS["1v1"], seen="deeds", switching=True, **arguments)
    rows = states(recording)
    rows[:50] = False
    style = recording.units[..., STYLE]
    calibrated(bayes.switching_posterior(log), style, rows)
    held_out = labels.switched(recording, 25)
    filtered = bayes.accuracy(bayes.switching_posterior(log, 25), held_out)
    assert filtered > bayes.accuracy(bayes.posterior(log, 25), held_out) + 0.1


def test_the_filter_equals_the_sum_over_all_switches() -> None:
    rng, windows, prior = np.random.default_rng(0), 58, bayes.even(("rusher", "turtle", "random"))
    likelihood = rng.uniform(0.05, 1, (windows, 1, 1, 7))
    names = np.flatnonzero(prior)
    ticks = range(100, 300)
    for window in (None, 6):
        weight = np.zeros((windows + 1, 7))
        for t in range(windows + 1):
            begin = 0 if window is None else max(t - window, 0)
            seen = likelihood[begin:t, 0, 0]
            time = np.arange(begin, t) * 2
            for old in names:
                for new in names[names != old]:
                    for tick in ticks:
                        style = np.where(time >= tick, new, old)
                        final = new if t and (t - 1) * 2 >= tick else old
                        weight[t, final] += seen[np.arange(len(seen)), style].prod()
        expected = weight / weight.sum(axis=1, keepdims=True)
        found = bayes.switching_posterior(np.log(likelihood), window, prior)[:, 0, 0]
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("head", ["combat", "movement", "control"])
def test_learners_are_no_units_with_a_style(head: str) -> None:
    def policy(world: World) -> np.ndarray:
        rng = np.random.default_rng(int(world.fights[0, s.G_TICK]))
        shape = (world.num_fights, 1)
        return random_control(shape, rng) if head == "control" else random_actions(world.masks, rng)

    arguments: dict[str, Any] = {"seed": 2, "styles": ((), SIX), "learners": 1, "policy": policy}
    arguments["head"] = head
    recording, log = bayes.likelihoods(6, TEAMS["2v2"], seen="deeds", **arguments)
    assert (log[:, :, :2] == 0).all()  # the learner and its scripted ally
    style = recording.units[1:, ..., STYLE].astype(np.int64)[..., None]
    assert np.isfinite(np.take_along_axis(log, style, axis=-1)).all()
    np.testing.assert_array_equal(recording.hp, record_fights(6, TEAMS["2v2"], **arguments).hp)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="seen='minds'"):
        bayes.likelihoods(1, TEAMS["1v1"], seen="minds")
    with pytest.raises(ValueError, match="no policy"):
        bayes.likelihoods(1, TEAMS["1v1"], learners=1)
    for styles in ((), ("script",), ("dancer", "rusher")):
        with pytest.raises(ValueError, match="cannot be told apart"):
            bayes.even(styles)
    with pytest.raises(ValueError, match="two styles"):
        bayes.switching_posterior(np.zeros((2, 1, 2, 7)), prior=bayes.even(("kiter",)))
    world = a_fight(3)
    world.units[0, 2, f.HP] = 0
    for unit in (2, 6, -1):
        with pytest.raises(ValueError, match="only a living unit"):
            bayes.order_law(world, 0, unit)
