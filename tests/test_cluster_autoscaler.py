"""Ray's own autoscaler, fed with `cluster.yaml`: workers start with demand and stop when idle.

The control loop is the one that runs on the head; only the cloud is a list of nodes here, and what the nodes
report (demand, how long each is idle) is written into the autoscaler's metrics. Nothing is started.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private.gcs_utils import PlacementGroupTableData
from ray.autoscaler._private.autoscaler import StandardAutoscaler
from ray.autoscaler._private.load_metrics import LoadMetrics
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

ROOT = Path(__file__).resolve().parent.parent

GPU_RUN = {"CPU": 1.0, "GPU": 0.25}
CPU_RUN = {"CPU": 1.0}


class ListedNodes(NodeProvider):
    """A cloud whose nodes are a list: each is there at once, and gone at once."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self.nodes: dict[str, dict[str, str]] = {
            "10.0.0.1": {
                TAG_RAY_NODE_KIND: NODE_KIND_HEAD,
                TAG_RAY_USER_NODE_TYPE: "head",
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
        }
        self.created = 0

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        return [node for node, tags in self.nodes.items() if tag_filters.items() <= tags.items()]

    def is_running(self, node_id: str) -> bool:
        return node_id in self.nodes

    def is_terminated(self, node_id: str) -> bool:
        return node_id not in self.nodes

    def node_tags(self, node_id: str) -> dict[str, str]:
        return self.nodes[node_id]

    def internal_ip(self, node_id: str) -> str:
        return node_id

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> None:
        for _ in range(count):
            self.created += 1
            self.nodes[f"10.0.1.{self.created}"] = {**tags, TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}

    def terminate_node(self, node_id: str) -> None:
        del self.nodes[node_id]


class Drained:
    """The part of Ray's control service that the autoscaler asks to empty a node."""

    def drain_nodes(self, node_ids: set[bytes], timeout: int) -> set[bytes]:
        return node_ids


class Simulated:
    """The autoscaler of one cluster file, and what its nodes report."""

    def __init__(self, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """Takes a file as Ray completes it; its cloud is replaced, so that nothing is reached or set up."""
        self.config = copy.deepcopy(config)
        self.config["provider"] |= {"disable_node_updaters": True, "foreground_node_launch": True}
        self.config["file_mounts"] = {}
        self.provider = ListedNodes(self.config["provider"], self.config["cluster_name"])
        monkeypatch.setattr(
            "ray.autoscaler._private.autoscaler._get_node_provider", lambda *arguments: self.provider
        )
        self.metrics = LoadMetrics()
        self.autoscaler = StandardAutoscaler(
            lambda: self.config, self.metrics, Drained(), max_failures=0, update_interval_s=0
        )

    def workers(self) -> dict[str, int]:
        """Living workers by kind."""
        kinds = Counter(tags[TAG_RAY_USER_NODE_TYPE] for tags in self.provider.nodes.values())
        del kinds["head"]
        return dict(kinds)

    def round(
        self,
        waiting: list[dict[str, float]] | None = None,
        idle: Callable[[str], float] = lambda kind: 0.0,
    ) -> dict[str, int]:
        """One round of the control loop.

        Args:
            waiting: What each waiting run asks for; a run is a placement group, as Tune asks for it.
            idle: Minutes for which a node of a kind has had nothing to do; 0 means that it is full.

        Returns:
            Living workers by kind after the round.
        """
        runs = [
            PlacementGroupTableData(
                placement_group_id=bytes([place]) * 18,
                state=PlacementGroupTableData.PENDING,
                bundles=[{"unit_resources": run}],
            )
            for place, run in enumerate(waiting or [])
        ]
        for address, tags in self.provider.nodes.items():
            kind = tags[TAG_RAY_USER_NODE_TYPE]
            resources = self.config["available_node_types"][kind]["resources"]
            minutes = idle(kind)
            self.metrics.update(
                ip=address,
                node_id=address.encode(),
                static_resources=resources,
                dynamic_resources=resources if minutes else {},
                node_idle_duration_s=60.0 * minutes,
                pending_placement_groups=runs,
            )
        self.autoscaler.update()
        return self.workers()


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """The file as Ray completes it before it starts anything."""
    return dict(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))))


