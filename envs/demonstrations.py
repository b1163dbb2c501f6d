"""Demonstrations: what the traditional AI does in the learner's place, in the words of the learner's head.

The pack head has no demonstrations: its order 0 ("free") is the script itself, so every label would be 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from envs import scenarios
from envs.arena import ArenaVectorEnv
from envs.combat import CombatVectorEnv
from envs.configuration import ConfigError, nearest
from envs.contracts import layout as f
from envs.control import ControlVectorEnv
from envs.demonstration_labels import Labeller
from envs.movement import MovementVectorEnv
from envs.perception.splits import split_of
from envs.simulation import state as s
from envs.simulation.world import TIERS
from envs.skill import SkillVectorEnv

ENVIRONMENTS: dict[str, type[ArenaVectorEnv]] = {
    "combat": CombatVectorEnv,
    "movement": MovementVectorEnv,
    "skill": SkillVectorEnv,
    "control": ControlVectorEnv,
}
TEACHERS = ("classic", "veteran")

CHUNK = 512
"""Fights played side by side; results do not depend on it."""
_STEP_LIMIT = 2_000  # decisions; far beyond the 300 of a fight


@dataclass(frozen=True)
class Demonstrations:
    """Decisions of the traditional AI, row by row: fights one after the other, each in order of time.

    Attributes:
        obs: float32 `(row, observation)`, `obs_v1`; for the skill head its slots and their ids behind it.
        action_mask: bool `(row, action)`, legal actions; None for the control head.
        actions: the label: int64 `(row,)`, for the control head float32 `(row, 5)`. 0 where not valid.
        rewards: float32 `(row,)`, shaped, unscaled reward of the window, by the archetype's own weights.
        valid: bool `(row,)`, False where no action does what the script did, or (control head) where
            nothing can be done.
        fights: int64 `(row,)`, number of the fight under the seed; its last row is its last decision.
        head: whose actions the labels are.
        archetype: of the demonstrator, unit 0 of team 0.
        scenario: who fights whom.
        opponent: tier or style of the enemies.
        teacher: tier of the demonstrator.
        seed: of the fights.
    """

    obs: np.ndarray
    action_mask: np.ndarray | None
    actions: np.ndarray
    rewards: np.ndarray
    valid: np.ndarray
    fights: np.ndarray
    head: str
    archetype: str
    scenario: str
    opponent: str
    teacher: str
    seed: int

    @property
    def choice(self) -> np.ndarray:
        """Rows with more than one legal action, bool `(row,)`; for the control head all rows."""
        if self.action_mask is None:
            return np.ones(len(self.obs), bool)
        return self.action_mask.sum(axis=1) > 1

    def split(self, validation: float = 0.2) -> tuple[Demonstrations, Demonstrations]:
        """Training and validation part; all rows of a fight go to one of them, whoever computes it.

        Args:
            validation: expected share of the fights in the second part.
        """
        second = split_of(self.seed, self.fights, shares=(1.0 - validation, validation, 0.0)) == 1
        return self._rows(~second), self._rows(second)

    def save(self, path: str | Path) -> None:
        """Write a compressed `.npz`; it is written beside and renamed, so that no half file is ever seen."""
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        parts = {name: value for name, value in vars(self).items() if value is not None}
        try:
            with beside.open("wb") as file:
                np.savez_compressed(
                    file, **{name: value for name, value in parts.items() if value is not None}
                )
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _rows(self, chosen: np.ndarray) -> Demonstrations:
        parts = {name: getattr(self, name) for name in _PER_ROW}
        return replace(self, **{name: part[chosen] for name, part in parts.items() if part is not None})


_PER_ROW = ("obs", "action_mask", "actions", "rewards", "valid", "fights")


def load(path: str | Path) -> Demonstrations:
    """Read what `Demonstrations.save` wrote.

    Raises:
        ValueError: a file that lacks arrays of demonstrations.
    """
    with np.load(path, allow_pickle=False) as arrays:
        names = [field.name for field in fields(Demonstrations)]
        missing = [name for name in names if name not in arrays and name != "action_mask"]
        if missing:
            raise ValueError(
                f"{Path(path).name}: no demonstrations: {', '.join(missing)} missing; record them again"
            )
        parts: dict[str, Any] = {name: arrays.get(name) for name in names}
    for name, part in parts.items():
        if name not in _PER_ROW:
            parts[name] = part.item()
    return Demonstrations(**parts)


def demonstrate(
    archetype: str,
    *,
    head: str = "combat",
    scenario: str | None = None,
    opponent: str = "classic",
    teacher: str = "veteran",
    fights: int = 256,
    seed: int = 0,
    threads: int = 1,
    reward: Mapping[str, Any] | None = None,
) -> Demonstrations:
    """Play fights in which the traditional AI plays the learner's part, and label its decisions.

    The demonstrator's team mates are those of training, so that a mind that copies it meets the same fights.

    Args:
        archetype: of the demonstrator.
        head: combat, movement, skill or control.
        scenario: `1v1` to `5v5` or a named one; None takes the one in which this archetype learns.
        opponent: tier or style of the enemies, as in `envs.arena`.
        teacher: tier of the demonstrator, classic or veteran. A classic script seldom prefers a skill to a
            swing: who copies its most likely action never uses one and loses; who draws from the copied
            probabilities plays like it.
        fights: played from their start to their end.
        seed: same seed, same bits.
        threads: threads of the simulation; results do not depend on it.
        reward: weights by which the rewards are paid in place of the archetype's, as in `envs.arena`.

    Raises:
        ConfigError: a head without demonstrations, or an unknown archetype, scenario, opponent or teacher.
        ValueError: no fights are asked for.
    """
    if head not in ENVIRONMENTS:
        why = "; a pack's free order is the script itself" if head == "pack" else nearest(head, ENVIRONMENTS)
        raise ConfigError(f"no demonstrations for head {head!r}{why}")
    if teacher not in TEACHERS:
        raise ConfigError(f"unknown teacher {teacher!r}{nearest(teacher, TEACHERS)}")
    if fights < 1:
        raise ValueError(f"{fights} fights cannot be played: ask for at least 1")
    parts = []
    for start in range(0, fights, CHUNK):
        size = min(CHUNK, fights - start)
        env, probe = (
            ENVIRONMENTS[head](
                size,
                archetype,
                scenario,
                opponent,
                first_fight=start,
                threads=threads,
                copy=False,
                reward=reward,
            )
            for _ in range(2)
        )
        env.world.template[env.learner_unit, s.SKILL_CHANCE] = TIERS[teacher][1]
        parts.append(_play(env, Labeller(env.world, probe.world), seed, start))
        env.close()
        probe.close()
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(rows["fights"], kind="stable")
    columns: dict[str, Any] = {name: np.ascontiguousarray(value[order]) for name, value in rows.items()}
    if head == "control":
        columns["action_mask"] = None
    return Demonstrations(
        **columns,
        head=head,
        archetype=archetype,
        scenario=scenarios.resolve(archetype, scenario, head).scenario,
        opponent=opponent,
        teacher=teacher,
        seed=seed,
    )


def _play(env: ArenaVectorEnv, labeller: Labeller, seed: int, first: int) -> dict[str, np.ndarray]:
    """Rows of every fight's first episode, decision by decision."""
    env.reset(seed=seed)
    running = np.ones(env.num_envs, bool)
    # An order to fight by script, target free: the unit acts as one without a mind, everything else is as
    # in training.
    script = np.tile(np.array([f.O_SCRIPT, -1, -1, 0, 0], np.int32), (env.num_envs, 1))
    steps: list[dict[str, np.ndarray]] = []
    for _ in range(_STEP_LIMIT):
        rows = np.flatnonzero(running)
        seen = {"obs": env.rows()[rows], "action_mask": env.world.masks[rows, 0]}
        labeller.before()
        _, reward, terminated, _, _ = env.step_orders(script)
        actions, valid = labeller.after(running)
        seen |= {"actions": actions[rows], "rewards": reward[rows].astype(np.float32), "valid": valid[rows]}
        steps.append(seen | {"fights": first + rows.astype(np.int64)})
        running &= ~terminated
        if not running.any():
            return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
    raise RuntimeError(
        f"{int(running.sum())} fights did not end in {_STEP_LIMIT} decisions: simulation fault"
    )
