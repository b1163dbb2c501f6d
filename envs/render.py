"""Pictures of a fight, drawn from unit tables: what `render_mode="rgb_array"` and films show.

Blue circles are team 0, orange squares team 1 (told apart by shape as well as colour); the letters name the
archetype. Above each unit stand its HP and SP, below it a running cast; a ground-aimed cast marks its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES

PIXELS = 640
_OVERSAMPLE = 2  # drawn larger and scaled down, which smooths the edges

FLOOR, TILE, GRID, WALL = (24, 29, 40), (28, 34, 46), (37, 44, 58), (74, 84, 104)
TEAMS = ((77, 148, 255), (255, 150, 50))
INK, SOFT, HURT, HEAL = (240, 243, 248), (150, 160, 178), (255, 214, 92), (104, 222, 158)
LETTERS = {name: name[0].upper() for name in ARCHETYPES}


@dataclass(frozen=True)
class Mark:
    """A short text above a cell, such as damage dealt there.

    Attributes:
        x: cell, may lie between cells.
        y: cell.
        words: the text.
        colour: red, green, blue.
    """

    x: float
    y: float
    words: str
    colour: tuple[int, int, int] = HURT


class Painter:
    """Draws states of one fight, all with the same frame.

    Attributes:
        shape: (height, width, 3) of each picture.
    """

    def __init__(
        self,
        skills: np.ndarray,
        size: int,
        *,
        terrain: np.ndarray | None = None,
        pixels: int = PIXELS,
        window: tuple[float, float, float] | None = None,
    ) -> None:
        """Choose what is shown.

        Args:
            skills: int32 `(unit, slot, field)`, columns of `envs.contracts.layout`.
            size: cells per edge of the arena.
            terrain: bool `(size, size)`, row 0 = lowest y, True where blocked.
            pixels: width and height of a picture.
            window: (lowest x, lowest y, cells per edge) of what is shown; None shows all.
        """
        self.skills, self.size, self.pixels = skills, size, pixels
        self.left, self.bottom, self.cells = window or (-0.5, -0.5, float(size))
        self.shape = (pixels, pixels, 3)
        self._scale = pixels * _OVERSAMPLE / self.cells
        self._ground = self._paint_ground(terrain)

    def paint(self, units: np.ndarray, seconds: float, marks: Sequence[Mark] = ()) -> np.ndarray:
        """Return a picture, uint8 `(height, width, 3)`.

        Args:
            units: `(unit, column)`, the first half of team 0; floats let units stand between cells.
            seconds: into the fight.
            marks: texts over the arena.
        """
        from PIL import ImageDraw

        picture = self._ground.copy()
        draw = ImageDraw.Draw(picture, "RGBA")
        for unit, row in enumerate(units):
            self._paint_cast_area(draw, unit, row)
        for row in units:
            self._paint_target(draw, units, row)
        for row in sorted(units, key=lambda row: (row[f.HP] > 0, -row[f.Y])):
            self._paint_unit(draw, row)
        for mark in marks:
            self._write(draw, *self._place(mark.x, mark.y), mark.words, 0.62 * self._scale, mark.colour)
        self._paint_header(draw, units, seconds)
        return np.array(picture.reduce(_OVERSAMPLE), np.uint8)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a cell's middle; y points up in the world and down in a picture."""
        return (
            (float(x) - self.left) * self._scale,
            (self.cells - (float(y) - self.bottom)) * self._scale,
        )

    def _paint_ground(self, terrain: np.ndarray | None) -> Any:
        from PIL import Image, ImageDraw

        edge = self.pixels * _OVERSAMPLE
        picture = Image.new("RGB", (edge, edge), (14, 17, 24))
        draw = ImageDraw.Draw(picture)
        for y in range(self.size):
            for x in range(self.size):
                (x0, y1), (x1, y0) = self._place(x - 0.5, y - 0.5), self._place(x + 0.5, y + 0.5)
                if x1 < 0 or y1 < 0 or x0 > edge or y0 > edge:
                    continue
                wall = terrain is not None and bool(terrain[y, x])
                fill = WALL if wall else (FLOOR if (x + y) % 2 else TILE)
                draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=fill, outline=None if wall else GRID)
        return picture

    def _paint_cast_area(self, draw: Any, unit: int, row: np.ndarray) -> None:
        slot = int(row[f.CAST_SLOT])
        if slot < 0 or row[f.HP] <= 0 or self.skills[unit, slot, f.KIND] != f.K_GROUND:
            return
        reach = float(self.skills[unit, slot, f.RADIUS]) + 0.5  # the rule's distance makes it a square
        done = 1.0 - float(row[f.CAST_LEFT]) / max(1.0, float(self.skills[unit, slot, f.CAST_TIME]))
        colour = TEAMS[int(row[f.TEAM])]
        for share, fill, line in ((1.0, 40, 255), (min(max(done, 0.0), 1.0), 90, 0)):
            box = self._box(row[f.CAST_X], row[f.CAST_Y], reach * share)
            draw.rounded_rectangle(
                box, radius=self._scale * 0.3, fill=(*colour, fill), outline=(*colour, line), width=3
            )

    def _box(self, x: float, y: float, reach: float) -> tuple[float, float, float, float]:
        cx, cy = self._place(x, y)
        r = reach * self._scale
        return cx - r, cy - r, cx + r, cy + r

    def _paint_target(self, draw: Any, units: np.ndarray, row: np.ndarray) -> None:
        target = int(row[f.TARGET])
        if row[f.HP] <= 0 or not 0 <= target < len(units) or units[target, f.HP] <= 0:
            return
        ends = (*self._place(row[f.X], row[f.Y]), *self._place(units[target, f.X], units[target, f.Y]))
        draw.line(ends, fill=(*TEAMS[int(row[f.TEAM])], 80), width=max(2, int(self._scale * 0.06)))

    def _paint_unit(self, draw: Any, row: np.ndarray) -> None:
        x, y = self._place(row[f.X], row[f.Y])
        team, s = int(row[f.TEAM]), self._scale
        if row[f.HP] <= 0:
            r = 0.24 * s
            for sign in (-1, 1):
                draw.line(
                    (x - r, y - sign * r, x + r, y + sign * r), fill=(*TEAMS[team], 150), width=int(0.1 * s)
                )
            return
        r = 0.42 * s
        body = (x - r, y - r, x + r, y + r)
        rim = (255, 255, 255, 255) if row[f.STUN] > 0 else (12, 15, 22, 255)
        if row[f.SHIELD_LEFT] > 0 or row[f.GUARD] > 0:
            draw.ellipse(
                (x - 1.35 * r, y - 1.35 * r, x + 1.35 * r, y + 1.35 * r),
                outline=(160, 220, 255, 220),
                width=4,
            )
        line = max(2, int(0.06 * s))
        if team == 0:
            draw.ellipse(body, fill=TEAMS[0], outline=rim, width=line)
        else:
            draw.rounded_rectangle(body, radius=0.28 * r, fill=TEAMS[1], outline=rim, width=line)
        kind = int(row[f.ARCHETYPE])
        letter = LETTERS[ARCHETYPES[kind]] if 0 <= kind < len(ARCHETYPES) else "?"
        self._write(draw, x, y, letter, 0.5 * s, (12, 15, 22))
        top = y - 0.72 * s
        self._bar(draw, x, top, 0.13 * s, row[f.HP] / max(1, row[f.MAX_HP]), TEAMS[team])
        if row[f.MAX_SP] > 0:
            self._bar(draw, x, top + 0.14 * s, 0.07 * s, row[f.SP] / row[f.MAX_SP], SOFT)
        if row[f.CAST_SLOT] >= 0:
            self._bar(draw, x, y + 0.56 * s, 0.1 * s, min(1.0, row[f.CAST_LEFT] / 1500), HURT)

    def _bar(
        self, draw: Any, x: float, y: float, height: float, share: float, colour: tuple[int, int, int]
    ) -> None:
        r = 0.46 * self._scale
        draw.rectangle((x - r, y, x + r, y + height), fill=(8, 10, 15, 230))
        if share > 0:
            draw.rectangle((x - r, y, x - r + 2 * r * min(1.0, float(share)), y + height), fill=colour)

    def _paint_header(self, draw: Any, units: np.ndarray, seconds: float) -> None:
        edge, half = self.pixels * _OVERSAMPLE, len(units) // 2
        height, margin, middle = edge * 0.014, edge * 0.02, edge * 0.065
        room = edge / 2 - margin - middle
        for team in (0, 1):
            rows = units[team * half : (team + 1) * half]
            share = float((rows[:, f.HP] / np.maximum(1, rows[:, f.MAX_HP])).mean())
            x0 = margin if team == 0 else edge / 2 + middle
            draw.rectangle((x0, margin, x0 + room, margin + height), fill=(8, 10, 15, 230))
            near = x0 + room * (1 - share) if team == 0 else x0  # both bars shrink toward the middle
            draw.rectangle((near, margin, near + room * share, margin + height), fill=TEAMS[team])
        self._write(draw, edge / 2, margin + height / 2, f"{seconds:.1f} s", edge * 0.026, INK)

    def _write(
        self, draw: Any, x: float, y: float, words: str, height: float, colour: tuple[int, int, int]
    ) -> None:
        size = max(8, round(height))
        edge = (12, 15, 22) if colour != (12, 15, 22) else None
        draw.text((x, y), words, fill=colour, font=_font(size), anchor="mm",
                  stroke_width=size // 9 if edge else 0, stroke_fill=edge)  # fmt: skip


def painter_for(world: Any, pixels: int = PIXELS) -> Painter:
    """Return a painter of the fights of an `envs.simulation.world.World`, whole arena."""
    from envs.simulation.state import W_WIDTH

    return Painter(world.skills, int(world.world[W_WIDTH]), terrain=world.terrain, pixels=pixels)


def render_world(world: Any, fight: int, painter: Painter) -> np.ndarray:
    """Return the picture of one fight now, uint8 `(height, width, 3)`."""
    from envs.simulation.state import G_TICK, TICK_MS

    seconds = int(world.fights[fight, G_TICK]) * TICK_MS / 1000
    return painter.paint(world.units[fight, :, : f.NUM_UNIT_FIELDS], seconds)


def window_of(tables: Sequence[np.ndarray], size: int, margin: float = 2.0) -> tuple[float, float, float]:
    """Return the square (lowest x, lowest y, cells per edge) that holds all units at all times.

    Args:
        tables: `(unit, column)` per moment.
        size: cells per edge of the arena.
        margin: cells kept free around them.
    """
    places = np.concatenate([table[:, [f.X, f.Y]] for table in tables])
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    edge = float(min(max(*(high - low), 8.0), size))
    middle = (low + high) / 2
    corner = np.clip(middle - edge / 2, -0.5, size - 0.5 - edge)
    return float(corner[0]), float(corner[1]), edge


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
