"""The skill network: values by hand, the served form, export and what it says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from envs.configuration import ConfigError, load_dataclass
from envs.contracts.features import ALLY_0, ENEMY_0
from policies.inference import flops_per_decision
from policies.skill_dqn import ILLEGAL_Q, ROW_SIZE, SkillDQN, SkillDQNConfig

TINY = SkillDQNConfig(hidden_dims=(8,), embedding=2, slot_units=4, target_units=4, pair_units=4)


def network(config: SkillDQNConfig = TINY, *, lively: bool = True) -> SkillDQN:
    """Weights of a fixed seed; a lively one has last layers of the usual size."""
    torch.manual_seed(0)
    made = SkillDQN(config)
    if lively:
        with torch.no_grad():
            for layer in (made.query, made.base):
                layer.weight.normal_(std=0.5)
    return made.eval()


def flat(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A flat row per row of the inference form's inputs."""
    observation, skills, ids, _ = inputs
    return torch.cat((observation, ids.float(), skills.flatten(1)), dim=1)


def by_hand(net: SkillDQN, observation: Any, skills: Any, ids: Any) -> np.ndarray:
    """Q-values of one row, pair by pair, in float64."""
    w = {name: value.double().numpy() for name, value in net.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0))

    slots = [
        np.maximum(linear("slot_kind", w["embedding.weight"][kind]) + linear("slot_features", row), 0.0)
        for kind, row in zip(ids, skills, strict=True)
    ]
    hidden = np.concatenate([observation, np.mean(slots, axis=0)])
    for k in range(len(net.hidden)):
        hidden = np.maximum(linear(f"hidden.{k}", hidden), 0.0)
    parts = [linear("enemy", observation[ENEMY_0 + 6 * e : ENEMY_0 + 6 * e + 6]) for e in range(5)]
    parts.append(linear("self_part", observation[[0, 1, 8, 9, 10, 11, 12]]))
    parts += [linear("ally", observation[ALLY_0 + 3 * a : ALLY_0 + 3 * a + 3]) for a in range(4)]
    keys = [linear("key", np.maximum(part + w["place"][t], 0.0)) for t, part in enumerate(parts)]
    scores = np.zeros((7, 10))
    for s, slot in enumerate(slots):
        pair = np.maximum(linear("pair_state", hidden) + linear("pair_slot", slot), 0.0)
        for t, key in enumerate(keys):
            scores[s, t] = linear("query", pair) @ key / np.sqrt(len(key)) + linear("base", pair)[0]
    if not net.config.dueling:
        return scores.reshape(-1)
    return np.asarray(linear("value", hidden)[0] + scores - scores.mean()).reshape(-1)


@pytest.mark.parametrize("dueling", [True, False])
def test_values_are_those_of_the_formula(dueling: bool) -> None:
    net = network(dataclasses.replace(TINY, dueling=dueling, hidden_dims=(8, 6)))
    inputs = net.example_inputs(5)
    with torch.no_grad():
        q_values = net(flat(inputs)).numpy()
    expected = [
        by_hand(
            net, inputs[0][row].double().numpy(), inputs[1][row].double().numpy(), inputs[2][row].tolist()
        )
        for row in range(5)
    ]
    np.testing.assert_allclose(q_values, expected, atol=2e-6)
    assert np.std(q_values) > 0.05


def test_a_skill_is_worth_the_same_in_every_slot() -> None:
    net = network()
    observation, skills, ids, _ = net.example_inputs(3)
    order = torch.tensor([0, 4, 1, 6, 2, 3, 5])
    with torch.no_grad():
        q_values = net.values_of(observation, skills, ids, dropout=False).view(3, 7, 10)
        moved = net.values_of(observation, skills[:, order], ids[:, order], dropout=False).view(3, 7, 10)
    torch.testing.assert_close(moved, q_values[:, order], atol=1e-6, rtol=0)


def test_what_differs_between_enemies_is_seen_by_their_pointers() -> None:
    """Another number of enemy 2 moves its values against those of the others."""
    net = network()
    inputs = net.example_inputs(1)
    changed = inputs[0].clone()
    changed[0, ENEMY_0 + 12 : ENEMY_0 + 18] *= -1.0
    with torch.no_grad():
        one, two = (
            net.values_of(seen, inputs[1], inputs[2], dropout=False).view(7, 10)
            for seen in (inputs[0], changed)
        )
    gap = ((two - one) - (two - one)[:, :1]).abs().amax(dim=0)
    assert gap[2] > 0.02


