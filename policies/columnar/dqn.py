"""Double DQN with prioritized replay as an RLlib Algorithm on the columnar lane."""

from __future__ import annotations

from typing import Any, cast

from ray.rllib.algorithms.dqn.dqn import DQN, DQNConfig

from envs.configuration import to_plain
from policies.columnar.algorithm import apply_run
from policies.columnar.dqn_learner import ColumnarDQNLearner
from policies.columnar.off_policy import OffPolicyAlgorithm
from policies.rl_modules.combat_dqn import CombatDQNModule
from policies.rl_modules.skill_dqn import SkillDQNModule
from policies.settings import DQNRun, SkillDQNRun


def dqn_module_class(run: DQNRun) -> type[CombatDQNModule]:
    """The RLModule of a run's network, on this lane and on RLlib's own."""
    return SkillDQNModule if isinstance(run, SkillDQNRun) else CombatDQNModule


def dqn_module_config(run: DQNRun) -> dict[str, Any]:
    """What the module is told, on this lane and on RLlib's own."""
    training = run.training
    return {
        "network": to_plain(run.model),
        "double_q": training.double_q,
        "epsilon": {
            "initial": training.epsilon_initial,
            "final": run.noise,
            "decay_steps": training.epsilon_decay_share * run.planned_env_steps,
        },
    }


def apply_dqn_training(config: DQNConfig, run: DQNRun) -> None:
    """Put the settings of the loss into RLlib's configuration, for both lanes."""
    training = run.training
    config.training(
        lr=training.learning_rate,
        gamma=training.gamma,
        grad_clip=cast(Any, training.grad_clip),
        grad_clip_by="global_norm",
        train_batch_size_per_learner=training.batch_size,
        double_q=training.double_q,
        n_step=training.n_step,
        tau=training.target_tau,
        num_steps_sampled_before_learning_starts=training.learning_starts,
        td_error_loss_fn="huber",
        adam_epsilon=training.adam_eps,
    )


class ColumnarDQNConfig(DQNConfig):
    """RLlib's DQN configuration with the lane's own settings beside it."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ColumnarDQN)
        self.run: Any = None
        self.episodes_window = 0
        self.needs_values = False

    @classmethod
    def of_run(cls, run: DQNRun) -> ColumnarDQNConfig:
        """Translate a resolved run.

        Args:
            run: What to train, checked.

        Returns:
            A configuration whose `build_algo()` gives a `ColumnarDQN`.
        """
        config = cls()
        apply_run(
            config,
            run,
            learner_class=ColumnarDQNLearner,
            module_class=dqn_module_class(run),
            model_config=dqn_module_config(run),
        )
        apply_dqn_training(config, run)
        return config


class ColumnarDQN(OffPolicyAlgorithm, DQN):
    """DQN whose training step is an epoch of rounds: sample, store, learn."""

    @classmethod
    def get_default_config(cls) -> ColumnarDQNConfig:
        """The configuration class of this algorithm."""
        return ColumnarDQNConfig()

    def settings_now(self) -> dict[str, float]:
        """Settings that move over the run, as they stand now."""
        module: CombatDQNModule = self.runner.module
        return super().settings_now() | {"epsilon": module.current_epsilon(self.env_steps)}
