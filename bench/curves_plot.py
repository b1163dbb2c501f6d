"""The picture of `bench.curves`: a panel per task, runs as thin lines, the mean of a lane as a thick one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.curve_tasks import TASKS
from experiments.report.svg import Scale, line, path, rect, text

WIDTH, HEIGHT = 300, 210
LEFT, TOP, BOTTOM, GAP = 52, 30, 34, 14
COLUMNS = 3
LEGEND_HEIGHT = 26
# Orange, blue and grey of Okabe and Ito 2008, told apart by colour-blind readers too.
COLOURS = {"stock": "#d55e00", "columnar": "#0072b2", "untrained": "#888888"}
WORDS = {"stock": "RLlib's own lane", "columnar": "columnar lane", "untrained": "columnar, no learning"}
STYLE = (
    "svg{background:#fff}text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.tick{font-size:10px}"
    ".grid{stroke:#ddd}path{fill:none}"
    + "".join(
        f".{lane}{{stroke:{colour};stroke-width:2.5}}.{lane}-run{{stroke:{colour};stroke-width:1;opacity:.35}}"
        f".{lane}-key{{fill:{colour}}}"
        for lane, colour in COLOURS.items()
    )
)


def plot(file: Path, results: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> None:
    """Draw the curves.

    Args:
        file: Where to.
        results: Files' contents by task and lane.
    """
    rows = -(-len(results) // COLUMNS)
    width = COLUMNS * WIDTH
    parts = [_legend()]
    for number, (name, lanes) in enumerate(results.items()):
        row, column = divmod(number, COLUMNS)
        parts.append(_panel(name, lanes, column * WIDTH, LEGEND_HEIGHT + row * HEIGHT))
    height = LEGEND_HEIGHT + rows * HEIGHT
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}"><style>{STYLE}</style>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )


def _legend() -> str:
    parts = []
    for number, (lane, words) in enumerate(WORDS.items()):
        x = LEFT + number * 190
        parts += [rect(x, 9, 18, 8, f"{lane}-key"), text(x + 24, 17, words)]
    return "".join(parts)


def _panel(name: str, lanes: Mapping[str, Sequence[Mapping[str, Any]]], left: float, top: float) -> str:
    task = TASKS[name]
    last = max(run["env_steps"][-1] for runs in lanes.values() for run in runs)
    x = Scale(0.0, last, left + LEFT, WIDTH - LEFT - GAP)
    y = Scale(task.low, task.high, top + HEIGHT - BOTTOM, -(HEIGHT - BOTTOM - TOP))
    words = "fights won" if task.score == "win_rate" else "return"
    parts = [text(left + LEFT, top + 18, f"{task.title}: {words}", "title")]
    for k in range(5):
        value = task.low + (task.high - task.low) * k / 4
        parts.append(line(x(0.0), y(value), x(last), y(value), "grid"))
        parts.append(text(x(0.0) - 6, y(value) + 4, f"{value:g}", "tick", "end"))
    for k in range(3):
        at = last * k / 2
        parts.append(text(x(at), top + HEIGHT - BOTTOM + 15, f"{at / 1000:.0f}k", "tick", "middle"))
    parts.append(text(left + WIDTH - GAP, top + HEIGHT - 6, "decisions", "tick", "end"))
    for lane in ("untrained", "stock", "columnar"):
        runs = lanes[lane]
        for run in runs:
            points = zip(run["env_steps"], run["score"], strict=True)
            parts.append(path([(x(a), y(b)) for a, b in points], f"{lane}-run"))
        steps = [statistics.fmean(column) for column in zip(*(run["env_steps"] for run in runs), strict=True)]
        means = [statistics.fmean(column) for column in zip(*(run["score"] for run in runs), strict=True)]
        parts.append(path([(x(a), y(b)) for a, b in zip(steps, means, strict=True)], lane))
    return "".join(parts)
