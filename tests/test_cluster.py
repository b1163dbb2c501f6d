"""`cluster.yaml` is what `ray up` accepts, and fits the versions and the wheel of this project."""

from __future__ import annotations

import copy
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


FILES = ("cluster.yaml", "cluster-on-premise.yaml")


def completed(name: str) -> dict[str, Any]:
    """A file as Ray completes it before it starts anything."""
    from ray.autoscaler._private.util import prepare_config

    return dict(prepare_config(yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The file as written."""
    return dict(yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    """The file as Ray completes it before it starts anything."""
    from ray.autoscaler._private.util import prepare_config

    return dict(prepare_config(copy.deepcopy(cluster)))


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_it(name: str) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(completed(name))


@pytest.mark.parametrize("name", FILES)
def test_what_the_service_needs_is_set_before_ray_starts(name: str, tmp_path: Path) -> None:
    from serve.haproxy import haproxy_environment

    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        *_, start = completed(name)[kind]
        variables = start[: start.index("ray start")]
        for variable in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED"):
            assert f"{variable}={haproxy_environment(tmp_path)[variable]}" in variables, kind


def test_the_two_files_differ_in_what_concerns_the_machines_only() -> None:
    cloud, own = (completed(name) for name in FILES)
    assert own["file_mounts"] == cloud["file_mounts"]
    assert own["setup_commands"] == cloud["head_setup_commands"] == cloud["worker_setup_commands"]
    assert own["worker_start_ray_commands"] == cloud["worker_start_ray_commands"]
    assert own["docker"]["image"] == cloud["docker"]["image"]
    assert own["max_workers"] == len(own["provider"]["worker_ips"])


def planned(cluster: dict[str, Any], demand: list[dict[str, Any]]) -> dict[str, int]:
    """Nodes that Ray's autoscaler would start for a demand while only the head runs."""
    from ray.autoscaler._private import resource_demand_scheduler as scheduler
    from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary

    scorer = partial(
        scheduler._default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({})
    )
    kinds = cluster["available_node_types"]
    nodes, _ = scheduler.get_nodes_for(kinds, {"head": 1}, "head", cluster["max_workers"], demand, scorer)
    return dict(nodes)


def test_the_demand_of_54_runs_starts_gpu_workers(prepared: dict[str, Any]) -> None:
    # A quarter of a GPU each: 13.5 GPUs are wanted, 4 workers are allowed.
    assert planned(prepared, [{"CPU": 1.0, "GPU": 0.25}] * 54) == {"gpu_worker": 4}
    # Eight runs at a time fill two GPUs.
    assert planned(prepared, [{"CPU": 1.0, "GPU": 0.25}] * 8) == {"gpu_worker": 2}
    # Runs without a GPU start CPU workers of 16 CPUs, no GPU ones.
    assert planned(prepared, [{"CPU": 1.0}] * 32) == {"cpu_worker": 2}
    assert planned(prepared, []) == {}


def test_ray_refuses_a_mistyped_key(prepared: dict[str, Any]) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(ValidationError, match="max_wrokers"):
        validate_config({**prepared, "max_wrokers": 3})


def test_workers_come_and_go_and_only_gpu_workers_have_gpus(prepared: dict[str, Any]) -> None:
    kinds = prepared["available_node_types"]
    assert prepared["head_node_type"] == "head"
    # No trial may land on the head: it runs the driver and the registry's one writer.
    assert kinds["head"]["resources"] == {"CPU": 0}
    workers = {name: kind for name, kind in kinds.items() if name != "head"}
    assert {name: kind["resources"].get("GPU", 0) for name, kind in workers.items()} == {
        "cpu_worker": 0,
        "gpu_worker": 1,
    }
    assert all(kind["min_workers"] == 0 < kind["max_workers"] for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) <= prepared["max_workers"]


def test_every_node_checks_and_installs_the_wheel(prepared: dict[str, Any]) -> None:
    assert prepared["file_mounts"] == {"~/ml-monster": "./dist"}
    commands = {
        "head": prepared["head_setup_commands"],
        "cpu": prepared["worker_setup_commands"],
        "gpu": prepared["available_node_types"]["gpu_worker"]["worker_setup_commands"],
    }
    for node, lines in commands.items():
        assert "sha256sum --check" in lines[0], node
        extra = "gpu" if node == "gpu" else "cpu"
        assert f'--constraint constraints.txt "$(ls ./ml_monster-*.whl)[{extra}]"' in lines[1], node


def test_images_hold_the_pinned_ray(cluster: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    version = re.search(r"^ray==(.+)$", pins, re.MULTILINE)
    assert version is not None
    images = [
        cluster["docker"]["image"],
        cluster["available_node_types"]["gpu_worker"]["docker"]["worker_image"],
    ]
    assert [image.split(":")[1].split("-")[0] for image in images] == [version.group(1)] * 2


def test_nothing_listens_beyond_the_cluster(cluster: dict[str, Any]) -> None:
    assert any("--dashboard-host=127.0.0.1" in line for line in cluster["head_start_ray_commands"])
