"""Archetypes: stat block, skills, scenario, reward weights and training parameters, one YAML each.

Beside the six there may be a user's own, in one file (`use_file`, or the environment variable
`MONSTER_ARCHETYPES`), or as plain values that a training run carries along (`define`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from envs.configuration import ConfigError, Range, load_dataclass, load_yaml, nearest, to_plain
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE, NUM_SKILL_SLOTS

DATA = Path(__file__).parent / "data"
FILE_VARIABLE = "MONSTER_ARCHETYPES"
"""Names the archetypes file for processes that this one starts."""

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
    outcome_weight: float = 0.0


@dataclass(frozen=True)
class Training:
    """Training parameters; None means the general value."""

    learning_rate: Annotated[float | None, Range(above=0.0, maximum=1.0)] = None
    exploration_noise: Annotated[float | None, Range(minimum=0.0, maximum=1.0)] = None
    reward_scale: Annotated[float | None, Range(above=0.0)] = None


@dataclass(frozen=True)
class ArchetypeConfig:
    """Everything that makes an archetype, or a monster that is based on one.

    Attributes:
        base: the archetype it is seen and rewarded as; its own name for the six archetypes.
    """

    name: str
    base: str
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
            if partner not in ARCHETYPES and _definition(partner) is None:
                raise ValueError(f"partners: unknown archetype {partner!r}{suggestion(partner)}")
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
    """Load an archetype, or a monster of the scenarios, by name.

    Raises:
        ConfigError: unknown name, or a file that breaks the schema (its file and key are named).
    """
    if name in ARCHETYPES:
        path = DATA / "archetypes" / f"{name}.yaml"
        source, data = path.name, {"base": name, **load_yaml(path)}
        data["stats"] = _stats(data.get("stats"))
    elif name in monsters():
        path = DATA / "monsters" / f"{name}.yaml"
        source, data = path.name, inherit(load_yaml(path), path.name)
    elif (defined := _definition(name)) is not None:
        source = f"{defined[1]}: {name}"
        data = inherit(defined[0], source)
    else:
        raise ConfigError(f"unknown archetype {name!r}{suggestion(name)}")
    return load_dataclass(ArchetypeConfig, {**data, "name": name}, source=source)


@cache
def monsters() -> tuple[str, ...]:
    """Names of the monsters that only scenarios use."""
    return tuple(sorted(path.stem for path in (DATA / "monsters").glob("*.yaml")))


def inherit(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Complete a monster's mapping by that of its base archetype; single stats may be given alone.

    Raises:
        ConfigError: no base, or one that is not an archetype.
    """
    base = data.get("base")
    if base not in ARCHETYPES:
        raise ConfigError(f"{source}: base: {base!r} is not an archetype; one of {', '.join(ARCHETYPES)}")
    parent = _parent(DATA / "archetypes" / f"{base}.yaml")
    stats = _stats(data.get("stats", {}))
    if isinstance(stats, dict):  # anything else is refused where the schema is checked
        stats = {**_stats(parent["stats"]), **stats}
    return {**parent, **data, "stats": stats}


@cache
def _parent(path: Path) -> dict[str, Any]:
    """A file's mapping, read once; not to be changed."""
    return load_yaml(path)


def _stats(data: Any) -> Any:
    """Stats with the field's name for `def`, which is a keyword of Python."""
    return (
        {"def_" if key == "def" else key: value for key, value in data.items()}
        if isinstance(data, dict)
        else data
    )


# A user's own archetypes: (mapping, what messages call its source) by name, and the file read last.
_own: dict[str, tuple[Mapping[str, Any], str]] = {}
_own_file: str | None = None


