"""DQN as an RLlib Algorithm on the columnar lane: act, store, learn, all in one process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import ray
from ray.rllib.algorithms.dqn.dqn import DQN, DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune.registry import register_env
from ray.util import log_once

from envs.configuration import to_plain
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.learner import ColumnarDQNLearner
from policies.columnar.replay import PrioritizedReplay
from policies.columnar.vector_env import make_vector_env
from policies.profiles import CombatDQNRun
from policies.rl_modules.combat_dqn import CombatDQNModule

ENV_NAME = "ml_monster_columnar"
EPISODES_WINDOW = 400
PHASES = ("env", "act", "store", "build", "learn", "prioritize", "sync")


class ColumnarDQNConfig(DQNConfig):
    """RLlib's DQN configuration with the lane's own settings beside it."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or ColumnarDQN)
        self.reward_factor = 1.0
        self.env_seed = 0
        self.episodes_window = EPISODES_WINDOW
        self.combat_run: CombatDQNRun | None = None

    @classmethod
    def of_run(cls, run: CombatDQNRun) -> ColumnarDQNConfig:
        """Translate a resolved run.

        Args:
            run: What to train, checked.

        Returns:
            A configuration whose `build_algo()` gives a `ColumnarDQN`: local runner, local learner.
        """
        training = run.training
        planned = planned_env_steps(run)
        epsilon = {
            "initial": training.epsilon_initial,
            "final": run.final_epsilon,
            "decay_steps": training.epsilon_decay_share * planned,
        }
        register_env(ENV_NAME, lambda context: make_vector_env(dict(context), 1))
        config = cls()
        config.combat_run = run
        config.reward_factor = run.reward_scale / training.reward_unit
        config.env_seed = run.seed if run.env_seed is None else run.env_seed
        # Says that RLlib's notice about its new API has been given: it is no news to the reader of a demo.
        log_once("ColumnarDQN_on_new_api_stack")
        config.framework("torch")
        config.environment(ENV_NAME, env_config=dict(run.env))
        config.env_runners(
            env_runner_cls=ColumnarEnvRunner,
            num_env_runners=0,
            num_envs_per_env_runner=training.num_envs,
            rollout_fragment_length=training.rollout_length,
        )
        config.learners(
            num_learners=0, learner_class=ColumnarDQNLearner, num_gpus_per_learner=int(run.device != "cpu")
        )
        config.training(
            lr=training.learning_rate,
            gamma=training.gamma,
            grad_clip=cast(Any, training.grad_clip),
            train_batch_size_per_learner=training.batch_size,
            double_q=training.double_q,
            n_step=training.n_step,
            tau=training.target_tau,
            num_steps_sampled_before_learning_starts=training.learning_starts,
            td_error_loss_fn="huber",
        )
        config.rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=CombatDQNModule,
                model_config={
                    "network": to_plain(run.model),
                    "double_q": training.double_q,
                    "epsilon": epsilon,
                },
            )
        )
        config.reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=0)
        config.debugging(seed=run.seed, log_level="ERROR")
        return config


class ColumnarDQN(DQN):
    """DQN whose training step is an epoch of rounds: sample, store, learn."""

    @classmethod
    def get_default_config(cls) -> ColumnarDQNConfig:
        """The configuration class of this algorithm."""
        return ColumnarDQNConfig()

    def setup(self, config: Any) -> None:
        """Build runner, learner and buffer, and let the runner act with the learner's own module."""
        super().setup(config)
        self.run: CombatDQNRun = config.combat_run
        learners: Any = self.learner_group
        (result,) = learners.foreach_learner(lambda learner: learner)
        self.learner = cast(ColumnarDQNLearner, result.get())
        self.runner = cast(ColumnarEnvRunner, self.env_runner)
        self.runner.share_module(self.learner.net_module)
        self.learner.net_module.exploration_random.manual_seed(self.run.seed)
        space = self.runner.env.single_observation_space
        training = self.run.training
        self.replay = PrioritizedReplay(
            num_envs=training.num_envs,
            capacity=training.buffer_capacity,
            observation_size=int(space.shape[0]),
            num_actions=int(self.runner.env.single_action_space.n),
            gamma=training.gamma,
            n_step=training.n_step,
            alpha=training.priority_alpha,
            priority_floor=training.priority_floor,
            seed=self.run.seed,
        )
        self.local_replay_buffer = cast(Any, self.replay)
        self.phase_seconds = dict.fromkeys(PHASES, 0.0)

    def _setup_logdir(self) -> None:
        """Keep RLlib's log folder, which nothing is written to, inside Ray's session instead of the home."""
        if self._storage:
            super()._setup_logdir()
            return
        node = ray._private.worker.global_worker.node
        assert node is not None, "policies.training.ensure_ray starts Ray before an algorithm is built"
        folder = tempfile.mkdtemp(prefix="algorithm-", dir=node.get_session_dir_path())
        self._logdir = folder  # type: ignore[assignment]

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> None:
        """Leave RLlib's own buffer out: ours needs the spaces and is made at the end of `setup`."""
        return None

    def training_step(self) -> None:
        """One epoch: `rounds_per_epoch` times act, store and learn."""
        before = self.env_steps
        for _ in range(self.run.training.rounds_per_epoch):
            self._round()
        # RLlib's own counter, for everything of RLlib that asks how far the run is.
        logger: Any = self.metrics
        logger.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME),
            self.env_steps - before,
            reduce="lifetime_sum",
        )

    @property
    def env_steps(self) -> int:
        """Decisions sampled so far, without autoreset rows."""
        return self.runner.env_steps

    @property
    def progress(self) -> float:
        """Share of the planned decisions that has been sampled, at most 1."""
        return min(self.env_steps / planned_env_steps(self.run), 1.0)

    def _round(self) -> None:
        training = self.run.training
        env_before = self.runner.env_seconds
        with self._phase("act"):
            rollout = self.runner.sample()
        env_seconds = self.runner.env_seconds - env_before
        self.phase_seconds["env"] += env_seconds
        self.phase_seconds["act"] -= env_seconds
        with self._phase("store"):
            self.replay.add(rollout)
        if self.env_steps < training.learning_starts:
            return
        self.learner.set_learning_rate(
            self._between(1.0, training.learning_rate_final_share) * training.learning_rate
        )
        beta = self._between(training.priority_beta, training.priority_beta_final)
        self.learner.net_module.train()
        device = self.learner._device
        for _ in range(training.updates_per_round):
            with self._phase("build"):
                batch = self.replay.sample(training.batch_size, beta)
                columns = {name: column.to(device) for name, column in batch.columns.items()}
            with self._phase("learn"):
                td_errors = self.learner.update_columns(columns)
            with self._phase("prioritize"):
                self.replay.update_priorities(batch.slots, td_errors.cpu().numpy())
            if self.learner.updates % training.target_period == 0:
                with self._phase("sync"):
                    self.learner.sync_target()

    def _between(self, start: float, end: float) -> float:
        return start + (end - start) * self.progress

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.phase_seconds[name] += time.perf_counter() - started


def planned_env_steps(run: CombatDQNRun) -> int:
    """Decisions that a run samples in all, autoreset rows included."""
    training = run.training
    return training.epochs * training.rounds_per_epoch * training.num_envs * training.rollout_length
