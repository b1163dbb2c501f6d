"""Settings of a supervised run; the values stand in `policies/configs/<model type>.yaml`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from envs.configuration import Range
from policies.perception.compositions import FightPlan
from policies.settings import Count, NotNegative, Positive, Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedTrainingConfig:
    """How a perception mind learns."""

    epochs: Count
    """Passes over the training rows at most; each is one report to Tune."""
    learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Largest step size of AdamW."""
    warmup_share: Share = 0.05
    """Share of all steps in which the rate rises linearly from 0."""
    learning_rate_final_share: Share = 0.02
    """Share of the rate that is left at the end of a half cosine (Loshchilov & Hutter 2017)."""
    batch_size: Count
    """Rows per step."""
    accumulate: Count = 1
    """Parts that a batch is cut into; their gradients are added before the step."""
    weight_decay: NotNegative = 1e-4
    """Decoupled weight decay of matrices; never of biases and norms."""
    grad_clip: Positive = 1.0
    """Largest global norm of the gradient."""
    patience: Count = 5
    """Epochs without a better score on validation after which training stops."""
    augment: bool = True
    """Change each batch in ways that the world allows."""
    checkpoint_steps: Count = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: Count = 5
    """Checkpoints kept, the newest ones."""
    prefetch: Annotated[int, Range(minimum=0)] = 2
    """Batches prepared ahead by another thread; 0 prepares them in between."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedRun:
    """One supervised run, fully resolved; `policies.perception.trainer.SupervisedTrainer` takes it."""

    model_type: str
    """Which perception mind."""
    archetype: str
    """Whose eyes."""
    model: dict[str, Any]
    """Shape of the network, the plain form of its configuration."""
    data: FightPlan
    """What is recorded."""
    training: SupervisedTrainingConfig
    """How it learns."""
    task: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further settings of the task, such as weights of its losses."""
    data_folder: str | None = None
    """Stored rows (`policies.perception.data`) in place of newly played fights."""
    seed: Annotated[int, Range(minimum=0, below=2**31)] = 0
    """Decides weights, fights, order and augmentation."""
    device: str = "cpu"
    """Where torch works: cpu, cuda or cuda:N."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of forward and backward passes; weights and optimizer stay fp32."""
    algorithm: Literal["supervised"] = "supervised"