def use_file(path: str | Path) -> tuple[str, ...]:
    """Make the archetypes of a file known by their names, here and in processes started from now on.

    Args:
        path: names with a mapping each, as `monster import-db` writes them; takes the place of the file used
            before.

    Returns:
        The names.

    Raises:
        ConfigError: the file cannot be read, or an entry breaks the schema; nothing is changed then.
    """
    global _own_file
    from envs.databases.archetypes_file import read_archetypes

    entries = read_archetypes(path)
    source = str(Path(path).expanduser().absolute())
    before = dict(_own)
    for name in [name for name, (_, origin) in _own.items() if origin == _own_file]:
        del _own[name]
    try:
        _define(entries, source)
    except ConfigError:
        _own.clear()
        _own.update(before)
        load.cache_clear()
        raise
    _own_file = os.environ[FILE_VARIABLE] = source
    return tuple(entries)


def define(archetypes: Mapping[str, Mapping[str, Any]]) -> None:
    """Make archetypes known by plain values, as `definitions` gives them; a known name gets the new ones.

    Raises:
        ConfigError: an entry breaks the schema.
    """
    _define(archetypes, "definition")


def forget() -> None:
    """Know only the six again, here and in processes started from now on."""
    global _own_file
    os.environ.pop(FILE_VARIABLE, None)
    _own.clear()
    _own_file = None
    load.cache_clear()


def _define(entries: Mapping[str, Mapping[str, Any]], source: str) -> None:
    for name in entries:
        if name in ARCHETYPES or name in monsters():
            raise ConfigError(f"{Path(source).name}: {name!r} is a built-in name; rename the entry")
    _own.update({name: (data, source) for name, data in entries.items()})
    load.cache_clear()
    for name in entries:
        load(name)


def definitions(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What a run must carry along to be the same anywhere: the user's own archetypes among some names.

    Args:
        names: archetypes; their partners come along.

    Returns:
        Complete plain values by name, for `define`; nothing for the six.
    """
    found: dict[str, dict[str, Any]] = {}
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in ARCHETYPES and name not in found:
            config = load(name)
            found[name] = to_plain(config)
            open_names += config.partners
    return dict(sorted(found.items()))


def known() -> tuple[str, ...]:
    """Names that can be trained: the six archetypes, then the user's own."""
    _read_variable()
    return (*ARCHETYPES, *_own)


def suggestion(name: str) -> str:
    """The end of an error line about an unknown archetype; of many names only the nearest ones are listed."""
    close = difflib.get_close_matches(str(name).lower(), _own, n=3, cutoff=0.6)
    return nearest(name, (*ARCHETYPES, *close))


def _definition(name: str) -> tuple[Mapping[str, Any], str] | None:
    if name not in _own:
        _read_variable()
    found = _own.get(name)
    return None if found is None else (found[0], Path(found[1]).name)


def _read_variable() -> None:
    """Use the file that a parent process named, once."""
    global _own_file
    path = os.environ.get(FILE_VARIABLE)
    if not path or path == _own_file:
        return
    from envs.databases.archetypes_file import read_archetypes

    _own_file = path  # also where it fails: once is enough
    try:
        entries = read_archetypes(path)
    except ConfigError as error:
        raise ConfigError(f"{FILE_VARIABLE}: {error}") from None
    # What a run carries along stands above the file. Entries are checked when they are used.
    _own.update({name: (data, path) for name, data in entries.items() if name not in (*ARCHETYPES, *_own)})


def skill_rows(config: ArchetypeConfig) -> np.ndarray:
    """Skills of an archetype, int32 `(slot, 10)`; the last column is a script's chance."""
    rows = np.zeros((NUM_SKILL_SLOTS, f.NUM_SKILL_FIELDS + 1), np.int32)
    for slot, s in enumerate(config.skills):
        rows[slot] = (
            f.SKILL_KINDS.index(s.kind), s.magic, s.effect, s.range, s.cost,
            s.cast_ms, s.cooldown_ms, s.radius, s.duration_ms, s.chance,
        )  # fmt: skip
    return rows


@cache
def skill_table() -> np.ndarray:
    """Skills of the six archetypes, int32 `(archetype, slot, 10)`."""
    table = np.stack([skill_rows(load(name)) for name in ARCHETYPES])
    table.setflags(write=False)
    return table
