"""Progress for people: one compact line per report instead of Tune's wall of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Say = Callable[[str], None]
"""Takes one line of text for the user; the command line prints it, tests collect it."""

LINES_PER_RUN = 8
"""Epoch lines that a run shows, whatever its length; the ledger's history holds every epoch."""


def silent(line: str) -> None:
    """Takes a line and says nothing."""


def clock(seconds: float) -> str:
    """Writes a duration as ``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def duration(seconds: float) -> str:
    """Writes a duration in words, such as ``7 min 14 s``."""
    return f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"


class Progress:
    """Words the progress of one command with the time since it began.

    Args:
        say: Receives each line.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._started

    def line(self, text: str) -> None:
        """Says one line with the time in front."""
        self._say(f"[{clock(self.elapsed_s):>5}] {text}")

    def epoch(self, metrics: Mapping[str, Any], finished: int, total: int) -> None:
        """Says what one epoch of one run came to: the first, the last, and eight or so between.

        Args:
            metrics: The common metric names of a report; missing ones show as a dash.
            finished: Runs already finished.
            total: Runs of the experiment.
        """
        epoch, epochs = metrics["epoch"], metrics["epochs"]
        if epoch not in (1, epochs) and epoch % max(1, round(epochs / LINES_PER_RUN)) != 0:
            return
        if "val_loss" in metrics:
            shown = (
                f"loss {_number(metrics.get('loss'), '.3f')}"
                f"  validation {_number(metrics['val_loss'], '.3f')}"
                f"  best epoch {metrics['best_epoch']}  {_number(metrics.get('rows_per_s'), ',.0f')} rows/s"
            )
        else:
            shown = (
                f"win {_number(metrics.get('win_rate'), '.2f')}"
                f"  greedy {_number(metrics.get('selection_win_rate'), '.2f')}"
                f"  reward {_number(metrics.get('reward'), '6.1f')}"
                f"  loss {_number(metrics.get('loss'), '.3f')}"
                f"  {_number(metrics.get('env_steps_per_s'), ',.0f')} steps/s"
            )
        self.line(
            f"{metrics['archetype']:<10} {metrics['model_type']:<20} epoch {epoch:>3}/{epochs:<3} {shown}"
            f"  ({finished} of {total} runs done)"
        )


def _number(value: Any, form: str) -> str:
    return "-" if value is None or value != value else format(float(value), form)


def table(header: list[str], rows: list[list[Any]], right: set[int] | None = None) -> list[str]:
    """Lays out a plain table.

    Args:
        header: Column titles.
        rows: Cells, turned into text.
        right: Columns aligned to the right.

    Returns:
        Lines without trailing blanks.
    """
    right = right or set()
    cells = [header, *[[("-" if cell is None else str(cell)) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def lay(row: list[str]) -> str:
        parts = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return [lay(cells[0]), "  ".join("-" * width for width in widths), *map(lay, cells[1:])]
