"""Soft actor-critic as an RLlib Algorithm on the columnar lane."""

from __future__ import annotations

from typing import Any, cast

from ray.rllib.algorithms.sac.sac import SAC, SACConfig

from envs.configuration import to_plain
from policies.columnar.algorithm import apply_run
from policies.columnar.off_policy import OffPolicyAlgorithm
from policies.columnar.sac_learner import ColumnarSACLearner
from policies.rl_modules.soft_actor_critic import SoftActorCriticModule
from policies.settings import SACRun


def sac_module_config(run: SACRun) -> dict[str, Any]:
    """What a `SoftActorCriticModule` is told, on this lane and on RLlib's own."""
    return {"network": to_plain(run.model), "min_std": run.noise}


def apply_sac_training(config: SACConfig, run: SACRun) -> None:
    """Put the settings of the losses into RLlib's configuration, for both lanes."""
    training = run.training
    config.training(
        lr=None,
        actor_lr=training.learning_rate,
        critic_lr=training.critic_learning_rate,
        alpha_lr=training.alpha_learning_rate,
        gamma=training.gamma,
        grad_clip=cast(Any, training.grad_clip),
        grad_clip_by="global_norm",
        train_batch_size_per_learner=training.batch_size,
        n_step=training.n_step,
        tau=training.target_tau,
        twin_q=True,
        initial_alpha=training.initial_alpha,
        target_entropy="auto" if training.target_entropy is None else cast(Any, training.target_entropy),
        num_steps_sampled_before_learning_starts=training.learning_starts,
    )


class ColumnarSACConfig(SACConfig):
    """RLlib's SAC configuration with the lane's own settings beside it."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ColumnarSAC)
        self.run: Any = None
        self.episodes_window = 0
        self.needs_values = False

    @classmethod
    def of_run(cls, run: SACRun) -> ColumnarSACConfig:
        """Translate a resolved run.

        Args:
            run: What to train, checked.

        Returns:
            A configuration whose `build_algo()` gives a `ColumnarSAC`.
        """
        config = cls()
        apply_run(
            config,
            run,
            learner_class=ColumnarSACLearner,
            module_class=SoftActorCriticModule,
            model_config=sac_module_config(run),
        )
        apply_sac_training(config, run)
        return config


class ColumnarSAC(OffPolicyAlgorithm, SAC):
    """SAC whose training step is an epoch of rounds: sample, store, learn."""

    @classmethod
    def get_default_config(cls) -> ColumnarSACConfig:  # type: ignore[override]
        """The configuration class of this algorithm."""
        return ColumnarSACConfig()
