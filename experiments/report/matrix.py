"""The matrix at the head of a report: archetypes x model types, each with verdict and main figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from experiments.report.shell import html_table, pill

Models = Sequence[Mapping[str, Any]]

SHORT = {
    "combat_dqn": "combat",
    "movement_ppo": "movement",
    "skill_dqn": "skill",
    "threat_assessment": "threat",
    "team_coordination": "pack",
    "spatial_vit": "spatial",
    "temporal_transformer": "temporal",
    "pattern_recognition": "pattern",
    "soft_actor_critic": "control",
}
"""Names that fit into a column."""

MEANING = (
    "The figure of combat, movement, skill, pack and control is the share of fights won by kill against the"
    " traditional AI; of threat and spatial the explained variance as a share of its noise ceiling (of"
    " spatial the lesser of its two maps); of temporal and pattern the points of accuracy over the best"
    " baseline."
)


def main_figure(model: Mapping[str, Any]) -> str:
    """The one figure that says most of a model, as text; a dash where it was not measured.

    Args:
        model: An entry of the report.
    """
    metrics, perceived = model["metrics"], model.get("perception") or {}
    rate = metrics.get("win_rate")
    if rate is not None:
        return f"{rate:.0%}"
    shares = [
        value
        for name, value in perceived.items()
        if name.startswith("share_of_ceiling") and value is not None
    ]
    if shares:
        return f"{min(shares):.2f}"
    points = perceived.get("points_over_best")
    return "-" if points is None else f"{points:+.0f}"


def matrix(models: Models) -> tuple[list[str], list[list[Mapping[str, Any] | None]], list[str]]:
    """Lays the models out.

    Args:
        models: Entries of the report.

    Returns:
        Model types as columns; per archetype the entries, None where there is none; the archetypes.
    """
    types = list(dict.fromkeys(model["model_type"] for model in models))
    ordered = [name for name in SHORT if name in types] + [name for name in types if name not in SHORT]
    archetypes = list(dict.fromkeys(model["archetype"] for model in models))
    cells = {(model["archetype"], model["model_type"]): model for model in models}
    return ordered, [[cells.get((a, t)) for t in ordered] for a in archetypes], archetypes


def text_rows(models: Models) -> tuple[list[str], list[list[str]]]:
    """Header and rows of plain text: ``97%`` where the gate is passed, else ``97% FAIL`` or ``97% ?``."""
    types, rows, archetypes = matrix(models)
    header = ["archetype", *(SHORT.get(name, name) for name in types)]
    words = {"pass": "", "fail": " FAIL", "undecided": " ?"}
    return header, [
        [
            archetype,
            *("-" if m is None else main_figure(m) + words.get(m["gate"], f" {m['gate']}") for m in row),
        ]
        for archetype, row in zip(archetypes, rows, strict=True)
    ]


def html_matrix(models: Models) -> str:
    """The matrix as a table with coloured verdicts; what failed says why when pointed at."""
    types, rows, archetypes = matrix(models)
    cells = []
    for archetype, row in zip(archetypes, rows, strict=True):
        line = [escape(archetype)]
        for model in row:
            if model is None:
                line.append("")
                continue
            why = "" if model["gate"] == "pass" else f' title="{escape("; ".join(model["reasons"]))}"'
            line.append(f"<span{why}>{pill(model['gate'], main_figure(model))}</span>")
        cells.append(line)
    return html_table(("", *(SHORT.get(name, name) for name in types)), cells, set())


def failures(models: Models) -> list[str]:
    """One line for each model that does not pass, with its reasons."""
    return [
        f"{m['archetype']} {m['model_type']}: {m['gate']}: {'; '.join(m['reasons'])}"
        for m in models
        if m["gate"] != "pass"
    ]
