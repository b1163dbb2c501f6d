"""What the learners of all algorithms share: RLlib's Learner with a short way through an update.

The stock `Learner.update` converts batches, opens timers, logs some twenty metrics and looks at every
gradient tensor by itself; at a batch of 256 on a small network that costs more than the gradient.
`update_columns` computes the same losses on ready tensors (`tests/policies/columnar/test_lock_step.py` holds
both to the same weights) and does the rest in a few operations on flat vectors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor, nn

from policies.columnar.flat import FlatParameters
from policies.columnar.fused.adam import adamw
from policies.columnar.nan_guard import NanGuard
from policies.columnar.phases import Phases
from policies.settings import Run

logger = logging.getLogger(__name__)

# So many updates in a row with a gradient that is not finite mean that the run is lost.
MAX_BAD_UPDATES = 20
# Figures for people are computed in every so many-th update: they cost as much as a small loss.
FIGURES_EVERY = 4
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Loss scaling of fp16 (Micikevicius et al. 2018, 3.2): start, and finite updates before it is doubled.
FIRST_LOSS_SCALE, SCALE_GROWTH_PERIOD = 2.0**14, 1000


class DivergedError(RuntimeError):
    """The gradient stayed NaN or infinite; its text says what was seen and what to do."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that are stepped with one learning rate and clipped together."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float


@dataclasses.dataclass
class Loss:
    """What a loss function gives."""

    total: Tensor | float
    """Scalar, a mean over `rows`; a tensor with a graph unless the gradient has been written already."""
    rows: Tensor | int
    """Rows that the mean is over."""
    figures: Callable[[], Mapping[str, Tensor | float]]
    """Scalars for people, computed only when asked for."""
    td_error: Tensor | None = None
    """Magnitudes for priorities, float32 (row,)."""


Fused = Callable[[Mapping[str, Tensor]], Loss]
"""Computes a loss and writes its gradient into the flat vectors, without autograd."""


