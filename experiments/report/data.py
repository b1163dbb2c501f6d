"""The report as data: what ``report.json`` holds and what the pages are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from experiments import machine, seeds
from experiments.gate import GateResult, thresholds
from experiments.ledger import plain

_CURVES = ("epoch", "env_steps", "win_rate", "selection_win_rate", "reward", "loss", "epsilon")
_METRICS = (
    "win_rate", "win_rate_low", "win_rate_high", "n", "wins", "score", "average_reward", "average_reward_se",
    "episode_length", "action_entropy_bits", "action_shares", "reward_terms", "outcomes", "loss", "q_mean",
    "td_error", "env_steps", "updates", "epochs", "best_epoch", "train_s", "selection_win_rate", "looks",
    "latency_requests", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_device",
)  # fmt: skip
_PERCEPTION = (
    "perceived", "against", "ceilings", "rows", "fights", "calibration_error", "explained_2s",
    "explained_2s_low", "explained_2s_high", "ceiling_2s", "ceiling_2s_name", "share_of_ceiling_2s",
    "explained_damage", "explained_damage_low", "explained_damage_high", "ceiling_damage",
    "ceiling_damage_name", "share_of_ceiling_damage", "explained_occupancy", "explained_occupancy_low",
    "explained_occupancy_high", "ceiling_occupancy", "ceiling_occupancy_name", "share_of_ceiling_occupancy",
    "accuracy", "best_baseline", "best_baseline_accuracy", "points_over_best", "points_over_best_low",
    "points_over_best_high",
)  # fmt: skip


def model_entry(
    version: Any,
    gate: GateResult,
    baselines: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    fight: Mapping[str, Any] | None = None,
    *,
    reused: bool = False,
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Describes one model for the report.

    Args:
        version: Its ``ModelVersion``.
        gate: The gate's verdict.
        baselines: Figures of the archetype's baselines.
        history: Metrics per epoch.
        fight: The fight it played, or the answer it gave, through the service.
        reused: Whether the training run had been finished before.
        seconds: What each phase took.
    """
    files = version.artifacts
    fp32, fp16 = files.get("onnx_fp32", {}), files.get("onnx_fp16", {})
    return {
        "archetype": version.archetype,
        "model_type": version.model_type,
        "version": version.version,
        "run_id": version.run_id,
        "reused": reused,
        "profile": (version.lineage.get("settings") or {}).get("profile"),
        "source_revision": version.source_revision,
        "metrics": {name: version.metrics.get(name) for name in _METRICS},
        "baselines": {name: dict(row) for name, row in baselines.items()},
        "gate": gate.verdict,
        "reasons": list(gate.reasons),
        "checks": [
            {"name": c.name, "verdict": c.verdict, "text": c.text, "blocking": c.blocking}
            for c in gate.checks
        ],
        "onnx": {
            "sha256": fp32.get("sha256"),
            "bytes": fp32.get("bytes"),
            "parity": fp32.get("parity"),
            "fp16": {name: fp16.get(name) for name in ("sha256", "bytes", "parity")},
            "manifest": fp32.get("manifest"),
        },
        "deployed": version.is_deployed,
        "served_p95_ms": version.metrics.get("latency_p95_ms"),
        "served_p50_ms": version.metrics.get("latency_p50_ms"),
        "fight": dict(fight) if fight else None,
        "seconds": dict(seconds or {}),
        "plateau_epoch": plateau_epoch(history),
        "perception": {name: version.metrics.get(name) for name in _PERCEPTION if name in version.metrics},
        "history": [{name: row.get(name) for name in _CURVES} for row in history],
    }


def failed_entry(
    run: Any, gate: GateResult, history: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Describes a cell that never became a version: the keys of `model_entry`, unmeasured.

    Args:
        run: Its resolved settings, `experiments.matrix.Run`.
        gate: The verdict, with the reason.
        history: Metrics per epoch, as far as there are any.
        seconds: What each phase took.
    """
    from types import SimpleNamespace

    unmade = SimpleNamespace(
        archetype=run.archetype,
        model_type=run.model_type,
        version=None,
        run_id=run.run_id,
        lineage={"settings": run.settings},
        source_revision=machine.source_revision(),
        metrics={},
        artifacts={},
        is_deployed=False,
    )
    return model_entry(unmade, gate, {}, history, seconds=seconds)


_SMOOTHED = 3
_SCORES = ("selection_win_rate", "val_skill", "val_score", "win_rate")
"""By what epochs are compared: greedy play, the score on the validation rows, else play in training."""


def plateau_epoch(history: Sequence[Mapping[str, Any]], within: float = 0.05) -> int | None:
    """The first epoch whose score, a mean over three epochs, is within 5 % of the best such mean.

    Args:
        history: Metrics per epoch.
        within: Share of the best.

    Returns:
        None where no epoch has a score.
    """
    for name in _SCORES:
        rows = [(int(row["epoch"]), float(row[name])) for row in history if row.get(name) is not None]
        if rows:
            break
    else:
        return None
    means = []
    for i, (epoch, _) in enumerate(rows):
        part = [value for _, value in rows[max(0, i - _SMOOTHED + 1) : i + 1]]
        means.append((epoch, sum(part) / len(part)))
    best = max(value for _, value in means)
    return next(epoch for epoch, value in means if value >= best - within * abs(best))


def build_report(
    models: Sequence[Mapping[str, Any]],
    *,
    command: str,
    profile: str,
    seed: int,
    wall_s: float,
    phases_s: Mapping[str, float],
    fights: int,
) -> dict[str, Any]:
    """Puts the report together.

    Args:
        models: Entries of ``model_entry``.
        command: The command line that made it.
        profile: Profile of the runs.
        seed: Base seed.
        wall_s: Seconds from start to report.
        phases_s: Seconds per phase, in order.
        fights: Evaluation fights per model and per baseline.
    """
    report = {
        "format": 1,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "profile": profile,
        "wall_s": round(wall_s, 1),
        "phases_s": {name: round(seconds, 1) for name, seconds in phases_s.items()},
        "machine": machine.describe(),
        "source_revision": machine.source_revision(),
        "seeds": {"base": seed, "fights": fights, "blocks": seeds.describe()},
        "thresholds": thresholds(),
        "models": list(models),
    }
    plain_report: dict[str, Any] = plain(report)
    return plain_report
