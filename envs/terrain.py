"""Named layouts of blocked cells."""

from __future__ import annotations

from functools import cache

import numpy as np

from envs.archetypes import DATA
from envs.configuration import ConfigError, nearest
from envs.yaml_file import load_yaml

LAYOUT_SIZE = 32


@cache
def names() -> tuple[str, ...]:
    """Names that `layout` knows; `open` has no blocked cell."""
    return ("open", *load_yaml(DATA / "terrain.yaml"))


def layout(name: str, size: int = LAYOUT_SIZE) -> np.ndarray | None:
    """Return the blocked cells of a layout, bool `(size, size)` with row 0 = lowest y; None if all are free.

    Raises:
        ConfigError: unknown name.
    """
    if name not in names():
        raise ConfigError(f"unknown terrain {name!r}{nearest(name, names())}")
    if name == "open":
        return None
    blocked = np.zeros((size, size), bool)
    shift = (size - LAYOUT_SIZE) // 2
    for x, y, width, height in load_yaml(DATA / "terrain.yaml")[name]["blocks"]:
        blocked[y + shift : y + shift + height, x + shift : x + shift + width] = True
    return blocked | blocked[::-1, ::-1]
