"""A run's way through the curriculum: on which level its fights are played, and when that changes.

A promotion is decided between two rounds of acting. The fights of that moment are broken off: their last rows
are marked as truncated, so that values look beyond them, and the next round begins with one autoreset row, as
if every fight had just ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envs.curriculum import Curriculum, CurriculumSettings
from policies.columnar.episodes import EpisodeLog
from policies.columnar.rollout import Rollout

# What a level says in place of the run.
SAID_BY_LEVEL = ("scenario", "opponent")


def level_env(env: Mapping[str, Any], level: int | None) -> dict[str, Any]:
    """What to make for a level of the curriculum.

    Args:
        env: The run's own environment.
        level: 1 to 5; None leaves the environment as it is.
    """
    if level is None:
        return dict(env)
    return {key: value for key, value in env.items() if key not in SAID_BY_LEVEL} | {"level": level}


class Course:
    """Counts the finished episodes of all env runners, in their order, and says on which level to go on.

    Args:
        settings: Levels and thresholds.
    """

    def __init__(self, settings: CurriculumSettings) -> None:
        self.curriculum = Curriculum(settings)
        self._counted: list[int] = []

    @property
    def level(self) -> int:
        """The level of the next round."""
        return self.curriculum.level

    def follow(self, logs: Sequence[EpisodeLog], rollout: Rollout) -> bool:
        """Count what a round has finished.

        Args:
            logs: Of every env runner, after the round.
            rollout: The round; its last rows are truncated if another level follows.

        Returns:
            Whether another level follows.
        """
        before = self.level
        self._counted += [0] * (len(logs) - len(self._counted))
        for number, log in enumerate(logs):
            rewards, won = log.latest(log.finished - self._counted[number])
            self._counted[number] = log.finished
            self.curriculum.record(rewards, won, [before] * len(rewards))
        if self.level == before:
            return False
        rollout.truncated[:, -1] |= rollout.valid[:, -1] & ~rollout.terminated[:, -1]
        return True

    def metrics(self) -> dict[str, float]:
        """How far the run is: level, and the share of its levels that are behind it."""
        behind = self.level - 1 + self.curriculum.completed
        return {
            "curriculum_level": float(self.level),
            "curriculum_share": behind / self.curriculum.num_levels,
        }

    def get_state(self) -> dict[str, Any]:
        """Plain JSON, for an exact resumption."""
        return {"curriculum": self.curriculum.get_state(), "counted": list(self._counted)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up `get_state`.

        Raises:
            ConfigError: A state of other thresholds.
        """
        self.curriculum.set_state(state["curriculum"])
        self._counted = [int(count) for count in state["counted"]]
