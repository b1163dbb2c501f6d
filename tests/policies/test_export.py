"""Export: written files equal torch, equal weights give equal bytes, what does not match is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from envs.contracts import LOCAL_SIZE, PACK_ORDERS
from policies import export, graphs
from policies.combat_dqn import ILLEGAL_Q, CombatDQN, CombatDQNConfig
from policies.export import STARTS, ExportRefusedError, export_onnx
from policies.team import TeamActorCritic, TeamConfig

SMALL = CombatDQNConfig(hidden_dims=(128, 64))


def network(seed: int = 0) -> CombatDQN:
    """A network with values of some size, as after training."""
    torch.manual_seed(seed)
    model = CombatDQN(SMALL)
    with torch.no_grad():
        model.head.weight.mul_(100.0)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_()
    return model


def recorded(rows: int = 200) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    mask = random.random((rows, 10)) < 0.6
    mask[:, 0] = True
    return {"obs": random.uniform(-1, 1, (rows, 64)).astype(np.float32), "action_mask": mask}


def test_written_files_equal_torch(tmp_path: Path) -> None:
    model, steps = network(), recorded()
    report = export_onnx(model, tmp_path, {"archetype": "tank", "run": "r1"}, steps)
    assert report.batches == (1, 3, 64) and report.rows == 200
    with torch.no_grad():
        q_torch, action_torch = model.inference_form()(
            torch.from_numpy(steps["obs"]), torch.from_numpy(steps["action_mask"].astype(np.float32))
        )
    for file, tolerance in ((report.fp32, 1e-5), (report.fp16, 1e-2)):
        session = onnxruntime.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["obs", "action_mask"]
        assert [i.type for i in session.get_inputs()] == ["tensor(float)", "tensor(float)"]
        assert [o.type for o in session.get_outputs()] == ["tensor(float)", "tensor(int64)"]
        # A batch of 7, which the exporter itself does not try.
        q, action = session.run(
            ["q_values", "action"],
            {"obs": steps["obs"][:7], "action_mask": steps["action_mask"][:7].astype(np.float32)},
        )
        legal = steps["action_mask"][:7]
        assert np.abs(q - q_torch[:7].numpy())[legal].max() <= tolerance * max(
            1.0, float(q_torch.abs().max())
        )
        assert (q[~legal] == ILLEGAL_Q).all()
        assert action.tolist() == action_torch[:7].tolist()
        assert file.agreement.action_agreement >= 0.995
        assert file.bytes == file.path.stat().st_size
    assert report.fp16.bytes < 0.65 * report.fp32.bytes
    assert report.fp32.agreement.max_abs_error < report.fp16.agreement.max_abs_error


def counting_pack(seed: int = 0) -> TeamActorCritic:
    """A pack whose cells count up, as those of trained packs do: gates that keep all and let much in."""
    torch.manual_seed(seed)
    model = TeamActorCritic(TeamConfig(layers=2, units=32, critic_dims=(8,)))
    with torch.no_grad():
        layer: Any  # torch says of an entry of a list of modules only that it is one
        for layer in model.actor.layers:
            layer.weight.mul_(3.0)
            layer.bias[:32] += 2.0  # the input gate
            layer.bias[32:64] += 6.0  # the forget gate
    return model.eval()


def steps_of_fights(length: int, rows: int = 600) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    mask = random.random((rows, len(PACK_ORDERS))) < 0.6
    mask[:, 0] = True
    return {
        "local": random.uniform(-1, 1, (rows, LOCAL_SIZE)).astype(np.float32),
        "action_mask": mask,
        STARTS: np.arange(rows) % length == 0,
    }


def test_a_state_is_judged_step_by_step_and_answers_over_whole_fights(tmp_path: Path) -> None:
    model, steps = counting_pack(), steps_of_fights(100)
    report = export_onnx(model, tmp_path, {}, steps)
    assert report.fp32.agreement.relative_error <= 1e-5
    assert report.fp16.agreement.action_agreement >= 0.995


def test_a_fight_begins_without_the_state_of_the_one_before(tmp_path: Path) -> None:
    model, steps = counting_pack(), steps_of_fights(100)
    seen: list[np.ndarray[Any, Any]] = []

    def step(inputs: Any) -> list[np.ndarray[Any, Any]]:
        seen.append(inputs["state_c"].copy())
        with torch.no_grad():
            given = [torch.from_numpy(inputs[name].astype(np.float32)) for name in signature.input_names]
            return [output.numpy() for output in model.inference_form()(*given)]

    signature = model.signature()
    export._walk(signature, step, steps, 2)  # two stretches of 300 rows, three fights each
    zero = [bool((values == 0.0).all()) for values in seen]
    assert [time for time, none in enumerate(zero) if none] == [0, 100, 200]


def test_a_file_that_carries_another_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(model: TeamActorCritic) -> Any:
        wrong = copy.deepcopy(model)
        with torch.no_grad():
            # What the first layer makes of its own last output, and of nothing else.
            first: Any = wrong.actor.layers[0]
            first.weight[:, LOCAL_SIZE:] += 1e-3
        return graphs.fp32_graph(wrong)

    monkeypatch.setattr(export, "fp32_graph", other)
    with pytest.raises(ExportRefusedError, match="differs from torch"):
        export_onnx(counting_pack(), tmp_path, {}, steps_of_fights(100))


def test_metadata_is_complete_and_free_of_machine_paths(tmp_path: Path) -> None:
    report = export_onnx(network(), tmp_path, {"archetype": "tank"}, recorded())
    for file, precision in ((report.fp32, "fp32"), (report.fp16, "fp16")):
        metadata = {entry.key: entry.value for entry in onnx.load(file.path).metadata_props}
        assert metadata["archetype"] == "tank" and metadata["precision"] == precision
        assert metadata["observation_version"] == "obs_v1" and metadata["action_version"] == "combat_v1"
        assert len(metadata["weights_sha256"]) == 64
        assert b".py" not in file.path.read_bytes()


def test_equal_weights_give_equal_bytes_and_other_weights_do_not(tmp_path: Path) -> None:
    first = export_onnx(network(), tmp_path / "a", {}, recorded())
    graphs.forget_traces()
    again = export_onnx(network(), tmp_path / "b", {}, recorded())
    other = export_onnx(network(seed=1), tmp_path / "c", {}, recorded())
    assert (first.fp32.sha256, first.fp16.sha256) == (again.fp32.sha256, again.fp16.sha256)
    assert first.fp32.sha256 != other.fp32.sha256 and first.fp16.sha256 != other.fp16.sha256


def test_zero_and_equal_biases_keep_their_place(tmp_path: Path) -> None:
    """A freshly made network has zero biases, which the exporter folds away when it can."""
    report = export_onnx(CombatDQN(SMALL), tmp_path, {}, recorded())
    names = {initializer.name for initializer in onnx.load(report.fp32.path).graph.initializer}
    assert {"network.hidden.0.bias", "network.hidden.1.bias", "network.head.bias"} <= names


def test_export_leaves_model_and_random_state_alone(tmp_path: Path) -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graphs.forget_traces()
    state = torch.get_rng_state()
    export_onnx(model, tmp_path, {}, recorded())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_wrong_file_is_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = export.fp32_graph

    def shifted(model: CombatDQN) -> onnx.ModelProto:
        wrong = CombatDQN(SMALL)
        wrong.load_state_dict(model.state_dict())
        with torch.no_grad():
            wrong.head.bias[0] += 0.01
        return real(wrong)

    monkeypatch.setattr(export, "fp32_graph", shifted)
    with pytest.raises(
        ExportRefusedError, match=r"fp32: the written file differs from torch by .* 'q_values'"
    ):
        export_onnx(network(), tmp_path, {}, recorded())
    assert list(tmp_path.iterdir()) == []


def test_wrong_action_is_refused(tmp_path: Path) -> None:
    """Two actions that read two hidden units which float16 cannot tell apart."""
    model, steps = network(), recorded()
    last: Any = model.hidden[-1]
    with torch.no_grad():
        noise = torch.randn(last.in_features, generator=torch.Generator().manual_seed(1))
        last.weight[1] = last.weight[0] + 1e-6 * noise
        last.bias[:2] = 20.0
        model.head.weight.zero_()
        model.head.bias.fill_(-1.0)
        model.head.weight[2, 0] = model.head.weight[3, 1] = 1.0  # actions 1 and 2; row 0 is the state value
    steps["action_mask"][:] = True
    with pytest.raises(ExportRefusedError, match=r"fp16: .*train longer"):
        export_onnx(model, tmp_path, {}, steps)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.hidden[0].weight.mul_(1e6)  # type: ignore[operator]
    with pytest.raises(ExportRefusedError, match="fp16"):
        export_onnx(model, tmp_path, {}, recorded())


def test_too_few_or_misshapen_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportRefusedError, match="at least 200"):
        export_onnx(network(), tmp_path, {}, recorded(199))
    steps = recorded()
    with pytest.raises(ValueError, match=r"obs \(200, 63\) does not fit the network; give \(row, 64\)"):
        export_onnx(network(), tmp_path, {}, {**steps, "obs": steps["obs"][:, :63]})
    assert list(tmp_path.iterdir()) == []
