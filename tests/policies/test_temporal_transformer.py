"""The temporal mind: one step with a cache, whole fights and segment after segment are the same thing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from envs.configuration import ConfigError, load_dataclass, load_yaml
from envs.contracts.features import ALLY_0, ENEMY_0
from envs.perception.labels import DEEDS
from policies import inference
from policies.profiles import CONFIG_FOLDER
from policies.relative_attention import RelativeBlock
from policies.temporal_heads import ENEMIES, OTHERS, SIDE, TARGETS, Decision
from policies.temporal_transformer import TemporalTransformer, TemporalTransformerConfig

SMALL = TemporalTransformerConfig(width=16, layers=2, heads=2, hidden=24, segment=4, memory=6, head_units=8)


def network(config: TemporalTransformerConfig = SMALL, seed: int = 0) -> TemporalTransformer:
    """Weights of which none is zero, so that nothing hides."""
    torch.manual_seed(seed)
    made = TemporalTransformer(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def fight(rows: int, time: int, seed: int = 0) -> Decision:
    """Random decisions: one or two team mates, three enemies."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2.0 - 1.0

    token = uniform(rows, time, 80)
    hp = [0, *range(ENEMY_0 + 2, ENEMY_0 + 18, 6), ALLY_0 + 2]
    token[..., hp] = token[..., hp].abs()
    token[..., ALLY_0 + 3 : ALLY_0 + 12] = 0.0
    kinds = torch.zeros(rows, 1, OTHERS, 6)
    kinds[:, :, [0, 4, 5, 6], [1, 2, 3, 0]] = 1.0
    aims = torch.nn.functional.one_hot(
        torch.randint(0, TARGETS, (rows, time, ENEMIES), generator=generator), TARGETS
    )
    deeds = torch.nn.functional.one_hot(
        torch.randint(0, len(DEEDS), (rows, time, ENEMIES), generator=generator), len(DEEDS)
    )
    shown = uniform(rows, time, 5, 16)
    return Decision(token, shown, kinds.expand(-1, time, -1, -1), aims.float(), deeds.float())


def at(seen: Decision, when: int | slice) -> Decision:
    return Decision(*(part[:, when] for part in seen))


def stepped(made: TemporalTransformer, seen: Decision) -> tuple[Tensor, ...]:
    """Every decision by itself, with the cache carried along."""
    cache = made.empty_cache(len(seen.token))
    answers = []
    for when in range(seen.token.shape[1]):
        foresight, k, v, filled = made.step(at(seen, when), *cache)
        cache = (k, v, filled)
        answers.append(foresight)
    return tuple(torch.stack(parts, dim=1) for parts in zip(*answers, strict=True))


def close(found: Tensor, expected: Tensor) -> bool:
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


@torch.no_grad()
def test_a_step_with_a_cache_equals_the_whole_fight() -> None:
    made, seen = network().eval(), fight(3, 19)
    for found, expected in zip(stepped(made, seen), made(seen), strict=True):
        here = expected > -1e3
        assert found.shape == expected.shape
        assert close(found[here], expected[here])


@torch.no_grad()
def test_a_step_with_a_cache_equals_the_whole_fight_at_full_size() -> None:
    made, seen = network(full()).eval(), fight(1, 70)
    for found, expected in zip(stepped(made, seen), made(seen), strict=True):
        here = expected > -1e3
        assert close(found[here], expected[here])


@pytest.mark.parametrize("memory", [0, 2, 4, 6])
def test_all_segments_side_by_side_equal_one_after_another(memory: int) -> None:
    made, seen = network(dataclasses.replace(SMALL, memory=memory)), fight(2, 12)
    weights = [torch.randn(part.shape) for part in made(seen)]

    def gradients(answers: list[Tensor]) -> list[Tensor]:
        made.zero_grad()
        sum((a.clamp(min=-10.0) * w).sum() for a, w in zip(answers, weights, strict=True)).backward()  # type: ignore[union-attr]
        return [p.grad.clone() for p in made.parameters() if p.grad is not None]

    whole = list(made(seen))
    memories = [torch.zeros(2, memory, 16) for _ in range(2)]
    parts = []
    for start in range(0, 12, 4):
        answers, memories = made.segment(at(seen, slice(start, start + 4)), memories, min(start, memory))
        parts.append(answers)
    pieces = [torch.cat(some, dim=1) for some in zip(*parts, strict=True)]
    for found, expected in zip(whole, pieces, strict=True):
        assert close(found, expected)
    for found, expected in zip(gradients(whole), gradients(pieces), strict=True):
        assert close(found, expected)


