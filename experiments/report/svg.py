"""Just enough SVG: shapes as text, a linear scale, and marks that colour by CSS class.

Colours live in the page's style sheet, so that a figure follows its light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Scale:
    """Maps data onto pixels, ``start + (value - low) / (high - low) * length``.

    Attributes:
        low: Data value at ``start``.
        high: Data value at ``start + length``.
        start: Pixel of the low end.
        length: Pixels from low to high; negative turns the axis round.
    """

    low: float
    high: float
    start: float
    length: float

    def __call__(self, value: float) -> float:
        """The pixel of a value, clipped to the axis."""
        span = (self.high - self.low) or 1.0
        share = min(1.0, max(0.0, (value - self.low) / span))
        return round(self.start + share * self.length, 2)


def figure(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Wraps parts into a figure that scales with the page.

    Args:
        width: Pixels of the drawing.
        height: Pixels of the drawing.
        label: What a screen reader says.
        parts: Elements.
    """
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label, quote=True)}">'
        + "".join(parts)
        + "</svg>"
    )


def text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> str:
    """Text with its baseline at (x, y)."""
    return f'<text x="{x:g}" y="{y:g}" class="{css}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{css}"/>'


def rect(x: float, y: float, width: float, height: float, css: str, radius: float = 2) -> str:
    """A bar; a negative width grows to the left."""
    left, width = (x + width, -width) if width < 0 else (x, width)
    return (
        f'<rect x="{left:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" class="{css}"/>'
    )


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """An open line through points; fewer than two give nothing."""
    if len(points) < 2:
        return ""
    steps = " L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="M{steps}" class="{css}"/>'


def marker(kind: str, x: float, y: float, css: str, title: str = "", size: float = 5) -> str:
    """A mark whose shape tells what it is even without colour.

    Args:
        kind: ``dot``, ``square``, ``triangle`` or ``diamond``.
        x: Centre.
        y: Centre.
        css: Class.
        title: Shown when the pointer rests on it.
        size: Half the width in pixels.
    """
    tip = f"<title>{escape(title)}</title>" if title else ""
    if kind == "dot":
        return f'<circle cx="{x:g}" cy="{y:g}" r="{size:g}" class="{css}">{tip}</circle>'
    shapes: dict[str, list[tuple[float, float]]] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
    }
    corners = " ".join(f"{x + dx * size:g},{y + dy * size:g}" for dx, dy in shapes[kind])
    return f'<polygon points="{corners}" class="{css}">{tip}</polygon>'
