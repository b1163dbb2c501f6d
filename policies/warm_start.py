"""Behaviour cloning: a network starts from what the traditional AI does instead of from nothing.

`clone` fits any torch network to demonstrations (`envs.demonstrations`), in the form in which it will be
trained on: logits of a policy, Q-values, or the mean of a tanh-squashed policy. It knows no algorithm and
no RLlib; whoever trains calls it before the first update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.demonstrations import Demonstrations

Form = Literal["logits", "q_values", "squashed"]

# The output of an action that may not be taken. Finite, so that no arithmetic turns it into NaN.
ILLEGAL = -1e9


@dataclass(frozen=True)
class EpochFigures:
    """One pass over the training rows.

    Attributes:
        loss: mean over the training rows, each taken just before the update that uses it.
        accuracy: share of the training rows with a choice in which the network chose the label, likewise.
        validation_loss: mean over the validation rows after the epoch.
        validation_accuracy: share of the validation rows with a choice, after the epoch.
    """

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class CloneResult:
    """What cloning came to; the network has the weights of `best_epoch`.

    Attributes:
        epochs: figures of each epoch that was run.
        best_epoch: index of the one with the lowest validation loss.
        chance: accuracy of choosing evenly among the legal actions, validation rows with a choice.
        majority: accuracy there of always taking the training rows' most frequent label, or the most
            frequent one that is legal.
        rows: training rows that were learned from.
        validation_rows: the same of validation.
    """

    epochs: tuple[EpochFigures, ...]
    best_epoch: int
    chance: float
    majority: float
    rows: int
    validation_rows: int

    @property
    def best(self) -> EpochFigures:
        """Figures of the epoch whose weights were kept."""
        return self.epochs[self.best_epoch]


def clone(
    outputs: Callable[[Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    demos: Demonstrations,
    *,
    form: Form,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
    validation: float = 0.2,
    patience: int = 3,
    margin: float = 0.05,
    gamma: float = 0.99,
    reward_scale: float = 0.01,
) -> CloneResult:
    """Fit a network to demonstrations, in place, and keep the weights that did best on fights left out.

    Rows without a label are left out; so are, but for Q-values, rows with one legal action.

    Args:
        outputs: the network: observations float32 `(row, observation)` to logits or Q-values `(row, action)`,
            or to means before tanh `(row, part)`. A module learns in training and is measured in
            evaluation mode; a function decides on its dropout itself.
        parameters: what is trained, all on one device.
        demos: of the head that the outputs are for.
        form: `logits` (cross-entropy over legal actions), `q_values` (large margin, and the returns that the
            script got) or `squashed` (squared error of tanh of the mean).
        epochs: most passes over the training rows.
        batch_size: rows per update.
        learning_rate: of AdamW.
        weight_decay: decoupled, times the learning rate.
        seed: of the order of rows and of dropout; the same seed gives the same bits on a CPU.
        validation: expected share of the fights left out of training.
        patience: stops after so many epochs without a lower validation loss.
        margin: Q-values: by how much the label's value shall lead, in units of scaled reward.
        gamma: Q-values: discount per decision.
        reward_scale: Q-values: what rewards are multiplied by; the value that training will use.

    Raises:
        ValueError: unknown form, no epochs, demonstrations of another kind of action, or too few of them.
    """
    if form not in get_args(Form):
        raise ValueError(f"unknown form {form!r}; one of {', '.join(get_args(Form))}")
    if (form == "squashed") != (demos.actions.ndim == 2):
        raise ValueError(
            f"form {form!r} cannot learn from the {demos.head!r} head's actions; squashed is for control, "
            "logits and q_values are for the others"
        )
    if epochs < 1:
        raise ValueError(f"{epochs} epochs of cloning teach nothing: ask for at least 1, or do not clone")
    trained = list(parameters)
    device = trained[0].device
    first, second = (
        _Rows.of(part, discounted_returns(part.rewards * reward_scale, part.fights, gamma), form, device)
        for part in demos.split(validation)
    )
    for name, rows in (("training", first), ("validation", second)):
        if not int(rows.choice.sum()):
            raise ValueError(
                f"no {name} row with a label and a choice among {len(demos.obs)} rows of "
                f"{len(np.unique(demos.fights))} fights: record more fights"
            )

    def losses(rows: _Rows) -> tuple[Tensor, Tensor]:
        out = outputs(rows.obs)
        if form == "squashed":
            return squashed_loss(out, rows.actions), _thirds(torch.tanh(out)).eq(_thirds(rows.actions)).all(1)
        out = out.masked_fill(~rows.mask, ILLEGAL)
        right = out.argmax(dim=1) == rows.actions
        if form == "logits":
            return functional.cross_entropy(out, rows.actions, reduction="none"), right
        return margin_loss(out, rows.actions, margin) + value_loss(out, rows.actions, rows.returns), right

    def switch(training: bool) -> None:
        if isinstance(outputs, nn.Module):
            outputs.train(training)

    def measured(rows: _Rows) -> tuple[float, float]:
        switch(training=False)
        with torch.no_grad():
            parts = [losses(part) for part in rows.batches(torch.arange(len(rows.obs)), 4096)]
        loss, right = (torch.cat(part) for part in zip(*parts, strict=True))
        return float(loss.mean()), float(right[rows.choice].float().mean())

    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    mode = isinstance(outputs, nn.Module) and outputs.training
    history: list[EpochFigures] = []
    best, weights = 0, [parameter.detach().clone() for parameter in trained]
    # Dropout draws from torch's global state: it is lent a seed of its own and given back as it was.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            total, right, choices = 0.0, 0.0, int(first.choice.sum())
            switch(training=True)
            for batch in first.batches(torch.randperm(len(first.obs)), batch_size):
                loss, hit = losses(batch)
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
                total += float(loss.detach().sum())
                right += float((hit & batch.choice).sum())
            history.append(EpochFigures(total / len(first.obs), right / choices, *measured(second)))
            if history[epoch].validation_loss < history[best].validation_loss or epoch == 0:
                best, weights = epoch, [parameter.detach().clone() for parameter in trained]
            if epoch - best >= patience:
                break
    switch(training=mode)
    with torch.no_grad():
        for parameter, value in zip(trained, weights, strict=True):
            parameter.copy_(value)
    chance, majority = _yardsticks(first, second)
    return CloneResult(tuple(history), best, chance, majority, len(first.obs), len(second.obs))


def margin_loss(q_values: Tensor, actions: Tensor, margin: float) -> Tensor:
    """Large-margin loss of each row, float32 `(row,)`.

    J_E(Q) = max over a of [Q(s, a) + l(a_E, a)] - Q(s, a_E), with l(a_E, a) = margin, 0 for a = a_E
    (Hester et al. 2018, "Deep Q-learning from Demonstrations", the supervised large-margin loss). The paper's
    margin of 0.8 belongs to rewards on its own scale.

    Args:
        q_values: float32 `(row, action)`, illegal actions far below all others.
        actions: label, int64 `(row,)`.
        margin: in units of the Q-values.
    """
    ahead = torch.full_like(q_values, margin).scatter_(1, actions[:, None], 0.0)
    return (q_values + ahead).amax(dim=1) - q_values.gather(1, actions[:, None])[:, 0]


def value_loss(q_values: Tensor, actions: Tensor, returns: Tensor) -> Tensor:
    """Huber loss of the label's value against the script's discounted return, float32 `(row,)`.

    The margin alone fixes differences and leaves the level free. The paper holds it by n-step Q-learning
    losses; here n reaches to the fight's end, so that no target network is needed.

    Args:
        q_values: float32 `(row, action)`.
        actions: label, int64 `(row,)`.
        returns: float32 `(row,)`, in scaled reward.
    """
    return functional.smooth_l1_loss(q_values.gather(1, actions[:, None])[:, 0], returns, reduction="none")


def squashed_loss(means: Tensor, actions: Tensor) -> Tensor:
    """Squared error of tanh(mean), averaged over the parts of an action, float32 `(row,)`.

    Args:
        means: before tanh, float32 `(row, part)`.
        actions: label in [-1, 1], float32 `(row, part)`.
    """
    return (torch.tanh(means) - actions).square().mean(dim=1)


def discounted_returns(rewards: np.ndarray, fights: np.ndarray, gamma: float) -> np.ndarray:
    """G(t) = r(t) + gamma G(t + 1) to the end of each fight, float32 `(row,)`.

    Args:
        rewards: `(row,)`, fights one after the other, each in order of time.
        fights: number of each row's fight, `(row,)`.
        gamma: discount per row.
    """
    values = np.asarray(rewards, np.float64).copy()
    goes_on = np.append(fights[1:] == fights[:-1], False)
    for row in range(len(values) - 2, -1, -1):
        if goes_on[row]:
            values[row] += gamma * values[row + 1]
    return values.astype(np.float32)


@dataclass(frozen=True)
class _Rows:
    """Rows as tensors; `choice` bool `(row,)` marks those that count for accuracy."""

    obs: Tensor
    mask: Tensor
    actions: Tensor
    returns: Tensor
    choice: Tensor

    @classmethod
    def of(cls, demos: Demonstrations, returns: np.ndarray, form: Form, device: torch.device) -> _Rows:
        mask = np.ones((len(demos.obs), 1), bool) if demos.action_mask is None else demos.action_mask
        # The value of a decision without a choice still counts: others lead to it.
        used = demos.valid & (demos.choice | (form == "q_values"))
        columns = (demos.obs, mask, demos.actions, returns, demos.choice)
        return cls(*(torch.from_numpy(column[used]).to(device) for column in columns))

    def batches(self, order: Tensor, size: int) -> Iterable[_Rows]:
        for part in order.to(self.obs.device).split(size):
            yield _Rows(*(column[part] for column in vars(self).values()))


def _thirds(values: Tensor) -> Tensor:
    """-1, 0 or 1 per number: what the control head reads from it (its limits are thirds)."""
    return (values > 1 / 3).int() - (values < -1 / 3).int()


def _yardsticks(first: _Rows, second: _Rows) -> tuple[float, float]:
    """Accuracy of chance and of the most frequent labels, on the second rows with a choice."""
    labels, asked = first.actions[first.choice], second.actions[second.choice]
    if labels.ndim == 2:  # a control action counts as what its parts mean
        kinds, counts = _thirds(labels).unique(dim=0, return_counts=True)
        common = kinds[counts.argmax()]
        return 3.0 ** -labels.shape[1], float(_thirds(asked).eq(common).all(1).float().mean())
    mask = second.mask[second.choice]
    counts = torch.bincount(labels, minlength=mask.shape[1]).expand_as(mask).masked_fill(~mask, -1)
    chance = (1.0 / mask.sum(dim=1)).mean()
    return float(chance), float((counts.argmax(dim=1) == asked).float().mean())
