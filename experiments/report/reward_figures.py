"""The figures of the reward page, each a function from reward summaries to an SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.report.svg import Scale, figure, line, marker, rect, text
from experiments.reward_summary import RewardSummary, TermSummary

_WIDTH = 760


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover ``low`` to ``high``.

    Args:
        low: Smallest value to cover.
        high: Largest value to cover.
        about: How many steps are wanted.
    """
    span = max(high - low, 1e-9)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _limits(summaries: Sequence[TermSummary]) -> tuple[float, float]:
    """Range that holds zero, every episode and every standard deviation."""
    ends = [end for s in summaries for end in (s.min, s.max, s.mean - s.sd, s.mean + s.sd)]
    known = [end for end in ends if math.isfinite(end)]
    return min([0.0, *known]), max([1.0, *known])


def _row(x: Scale, y: float, s: TermSummary) -> list[str]:
    """Spread and means of one distribution on one line; nothing where no episode is finite."""
    if not math.isfinite(s.mean):
        return []
    parts = [
        line(x(s.min), y, x(s.max), y, "range"),
        line(x(s.mean - s.sd), y, x(s.mean + s.sd), y, "spread"),
    ]
    for shape, css, mean, words in (
        ("triangle", "won", s.mean_won, "won fights"),
        ("diamond", "lost", s.mean_lost, "lost fights"),
    ):
        if mean is not None:
            parts.append(marker(shape, x(mean), y, css, f"{words}: mean {mean:.1f}", 5))
    tip = f"mean {s.mean:.1f}, sd {s.sd:.1f}, from {s.min:.1f} to {s.max:.1f}"
    return [*parts, marker("dot", x(s.mean), y, "baseline", tip, 4.5)]


def _axis(x: Scale, ticks: Sequence[float], top: float, bottom: float) -> list[str]:
    parts = []
    for tick in ticks:
        parts.append(line(x(tick), top, x(tick), bottom, "zero" if tick == 0 else "grid"))
        parts.append(text(x(tick), bottom + 16, f"{tick:g}", "tick", "middle"))
    return parts


def legend() -> str:
    """What the marks of the distributions mean."""
    parts = [
        line(2, 11, 40, 11, "range"), line(10, 11, 32, 11, "spread"),
        marker("dot", 21, 11, "baseline", size=4.5),
        text(50, 15.5, "all fights: mean, ±1 sd, smallest to largest", "legend"),
        marker("triangle", 330, 11, "won", size=5), text(342, 15.5, "mean of won fights", "legend"),
        marker("diamond", 482, 11, "lost", size=5), text(494, 15.5, "mean of lost fights", "legend"),
    ]  # fmt: skip
    return figure(_WIDTH, 24, "Legend", parts)


def episodes(summaries: Sequence[RewardSummary]) -> str:
    """What an episode is worth: the whole reward of each archetype on one axis."""
    row, top, left, right = 38, 10, 112, 190
    bottom = top + row * len(summaries)
    ticks = nice_ticks(*_limits([s.total for s in summaries]), about=8)
    x = Scale(ticks[0], ticks[-1], left, _WIDTH - left - right)
    parts = _axis(x, ticks, top, bottom)
    for i, s in enumerate(summaries):
        y = top + row * (i + 0.5)
        parts.append(text(left - 14, y + 5, s.archetype, "label", "end"))
        parts += _row(x, y, s.total)
        figures = f"{s.total.mean:.0f} ± {s.total.sd:.0f}" if math.isfinite(s.total.mean) else "not finite"
        parts.append(text(_WIDTH - 100, y + 5, figures, "value", "end"))
        parts.append(text(_WIDTH, y + 5, f"{s.win_rate:.0%} won", "faint", "end"))
    return figure(_WIDTH, bottom + 24, "Reward of an episode for each archetype", parts)


def terms(summary: RewardSummary) -> str:
    """Every term of an archetype on one axis, beside its figures."""
    row, top, left, plot = 30, 28, 186, 290
    bottom = top + row * len(summary.terms)
    ticks = nice_ticks(*_limits(summary.terms), about=5)
    x = Scale(ticks[0], ticks[-1], left, plot)
    warned = {w.term: w.kind for w in summary.warnings}
    parts = [
        text(0, 14, "term", "head"),
        text(left - 16, 14, "weight", "head", "end"),
        text(left, 14, "per episode", "head"),
        text(580, 14, "mean ± sd", "head", "end"),
        text(684, 14, "share", "head", "end"),
        text(_WIDTH, 14, "paid in", "head", "end"),
        *_axis(x, ticks, top, bottom),
    ]
    for i, term in enumerate(summary.terms):
        y = top + row * (i + 0.5)
        css = "warned" if term.name in warned else ""
        share = term.share or 0.0
        parts.append(text(0, y + 5, term.name.replace("_", " "), css))
        parts.append(text(left - 16, y + 5, f"{term.weight:g}", "faint", "end"))
        parts += _row(x, y, term)
        figures = f"{term.mean:.1f} ± {term.sd:.1f}" if math.isfinite(term.mean) else "not finite"
        parts.append(text(580, y + 5, figures, "n", "end"))
        parts.append(rect(600, y - 4, max(1.0, 40 * share), 8, "gain"))
        parts.append(text(684, y + 5, f"{share:.1%}", "n", "end"))
        paid = f"{term.nonzero:.0%}" if math.isfinite(term.nonzero) else "-"
        parts.append(text(_WIDTH, y + 5, paid, "n", "end"))
    return figure(_WIDTH, bottom + 24, f"Reward terms of {summary.archetype}", parts)


def histogram(summary: RewardSummary) -> str:
    """Episodes by reward, stacked by how they ended."""
    height, top, left, bottom = 168, 46, 36, 140
    h = summary.histogram
    counts = [sum(bin_) for bin_ in zip(h.won, h.lost, h.other, strict=True)]
    ticks = nice_ticks(h.edges[0], h.edges[-1], 8)
    x = Scale(ticks[0], ticks[-1], left, _WIDTH - left - 22)
    y = Scale(0, max([*counts, 1]), bottom, -(bottom - top))
    parts = _axis(x, ticks, top, bottom)
    parts.append(text(left - 8, top + 6, f"{max(counts, default=0)}", "tick", "end"))
    parts.append(text(left - 8, bottom, "0", "tick", "end"))
    spots: list[tuple[str, str, tuple[int, ...]]] = [
        ("won", "won", h.won),
        ("lost", "lost", h.lost),
        ("on time", "on-time", h.other),
    ]
    parts.append(text(0, 28, "fights by reward", "head"))
    at = 132.0
    for name, css, bins in spots:
        words = f"{name} {sum(bins)}"
        parts += [rect(at, 18, 11, 11, css), text(at + 17, 28, words, "legend")]
        at += 44 + 6.6 * len(words)
    below = [0] * len(counts)
    for _, css, bins in spots:
        for i, count in enumerate(bins):
            if count:
                left_edge, right_edge = x(h.edges[i]), x(h.edges[i + 1])
                high, low = y(below[i] + count), y(below[i])
                parts.append(rect(left_edge, high, max(right_edge - left_edge, 1.0), low - high, css, 0))
                below[i] += count
    return figure(_WIDTH, height, f"Episodes of {summary.archetype} by reward", parts)
