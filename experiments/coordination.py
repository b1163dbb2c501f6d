"""Packs: several monsters that learn to fight together (CTDE), in teams of three to five."""

from __future__ import annotations

import math
from typing import Any

from experiments.matrix import Request, Run, resolve
from experiments.tuning import TrainedRun

MODEL_TYPE = "team_coordination"
PACK_SIZES = (3, 4, 5)
DECISIONS_PER_FIGHT = 80
"""About what a fight of packs takes; turns a number of fights into epochs."""


def plan(archetype: str, pack_size: int, episodes: int, *, profile: str = "demo", seed: int = 0) -> Run:
    """Resolves the run of a pack.

    Args:
        archetype: Of the pack's first member; the others are its partners.
        pack_size: Members, 3 to 5, against as many.
        episodes: Fights to learn from, rounded up to whole epochs.
        profile: Sizes.
        seed: Base seed.

    Raises:
        UsageError: A name or setting that cannot be used.
    """
    scenario = f"{pack_size}v{pack_size}"
    overrides = {MODEL_TYPE: {"env": {"scenario": scenario}}}

    def resolved(epochs: int) -> Run:
        request = Request(
            (archetype,),
            (MODEL_TYPE,),
            profile=profile,
            seed=seed,
            epochs=epochs,
            overrides=overrides,
            from_scratch=True,
        )
        return resolve(request)[0]

    per_epoch = resolved(1).env_steps or 1
    run = resolved(math.ceil(episodes * DECISIONS_PER_FIGHT / per_epoch))
    # The best epoch is chosen in fights of the size that is trained.
    selection = {**run.settings["selection"], "scenario": scenario}
    return Run({**run.settings, "selection": selection})


def measure(trained: TrainedRun, fights: int, seed: int, threads: int = 1) -> Any:
    """Plays a trained pack against the traditional AI on fights that neither training nor selection has seen.

    Args:
        trained: A finished run of `plan`.
        fights: How many.
        seed: Base seed.
        threads: Threads of the simulation.

    Returns:
        An `experiments.evaluation.FightScore`.
    """
    from experiments.heads import play_head, torch_mind
    from policies.model_types import WEIGHTS_FILE, load_weights

    model = load_weights(trained.record.model_folder / WEIGHTS_FILE, MODEL_TYPE)
    scenario = trained.run.settings["selection"]["scenario"]
    return play_head(
        trained.run.archetype, "pack", torch_mind(model), fights, seed, scenario=scenario, threads=threads
    )
