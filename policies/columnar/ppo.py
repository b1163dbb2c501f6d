"""PPO as an RLlib Algorithm on the columnar lane."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig

from envs.configuration import to_plain
from policies.columnar.advantages import advantages
from policies.columnar.algorithm import ColumnarAlgorithm, apply_run
from policies.columnar.learner import ColumnarLearner
from policies.columnar.ppo_learner import ColumnarPPOLearner
from policies.columnar.rollout import Rollout
from policies.columnar.symmetry import symmetries_of
from policies.rl_modules.actor_critic import ActorCriticModule
from policies.rl_modules.masks import ACTION_MASK
from policies.settings import PPORun, PPOTrainingConfig


def ppo_module_config(run: PPORun) -> dict[str, Any]:
    """What an `ActorCriticModule` is told, on this lane and on RLlib's own."""
    return {"network": to_plain(run.model), "keep_logits": run.training.kl_coeff > 0.0}


def entropy_coeff(run: Any) -> float:
    """Weight of the entropy bonus at the start: the settings' value x the archetype's noise / 0.1."""
    return float(run.training.entropy_coeff) * float(run.noise) / 0.1


def apply_ppo_training(config: PPOConfig, run: Any) -> None:
    """Put the settings of the loss into RLlib's configuration, for both lanes."""
    training = run.training
    config.training(
        lr=training.learning_rate,
        gamma=training.gamma,
        lambda_=training.gae_lambda,
        grad_clip=cast(Any, training.grad_clip),
        grad_clip_by="global_norm",
        clip_param=training.clip,
        vf_clip_param=training.value_clip,
        vf_loss_coeff=training.value_coeff,
        entropy_coeff=entropy_coeff(run),
        use_kl_loss=training.kl_coeff > 0.0,
        kl_coeff=training.kl_coeff,
        kl_target=training.kl_target,
        num_epochs=training.passes,
        minibatch_size=training.minibatch_size,
        train_batch_size_per_learner=training.rows_per_round,
    )


class ColumnarPPOConfig(PPOConfig):
    """RLlib's PPO configuration with the lane's own settings beside it."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ColumnarPPO)
        self.run: Any = None
        self.episodes_window = 0
        self.needs_values = True

    @classmethod
    def of_run(cls, run: PPORun) -> ColumnarPPOConfig:
        """Translate a resolved run.

        Args:
            run: What to train, checked.

        Returns:
            A configuration whose `build_algo()` gives a `ColumnarPPO`.
        """
        config = cls()
        apply_run(
            config,
            run,
            learner_class=ColumnarPPOLearner,
            module_class=ActorCriticModule,
            model_config=ppo_module_config(run),
            needs_values=True,
        )
        apply_ppo_training(config, run)
        return config


class ColumnarPPO(ColumnarAlgorithm, PPO):
    """PPO whose training step is an epoch of rounds: sample, advantages, a few passes."""

    @classmethod
    def get_default_config(cls) -> ColumnarPPOConfig:
        """The configuration class of this algorithm."""
        return ColumnarPPOConfig()

    def _round(self) -> None:
        rollout = self.sample_round()
        with self.phases.measure("store"):
            shards = self.shards(rollout)
            turned = self._turn(shards)
        training: PPOTrainingConfig = self.run.training
        rows = sum(len(shard["actions"]) for shard in shards)
        plan = {
            "anew": turned,
            # As many gradient steps on every learner, however many rows each has.
            "minibatches": max(1, round(rows / training.minibatch_size)),
            "seed": int(self._order.integers(2**31)),
            "share": self.learning_rate_share,
            "entropy": entropy_coeff(self.run) * self.between(1.0, training.entropy_coeff_final_share),
        }
        self.on_learners(_learn, [{"columns": shard, **plan} for shard in shards])

    def setup_columnar(self) -> None:
        """Look up the symmetries that the run asks for."""
        self.symmetries = symmetries_of(self.run)

    def _turn(self, shards: list[dict[str, NDArray[Any]]]) -> bool:
        """Turn each row by a symmetry of the world; whether there are any.

        A turned row was not drawn from the policy at what it shows, so the probability ratio has to start
        from what the policy says there: the learner computes `action_logp` anew.
        """
        if self.symmetries is None:
            return False
        for shard in shards:
            self.symmetries.apply(self.symmetries.draw(len(shard["actions"]), self._order), shard)
        return True

    def settings_now(self) -> dict[str, float]:
        """Settings that move over the run, as they stand now."""
        share = self.between(1.0, self.run.training.entropy_coeff_final_share)
        return super().settings_now() | {"entropy_coeff": entropy_coeff(self.run) * share}

    def shards(self, rollout: Rollout) -> list[dict[str, NDArray[Any]]]:
        """The rows of a round for each learner: steps of episodes only, advantages standardised over all."""
        assert rollout.values is not None
        training: PPOTrainingConfig = self.run.training
        found = np.empty_like(rollout.rewards)
        advantages(
            rollout.rewards,
            rollout.values,
            rollout.terminated,
            rollout.truncated,
            rollout.valid,
            training.gamma,
            training.gae_lambda,
            found,
        )
        valid = rollout.valid.reshape(-1)
        flat = np.flatnonzero(valid)
        columns = {
            "obs": rollout.obs[:, :-1].reshape(len(valid), -1)[flat],
            "actions": rollout.actions.reshape(len(valid), *rollout.actions.shape[2:])[flat],
            "advantages": standardised(found.reshape(-1)[flat]),
            "value_targets": (found + rollout.values[:, :-1]).reshape(-1)[flat],
        }
        if rollout.action_mask is not None and not rollout.action_mask.all():
            columns[ACTION_MASK] = rollout.action_mask[:, :-1].reshape(len(valid), -1)[flat]
        for name, column in rollout.extra.items():
            columns[name] = column.reshape(len(valid), *column.shape[2:])[flat]
        learners = max(self.run.learners, 1)
        if learners == 1:
            return [columns]
        pieces = {name: np.array_split(column, learners) for name, column in columns.items()}
        return [{name: parts[k] for name, parts in pieces.items()} for k in range(learners)]


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean 0 and spread 1, as RLlib does it: (A - mean A) / max(1e-4, std A)."""
    result: NDArray[np.float32] = (values - values.mean()) / max(1e-4, float(values.std()))
    return result


def _learn(
    learner: ColumnarLearner,
    *,
    columns: dict[str, NDArray[Any]],
    minibatches: int,
    seed: int,
    share: float,
    entropy: float,
    anew: bool,
) -> dict[str, float]:
    ppo = cast(ColumnarPPOLearner, learner)
    if anew:
        columns = ppo.with_own_logp(columns)
    ppo.set_learning_rate(share)
    ppo.entropy_coeff = entropy
    return ppo.learn(columns, minibatches=minibatches, seed=seed)
