"""The figures of the report, each a function from the report's models to an SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.svg import Scale, figure, line, marker, path, rect, text

Models = Sequence[Mapping[str, Any]]

BASELINE_MARKS = {"random": "dot", "attack_nearest": "triangle", "mirror": "square"}
BASELINE_NAMES = {"random": "random", "attack_nearest": "attack nearest", "mirror": "mirror"}


def win_rates(models: Models, target: float) -> str:
    """Win rate with its 95 % interval per model, beside the baselines and the threshold."""
    width, row, top, left, right = 760, 44, 62, 120, 84
    bottom = top + row * len(models)
    x = Scale(0.0, 1.0, left, width - left - right)
    parts = [_legend_win_rates(left)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(x(tick), top, x(tick), bottom, "grid"))
        parts.append(text(x(tick), bottom + 18, f"{tick:.0%}", "tick", "middle"))
    for i, model in enumerate(models):
        y = top + row * (i + 0.5)
        parts.append(text(left - 14, y + 5, model["archetype"], "label", "end"))
        parts.append(line(left, y, width - right, y, "rail"))
        for name, shape in BASELINE_MARKS.items():
            if name not in model["baselines"]:
                continue  # only combat has an attack on the nearest
            rate = model["baselines"][name]["win_rate"]
            tip = f"{BASELINE_NAMES[name]} {rate:.1%}"
            parts.append(marker(shape, x(rate), y, "baseline", tip, size=5.5))
        m = model["metrics"]
        low, high, rate = m["win_rate_low"], m["win_rate_high"], m["win_rate"]
        parts.append(line(x(low), y, x(high), y, "interval"))
        parts += [line(x(end), y - 7, x(end), y + 7, "cap") for end in (low, high)]
        parts.append(
            marker("dot", x(rate), y, "mind", f"{rate:.1%} ({low:.1%} to {high:.1%}, n = {m['n']})", 6)
        )
        parts.append(text(width - right + 16, y + 5, f"{rate:.1%}", "value"))
    parts.append(line(x(target), top - 8, x(target), bottom, "target"))
    parts.append(text(x(target), top - 13, f"gate {target:.0%}", "target-label", "middle"))
    return figure(
        width, bottom + 28, "Win rate of each model with its interval, baselines and threshold", parts
    )


def _legend_win_rates(left: float) -> str:
    parts = [marker("dot", left + 6, 12, "mind", size=6), text(left + 18, 16.5, "served mind", "legend")]
    for x, (name, shape) in zip((118, 200, 320), BASELINE_MARKS.items(), strict=True):
        parts += [
            marker(shape, left + x, 12, "baseline", size=5.5),
            text(left + x + 12, 16.5, BASELINE_NAMES[name], "legend"),
        ]
    return "".join(parts)


def learning_curve(model: Mapping[str, Any], target: float) -> str:
    """Win rate over environment steps: while training, and greedy on the selection fights."""
    width, height, left, top, right, bottom = 340, 190, 40, 34, 14, 30
    history = [row for row in model["history"] if row.get("env_steps")]
    steps = max((row["env_steps"] for row in history), default=1)
    x = Scale(0, steps, left, width - left - right)
    y = Scale(0, 1, height - bottom, -(height - top - bottom))
    parts = [text(left, 18, model["archetype"], "label")]
    for tick in (0.0, 0.5, 1.0):
        parts.append(line(left, y(tick), width - right, y(tick), "grid"))
        parts.append(text(left - 6, y(tick) + 4, f"{tick:.0%}", "tick", "end"))
    for tick in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[tick]
        parts.append(text(x(tick * steps), height - 10, _thousands(tick * steps), "tick", anchor))
    parts.append(line(left, y(target), width - right, y(target), "target"))
    for name, css in (("win_rate", "curve-soft"), ("selection_win_rate", "curve")):
        points = [(x(row["env_steps"]), y(row[name])) for row in history if row.get(name) is not None]
        parts.append(path(points, css))
    best = model["metrics"].get("best_epoch")
    chosen = [row for row in history if row["epoch"] == best and row.get("selection_win_rate") is not None]
    if chosen:
        row = chosen[-1]
        tip = f"exported: epoch {best}, {row['selection_win_rate']:.1%} on the selection fights"
        parts.append(marker("dot", x(row["env_steps"]), y(row["selection_win_rate"]), "mind", tip, 4.5))
    return figure(width, height, f"Learning curve of {model['archetype']}", parts)


def _thousands(value: float) -> str:
    return "0" if value == 0 else f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"


def reward_terms(model: Mapping[str, Any]) -> str:
    """Mean of each reward term per episode; the terms add up to the average reward."""
    terms = model["metrics"]["reward_terms"] or {}
    # Names have a column of their own; bars to the left of zero need room for their number.
    width, row, top = 340, 24, 34
    left = 156 if min(terms.values(), default=0.0) < 0 else 126
    height = top + row * max(1, len(terms)) + 10
    low, high = min(0.0, *terms.values(), 0.0), max(0.0, *terms.values(), 1.0)
    x = Scale(low, high, left, width - left - 40)
    total = model["metrics"]["average_reward"]
    parts = [
        text(0, 18, model["archetype"], "label"),
        text(width, 18, f"sum {total:.0f}", "value", "end"),
        line(x(0), top - 6, x(0), height - 6, "axis"),
    ]
    for i, (name, value) in enumerate(sorted(terms.items(), key=lambda item: -item[1])):
        y = top + row * i
        parts.append(text(0, y + 12.5, name.replace("_", " "), "tick"))
        bar = x(value) - x(0)
        parts.append(rect(x(0), y + 3, bar, row - 10, "gain" if value >= 0 else "loss"))
        at, anchor = (x(0) + bar + 6, "start") if value >= 0 else (x(0) + bar - 6, "end")
        parts.append(text(at, y + 12.5, f"{value:.0f}", "tick", anchor))
    return figure(width, height, f"Reward terms of {model['archetype']}", parts)


def latencies(models: Models, target_ms: float) -> str:
    """Median, 95th and 99th percentile of a decision through the service, against the limit."""
    width, row, top, left, right = 760, 34, 58, 120, 96
    bottom = top + row * len(models)
    slowest = max((m["metrics"]["latency_p99_ms"] or 0.0 for m in models), default=0.0)
    limit = max(target_ms * 1.1, slowest * 1.05)
    x = Scale(0.0, limit, left, width - left - right)
    parts = [
        marker("dot", left + 6, 12, "baseline", size=5), text(left + 17, 16.5, "median", "legend"),
        marker("dot", left + 90, 12, "mind", size=6), text(left + 102, 16.5, "P95", "legend"),
        marker("diamond", left + 152, 12, "baseline", size=4.5), text(left + 163, 16.5, "P99", "legend"),
    ]  # fmt: skip
    step = 5 if limit < 40 else 20
    for tick in range(0, int(limit) + 1, step):
        parts.append(line(x(tick), top, x(tick), bottom, "grid"))
        parts.append(text(x(tick), bottom + 18, f"{tick} ms", "tick", "middle"))
    for i, model in enumerate(models):
        m, y = model["metrics"], top + row * (i + 0.5)
        parts.append(text(left - 14, y + 5, model["archetype"], "label", "end"))
        if m["latency_p95_ms"] is None:
            parts.append(text(left + 8, y + 5, "not measured", "tick"))
            continue
        p50, p95, p99 = m["latency_p50_ms"], m["latency_p95_ms"], m["latency_p99_ms"]
        parts.append(line(x(p50), y, x(p99), y, "rail-strong"))
        parts.append(marker("dot", x(p50), y, "baseline", f"median {p50:.2f} ms", 5))
        parts.append(marker("diamond", x(p99), y, "baseline", f"P99 {p99:.2f} ms", 4.5))
        parts.append(marker("dot", x(p95), y, "mind", f"P95 {p95:.2f} ms", 6))
        parts.append(text(width - right + 16, y + 5, f"{p95:.1f} ms", "value"))
    parts.append(line(x(target_ms), top - 8, x(target_ms), bottom, "target"))
    parts.append(text(x(target_ms), top - 13, f"gate {target_ms:.0f} ms", "target-label", "middle"))
    return figure(width, bottom + 28, "Served latency of each model against the limit", parts)


def phases(phases_s: Mapping[str, float]) -> str:
    """Where the time went: one bar per phase."""
    width, row, left, right = 760, 26, 120, 70
    longest = max([*phases_s.values(), 1.0])
    x = Scale(0.0, longest, left, width - left - right)
    parts = []
    for i, (name, seconds) in enumerate(phases_s.items()):
        y = row * i + 4
        parts.append(text(left - 14, y + 13, name.replace("_", " "), "tick", "end"))
        parts.append(rect(left, y + 3, max(1.5, x(seconds) - left), row - 12, "gain"))
        parts.append(text(max(left + 1.5, x(seconds)) + 8, y + 13, f"{seconds:.0f} s", "tick"))
    return figure(width, row * len(phases_s) + 8, "Seconds per phase", parts)
