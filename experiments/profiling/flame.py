"""A flame graph as one self-contained HTML page: width is time, what is called hangs below its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from experiments.profiling.sampler import Stack

ROW = 18
"""Pixels of a frame's height."""
LEAST_SHARE = 0.001
"""Frames below this share of the whole are not drawn."""
KINDS = {
    "envs/": "envs",
    "policies/": "policies",
    "experiments/": "experiments",
    "torch/": "torch",
    "ray/": "ray",
}
"""Colour of a frame by where its file lies; others are grey, lines of source pale."""


@dataclass
class Node:
    """A frame with everything that it called.

    Attributes:
        name: ``function (file)``.
        seconds: Time with what it called.
        children: By name.
    """

    name: str
    seconds: float = 0.0
    children: dict[str, Node] = field(default_factory=dict)


def tree(seconds: Mapping[Stack, float], name: str) -> Node:
    """Puts stacks with the same callers together.

    Args:
        seconds: Wall time by stack.
        name: Of the root.
    """
    root = Node(name)
    for stack, spent in seconds.items():
        node = root
        node.seconds += spent
        for frame in stack:
            node = node.children.setdefault(frame, Node(frame))
            node.seconds += spent
    return root


def flame_page(
    root: Node, *, title: str, summary: str, phases: Sequence[tuple[str, float]], legend: str
) -> str:
    """Renders the page; it asks for nothing from outside.

    Args:
        root: Of the tree.
        title: Head line.
        summary: One sentence below it.
        phases: Name and seconds of each phase, shown as a bar.
        legend: How it was measured.
    """
    frames: list[str] = []
    depth = _draw(root, root.seconds or 1.0, 0.0, 0, frames)
    total = sum(spent for _, spent in phases) or 1.0
    bar = "".join(
        f'<div class="phase p{number % 11}" style="width:{100 * spent / total:.3f}%" '
        f'title="{escape(name)}: {spent:.2f} s, {spent / total:.1%}"><span>{escape(name)} '
        f"{spent / total:.0%}</span></div>"
        for number, (name, spent) in enumerate(phases)
        if spent > 0
    )
    folder = Path(__file__).parent
    return Template((folder / "flame.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        summary=escape(summary),
        legend=escape(legend),
        bar=bar,
        height=(depth + 1) * ROW,
        frames="".join(frames),
        script=(folder / "flame.js").read_text(encoding="utf-8"),
    )


def write_page(path: Path, text: str) -> Path:
    """Writes a page so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.writing")
    beside.write_text(text, encoding="utf-8")
    return beside.replace(path)


def _draw(node: Node, whole: float, start: float, depth: int, frames: list[str]) -> int:
    """Appends a frame and what it called; gives the depth of the deepest."""
    share = node.seconds / whole
    name = escape(node.name, quote=True)
    # An inner svg of the frame's width cuts its text off at the edge, at any size of the window.
    frames.append(
        f'<svg class="f {_kind(node.name)}" data-x="{start:.6f}" data-w="{share:.6f}" data-d="{depth}" '
        f'x="{100 * start:.4f}%" y="{depth * ROW}" width="{100 * share:.4f}%" height="{ROW - 1}">'
        f"<title>{name}\n{node.seconds:.3f} s, {share:.2%}</title>"
        f'<rect width="100%" height="100%"/><text x="3" y="12.5">{name}</text></svg>'
    )
    deepest, place = depth, start
    for child in sorted(node.children.values(), key=lambda child: -child.seconds):
        if child.seconds / whole >= LEAST_SHARE:
            deepest = max(deepest, _draw(child, whole, place, depth + 1, frames))
        place += child.seconds / whole
    return deepest


def _kind(name: str) -> str:
    if name.endswith(")") and "(line " in name:
        return "line"
    file = name.rpartition("(")[2]
    return next((kind for prefix, kind in KINDS.items() if file.startswith(prefix)), "other")
