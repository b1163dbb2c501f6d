"""All nine model types at once: the layers of the specification, both passes, export, and one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from envs.configuration import load_dataclass
from envs.contracts.vocabulary import MODEL_TYPES as NAMES
from experiments.recording import record_decisions
from policies.costs import FP16_BYTES, summed
from policies.export import export_onnx
from policies.inference import served_parameters
from policies.model_types import MODEL_TYPES, build_network
from policies.perception.compositions import FightPlan
from policies.perception.data import DataError, collect
from policies.perception.profiles import resolve_perception_run
from policies.perception.trainer import SupervisedTrainer
from policies.profiles import PROFILES, profile_values, resolve_run
from policies.training import Trainer, build_trainer

PERCEPTION = [name for name, kind in MODEL_TYPES.items() if kind.algorithm == "supervised"]
REINFORCED = [name for name in NAMES if name not in PERCEPTION]
SMALL_PLAN = {"fights": 40, "sizes": {"1v1": 1, "2v2": 1}}


def network_of(name: str, profile: str = "full", seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build_network(name, profile_values(name, profile)[0]["model"])


def linear_sizes(modules: Any) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in modules if isinstance(m, nn.Linear)]


def test_combat_dqn_is_the_specified() -> None:
    network = network_of("combat_dqn")
    hidden = [1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64]
    assert linear_sizes(network.hidden) == list(zip([64, *hidden], hidden, strict=False))
    assert network.config.dropout == 0.2 and network.config.num_actions == 10


def test_movement_ppo_is_the_specified() -> None:
    network = network_of("movement_ppo")
    shared = linear_sizes(network.shared)
    assert len(shared) == 6 and shared[0] == (64, 1024) and shared[-1][1] == 256
    assert len(linear_sizes(network.actor)) == 3 and len(linear_sizes(network.critic)) == 3
    assert network.policy_head.out_features == 9 and network.value_head.out_features == 1


def test_skill_dqn_embeds_skills_and_points_at_targets() -> None:
    network = network_of("skill_dqn")
    assert network.embedding.num_embeddings == 13, "eleven kinds of skills, the basic attack, and none"
    observation, skills, ids, mask = network.example_inputs(3)
    q_values, action = network.inference_form()(observation, skills, ids, mask)
    assert q_values.shape == (3, 70) and action.shape == (3,)
    # Another skill in a slot changes the values: what it is comes from the embedding.
    other = (ids + 1) % 13
    assert not torch.equal(network.inference_form()(observation, skills, other, mask)[0], q_values)


def test_threat_assessment_is_an_ensemble_of_five_or_more() -> None:
    assert network_of("threat_assessment").config.members >= 5


def test_team_coordination_is_the_specified() -> None:
    network = network_of("team_coordination")
    assert [(layer.inputs, layer.units) for layer in network.actor.layers] == [
        (70, 256),
        (256, 256),
        (256, 256),
    ]


def test_spatial_vit_is_vit_tiny() -> None:
    network = network_of("spatial_vit")
    blocks = network.encoder.blocks
    assert len(blocks) == 12 and all(block.heads == 3 for block in blocks)
    assert all((block.qkv.in_features, block.qkv.out_features) == (192, 576) for block in blocks)
    assert (network.config.patch, network.config.width, network.num_patches) == (8, 192, 16)


def test_temporal_transformer_has_four_layers_relative_positions_and_memory() -> None:
    network = network_of("temporal_transformer")
    assert len(network.blocks) == 4 and network.config.memory == 64
    assert all(hasattr(block, "distance") for block in network.blocks)
    assert not any("position" in name for name, _ in network.named_parameters()), "positions are relative"


def test_pattern_recognition_is_the_specified() -> None:
    network = network_of("pattern_recognition")
    blocks = network.encoder.blocks
    assert len(blocks) == 6 and all(block.heads == 16 for block in blocks)
    assert all(block.qkv.in_features == 512 and block.dropout == 0.1 for block in blocks)


def test_soft_actor_critic_is_the_specified() -> None:
    network = network_of("soft_actor_critic")
    assert linear_sizes(network.actor.hidden) == [(64, 256), (256, 256), (256, 256)]
    assert [tuple(weight.shape) for weight in network.critics.weights] == [
        (2, 69, 256),
        (2, 256, 256),
        (2, 256, 256),
        (2, 256, 1),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_full_network_runs_forward_and_backward(name: str) -> None:
    network = network_of(name)
    training_pass = getattr(network, "training_pass", None)
    if training_pass is not None:
        total = training_pass(2)
    else:
        total = summed(network.inference_form()(*network.example_inputs(2)))
    total.backward()
    gradients = [p.grad for key, p in network.named_parameters() if key in served_parameters(network)]
    reached = [g for g in gradients if g is not None]
    assert all(bool(torch.isfinite(g).all()) for g in reached)
    # What a learning pass reaches beside the outputs is a type's own business; most of it must be reached.
    assert len(reached) > 0.8 * len(gradients)


def test_54_full_models_fit_the_serving_budget_by_a_wide_margin() -> None:
    parameters = sum(sum(v.numel() for v in served_parameters(network_of(name)).values()) for name in NAMES)
    assert 6 * parameters * FP16_BYTES < 6e9 / 5


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", PERCEPTION)
def test_every_profile_of_a_perception_mind_resolves(name: str, profile: str) -> None:
    run = resolve_perception_run(name, "tank", profile=profile, learning_rate_factor=2.0, seed=3)
    assert run["seed"] == 3 and run["archetype"] == "tank"
    rate = profile_values(name, profile)[0]["training"]["learning_rate"]
    assert run["training"]["learning_rate"] == pytest.approx(2.0 * rate)


@pytest.mark.parametrize("name", NAMES)
def test_demo_networks_export_and_equal_torch(name: str, tmp_path: Path) -> None:
    network = network_of(name, "demo")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    recorded = record_decisions(network.eval(), "tank", seed=1, steps=200)
    assert all(len(values) == 200 for values in recorded.values())
    report = export_onnx(network, tmp_path, {"archetype": "tank"}, recorded)
    assert report.fp32.agreement.relative_error <= 1e-5
    assert report.fp16.bytes < 0.75 * report.fp32.bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.fp16.onnx", f"{name}.fp32.onnx"]


@pytest.fixture(scope="module")
def perception_rows() -> dict[str, Any]:
    """Few rows of each perception task, of one archetype."""
    found = {}
    for name in PERCEPTION:
        run = resolve_perception_run(name, "mage", overrides={"data": SMALL_PLAN})
        task = MODEL_TYPES[name].task_class()(**run["task"])
        plan = load_dataclass(FightPlan, run["data"], "plan")
        found[name] = (run, collect(task, "mage", plan, 0))
    return found


@pytest.mark.parametrize("name", PERCEPTION)
def test_same_seed_same_weights_of_perception_minds(name: str, perception_rows: dict[str, Any]) -> None:
    run, sets = perception_rows[name]

    def trained(seed: int) -> dict[str, torch.Tensor]:
        trainer = SupervisedTrainer({**run, "seed": seed}, sets=sets)
        trainer.train_epoch()
        return dict(trainer.model().state_dict())

    one, other, third = trained(0), trained(0), trained(1)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert any(not torch.equal(one[key], third[key]) for key in one)


@pytest.mark.parametrize("name", PERCEPTION)
def test_nan_in_the_rows_of_a_perception_mind_is_refused(name: str, perception_rows: dict[str, Any]) -> None:
    run, sets = perception_rows[name]
    key = next(key for key, values in sorted(sets["train"].items()) if values.dtype.kind == "f")
    harmed = sets["train"][key].copy()
    harmed[2].fill(np.nan)
    with pytest.raises(DataError, match=rf"train: row 2 \(fight \d+\) holds nan in '{key}'"):
        SupervisedTrainer(run, sets={**sets, "train": {**sets["train"], key: harmed}})


@pytest.mark.parametrize("name", REINFORCED)
def test_same_seed_same_weights_of_acting_minds(name: str) -> None:
    kind = MODEL_TYPES[name]
    env: dict[str, Any] = {"archetype": "mage"}
    if kind.head == "pack":
        env["factory"] = "policies.columnar.pack_rows:make"
    else:
        env["id"] = f"MLMonster/{str(kind.head).capitalize()}-v0"
    training: dict[str, Any] = {"epochs": 2, "num_envs": 8, "rollout_length": 16, "rounds_per_epoch": 2}
    if kind.algorithm in ("dqn", "sac"):
        training |= {"learning_starts": 64, "updates_per_round": 4, "batch_size": 32, "buffer_capacity": 4000}
    else:
        training |= {"minibatch_size": 64}
    training["warm_start_fights"] = 0

    def trained(seed: int) -> dict[str, torch.Tensor]:
        trainer = build_trainer(resolve_run(name, env, seed=seed, overrides={"training": training}))
        assert isinstance(trainer, Trainer)
        for _ in range(2):
            metrics = trainer.train_epoch()
        assert metrics["updates"] > 0
        weights = {key: value.clone() for key, value in trainer.model().state_dict().items()}
        trainer.stop()
        return weights

    one, other, third = trained(0), trained(0), trained(1)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert any(not torch.equal(one[key], third[key]) for key in one)
