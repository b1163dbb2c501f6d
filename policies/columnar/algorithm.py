"""What the algorithms of the lane share: how RLlib's Algorithm is set up, sampled from and saved."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune.registry import register_env
from ray.util import log_once
from torch import Tensor

from policies.columnar.course import Course
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.episodes import EpisodeLog
from policies.columnar.evaluation import ActionCounts
from policies.columnar.flat import flat_copy
from policies.columnar.learner import ColumnarLearner, DivergedError
from policies.columnar.phases import Phases
from policies.columnar.rollout import Rollout, joined
from policies.columnar.vector_env import make_vector_env
from policies.settings import Run

if TYPE_CHECKING:
    from envs.demonstrations import Demonstrations

ENV_NAME = "ml_monster_columnar"
EPISODES_WINDOW = 400
# A lost env runner is looked for this often until Ray has started it anew.
RETRY_S, GIVE_UP_S = 1.0, 300.0
T = TypeVar("T")


def apply_run(
    config: AlgorithmConfig,
    run: Run,
    *,
    learner_class: type,
    module_class: type,
    model_config: dict[str, Any],
    needs_values: bool = False,
) -> None:
    """Put what every algorithm needs of a run into RLlib's configuration.

    Args:
        config: Changed in place.
        run: What to train, checked.
        learner_class: Of the algorithm.
        module_class: Of the algorithm.
        model_config: For the module.
        needs_values: Whether runners add the critic's values to a round.
    """
    register_env(ENV_NAME, lambda context: make_vector_env(dict(context), 1))
    settings = cast(Any, config)
    settings.run = run
    settings.episodes_window = EPISODES_WINDOW
    settings.needs_values = needs_values
    # Says that RLlib's notice about its new API has been given: it is no news to the reader of a demo.
    log_once(f"{config.algo_class.__name__ if config.algo_class else ''}_on_new_api_stack")
    training = run.training
    config.framework("torch")
    config.environment(ENV_NAME, env_config=dict(run.env))
    config.env_runners(
        env_runner_cls=ColumnarEnvRunner,
        num_env_runners=run.env_runners,
        num_envs_per_env_runner=training.num_envs // max(run.env_runners, 1),
        # Our runner takes a round's length from the run. RLlib's check of its own setting fails with a
        # TypeError where it is shorter than an n-step window, which our buffer allows.
        rollout_fragment_length=max(training.rollout_length, getattr(training, "n_step", 1)),
    )
    # In a simulated cluster a learner in this process must not ask Ray for a GPU that is only counted.
    config.learners(
        num_learners=run.learners,
        learner_class=learner_class,
        num_gpus_per_learner=int(run.device != "cpu" and torch.cuda.is_available()),
    )
    config.fault_tolerance(restart_failed_env_runners=True)
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=module_class, model_config=model_config))
    config.reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=0)
    config.debugging(seed=run.seed, log_level="ERROR")


class ColumnarAlgorithm(Algorithm):
    """An Algorithm whose training step is an epoch of rounds; a subclass says what a round is (`_round`)."""

    def setup(self, config: Any) -> None:
        """Build runners and learners, and let a local runner act with a local learner's own module."""
        self.run: Run = config.run
        _check_processes(self.run)
        super().setup(config)
        self.phases = Phases()
        self.actions = ActionCounts()
        self.learner: ColumnarLearner | None = None
        if self.run.learners == 0:
            (result,) = cast(Any, self.learner_group).foreach_learner(lambda learner: learner)
            self.learner = cast(ColumnarLearner, result.get())
            self.learner.phases = self.phases
        self.runner = cast(ColumnarEnvRunner, self.env_runner)
        if self.run.env_runners == 0 and self.learner is not None:
            self.runner.share_module(self.learner.net_module)
        self._runner_states: dict[int, dict[str, Any]] = {}
        if self.run.env_runners:
            # Known before the first round: a checkpoint may be asked for, or a runner lost, before it ends.
            group = cast(Any, self.env_runner_group)
            self._runner_states = dict(group.foreach_env_runner(_state_of, local_env_runner=False))
        self._rounds = 0
        self.course = None if self.run.curriculum is None else Course(self.run.curriculum)
        """The way through the curriculum; None without one."""
        self._order = np.random.Generator(np.random.PCG64(self.run.seed))
        """Decides the order of rows and their symmetries."""
        self.setup_columnar()

    def setup_columnar(self) -> None:
        """What an algorithm makes beside runners and learners."""

    def _round(self) -> None:
        raise AttributeError("an algorithm of the lane says what a round is")

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
        """Leave RLlib's own buffer out; an algorithm with replay makes ours in `setup_columnar`."""
        return None

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Find env runners that Ray has started anew; the next round gives them state and weights."""
        return list(env_runner_group.probe_unhealthy_env_runners())

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
        """Decisions sampled so far, without autoreset rows; a pack's count once."""
        if self.run.env_runners == 0:
            return self.runner.env_steps
        return sum(int(state["env_steps"]) for state in self._runner_states.values())

    @property
    def progress(self) -> float:
        """Share of the planned decisions that has been sampled, at most 1."""
        return min(self.env_steps / self.run.planned_env_steps, 1.0)

    def between(self, start: float, end: float) -> float:
        """A setting that moves linearly from `start` to `end` over the run."""
        return start + (end - start) * self.progress

    @property
    def learning_rate_share(self) -> float:
        """Share of the first learning rate that is in force now."""
        return self.between(1.0, self.run.training.learning_rate_final_share)

    def episode_means(self) -> dict[str, float]:
        """Means over the last finished episodes of all runners, and how many have finished."""
        if self.run.env_runners == 0:
            log = self.runner.episodes
        else:
            log = EpisodeLog.merged([state["episodes"] for state in self._runner_states.values()])
        return {**log.means(), "episodes": log.finished}

    def _episode_logs(self) -> list[EpisodeLog]:
        """What each runner's episodes were like, in the runners' order."""
        if self.run.env_runners == 0:
            return [self.runner.episodes]
        states = [self._runner_states[index] for index in sorted(self._runner_states)]
        return [EpisodeLog.merged([state["episodes"]]) for state in states]

    @property
    def _level(self) -> int | None:
        return None if self.course is None else self.course.level

    def warm_start(self) -> None:
        """Teach the network to copy the traditional AI in this run's environment, before it learns by itself.

        Raises:
            ConfigError: The environment has nobody to copy.
        """
        from policies.columnar.warm import demonstrations_of, warm_up

        demos = demonstrations_of(self.run)
        self.on_learners(warm_up, [{"demos": demos} for _ in range(max(self.run.learners, 1))])
        self.take_demonstrations(demos)

    def take_demonstrations(self, demos: Demonstrations) -> None:
        """What an algorithm keeps of demonstrations beside the copied network."""

    def settings_now(self) -> dict[str, float]:
        """Settings that move over the run, as they stand now."""
        now = {"learning_rate": self.run.training.learning_rate * self.learning_rate_share}
        return now if self.course is None else now | self.course.metrics()

    def sample_round(self) -> Rollout:
        """One round of all env runners, side by side."""
        rollout = self._sample_round()
        if self.course is not None:
            self.course.follow(self._episode_logs(), rollout)
        with self.phases.measure("store"):
            rows = rollout.valid if rollout.alive is None else rollout.valid & rollout.alive[:, :-1]
            self.actions.add(rollout.actions, rows)
        return rollout

    def _sample_round(self) -> Rollout:
        if self.run.env_runners == 0:
            if self.learner is None:
                with self.phases.measure("sync"):
                    self.runner.load_weights(self.acting_weights())
            before = self.runner.env_seconds
            self.runner.clock = self.phases.clock
            with self.phases.measure("act"):
                rollout = self.runner.sample(level=self._level)
            env_seconds = self.runner.env_seconds - before
            self.phases.add("env", env_seconds)
            self.phases.add("act", -env_seconds)
            return rollout
        with self.phases.measure("sync"):
            weights = ray.put(self.acting_weights())
        with self.phases.measure("act"):
            return self._remote_round(weights)

    def acting_weights(self) -> Tensor:
        """The weights that runners act with, as one vector on the CPU."""
        if self.learner is not None:
            return flat_copy(self.learner.net_module.acting_parameters())
        return self.on_learners(_acting_weights)[0]

    def on_learners(self, call: Callable[..., T], shards: list[dict[str, Any]] | None = None) -> list[T]:
        """Call a function on every learner.

        Args:
            call: Gets the learner, and its shard as keyword arguments.
            shards: One per learner; none if not given.

        Returns:
            What each gave, in order.

        Raises:
            DivergedError: The gradient stayed NaN or infinite.
            RuntimeError: A learner did not answer.
        """
        shards = shards or [{} for _ in range(max(self.run.learners, 1))]
        if self.learner is not None:
            return [call(self.learner, **shards[0])]
        manager = cast(Any, self.learner_group)._worker_manager
        calls = [functools.partial(_answer, call=call, shard=shard) for shard in shards]
        # RLlib wants keyword arguments for each of several functions; ours are bound already.
        results = list(manager.foreach_actor(calls, kwargs=[{} for _ in calls], healthy_only=False))
        for result in results:
            if not result.ok:
                raise RuntimeError(
                    f"learner {result.actor_id} of {len(calls)} gave no result ({result.get()}); "
                    "continue from the last checkpoint"
                )
        answers = [result.get() for result in sorted(results, key=lambda result: result.actor_id)]
        for answer in answers:
            if isinstance(answer, DivergedError):
                raise answer
        return answers

    def sampler_states(self) -> list[dict[str, Any]]:
        """The state of every env runner, for a checkpoint."""
        if self.run.env_runners == 0:
            return [self.runner.sampler_state()]
        states = [self._runner_states[index] for index in sorted(self._runner_states)]
        if not all(state["exact"] for state in states):
            raise ValueError(
                "the environment has no get_state(), so a run on it cannot be resumed exactly; give it "
                "get_state() and set_state(), or train without checkpoints"
            )
        return states

    def set_sampler_states(self, states: list[dict[str, Any]]) -> None:
        """Take up `sampler_states`."""
        if self.run.env_runners == 0:
            self.runner.set_sampler_state(states[0])
            return
        self._runner_states = dict(enumerate(states, start=1))
        self._rounds = int(states[0]["rounds"])
        # At once: a runner that has played as many rounds of something else would not be told from one that
        # is up to date. One that is down at the moment gets its state when it is back.
        for index, state in self._runner_states.items():
            self._give_state(index, state)

    def columnar_state(self) -> dict[str, Any]:
        """What belongs to a checkpoint beside runners and learners."""
        state = {"order": self._order.bit_generator.state, "rounds": self._rounds}
        return state if self.course is None else {**state, "course": self.course.get_state()}

    def set_columnar_state(self, state: Mapping[str, Any]) -> None:
        """Take up `columnar_state`."""
        self._order.bit_generator.state = state["order"]
        self._rounds = int(state["rounds"])
        if self.course is not None:
            self.course.set_state(state["course"])

    def _give_state(self, index: int, state: dict[str, Any]) -> None:
        cast(Any, self.env_runner_group).foreach_env_runner(
            functools.partial(_take_up, state=state), local_env_runner=False, remote_worker_ids=[index]
        )

    def _remote_round(self, weights: Any) -> Rollout:
        """Sample on every remote runner; one that died does its round again from the state it began with.

        A round depends on weights and state only, so the repetition gives the same columns.
        """
        group: Any = self.env_runner_group
        waiting = set(range(1, self.run.env_runners + 1))
        found: dict[int, tuple[Rollout, dict[str, Any], float]] = {}
        deadline = time.monotonic() + GIVE_UP_S
        while waiting:
            call = functools.partial(
                _sample_remotely,
                weights=weights,
                rounds=self._rounds,
                env_steps=self.env_steps,
                level=self._level,
            )
            behind = []
            for index, answer in group.foreach_env_runner(
                call, local_env_runner=False, remote_worker_ids=sorted(waiting)
            ):
                if answer is None:
                    behind.append(index)
                else:
                    found[index] = answer
                    waiting.discard(index)
            for index in behind:
                # It was started anew: give it the state that the lost one had at the start of this round.
                self._give_state(index, self._runner_states[index])
            if waiting and not behind:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"env runners {sorted(waiting)} have been gone for {GIVE_UP_S:.0f} s and Ray did not "
                        "start them anew; look at Ray's logs, then continue from the last checkpoint"
                    )
                self.restore_env_runners(group)
                time.sleep(RETRY_S)
        self._rounds += 1
        for index, (_, state, env_seconds) in found.items():
            self._runner_states[index] = state
            self.phases.add("env", env_seconds)
        return joined([found[index][0] for index in sorted(found)])


