"""Archetypes: stat block, skills, scenario, reward weights and training parameters, one YAML each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np

from envs.configuration import ConfigError, Range, load_dataclass, load_yaml, nearest
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE, NUM_SKILL_SLOTS

DATA = Path(__file__).parent / "data"

Points = Annotated[int, Range(minimum=0, maximum=1_000_000)]
Milliseconds = Annotated[int, Range(minimum=0, maximum=600_000)]
Cells = Annotated[int, Range(minimum=0, maximum=48)]


@dataclass(frozen=True)
class Stats:
    """Unit stats; HP, SP and attributes in game points, range in cells, times in ms."""

    hp: Annotated[int, Range(minimum=1, maximum=1_000_000)]
    sp: Points
    atk: Points
    matk: Points
    def_: Points
    mdef: Points
    hit: Points
    flee: Points
    range: Annotated[int, Range(minimum=1, maximum=48)]
    speed_ms: Annotated[int, Range(minimum=50, maximum=10_000)]
    attack_delay_ms: Annotated[int, Range(minimum=100, maximum=60_000)]
    attack_motion_ms: Milliseconds


@dataclass(frozen=True)
class Skill:
    """One skill slot; see `envs.contracts.layout` for the kinds."""

    name: str
    kind: str
    magic: bool
    effect: Points
    range: Cells
    cost: Points
    cast_ms: Milliseconds
    cooldown_ms: Milliseconds
    radius: Cells
    duration_ms: Milliseconds
    chance: Annotated[int, Range(minimum=0, maximum=10_000)]

    def validate(self) -> None:
        """Raise ValueError on an unknown kind."""
        if self.kind not in f.SKILL_KINDS[1:]:
            raise ValueError(f"kind: unknown skill kind {self.kind!r}; one of {', '.join(f.SKILL_KINDS[1:])}")


@dataclass(frozen=True)
class Reward:
    """Weights of the reward terms (names and units in `envs.rewards`)."""

    individual_weight: float
    team_weight: float
    terms: dict[str, float]


@dataclass(frozen=True)
class Training:
    """Training parameters; None means the general value."""

    learning_rate: Annotated[float | None, Range(above=0.0, maximum=1.0)] = None
    exploration_noise: Annotated[float | None, Range(minimum=0.0, maximum=1.0)] = None
    reward_scale: Annotated[float | None, Range(above=0.0)] = None


@dataclass(frozen=True)
class ArchetypeConfig:
    """Everything that makes an archetype."""

    name: str
    character: str
    stats: Stats
    basic_magic_percent: Annotated[int, Range(minimum=0, maximum=1000)]
    preferred_distance: tuple[int, int]
    skills: tuple[Skill, ...]
    scenario: str
    partners: tuple[str, ...]
    reward: Reward
    training: Training

    def validate(self) -> None:
        """Raise ValueError where fields do not fit together."""
        if len(self.skills) > NUM_SKILL_SLOTS:
            raise ValueError(f"skills: {len(self.skills)} skills, at most {NUM_SKILL_SLOTS} slots")
        for partner in self.partners:
            if partner not in ARCHETYPES:
                raise ValueError(f"partners: unknown archetype {partner!r}{nearest(partner, ARCHETYPES)}")
        try:
            team_size(self.scenario)
        except ConfigError as error:
            # Plain, so that the loader puts the file's name before it.
            raise ValueError(f"scenario: {error}") from None

    def team(self, scenario: str | None = None) -> tuple[str, ...]:
        """Archetypes of one side; the learner comes first.

        Raises:
            ConfigError: unknown scenario.
        """
        size = team_size(scenario or self.scenario)
        return (self.name, *self.partners[: size - 1])


def team_size(scenario: str) -> int:
    """Units a side of a scenario name such as `3v3`. Raises ConfigError on any other name."""
    known = [f"{n}v{n}" for n in range(1, MAX_TEAM_SIZE + 1)]
    if scenario not in known:
        raise ConfigError(f"unknown scenario {scenario!r}; one of {', '.join(known)}")
    return known.index(scenario) + 1


@cache
def load(name: str) -> ArchetypeConfig:
    """Load an archetype by name.

    Raises:
        ConfigError: unknown name, or a file that breaks the schema (its file and key are named).
    """
    if name not in ARCHETYPES:
        raise ConfigError(f"unknown archetype {name!r}{nearest(name, ARCHETYPES)}")
    path = DATA / "archetypes" / f"{name}.yaml"
    data = load_yaml(path)
    if isinstance(data.get("stats"), dict) and "def" in data["stats"]:
        data["stats"]["def_"] = data["stats"].pop("def")  # "def" is a Python keyword
    return load_dataclass(ArchetypeConfig, {"name": name, **data}, source=path.name)


@cache
def skill_table() -> np.ndarray:
    """Skills of all archetypes, int32 `(archetype, slot, 10)`; the last column is a script's chance."""
    table = np.zeros((len(ARCHETYPES), NUM_SKILL_SLOTS, f.NUM_SKILL_FIELDS + 1), np.int32)
    for row, name in enumerate(ARCHETYPES):
        for slot, s in enumerate(load(name).skills):
            table[row, slot] = (
                f.SKILL_KINDS.index(s.kind), s.magic, s.effect, s.range, s.cost,
                s.cast_ms, s.cooldown_ms, s.radius, s.duration_ms, s.chance,
            )  # fmt: skip
    table.setflags(write=False)
    return table
