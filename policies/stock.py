"""RLlib's own lane, the correctness reference: its env runners, connectors, replay buffers and learners.

The same run with the same networks and losses as on the columnar lane; everything between is RLlib's. What
differs by RLlib's nature:

- Replay: no n-step window is begun that runs past the end of its episode; sampling is not stratified; the
  importance exponent stays at `priority_beta`; `priority_floor` is not known; weights are relative to the
  whole buffer's largest one, not the batch's.
- The target network moves once per round at the most, at the round's first update.
- Packs (RLlib steps them one by one, its MultiAgentEnvRunner): dead members' rows are among those that the
  policy learns from, with one legal action and so without a gradient.
- PPO: advantages are standardised with the rows that RLlib adds for bootstrapping, minibatches contain such
  rows (masked), the first pass is not shuffled, and the KL penalty follows the last minibatch.
- A round counts decisions, not rows: autoreset rows are not among them.
- SAC clips the gradient of each critic by itself, the columnar lane both together.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from torch import nn

from policies.columnar.episodes import EpisodeLog
from policies.settings import Run
from policies.stock_config import stock_config
from policies.stock_env import stock_env_of
from policies.stock_sac import to_soft_actor_critic
from policies.stock_team import PACK_MODULE, stock_packs_of
from policies.training import ensure_ray, seed_everything

STATE_FILE = "stock.json"
# Our name of a figure, and the name in RLlib's results of a learner.
FIGURES = {
    "dqn": {"loss": "qf_loss", "q_mean": "qf_mean", "q_max": "qf_max", "td_error": "td_error_mean"},
    "ppo": {
        "loss": "total_loss",
        "policy_loss": "policy_loss",
        "value_loss": "vf_loss_unclipped",
        "entropy_nats": "entropy",
        "kl": "mean_kl_loss",
        "explained_variance": "vf_explained_var",
    },
    "sac": {
        "loss": "qf_loss",
        "actor_loss": "policy_loss",
        "alpha": "alpha_value",
        "logp": "logps",
        "q_mean": "qf_mean",
        "q_max": "qf_max",
        "td_error": "td_error_mean",
    },
}


class StockTrainer:
    """Trains one mind on RLlib's own lane; `policies.training.AnyTrainer` says how it is used.

    Args:
        run: What to train; its sampler is "stock".

    Raises:
        ConfigError: A setting that RLlib's own lane has no way for.
    """

    def __init__(self, run: Run) -> None:
        config = stock_config(run)
        self.run = run
        self._module_id = PACK_MODULE if cast(Any, run).algorithm == "team_ppo" else DEFAULT_MODULE_ID
        ensure_ray(run.env_runners)
        torch.set_num_threads(1)
        seed_everything(run.seed)
        with warnings.catch_warnings():
            # RLlib registers every environment under one name, the second of a process over the first.
            warnings.filterwarnings("ignore", message=".*Overriding environment.*")
            self.algorithm: Algorithm = config.build_algo()
        self._on_runners(_prepare, seed=run.seed)
        seed_everything(run.seed)
        self.epoch = 0

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            By name, as `policies.training.Trainer` gives them, as far as RLlib knows them. Figures of updates
            are the last minibatch's; NaN before the first update.
        """
        started, steps_before = time.perf_counter(), self.env_steps
        for _ in range(self.run.training.rounds_per_epoch):
            result = self.algorithm.train()
        epoch_s = time.perf_counter() - started
        self.epoch += 1
        steps = self.env_steps
        return {
            "epoch": self.epoch,
            **self._episode_means(),
            **self._figures(result.get(LEARNER_RESULTS, {}).get(self._module_id, {})),
            "env_steps": steps,
            "updates": self.updates,
            "env_steps_per_s": (steps - steps_before) / epoch_s,
            "epoch_s": epoch_s,
        }

    def model(self) -> nn.Module:
        """The network that is being trained, or for SAC a copy of it in our class."""
        module = self._learner.module[self._module_id].unwrapped()
        if isinstance(module, DefaultSACTorchRLModule):
            return to_soft_actor_critic(module)
        return cast(nn.Module, module.net)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write RLlib's own checkpoint.

        It is not exact: RLlib leaves out environments, running episodes, random states, SAC's temperature,
        the weight of PPO's KL penalty and when the target network was moved last.

        Args:
            folder: Where to.

        Returns:
            The folder.
        """
        path = Path(folder).absolute()
        self.algorithm.save_to_path(path)
        (path / STATE_FILE).write_text(json.dumps({"epoch": self.epoch}), encoding="utf-8")
        return path

    def restore(self, folder: str | os.PathLike[str]) -> None:
        """Go on from RLlib's own checkpoint, as far as it goes: see `save`.

        Args:
            folder: Written by `save` for a run with the same settings.
        """
        path = Path(folder).absolute()
        self.algorithm.restore_from_path(path)
        self.epoch = int(json.loads((path / STATE_FILE).read_text(encoding="utf-8"))["epoch"])

    def stop(self) -> None:
        """Close the environments and let RLlib clean up."""
        self.algorithm.stop()

    @property
    def env_steps(self) -> int:
        """Decisions sampled so far, without autoreset rows."""
        logger: Any = self.algorithm.metrics
        return int(logger.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        for optimizer in self._learner._named_optimizers.values():
            for state in optimizer.state.values():
                return int(state["step"])
        return 0

    @property
    def _learner(self) -> Any:
        (result,) = cast(Any, self.algorithm.learner_group).foreach_learner(lambda learner: learner)
        return result.get()

    def _on_runners(self, call: Any, **arguments: Any) -> list[Any]:
        local = self.run.env_runners == 0
        group: Any = self.algorithm.env_runner_group
        return list(
            group.foreach_env_runner(lambda runner: call(runner, **arguments), local_env_runner=local)
        )

    def _episode_means(self) -> dict[str, float]:
        log = EpisodeLog.merged([state for states in self._on_runners(_episodes) for state in states])
        return {**log.means(), "episodes": log.finished}

    def _figures(self, results: dict[str, Any]) -> dict[str, float]:
        names = FIGURES[cast(Any, self.run).algorithm.removeprefix("team_")]
        found = {ours: float(results.get(theirs, math.nan)) for ours, theirs in names.items()}
        if "entropy_nats" in found:
            found["entropy_bits"] = found.pop("entropy_nats") / math.log(2.0)
        if "logp" in found:
            found["entropy_nats"] = -found.pop("logp")
            found["loss"] += float(results.get("qf_twin_loss", math.nan))
        return found


def _prepare(runner: Any, *, seed: int) -> None:
    # RLlib acts with a module in training mode: dropout would draw while acting.
    modules: list[Any] = (
        [runner.module] if isinstance(runner.module, nn.Module) else list(runner.module.values())
    )
    for module in modules:
        module.eval()
        if hasattr(module, "exploration_random"):
            module.exploration_random.manual_seed(seed + int(runner.worker_index or 0))


def _episodes(runner: Any) -> list[dict[str, Any]]:
    envs: list[Any] = list(stock_packs_of(runner)) or [stock_env_of(runner)]
    return [env.episodes.get_state() for env in envs]
