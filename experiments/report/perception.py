"""Tables of perception minds: what the gate asked, and every comparison with a named baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Models = Sequence[Mapping[str, Any]]

QUESTIONS = {"2s": "threat in 2 s", "damage": "map of damage", "occupancy": "map of enemies"}


def ceiling_rows(models: Models) -> tuple[tuple[str, ...], list[list[str]]]:
    """Explained variances beside their ceilings: of who is told what the mind is, and of who knows all."""
    header = ("Archetype", "Gate", "Question", "Explained variance", "95 % interval", "Share of ceiling",
              "Ceilings", "Calibration error", "P95")  # fmt: skip
    rows = []
    for model in models:
        seen = model.get("perception") or {}
        for name, words in QUESTIONS.items():
            if seen.get(f"explained_{name}") is None:
                continue
            low, high = seen[f"explained_{name}_low"], seen[f"explained_{name}_high"]
            rows.append(
                [
                    model["archetype"],
                    model["gate"],
                    words,
                    form(seen[f"explained_{name}"], ".3f"),
                    f"{form(low, '.3f')} to {form(high, '.3f')}",
                    form(seen[f"share_of_ceiling_{name}"], ".2f"),
                    _ceilings(seen.get("ceilings") or {}, name),
                    form(seen.get("calibration_error"), ".3f"),
                    f"{form(model['served_p95_ms'], '.1f')} ms",
                ]
            )
    return header, rows


def _ceilings(ceilings: Mapping[str, Any], question: str) -> str:
    found = []
    for name, what in ((f"told_{question}", "told"), (question, "all"), (f"threat_{question}", "all")):
        one = ceilings.get(name)
        if one:
            interval = f"{form(one['low'], '.2f')} to {form(one['high'], '.2f')}"
            found.append(f"{what} {form(one['value'], '.3f')} ({interval})")
    return ", ".join(found) or "-"


def accuracy_rows(models: Models) -> tuple[tuple[str, ...], list[list[str]]]:
    """Accuracies beside the best baseline's."""
    header = ("Archetype", "Gate", "Accuracy", "Best baseline", "Its accuracy", "Points over it",
              "95 % interval", "P95")  # fmt: skip
    rows = []
    for model in models:
        seen = model.get("perception") or {}
        if seen.get("accuracy") is None:
            continue
        low, high = seen["points_over_best_low"], seen["points_over_best_high"]
        rows.append(
            [
                model["archetype"],
                model["gate"],
                form(seen["accuracy"], ".1%"),
                str(seen["best_baseline"]),
                form(seen["best_baseline_accuracy"], ".1%"),
                form(seen["points_over_best"], "+.1f"),
                f"{form(low, '+.1f')} to {form(high, '+.1f')}",
                f"{form(model['served_p95_ms'], '.1f')} ms",
            ]
        )
    return header, rows


def comparison_rows(models: Models) -> tuple[tuple[str, ...], list[list[str]]]:
    """Every question against every baseline, on seen and on held-out compositions."""
    header = ("Archetype", "Set", "Question", "Baseline", "Error", "Its error", "Better by, 95 %", "Fights")
    return header, [
        [
            model["archetype"],
            row["set"].replace("_", " "),
            row["question"],
            row["baseline"],
            form(row["error"], ".4f"),
            form(row["baseline_error"], ".4f"),
            f"{form(row['low'], '+.4f')} to {form(row['high'], '+.4f')}",
            str(row["fights"]),
        ]
        for model in models
        for row in (model.get("perception") or {}).get("against", ())
    ]


def form(value: float | None, pattern: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, pattern)
