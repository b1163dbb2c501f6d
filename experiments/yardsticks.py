"""What a mind that acts is held against: the same fights played by somebody else."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from experiments.ledger import plain, write_json
from experiments.machine import PLAYING_ROOMS, code_version

if TYPE_CHECKING:
    from experiments.pipeline import Workshop

BASELINE_FIGHTS = 1_000
"""A baseline is far from the gate's target: its interval need not be narrow."""


def evaluation_key(shop: Workshop, n: int, archetype: str | None = None) -> str:
    """Names an evaluation by all it depends on beside the model: fights, seed, the world's code.

    Args:
        shop: Whose seed.
        n: Fights.
        archetype: Who fights; one of the user's own counts with its definition.
    """
    from envs import archetypes

    parts: dict[str, Any] = {"n": n, "seed": shop.seed, "code": code_version(PLAYING_ROOMS)}
    own = archetypes.definitions([] if archetype is None else [archetype])
    if own:
        parts["archetypes"] = own
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def baselines(
    shop: Workshop, archetypes: tuple[str, ...], n: int = BASELINE_FIGHTS, head: str = "combat"
) -> dict[str, dict[str, Any]]:
    """Plays the baselines of each archetype, or reads them where they were played before.

    Args:
        shop: Home folder, progress and threads.
        archetypes: Names.
        n: Fights per baseline.
        head: What is played; only combat has an attack on the nearest.

    Returns:
        ``{archetype: {"random" | "mirror" | "attack_nearest": figures}}``.
    """
    from experiments.evaluation import play_baselines
    from experiments.heads import play_head

    found = {}
    for archetype in archetypes:
        # One file each, so that two processes never write the same one.
        path = shop.home / "baselines" / f"{evaluation_key(shop, n, archetype)}-{head}-{archetype}.json"
        with contextlib.suppress(OSError, json.JSONDecodeError):
            found[archetype] = json.loads(path.read_text(encoding="utf-8"))
            shop.progress.line(f"{archetype:<10} reusing the baselines of {head}")
            continue
        if head == "combat":
            scores = play_baselines(archetype, n, shop.seed, threads=shop.threads)
        else:
            who = {"random": "random", "mirror": "script"}
            scores = {
                name: play_head(archetype, head, player, n, shop.seed, threads=shop.threads)
                for name, player in who.items()
            }
        found[archetype] = {name: dict(plain(score.as_dict())) for name, score in scores.items()}
        shown = ", ".join(f"{name} {score.win_rate:.3f}" for name, score in scores.items())
        shop.progress.line(f"{archetype:<10} baselines of {head}: {shown}")
        write_json(path, found[archetype])
    return found
