"""Recurrent multi-agent PPO with a central critic (CTDE) as an RLlib Algorithm on the columnar lane.

One module is shared by all members of a pack; whose turn it is stands in the local observation. Rows are
members, fight by fight (`policies.columnar.pack_rows`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.configuration import ConfigError, to_plain
from policies.actor_critic import mask_logits
from policies.columnar.advantages import advantages
from policies.columnar.algorithm import apply_run
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.learner import ColumnarLearner, Fused, Group, Loss
from policies.columnar.ppo import ColumnarPPO, ColumnarPPOConfig, apply_ppo_training, entropy_coeff
from policies.columnar.ppo_learner import ColumnarPPOLearner
from policies.columnar.rollout import Rollout
from policies.rl_modules.masks import ACTION_MASK
from policies.rl_modules.team import CENTRAL, STATE_C, STATE_H, TeamModule
from policies.settings import TeamRun, TeamTrainingConfig

STATES = (STATE_H, STATE_C)


class TeamEnvRunner(ColumnarEnvRunner):
    """Keeps the recurrent state before every sequence, not only before a round."""

    def make_env(self) -> None:
        """Make the environment, with no states yet."""
        super().make_env()
        self._sequence_length: int = self.config.run.training.sequence_length
        self._starts: dict[str, NDArray[np.float32]] = {}

    def sample(self, **kwargs: Any) -> Rollout:  # type: ignore[override]
        """Act for one round; `start` of the round is (row, sequence, layer, unit)."""
        rollout = super().sample(**kwargs)
        rollout.start = self._starts
        return rollout

    def _step(self, t: int, explore: bool, random_actions: bool, env_steps: int) -> None:
        sequence, inside = divmod(t, self._sequence_length)
        if not inside:
            for name, value in self._state.items():
                if name not in self._starts:
                    sequences = self._rollout.time // self._sequence_length
                    shape = (self.num_envs, sequences, *value.shape[1:])
                    self._starts[name] = np.zeros(shape, np.float32)
                self._starts[name][:, sequence] = value.cpu().numpy()
        super()._step(t, explore, random_actions, env_steps)


class TeamPPOLearner(ColumnarPPOLearner):
    """PPO over sequences of whole fights."""

    net_module: Any

    def groups(self) -> list[Group]:
        """Actor and critic together."""
        return [Group("network", list(self.net_module.net.parameters()), self.run.training.learning_rate)]

    def fused(self) -> Fused | None:
        """None: the LSTM's own backward pass leaves autograd little to do."""
        return None

    def update_columns(self, columns: Mapping[str, Tensor]) -> Loss:
        """One gradient step; several learners agree on their row counts before it."""
        if self.num_learners > 1:
            valid = columns["valid"]
            counts = torch.stack(((columns["alive"] & valid).sum(), valid.sum())).float()
            torch.distributed.all_reduce(counts)
            self.row_counts = counts
        return super().update_columns(columns)

    def losses(self, columns: Mapping[str, Tensor]) -> Loss:
        """PPO's loss; the policy learns from the steps of living members, the critic from all steps.

        A dead member decides nothing any more, but what the others make of its death is paid to it, so the
        value of its last living state needs the values after it.

        Args:
            columns: central (item, time, state); state_h and state_c (item, member, layer, unit); and obs,
                action_mask, keep, alive, valid and PPO's own (item, member, time, ...). An item is one
                sequence of one fight.
        """
        net = self.net_module.net
        rows = {name: column.flatten(0, 1) for name, column in columns.items() if name != CENTRAL}
        logits = net.sequence(rows["obs"], rows[STATE_H], rows[STATE_C], rows["keep"])
        values = net.values(columns[CENTRAL], rows["obs"])
        valid = rows["valid"]
        return self.surrogate(
            rows,
            mask_logits(logits.float(), rows[ACTION_MASK]),
            values.float(),
            policy_rows=(rows["alive"] & valid).float(),
            value_rows=valid.float(),
        )

    def _minibatches(
        self, rows: Mapping[str, Tensor], minibatches: int, passes: int, seed: int
    ) -> Iterator[tuple[bool, Mapping[str, Tensor]]]:
        """Whole sequences of whole fights, so that the central state is there once per fight.

        Args:
            rows: central (fight, time, state), state_h and state_c (row, sequence, layer, unit), the others
                (row, time, ...).
            minibatches: Per pass.
            passes: Over all rows.
            seed: Of the order.
        """
        training = cast(TeamTrainingConfig, self.run.training)
        clock, seconds = self.phases.clock, self.phases.seconds
        started = clock()
        length = training.sequence_length
        fights, time = rows[CENTRAL].shape[:2]
        sequences = time // length

        def items(name: str, column: Tensor) -> Tensor:
            if name == CENTRAL:
                return column.unflatten(1, (sequences, length)).flatten(0, 1)
            column = column.unflatten(0, (fights, -1))  # (fight, member, time or sequence, ...)
            if name not in STATES:
                column = column.unflatten(2, (sequences, length))
            return column.transpose(1, 2).flatten(0, 1)  # (fight x sequence, member, ...)

        # Copied once here, a minibatch is a few large pieces of memory afterwards.
        arranged = {name: items(name, column) for name, column in rows.items()}
        seconds["build"] += clock() - started
        yield from super()._minibatches(arranged, minibatches, passes, seed)


