"""Branching: one state played on many times under other random numbers, and what nobody can predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from envs.perception.recorder import Policy, record
from envs.perception.recording import Recording
from envs.simulation import state as s
from envs.simulation.rng import GOLDEN, MIX_A, mix
from envs.simulation.world import World


def branch(world: World, fight: int, copies: int, salt: int = 0) -> World:
    """Return a world of `copies` fights, all in exactly the state of one fight of `world`.

    Each copy goes on under random numbers of its own, which depend on the original's, on `salt` and on the
    copy's number; under salt 0 the first copy keeps the original's and so repeats its future. Positions,
    clocks, running casts, styles and the tick of a switch belong to the state and stay. Play copies to
    their end only: a later episode is not the original's next one. The first copy has the original's fight
    number, the others count on; for a split all belong where the original does.

    Raises:
        ValueError: a fight that has ended or does not exist, or no copies.
    """
    if not 0 <= fight < world.num_fights or copies < 1:
        raise ValueError(f"fight {fight} of {world.num_fights}, {copies} copies: nothing to branch")
    if world.outcome[fight] != s.RUNNING:
        raise ValueError(f"fight {fight} has ended; branch from a running fight")
    out = World(
        copies,
        world.teams,
        learners=world.learners,
        observed=world.obs.shape[1],
        head=world.head,
        size=int(world.world[s.W_WIDTH]),
        log_damage=bool(world.world[s.W_LOG]),
    )
    out.world[:] = world.world
    out.world[s.W_FIRST] += fight
    out.terrain = world.terrain
    out.template, out.skills = world.template.copy(), world.skills.copy()
    for name in ("units", "fights", "stats", "obs", "orders", "masks"):
        getattr(out, name)[:] = getattr(world, name)[fight]
    if world.world[s.W_LOG]:
        out.damage[:], out.killer[:] = world.damage[fight], world.killer[fight]
    first = 1 if salt == 0 else 0
    for copy in range(first, copies):
        out.fights[copy, s.G_KEY] = _other_key(int(world.fights[fight, s.G_KEY]), salt, copy)
    return out


def _other_key(key: int, salt: int, copy: int) -> np.int64:
    with np.errstate(over="ignore"):
        bits = mix(_bits(key) + _bits(salt + 1) * GOLDEN)
        return np.int64(np.array(mix(bits + _bits(copy + 1) * MIX_A), np.uint64).view(np.int64))


def _bits(value: int) -> np.uint64:
    return np.uint64(value & (2**64 - 1))


def outcomes(
    world: World,
    fights: Iterable[int],
    copies: int,
    horizon: int,
    label: Callable[[Recording], np.ndarray],
    *,
    policy: Policy | None = None,
    salt: int = 1,
    change: Callable[[World, int], None] | None = None,
) -> np.ndarray:
    """A label of the present state, drawn again and again from futures of `horizon` windows.

    Args:
        world: a world with damage log; it is left as it is.
        fights: which of its (running) fights to branch.
        copies: futures per fight.
        horizon: decision windows to play.
        label: from a recording whose time 0 is the state to `(copy,)` or `(copy, ...)`, for example
            `lambda r: threat(r, 10).value[0, :, 3:, 0]`.
        policy: actions of the learners.
        salt: another one gives other futures.
        change: is given the copies of a fight and its number before they go on, for instance to redraw what
            an observer cannot know.

    Returns:
        float64 `(fight, copy, ...)`.
    """
    values = []
    for fight in fights:
        branched = branch(world, fight, copies, salt)
        if change is not None:
            change(branched, fight)
        futures = record(branched, windows=horizon, policy=policy)
        values.append(np.asarray(label(futures), np.float64))
    return np.stack(values)


def noise_ceiling(values: np.ndarray) -> float:
    """The explained variance that a perfect predictor of a label would reach.

    Var(label) = Var(E[label | state]) + E[Var(label | state)]; the ceiling is the first part's share. Both
    are estimated without bias from repeated draws (one-way analysis of variance): the spread of the states'
    means, less what chance alone puts into means of that many draws.

    Args:
        values: float `(state, copy)` or `(state, copy, ...)`; further axes are labels of their own kind,
            whose variances are added.

    Returns:
        A number in [0, 1]; nan if the label never varies.

    Raises:
        ValueError: fewer than two states or two copies.
    """
    values = np.asarray(values, np.float64)
    if values.ndim < 2 or min(values.shape[:2]) < 2:
        raise ValueError(f"draws of shape {values.shape}; at least two states with two copies are needed")
    within = float(values.var(axis=1, ddof=1).mean(axis=0).sum())
    means = float(values.mean(axis=1).var(axis=0, ddof=1).sum())
    between = max(means - within / values.shape[1], 0.0)
    if between + within == 0:
        return float("nan")
    return between / (between + within)