def test_recomputing_gives_equal_gradients() -> None:
    seen, found = fight(2, 10), []
    for recompute in (False, True):
        made = network(dataclasses.replace(SMALL, recompute=recompute, dropout=0.1)).train()
        torch.manual_seed(3)
        answers = made(seen, torch.tensor([10, 5]))
        (answers.deed.square().sum() + answers.change.sum()).backward()
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 20
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


@torch.no_grad()
def test_every_decision_sees_exactly_its_memory_per_layer() -> None:
    made, seen = network(dataclasses.replace(SMALL, layers=1)).eval(), fight(1, 12)
    base = made(seen).deed[0]
    token = seen.token.clone()
    token[0, 2, 62] += 1.0  # the time, which the heads do not look at by themselves
    moved = (made(seen._replace(token=token)).deed[0] != base).flatten(1).any(dim=1)
    assert moved.tolist() == [2 <= when <= 2 + 6 for when in range(12)]
    shorter = (made(seen._replace(token=token), span=3).deed[0] != made(seen, span=3).deed[0]).flatten(1)
    assert shorter.any(dim=1).tolist() == [2 <= when <= 2 + 3 for when in range(12)]


@torch.no_grad()
def test_what_lies_behind_the_end_changes_nothing_and_answers_nothing() -> None:
    made, seen = network().eval(), fight(2, 11)
    length = torch.tensor([11, 3])
    answers = made(seen, length)
    assert close(answers.change[0], made(seen).change[0])
    assert close(answers.change[1, :3], made(seen).change[1, :3])
    assert not answers.change[1, 4:].any()


@torch.no_grad()
def test_span_of_the_whole_memory_is_no_limit() -> None:
    made, seen = network().eval(), fight(2, 11)
    assert torch.equal(made(seen, span=6).deed, made(seen).deed)
    assert not torch.equal(made(seen, span=5).deed, made(seen).deed)


@torch.no_grad()
def test_weights_are_shared_over_enemies() -> None:
    # Without what the transformer says, renumbered enemies get renumbered answers.
    made, seen = network().eval(), fight(2, 5)
    nn.init.zeros_(made.heads.recall.weight)
    nn.init.constant_(made.heads.recall.bias, 0.1)
    order = [2, 0, 1, 3, 4]
    token = seen.token.clone()
    enemies = token[..., ENEMY_0:ALLY_0].unflatten(-1, (5, 6))[..., order, :]
    token[..., ENEMY_0:ALLY_0] = enemies.flatten(-2)
    kinds = seen.kinds[..., [0, 1, 2, 3, *(4 + slot for slot in order)], :]
    other = Decision(
        token,
        seen.opponents[..., order, :],
        kinds,
        seen.aims[..., order, :],
        seen.deeds[..., order, :],
    )
    now, then = made(seen), made(other)
    assert close(then.deed, now.deed[:, :, order])
    assert close(then.target, now.target[:, :, order])
    assert close(then.change[..., SIDE:, :], now.change[..., [SIDE + slot for slot in order], :])
    assert not close(now.deed[:, :, 0], now.deed[:, :, 1])


@torch.no_grad()
def test_dead_team_mates_are_no_targets_and_answers_are_chances() -> None:
    made, seen = network().eval(), fight(2, 5)
    deed, target, hp = made.answers(made(seen), seen.token)
    assert torch.allclose(deed.sum(dim=-1), torch.ones(())) and bool((deed > 0).all())
    assert torch.allclose(target.sum(dim=-1), torch.ones(()))
    assert not target[..., 2:5].any() and bool((target[..., [0, 1, 5]] > 0).all())
    assert float(hp.min()) >= 0.0 and float(hp.max()) <= 1.0
    with torch.no_grad():
        made.heads.enemy_hp.weight.zero_()
        made.heads.enemy_hp.bias.zero_()
    still = made.answers(made(seen), seen.token)[2]
    assert torch.equal(still[..., SIDE, 0], seen.token[..., ENEMY_0 + 2])


@torch.no_grad()
def test_temperature_flattens_chances() -> None:
    made, seen = network().eval(), fight(1, 3)
    foresight = made(seen)
    made.deed_temperature.fill_(2.0)
    deed, _, _ = made.answers(foresight, seen.token)
    assert torch.allclose(deed, (foresight.deed / 2.0).softmax(dim=-1))


