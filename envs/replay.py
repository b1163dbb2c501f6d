"""A replay: who fought, the seed, and every action. The fight itself is simulated again.

The file is JSON of a few kilobytes. It holds the fighters' own numbers (stats and skills), so a fight
between monsters of a user's own can be watched where their files are missing. What it cannot hold is the
rules: checksums taken on the way say whether today's rules still give the recorded fight.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from envs.archetypes import Skill
from envs.configuration import ConfigError, Range, load_dataclass, nearest, to_plain
from envs.contracts import layout as f
from envs.contracts.vocabulary import (
    ACTION_VERSIONS,
    ARCHETYPES,
    HEADS,
    MAX_TEAM_SIZE,
    NUM_CONTROL_PARTS,
    NUM_SKILL_SLOTS,
    OBS_VERSION,
)

FORMAT = "ml-monster-replay"
VERSION = 1
CHECK_EVERY = 50
"""Decisions (10 s) between two checksums."""
MAX_BYTES = 20_000_000
MAX_DECISIONS = 100_000

_INT = 2**31 - 1
Amount = Annotated[int, Range(minimum=0, maximum=_INT)]
Positive = Annotated[int, Range(minimum=1, maximum=_INT)]
Action = int | tuple[float, ...]


class ReplayError(ConfigError):
    """Raised for a replay that cannot be read, or that no longer gives the recorded fight."""


@dataclass(frozen=True)
class Fighter:
    """A unit's numbers at the start of a fight; units as in `envs.archetypes.Stats`.

    Attributes:
        name: archetype or monster.
        base: the archetype it is seen as; "" for none.
        aggressive: its script starts fights.
        skill_chance: per cent applied to the skill chances of its script.
    """

    name: str
    base: str
    hp: Positive
    sp: Amount
    atk: Amount
    matk: Amount
    defence: Amount
    mdef: Amount
    hit: Amount
    flee: Amount
    range: Positive
    speed_ms: Positive
    attack_delay_ms: Positive
    attack_motion_ms: Amount
    basic_magic_percent: Amount
    preferred_distance: tuple[Amount, Amount]
    aggressive: bool
    skill_chance: Amount
    skills: tuple[Skill, ...]

    def validate(self) -> None:
        """Raise ValueError on an unknown base or too many skills."""
        if self.base and self.base not in ARCHETYPES:
            raise ValueError(f"base: unknown archetype {self.base!r}{nearest(self.base, ARCHETYPES)}")
        if len(self.skills) > NUM_SKILL_SLOTS:
            raise ValueError(f"skills: {len(self.skills)} skills, at most {NUM_SKILL_SLOTS} slots")


@dataclass(frozen=True)
class Arena:
    """Where and by which settings the fight was fought; see `envs.simulation.world.World`.

    Attributes:
        terrain: one text per row from the lowest y, "#" blocked, "." free; None where all cells are free.
    """

    size: Literal[32, 48]
    rules: Literal["renewal", "prerenewal"]
    starts: Literal["near", "around", "random"]
    time_limit_ticks: Annotated[int, Range(minimum=1, maximum=100_000)]
    swap_sides: bool
    switching: bool
    styles: tuple[tuple[str, ...], tuple[str, ...]]
    terrain: tuple[str, ...] | None = None

    def validate(self) -> None:
        """Raise ValueError on terrain of a wrong size or with other letters, and on unknown styles."""
        from envs.simulation.state import STYLES

        for style in (name for team in self.styles for name in team):
            if style not in STYLES:
                raise ValueError(f"styles: unknown style {style!r}{nearest(style, STYLES)}")
        rows = self.terrain
        if rows is not None and (len(rows) != self.size or any(len(row) != self.size for row in rows)):
            raise ValueError(f"terrain: needs {self.size} rows of {self.size} letters")
        if rows is not None and set("".join(rows)) - {"#", "."}:
            raise ValueError("terrain: a row holds '#' (blocked) and '.' (free) only")


@dataclass(frozen=True)
class Notes:
    """What a learner thought, one entry per decision; an empty tuple where nothing was noted.

    Attributes:
        probabilities: of each action.
        values: what it expected to earn from here on.
        threat: per enemy by its own order, the share of the learner's max HP expected to be lost to it
            within 2 s.
    """

    probabilities: tuple[tuple[float, ...], ...] = ()
    values: tuple[float, ...] = ()
    threat: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class End:
    """How the recording ended.

    Attributes:
        outcome: from team 0's side: 1/-1 won/lost by kill, 2/-2 on time, 3 draw, 0 cut before the end.
        tick: ticks of 100 ms played.
    """

    outcome: Annotated[int, Range(minimum=-2, maximum=3)]
    tick: Amount


@dataclass(frozen=True)
class Replay:
    """One recorded fight.

    Attributes:
        contracts: versions of what the learners saw and of what their actions mean.
        rules_version: hash of the simulation's code at the time of recording.
        seed: of the world; with `fight` and `episode` the key of all random numbers.
        fighters: the different kinds of units in the fight.
        teams: per team and slot an index into `fighters`, equally many.
        head: what the learners' actions mean, one of `envs.contracts.HEADS`.
        learners: units of team 0 that obey, from slot 0.
        weights: reward terms of unit 0 with their weights; empty where no reward was kept.
        decisions: decision windows played.
        actions: (decision, learner): a whole number, or five numbers for the control head.
        notes: one entry per learner, or none.
        checks: checksum of the state before every `CHECK_EVERY`th decision, and of the last state.
        about: what a person wants to know, such as `policy` or `scenario`.
    """

    contracts: dict[str, str]
    rules_version: str
    seed: Annotated[int, Range(minimum=0, maximum=2**64 - 1)]
    fight: Annotated[int, Range(minimum=0, maximum=2**62)]
    episode: Annotated[int, Range(minimum=0, maximum=2**62)]
    arena: Arena
    fighters: tuple[Fighter, ...]
    teams: tuple[tuple[Amount, ...], tuple[Amount, ...]]
    head: str
    learners: Annotated[int, Range(minimum=0, maximum=MAX_TEAM_SIZE)]
    weights: dict[str, float]
    decisions: Annotated[int, Range(minimum=0, maximum=MAX_DECISIONS)]
    actions: tuple[tuple[Action, ...], ...]
    checks: tuple[str, ...]
    end: End
    notes: tuple[Notes, ...] = ()
    about: dict[str, str] = field(default_factory=dict)

    def validate(self) -> None:
        """Raise ValueError where parts do not fit together."""
        from envs.rewards import TERMS

        if self.head not in HEADS:
            raise ValueError(f"head: unknown head {self.head!r}{nearest(self.head, HEADS)}")
        half = len(self.teams[0])
        if not 1 <= half <= MAX_TEAM_SIZE or len(self.teams[1]) != half:
            raise ValueError(
                f"teams: {half} against {len(self.teams[1])}; 1 to {MAX_TEAM_SIZE} on both sides"
            )
        if any(index >= len(self.fighters) for team in self.teams for index in team):
            raise ValueError(f"teams: an index beyond the {len(self.fighters)} fighters")
        if self.learners > half:
            raise ValueError(f"learners: {self.learners} in a team of {half}")
        for name in self.weights:
            if name not in TERMS:
                raise ValueError(f"weights: unknown reward term {name!r}{nearest(name, TERMS)}")
        self._validate_decisions()

    def _validate_decisions(self) -> None:
        wanted = self.decisions if self.learners else 0
        if len(self.actions) != wanted:
            raise ValueError(f"actions: {len(self.actions)} rows, {wanted} decisions; the file is cut short")
        for number, row in enumerate(self.actions):
            right = len(row) == self.learners and all(
                (len(action) == NUM_CONTROL_PARTS) if isinstance(action, tuple) else abs(action) <= _INT
                for action in row
            )
            mixed = any(isinstance(action, tuple) != (self.head == "control") for action in row)
            if not right or mixed:
                kind = f"{NUM_CONTROL_PARTS} numbers" if self.head == "control" else "a whole number"
                raise ValueError(f"actions[{number}]: {kind} for each of {self.learners} learners needed")
        if len(self.checks) != 1 + -(-self.decisions // CHECK_EVERY):
            raise ValueError(f"checks: {len(self.checks)} checksums do not fit {self.decisions} decisions")
        if self.notes and len(self.notes) != self.learners:
            raise ValueError(f"notes: {len(self.notes)} entries for {self.learners} learners")
        for note in self.notes:
            for name, rows in vars(note).items():
                if rows and len(rows) != self.decisions:
                    raise ValueError(f"notes: {name}: {len(rows)} entries for {self.decisions} decisions")

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the fighters of both teams."""
        first, second = (tuple(self.fighters[index].name for index in team) for team in self.teams)
        return first, second


