"""The flame graph: widths, depths, colours, names that are no markup, nothing from outside."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from experiments.profiling.flame import Node, flame_page, tree

STACKS = {
    ("train (policies/training.py)", "step (envs/simulation/world.py)"): 3.0,
    ("train (policies/training.py)", "linear (torch/nn/functional.py)", "return a < b (line 7)"): 1.0,
    ("<lambda> (other.py)",): 0.002,
}


def page(root: Node) -> str:
    return flame_page(root, title="T", summary="S", phases=[("forward", 3.0), ("backward", 1.0)], legend="L")


def drawn(text: str) -> dict[str, tuple[float, float, int, str]]:
    graph = re.search(r'<svg id="graph".*</svg>', text, re.DOTALL)
    assert graph is not None
    found = {}
    for frame in ElementTree.fromstring(graph[0]):
        name = frame.findtext("text")
        assert name is not None
        place = (float(frame.attrib["data-x"]), float(frame.attrib["data-w"]), int(frame.attrib["data-d"]))
        found[name] = (*place, frame.attrib["class"].split()[1])
    return found


def test_the_tree_adds_up() -> None:
    root = tree(STACKS, "all")
    train = root.children["train (policies/training.py)"]
    assert (round(root.seconds, 3), train.seconds) == (4.002, 4.0)
    assert train.children["step (envs/simulation/world.py)"].seconds == 3.0


def test_frames_have_the_width_of_their_time_and_hang_below_their_caller() -> None:
    frames = drawn(page(tree(STACKS, "all")))
    assert frames["all"] == (0.0, 1.0, 0, "other")
    assert frames["step (envs/simulation/world.py)"] == (0.0, round(3 / 4.002, 6), 2, "envs")
    assert frames["linear (torch/nn/functional.py)"] == (round(3 / 4.002, 6), round(1 / 4.002, 6), 2, "torch")
    assert frames["return a < b (line 7)"][3] == "line"
    assert "<lambda> (other.py)" not in frames  # under a thousandth


def test_the_page_stands_alone() -> None:
    text = page(tree(STACKS, "all"))
    assert "forward 75%" in text and "backward 25%" in text
    assert not re.search(r"(src|href)=|url\(|import ", text)