def full() -> TemporalTransformerConfig:
    blocks = load_yaml(CONFIG_FOLDER / "temporal_transformer.yaml")
    return load_dataclass(TemporalTransformerConfig, blocks["full"]["model"], "full")


def test_full_size_has_the_published_layers() -> None:
    config = full()
    made = TemporalTransformer(config)
    assert len(made.blocks) == 4
    assert (config.segment, config.memory) == (64, 64)
    for block in made.blocks:
        assert isinstance(block, RelativeBlock)
        assert block.heads == 8
        shapes = [
            (layer.in_features, layer.out_features)
            for layer in block.children()
            if isinstance(layer, nn.Linear)
        ]
        assert shapes == [(256, 256), (256, 512), (256, 256), (256, 256), (256, 1024), (1024, 256)]
        assert block.content_bias.shape == block.distance_bias.shape == (256,)
    assert made.sinusoid.shape == (65, 256)


def test_manifest_counts_what_is_served() -> None:
    made = network()
    about = made.manifest()
    parameters = sum(parameter.numel() for parameter in made.parameters())
    assert about["parameters"] == parameters + 2  # and the two temperatures
    assert about["bytes"] == 4 * (parameters + 2)
    assert about["flops_per_decision"] > 2 * made.embed.weight.numel()
    assert about["inputs"]["cache_k"] == ["batch", 2, 6, 16]
    assert about["state"] == [
        ["cache_k", "next_cache_k"],
        ["cache_v", "next_cache_v"],
        ["cache_filled", "next_cache_filled"],
    ]


def test_examples_fit_the_signature() -> None:
    made = network()
    form = made.inference_form()
    assert form.network is made and not form.training
    inputs, signature = made.example_inputs(3), made.signature()
    with torch.no_grad():
        outputs = form(*inputs)
    for port, value in zip(signature.inputs + signature.outputs, (*inputs, *outputs), strict=True):
        assert value.shape == (3, *port.shape) and value.dtype == torch.float32, port.name
    assert inputs[-1].tolist() == [6.0, 3.0, 0.0]
    assert outputs[-1].tolist() == [6.0, 4.0, 1.0]


def test_exported_step_says_the_same(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made = network()
    form, signature = made.inference_form(), made.signature()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        form,
        made.example_inputs(2),
        input_names=list(signature.input_names),
        output_names=list(signature.output_names),
        dynamic_shapes=[{0: batch} for _ in signature.inputs],
        dynamo=True,
        opset_version=20,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for rows in (1, 3, 64):
        inputs = inference.random_inputs(signature, rows, seed=rows)
        given = {name: value.numpy() for name, value in zip(signature.input_names, inputs, strict=True)}
        with torch.no_grad():
            expected = form(*inputs)
        for found, value in zip(session.run(None, given), expected, strict=True):
            scale = max(1.0, float(value.abs().max()))
            assert np.abs(found - value.numpy()).max() <= 1e-5 * scale


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 30, "heads": 4}, "width 30"),
        ({"memory": -1}, "memory"),
        ({"layer": 2}, "layer"),
    ],
)
def test_bad_shapes_are_refused_in_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_dataclass(TemporalTransformerConfig, values, "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("memory", "low", "high"), [(8, 0.0, 0.4), (5, math.log(4) - 0.05, 1.6)])
def test_it_learns_to_recall_what_lies_beyond_its_segment(memory: int, low: float, high: float) -> None:
    # One of four deeds, at random; asked is the one six decisions ago. Segments hold four.
    config = dataclasses.replace(SMALL, width=32, layers=1, hidden=32, memory=memory, head_units=16)
    torch.manual_seed(0)
    made, generator, losses = TemporalTransformer(config), torch.Generator().manual_seed(1), []
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(100):
        did = torch.randint(1, 5, (16, 24), generator=generator)
        blank = Decision(
            *(torch.zeros_like(part[:, :1]).expand(16, 24, *part.shape[2:]) for part in fight(1, 1))
        )
        deeds = nn.functional.one_hot(did, len(DEEDS)).float()[:, :, None].expand(-1, -1, ENEMIES, -1)
        logits = made(blank._replace(deeds=deeds)).deed[:, 6:, 0]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), did[:, :-6].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert low <= sum(losses[-10:]) / 10 <= high
