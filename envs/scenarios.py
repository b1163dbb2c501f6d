"""Who fights whom, and where: mirrored teams by size, and named scenarios in which geometry matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from envs import archetypes, terrain
from envs.archetypes import DATA
from envs.configuration import ConfigError, Range, load_dataclass, nearest
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.yaml_file import load_yaml

MIRRORS = tuple(f"{n}v{n}" for n in range(1, MAX_TEAM_SIZE + 1))
MOVEMENT = {
    "aggressive": "dodge",
    "defensive": "dodge",
    "support": "formation",
    "mage": "hunt",
    "tank": "dodge",
    "ranged": "hunt",
}
"""Where each archetype learns to move: standing and hitting is worth half of these fights, no more."""


@dataclass(frozen=True)
class Scenario:
    """A fight that is no mirror.

    Attributes:
        description: one line for a person.
        allies: who joins the learner.
        enemies: the other side, as many.
        enemy_style: how they play unless an opponent is asked for; script is the traditional AI.
        starts: near, around or random.
        terrain: name of a layout.
        enemy_hp: per archetype that may play it, per cent of the enemies' hit points at which the
            traditional AI wins half of the fights.
    """

    description: str
    allies: tuple[str, ...]
    enemies: tuple[str, ...]
    enemy_style: str
    starts: str
    terrain: str
    enemy_hp: dict[str, Annotated[float, Range(above=0.0, maximum=10_000.0)]]

    def validate(self) -> None:
        """Raise ValueError on teams of unequal size."""
        if len(self.enemies) != len(self.allies) + 1:
            raise ValueError(f"enemies: {len(self.enemies)} against a team of {len(self.allies) + 1}")


@dataclass(frozen=True)
class Setting:
    """A scenario resolved for one archetype: what `World` needs to know.

    Attributes:
        scenario: its name.
        teams: archetypes of both sides, the learner first.
        hp_percent: hit points of both teams, per cent.
        starts: near, around or random.
        terrain: name of a layout.
        enemy_styles: styles the enemies draw from; none are plain scripts.
    """

    scenario: str
    teams: tuple[tuple[str, ...], tuple[str, ...]]
    hp_percent: tuple[float, float] = (100, 100)
    enemy_styles: tuple[str, ...] = ()
    starts: str = "near"
    terrain: str = "open"

    def arguments(self, size: int = 32) -> dict[str, Any]:
        """Keyword arguments for `World` beside the teams."""
        return {
            "hp_percent": self.hp_percent,
            "starts": self.starts,
            "terrain": terrain.layout(self.terrain, size),
            "size": size,
            "styles": ((), self.enemy_styles),
        }


@cache
def named() -> Mapping[str, Scenario]:
    """All named scenarios."""
    path = DATA / "scenarios.yaml"
    return {
        name: load_dataclass(Scenario, data, source=f"{path.name}: {name}")
        for name, data in load_yaml(path).items()
    }


def default(archetype: str, head: str) -> str:
    """Scenario in which an archetype learns with a head."""
    config = archetypes.load(archetype)
    if head == "movement":
        return MOVEMENT[config.base]
    if head == "pack":
        return "3v3"
    return config.scenario


def resolve(archetype: str, scenario: str | None = None, head: str = "combat") -> Setting:
    """Return who fights whom for an archetype.

    Args:
        archetype: of the learner.
        scenario: `1v1` to `5v5` (mirrored teams) or a named one; None takes the head's own.
        head: what is learned.

    Raises:
        ConfigError: unknown archetype or scenario, or a named scenario that is not calibrated for it.
    """
    config = archetypes.load(archetype)
    name = scenario or default(archetype, head)
    if name in MIRRORS:
        team = config.team(name)
        return Setting(name, (team, team))
    if name not in named():
        raise ConfigError(f"unknown scenario {name!r}{nearest(name, (*MIRRORS, *named()))}")
    chosen = named()[name]
    if config.base not in chosen.enemy_hp:
        able = ", ".join(chosen.enemy_hp)
        raise ConfigError(f"scenario {name!r} is not calibrated for {archetype!r}; it is for {able}")
    return Setting(
        name,
        ((archetype, *chosen.allies), chosen.enemies),
        hp_percent=(100, chosen.enemy_hp[config.base]),
        enemy_styles=() if chosen.enemy_style == "script" else (chosen.enemy_style,),
        starts=chosen.starts,
        terrain=chosen.terrain,
    )
