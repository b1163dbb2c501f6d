"""Recording a fight while it is played: `Recorder` watches one fight of a `World`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs import archetypes
from envs.archetypes import Skill
from envs.configuration import ConfigError
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, NUM_CONTROL_PARTS
from envs.playback import STAT_FIELDS, checksum
from envs.replay import (
    CHECK_EVERY,
    Arena,
    End,
    Fighter,
    Notes,
    Replay,
    contract_versions,
    finite,
    rules_version,
)
from envs.simulation import state as s
from envs.simulation.world import RULES, World

_UNSIGNED = 2**64 - 1


class Recorder:
    """Records one fight of a world that has just been reset.

        recorder = Recorder(env.world, weights=env.ledger.weights)
        while running:
            recorder.decide(actions, values=[q.max()])
            env.step(actions)
        replay = recorder.finish()

    After the fight's end `finish` must come before the next step, which begins another fight.
    """

    def __init__(
        self,
        world: World,
        fight: int = 0,
        *,
        weights: Mapping[str, float] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Attach to a fight.

        Args:
            world: the batch.
            fight: row of the fight in the batch.
            weights: reward terms of unit 0 and their weights, as `RewardLedger.weights`.
            about: what a person wants to know of the fight.

        Raises:
            ValueError: the fight has begun already.
        """
        tick = int(world.fights[fight, s.G_TICK])
        if tick:
            raise ValueError(f"fight {fight} is at tick {tick}; a recording begins right after the reset")
        self.world, self.fight = world, fight
        self.weights, self.about = dict(weights or {}), dict(about or {})
        self.episode = int(world.fights[fight, s.G_EPISODE])
        self._fighters = [_fighter(world, unit) for unit in range(world.template.shape[0])]
        self._decisions = 0
        self._actions: list[tuple[Any, ...]] = []
        self._checks: list[str] = []
        self._notes: dict[str, list[Any]] = {}

    def decide(self, actions: Any = None, **notes: Any) -> None:
        """Keep the decision that is about to be played; call it before each step.

        Args:
            actions: of this fight's learners: `(learner,)`, `(learner, 5)` for the control head, or a
                single action where there is one learner; None without learners.
            **notes: `probabilities` `(learner, action)`, `values` `(learner,)`, `threat` `(learner, enemy)`:
                each at every decision or at none.

        Raises:
            ValueError: a wrong number of actions, an unknown note, or a number that is not finite.
        """
        world = self.world
        if self._decisions % CHECK_EVERY == 0:
            self._checks.append(checksum(world, self.fight))
        self._decisions += 1
        if not world.learners:
            return
        if world.head == "control":
            rows = np.asarray(actions, np.float32).reshape(world.learners, NUM_CONTROL_PARTS)
            # The shortest text that reads back as the same float32.
            self._actions.append(tuple(tuple(float(str(v)) for v in np.nan_to_num(row)) for row in rows))
        else:
            self._actions.append(tuple(int(a) for a in np.asarray(actions).reshape(world.learners)))
        for name, value in notes.items():
            if name not in ("probabilities", "values", "threat"):
                raise ValueError(f"unknown note {name!r}; probabilities, values or threat")
            self._notes.setdefault(name, []).append(_rounded(value, name, world.learners))

    def finish(self) -> Replay:
        """Return the replay of what was played.

        Raises:
            ValueError: the world has gone on to another fight, or a note is missing at some decisions.
        """
        world, g = self.world, self.world.fights[self.fight]
        if int(g[s.G_EPISODE]) != self.episode:
            raise ValueError(f"fight {self.fight} has gone on to its next episode; finish before that step")
        for name, rows in self._notes.items():
            if len(rows) != self._decisions:
                raise ValueError(f"{name} noted at {len(rows)} of {self._decisions} decisions; all or none")
        kinds = tuple(dict.fromkeys(self._fighters))
        half = len(self._fighters) // 2
        places = [kinds.index(fighter) for fighter in self._fighters]
        notes = tuple(
            Notes(**{name: tuple(row[i] for row in rows) for name, rows in self._notes.items()})
            for i in range(world.learners if self._notes else 0)
        )
        replay = Replay(
            contracts=contract_versions(world.head),
            rules_version=rules_version(),
            seed=int(world.world[s.W_SEED]) & _UNSIGNED,
            fight=int(world.world[s.W_FIRST]) + self.fight,
            episode=self.episode,
            arena=_arena(world),
            fighters=kinds,
            teams=(tuple(places[:half]), tuple(places[half:])),
            head=world.head,
            learners=world.learners,
            weights=self.weights,
            decisions=self._decisions,
            actions=tuple(self._actions),
            checks=(*self._checks, checksum(world, self.fight)),
            end=End(int(g[s.G_OUTCOME]), int(g[s.G_TICK])),
            notes=notes,
            about=self.about,
        )
        replay.validate()
        return replay


def _fighter(world: World, unit: int) -> Fighter:
    row, half = world.template[unit].tolist(), world.template.shape[0] // 2
    name = world.teams[unit // half][unit % half]
    try:
        known: Sequence[Skill] = archetypes.load(name).skills
    except ConfigError:
        known = ()
    skills = []
    for slot, fields in enumerate(world.skills[unit].tolist()):
        if fields[f.KIND] == f.K_NONE:
            break
        kind = f.SKILL_KINDS[fields[f.KIND]]
        title = known[slot].name if slot < len(known) else kind
        skills.append(Skill(title, kind, bool(fields[f.MAGIC]), *fields[f.EFFECT :]))
    numbers = dict(zip(STAT_FIELDS, row[f.ATK : f.ATTACK_MOTION + 1], strict=True))
    return Fighter(
        name=name,
        base=ARCHETYPES[row[f.ARCHETYPE]] if row[f.ARCHETYPE] >= 0 else "",
        hp=row[f.MAX_HP],
        sp=row[f.MAX_SP],
        basic_magic_percent=row[s.BASIC_MAGIC],
        preferred_distance=(row[s.PREFER_LOW], row[s.PREFER_HIGH]),
        aggressive=bool(row[s.AGGRESSIVE]),
        skill_chance=row[s.SKILL_CHANCE],
        skills=tuple(skills),
        **numbers,
    )


def _arena(world: World) -> Arena:
    w = world.world.tolist()
    styles = []
    for side in (0, 1):
        place = s.W_STYLES + 8 * side
        styles.append(tuple(s.STYLES[index] for index in w[place + 1 : place + 1 + w[place]]))
    rows = (
        None if world.terrain is None else tuple("".join("#" if c else "." for c in r) for r in world.terrain)
    )
    return Arena(
        size=w[s.W_WIDTH],  # type: ignore[arg-type]
        rules=RULES[w[s.W_RULES]],  # type: ignore[arg-type]
        starts=s.STARTS[w[s.W_STARTS]],  # type: ignore[arg-type]
        time_limit_ticks=w[s.W_LIMIT],
        swap_sides=bool(w[s.W_SWAP]),
        switching=bool(w[s.W_SWITCHING]),
        styles=(styles[0], styles[1]),
        terrain=rows,
    )


def _rounded(value: Any, name: str, learners: int) -> tuple[Any, ...]:
    """Notes of one decision, one entry per learner, rounded so that the file stays small."""
    rows: Any = np.asarray(value, np.float64).reshape(learners, -1)
    if name == "values":
        return tuple(finite(row[0], name) for row in rows)
    return tuple(tuple(finite(v, name) for v in row) for row in rows)
