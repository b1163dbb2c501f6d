"""A pack as rows: one row per fight and member, so that the columnar runner steps it like any environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.pack import PackVectorEnv


class PackRows(VectorEnv):
    """`PackVectorEnv` with fight and member as one axis: row = fight x members + member.

    Observations are the members' local ones; `info["central"]` is the central state once per fight. All
    arrays belong to the environment and are overwritten by the next step.

    Args:
        pack: The fights, made with `copy=False`.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012  (Gymnasium's form)

    def __init__(self, pack: PackVectorEnv) -> None:
        self.pack = pack
        self.world = pack.world
        self.fights, self.members = pack.num_envs, pack.num_members
        self.num_envs = self.fights * self.members
        self.single_observation_space = pack.single_local_space
        self.single_action_space = pack.single_action_space
        self.single_state_space = pack.single_state_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._terms: dict[str, NDArray[np.float64]] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin every fight anew, see `PackVectorEnv.reset`.

        Returns:
            Local observations float32 (row, 70); info with action_mask bool (row, 8), alive bool (row,),
            central float32 (fight, 256) and outcome int8 (row,).
        """
        obs, info = self.pack.reset(seed=seed, options=options)
        return self._rows(obs["local"]), self._info(obs, info)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Play one decision window (200 ms) in every fight; one that had ended begins anew instead.

        Args:
            actions: Orders, whole numbers (row,).

        Returns:
            Local observations (row, 70), rewards float64 (row,), terminated and truncated bool (row,), and
            info as `reset` with reward_terms besides: name -> float64 (row,), 0 for a member without it.
        """
        obs, rewards, terminated, truncated, info = self.pack.step(actions.reshape(self.fights, self.members))
        rows = self._info(obs, info)
        rows["reward_terms"] = self._terms_of(info["reward_terms"])
        return (
            self._rows(obs["local"]),
            self._rows(rewards),
            np.repeat(terminated, self.members),
            np.repeat(truncated, self.members),
            rows,
        )

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays; `set_state` continues exactly from there."""
        return self.pack.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from `get_state`'s arrays."""
        self.pack.set_state(state)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the simulation's threads."""
        self.pack.close()

    def _rows(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(self.num_envs, *values.shape[2:])

    def _info(self, obs: dict[str, NDArray[Any]], info: dict[str, Any]) -> dict[str, Any]:
        return {
            "action_mask": self._rows(info["action_mask"]),
            "alive": self._rows(info["alive"]),
            "central": obs["global"],
            "outcome": np.repeat(info["outcome"], self.members),
        }

    def _terms_of(self, by_member: list[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
        """One array per term of any member; those of other archetypes stay 0 there."""
        for member, terms in enumerate(by_member):
            for name, values in terms.items():
                if name not in self._terms:
                    self._terms[name] = np.zeros((self.fights, self.members))
                self._terms[name][:, member] = values
        return {name: values.reshape(-1) for name, values in self._terms.items()}


def make(num_envs: int, **arguments: Any) -> PackRows:
    """Make the fights of a run whose env is {"factory": "policies.columnar.pack_rows:make", ...}.

    Args:
        num_envs: Fights side by side; rows are as many times the members.
        **arguments: Of `PackVectorEnv`: archetype, scenario, opponent, team, ...

    Returns:
        The fights as rows.
    """
    return PackRows(PackVectorEnv(num_envs, copy=False, **arguments))
