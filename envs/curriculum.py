"""Curriculum: five levels of growing difficulty, and the rule that promotes from one to the next.

A `Level` resolves for an archetype into arguments of `envs.simulation.world.World`; a `Curriculum` follows
the episodes of a run. Levels go up only, and a resumed run continues from `get_state`'s plain JSON.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from envs.archetypes import DATA, ArchetypeConfig
from envs.configuration import ConfigError, Range, load_dataclass, load_yaml
from envs.contracts.vocabulary import MAX_TEAM_SIZE

NUM_LEVELS = 5

Tier = Literal["passive", "classic", "veteran"]
Starts = Literal["near", "around", "random"]
Style = Literal["script", "rusher", "kiter", "focus_fire", "healer_first", "turtle", "random"]
Size = Annotated[int, Range(minimum=1, maximum=MAX_TEAM_SIZE)]


@dataclass(frozen=True)
class Setup:
    """A level resolved for one archetype: what a world needs to know of it.

    Attributes:
        team: archetypes of one side, the learner first; the other side is alike.
        tiers: traditional AI of the learner's side and of the enemies.
        hp_percent: hit points of both sides, per cent of their archetypes'.
        starts: where units begin.
        styles: styles of the enemies, one drawn per fight; none means the plain script.
        switching: whether the enemies change their style in the middle of a fight.
    """

    team: tuple[str, ...]
    tiers: tuple[str, str]
    hp_percent: tuple[int, int]
    starts: str
    styles: tuple[str, ...]
    switching: bool

    @property
    def scenario(self) -> str:
        """The teams' sizes, such as `3v3`."""
        return f"{len(self.team)}v{len(self.team)}"

    def world_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `World` beside the number of fights and the learners."""
        return {
            "teams": (self.team, self.team),
            "tiers": self.tiers,
            "hp_percent": self.hp_percent,
            "starts": self.starts,
            "styles": ((), self.styles),
            "switching": self.switching,
        }


@dataclass(frozen=True)
class Level:
    """One level; the keys are described in `envs/data/curriculum.yaml`."""

    name: str
    mates: Tier
    opponent: Tier
    enemy_hp_percent: Annotated[int, Range(minimum=1, maximum=1000)] = 100
    size_added: Annotated[int, Range(minimum=0, maximum=MAX_TEAM_SIZE - 1)] = 0
    min_size: Size = 1
    starts: Starts = "near"
    styles: tuple[Style, ...] = ()
    switching: bool = False

    def validate(self) -> None:
        """Raise ValueError where fields do not fit together."""
        if len(set(self.styles)) != len(self.styles):
            raise ValueError("styles: a style is named twice; name each once")
        if self.switching and len(self.styles) < 2:
            raise ValueError("switching: needs at least two styles to change between")

    def resolve(self, config: ArchetypeConfig) -> Setup:
        """Work out the level's fights for an archetype.

        Raises:
            ConfigError: the archetype names too few partners for the level's team size.
        """
        own = len(config.team())
        size = min(max(own + self.size_added, self.min_size), MAX_TEAM_SIZE)
        team = config.team(f"{size}v{size}")
        if len(team) < size:
            raise ConfigError(
                f"{config.name}: level '{self.name}' plays {size}v{size}, but the archetype names"
                f" {len(config.partners)} partners; add {size - len(team)} to its `partners`"
            )
        return Setup(
            team=team,
            tiers=(self.mates, self.opponent),
            hp_percent=(100, self.enemy_hp_percent),
            starts=self.starts,
            styles=self.styles,
            switching=self.switching,
        )


@dataclass(frozen=True)
class Rules:
    """The whole of `envs/data/curriculum.yaml`."""

    levels: tuple[Level, ...]
    level_thresholds: tuple[float, ...]
    window: Annotated[int, Range(minimum=1, maximum=100_000)]
    win_rate: Annotated[float, Range(minimum=0.0, maximum=1.0)]
    warning_factor: Annotated[float, Range(above=0.0)]

    def validate(self) -> None:
        """Raise ValueError on another number of levels or thresholds that do not fit."""
        if len(self.levels) != NUM_LEVELS:
            raise ValueError(f"levels: {len(self.levels)} given; there are {NUM_LEVELS}")
        check_thresholds(self.level_thresholds, NUM_LEVELS)


@dataclass(frozen=True)
class CurriculumSettings:
    """``curriculum``: levels of growing difficulty."""

    enabled: bool = False
    """Whether to use it."""
    num_levels: Annotated[int, Range(minimum=1, maximum=NUM_LEVELS)] | None = None
    """Levels used, from the easiest; as many as there are thresholds, or all, when not given."""
    level_thresholds: tuple[float, ...] | None = None
    """Mean episode reward that ends each level; the usual ones when not given."""

    def validate(self) -> None:
        """Raise ValueError on thresholds that do not ascend or are not one per level."""
        if self.level_thresholds is not None:
            check_thresholds(self.level_thresholds, self.num_levels)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds in force, one per level."""
        if self.level_thresholds is not None:
            return self.level_thresholds
        return rules().level_thresholds[: self.num_levels]


def check_thresholds(thresholds: tuple[float, ...], num_levels: int | None) -> None:
    """Check thresholds against a number of levels (None: any from 1 to 5).

    Raises:
        ValueError: too few, too many, or not ascending.
    """
    wanted = num_levels if num_levels is not None else min(max(len(thresholds), 1), NUM_LEVELS)
    if len(thresholds) != wanted:
        levels = f"{wanted} levels" if num_levels is not None else f"1 to {NUM_LEVELS} levels"
        raise ValueError(
            f"level_thresholds: {len(thresholds)} thresholds for {levels}; give one threshold per level"
        )
    for before, after in itertools.pairwise(thresholds):
        if after <= before:
            raise ValueError(f"level_thresholds: {after:g} follows {before:g}; thresholds have to ascend")


