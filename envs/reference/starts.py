"""Where a fight begins: start cells, symmetric about the arena's middle, and each team's style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envs.reference.dice import Purpose
from envs.reference.rules import sign
from envs.simulation.state import STYLES

if TYPE_CHECKING:
    from envs.reference.fight import Fight

TURN_STREAM = 15  # streams 14 and 15 belong to no unit
STYLE_STREAM = 14


def place(fight: Fight, starts: str) -> None:
    """Set cells and action clocks; one roll per pair of equal slots, so that both sides begin alike."""
    edge = fight.size - 1
    turn = 0 if starts == "near" else fight.dice.draw(0, TURN_STREAM, Purpose.START) % 8
    for left, right in zip(fight.units[: fight.half], fight.units[fight.half :], strict=True):
        roll = fight.dice.draw(0, left.slot, Purpose.START)
        if starts == "random":
            dx, dy = 2 + roll % 12, roll // 16 % 27 - 13
        else:
            dx, dy = 3 + roll % 3, roll // 16 % 9 - 4
        x = min(max(fight.size // 2 - dx, 0), edge)
        y = min(max(fight.size // 2 + dy, 0), edge)
        left.x, left.y = free_cell(fight, *turned(x, y, turn, edge))
        right.x, right.y = edge - left.x, edge - left.y
        left.action_clock = right.action_clock = roll // 512 % 600


def turned(x: int, y: int, turn: int, edge: int) -> tuple[int, int]:
    """One of the eight symmetries of the square, about its middle."""
    cx, cy = 2 * x - edge, 2 * y - edge
    if turn & 1:
        cx, cy = cy, cx
    if turn & 2:
        cx = -cx
    if turn & 4:
        cy = -cy
    return (cx + edge) // 2, (cy + edge) // 2


def free_cell(fight: Fight, x: int, y: int) -> tuple[int, int]:
    """The cell itself, or where it is blocked the first free one toward the middle: along x, then along y."""
    while fight.is_blocked(x, y):
        to_x, to_y = fight.size - 1 - 2 * x, fight.size - 1 - 2 * y
        if abs(to_x) > 1:
            x += sign(to_x)
        else:
            y += sign(to_y)
    return x, y


def give_styles(fight: Fight, styles: tuple[Sequence[str], Sequence[str]], switching: bool) -> None:
    """Draw a style for each team, and with `switching` another one that takes over 10 to 30 s later."""
    for team, names in enumerate(styles):
        if not names:
            continue
        side = 1 - team if fight.swapped else team
        roll = [fight.dice.draw(number, STYLE_STREAM + side, Purpose.PICK) for number in range(3)]
        pick = roll[0] % len(names)
        for unit in fight.units:
            if unit.team != team:
                continue
            unit.style = names[pick]
            if switching and len(names) > 1:
                unit.next_style = names[(pick + 1 + roll[1] % (len(names) - 1)) % len(names)]
                unit.switch_tick = 100 + roll[2] % 200


def check_styles(styles: tuple[Sequence[str], Sequence[str]]) -> None:
    """Raise ValueError on a name that is no style."""
    for name in (*styles[0], *styles[1]):
        if name not in STYLES:
            raise ValueError(f"unknown style {name!r}; one of {', '.join(STYLES)}")
