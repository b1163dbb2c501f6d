"""Calibration of the threat mind after training, on validation rows: a few numbers, no weight changes.

Chances: sigmoid(scale x logit + shift) of each member, then their mean (Platt 1999; with a scale alone it is
temperature scaling, Guo et al. 2017). Damage: a factor on the variance of the amount, such that the intervals
of the stated distribution cover what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from policies.perception import reliability
from policies.perception.reliability import FEW
from policies.perception.task import Rows
from policies.threat_assessment import QUESTIONS, UNIT, Beliefs, ThreatAssessment

SPREADS = np.geomspace(0.125, 8.0, 37)
"""Factors on the variance that are tried."""


def fit_calibration(network: ThreatAssessment, beliefs: Beliefs, rows: Rows) -> dict[str, float]:
    """Set the calibration buffers of a network.

    Args:
        network: whose beliefs they are.
        beliefs: of the validation rows, before calibration.
        rows: the validation rows.

    Returns:
        What was fitted, by name of the buffer and question.
    """
    fitted: dict[str, float] = {}
    assert beliefs.places is not None
    living = beliefs.places.numpy()
    enemies = {
        name: rows[name].reshape(-1, *rows[name].shape[2:])[living]
        for name in ("threat", "known", "kill", "target")
    }
    positive = enemies["threat"] > 0
    for q, question in enumerate(QUESTIONS):
        known = torch.from_numpy(enemies["known"][..., q])
        truth = torch.from_numpy(positive[..., q])[known]
        scale, shift = fit_chance(beliefs.hit[..., q][:, known], truth)
        network.hit_scale[q], network.hit_shift[q] = scale, shift
        fitted |= {f"hit_scale_{question}": scale, f"hit_shift_{question}": shift}
    for name in ("kill", "death"):
        values = torch.from_numpy(np.array(enemies.get(name, rows[name])))
        known = values >= 0
        logits: Tensor = getattr(beliefs, name)[:, known]
        scale, shift = fit_chance(logits, values[known] > 0)
        getattr(network, f"{name}_scale").fill_(scale)
        getattr(network, f"{name}_shift").fill_(shift)
        fitted |= {f"{name}_scale": scale, f"{name}_shift": shift}
    target = torch.from_numpy(enemies["target"]).long()
    scale = fit_temperature(beliefs.target[:, target >= 0], target[target >= 0])
    network.target_scale.fill_(scale)
    fitted["target_scale"] = scale
    for q, question in enumerate(QUESTIONS):
        factor = _fit_spread(network, beliefs, enemies, q)
        network.spread_scale[q] = factor
        fitted[f"spread_scale_{question}"] = factor
    return fitted


def join_beliefs(parts: Sequence[Beliefs]) -> Beliefs:
    """Beliefs of several batches as those of one, on the CPU; only living enemies are in them."""
    places, rows = [], 0
    for part in parts:
        assert part.places is not None
        places.append(part.places.cpu() + rows * part.present.shape[1])
        rows += len(part.present)
    return Beliefs(
        hit=torch.cat([part.hit.cpu() for part in parts], dim=1),
        amount=torch.cat([part.amount.cpu() for part in parts], dim=1),
        spread=torch.cat([part.spread.cpu() for part in parts], dim=1),
        kill=torch.cat([part.kill.cpu() for part in parts], dim=1),
        target=torch.cat([part.target.cpu() for part in parts], dim=1),
        death=torch.cat([part.death.cpu() for part in parts], dim=1),
        places=torch.cat(places),
        present=torch.cat([part.present.cpu() for part in parts]),
    )


def fit_chance(logits: Tensor, truth: Tensor) -> tuple[float, float]:
    """Scale and shift with the least negative log-likelihood of the members' mean chance.

    Args:
        logits: float32 (member, row).
        truth: bool (row,).

    Returns:
        (1, 0) if there are hardly rows of one of the classes.
    """
    if min(int(truth.sum()), int((~truth).sum())) < FEW:
        return 1.0, 0.0
    goal = truth.double()

    def loss(values: Tensor) -> Tensor:
        chance = torch.sigmoid(logits.double() * values[0].exp() + values[1]).mean(dim=0)
        return torch.nn.functional.binary_cross_entropy(chance.clamp(1e-7, 1 - 1e-7), goal)

    log_scale, shift = _least(loss, 2)
    return float(np.exp(log_scale)), shift


def fit_temperature(logits: Tensor, truth: Tensor) -> float:
    """Factor on the logits with the least negative log-likelihood of the members' mean chances.

    Args:
        logits: float32 (member, row, class).
        truth: int64 (row,).

    Returns:
        1 if there are hardly rows.
    """
    if len(truth) < FEW:
        return 1.0

    def loss(values: Tensor) -> Tensor:
        chances = torch.softmax(logits.double() * values[0].exp(), dim=-1).mean(dim=0)
        return -chances.gather(1, truth[:, None]).clamp(min=1e-7).log().mean()

    return float(np.exp(_least(loss, 1)[0]))


def _fit_spread(network: ThreatAssessment, beliefs: Beliefs, enemies: Rows, q: int) -> float:
    """The factor on the amount's variance whose intervals of a question cover best what they say."""
    known = torch.from_numpy(enemies["known"][..., q])
    if int(known.sum()) < FEW:
        return 1.0
    truth = enemies["threat"][..., q][known.numpy()]
    hit = beliefs.hit[..., q][:, known].double()
    chance = torch.sigmoid(hit * network.hit_scale[q].cpu() + network.hit_shift[q].cpu())
    amount = beliefs.amount[..., q][:, known].double() / UNIT
    spread = beliefs.spread[..., q][:, known].double()
    mean = (chance * amount).mean(dim=0)
    fixed = (chance * (1.0 - chance) * amount**2).mean(dim=0) + ((chance * amount - mean) ** 2).mean(dim=0)
    moving = (chance * spread * amount**2).mean(dim=0)
    stated = chance.mean(dim=0).numpy()

    def miss(factor: float) -> float:
        std = torch.sqrt(fixed + factor * moving)
        return reliability.interval_error(*reliability.places(stated, mean.numpy(), std.numpy(), truth))

    return float(min(SPREADS, key=miss))


def _least(loss: Callable[[Tensor], Tensor], count: int) -> list[float]:
    """Where a smooth function of few numbers is least, from zeros."""
    values = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([values], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(values)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(closure)
    return [float(value) for value in values.detach()]
