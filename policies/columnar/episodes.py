"""What finished episodes were like: return, length, outcome and reward terms over a sliding window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# `info["outcome"]` of a fight that the learner won by killing the other team.
WON_BY_KILL = 1
# What an outcome counts for in the score: won, by kill or on time, 1; a draw 0.5 (`envs.simulation.state`).
SCORES = {1: 1.0, 2: 1.0, 3: 0.5}


class EpisodeLog:
    """Accumulates per environment and keeps the last finished episodes.

    Args:
        num_envs: Environments side by side.
        window: Finished episodes that the means are taken over.
    """

    def __init__(self, num_envs: int, window: int) -> None:
        self.num_envs, self.window = num_envs, window
        self.finished = 0
        self._return = np.zeros(num_envs)
        self._length = np.zeros(num_envs, np.int64)
        self._terms: dict[str, NDArray[np.float64]] = {}
        self._rows: dict[str, NDArray[np.float64]] = {}

    def record(
        self, reward: ArrayLike, done: NDArray[np.bool_], valid: NDArray[np.bool_], info: Mapping[str, Any]
    ) -> None:
        """Add one step of all environments.

        Args:
            reward: Unscaled reward (env,).
            done: (env,), whether the step ended its episode.
            valid: (env,), False for autoreset rows.
            info: May hold "outcome" int8 (env,) and "reward_terms", name -> (env,).
        """
        # Autoreset rows carry reward 0 by contract; the product keeps a careless environment out of the
        # return.
        self._return += np.asarray(reward) * valid
        self._length += valid
        terms = info.get("reward_terms") or {}
        for name, values in terms.items():
            total = self._terms.setdefault(name, np.zeros(self.num_envs))
            total += np.asarray(values) * valid
        if done.any():
            ended = np.flatnonzero(done)
            columns = {
                "reward": self._return[ended],
                "episode_length": self._length[ended].astype(np.float64),
            }
            if "outcome" in info:
                outcome = np.asarray(info["outcome"])[ended]
                columns["win_rate"] = (outcome == WON_BY_KILL).astype(np.float64)
                columns["score"] = sum(value * (outcome == code) for code, value in SCORES.items())
            for name, total in self._terms.items():
                columns[f"reward_terms/{name}"] = total[ended]
            for name, values in columns.items():
                old = self._rows.get(name, np.empty(0))
                self._rows[name] = np.concatenate((old, values))[-self.window :]
            self.finished += len(ended)
            self._return[ended] = 0.0
            self._length[ended] = 0
            for total in self._terms.values():
                total[ended] = 0.0

    def latest(self, count: int) -> tuple[list[float], list[bool]]:
        """Unscaled reward of the last finished episodes, and whether each was won by kill, in their order.

        Args:
            count: How many; no more than the window are known.
        """
        if count < 1:
            return [], []
        rewards, won = self._rows["reward"][-count:], self._rows["win_rate"][-count:]
        return rewards.tolist(), [bool(value) for value in won]

    def break_off(self) -> None:
        """Forget the episodes that are going on, without counting them."""
        self._return[:] = 0.0
        self._length[:] = 0
        for total in self._terms.values():
            total[:] = 0.0

    def means(self) -> dict[str, float]:
        """Means over the last finished episodes.

        Returns:
            reward, episode_length, win_rate (strict), score, reward_terms/*; NaN for the first four as long
            as no episode has finished (or its outcome is unknown).
        """
        common = dict.fromkeys(("reward", "episode_length", "win_rate", "score"), math.nan)
        return common | {name: float(rows.mean()) for name, rows in self._rows.items()}

    def get_state(self) -> dict[str, Any]:
        """Arrays by name, for an exact resumption."""
        state: dict[str, Any] = {
            "return": self._return.copy(),
            "length": self._length.copy(),
            "finished": np.array(self.finished),
        }
        state |= {f"terms:{name}": values.copy() for name, values in self._terms.items()}
        return state | {f"rows:{name}": values.copy() for name, values in self._rows.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state from `get_state`."""
        self._return = np.array(state["return"])
        self._length = np.array(state["length"])
        self.finished = int(state["finished"])
        self._terms = {
            k.removeprefix("terms:"): np.array(v) for k, v in state.items() if k.startswith("terms:")
        }
        self._rows = {k.removeprefix("rows:"): np.array(v) for k, v in state.items() if k.startswith("rows:")}

    @classmethod
    def merged(cls, states: Sequence[Mapping[str, Any]]) -> EpisodeLog:
        """The windows of several logs in one, to read its means.

        Args:
            states: From `get_state`, of one env runner each.
        """
        names = sorted({name for state in states for name in state if name.startswith("rows:")})
        log = cls(0, 0)
        log.finished = sum(int(state["finished"]) for state in states)
        log._rows = {
            name.removeprefix("rows:"): np.concatenate([state[name] for state in states if name in state])
            for name in names
        }
        return log
