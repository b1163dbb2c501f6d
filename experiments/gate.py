"""The gate before deployment: pure functions from measurements to pass, fail or undecided.

The rules stand in ``thresholds.yaml`` next to this file. Win rate, baselines, average reward, parity
and latency block; action diversity and training loss are reported and block in strict mode only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.statistics import bonferroni_z, wilson_interval

PASS, FAIL, UNDECIDED = "pass", "fail", "undecided"

Thresholds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Check:
    """One row of the gate.

    Attributes:
        name: The metric.
        verdict: ``pass``, ``fail`` or ``undecided``.
        text: One clause for people with the measured number and the target.
        blocking: Whether a verdict other than ``pass`` blocks deployment.
    """

    name: str
    verdict: str
    text: str
    blocking: bool = True


@dataclass(frozen=True)
class GateResult:
    """The verdict over all checks.

    Attributes:
        verdict: ``fail`` if any blocking check failed, else ``undecided`` if any is, else ``pass``.
        reasons: The clauses that decided: of the checks in the way, or of all blocking ones on a pass.
        checks: Every check, blocking and reported.
        refused: True when the win rate is under the floor; no flag may deploy such a model.
    """

    verdict: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    refused: bool


@lru_cache(maxsize=1)
def thresholds() -> dict[str, dict[str, float]]:
    """Reads the one threshold file; every value is a number.

    Raises:
        ExperimentError: The installed file is damaged.
    """
    import yaml

    path = Path(__file__).with_name("thresholds.yaml")
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return {name: {key: float(value) for key, value in row.items()} for name, row in data.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ExperimentError(f"thresholds.yaml is damaged ({error}): reinstall ml-monster") from error


def judge(
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    limits: Thresholds | None = None,
    *,
    strict: bool = False,
) -> GateResult:
    """Decides whether a candidate may be deployed.

    Args:
        metrics: ``wins`` (by kill), ``n``, ``looks`` (planned ones, 1 if not given), ``average_reward``,
            ``fp32_error``, ``fp16_action_agreement``, ``latency_p95_ms``, ``latency_requests``,
            ``action_entropy_bits``, ``loss``. A missing or None value is an unmeasured one: it makes its
            check undecided, never passed.
        baselines: Per baseline name its ``wins`` and ``n`` on the same kind of fights; at least one.
        limits: The thresholds; the installed file by default.
        strict: Whether the reported checks block as well.
    """
    limits = limits or thresholds()
    checks = [
        _win_rate(metrics, limits["win_rate"]),
        _baselines(metrics, baselines),
        _number(
            metrics,
            "average_reward",
            "average reward {:.1f} per episode",
            "above",
            limits["average_reward"]["target"],
        ),
        _number(metrics, "fp32_error", "FP32 error {:.1e}", "at most", limits["parity"]["fp32_error"]),
        _number(
            metrics,
            "fp16_action_agreement",
            "FP16 action agreement {:.4f}",
            "at least",
            limits["parity"]["fp16_action_agreement"],
        ),
        _latency(metrics, limits["latency_p95_ms"]),
        _number(
            metrics,
            "action_entropy_bits",
            "action entropy {:.2f} bits",
            "above",
            limits["action_diversity_bits"]["target"],
            blocking=strict,
        ),
        _number(
            metrics,
            "loss",
            "training loss {:.3f}",
            "below",
            limits["training_loss"]["target"],
            blocking=strict,
        ),
    ]
    return _combine(checks, refused=_under_floor(metrics, limits["win_rate"]))


def judge_perception(
    model_type: str, metrics: Mapping[str, Any], limits: Thresholds | None = None
) -> GateResult:
    """Decides whether a perception mind may be deployed.

    Args:
        model_type: Of the mind.
        metrics: What `experiments.perceiving.evaluate_mind` measured, with ``fp32_error``, ``fp16_error``,
            ``fp16_action_agreement``, ``latency_p95_ms`` and ``latency_requests``. A missing or None value
            is an unmeasured one: it makes its check undecided, never passed.
        limits: The thresholds; the installed file by default.

    Raises:
        KeyError: Not a perception mind.
    """
    limits = limits or thresholds()
    goals, parity = limits["perception"], limits["parity"]
    checks = [
        *(
            _number(metrics, name, words, relation, goals[goal])
            for name, words, relation, goal in _PERCEPTION[model_type]
        ),
        _number(metrics, "fp32_error", "FP32 error {:.1e}", "at most", parity["fp32_error"]),
        _number(metrics, "fp16_error", "FP16 error {:.1e}", "at most", parity["fp16_error"]),
        _number(
            metrics,
            "fp16_action_agreement",
            "FP16 agreement of choices {:.4f}",
            "at least",
            parity["fp16_action_agreement"],
        ),
        _latency(metrics, limits["latency_p95_ms"]),
    ]
    return _combine(checks, refused=False)


_LEAD = ("points_over_best_low", "lower 95 % bound of the points over the best baseline {:.1f}")
_PERCEPTION: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "threat_assessment": (
        (
            "share_of_ceiling_2s",
            "explained variance of the threat in 2 s, share of its ceiling, {:.3f}",
            "at least",
            "threat_share_of_ceiling",
        ),
        ("calibration_error", "calibration error {:.3f}", "below", "calibration_error"),
    ),
    "spatial_vit": tuple(
        (
            f"share_of_ceiling_{name}",
            f"explained variance of the map of {what}, share of its ceiling, {{:.3f}}",
            "at least",
            "map_share_of_ceiling",
        )
        for name, what in (("damage", "damage"), ("occupancy", "enemies"))
    ),
    "temporal_transformer": ((*_LEAD, "at least", "points_over_baseline"),),
    "pattern_recognition": ((*_LEAD, "at least", "points_over_baseline"),),
}
"""By model type: figure, its words, how it stands to its goal, and the goal's name in the thresholds."""


