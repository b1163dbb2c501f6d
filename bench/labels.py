"""Perception labels: how fast they are made, what simple guesses reach, and what nobody can exceed.

    python -m bench.labels [--fights 256]

For each composition, per second of processor time on one thread: fights recorded, and decisions of a unit
labelled (all labels and grid targets). Then the explained variance of damage in the next 2 s and 5 s (threat
of an enemy, shares of max HP) by the two baselines, and the noise ceiling from branched states.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from envs.perception import baselines, labels, maps
from envs.perception.branching import noise_ceiling, outcomes
from envs.perception.recorder import record_fights
from envs.perception.recording import FIVE_SECONDS, TWO_SECONDS, Recording
from envs.simulation import state as s
from envs.simulation.world import World

TEAMS = {
    "1v1": (("aggressive",), ("mage",)),
    "3v3": (("tank", "mage", "ranged"), ("support", "aggressive", "defensive")),
}
STATES, COPIES = 64, 8


def label_everything(recording: Recording) -> int:
    """Compute every label; returns the number of frames."""
    for horizon in (TWO_SECONDS, FIVE_SECONDS):
        labels.threat(recording, horizon)
        labels.team_threat(recording, horizon)
    for label in (labels.kills, labels.deaths, labels.next_target, labels.next_deed, labels.future_hp):
        label(recording)
    frames = maps.frames(recording)
    maps.damage_map(recording, frames)
    maps.enemy_occupancy(recording, frames)
    maps.best_cell(recording, frames)
    return len(frames)


def ceiling(teams: tuple[tuple[str, ...], tuple[str, ...]], horizon: int) -> float:
    """Noise ceiling of the threat of living enemies, from states 2 to 14 s into fights."""
    half = len(teams[0])

    def pairs(futures: Recording) -> np.ndarray:
        value, valid = labels.threat(futures, horizon)
        return np.where(valid, value, np.nan)[0, :, half:, :half].reshape(COPIES, -1)

    world = World(STATES, teams, seed=77, styles=((), s.STYLES), log_damage=True)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(4):
        for _ in range(int(rng.integers(10, 18))):
            world.step(np.zeros((STATES, 0), np.int32))
        running = np.flatnonzero(world.outcome == s.RUNNING)[::4]
        values = outcomes(world, running.tolist(), COPIES, horizon, pairs)
        draws.append(values.swapaxes(1, 2).reshape(-1, COPIES))
    rows = np.concatenate(draws)
    return noise_ceiling(rows[np.isfinite(rows).all(axis=1)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fights", type=int, default=256, help="fights per composition")
    fights = parser.parse_args().fights
    record_fights(1, TEAMS["1v1"], styles=((), s.STYLES))  # compile
    for name, teams in TEAMS.items():
        began = time.process_time()
        recording = record_fights(fights, teams, seed=1, styles=((), s.STYLES))
        seconds = time.process_time() - began
        few = recording.fights(np.arange(min(fights, 32)))
        began = time.process_time()
        frames = label_everything(few)
        rate = frames / (time.process_time() - began)
        print(
            f"{name}: {fights / seconds:.0f} fights and {rate:.0f} unit decisions per CPU second; "
            f"mean length {recording.length.mean() / 5:.1f} s, {recording.by_kill.mean():.1%} end by a kill"
        )
        for horizon in (TWO_SECONDS, FIVE_SECONDS):
            value, valid = labels.threat(recording, horizon)
            guesses = {
                "last 2 s repeated": baselines.repeated_threat(recording, horizon),
                "DPS x in reach": baselines.reach_threat(recording, horizon),
            }
            scores = [
                f"{guess} {baselines.explained_variance(values[valid], value[valid]):.2f}"
                for guess, values in guesses.items()
            ]
            print(
                f"  threat in {horizon // 5} s, explained variance: {', '.join(scores)}, "
                f"ceiling {ceiling(teams, horizon):.2f}"
            )
        target, known = labels.next_target(recording)
        same = baselines.same_target(recording)
        print(f"  target in 1 s: {(same == target)[known].mean():.1%} keep theirs")


if __name__ == "__main__":
    main()
