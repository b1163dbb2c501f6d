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
    "td_error", "env_steps", "updates", "epochs", "best_epoch", "train_s", "selection_win_rate",
    "latency_requests", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_device",
)  # fmt: skip


def model_entry(
    version: Any,
    gate: GateResult,
    baselines: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    fight: Mapping[str, Any] | None = None,
    *,
    reused: bool = False,
) -> dict[str, Any]:
    """Describes one model for the report.

    Args:
        version: Its ``ModelVersion``.
        gate: The gate's verdict.
        baselines: Figures of the archetype's baselines.
        history: Metrics per epoch.
        fight: The fight it played through the service.
        reused: Whether the training run had been finished before.
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
        "history": [{name: row.get(name) for name in _CURVES} for row in history],
    }


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
