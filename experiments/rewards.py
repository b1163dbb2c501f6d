"""Plays fights to measure reward terms, in an archetype's own scenario or on a level of the curriculum.

``n`` fights are ``n`` environments of which the first episode counts, as in ``experiments.evaluation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.evaluation import CHUNK, Policy
from experiments.reward_summary import Episodes, RewardSummary, summarise
from experiments.seeds import Purpose, seed_for

# Far beyond the 300 decisions of a fight; a kernel that never ends a fight must not hang a report.
_STEP_LIMIT = 2_000

Said = Callable[[int], None]
"""Takes the number of fights played so far."""


def match(archetype: str, opponent: str) -> dict[str, Any]:
    """World arguments of an archetype's own scenario; who plays how is as in `envs.arena`.

    Args:
        archetype: The learner's.
        opponent: Tier or style of the enemies; a style plays with the classic chances.

    Raises:
        ConfigError: An unknown archetype or opponent.
    """
    from envs import archetypes
    from envs.arena import opponent_arguments

    team = archetypes.load(archetype).team()
    return {"teams": (team, team), **opponent_arguments(opponent)}


def play_episodes(
    archetype: str,
    policy: Policy | None,
    n: int,
    seed: int,
    arguments: dict[str, Any],
    said: Said = lambda played: None,
) -> Episodes:
    """Plays ``n`` fights and sums each term per episode.

    Args:
        archetype: The learner's, first unit of the first team.
        policy: Chooses combat actions; None lets the traditional AI play the learner too.
        n: Fights, at least 1.
        seed: The user's base seed.
        arguments: Of ``World``: teams, tiers and what else there is.
        said: Hears of progress after each batch.

    Raises:
        ValueError: Fewer than one fight.
        RuntimeError: A fight did not end, which is a fault of the simulation.
    """
    from envs import archetypes
    from envs.rewards import RewardLedger
    from envs.simulation.world import World

    if n < 1:
        raise ValueError(f"{n} fights cannot be played: ask for at least 1")
    ledger = RewardLedger(archetypes.load(archetype), len(arguments["teams"][0]))
    learners = 0 if policy is None else 1
    # Weights are chosen by what this shows, so these must not be the fights that judge a model.
    key = seed_for(Purpose.SELECTION, seed, archetype, "rewards")
    parts = []
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        world = World(size, learners=learners, seed=key, first_fight=start, **arguments)
        parts.append(_play_batch(world, ledger, policy, start))
        world.close()
        said(start + size)
    merged: dict[str, tuple[int, int]] = {}
    for part in parts:
        merged = {**part.non_finite, **merged}
    return Episodes(
        rewards=np.concatenate([part.rewards for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        outcomes=np.concatenate([part.outcomes for part in parts]),
        terms={name: np.concatenate([part.terms[name] for part in parts]) for name in ledger.weights},
        non_finite=merged,
    )


def _play_batch(world: Any, ledger: Any, policy: Policy | None, first: int) -> Episodes:
    size = world.num_fights
    running = np.ones(size, bool)
    done = Episodes(
        rewards=np.zeros(size),
        lengths=np.zeros(size, np.int64),
        outcomes=np.zeros(size, np.int64),
        terms={name: np.zeros(size) for name in ledger.weights},
    )
    actions = np.zeros((size, world.learners), np.int32)
    for step in range(_STEP_LIMIT):
        if policy is not None:
            rows = np.flatnonzero(running)
            actions[rows, 0] = policy(world.obs[rows, 0], world.masks[rows, 0])
        world.step(actions)
        reward, terms = ledger(world.stats[:, 0])
        if not np.isfinite(reward).all():
            for name, value in terms.items():
                wrong = np.flatnonzero(running & ~np.isfinite(value))
                if wrong.size:
                    done.non_finite.setdefault(name, (first + int(wrong[0]), step))
        done.rewards[running] += reward[running]
        for name, value in terms.items():
            done.terms[name][running] += value[running]
        done.lengths += running
        ended = running & (world.outcome != 0)
        done.outcomes[ended] = world.outcome[ended]
        running &= ~ended
        if not running.any():
            return done
    raise RuntimeError(
        f"{int(running.sum())} fights did not end in {_STEP_LIMIT} decisions: simulation fault"
    )


def measure(
    archetype: str,
    policy: Policy | None,
    n: int,
    seed: int,
    *,
    opponent: str = "classic",
    learner: str = "script",
    said: Said = lambda played: None,
) -> RewardSummary:
    """Plays an archetype in its own scenario and describes its reward terms.

    Args:
        archetype: The learner's.
        policy: Chooses combat actions; None is the traditional AI.
        n: Fights.
        seed: The user's base seed.
        opponent: Tier or style of the enemies.
        learner: What to call the policy.
        said: Hears of progress.
    """
    arguments = match(archetype, opponent)
    played = play_episodes(archetype, policy, n, seed, arguments, said)
    size = len(arguments["teams"][0])
    return summarise(archetype, opponent, learner, weights_of(archetype, size), size, played)


def weights_of(archetype: str, size: int) -> dict[str, float]:
    """Effective weight of each active term."""
    from envs import archetypes
    from envs.rewards import RewardLedger

    return RewardLedger(archetypes.load(archetype), size).weights


@dataclass(frozen=True)
class LevelSummary:
    """The traditional AI on one level of the curriculum.

    Attributes:
        archetype: The learner's.
        level: Number, 1 to 5.
        name: Of the level.
        scenario: Team sizes.
        fights: Fights played.
        scripted_mean: Mean shaped, unscaled reward of an episode.
        scripted_sd: Its standard deviation over episodes.
        win_rate: Share won by kill.
        threshold: Mean reward that ends the level.
        warning: What is wrong with the threshold, or None.
    """

    archetype: str
    level: int
    name: str
    scenario: str
    fights: int
    scripted_mean: float
    scripted_sd: float
    win_rate: float
    threshold: float
    warning: str | None


def measure_level(
    archetype: str, number: int, threshold: float, n: int, seed: int, said: Said = lambda played: None
) -> LevelSummary:
    """Plays the traditional AI in the learner's place on one level.

    Args:
        archetype: The learner's.
        number: Of the level, 1 to 5.
        threshold: Mean reward that ends the level.
        n: Fights.
        seed: The user's base seed.
        said: Hears of progress.
    """
    from envs import archetypes, curriculum

    level = curriculum.level(number)
    setup = level.resolve(archetypes.load(archetype))
    played = play_episodes(archetype, None, n, seed, setup.world_arguments(), said)
    mean = float(played.rewards.mean())
    return LevelSummary(
        archetype=archetype,
        level=number,
        name=level.name,
        scenario=setup.scenario,
        fights=n,
        scripted_mean=mean,
        scripted_sd=float(played.rewards.std(ddof=1)) if n > 1 else 0.0,
        win_rate=float((played.outcomes == 1).mean()),
        threshold=threshold,
        warning=curriculum.threshold_warning(archetype, number, threshold, mean),
    )
