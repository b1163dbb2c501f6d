"""TeamActorCritic as an RLModule of RLlib: one module for all members of a pack, with a memory for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from envs.configuration import load_dataclass
from policies.actor_critic import draw_actions, mask_logits
from policies.rl_modules.masks import ACTION_MASK, new_generator
from policies.team import TeamActorCritic, TeamConfig

LOCAL, GLOBAL = "local", "global"
CENTRAL = "central"
STATE_H, STATE_C = "state_h", "state_c"


class TeamModule(TorchRLModule, ValueFunctionAPI):
    """A `TeamActorCritic` that RLlib can act with and train.

    The columnar lane keeps local observation, central state and mask in columns of their own. On RLlib's own
    lane they are the Dict of `policies.pack_env.PackMultiAgentEnv`: the actor reads `local`, the critic
    `global` too. `model_config` holds "network", the plain form of a `TeamConfig`, "keep_logits" as in
    `ActorCriticModule`, and RLlib's own "max_seq_len".
    """

    def setup(self) -> None:
        """Build the network from `model_config`; sizes come from the spaces."""
        settings: Any = self.model_config
        action_space: Any = self.action_space
        space: Any = self.observation_space
        network = dict(settings.get("network", {}))
        if isinstance(space, spaces.Dict):
            network["local_size"] = int(space[LOCAL].shape[0])  # type: ignore[index]
            network["state_size"] = int(space[GLOBAL].shape[0])  # type: ignore[index]
        else:
            network["local_size"] = int(space.shape[0])
        network["num_actions"] = int(action_space.n)
        self.net = TeamActorCritic(load_dataclass(TeamConfig, network, "model_config.network"))
        self.keep_logits = bool(settings.get("keep_logits", False))
        self.exploration_random = new_generator()

    def act(self, columns: dict[str, Tensor], *, explore: bool, env_steps: int) -> dict[str, Tensor]:
        """Actions for the columnar runner.

        Args:
            columns: obs (row, local), action_mask bool (row, action), and the state, state_h and state_c
                (row, layer, unit).
            explore: Draw from the policy instead of taking its mode.
            env_steps: Not used.

        Returns:
            actions int64 (row,), the state after the step, and if exploring action_logp (row,), and
            action_dist_inputs (row, action) if they are kept.
        """
        with torch.no_grad():
            logits, h, c = self.net.step(columns[Columns.OBS], columns[STATE_H], columns[STATE_C])
            logits = mask_logits(logits.float(), columns.get(ACTION_MASK))
            output = {STATE_H: h.float(), STATE_C: c.float()}
            if not explore:
                return output | {Columns.ACTIONS: logits.argmax(dim=-1)}
            actions = draw_actions(logits, self.exploration_random)
            logp = logits.gather(1, actions.unsqueeze(1)).squeeze(1) - logits.logsumexp(dim=-1)
            output |= {Columns.ACTIONS: actions, Columns.ACTION_LOGP: logp}
            if self.keep_logits:
                output[Columns.ACTION_DIST_INPUTS] = logits
            return output

    def initial_state(self, rows: int) -> dict[str, Tensor]:
        """The state at the start of a fight, for the columnar runner: zeros (row, layer, unit)."""
        h, c = self.net.actor.initial_state(rows)
        return {STATE_H: h.detach(), STATE_C: c.detach()}

    def acting_parameters(self) -> list[torch.nn.Parameter]:
        """What an env runner in another process needs a copy of: also the critic, for advantages."""
        return list(self.net.parameters())

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values by the central critic.

        Args:
            batch: Columnar: obs (fight x member, ..., local) and central (fight, ..., state). Stock: obs as a
                Dict with local and global, one row per member.
            embeddings: Not used.

        Returns:
            float32 (fight x member, ...).
        """
        obs = batch[Columns.OBS]
        if isinstance(obs, Mapping):
            return self.net.values(obs[GLOBAL], obs[LOCAL]).float()
        return self.net.values(batch[CENTRAL], obs).float()

    def get_initial_state(self) -> dict[str, Any]:
        """The state at the start of a fight, for RLlib's own lane: float32 (layer, unit) each, zeros."""
        shape = (self.net.config.layers, self.net.config.units)
        return {STATE_H: np.zeros(shape, np.float32), STATE_C: np.zeros(shape, np.float32)}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Masked logits (row, time, action) and the state after the last step; of RLlib's own lane.

        RLlib begins a new sequence where an episode begins, so no state starts anew inside of one.
        """
        obs, state = batch[Columns.OBS], batch[Columns.STATE_IN]
        local = obs[LOCAL]
        keep = torch.ones(local.shape[:2], device=local.device)
        logits, h, c = self.net.actor.unroll(local, state[STATE_H], state[STATE_C], keep)
        mask = obs.get(ACTION_MASK)
        return {
            Columns.ACTION_DIST_INPUTS: mask_logits(logits.float(), None if mask is None else mask != 0),
            Columns.STATE_OUT: {STATE_H: h, STATE_C: c},
        }
