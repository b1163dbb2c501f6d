"""Writes the page of ``monster transfer``: learning curves of both arms, and what transfer gained."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from experiments.learning_curves import Curve
from experiments.report.shell import html_table, shell, write_page
from experiments.report.svg import Scale, figure, line, path, text
from experiments.transfer_result import (
    WIN_RATE,
    TransferResult,
    gain_lines,
    interval_text,
    result_rows,
)

WORDS = {"scratch": "from scratch", "transfer": "transferred"}
# The mean of an arm, and its single runs.
STYLES = {"scratch": ("axis", "grid-run"), "transfer": ("curve", "curve-soft")}
STYLE = (
    "<style>svg path.axis{fill:none;stroke-width:2.2;stroke-dasharray:6 3}"
    "svg path.grid-run{fill:none;stroke:var(--rule);stroke-width:1.4}</style>"
)


def write_transfer_page(file: Path, result: TransferResult, command: str) -> None:
    """Writes the page; it needs nothing from outside.

    Args:
        file: Where to.
        result: What the transfer came to.
        command: What the user typed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_page(file, transfer_page(result, command))


def transfer_page(result: TransferResult, command: str) -> str:
    """Renders the page."""
    header, rows = result_rows(result)
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    said = "".join(f"<li>{escape(words)}</li>" for words in gain_lines(result))
    body = [
        STYLE,
        f"<section><h2>Learning curves</h2>{_note(result)}{curves(result)}</section>",
        f"<section><h2>What was gained</h2><ul>{said}</ul></section>" if said else "",
        f"<section><h2>Each run</h2>{html_table(header, cells, {0, *range(2, len(header))})}</section>",
        f"<section><h2>How this was made</h2>{_made(result, command)}</section>",
    ]
    title = f"{result.model_type}: {result.source_archetype} to {result.target_archetype}"
    return shell(
        title=title,
        over=f"ML Monster transfer, {created}",
        headline=_headline(result),
        summary=(
            f"{result.target_archetype} started from the weights of {result.source}"
            + (
                ", beside the same training from fresh weights: equal seeds, equal steps, equal settings."
                if result.paired is not None
                else "."
            )
            + f" {result.registered} is registered."
        ),
        facts=_facts(result),
        body="".join(body),
    )


def curves(result: TransferResult) -> str:
    """The learning curves: single runs thin, the mean of an arm thick."""
    width, height, left, top, right, bottom = 760, 320, 52, 44, 20, 44
    scores = [score for curves in result.arms.values() for curve in curves for score in curve.scores]
    low = 0.0 if result.acting else min(scores)
    high = 1.0 if result.acting else max(max(scores), low + 1e-6)
    last = max(curve.steps[-1] for curves in result.arms.values() for curve in curves)
    x = Scale(0.0, last, left, width - left - right)
    y = Scale(low, high, height - bottom, -(height - top - bottom))
    parts = []
    for k in range(5):
        value = low + (high - low) * k / 4
        parts.append(line(left, y(value), width - right, y(value), "grid"))
        shown = f"{value:.0%}" if result.acting else f"{value:.2f}"
        parts.append(text(left - 8, y(value) + 4, shown, "tick", "end"))
    for k in range(5):
        at = last * k / 4
        shown = f"{at / 1000:,.0f} k" if result.acting else f"{at:.0f}"
        parts.append(text(x(at), height - bottom + 18, shown, "tick", "middle"))
    parts.append(text(width - right, height - 6, "decisions" if result.acting else "epochs", "tick", "end"))
    if result.acting:
        parts.append(line(left, y(WIN_RATE), width - right, y(WIN_RATE), "target"))
    for number, (name, arm) in enumerate(result.arms.items()):
        thick, thin = STYLES[name]
        key = left + 150 * number
        parts.append(path([(key, 16), (key + 26, 16)], thick))
        parts.append(text(key + 34, 20, WORDS[name], "legend"))
        parts += [path(_points(curve, x, y), thin) for curve in arm]
    for name, arm in result.arms.items():
        parts.append(path(_points(_mean(arm), x, y), STYLES[name][0]))
    return figure(width, height, f"Learning curves of {result.target_archetype}", parts)


def _points(curve: Curve, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(a), y(b)) for a, b in zip(curve.steps, curve.scores, strict=True)]


def _mean(arm: Sequence[Curve]) -> Curve:
    length = min(len(curve.steps) for curve in arm)
    return Curve(
        arm[0].seed,
        "mean",
        tuple(statistics.fmean(curve.steps[k] for curve in arm) for k in range(length)),
        tuple(statistics.fmean(curve.scores[k] for curve in arm) for k in range(length)),
    )


def _note(result: TransferResult) -> str:
    words = (
        "Greedy win rate on the selection fights after each epoch; thin lines are single seeds."
        if result.acting
        else f"Validation score ({result.measure}) after each epoch; thin lines are single seeds. A run that "
        "stopped early stays with its best weights."
    )
    return f'<p class="note">{escape(words)}</p>'


def _headline(result: TransferResult) -> str:
    route = f"{result.source_archetype} to {result.target_archetype}"
    if result.paired is None:
        return f"Transferred: {route}"
    gain = result.paired.area_gain
    if not gain.excludes_zero:
        return f"{route}: no clear gain from transfer"
    return f"{route}: transfer {'helps' if gain.mean > 0 else 'hurts'}"


def _facts(result: TransferResult) -> list[tuple[str, str]]:
    facts = [(f"{len(result.transferred)}", "seeds an arm")]
    best = max(curve.best for curve in result.transferred)
    facts.append((f"{best:.2f}", "best epoch of a transferred run"))
    if result.paired is not None:
        gain = result.paired.area_gain
        facts.append((f"{gain.mean:+.3f}", f"mean over training {interval_text(gain, '+.3f')}"))
        if result.acting:
            saved = result.paired.steps_saved
            facts.append((f"{saved.mean:,.0f}", f"decisions to {WIN_RATE:.0%} saved"))
    return facts


def _made(result: TransferResult, command: str) -> str:
    rows = [
        ("Command", command),
        ("Profile", result.profile),
        ("Source", f"{result.source}, run {result.source_run}"),
        ("Registered", f"{result.registered}, run {result.run_id}"),
        ("Seeds", ", ".join(str(curve.seed) for curve in result.transferred)),
    ]
    return html_table(("", ""), [[escape(a), f"<code>{escape(b)}</code>"] for a, b in rows], set())