def contract_versions(head: str) -> dict[str, str]:
    """Versions that a recording of this head depends on."""
    return {"observation": OBS_VERSION, "action": ACTION_VERSIONS[head]}


@cache
def rules_version() -> str:
    """Hash of the code that decides how a fight goes, without comments: 16 hexadecimal digits."""
    digest = hashlib.sha256(repr((f.NUM_UNIT_FIELDS, f.SKILL_KINDS, f.ORDER_KINDS)).encode())
    for path in sorted((Path(__file__).parent / "simulation").glob("*.py")):
        digest.update(path.name.encode())
        digest.update(ast.dump(ast.parse(path.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:16]


def save(replay: Replay, path: Path | str) -> Path:
    """Write a replay; an earlier file stays whole until the new one is.

    Raises:
        ReplayError: the file cannot be written.
    """
    path = Path(path)
    body = {"format": FORMAT, "version": VERSION, **to_plain(replay)}
    beside = path.with_name(path.name + ".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(body, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ReplayError(f"{path} cannot be written ({error.strerror}); give another place") from None
    return path


def load(path: Path | str) -> Replay:
    """Read a replay.

    Raises:
        ReplayError: no such file, not a replay, of another version, or damaged; one line says which.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ReplayError(f"{path} cannot be read ({error.strerror}); give the path of a replay") from None
    if len(data) > MAX_BYTES:
        raise ReplayError(f"{path} has more than {MAX_BYTES // 10**6} MB; a replay has kilobytes")
    try:
        body = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ReplayError(
            f"{path} is no replay or is cut short: not JSON ({reason}); record it again"
        ) from None
    return parse(body, str(path))


def parse(body: Any, source: str) -> Replay:
    """Check the plain values of a replay file and build the replay.

    Raises:
        ReplayError: as `load`.
    """
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ReplayError(f'{source} is no replay: it does not say "format": "{FORMAT}"')
    version = body.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        remedy = "update this installation" if newer else "record the fight again"
        raise ReplayError(f"{source} has replay version {version!r}, this reads {VERSION}; {remedy}")
    plain = {key: value for key, value in body.items() if key not in ("format", "version")}
    try:
        replay = load_dataclass(Replay, plain, source)
    except ReplayError:
        raise
    except ConfigError as error:
        raise ReplayError(str(error)) from None
    wanted = contract_versions(replay.head)
    for name, mine in wanted.items():
        seen = replay.contracts.get(name)
        if seen != mine:
            raise ReplayError(
                f"{source} was recorded with {name} contract {seen!r}, this is {mine!r}: its actions mean "
                "something else now; record the fight again"
            )
    return replay


def finite(values: Any, name: str) -> float:
    """Return a number for a file. Raises ValueError on NaN or infinity, which no file can hold."""
    number = float(values)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; only finite numbers can be recorded")
    return round(number, 5)


def _no_constant(text: str) -> float:
    raise ValueError(f"the number {text}")
