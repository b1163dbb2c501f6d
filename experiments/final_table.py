"""The result of the demo as a table for the terminal."""

from __future__ import annotations

from typing import Any

from experiments.progress import duration, table
from experiments.report.matrix import failures, text_rows
from experiments.report.page import headline


def final_table(report: dict[str, Any]) -> list[str]:
    """Archetypes x model types with the main figure of each, what does not pass and why, the sum.

    Args:
        report: What ``build_report`` gave.
    """
    header, rows = text_rows(report["models"])
    lines = ["", *table(header, rows, right=set(range(1, len(header)))), ""]
    lines += [
        "(share of fights won by kill; threat, spatial: share of the noise ceiling; temporal, pattern: points"
        " of accuracy over the best baseline)",
        "",
    ]
    lines += failures(report["models"])
    cores = report["machine"]["cpu_cores"]
    return [*lines, f"{headline(report)}; {duration(report['wall_s'])} on {cores} cores"]