class ColumnarTeamPPOConfig(ColumnarPPOConfig):
    """RLlib's PPO configuration for packs."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ColumnarTeamPPO)

    @classmethod
    def of_run(cls, run: TeamRun) -> ColumnarTeamPPOConfig:  # type: ignore[override]
        """Translate a resolved run.

        Args:
            run: What to train, checked.

        Returns:
            A configuration whose `build_algo()` gives a `ColumnarTeamPPO`.

        Raises:
            ConfigError: The run asks for symmetries.
        """
        if run.training.symmetries:
            raise ConfigError(
                "training.symmetries: a stored state knows its fight as it was, so sequences cannot be "
                "turned; set it to false"
            )
        config = cls()
        apply_run(
            config,
            run,
            learner_class=TeamPPOLearner,
            module_class=TeamModule,
            model_config=team_module_config(run),
            needs_values=True,
        )
        apply_ppo_training(config, run)
        config.env_runners(env_runner_cls=TeamEnvRunner)
        # RLlib counts decisions and compares them with a minibatch, which counts members.
        config.training(minibatch_size=min(run.training.minibatch_size, run.training.rows_per_round))
        return config


class ColumnarTeamPPO(ColumnarPPO):
    """PPO for packs: the columns of a round keep their time axis."""

    @classmethod
    def get_default_config(cls) -> ColumnarTeamPPOConfig:
        """The configuration class of this algorithm."""
        return ColumnarTeamPPOConfig()

    def _round(self) -> None:
        rollout = self.sample_round()
        with self.phases.measure("store"):
            shards = self.shards(rollout)
        training = cast(TeamTrainingConfig, self.run.training)
        # No learner can cut more minibatches than it has sequences of fights.
        most = min(len(shard[CENTRAL]) for shard in shards) * (rollout.time // training.sequence_length)
        plan = {
            "minibatches": min(max(1, round(rollout.rewards.size / training.minibatch_size)), most),
            "seed": int(self._order.integers(2**31)),
            "share": self.learning_rate_share,
            "entropy": entropy_coeff(self.run) * self.between(1.0, training.entropy_coeff_final_share),
        }
        self.on_learners(_learn, [{"columns": shard, **plan} for shard in shards])

    def shards(self, rollout: Rollout) -> list[dict[str, NDArray[Any]]]:
        """The columns of a round for each learner: whole fights, advantages standardised over all.

        Returns:
            Per learner, by name, as `TeamPPOLearner._minibatches` takes them.
        """
        assert rollout.values is not None and rollout.alive is not None and rollout.central is not None
        assert rollout.action_mask is not None
        training = cast(TeamTrainingConfig, self.run.training)
        found = np.empty_like(rollout.rewards)
        advantages(
            team_rewards(rollout, training.reward_sharing),
            rollout.values,
            rollout.terminated,
            rollout.truncated,
            rollout.valid,
            training.gamma,
            training.gae_lambda,
            found,
        )
        alive = rollout.alive[:, :-1]
        deciding = found[alive & rollout.valid]
        # The step after an autoreset row is the first of a fight. A sequence's stored state, and so a
        # round's first, has been set to zero there already.
        keep = np.ones_like(rollout.valid)
        keep[:, 1:] = rollout.valid[:, :-1]
        columns = {
            "obs": rollout.obs[:, :-1],
            "actions": rollout.actions,
            ACTION_MASK: rollout.action_mask[:, :-1],
            "advantages": (found - deciding.mean()) / max(1e-4, float(deciding.std())),
            "value_targets": found + rollout.values[:, :-1],
            "keep": keep,
            "alive": alive,
            "valid": rollout.valid,
            CENTRAL: rollout.central[:, :-1],
            **rollout.extra,
            **rollout.start,
        }
        learners = max(self.run.learners, 1)
        if learners == 1:
            return [columns]
        fights = len(rollout.central)
        members = rollout.num_envs // fights
        bounds = [fights * k // learners for k in range(learners + 1)]
        return [
            {
                name: column[first:last] if name == CENTRAL else column[first * members : last * members]
                for name, column in columns.items()
            }
            for first, last in itertools.pairwise(bounds)
        ]


def team_rewards(rollout: Rollout, sharing: float) -> NDArray[np.float32]:
    """Rewards as learning sees them: a share of each goes to all members alike.

    (1 - sharing) own + sharing (mean of all). A pack is one agent with several bodies, and a member that is
    paid for its own deeds alone lets its allies die. Published rewards stay each member's own.

    Args:
        rollout: A round; rows are members, fight by fight.
        sharing: 0 leaves everything with who got it, 1 pays all members alike.

    Returns:
        float32 (row, time).
    """
    assert rollout.central is not None
    own = rollout.rewards.reshape(len(rollout.central), -1, rollout.time)
    mixed = (1.0 - sharing) * own + sharing * own.mean(axis=1, keepdims=True)
    return mixed.reshape(rollout.rewards.shape).astype(np.float32)


def team_module_config(run: TeamRun) -> dict[str, Any]:
    """What a `TeamModule` is told, on this lane and on RLlib's own."""
    return {
        "network": to_plain(run.model),
        "keep_logits": run.training.kl_coeff > 0.0,
        "max_seq_len": run.training.sequence_length,
    }


def _learn(
    learner: ColumnarLearner,
    *,
    columns: dict[str, NDArray[Any]],
    minibatches: int,
    seed: int,
    share: float,
    entropy: float,
) -> dict[str, float]:
    team = cast(TeamPPOLearner, learner)
    team.set_learning_rate(share)
    team.entropy_coeff = entropy
    return team.learn(columns, minibatches=minibatches, seed=seed)