def test_dueling_takes_the_mean_over_all_pairs_away() -> None:
    net = network()
    assert net.value is not None
    inputs = net.example_inputs(4)
    with torch.no_grad():
        before = net(flat(inputs))
        net.value.weight.zero_()
        net.value.bias.fill_(3.0)
        after = net(flat(inputs))
    torch.testing.assert_close(after.mean(dim=1), torch.full((4,), 3.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(after - 3.0, before - before.mean(dim=1, keepdim=True), atol=1e-5, rtol=0)


def test_ids_outside_of_the_vocabulary_count_as_the_nearest() -> None:
    net = network()
    observation, skills, ids, _ = net.example_inputs(2)
    with torch.no_grad():
        for wrong, right in ((99, 12), (-3, 0)):
            a, b = (
                net.values_of(observation, skills, torch.full_like(ids, kind), dropout=False)
                for kind in (wrong, right)
            )
            assert torch.equal(a, b)


def test_served_form_takes_the_best_legal_pair() -> None:
    net = network()
    inputs = net.example_inputs(64)
    mask = inputs[3]
    q_values, action = net.inference_form()(*inputs)
    assert q_values.shape == (64, 70) and q_values.dtype == torch.float32
    assert action.shape == (64,) and action.dtype == torch.int64
    raw = net(flat(inputs))
    assert torch.equal(q_values[mask > 0.5], raw[mask > 0.5])
    assert (q_values[mask < 0.5] == ILLEGAL_Q).all() and bool((mask < 0.5).any())
    best = [max(np.flatnonzero(m > 0.5), key=lambda a: q[a]) for q, m in zip(raw, mask, strict=True)]
    assert action.tolist() == best and len(set(best)) > 5


def test_dropout_works_in_training_only() -> None:
    net = network(dataclasses.replace(TINY, hidden_dims=(64, 64), dropout=0.5))
    inputs = net.example_inputs(8)
    rows = flat(inputs)
    net.train()
    assert not torch.equal(net(rows), net(rows))
    assert torch.equal(net.q_values(rows, dropout=False), net.eval()(rows))
    net.train()
    form = net.inference_form()
    assert torch.equal(form(*inputs)[0], form(*inputs)[0])


def test_every_weight_gets_a_gradient_and_the_start_is_near_zero() -> None:
    net = network(SkillDQNConfig(), lively=False)
    rows = flat(net.example_inputs(256))
    q_values = net(rows)
    assert float(q_values.detach().abs().max()) < 0.1
    (q_values * torch.randn_like(q_values)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


def test_manifest_by_hand() -> None:
    net = network()
    manifest = net.manifest()
    # embedding 13 x 2; slot 2 x 4 + 4 + 15 x 4; trunk (64 + 4) x 8 + 8; targets 6 x 4 + 4, 7 x 4 + 4,
    # 3 x 4 + 4; places 10 x 4; key 4 x 4 + 4; pair 8 x 4 + 4 + 4 x 4; query 4 x 4 + 4; base 4; value 8 + 1
    parameters = 26 + 72 + 552 + 28 + 32 + 16 + 40 + 20 + 52 + 20 + 4 + 9
    assert manifest["parameters"] == manifest["parameters_trained"] == parameters
    assert (manifest["model_type"], manifest["bytes"]) == ("skill_dqn", 4 * parameters)
    assert (manifest["observation_version"], manifest["action_version"]) == ("obs_v1", "skill_v1")
    # twice the products: slots 13 x 8 + 7 x 60, trunk 68 x 8, targets 5 x 24 + 28 + 4 x 12, keys 10 x 16,
    # pairs 32 + 7 x 16, queries 7 x 16, base 7 x 4, scores 70 x 4, value 8
    products = 104 + 420 + 544 + 196 + 160 + 144 + 112 + 28 + 280 + 8
    assert manifest["flops_per_decision"] == flops_per_decision(net) == 2 * products
    assert manifest["inputs"]["skills"] == ["batch", 7, 15] and manifest["config"]["hidden_dims"] == [8]


def test_signature_fits_the_example_inputs() -> None:
    net = network()
    ports, inputs = net.signature().inputs, net.example_inputs(3)
    assert [tuple(part.shape[1:]) for part in inputs] == [port.shape for port in ports]
    assert [str(part.dtype) for part in inputs] == [f"torch.{port.dtype}" for port in ports]


def test_onnx_agrees_with_torch_for_every_batch(tmp_path: Any) -> None:
    net = network()
    form, signature = net.inference_form(), net.signature()
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = tuple({0: batch} for _ in signature.inputs)
    program = torch.onnx.export(
        form, net.example_inputs(3), dynamo=True, dynamic_shapes=shapes, verbose=False,
        input_names=list(signature.input_names), output_names=list(signature.output_names),
    )  # fmt: skip
    assert program is not None
    program.save(tmp_path / "skill.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "skill.onnx")
    for rows in (1, 2, 33):
        inputs = net.example_inputs(rows)
        fed = {name: part.numpy() for name, part in zip(signature.input_names, inputs, strict=True)}
        q_values, action = session.run(None, fed)
        expected = form(*inputs)
        np.testing.assert_allclose(q_values, expected[0].detach().numpy(), atol=1e-5)
        assert action.tolist() == expected[1].tolist()


def test_row_size() -> None:
    # 64 numbers, 7 ids, 7 x 15 features
    assert ROW_SIZE == 176


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_dims": []}, "hidden_dims is empty"),
        ({"embedding": 0}, "embedding"),
        ({"dropout": 1.0}, "dropout"),
        ({"slot_unit": 8}, "slot_units"),
    ],
)
def test_bad_shapes_are_refused_in_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_dataclass(SkillDQNConfig, values, "model_params.yaml")
    assert str(caught.value).startswith("model_params.yaml") and "\n" not in str(caught.value)
