"""Which GPUs `monster train` takes, on machines that have some: torch is asked, Ray is not started."""

import os
from types import SimpleNamespace

import pytest
import torch

from experiments import memory
from experiments.cli.train import _check_device
from experiments.errors import UsageError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (12e9, 24e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=sizes[number])
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_a_numbered_gpu_is_the_only_one_that_ray_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    _check_device("cuda", None, False)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    _check_device("cuda:1", None, False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    _check_device("cuda:1", None, False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "num_gpus", "said"),
    [
        ("cuda", 3, "--device cuda --num-gpus 3 was asked for, but torch sees 2 GPUs"),
        ("cuda:2", None, "--device cuda:2 was asked for, but torch sees 2 GPUs"),
        ("cuda:x", None, "--device cuda:x is not known"),
    ],
)
def test_gpus_that_are_not_there_are_refused(device: str, num_gpus: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _check_device(device, num_gpus, False)
    if device == "cuda":
        _check_device(device, num_gpus, True)  # the nodes of a cluster may have them


@pytest.mark.usefixtures("two_gpus")
def test_runs_may_use_eleven_twelfths_of_the_smallest_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.card_gb() == pytest.approx(11.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.card_gb() is None