class ColumnarLearner(TorchLearner):
    """A learner with a short way through an update; RLlib's own `update` is not for its flat weights.

    A subclass names its parameter groups (`groups`) and its loss (`losses`).
    """

    net_module: Any
    run: Run

    def groups(self) -> list[Group]:
        """What is trained, by group."""
        raise AttributeError("a learner of an algorithm names its groups")

    def losses(self, columns: Mapping[str, Tensor]) -> Loss:
        """The loss of a batch."""
        raise AttributeError("a learner of an algorithm has a loss")

    def fused(self) -> Fused | None:
        """The way without autograd for this run's network, where there is one."""
        return None

    def build(self) -> None:
        """Build as RLlib does and look up once what each update needs."""
        self.run = cast(Any, self.config).run
        super().build()
        # RLlib has given all groups the one rate that the optimizer was registered with.
        self.set_learning_rate(1.0)
        self._device_type = torch.device(cast(Any, self._device)).type
        self.phases = Phases()
        self.guard = NanGuard()
        self.updates = 0
        self.skipped_updates = 0
        self._bad_in_a_row = 0
        self.loss_scale = FIRST_LOSS_SCALE if self.run.precision == "fp16" else 1.0
        self._good_at_this_scale = 0
        self._sums: dict[str, Tensor | float] = {}
        self._summed = 0
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.num_learners = torch.distributed.get_world_size() if distributed else 1
        self._compute = torch.compile(self.losses) if self.run.compiled else self.losses
        plain = (
            self._device_type == "cpu"
            and self.run.precision == "fp32"
            and not self.run.compiled
            and self.run.training.accumulate == 1
        )
        self._fused = self.fused() if plain else None

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Register one fused AdamW over the flat vectors of all groups."""
        self.net_module = cast(Any, self.module[module_id]).unwrapped()
        self._groups = self.groups()
        self.flat = [FlatParameters(group.parameters) for group in self._groups]
        training = self.run.training
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [flat.vector], "lr": group.learning_rate}
                for flat, group in zip(self.flat, self._groups, strict=True)
            ],
            lr=training.learning_rate,
            eps=training.adam_eps,
            weight_decay=training.weight_decay,
            fused=True,
        )
        for flat in self.flat:
            # There from the start, so that saving, restoring and our own step always find it.
            self._optimizer.state[flat.vector] = {
                "step": torch.zeros((), device=flat.vector.device),
                "exp_avg": torch.zeros_like(flat.vector, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(flat.vector, requires_grad=False),
            }
        self.register_optimizer(
            module_id=module_id,
            optimizer=self._optimizer,
            params=[flat.vector for flat in self.flat],
            lr_or_lr_schedule=training.learning_rate,
        )

    def _make_modules_ddp_if_necessary(self) -> None:
        """Leave DDP out: gradients are one vector here, and `_combine` adds it over the learners by itself.

        That also works with other row counts on each learner, where DDP hangs, and with recurrent modules.
        """

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one optimizer."""
        return self._optimizer

    def set_learning_rate(self, share: float) -> None:
        """Use this share of each group's first step size from now on."""
        for settings, group in zip(self._optimizer.param_groups, self._groups, strict=True):
            settings["lr"] = group.learning_rate * share

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The number format of forward passes."""
        dtype = AUTOCAST.get(self.run.precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device_type, dtype=dtype)

    def update_columns(self, columns: Mapping[str, Tensor]) -> Loss:
        """One gradient step on ready tensors.

        Args:
            columns: What `losses` reads, rows first, on the learner's device.

        Returns:
            The loss (of the last part, if the batch was cut into several); `td_error` is whole.

        Raises:
            DivergedError: Too many gradients in a row were not finite.
        """
        # Where dropout or a policy's noise began, so that a failure can be replayed.
        self.guard.random_state = torch.get_rng_state()
        if self._fused is None:
            loss = self._compute_gradient(columns)
        else:
            with torch.no_grad():
                loss = self._fused(columns)
            # All figures, plain numbers here: a clipped value error hides even in the loss.
            self._spoil_if_bad(sum(map(float, loss.figures().values())))
            if self.num_learners > 1:
                for flat in self.flat:
                    flat.gradient.mul_(loss.rows)
                self._combine(loss.rows)
        started = self.phases.clock()
        self._step(columns)
        if self._fused is not None or self.updates % FIGURES_EVERY == 0:
            self._add(loss)
        self.updates += 1
        self.phases.seconds["optimize"] += self.phases.clock() - started
        return loss

    def _compute_gradient(self, columns: Mapping[str, Tensor]) -> Loss:
        """Forward and backward through autograd, part by part; the last part's loss, with all TD errors."""
        clock, seconds = self.phases.clock, self.phases.seconds
        for flat in self.flat:
            flat.zero_gradient()
        parts = self._parts(columns)
        whole = len(parts) == 1 and self.num_learners == 1
        rows: Tensor | float = 0.0
        td_errors = []
        started = clock()
        for part in parts:
            with self.autocast():
                loss = self._compute(part)
            computed = clock()
            seconds["forward"] += computed - started
            total = cast(Tensor, loss.total if whole else loss.total * loss.rows)
            (total * self.loss_scale if self.loss_scale != 1.0 else total).backward()
            self._spoil_if_bad(total)
            started = clock()
            seconds["backward"] += started - computed
            rows = rows + loss.rows
            if loss.td_error is not None:
                td_errors.append(loss.td_error)
        if not whole:
            self._combine(rows)
        if len(td_errors) > 1:
            # Magnitudes of rows stand one after the other; PPO gives one divergence for all rows of a part.
            loss.td_error = torch.cat(td_errors) if td_errors[0].dim() else torch.stack(td_errors).mean()
        seconds["optimize"] += clock() - started
        return loss

    def after_update(self) -> None:
        """What follows a gradient step that was taken; a subclass moves its target network here."""

    def after_warm_up(self) -> None:
        """What follows a start from demonstrations or other weights: targets are copied here."""

    def take_figures(self) -> dict[str, float]:
        """Means of the figures since the last call; names that end in _max give the largest.

        Returns:
            By name; NaN for each if there was no update since.
        """
        summed, self._summed = self._summed, 0
        if summed == 0:
            return dict.fromkeys(self._sums, math.nan)
        figures = {
            name: float(total) if name.endswith("_max") else float(total) / summed
            for name, total in self._sums.items()
        }
        return figures

    def get_columnar_state(self) -> dict[str, Any]:
        """Everything that an exact resumption of learning needs, but the random states.

        Returns:
            "weights": name -> tensor, "optimizer": as torch gives it, "scalars": plain JSON types.
        """
        return {
            "weights": {name: value.cpu() for name, value in self.weights().items()},
            "optimizer": self._optimizer.state_dict(),
            "scalars": {
                "updates": self.updates,
                "skipped_updates": self.skipped_updates,
                "bad_in_a_row": self._bad_in_a_row,
                "loss_scale": self.loss_scale,
                "good_at_this_scale": self._good_at_this_scale,
                "summed": self._summed,
                **self.extra_scalars(),
            },
            "sums": {name: torch.as_tensor(value, dtype=torch.float64) for name, value in self._sums.items()},
        }

    def set_columnar_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state from `get_columnar_state`."""
        self.load_weights(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        scalars = state["scalars"]
        self.updates, self.skipped_updates = int(scalars["updates"]), int(scalars["skipped_updates"])
        self._bad_in_a_row = int(scalars["bad_in_a_row"])
        self.loss_scale = float(scalars["loss_scale"])
        self._good_at_this_scale = int(scalars["good_at_this_scale"])
        self._summed = int(scalars["summed"])
        self._sums = {
            name: float(value) if self._fused is not None else value.to(self._device, torch.float32)
            for name, value in state["sums"].items()
        }
        self.set_extra_scalars(scalars)

    def weights(self) -> dict[str, Tensor]:
        """Everything that is trained and its targets, by name."""
        return {name: value.detach() for name, value in self.net_module.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up `weights`."""
        self.net_module.load_state_dict(weights)

    def extra_scalars(self) -> dict[str, float]:
        """Numbers of the algorithm that belong to the state, such as a penalty's weight."""
        return {}

    def set_extra_scalars(self, scalars: Mapping[str, float]) -> None:
        """Take up `extra_scalars`."""

    def _parts(self, columns: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        parts = self.run.training.accumulate
        if parts == 1:
            return [columns]
        cut = {name: torch.chunk(column, parts) for name, column in columns.items()}
        return [
            {name: pieces[k] for name, pieces in cut.items()}
            for k in range(min(len(c) for c in cut.values()))
        ]

    def _combine(self, rows: Tensor | float) -> None:
        """Turn sums over rows into the mean over all rows of all parts and learners."""
        count = torch.as_tensor(rows, dtype=torch.float32, device=self._device).reshape(1)
        if self.num_learners > 1:
            buffer = torch.cat((*(flat.gradient for flat in self.flat), count))
            torch.distributed.all_reduce(buffer)
            pieces = buffer.split([*(flat.gradient.numel() for flat in self.flat), 1])
            for flat, piece in zip(self.flat, pieces[:-1], strict=True):
                flat.gradient.copy_(piece)
            count = pieces[-1]
        for flat in self.flat:
            flat.gradient.div_(count.clamp(min=1.0))

    def _spoil_if_bad(self, total: Tensor | float) -> None:
        """Make the gradient NaN if the loss is not finite.

        A clipped slope hides it, as that of a Huber loss does. Through the gradient all learners hear of it.
        """
        if isinstance(total, Tensor):
            # 0 x a number is 0, and 0 x (NaN or infinity) is NaN: no waiting for the device.
            self.flat[0].gradient[:1] += (total.detach() * 0.0).to(self.flat[0].gradient.dtype)
        elif not math.isfinite(total):
            self.flat[0].gradient[:1] = math.nan

    def _step(self, columns: Mapping[str, Tensor]) -> None:
        """Unscale, clip and step each group; leave the update out if a gradient is not finite."""
        training = self.run.training
        norms = torch.stack([torch.linalg.vector_norm(flat.gradient) for flat in self.flat])
        found = (norms / self.loss_scale).tolist()
        if not all(math.isfinite(norm) for norm in found):
            self._skip(sum(found), columns)
            return
        # Pascanu et al. 2013, algorithm 1: g <- g min(1, limit / |g|)
        scales = [min(1.0, training.grad_clip / (norm + 1e-6)) / self.loss_scale for norm in found]
        if self._device_type == "cpu":
            for flat, settings, scale in zip(self.flat, self._optimizer.param_groups, scales, strict=True):
                self._step_on_cpu(flat, settings, scale)
        else:
            for flat, scale in zip(self.flat, scales, strict=True):
                flat.gradient.mul_(scale)
            self._optimizer.step()
        self._bad_in_a_row = 0
        self._grow_scale()
        self.after_update()

    def _step_on_cpu(self, flat: FlatParameters, settings: dict[str, Any], scale: float) -> None:
        """What torch's fused AdamW does, in one pass and without its bookkeeping; on its own state."""
        state = self._optimizer.state[flat.vector]
        state["step"] += 1.0
        steps, (beta1, beta2) = state["step"].item(), settings["betas"]
        rate = settings["lr"]
        number = np.float32
        adamw(
            flat.vector.detach().numpy(),
            flat.gradient.numpy(),
            state["exp_avg"].numpy(),
            state["exp_avg_sq"].numpy(),
            number(scale),
            number(rate * settings["weight_decay"]),
            number(rate / (1.0 - beta1**steps)),
            number(beta1),
            number(1.0 - beta1),
            number(beta2),
            number(1.0 - beta2),
            number(1.0 / math.sqrt(1.0 - beta2**steps)),
            number(settings["eps"]),
        )

    def _grow_scale(self) -> None:
        if self.run.precision != "fp16":
            return
        self._good_at_this_scale += 1
        if self._good_at_this_scale >= SCALE_GROWTH_PERIOD:
            self.loss_scale *= 2.0
            self._good_at_this_scale = 0

    def _skip(self, norm: float, columns: Mapping[str, Tensor]) -> None:
        if self.run.precision == "fp16" and self.loss_scale > 1.0:
            # Overflow is how the scale is found; no sign of anything wrong.
            self.loss_scale /= 2.0
            self._good_at_this_scale = 0
            return
        self.skipped_updates += 1
        self._bad_in_a_row += 1
        found = self.guard.report(self, columns)
        logger.warning("update %d left out: the gradient's norm is %s; %s", self.updates, norm, found)
        if self._bad_in_a_row >= MAX_BAD_UPDATES:
            raise DivergedError(
                f"{MAX_BAD_UPDATES} updates in a row had a gradient of norm {norm}: the run has "
                f"diverged ({found}); lower learning_rate or grad_clip, or look for NaN in the observations"
            )

    def _add(self, loss: Loss) -> None:
        if self._summed == 0:
            # Kept until now for their names, which the figures of an epoch without updates need.
            self._sums = {}
        with torch.no_grad():
            for name, value in loss.figures().items():
                if isinstance(value, Tensor):
                    value = value.detach().float().clone()
                seen = self._sums.get(name)
                if seen is None:
                    self._sums[name] = value
                elif not name.endswith("_max"):
                    self._sums[name] = seen + value
                elif isinstance(value, Tensor):
                    self._sums[name] = torch.maximum(cast(Tensor, seen), value)
                else:
                    self._sums[name] = max(float(seen), value)
        self._summed += 1


def module_of(learner: TorchLearner) -> Any:
    """The one module of a learner, without wrappers."""
    return cast(Any, learner.module[DEFAULT_MODULE_ID]).unwrapped()
