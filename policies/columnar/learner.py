"""RLlib's DQN learner with a short way through: the same loss, without the bookkeeping of each update.

The stock `Learner.update` converts batches, opens timers, logs some twenty metrics and looks at every
gradient tensor by itself; at a batch of 256 on a small network that costs more than the gradient.
`update_columns` calls RLlib's own `compute_loss_for_module` on ready tensors and does the rest in a few
vector operations.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.utils import update_target_network
from ray.rllib.utils.metrics import TD_ERROR_KEY
from torch import Tensor

from policies.rl_modules.combat_dqn import CombatDQNModule

logger = logging.getLogger(__name__)

# So many updates in a row with a gradient that is not finite mean that the run is lost.
MAX_BAD_UPDATES = 20


class DivergedError(RuntimeError):
    """The gradient stayed NaN or infinite; its text says what was seen and what to do."""


class LossRecorder:
    """Stands in for RLlib's metrics logger while a loss is computed, and keeps the figures as tensors."""

    def __init__(self) -> None:
        self.td_error: Tensor = torch.empty(0)
        self.figures: dict[str, Tensor] = {}

    def log_value(self, key: Any, value: Tensor, **kwargs: Any) -> None:
        """Keep the TD errors, float32 (row,)."""
        if key[-1] == TD_ERROR_KEY:
            self.td_error = value.detach()

    def log_dict(self, value_dict: Mapping[str, Tensor], **kwargs: Any) -> None:
        """Keep the loss's figures by name, each a scalar."""
        self.figures = {name: value.detach() for name, value in value_dict.items()}


class ColumnarDQNLearner(DQNTorchLearner):
    """DQN learner whose `update_columns` is the short way; `update` stays RLlib's own."""

    def build(self) -> None:
        """Build as RLlib does and look up once what each update needs."""
        super().build()
        self.net_module: CombatDQNModule = cast(Any, self.module[DEFAULT_MODULE_ID]).unwrapped()
        self._trained = list(self.net_module.net.parameters())
        self._settings: Any = self.config
        self.updates = 0
        self.skipped_updates = 0
        self._bad_in_a_row = 0
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Register Adam over the online network, fused: one kernel instead of ten small ones a tensor."""
        module: CombatDQNModule = cast(Any, self.module[module_id]).unwrapped()
        parameters = list(module.net.parameters())
        optimizer = torch.optim.Adam(parameters, lr=config.lr, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=config.lr
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one optimizer."""
        return self.get_optimizer(DEFAULT_MODULE_ID)

    def set_learning_rate(self, rate: float) -> None:
        """Use another step size from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def update_columns(self, columns: dict[str, Tensor]) -> Tensor:
        """One gradient step on ready tensors.

        Args:
            columns: As `ReplayBatch.columns`, on the learner's device.

        Returns:
            The TD errors' magnitudes, float32 (row,).

        Raises:
            DivergedError: Too many gradients in a row were not finite.
        """
        output: dict[str, Any] = self.net_module._forward_train(columns)
        recorder = LossRecorder()
        logger_of_rllib = self.metrics
        self.metrics = cast(Any, recorder)
        try:
            loss = cast(
                Tensor,
                self.compute_loss_for_module(
                    module_id=DEFAULT_MODULE_ID, config=self._settings, batch=columns, fwd_out=output
                ),
            )
        finally:
            self.metrics = logger_of_rllib
        optimizer = self.optimizer
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self._settings.grad_clip, foreach=True)
        if bool(torch.isfinite(norm)):
            optimizer.step()
            self._bad_in_a_row = 0
        else:
            self._skip(norm)
        self.updates += 1
        self._add(recorder.figures)
        return recorder.td_error

    def sync_target(self) -> None:
        """Move the target network towards the online one by `tau`."""
        for online, target in self.net_module.get_target_network_pairs():
            update_target_network(main_net=online, target_net=target, tau=self._settings.tau)

    def take_figures(self) -> dict[str, float]:
        """Means since the last call: loss, q_mean, td_error; the largest q_max. NaN without updates."""
        if self._summed == 0:
            return dict.fromkeys(("loss", "q_mean", "td_error", "q_max"), math.nan)
        figures = {name: float(total) / self._summed for name, total in self._sums.items() if name != "q_max"}
        figures["q_max"] = float(self._sums["q_max"])
        self._sums, self._summed = {}, 0
        return figures

    def _add(self, figures: Mapping[str, Tensor]) -> None:
        named = {"loss": "qf_loss", "q_mean": "qf_mean", "td_error": "td_error_mean"}
        for name, theirs in named.items():
            value = figures[theirs]
            self._sums[name] = self._sums[name].add_(value) if name in self._sums else value.clone()
        largest = figures["qf_max"]
        self._sums["q_max"] = (
            torch.maximum(self._sums["q_max"], largest) if "q_max" in self._sums else largest
        )
        self._summed += 1

    def _skip(self, norm: Tensor) -> None:
        self.skipped_updates += 1
        self._bad_in_a_row += 1
        logger.warning("update %d left out: the gradient's norm is %s", self.updates, float(norm))
        if self._bad_in_a_row >= MAX_BAD_UPDATES:
            raise DivergedError(
                f"{MAX_BAD_UPDATES} updates in a row had a gradient of norm {float(norm)}: the run has "
                "diverged; lower learning_rate or grad_clip, or look for NaN in the observations"
            )
