"""The setup of `cluster.yaml`, run in an empty home: the wheel of `make wheel` is checked and installed.

Every kind of node is a new virtual environment that sees the third-party packages of the running one and
nothing of this checkout, and runs the file's own setup commands without a network.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "policies", "experiments", "storage", "serve")
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
SETUP: dict[str, list[str]] = {
    "head": CLUSTER["head_setup_commands"],
    "cpu_worker": CLUSTER["worker_setup_commands"],
    "gpu_worker": CLUSTER["available_node_types"]["gpu_worker"]["worker_setup_commands"],
}
WHERE = (
    "def where():\n"
    "    import importlib\n"
    f"    return [importlib.import_module(name).__file__ for name in {PACKAGES!r}]\n"
)


@dataclass(frozen=True)
class Node:
    """A home folder with a virtual environment of its own.

    Attributes:
        home: What `~` is on this node.
        site: Where its packages are installed.
    """

    home: Path
    site: Path

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command line in the node's shell, outside the checkout and without its environment."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": f"{self.home}/venv/bin:/usr/local/bin:/usr/bin:/bin",
                "OMP_NUM_THREADS": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
                "PIP_NO_INDEX": "1",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def output(self, command: str, **variables: str) -> str:
        """What a command that has to succeed prints."""
        done = self.run(command, **variables)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dist/` as the recipe of `make wheel` leaves it, made in a copy of what it reads."""
    source = tmp_path_factory.mktemp("source")
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # The environment is there already: `install` counts as done.
    done = subprocess.run(
        ["make", "--old-file=install", "wheel", f"VENV={sys.prefix}"],
        cwd=source,
        # Not the flags of a `make test` around this.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "dist"


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to all installed packages but ours, whose editable installation leads into the checkout."""
    folder = tmp_path_factory.mktemp("packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "ml_monster" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def bare_node(home: Path, dist: Path, third_party: Path) -> Node:
    """A node before its setup commands: files mounted, Python, pip and Ray there, as in Ray's image."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    (site / "third_party.pth").write_text(f"{third_party}\n", encoding="utf-8")
    pip = home / "venv" / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{home}/venv/bin/python" -m pip "$@"\n', encoding="utf-8")
    pip.chmod(0o755)
    ((mounted, local),) = CLUSTER["file_mounts"].items()
    assert local == f"./{dist.name}"
    shutil.copytree(dist, home / mounted.removeprefix("~/"))
    return Node(home, site)


def offline(extra: str) -> dict[str, str]:
    """Settings of pip, which checks requirements and pins where the extra's runtime is installed here."""
    runtime = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}[extra]
    try:
        importlib.metadata.version(runtime)
    except importlib.metadata.PackageNotFoundError:
        return {"PIP_NO_DEPS": "1"}
    return {}


@pytest.fixture(scope="module")
def head(dist: Path, third_party: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A head whose setup commands have run."""
    node = bare_node(tmp_path_factory.mktemp("head"), dist, third_party)
    for command in SETUP["head"]:
        node.output(command, **offline("cpu"))
    return node


def ours(node: Node) -> list[str]:
    """Where our packages have to come from on a node."""
    return [str(node.site / name / "__init__.py") for name in PACKAGES]


@pytest.mark.parametrize("kind", ["cpu_worker", "gpu_worker"])
def test_the_setup_of_a_worker_installs_the_wheel(
    kind: str, dist: Path, third_party: Path, tmp_path: Path
) -> None:
    node = bare_node(tmp_path, dist, third_party)
    assert node.run("python -c 'import experiments'").returncode == 1, "the bare node sees a checkout"
    for command in SETUP[kind]:
        node.output(command, **offline("gpu" if kind == "gpu_worker" else "cpu"))
    assert all(Path(path).is_file() for path in ours(node))
    assert (tmp_path / "venv" / "bin" / "monster").is_file()


def test_the_command_runs_outside_the_checkout(head: Node) -> None:
    assert "train cells of the matrix" in head.output("monster --help")
    found = head.output(f"python -c {shlex.quote(WHERE + 'print(*where(), sep=chr(10))')}")
    assert found.splitlines() == ours(head)


def test_all_54_runs_can_be_planned_from_the_wheel(head: Node) -> None:
    runs = json.loads(head.output("monster train --all --dry-run --json"))["runs"]
    cells = {(run["archetype"], run["model_type"]) for run in runs}
    assert len(runs) == len(cells) == 54
    assert len({archetype for archetype, _ in cells}) == 6


def test_every_data_file_is_on_the_node(head: Node) -> None:
    data = [
        path.relative_to(ROOT)
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    assert {"thresholds.yaml", "page.html", "0001_models.sql"} <= {path.name for path in data}
    for path in data:
        assert (head.site / path).read_bytes() == (ROOT / path).read_bytes(), path


@pytest.mark.ray
def test_a_ray_task_runs_the_code_of_the_wheel(head: Node) -> None:
    # Ray hands its workers the driver's path; nothing in it may lead to a checkout.
    script = (
        f"import ray\n{WHERE}"
        "ray.init(address='local', num_cpus=1, include_dashboard=False, log_to_driver=False)\n"
        "print(*ray.get(ray.remote(num_cpus=1)(where).remote()), sep=chr(10))\n"
        "ray.shutdown()\n"
    )
    assert head.output(f"python -c {shlex.quote(script)}").splitlines()[-len(PACKAGES) :] == ours(head)


def test_a_node_refuses_a_wheel_that_was_changed_on_the_way(
    dist: Path, third_party: Path, tmp_path: Path
) -> None:
    node = bare_node(tmp_path, dist, third_party)
    (wheel,) = (tmp_path / "ml-monster").glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    done = node.run(SETUP["head"][0])
    assert done.returncode == 1
    assert f"{wheel.name}: FAILED" in done.stdout


@pytest.mark.parametrize("kind", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_takes_the_options_it_is_started_with(kind: str) -> None:
    from ray.scripts.scripts import start

    # `ray stop` ends every Ray of the machine and `ray start` starts the cloud's autoscaler: the first is not
    # run here, the options of the second are read by Ray's own command line, and nothing is started.
    stop, command = CLUSTER[kind]
    assert stop == "ray stop"
    variables, _, options = command.partition("; ray start ")
    assert variables.startswith("ulimit -n 65536; export ")
    words = shlex.split(options.replace("$RAY_HEAD_IP", "10.0.0.1"))
    given = start.make_context("start", words).params
    if kind.startswith("head"):
        assert given["head"] and given["port"] == 6379 and given["dashboard_host"] == "127.0.0.1"
        assert given["autoscaling_config"] == "~/ray_bootstrap_config.yaml"
    else:
        assert given["address"] == "10.0.0.1:6379" and not given["head"]
