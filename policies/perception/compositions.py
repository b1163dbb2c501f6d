"""Who fights whom in the data of a perception mind, and which compositions are held out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from envs import archetypes
from envs.configuration import Range
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE
from envs.perception.sights import Sights, record_sights
from envs.perception.splits import split_of
from envs.simulation import state as s
from envs.simulation.world import World

Split = Literal["train", "validation", "test", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "held_out")
"""Fights of the first three have the same compositions, told apart by their seeds; the last one's enemies
never fought in training."""
HELD_OUT_EVERY = 4
"""One of so many teams of enemies is held out."""
PROBES = 16
"""Fights of each composition by which their length is estimated."""


@dataclass(frozen=True, kw_only=True)
class FightPlan:
    """What is recorded; the profiles' values stand in `configs/<model type>.yaml`."""

    fights: Annotated[int, Range(minimum=1)]
    """Per composition, over the sets train, validation and test (8 : 1 : 1); `decisions` may bound them."""
    decisions: Annotated[int, Range(minimum=1)] | None = None
    """Decisions of the observer over all fights, about: where fights are long there are fewer of them, so
    that every archetype costs much the same. None bounds nothing."""
    sizes: dict[str, Annotated[int, Range(minimum=1)]] = field(
        default_factory=lambda: {"1v1": 4, "2v2": 6, "3v3": 6}
    )
    """Compositions of each team size that are trained on; a third as many (at least one) are held out."""
    stride: Annotated[int, Range(minimum=1)] = 1
    """Decisions between two rows of one fight."""
    styles: tuple[str, ...] = s.STYLES
    """Styles that the enemies draw from, one per fight."""
    switching: bool = False
    """Whether enemies change to another style in mid-fight."""

    def validate(self) -> None:
        """Refuse unknown sizes and styles.

        Raises:
            ValueError: What is unknown.
        """
        known = [f"{n}v{n}" for n in range(1, MAX_TEAM_SIZE + 1)]
        for size in self.sizes:
            if size not in known:
                raise ValueError(f"sizes: unknown team size '{size}'; known are {', '.join(known)}")
        for style in self.styles:
            if style not in s.STYLES:
                raise ValueError(f"styles: unknown style '{style}'; known are {', '.join(s.STYLES)}")


@dataclass(frozen=True)
class Composition:
    """Two teams, and how their scripts play."""

    teams: tuple[tuple[str, ...], tuple[str, ...]]
    tiers: tuple[str, str]


def compositions(archetype: str, plan: FightPlan, seed: int, *, held_out: bool) -> list[Composition]:
    """The fights that an archetype perceives from slot 0 of its team.

    Which teams of enemies are held out is the same for every seed and archetype; who is drawn, and the
    archetype's own team mates, depend on both.

    Args:
        archetype: of the observer.
        plan: how many.
        seed: of the draw.
        held_out: those never trained on, else those of training.
    """
    rng = np.random.default_rng([seed, ARCHETYPES.index(archetypes.load(archetype).base), int(held_out)])
    found = []
    for size, count in plan.sizes.items():
        members = int(size[0])
        choices = [
            enemies
            for number, enemies in enumerate(itertools.combinations_with_replacement(ARCHETYPES, members))
            if (number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held_out
        ]
        wanted = max(1, count // 3) if held_out else count
        for index, pick in enumerate(_spread(len(choices), wanted, rng)):
            allies = tuple(ARCHETYPES[k] for k in rng.integers(0, len(ARCHETYPES), members - 1))
            enemies = tuple(choices[pick][k] for k in rng.permutation(members))
            tiers = (("classic", "veteran")[index % 2], ("classic", "veteran")[index // 2 % 2])
            found.append(Composition(((archetype, *allies), enemies), tiers))
    return found


def record(
    archetype: str, plan: FightPlan, seed: int, *, held_out: bool = False, **more: Any
) -> Iterator[tuple[Composition, Sights]]:
    """Play fights, composition by composition, in one order on every machine.

    Args:
        archetype: of the observer, unit 0 of team 0.
        plan: what is recorded.
        seed: of compositions and fights.
        held_out: those never trained on (a fifth as many fights each), else those of training, which
            `split_sights` divides.
        **more: further arguments of `record_sights`, such as grid_stride, or others than the plan's.
    """
    fights = fights_of(archetype, plan, seed, held_out=held_out)
    for number, composition in enumerate(compositions(archetype, plan, seed, held_out=held_out)):
        arguments = {**world_arguments(composition, plan, seed, number, held_out=held_out), **more}
        yield composition, record_sights(fights, composition.teams, **arguments)


def fights_of(archetype: str, plan: FightPlan, seed: int, *, held_out: bool) -> int:
    """Fights per composition, the same on every machine.

    Those of the plan; with a bound on decisions at most so many that they come to about the bound, judged by
    the first fights of each composition. Of the held-out compositions a fifth as many, at least 8.
    """
    fights = plan.fights
    if plan.decisions is not None:
        found = enumerate(compositions(archetype, plan, seed, held_out=False))
        each = sum(_mean_decisions(composition, plan, seed, number) for number, composition in found)
        fights = min(fights, max(round(plan.decisions / each), 1))
    return max(fights // 5, 8) if held_out else fights


def world_arguments(
    composition: Composition, plan: FightPlan, seed: int, number: int, *, held_out: bool
) -> dict[str, Any]:
    """Further arguments of `World` (but for the damage log) by which `record` plays a composition.

    Args:
        composition: who fights.
        plan: what is recorded.
        seed: of compositions and fights.
        number: place of the composition in `compositions`.
        held_out: whether it is one that is never trained on.
    """
    return {
        "seed": (seed * 1009 + number) * 2 + held_out,
        "tiers": composition.tiers,
        "styles": (s.STYLES, plan.styles),
        "switching": plan.switching,
    }


def split_sights(sights: Sights) -> dict[str, Sights]:
    """The fights of train, validation and test, by a hash of what names a fight; a set may be empty."""
    recording = sights.recording
    which = split_of(recording.seed, recording.number, recording.episode)
    return {name: sights.fights(which == index) for index, name in enumerate(SPLITS[:3])}


def _mean_decisions(composition: Composition, plan: FightPlan, seed: int, number: int) -> float:
    """How many decisions unit 0 lives to take in a fight, by the first fights of a training composition."""
    world = World(
        PROBES, composition.teams, **world_arguments(composition, plan, seed, number, held_out=False)
    )
    nobody = np.zeros((PROBES, 0), np.int32)
    lives = np.ones(PROBES, bool)
    decisions = 0
    while lives.any():
        decisions += int(lives.sum())
        world.step(nobody)
        lives &= (world.outcome == s.RUNNING) & (world.units[:, 0, f.HP] > 0)
    world.close()
    return decisions / PROBES


def _spread(choices: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """As many picks as wanted, each choice once before any comes again."""
    order = [rng.permutation(choices) for _ in range(-(-wanted // choices))]
    return np.concatenate(order)[:wanted]