@pytest.fixture
def cluster(prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """The cluster of `cluster.yaml` of which only the head runs."""
    return Simulated(prepared, monkeypatch)


def test_a_cluster_without_demand_has_its_head_only(cluster: Simulated) -> None:
    assert cluster.round() == cluster.round() == {}
    assert list(cluster.provider.nodes) == ["10.0.0.1"]


def test_54_runs_start_all_gpu_workers_that_are_allowed_and_not_one_more(cluster: Simulated) -> None:
    # 13.5 GPUs are wanted, four workers allowed: 16 runs find a place, 38 wait for one of theirs.
    assert cluster.round([GPU_RUN] * 54) == {"gpu_worker": 4}
    assert cluster.round([GPU_RUN] * 38) == {"gpu_worker": 4}


def test_gpu_workers_start_by_as_many_as_the_waiting_runs_fill(cluster: Simulated) -> None:
    assert cluster.round([GPU_RUN] * 4) == {"gpu_worker": 1}
    # They are taken: what still waits fills two more.
    assert cluster.round([GPU_RUN] * 5) == {"gpu_worker": 3}
    # Free places are used before a worker is started.
    assert cluster.round([GPU_RUN] * 4, idle=lambda kind: 1.0) == {"gpu_worker": 3}


def test_runs_without_a_gpu_start_cpu_workers_only(cluster: Simulated) -> None:
    assert cluster.round([CPU_RUN] * 17) == {"cpu_worker": 2}
    assert cluster.round([CPU_RUN] * 32) == {"cpu_worker": 4}


def test_runs_without_a_gpu_go_to_gpu_workers_when_all_cpu_workers_are_taken(cluster: Simulated) -> None:
    # Four CPU workers have 64 places.
    assert cluster.round([CPU_RUN] * 64) == {"cpu_worker": 4}
    assert cluster.round([CPU_RUN] * 9) == {"cpu_worker": 4, "gpu_worker": 2}


def test_runs_of_every_share_fill_a_gpu_worker_before_the_next_starts(cluster: Simulated) -> None:
    # The four classes that runs are packed in. A worker has as many CPUs as the smallest share has places.
    shares = [1.0] + [0.5] * 2 + [0.25] * 4 + [0.125] * 8
    assert cluster.round([{"CPU": 1.0, "GPU": share} for share in shares]) == {"gpu_worker": 4}
    assert cluster.round(idle=lambda kind: 11.0) == {}
    assert cluster.round([{"CPU": 1.0, "GPU": 0.125}] * 16) == {"gpu_worker": 2}


def test_an_idle_worker_is_stopped_after_the_timeout_and_not_before(cluster: Simulated) -> None:
    timeout = cluster.config["idle_timeout_minutes"]
    assert timeout == 10
    cluster.round([GPU_RUN] * 54)
    assert cluster.round(idle=lambda kind: timeout - 0.1) == {"gpu_worker": 4}
    assert cluster.round(idle=lambda kind: timeout + 0.1) == {}
    assert list(cluster.provider.nodes) == ["10.0.0.1"], "the head is never stopped, however idle"
    # Demand that comes back finds workers again.
    assert cluster.round([GPU_RUN] * 8) == {"gpu_worker": 2}


def test_idle_gpu_workers_go_while_cpu_workers_work(cluster: Simulated) -> None:
    cluster.round([GPU_RUN] * 8)
    assert cluster.round([CPU_RUN] * 32) == {"gpu_worker": 2, "cpu_worker": 2}
    idle = {"gpu_worker": 11.0, "cpu_worker": 0.0, "head": 11.0}
    assert cluster.round(idle=idle.__getitem__) == {"cpu_worker": 2}


def test_workers_that_are_always_wanted_start_without_demand_and_stay_idle(
    prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = copy.deepcopy(prepared)
    wanted["available_node_types"]["gpu_worker"]["min_workers"] = 1
    cluster = Simulated(wanted, monkeypatch)
    assert cluster.round() == {"gpu_worker": 1}
    assert cluster.round([GPU_RUN] * 12) == {"gpu_worker": 4}
    assert cluster.round(idle=lambda kind: 60.0) == {"gpu_worker": 1}