@cache
def rules() -> Rules:
    """The levels and the promotion rule of `envs/data/curriculum.yaml`."""
    path = DATA / "curriculum.yaml"
    return load_dataclass(Rules, load_yaml(path), source=path.name)


def level(number: int) -> Level:
    """Return level `number`, 1 to 5. Raises ConfigError on any other number."""
    if not 1 <= number <= NUM_LEVELS:
        raise ConfigError(f"level {number} does not exist; give 1 to {NUM_LEVELS}")
    return rules().levels[number - 1]


def threshold_warning(archetype: str, number: int, threshold: float, scripted_mean: float) -> str | None:
    """One line if a threshold is out of reach by the scripted mean of its level, else None.

    Args:
        archetype: whose level.
        number: of the level, 1 to 5.
        threshold: mean episode reward that ends the level.
        scripted_mean: mean episode reward of the traditional AI in the learner's place on that level.
    """
    factor = rules().warning_factor
    if threshold <= factor * scripted_mean:
        return None
    return (
        f"{archetype}, level {number}: threshold {threshold:g} is above {factor:g} x the scripted mean"
        f" {scripted_mean:.1f}; the level may never end: lower it to {max(factor * scripted_mean, 0.0):.0f}"
        " or use fewer levels"
    )


class Curriculum:
    """Follows the episodes of one run and says on which level the next ones are played.

    Promotion: over the last `window` episodes played on the level the mean shaped, unscaled reward is at
    least the level's threshold, and at least `win_rate` of them are won by kill. The window is empty
    after a promotion, and no level is ever left downwards.

    Attributes:
        level: number of the current level, from 1.
        completed: the last level's own threshold was reached too.
        episodes: episodes counted so far, on any level.
    """

    def __init__(self, settings: CurriculumSettings | None = None) -> None:
        self._thresholds = (settings or CurriculumSettings()).thresholds
        self._window, self._win_rate = rules().window, rules().win_rate
        self._rewards: deque[float] = deque(maxlen=self._window)
        self._won: deque[bool] = deque(maxlen=self._window)
        self.level, self.completed, self.episodes = 1, False, 0

    @property
    def num_levels(self) -> int:
        """Levels of this run."""
        return len(self._thresholds)

    @property
    def threshold(self) -> float:
        """Mean episode reward that ends the current level."""
        return self._thresholds[self.level - 1]

    @property
    def mean_reward(self) -> float:
        """Mean of the window's rewards, NaN while it is empty."""
        return math.fsum(self._rewards) / len(self._rewards) if self._rewards else math.nan

    @property
    def win_rate(self) -> float:
        """Share of the window's episodes won by kill, NaN while it is empty."""
        return sum(self._won) / len(self._won) if self._won else math.nan

    def setup(self, config: ArchetypeConfig) -> Setup:
        """The current level's fights for an archetype."""
        return level(self.level).resolve(config)

    def record(
        self, rewards: Iterable[float], won_by_kill: Iterable[bool], levels: Iterable[int] | None = None
    ) -> int:
        """Count finished episodes in their order.

        Fights that began before a promotion end after it: give `levels`, and an episode of another
        level than the current one is not counted.

        Args:
            rewards: shaped, unscaled reward of each episode.
            won_by_kill: whether each was won by kill; a win on time is none.
            levels: level on which each was played (default: the current one at that moment).

        Returns:
            Promotions that happened, completing the last level included.

        Raises:
            ValueError: a reward that is not finite, or lists of different lengths.
        """
        rewards = list(rewards)
        played = [None] * len(rewards) if levels is None else list(levels)
        promotions = 0
        for reward, won, at in list(zip(rewards, won_by_kill, played, strict=True)):
            if not math.isfinite(reward):
                raise ValueError(
                    f"episode reward {reward} after {self.episodes} episodes is not finite;"
                    " `monster rewards` names the term"
                )
            if at is not None and at != self.level:
                continue
            self.episodes += 1
            self._rewards.append(float(reward))
            self._won.append(bool(won))
            promotions += self._promote()
        return promotions

    def _promote(self) -> int:
        if self.completed or len(self._rewards) < self._window:
            return 0
        if self.mean_reward < self.threshold or self.win_rate < self._win_rate:
            return 0
        if self.level == self.num_levels:
            self.completed = True  # the window stays: it describes the level that goes on
            return 1
        self.level += 1
        self._rewards.clear()
        self._won.clear()
        return 1

    def get_state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain JSON."""
        return {
            "level": self.level,
            "completed": self.completed,
            "episodes": self.episodes,
            "level_thresholds": list(self._thresholds),
            "rewards": list(self._rewards),
            "won": list(self._won),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`'s values.

        Raises:
            ConfigError: a state of other thresholds, or one that no curriculum gives.
        """
        thresholds = tuple(state["level_thresholds"])
        if thresholds != self._thresholds:
            raise ConfigError(
                f"curriculum state of thresholds {list(thresholds)}, this run has {list(self._thresholds)};"
                " resume with the settings the run began with"
            )
        number, rewards, won = int(state["level"]), list(state["rewards"]), list(state["won"])
        if not 1 <= number <= self.num_levels or len(rewards) != len(won) or len(won) > self._window:
            raise ConfigError(
                f"curriculum state of level {number} with {len(rewards)} rewards and {len(won)} results"
                " cannot be continued; the file is damaged"
            )
        self.level, self.completed, self.episodes = number, bool(state["completed"]), int(state["episodes"])
        self._rewards = deque(map(float, rewards), maxlen=self._window)
        self._won = deque(map(bool, won), maxlen=self._window)
