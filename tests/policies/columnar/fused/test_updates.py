"""The way without autograd gives the gradients, TD errors and figures of the way with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from policies.columnar.learner import ColumnarLearner
from policies.profiles import resolve_run
from policies.training import Trainer, build_trainer

pytestmark = pytest.mark.ray
ROWS = 96
ENVS = {
    "combat_dqn": "tests.policies.fake_env:bandit",
    "movement_ppo": "tests.policies.fake_env:bandit",
    "soft_actor_critic": "tests.policies.fake_env:continuous_counting",
}
SMALL = {
    "combat_dqn": {"num_envs": 4, "rollout_length": 8, "learning_starts": 40, "buffer_capacity": 800},
    "movement_ppo": {"num_envs": 4, "rollout_length": 8, "minibatch_size": 16},
    "soft_actor_critic": {"num_envs": 4, "rollout_length": 8, "learning_starts": 40, "buffer_capacity": 800},
}
MODELS = {
    "combat_dqn": {"hidden_dims": [16, 8]},
    "movement_ppo": {"shared_dims": [16], "actor_dims": [8], "critic_dims": [8]},
    "soft_actor_critic": {"hidden_dims": [16, 8]},
}
Build = Callable[..., ColumnarLearner]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[Trainer] = []

    def builder(model_type: str, model: dict[str, Any] | None = None, **training: Any) -> ColumnarLearner:
        run = resolve_run(
            model_type,
            {"factory": ENVS[model_type]},
            overrides={
                "model": {**MODELS[model_type], **(model or {})},
                "training": {**SMALL[model_type], **training},
            },
        )
        trainer = build_trainer(run)
        assert isinstance(trainer, Trainer) and trainer.algorithm.learner is not None
        made.append(trainer)
        learner = trainer.algorithm.learner
        # Heads start near zero, where nothing is clipped and every action is alike.
        random = torch.Generator().manual_seed(5)
        for flat in learner.flat:
            flat.vector.data.add_(0.3 * torch.randn(flat.vector.shape, generator=random))
        return learner

    yield builder
    for trainer in made:
        trainer.stop()


def both_ways(
    learner: ColumnarLearner, columns: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Check loss, TD errors and figures, and give both gradients."""
    assert learner._fused is not None
    torch.manual_seed(3)
    with torch.no_grad():
        fused = learner._fused(columns)
    mine = [flat.gradient.clone() for flat in learner.flat]
    torch.manual_seed(3)
    loss = learner._compute_gradient(columns)
    theirs = [flat.gradient.clone() for flat in learner.flat]
    assert float(fused.total) == pytest.approx(float(loss.total), rel=1e-4, abs=1e-6)
    figures = loss.figures()
    for name, value in fused.figures().items():
        # torch's variance divides by rows - 1 in both terms, so it cancels in the explained variance
        assert float(value) == pytest.approx(float(figures[name]), rel=1e-3, abs=1e-5), name
    assert fused.td_error is not None and loss.td_error is not None
    torch.testing.assert_close(fused.td_error.float(), loss.td_error.float(), rtol=1e-4, atol=1e-6)
    return mine, theirs


def transitions(learner: ColumnarLearner, actions: torch.Tensor) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    size = learner.net_module.observation_space.shape[0]
    return {
        "obs": torch.randn((ROWS, size), generator=random),
        "new_obs": torch.randn((ROWS, size), generator=random),
        "actions": actions,
        # Large ones too, so that both branches of the Huber loss are taken.
        "rewards": 2.0 * torch.randn(ROWS, generator=random),
        "terminateds": torch.rand(ROWS, generator=random) < 0.3,
        "n_step": torch.randint(1, 4, (ROWS,), generator=random).float(),
        "weights": torch.rand(ROWS, generator=random) + 0.1,
    }


def masks(actions: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(7)
    found = torch.rand((2, ROWS, actions), generator=random) < 0.5
    found[:, :, 3] = True
    return found[0], found[1]


@pytest.mark.parametrize("dueling", [True, False])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_dqn(build: Build, dueling: bool, double: bool, masked: bool) -> None:
    learner = build("combat_dqn", {"dueling": dueling}, double_q=double)
    columns = transitions(learner, torch.randint(0, 10, (ROWS,), generator=torch.Generator().manual_seed(1)))
    if masked:
        columns["action_mask"], columns["new_action_mask"] = masks(10)
    (mine,), (theirs,) = both_ways(learner, columns)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    assert float(theirs.abs().max()) > 1e-3


@pytest.mark.parametrize("kl_coeff", [0.0, 0.3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("shape", [{}, {"shared_dims": [], "activation": "relu"}])
def test_ppo(build: Build, kl_coeff: float, masked: bool, shape: dict[str, Any]) -> None:
    learner = build("movement_ppo", shape, kl_coeff=kl_coeff, value_clip=1.0, entropy_coeff=0.05)
    random = torch.Generator().manual_seed(2)
    logits = torch.randn((ROWS, 10), generator=random)
    mask = masks(10)[0]
    if masked:
        logits = logits.masked_fill(~mask, -1e4)
    actions = logits.argmax(dim=1)
    logp = torch.log_softmax(logits, dim=1)
    columns = {
        "obs": torch.randn((ROWS, 64), generator=random),
        "actions": actions,
        "action_logp": logp.gather(1, actions.unsqueeze(1)).squeeze(1),
        "advantages": torch.randn(ROWS, generator=random),
        "value_targets": torch.randn(ROWS, generator=random),
        **({"action_dist_inputs": logits} if kl_coeff else {}),
        **({"action_mask": mask} if masked else {}),
    }
    (mine,), (theirs,) = both_ways(learner, columns)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    # All cases of the clip occur in this batch: let through, and cut on either side.
    ratio = learner.losses(columns).figures()["clipped_share"]
    assert 0.1 < float(ratio) < 1.0


def test_sac(build: Build) -> None:
    learner = build("soft_actor_critic", {"initial_log_std": 1.9})
    size = learner.net_module.action_space.shape[0]
    random = torch.Generator().manual_seed(1)
    columns = transitions(learner, torch.rand((ROWS, size), generator=random) * 2.0 - 1.0)
    # Some standard deviations lie beyond their limits, where they get no gradient.
    with torch.no_grad():
        log_std = learner.net_module.net.actor.head(torch.relu(torch.zeros(1, 8)))[:, size:]
    assert float(log_std.max()) > 1.5
    mine, theirs = both_ways(learner, columns)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
        assert float(b.abs().max()) > 1e-4


def test_the_way_with_autograd_is_taken_where_the_other_does_not_fit(build: Build) -> None:
    assert build("combat_dqn", {"dropout": 0.1})._fused is None
    assert build("movement_ppo", accumulate=2)._fused is None
    assert build("movement_ppo")._fused is not None


def test_sums_of_td_errors_are_magnitudes(build: Build) -> None:
    learner = build("combat_dqn")
    columns = transitions(learner, torch.zeros(ROWS, dtype=torch.int64))
    loss = learner.update_columns(columns)
    assert loss.td_error is not None and bool((loss.td_error >= 0).all())
    assert np.isfinite(learner.take_figures()["td_error"])
