"""What the demo's worker processes do: no registry, only files; what they find goes to the one writer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import pipeline, yardsticks
from experiments.gate import thresholds
from experiments.progress import Progress
from experiments.statistics import wilson_interval
from experiments.stopping import Looks, looks_of


@dataclass(frozen=True)
class Told:
    """What a job found, and what it had to say.

    Attributes:
        value: The result.
        lines: For people, in order.
    """

    value: Any
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where the jobs of a demo work.

    Attributes:
        home: Project folder.
        seed: The user's base seed.
        fights: Most fights of an evaluation.
    """

    home: Path
    seed: int
    fights: int

    def shop(self, lines: list[str]) -> pipeline.Workshop:
        """A workshop without a registry, on one thread, that keeps what is said."""
        from storage import StorageConfig

        store = StorageConfig(self.home).artifact_store()
        return pipeline.Workshop(self.home, None, store, _Keeping(lines), self.seed, threads=1)


class _Keeping(Progress):
    """Keeps lines without the time, which the parent sets before them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines.append)
        self._lines = lines

    def line(self, text: str) -> None:
        self._lines.append(text)


def play_baselines(place: Place, archetype: str, head: str) -> Told:
    """The baselines of an archetype and head."""
    lines: list[str] = []
    n = min(place.fights, yardsticks.BASELINE_FIGHTS)
    found = yardsticks.baselines(place.shop(lines), (archetype,), n, head)[archetype]
    return Told(found, tuple(lines))


def export(place: Place, version: Any) -> Told:
    """The artefacts of a version."""
    lines: list[str] = []
    return Told(pipeline.export_files(place.shop(lines), version), tuple(lines))


def evaluate(place: Place, version: Any, baselines: dict[str, dict[str, Any]]) -> Told:
    """The figures of an exported version; the fights of a mind that acts end where the case is clear."""
    lines: list[str] = []
    looks = looks_for(place.fights, baselines) if pipeline.head_of(version) else None
    return Told(pipeline.evaluate(place.shop(lines), version, place.fights, looks), tuple(lines))


def looks_for(fights: int, baselines: dict[str, dict[str, Any]]) -> Looks:
    """The looks of an evaluation, by the gate's target and the baselines that have to be beaten.

    Args:
        fights: Most of them.
        baselines: Figures by name.
    """
    limits = thresholds()["win_rate"]
    rivals = tuple(wilson_interval(row["wins"], row["n"])[1] for row in baselines.values())
    return looks_of(fights, int(limits["minimum_fights"]), limits["target"], rivals)
