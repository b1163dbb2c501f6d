"""Reward terms: pure functions from raw statistics, and the ledger that weighs and sums them.

Each term takes the statistics of the learners, int32 `(fight, statistic)` in the order of
`envs.simulation.state.STATISTICS`, and the team size, and returns float64 `(fight,)` in its
unit. Units: D = per cent of the receiver's max HP, s = seconds. An archetype is only a table
of weights over these names (its YAML file).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from envs.archetypes import ArchetypeConfig, Reward
from envs.configuration import ConfigError, load_dataclass, nearest, to_plain
from envs.simulation import state as s

Term = Callable[[np.ndarray, int], np.ndarray]

TICKS_PER_SECOND = 10.0
MP_PER_PERCENT = 1000.0


def damage_dealt(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward damage dealt, D."""
    return stats[:, s.S_DEALT] / MP_PER_PERCENT


def damage_taken(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Penalize damage taken (negative weight), D."""
    return stats[:, s.S_TAKEN] / MP_PER_PERCENT


def damage_blocked(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward damage kept off by guard and shield, D."""
    return stats[:, s.S_BLOCKED] / MP_PER_PERCENT


def damage_absorbed(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward damage drawn on oneself, taken and blocked, D."""
    return stats[:, s.S_ABSORBED] / MP_PER_PERCENT


def sustained_damage(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward damage dealt within 3 s of the hit before, D."""
    return stats[:, s.S_SUSTAINED] / MP_PER_PERCENT


def spell_damage(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward damage dealt by spells, D."""
    return stats[:, s.S_SPELL] / MP_PER_PERCENT


def mana_efficiency(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward spell damage per 10 SP spent on it, D."""
    return stats[:, s.S_MANA] / MP_PER_PERCENT


def kill(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward kills."""
    return stats[:, s.S_KILLS].astype(np.float64)


def spell_kill(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward kills by a spell."""
    return stats[:, s.S_SPELL_KILLS].astype(np.float64)


def death(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Penalize one's own death (negative weight)."""
    return stats[:, s.S_DEATHS].astype(np.float64)


def ally_death(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Penalize team mates lost (negative weight)."""
    return stats[:, s.S_ALLY_DEATHS].astype(np.float64)


def ally_protected(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward enemies held off a team mate: taunted, stunned, killed or drawn away, or a shield that held."""
    return stats[:, s.S_PROTECTED].astype(np.float64)


def survival_time(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward time alive, s."""
    return stats[:, s.S_ALIVE] / TICKS_PER_SECOND


def survival_bonus(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward being alive at the end of the fight."""
    return stats[:, s.S_ALIVE_AT_END].astype(np.float64)


def healing_done(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward healing, D."""
    return stats[:, s.S_HEALED] / MP_PER_PERCENT


def effective_healing(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward healing of missing HP only, D."""
    return stats[:, s.S_EFFECTIVE] / MP_PER_PERCENT


def buff_applied(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward buffs that were not already active."""
    return stats[:, s.S_BUFFS].astype(np.float64)


def aggro(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward being the target, in units of 10 enemy-seconds."""
    return stats[:, s.S_AGGRO] / (10.0 * TICKS_PER_SECOND)


def optimal_distance(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward time at the preferred distance with an enemy within 14 cells, in units of 10 s."""
    return stats[:, s.S_OPTIMAL] / (10.0 * TICKS_PER_SECOND)


def kiting(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward time targeted by the nearest enemy but out of its reach, in units of 10 s."""
    return stats[:, s.S_KITING] / (10.0 * TICKS_PER_SECOND)


def win(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward a fight won by kill."""
    return stats[:, s.S_WON].astype(np.float64)


def outcome(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward a fight won by kill with +1 and one lost by kill with -1; time and draws count 0."""
    return (stats[:, s.S_WON] - stats[:, s.S_LOST]).astype(np.float64)


def team(stats: np.ndarray, team_size: int) -> np.ndarray:
    """Reward the change of the team's HP advantage, per cent of a team's total."""
    return stats[:, s.S_TEAM_GAIN] / (MP_PER_PERCENT * team_size)


TERMS: dict[str, Term] = {
    "damage_dealt": damage_dealt,
    "damage_taken": damage_taken,
    "damage_blocked": damage_blocked,
    "damage_absorbed": damage_absorbed,
    "sustained_damage": sustained_damage,
    "spell_damage": spell_damage,
    "mana_efficiency": mana_efficiency,
    "kill": kill,
    "spell_kill": spell_kill,
    "spell_kill_bonus": spell_kill,
    "death": death,
    "ally_death": ally_death,
    "ally_protected": ally_protected,
    "survival_time": survival_time,
    "survival_bonus": survival_bonus,
    "healing_done": healing_done,
    "effective_healing": effective_healing,
    "buff_applied": buff_applied,
    "aggro": aggro,
    "optimal_distance": optimal_distance,
    "kiting": kiting,
    "win": win,
    "outcome": outcome,
    "team": team,
}


def weighed(
    archetype: ArchetypeConfig, reward: Mapping[str, Any] | None, source: str = "reward"
) -> ArchetypeConfig:
    """Return an archetype that is paid by other weights, for learning; itself if there are none.

    Args:
        archetype: Whose weights these are laid over.
        reward: Any of `individual_weight`, `team_weight`, `outcome_weight` and `terms`, which may name some.
        source: What error messages call it.

    Raises:
        ConfigError: An unknown key or term, or a weight that is no number.
    """
    if not reward:
        return archetype
    weights = to_plain(archetype.reward)
    terms = reward.get("terms", {})
    if isinstance(terms, Mapping):  # anything else is refused where the schema is checked
        for name in terms:
            if name not in TERMS:
                raise ConfigError(f"{source}: unknown key 'terms.{name}'{nearest(name, TERMS)}")
        terms = {**weights["terms"], **terms}
    return replace(
        archetype, reward=load_dataclass(Reward, {**weights, **reward, "terms": terms}, source=source)
    )


class RewardLedger:
    """Weighs the terms of one archetype; the reward is the exact sum of the named terms.

    Attributes:
        weights: effective weight of each active term, in order; a term of weight 0 is not computed.
    """

    def __init__(self, archetype: ArchetypeConfig, team_size: int) -> None:
        """Resolve the weights. Raises ConfigError on an unknown term."""
        self.team_size = team_size
        reward = archetype.reward
        self.weights: dict[str, float] = {}
        for name, weight in reward.terms.items():
            if name not in TERMS:
                raise ConfigError(
                    f"{archetype.name}.yaml: reward.terms: unknown term {name!r}{nearest(name, TERMS)}"
                )
            if weight * reward.individual_weight != 0.0:
                self.weights[name] = weight * reward.individual_weight
        for name, weight in (("team", reward.team_weight), ("outcome", reward.outcome_weight)):
            if weight != 0.0:
                self.weights[name] = self.weights.get(name, 0.0) + weight

    def __call__(self, stats: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the reward float64 `(fight,)` and its weighted terms, each `(fight,)`.

        Args:
            stats: int32 `(fight, statistic)` of the learners.
        """
        terms = {name: weight * TERMS[name](stats, self.team_size) for name, weight in self.weights.items()}
        total = np.zeros(len(stats), np.float64)
        for value in terms.values():
            total += value
        return total, terms

    def table(self) -> list[tuple[str, float, str]]:
        """Rows of (term, weight, what it rewards) for a person."""
        return [(name, weight, (TERMS[name].__doc__ or "").strip()) for name, weight in self.weights.items()]
