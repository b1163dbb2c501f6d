"""The spatial mind's task: where damage will fall, where enemies will stand, which cell to go to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from envs.configuration import Range, load_dataclass
from envs.contracts.grid import G_ENEMIES
from envs.perception.sights import Sights
from policies.perception.spatial_ceiling import ceiling
from policies.perception.spatial_rows import ELEMENTS, placed, spatial_rows, spread, turned
from policies.perception.task import Batch, Rows
from policies.settings import NotNegative
from policies.spatial_vit import MODEL_TYPE, NUM_STEPS, STAY

__all__ = ["SpatialSettings", "SpatialTask", "ceiling"]

LEARNED = ("fight", "grid", "damage", "occupancy", "best", "known")
"""Arrays that are learned from; the others belong to baselines and measures."""
LEAST = 1e-8
"""Damage and variances below this count as this."""
SURE = 1e-6
"""A chance below this, or above 1 - this, counts as this in a logarithm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpatialSettings:
    """Further settings of the task, `task` in `configs/spatial_vit.yaml`."""

    damage_weight: NotNegative = 1.0
    """Weight of the damage map's loss, in nats per bar of damage."""
    occupancy_weight: NotNegative = 1.0
    """Weight of the occupancy's loss, in nats per enemy."""
    step_weight: NotNegative = 0.5
    """Weight of the best cell's loss, in nats per decision."""
    grid_stride: Annotated[int, Range(minimum=1)] = 5
    """Decisions between two grids of a fight; the data's stride is a multiple of it."""


