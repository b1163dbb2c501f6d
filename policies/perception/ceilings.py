"""How much of a label anybody could know: states like those of a set, each played on again and again.

A state is drawn from the very fights that make a set's rows, each row alike, and branched: its copies go on
under other random numbers. What differs between the copies is chance, and `noise_ceiling` of
`envs.perception.branching` turns the draws into the explained variance of a perfect predictor.

There are two such predictors. The all-knowing one is given the whole state, also what no row shows: styles,
clocks, cooldowns. The one that is told no more than a mind (`told=True`) has to infer the sides' styles:
each copy redraws them from the exact posterior given what was seen, so that not knowing them counts as
chance. Clocks and cooldowns stay as they are, so this ceiling too is rather too high.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from envs.perception.branching import noise_ceiling, outcomes
from envs.perception.recorder import record_fights
from envs.perception.recording import Recording
from envs.perception.splits import split_of
from envs.simulation.world import World
from policies.perception.compositions import (
    SPLITS,
    Composition,
    FightPlan,
    Split,
    compositions,
    fights_of,
    world_arguments,
)
from policies.perception.style_beliefs import StyleBeliefs, redraw

Labeller = Callable[[Recording], np.ndarray]
"""From a recording whose time 0 is the state to float `(copy, ...)`, nan where the label is unknown."""


@dataclasses.dataclass(frozen=True)
class FreshFights:
    """Fights that belong to no set of a plan, such as those of an evaluation.

    Attributes:
        seed: of the fights, see `world_arguments`.
        fights: per composition.
    """

    seed: int
    fights: int


@dataclasses.dataclass(frozen=True)
class Draws:
    """A label drawn again and again from states of a set.

    Attributes:
        values: float64 `(state, copy, ...)`; nan where a label is unknown.
        composition: int64 `(state,)`, place of the state's teams among the set's compositions.
        fight: int64 `(state,)`, number of its fight within the composition.
        time: int64 `(state,)`, decision within the fight.
    """

    values: np.ndarray
    composition: np.ndarray
    fight: np.ndarray
    time: np.ndarray

    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Every known label of every state as a row of its own.

        Returns:
            float64 `(entry, copy)`, those that are known in all copies; int64 `(entry,)`, their state.
        """
        states, copies = self.values.shape[:2]
        flat = np.moveaxis(self.values.reshape(states, copies, -1), 1, 2)
        known = np.isfinite(flat).all(axis=2)
        return flat[known], np.repeat(np.arange(states), flat.shape[1])[known.reshape(-1)]


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """The explained variance of a perfect predictor, and how surely it is known.

    Attributes:
        value: over all states.
        low: lower end of a 95 % interval, by resampling fights.
        high: its upper end.
        states: drawn.
        entries: labels of them that are known.
    """

    value: float
    low: float
    high: float
    states: int
    entries: int