def _check_processes(run: Run) -> None:
    """Refuse what Ray would wait for without an end."""
    wanted, there = run.env_runners + run.learners, int(ray.cluster_resources().get("CPU", 0))
    if wanted > there:
        raise RuntimeError(
            f"env_runners {run.env_runners} and learners {run.learners} need {wanted} CPUs and Ray has "
            f"{there}, so they would never start; lower them, or start Ray with more CPUs"
        )


def _answer(learner: ColumnarLearner, *, call: Callable[..., T], shard: dict[str, Any]) -> T | DivergedError:
    """Hand divergence back as a value: RLlib ends an actor that raises, and its reason is lost."""
    try:
        return call(learner, **shard)
    except DivergedError as error:
        return error


def _sample_remotely(
    runner: ColumnarEnvRunner, *, weights: Any, rounds: int, env_steps: int, level: int | None
) -> tuple[int, tuple[Rollout, dict[str, Any], float] | None]:
    """(index, round with the state after it), or None in place of the round if the runner lost its state."""
    index = int(runner.worker_index)
    if runner.rounds != rounds:
        return index, None
    runner.load_weights(ray.get(weights))
    before = runner.env_seconds
    rollout = runner.sample(env_steps=env_steps, level=level)
    return index, (rollout, runner.sampler_state(exact=False), runner.env_seconds - before)


def _state_of(runner: ColumnarEnvRunner) -> tuple[int, dict[str, Any]]:
    return int(runner.worker_index), runner.sampler_state(exact=False)


def _take_up(runner: ColumnarEnvRunner, *, state: dict[str, Any]) -> None:
    runner.set_sampler_state(state)


def _acting_weights(learner: ColumnarLearner) -> Tensor:
    return flat_copy(learner.net_module.acting_parameters())
