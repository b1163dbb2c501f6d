"""A section of the report for each model type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from experiments.report import figures, perception
from experiments.report.perception import form
from experiments.report.shell import html_table, pill

Models = Sequence[Mapping[str, Any]]
Table = tuple[Sequence[str], list[list[str]]]

WIN_NOTE = (
    "Fights won by kill; a win on time does not count. The bar is the 95 % Wilson interval, whose lower end"
    " must be above the gate's line. Mirror is the traditional AI in the learner's place."
)


def type_section(name: str, models: Models, report: Mapping[str, Any]) -> str:
    """The models of one type as HTML.

    Args:
        name: Of the type.
        models: Its entries.
        report: The whole, for the thresholds.
    """
    limits = report["thresholds"]
    parts = [f"<section><h2>{escape(name)}</h2>"]
    fought = [m for m in models if m["metrics"].get("win_rate") is not None]
    if fought:
        target = limits["win_rate"]["target"]
        parts += [f'<p class="note">{escape(WIN_NOTE)}</p>', figures.win_rates(fought, target)]
    parts += [_html(table) for table in tables(models)]
    if fought:
        curves = "".join(figures.learning_curve(m, limits["win_rate"]["target"]) for m in fought)
        terms = "".join(figures.reward_terms(m) for m in fought)
        parts.append(
            f'<details><summary>How they learned</summary><div class="panels">{curves}</div></details>'
            "<details><summary>What the reward was made of</summary>"
            f'<div class="panels">{terms}</div></details>'
        )
    if any(m["served_p95_ms"] is not None for m in models):
        parts.append(
            "<details><summary>Latency of a served decision</summary>"
            f"{figures.latencies(models, limits['latency_p95_ms']['target'])}</details>"
        )
    _, rows = against = perception.comparison_rows(models)
    if rows:
        parts.append(f"<details><summary>Against every baseline</summary>{_html(against)}</details>")
    return "".join(parts) + "</section>"


def type_markdown(name: str, models: Models) -> list[str]:
    """The models of one type as lines of Markdown."""
    lines = ["", f"## {name}", ""]
    for table in tables(models):
        lines += [*markdown_table(*table), ""]
    return lines


def tables(models: Models) -> list[Table]:
    """What is said of the models of one type: of those that act, perceive, and of all how they were made."""
    every = (
        acting_rows(models),
        perception.ceiling_rows(models),
        perception.accuracy_rows(models),
        making_rows(models),
        served_rows(models),
    )
    return [table for table in every if table[1]]


def acting_rows(models: Models) -> Table:
    """Fights, reward, latency and variety of minds that act."""
    header = ("Archetype", "Gate", "Win rate", "95 % interval", "Fights", "Best baseline", "Reward", "P95",
              "Entropy")  # fmt: skip
    rows = []
    for model in models:
        m = model["metrics"]
        if m.get("win_rate") is None:
            continue
        baselines = model["baselines"]
        best = max(baselines, key=lambda name: float(baselines[name]["win_rate"]), default=None)
        rows.append(
            [
                model["archetype"],
                model["gate"],
                form(m["win_rate"], ".1%"),
                f"{form(m['win_rate_low'], '.1%')} to {form(m['win_rate_high'], '.1%')}",
                f"{m['n']:,}",
                "-" if best is None else f"{best.replace('_', ' ')} {baselines[best]['win_rate']:.1%}",
                form(m["average_reward"], ".0f"),
                f"{form(model['served_p95_ms'], '.1f')} ms",
                f"{form(m['action_entropy_bits'], '.2f')} bits",
            ]
        )
    return header, rows


PHASES = ("train", "export", "evaluate", "latency")


def making_rows(models: Models) -> Table:
    """How each was made: epochs, the plateau, the loss, and what each phase took."""
    header = ("Archetype", "Version", "Epochs", "Plateau at", "Final loss", *(f"{name} s" for name in PHASES),
              "Deployed")  # fmt: skip
    return header, [
        [
            model["archetype"],
            "-" if model["version"] is None else f"v{model['version']}",
            form(model["metrics"].get("epochs"), ".0f"),
            form(model["plateau_epoch"], ".0f"),
            form(model["metrics"].get("loss"), ".3f"),
            *(form(model["seconds"].get(name), ".1f") for name in PHASES),
            "yes" if model["deployed"] else "no",
        ]
        for model in models
    ]


def served_rows(models: Models) -> Table:
    """What each deployed mind did through the service: a fight, or an answer."""
    rows = []
    for model in models:
        done = model["fight"]
        if done:
            chosen = sorted((done.get("actions") or {}).items(), key=lambda item: -item[1])[:3]
            often = ", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in chosen)
            rows.append([model["archetype"], done["words"] + (f"; most often {often}" if often else "")])
    return ("Archetype", "Through the service"), rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of Markdown."""
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _html(table: Table) -> str:
    header, rows = table
    gate = header.index("Gate") if "Gate" in header else -1
    cells = [[pill(c) if i == gate else escape(c) for i, c in enumerate(row)] for row in rows]
    return html_table(header, cells, set())
