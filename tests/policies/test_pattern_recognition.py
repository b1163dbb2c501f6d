"""The pattern network: its layers at full size, masks, served form, gradient checkpointing, export."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from envs.configuration import ConfigError, load_dataclass, load_yaml
from envs.contracts.window import WINDOW_FEATURES
from policies.attention import EncoderBlock
from policies.pattern_recognition import STYLES, PatternRecognition, PatternRecognitionConfig, signs
from policies.profiles import CONFIG_FOLDER

TINY = PatternRecognitionConfig(d_model=16, heads=2, layers=2, feed_forward=24, decisions_per_token=5)


def profile(name: str) -> PatternRecognitionConfig:
    values = load_yaml(CONFIG_FOLDER / "pattern_recognition.yaml")[name]["model"]
    return load_dataclass(PatternRecognitionConfig, values, name)


def tiny(**changes: object) -> PatternRecognition:
    torch.manual_seed(0)
    return PatternRecognition(dataclasses.replace(TINY, **changes)).eval()  # type: ignore[arg-type]


def test_full_size_has_the_published_layers() -> None:
    with torch.device("meta"):
        network = PatternRecognition(profile("full"))
    blocks = network.encoder.blocks
    assert len(blocks) == 6
    for block in blocks:
        assert isinstance(block, EncoderBlock)
        assert block.heads == 16 and block.dropout == 0.1
        assert block.qkv.weight.shape == (3 * 512, 512) and block.project.weight.shape == (512, 512)
        assert block.up.weight.shape == (2048, 512) and block.down.weight.shape == (512, 2048)
    # one decision a token; a decision is 16 features, 8 signs, whether it is known, and 6 kinds
    assert network.decision.weight.shape == (512, 31)
    assert network.step.weight.shape == (512, 512) and network.place.shape == (50, 512)
    assert network.style.weight.shape == (6, 2 * 512)
    assert network.encoder.recompute


def test_parameters_by_hand() -> None:
    # decision 31 -> 32: 1,024; step 5 x 32 -> 16: 2,576; kind 6 -> 16: 112; place 10 x 16 = 160
    # a block: norms 2 x 32, qkv 16 x 48 + 48 = 816, project 272, up 16 x 24 + 24 = 408,
    #   down 24 x 16 + 16 = 400: 1,960; two of them and the last norm: 3,952
    # style 32 x 6 + 6 = 198; embed 32 x 32 + 32 = 1,056; temperature 1
    network = tiny()
    manifest = network.manifest()
    assert manifest["parameters"] == 1024 + 2576 + 112 + 160 + 3952 + 198 + 1056 + 1
    # the projection head, 2 x (32 x 32 + 32) = 2,112, is trained and not served; the temperature the
    # other way round
    assert manifest["parameters_trained"] == manifest["parameters"] - 1 + 2112
    assert manifest["styles"] == list(STYLES) and manifest["observation_version"] == "obs_v1"
    assert manifest["inputs"] == {
        "window": ["batch", 50, 16],
        "shown": ["batch", 50],
        "kind": ["batch", 6],
    }


def test_served_form_gives_calibrated_chances_and_a_unit_vector() -> None:
    network = tiny()
    inputs = network.example_inputs(5)
    style, embedding = network.inference_form()(*inputs)
    assert style.shape == (5, 6) and embedding.shape == (5, 32)
    torch.testing.assert_close(style.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(5))
    logits, _ = network(*inputs)
    network.temperature.fill_(2.0)
    torch.testing.assert_close(network.inference_form()(*inputs)[0], torch.softmax(logits / 2.0, dim=-1))


def test_what_was_not_shown_does_not_matter() -> None:
    network = tiny()
    window, shown, kind = network.example_inputs(4)
    shown[:, :23] = 0.0  # the third to fifth decision of the fifth token stays
    shown[:, 23:] = 1.0
    other = window.clone()
    other[:, :23] = 7.0
    for one, two in zip(network(window, shown, kind), network(other, shown, kind), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    other[:, 23] = 7.0
    assert not torch.equal(network(window, shown, kind)[0], network(other, shown, kind)[0])


def test_signs_by_hand() -> None:
    # It stepped 1 cell aside and 2 away from its nearest enemy, stands 3 cells beyond its reach, struck, and
    # is 8 cells from me.
    window = torch.zeros(1, 1, 16)
    named = {"dx": -8 / 16, "dy": 4 / 16, "moved_x": 1 / 4, "moved_y": -2 / 4, "approach": -2 / 4}
    for name, value in (named | {"acted": 0.5, "gap": 3 / 10}).items():
        window[0, 0, WINDOW_FEATURES.index(name)] = value
    torch.testing.assert_close(signs(window)[0, 0], torch.tensor([2.0, 0, 1, 1.5, 1, 1, 0, 2]))
    # In reach by 1 cell, 1 cell nearer, a skill.
    for name, value in {"approach": 1 / 4, "acted": 1.0, "gap": -1 / 10}.items():
        window[0, 0, WINDOW_FEATURES.index(name)] = value
    torch.testing.assert_close(signs(window)[0, 0], torch.tensor([2.0, 1, 0, -1.0, 0, 0, 1, 2]))


def test_what_a_whole_batch_lacks_is_skipped_in_training_only() -> None:
    network = tiny()
    window, shown, kind = network.example_inputs(4)
    shown[:] = (torch.arange(50) >= 32).float()
    evaluated = network(window, shown, kind)
    network.train()  # without dropout the mode makes no difference but the length
    lengths: list[int] = []
    network.encoder.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    for one, two in zip(network(window, shown, kind), evaluated, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    assert lengths == [1 + 4]  # decisions 30 to 49 in tokens of 5


def test_an_empty_window_leaves_the_kind_to_judge_by() -> None:
    network = tiny()
    window, shown, kind = torch.rand(2, 50, 16), torch.zeros(2, 50), torch.eye(6)[[0, 3]]
    logits, embedding = network(window, shown, kind)
    assert torch.isfinite(logits).all() and torch.isfinite(embedding).all()
    assert not torch.equal(logits[0], logits[1])


def test_rows_do_not_touch_each_other() -> None:
    network = tiny()
    window, shown, kind = network.example_inputs(6)
    alone = torch.cat([network(window[k : k + 1], shown[k : k + 1], kind[k : k + 1])[0] for k in range(6)])
    torch.testing.assert_close(network(window, shown, kind)[0], alone, rtol=1e-5, atol=1e-6)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    inputs = tiny().example_inputs(4)

    def gradients(recompute: bool) -> list[torch.Tensor]:
        network = tiny(recompute=recompute, dropout=0.1).train()
        torch.manual_seed(5)
        logits, embedding = network(*inputs)
        (logits.square().sum() + network.projection(embedding).sum()).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    plain, recomputed = gradients(False), gradients(True)
    assert len(plain) == len(list(tiny().parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_half_precision_on_the_way() -> None:
    network = tiny().train()
    with torch.autocast("cpu", torch.bfloat16):
        logits, embedding = network(*network.example_inputs(3))
    assert logits.dtype == torch.float32 and embedding.dtype == torch.float32
    logits.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


def test_projection_is_a_unit_vector_and_not_served() -> None:
    network = tiny()
    vectors = network.projection(network(*network.example_inputs(3))[1])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert not any("project.".startswith(prefix) for prefix in network.served_prefixes)


@pytest.mark.parametrize(("key", "value"), [("heads", 3), ("decisions_per_token", 4)])
def test_widths_that_do_not_divide_are_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=key):
        load_dataclass(PatternRecognitionConfig, {"d_model": 16, key: value}, "test")


def test_the_exported_form_equals_torch() -> None:
    torch.manual_seed(1)
    network = PatternRecognition(profile("demo"))
    network.temperature.fill_(1.3)
    form, signature = network.inference_form(), network.signature()
    examples = network.example_inputs(3)
    rows = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            form, examples, dynamo=True, opset_version=20, external_data=False, verbose=False,
            input_names=list(signature.input_names), output_names=list(signature.output_names),
            dynamic_shapes=tuple({0: rows} for _ in examples),
        )  # fmt: skip
    assert isinstance(form.network, nn.Module) and program is not None
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3, 64):
        inputs = network.example_inputs(batch)
        with torch.no_grad():
            wanted = form(*inputs)
        named = {name: value.numpy() for name, value in zip(signature.input_names, inputs, strict=True)}
        for got, want in zip(session.run(None, named), wanted, strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-5)
