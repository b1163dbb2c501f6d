"""The threat mind: an ensemble's answers by hand, symmetry by construction, and the exported form."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.window import WINDOW_FEATURES
from envs.symmetries import ALLY_TO, ELEMENTS, ENEMY_TO, Symmetries
from policies.export import export_onnx
from policies.model_types import build_network
from policies.profiles import profile_values
from policies.threat_assessment import (
    QUESTIONS,
    TARGETS,
    Beliefs,
    MemberLinear,
    ThreatAssessment,
    ThreatAssessmentConfig,
)
from policies.threat_sight import InputScale, last_deeds

TINY = ThreatAssessmentConfig(members=3, hidden=16, aim=4, history=6, recent=3, deeds=4)


def network(config: ThreatAssessmentConfig = TINY, seed: int = 0) -> ThreatAssessment:
    torch.manual_seed(seed)
    return ThreatAssessment(config).eval()


def test_layers_of_the_full_profile() -> None:
    full = build_network("threat_assessment", profile_values("threat_assessment", "full")[0]["model"])
    layers = {name: tuple(m.weight.shape) for name, m in full.named_modules() if isinstance(m, MemberLinear)}
    # 22 own numbers; of an enemy 6, its kind 6, 10 decisions x (14 + 2 changes of our HP), how long ago 6
    # looks and when the last 2 deeds were, 12 deeds x 7
    assert layers == {
        "look": (5, 22 + 6 + 6 + 10 * 16 + 6 + 2 + 12 * 7, 384),
        "kind": (5, 6, 384),
        "think": (5, 384, 384),
        "aims": (5, 9, 64),
        "join": (5, 3 * 384 + 2 * 64, 384),
        "decide": (5, 384, 384),
        "say": (5, 384, 3 * 4 + 2 + 64),
        "match": (5, 64, 1),
        "weigh": (5, 2 * 384 + 22, 384),
        "die": (5, 384, 1),
    }
    assert sum(p.numel() for p in full.parameters()) == sum(
        math.prod(shape) + shape[0] * shape[2] for shape in layers.values()
    )


def test_more_deeds_than_history_are_refused() -> None:
    with pytest.raises(ValueError, match="deeds: 9 of a history of 5"):
        ThreatAssessment(ThreatAssessmentConfig(history=5, recent=2, deeds=9))


def test_member_linear_by_hand() -> None:
    layer = MemberLinear(2, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[1.0], [2.0]], [[-1.0], [3.0]]]))
        layer.bias.copy_(torch.tensor([10.0, 20.0]))
    # Shared row (1, 1): 1 + 2 + 10 = 13 and -1 + 3 + 20 = 22; of their own (2, 0) and (0, 2): 12 and 26.
    assert layer(torch.ones(1, 2)).flatten().tolist() == [13.0, 22.0]
    assert layer(torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])).flatten().tolist() == [12.0, 26.0]


def test_members_start_apart() -> None:
    made = network()
    for layer in (made.look, made.decide, made.say):
        assert not torch.equal(layer.weight[0], layer.weight[1])


def test_inputs_are_scaled_by_all_batches_so_far() -> None:
    scale = InputScale(2)
    batches = torch.randn(20, 30, 2) * torch.tensor([3.0, 0.0]) + torch.tensor([5.0, 7.0])
    for batch in batches:
        last = scale(batch)
    rows = batches.reshape(-1, 2)
    wanted = (batches[-1] - rows.mean(dim=0)) / (rows.var(dim=0, correction=0) + 0.01).sqrt()
    torch.testing.assert_close(last, wanted.clamp(-4.0, 4.0), rtol=1e-3, atol=1e-2)
    scale.eval()
    # What never varied counts 1 / sqrt(0.01) = 10 per unit, but 4 at most.
    assert scale(torch.tensor([[5.0, 7.2]]))[0, 1].item() == pytest.approx(2.0, abs=0.01)
    assert scale(torch.tensor([[-1000.0, 9.0]]))[0].tolist() == [-4.0, 4.0]
    assert scale.batches == 20.0, "nothing is counted while serving"


def test_deeds_by_hand() -> None:
    shown, wounds = torch.zeros(1, 8, 16), torch.zeros(1, 8, 2)
    shown[0, 2, [WINDOW_FEATURES.index(name) for name in ("acted", "casting")]] = 1.0
    shown[0, 6, WINDOW_FEATURES.index("acted")] = 0.5
    shown[0, 3, WINDOW_FEATURES.index("hp_change")] = 0.1
    wounds[0, 4] = torch.tensor([-0.2, -0.3])
    # Latest first: a blow 1 decision ago, a cast 5 ago with the enemy's HP up by 4 x 0.1 and ours down within
    # 3 decisions, and no third one. Then both again in units of 6 decisions.
    found = last_deeds(shown, wounds, 3)[0]
    assert found[:5].tolist() == pytest.approx([1 / 25, 5 / 25, 2.0, 1 / 6, 5 / 6])
    assert found[5:].view(3, 6).tolist() == [
        pytest.approx([0.5, 0.0, 0.0, 0.0, 0.0, 0.0]),
        pytest.approx([1.0, 1.0, 0.0, 0.4, -0.2, -0.3]),
        pytest.approx([0.0] * 6),
    ]


def two_members() -> Beliefs:
    """One enemy in slot 2. Member 1: half a chance of 2 tenths, spread 1; member 2 is sure of 3 tenths."""
    everything = torch.ones(2, 1, len(QUESTIONS))
    present = torch.zeros(1, 5)
    present[0, 2] = 1.0
    return Beliefs(
        hit=everything * torch.tensor([0.0, 60.0])[:, None, None],
        amount=everything * torch.tensor([2.0, 3.0])[:, None, None],
        spread=everything * torch.tensor([1.0, 0.0])[:, None, None],
        kill=torch.tensor([[0.0], [-60.0]]),
        target=torch.zeros(2, 1, len(TARGETS)),
        death=torch.tensor([[60.0], [-60.0]]),
        places=torch.tensor([2]),
        present=present,
    )


def test_law_of_total_variance_by_hand() -> None:
    answers = network().combine(two_members())
    # Means 0.5 x 2 = 1 and 3: their mean 2, their spread ((1 - 2)^2 + (3 - 2)^2) / 2 = 1.
    # Variances 0.5 x 4 + 0.5 x 0.5 x 4 = 3 and 0: their mean 1.5. All in tenths.
    assert answers["threat"][0, 2].tolist() == pytest.approx([0.2] * 4)
    assert answers["epistemic"][0, 2].tolist() == pytest.approx([0.1] * 4)
    assert answers["aleatoric"][0, 2].tolist() == pytest.approx([math.sqrt(1.5) / 10] * 4)
    assert answers["chance"][0, 2].tolist() == pytest.approx([0.75] * 4)
    assert answers["kill"][0].tolist() == pytest.approx([0.0, 0.0, 0.25, 0.0, 0.0])
    assert answers["death"].tolist() == pytest.approx([0.5])
    assert answers["death_epistemic"].tolist() == pytest.approx([0.5])
    assert answers["target"][0, 2].tolist() == pytest.approx([1 / 6] * 6)
    for name in ("threat", "aleatoric", "epistemic", "chance"):
        assert answers[name][0, [0, 1, 3, 4]].abs().max() == 0.0, "nobody lives there"
    assert answers["target"][0, 0].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_calibration_buffers_change_what_they_name() -> None:
    made = network()
    before = made.combine(two_members())
    made.spread_scale[0] = 4.0
    made.hit_shift[1] = 60.0
    made.kill_shift.fill_(60.0)
    after = made.combine(two_members())
    # Variance of member 1 becomes 0.5 x 4 x 4 + 0.5 x 0.5 x 4 = 9, the mean of both 4.5.
    assert after["aleatoric"][0, 2, 0].item() == pytest.approx(math.sqrt(4.5) / 10)
    assert after["threat"][0, 2].tolist() == pytest.approx([0.2, 0.25, 0.2, 0.2])
    # Member 2's logit of -60 + 60 is one half now.
    assert after["kill"][0, 2].item() == pytest.approx(0.75)
    assert torch.equal(before["death"], after["death"]) and torch.equal(before["target"], after["target"])


def test_leaving_out_the_dead_changes_nothing() -> None:
    made, inputs = network(), network().example_inputs(16)
    packed = made.combine(made.beliefs(*inputs, packed=True))
    dense = made.combine(made.beliefs(*inputs, packed=False))
    assert 0 < made.beliefs(*inputs, packed=True).hit.shape[1] < 16 * 5
    for name, value in packed.items():
        torch.testing.assert_close(value, dense[name], rtol=0, atol=1e-6)


def test_more_history_than_needed_is_left_out_and_less_is_refused() -> None:
    made = network()
    observation, opponents, kinds, health = made.example_inputs(4)
    longer = torch.cat((torch.rand(4, 5, 2, 16), opponents), dim=2)
    wounds = torch.cat((torch.rand(4, 2, 5), health), dim=1)
    with torch.no_grad():
        whole = made(observation, longer, kinds, wounds)
        assert torch.equal(whole.hit, made(observation, opponents, kinds, health).hit)
    with pytest.raises(ValueError, match="the network looks at 6"):
        made(observation, opponents[:, :, :5], kinds, health)


def changed(inputs: tuple[Tensor, ...], code: int) -> tuple[Tensor, ...]:
    """Inputs after an element of the group of `envs.symmetries` of five enemies and four allies."""
    observation, opponents, kinds, health = (value.clone() for value in inputs)
    group = Symmetries("combat", max_enemies=5, max_allies=4)
    group.apply(np.full(len(observation), code), {"obs": observation.numpy()})
    element, enemy_to, ally_to = code % 8, ENEMY_TO[code // 8 % 120], ALLY_TO[code // 960]
    for x in (0, 2):
        pair = opponents[..., [x + 1, x]] if element & 1 else opponents[..., [x, x + 1]]
        opponents[..., x] = -pair[..., 0] if element & 2 else pair[..., 0]
        opponents[..., x + 1] = -pair[..., 1] if element & 4 else pair[..., 1]
    back = torch.from_numpy(np.argsort(enemy_to))
    allies = torch.from_numpy(np.argsort(ally_to)) + 1
    return observation, opponents[:, back], kinds[:, back], health[:, :, [0, *allies.tolist()]]


@pytest.mark.parametrize("code", [*ELEMENTS, 8 * 77, 960 * 13, 960 * 22 + 8 * 101 + 5])
def test_turning_mirroring_and_renumbering_change_nothing_else(code: int) -> None:
    made = network()
    inputs = made.example_inputs(12)
    inputs[0][:, [ENEMY_0 + 2, ALLY_0 + 2]] = 0.5
    with torch.no_grad():
        answers = made.combine(made(*inputs))
        others = made.combine(made(*changed(inputs, code)))
    enemy_to = torch.from_numpy(ENEMY_TO[code // 8 % 120])
    ally_to = ALLY_TO[code // 960]
    for name in ("threat", "aleatoric", "epistemic", "chance", "kill"):
        torch.testing.assert_close(others[name][:, enemy_to], answers[name], rtol=0, atol=1e-5)
    aims = [0, *(1 + int(slot) for slot in ally_to), 5]
    torch.testing.assert_close(others["target"][:, enemy_to][..., aims], answers["target"], rtol=0, atol=1e-5)
    torch.testing.assert_close(others["death"], answers["death"], rtol=0, atol=1e-5)


def test_nobody_aims_at_the_dead() -> None:
    made, inputs = network(), network().example_inputs(32)
    answers = made.combine(made(*inputs))
    dead = inputs[0][:, ALLY_0 + 2 : ALLY_0 + 12 : 3] <= 0
    enemy = inputs[0][:, ENEMY_0 + 2 : ALLY_0 : 6] > 0
    chances = answers["target"][..., 1:5][enemy[..., None] & dead[:, None, :]]
    assert len(chances) > 50 and chances.max() < 1e-6
    torch.testing.assert_close(answers["target"].sum(dim=-1), torch.ones(32, 5))


def test_example_inputs_and_manifest_fit_the_signature() -> None:
    made = network()
    signature = made.signature()
    for port, value in zip(signature.inputs, made.example_inputs(3), strict=True):
        assert (3, *port.shape) == value.shape and value.dtype == torch.float32
    outputs = made.inference_form()(*made.example_inputs(3))
    for port, value in zip(signature.outputs, outputs, strict=True):
        assert (3, *port.shape) == value.shape and value.dtype == torch.float32
    manifest = made.manifest()
    # Hits and spread per question; kill and death; target; mean and deviation of each input.
    buffers = 3 * 4 + 2 * 2 + 1 + 2 * made.look.weight.shape[1]
    assert manifest["parameters"] == sum(p.numel() for p in made.parameters()) + buffers
    assert manifest["observation_version"] == "obs_v1" and manifest["flops_per_decision"] > 0


def test_chances_near_zero_export_too(tmp_path: Path) -> None:
    """A trained mind is sure of many enemies: a deviation is the root of a very small chance."""
    made = build_network("threat_assessment", profile_values("threat_assessment", "demo")[0]["model"]).eval()
    made.hit_shift.fill_(-14.0)
    names = made.signature().input_names
    recorded = {name: value.numpy() for name, value in zip(names, made.example_inputs(200), strict=True)}
    report = export_onnx(made, tmp_path, {}, recorded)
    assert report.fp32.agreement.relative_error < 1e-6


def test_the_exported_form_equals_torch() -> None:
    made = build_network("threat_assessment", profile_values("threat_assessment", "demo")[0]["model"])
    made.hit_scale.fill_(1.2)
    made.kill_shift.fill_(0.3)
    made.train()
    made(*made.example_inputs(32))  # the scale of the inputs
    form, signature = made.inference_form(), made.signature()
    examples = made.example_inputs(3)
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
        inputs = made.example_inputs(batch)
        with torch.no_grad():
            wanted = form(*inputs)
        named = {name: value.numpy() for name, value in zip(signature.input_names, inputs, strict=True)}
        for got, want in zip(session.run(None, named), wanted, strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-5)