class SpatialTask:
    """See `policies.perception.task.PerceptionTask`; rows are those of `spatial_rows`.

    Args:
        **settings: Those of `SpatialSettings`.
    """

    model_type = MODEL_TYPE
    score = "score"

    def __init__(self, **settings: Any) -> None:
        self.settings = load_dataclass(SpatialSettings, settings, f"{MODEL_TYPE}: task")
        self.grid_stride = self.settings.grid_stride

    def rows(self, sights: Sights, *, stride: int) -> Rows:
        """See `policies.perception.spatial_rows.spatial_rows`.

        Raises:
            ValueError: a stride at which most decisions have no grid.
        """
        if stride % self.grid_stride:
            raise ValueError(f"stride {stride} is no multiple of grid_stride {self.grid_stride}")
        return spatial_rows(sights, stride=stride)

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Turned and mirrored about the unit, where that is exact, see `spatial_rows.turned`."""
        learned = {name: rows[name] for name in LEARNED}
        return turned(learned, rng.integers(0, ELEMENTS, len(rows["grid"])))

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        """Mean maps, damage and enemies per row, and how often each step is best.

        Returns:
            mean_damage, mean_occupancy float32 (y, x); mean_step float32 (49,), where several steps are best
            each has its share; damage_per_row, enemies_per_row float32 ().
        """
        known = rows["known"]
        damage = rows["damage"][known].mean(axis=0, dtype=np.float64)
        occupancy = rows["occupancy"].mean(axis=0, dtype=np.float64)
        best = rows["best"][known].reshape(-1, NUM_STEPS).astype(np.float64)
        steps = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
        return {
            "mean_damage": damage.astype(np.float32),
            "mean_occupancy": occupancy.astype(np.float32),
            "mean_step": steps.astype(np.float32),
            "damage_per_row": np.array(max(damage.sum(), LEAST), np.float32),
            "enemies_per_row": np.array(max(occupancy.sum(), LEAST), np.float32),
        }

    def loss(self, network: nn.Module, batch: Batch, fitted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Three losses, each summed over cells, so that the many empty ones do not drown the few others.

        Damage: negative log-likelihood of a Poisson variable but for its constant, m - y log m; like the
        squared error it is least at the mean, and it is not blind to small values. Occupancy: cross-entropy.
        Best cell: -log of the probability of all equally best steps together.

        Returns:
            loss, the weighted sum; damage_loss per bar of damage, occupancy_loss per enemy, step_loss.
        """
        mean, chance, steps = network(batch["grid"])
        known = batch["known"].float()
        count = known.sum().clamp_min(1.0)
        mean = mean.float().clamp_min(LEAST)
        damage = ((mean - batch["damage"] * mean.log()).sum(dim=(1, 2)) * known).sum() / count
        damage = damage / fitted["damage_per_row"]
        chance = chance.float().clamp(SURE, 1.0 - SURE)
        said = torch.where(batch["occupancy"] > 0, chance, 1.0 - chance)
        enemies = -said.log().sum(dim=(1, 2)).mean() / fitted["enemies_per_row"]
        best = batch["best"].flatten(1) > 0
        odds = torch.log_softmax(steps.float(), dim=1).masked_fill(~best, -torch.inf)
        step = -(torch.logsumexp(odds, dim=1) * known).sum() / count
        weights = self.settings
        total = weights.damage_weight * damage + weights.occupancy_weight * enemies
        total = total + weights.step_weight * step
        return {"loss": total, "damage_loss": damage, "occupancy_loss": enemies, "step_loss": step}

    def predict(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Maps (row, y, x) of damage and of chances of an enemy, and the step to go (row,)."""
        damage, occupancy, steps = network(batch["grid"])
        return {"damage": damage, "occupancy": occupancy, "step": steps.argmax(dim=1)}

    def calibrate(
        self, network: nn.Module, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Nothing is fitted: both maps are means by their losses."""
        return {}

    def errors(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Errors of what the answers hold.

        Returns:
            float64 (row,): damage and occupancy, squared errors summed over cells; damage_total, squared
            error of the sum; best_cell, 1 where the step is not among the best; fire, what the step brings
            beyond the best one, in own bars.
        """
        found = {}
        known = np.where(rows["known"], 1.0, np.nan)
        if "damage" in answers:
            apart = answers["damage"].astype(np.float64) - rows["damage"]
            found["damage"] = (apart**2).sum(axis=(1, 2)) * known
            found["damage_total"] = apart.sum(axis=(1, 2)) ** 2 * known
        if "occupancy" in answers:
            apart = answers["occupancy"].astype(np.float64) - rows["occupancy"]
            found["occupancy"] = (apart**2).sum(axis=(1, 2))
        if "step" in answers:
            row, step = np.arange(len(known)), answers["step"].astype(np.int64)
            best = rows["best"].reshape(len(known), -1)
            fire = rows["fire"].reshape(len(known), -1).astype(np.float64)
            found["best_cell"] = (1.0 - best[row, step]) * known
            found["fire"] = (fire[row, step] - fire[row, best.argmax(axis=1)]) * known
        return found

    def metrics(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Figures of one set.

        Returns:
            damage_explained and occupancy_explained, 1 - squared errors of all cells / variances of all
            cells; damage_total_explained, of the sums; best_cell_accuracy; fire_regret, in own bars; score,
            the mean of damage_explained, occupancy_explained and best_cell_accuracy.
        """
        errors = self.errors(answers, rows, fitted)
        means = {name: float(np.nanmean(values)) for name, values in errors.items()}
        damage = rows["damage"][rows["known"]]
        variances = {
            "damage": spread(damage),
            "damage_total": float(damage.sum(axis=(1, 2), dtype=np.float64).var()),
            "occupancy": spread(rows["occupancy"]),
        }
        explained = {f"{name}_explained": 1.0 - means[name] / max(v, LEAST) for name, v in variances.items()}
        accuracy = 1.0 - means["best_cell"]
        score = (explained["damage_explained"] + explained["occupancy_explained"] + accuracy) / 3.0
        return {**explained, "best_cell_accuracy": accuracy, "fire_regret": means["fire"], "score": score}

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """What is easily said.

        Returns:
            same_place: enemies stay where they are. last_2s: the team's damage of the last 2 s again, where
            it stands. reach: damage per second of every enemy in whose reach a member stands, there. stay:
            no step. prior: mean maps, and the step that is best most often among those to free cells.
        """
        count, size = len(rows["grid"]), rows["grid"].shape[-1]
        free = rows["fire"].reshape(count, -1) >= 0
        return {
            "same_place": {"occupancy": (rows["grid"][:, G_ENEMIES] > 0).astype(np.float32)},
            "last_2s": {"damage": placed(rows["team"], rows["recent"], size)},
            "reach": {"damage": placed(rows["team"], rows["reach"], size)},
            "stay": {"step": np.full(count, STAY)},
            "prior": {
                "damage": np.broadcast_to(fitted["mean_damage"], (count, size, size)),
                "occupancy": np.broadcast_to(fitted["mean_occupancy"], (count, size, size)),
                "step": np.where(free, fitted["mean_step"], -1.0).argmax(axis=1),
            },
        }