def draw(
    archetype: str,
    plan: FightPlan,
    seed: int,
    label: Labeller,
    *,
    horizon: int,
    split: Split = "test",
    states: int = 512,
    copies: int = 16,
    salt: int = 1,
    told: bool = False,
    window: int | None = None,
    fresh: FreshFights | None = None,
) -> Draws:
    """Draw states of a set as its rows are drawn, and their futures.

    Args:
        archetype: of the observer, unit 0.
        plan: what was recorded for the set.
        seed: of compositions and fights, as of the set.
        label: what is asked.
        horizon: decision windows to play.
        split: whose fights; held_out has compositions of its own.
        states: so many, or every row of the set if it has fewer.
        copies: futures per state.
        salt: another one gives other futures.
        told: each copy draws the sides' styles anew from what can be known of them, see `StyleBeliefs`.
        window: decisions back that were seen; None: the whole fight.
        fresh: fights of their own in the split's compositions, all of which count, in place of the plan's.

    Raises:
        ValueError: the set has no fights; told, and sides change their style in mid-fight.
    """
    rng = np.random.default_rng([seed, salt, SPLITS.index(split)])
    held_out = split == "held_out"
    found = compositions(archetype, plan, seed, held_out=held_out)
    count = fights_of(archetype, plan, seed, held_out=held_out) if fresh is None else fresh.fights
    numbered = seed if fresh is None else fresh.seed
    places = np.concatenate(
        [
            _rows(composition, number, plan, numbered, count, split, every_fight=fresh is not None)
            for number, composition in enumerate(found)
        ]
    )
    if len(places) == 0:
        raise ValueError(f"{split}: no fights; record more than {plan.fights} per composition")
    chosen = np.sort(rng.permutation(len(places))[:states])
    places = places[chosen]
    values: list[np.ndarray] = []
    for number in np.unique(places[:, 0]).tolist():
        mine = places[places[:, 0] == number]
        arguments = world_arguments(found[number], plan, numbered, number, held_out=held_out)
        world = World(count, found[number].teams, log_damage=True, **arguments)
        nobody = np.zeros((count, 0), np.int32)
        beliefs = StyleBeliefs(world, mine[:, 2], window) if told else None
        time = 0
        for moment in np.unique(mine[:, 1]).tolist():
            while time < moment:
                if beliefs is not None:
                    beliefs.watch(world)
                world.step(nobody)
                time += 1
            fights = mine[mine[:, 1] == moment, 2].tolist()
            change = (
                None if beliefs is None else _redrawing(beliefs.chances(world), [seed, salt, number, moment])
            )
            values.extend(outcomes(world, fights, copies, horizon, label, salt=salt, change=change))
        world.close()
    return Draws(np.stack(values), places[:, 0], places[:, 2], places[:, 1])


def ceiling(draws: Draws, *, resamples: int = 200, seed: int = 0) -> Ceiling:
    """The noise ceiling of draws; each known label of a state counts alike.

    Args:
        draws: from `draw`.
        resamples: of the interval.
        seed: of the resampling.
    """
    values, state = draws.entries()
    names = draws.composition * np.int64(1 << 32) + draws.fight
    _, group = np.unique(names[state], return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 2))
    rng = np.random.default_rng(seed)
    again = []
    for _ in range(resamples):
        picks = rng.integers(0, len(starts) - 1, len(starts) - 1)
        rows = np.concatenate([order[starts[k] : starts[k + 1]] for k in picks])
        again.append(noise_ceiling(values[rows]))
    low, high = np.nanquantile(again, [0.025, 0.975])
    return Ceiling(noise_ceiling(values), float(low), float(high), len(draws.values), len(values))


def _redrawing(chances: np.ndarray, name: list[int]) -> Callable[[World, int], None]:
    """What redraws the styles of a fight's copies; the random numbers depend on the moment's name alone."""

    def change(branched: World, fight: int) -> None:
        redraw(branched, chances[fight], np.random.default_rng([*name, fight]))

    return change


def _rows(
    composition: Composition,
    number: int,
    plan: FightPlan,
    seed: int,
    count: int,
    split: Split,
    *,
    every_fight: bool,
) -> np.ndarray:
    """Where unit 0 lives while a fight of the set runs, every `plan.stride` decisions.

    Returns:
        int64 `(row, 3)`: composition, time, fight.
    """
    held_out = split == "held_out"
    arguments = world_arguments(composition, plan, seed, number, held_out=held_out)
    recording = record_fights(count, composition.teams, **arguments)
    mine = np.ones(count, bool)
    if not (held_out or every_fight):
        mine = split_of(recording.seed, recording.number, recording.episode) == SPLITS.index(split)
    time = np.arange(recording.num_windows)[:, None]
    seeing = (time < recording.length) & recording.alive[:-1, :, 0] & mine & (time % plan.stride == 0)
    places = np.argwhere(seeing)
    return np.concatenate([np.full((len(places), 1), number), places], axis=1).astype(np.int64)
