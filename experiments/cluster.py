"""A running Ray cluster: joined for one command, checked before any work, never stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import checkpoint_store
from experiments.errors import ExperimentError, UsageError
from experiments.tuning import WORKER_VARIABLES, handle_sigterm

NODE_TIMEOUT_S = 120.0
"""A node that has not started a process of ours within this time is taken for broken."""


@dataclass(frozen=True)
class Cluster:
    """What is there, and what the autoscaler may add.

    Attributes:
        nodes: Ray's id of each living node and its address.
        now: Resources of the living nodes together, such as ``{"CPU": 16.0, "GPU": 1.0}``.
        most: The same with all that the autoscaler may start; equal to ``now`` without one.
    """

    nodes: Mapping[str, str]
    now: Mapping[str, float]
    most: Mapping[str, float]

    @property
    def spread(self) -> bool:
        """Whether runs may come to lie on another machine than this one."""
        return len(self.nodes) > 1 or any(self.most[name] > self.now.get(name, 0.0) for name in self.most)


@contextlib.contextmanager
def joined(address: str) -> Iterator[Cluster]:
    """Connects to a running Ray and leaves it as it was.

    Args:
        address: ``HOST:PORT`` of its head, or ``auto`` for the one that runs on this machine.

    Raises:
        UsageError: The address is of another form.
        ExperimentError: Nothing answers there, or it wants another token.
    """
    if "://" in address or (address != "auto" and not address.rpartition(":")[2].isdigit()):
        raise UsageError(
            f"--address {address} is not HOST:PORT or auto; run the command on a node of the cluster"
            " (ray attach cluster.yaml) with --address auto"
        )
    import ray

    with tempfile.TemporaryDirectory(prefix="mlm-driver-") as empty:
        before = Path.cwd()
        # Ray puts the driver's folder first on every worker's path; the user's may hold packages of our names
        os.chdir(empty)
        handler = signal.getsignal(signal.SIGTERM)  # Ray puts its own in place, see tuning.local_ray
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": dict(WORKER_VARIABLES)},
            )
        except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError: by what is missing
            ray.shutdown()
            raise ExperimentError(
                f"no Ray cluster can be joined at --address {address} ({_said(error)}); is it running, is"
                " this one of its nodes, and is its token here (~/.ray/auth_token)?"
            ) from error
        finally:
            os.chdir(before)
            handle_sigterm(handler)
        try:
            yield _look_around()
        finally:
            ray.shutdown()  # of this connection; the cluster was started by others and goes on
            handle_sigterm(handler)


def _look_around() -> Cluster:
    import ray

    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    now = {name: amount for name, amount in ray.cluster_resources().items() if name in ("CPU", "GPU")}
    return Cluster(nodes, now, {**now, **_autoscaled(now)})


def _autoscaled(now: Mapping[str, float]) -> dict[str, float]:
    """CPUs and GPUs of the cluster with all nodes that its autoscaler may start."""
    from ray._private.state import state

    config = state.get_cluster_config()
    most: dict[str, float] = {}
    for group in config.node_group_configs if config is not None else ():
        for name in ("CPU", "GPU"):
            most[name] = most.get(name, 0.0) + group.max_count * group.resources.get(name, 0)
    return {name: max(amount, now.get(name, 0.0)) for name, amount in most.items()}


def check_plan(cluster: Cluster, *, cpus: int, gpu: bool, storage: str | None, dsn: str | None) -> None:
    """Refuses what could only fail after hours: too little hardware, files or a database out of reach.

    Args:
        cluster: From `joined`.
        cpus: CPUs of one run.
        gpu: Whether runs want a GPU.
        storage: Place of checkpoints as the user gave it.
        dsn: Address of the registry's database; None for the embedded one.

    Raises:
        UsageError: The plan does not fit the cluster, as one line with the remedy.
    """
    if gpu and not cluster.most.get("GPU"):
        raise UsageError(
            f"--device cuda was asked for, but the cluster has no GPU ({len(cluster.nodes)} nodes) and none"
            " that it could start; use --device cpu, or add GPU workers to its cluster.yaml"
        )
    if cluster.most.get("CPU", 0.0) < cpus:
        raise UsageError(
            f"one run needs {cpus} CPUs, the cluster has {cluster.most.get('CPU', 0.0):.0f}; add workers, or"
            " give fewer --env-runners and --learners"
        )
    if not cluster.spread:
        return
    if dsn is None:
        # Trials never speak SQL; but the embedded server has only a socket in the project folder here, so no
        # service replica and no command on another node could ever read what is registered.
        raise UsageError(
            f"the cluster has {len(cluster.nodes)} nodes or may grow, and the embedded PostgreSQL can be"
            " reached on this one alone; give the address of a server that all nodes reach, such as"
            " --dsn postgresql://ml_user@10.0.0.1/ragnarok_ml"
        )
    if storage is None:
        raise UsageError(
            f"the cluster has {len(cluster.nodes)} nodes or may grow, so checkpoints must lie where all of"
            " them can read and write; give --storage-path, such as /mnt/shared/runs or s3://bucket/runs"
        )


def check_nodes(cluster: Cluster, storage: str | None) -> None:
    """Starts one small process on every node: it must hold our packages and see the place of checkpoints.

    Args:
        cluster: From `joined`.
        storage: Place of checkpoints as the user gave it.

    Raises:
        UsageError: A node that could not carry out a run, as one line with the remedy.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from experiments.machine import code_version, product_version

    filesystem, probe, name = None, None, None
    if storage is not None:
        filesystem, path = checkpoint_store.open_place(storage)
        probe = checkpoint_store.write_probe(filesystem, path, b"of the driver")
        name = probe[len(path) + 1 :]
    look = ray.remote(num_cpus=0, max_retries=1)(_look)
    try:
        answers = {
            address: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(storage, name)
            for node, address in cluster.nodes.items()
        }
        for address, answer in answers.items():
            try:
                found: dict[str, Any] = ray.get(answer, timeout=NODE_TIMEOUT_S)
            except Exception as error:  # whatever a broken installation raises there
                raise UsageError(
                    f"node {address} cannot run our code ({_said(error)}); install the wheel of `make wheel`"
                    " and constraints.txt on every node, as cluster.yaml does"
                ) from error
            if found["code"] != code_version():
                raise UsageError(
                    f"node {address} has other code (version {found['version']}, here {product_version()});"
                    " install the same wheel on every node: make wheel, then ray up cluster.yaml"
                )
            if found["storage"]:
                raise UsageError(
                    f"node {address} does not see --storage-path {storage} as this one does"
                    f" ({found['storage']}); give a folder that is mounted on every node, or a URI"
                )
    finally:
        if filesystem is not None:
            filesystem.delete_file(probe)


def _look(storage: str | None, probe: str | None) -> dict[str, Any]:
    """What a node has of ours, and why it cannot use the place of checkpoints, if it cannot."""
    from pyarrow import ArrowException

    from experiments.machine import code_version, product_version

    wrong = ""
    if storage is not None:
        try:
            filesystem, path = checkpoint_store.open_place(storage)
            with filesystem.open_input_stream(f"{path}/{probe}") as file:
                file.readall()
            filesystem.delete_file(checkpoint_store.write_probe(filesystem, path, b"of a node"))
        except (ArrowException, OSError, UsageError) as error:
            wrong = _said(error)
    return {"version": product_version(), "code": code_version(), "storage": wrong}


def _said(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