def _combine(checks: list[Check], refused: bool) -> GateResult:
    blocking = [check for check in checks if check.blocking]
    for verdict in (FAIL, UNDECIDED):
        reasons = tuple(check.text for check in blocking if check.verdict == verdict)
        if reasons:
            return GateResult(verdict, reasons, tuple(checks), refused)
    return GateResult(PASS, tuple(check.text for check in blocking), tuple(checks), refused)


def _under_floor(metrics: Mapping[str, Any], limits: Mapping[str, float]) -> bool:
    n = metrics.get("n") or 0
    return n > 0 and float(metrics["wins"]) / n < limits["floor"]


def _z(metrics: Mapping[str, Any]) -> float:
    """Of the interval: wider where the fights could have ended at several looks."""
    return bonferroni_z(int(metrics.get("looks") or 1))


def _win_rate(metrics: Mapping[str, Any], limits: Mapping[str, float]) -> Check:
    n, target = int(metrics.get("n") or 0), limits["target"]
    if n == 0:
        return Check("win_rate", UNDECIDED, "win rate was not measured")
    wins = float(metrics["wins"])
    rate, (low, _) = wins / n, wilson_interval(wins, n, _z(metrics))
    seen = f"win rate {rate:.3f} (lower 95 % bound {low:.3f}, n = {n})"
    if rate < limits["floor"]:
        return Check("win_rate", FAIL, f"{seen} is under the floor {limits['floor']:.2f}: refused")
    if n < limits["minimum_fights"]:
        return Check(
            "win_rate", UNDECIDED, f"{seen}: too few fights, {limits['minimum_fights']:.0f} are needed"
        )
    if low > target:
        return Check("win_rate", PASS, f"{seen} is above {target:.2f}")
    if rate <= target:
        return Check("win_rate", FAIL, f"{seen} is not above {target:.2f}")
    return Check("win_rate", UNDECIDED, f"{seen}: the bound is not above {target:.2f}, play more fights")


def _baselines(metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> Check:
    n = int(metrics.get("n") or 0)
    if n == 0 or not baselines or any(not row.get("n") for row in baselines.values()):
        return Check("baselines", UNDECIDED, "the baselines were not measured")
    wins = float(metrics["wins"])
    low, _ = wilson_interval(wins, n, _z(metrics))
    best = max(baselines, key=lambda name: float(baselines[name]["wins"]) / baselines[name]["n"])
    best_wins, best_n = float(baselines[best]["wins"]), int(baselines[best]["n"])
    best_rate, (_, best_high) = best_wins / best_n, wilson_interval(best_wins, best_n)
    seen = f"best baseline {best} {best_rate:.3f} (upper 95 % bound {best_high:.3f})"
    if wins / n <= best_rate:
        return Check("baselines", FAIL, f"win rate {wins / n:.3f} is not above the {seen}")
    if low <= best_high:
        return Check(
            "baselines", UNDECIDED, f"win rate bound {low:.3f} overlaps the {seen}, play more fights"
        )
    return Check("baselines", PASS, f"win rate bound {low:.3f} is above the {seen}")


def _latency(metrics: Mapping[str, Any], limits: Mapping[str, float]) -> Check:
    value, requests = metrics.get("latency_p95_ms"), int(metrics.get("latency_requests") or 0)
    if value is None:
        return Check("latency_p95_ms", UNDECIDED, "latency was not measured through the service")
    if requests < limits["minimum_requests"]:
        text = f"latency of {requests} requests only, {limits['minimum_requests']:.0f} are needed"
        return Check("latency_p95_ms", UNDECIDED, text)
    return _number(metrics, "latency_p95_ms", "P95 latency {:.2f} ms", "below", limits["target"])


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "above": operator.gt,
    "below": operator.lt,
    "at most": operator.le,
    "at least": operator.ge,
}


def _number(
    metrics: Mapping[str, Any], name: str, words: str, relation: str, target: float, *, blocking: bool = True
) -> Check:
    """Checks one number, worded as ``words`` with the number in it; NaN compares false and never passes."""
    value = metrics.get(name)
    if value is None:
        label = " ".join(words[: words.index("{")].split())
        return Check(name, UNDECIDED, f"{label} was not measured", blocking)
    good = _COMPARISONS[relation](float(value), target)
    wanted = words[words.index("{") : words.index("}") + 1].format(target)
    text = f"{words.format(float(value))} is {'' if good else 'not '}{relation} {wanted}"
    return Check(name, PASS if good else FAIL, text, blocking)
