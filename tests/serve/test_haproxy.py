"""The launcher that keeps HAProxy's statistics and metrics off the network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from serve import haproxy

CONFIG = """global
    stats timeout 30s
    errorfile 502 /x/500.http
    errorfile 503 /x/500.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
listen stats
  bind *:8404
  stats enable
"""


def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Path) -> list[str]:
    """Run the launcher with a stand-in for HAProxy that prints its arguments."""
    fake = tmp_path / "fake"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o700)
    monkeypatch.setattr(haproxy, "_binary", lambda: str(fake))
    environment = haproxy.haproxy_environment(tmp_path)
    command = [environment["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config), "-dR", "-sf", "12"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_only_the_front_door_stays_a_tcp_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.mkdir()
    config = node / "haproxy.cfg"
    config.write_text(CONFIG)
    arguments = launch(tmp_path, monkeypatch, config)
    assert arguments == ["-db", "-f", str(config), "-dR", "-sf", "12"]
    binds = [line.split() for line in config.read_text().splitlines() if "bind" in line]
    assert binds == [
        ["bind", f"unix@{node}/m", "mode", "600"],
        ["bind", "127.0.0.1:8000"],
        ["bind", f"unix@{node}/s", "mode", "600"],
    ]
    assert "errorfile" not in config.read_text()
    assert "stats timeout 30s" in config.read_text()


def test_the_template_of_the_pinned_ray_still_has_those_two_binds() -> None:
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

    binds = [
        line.strip() for line in HAPROXY_CONFIG_TEMPLATE.splitlines() if line.strip().startswith("bind ")
    ]
    assert binds == [
        "bind :{{ config.metrics_port }}",
        "bind {{ config.frontend_host }}:{{ config.frontend_port }}",
        "bind {{ config.grpc_frontend_host }}:{{ config.grpc_frontend_port }} proto h2",
        "bind *:{{ config.stats_port }}",
    ]


def test_the_real_haproxy_accepts_the_rewritten_lines(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
        "listen stats\n  bind *:8404\n  stats enable\n"
    )
    environment = haproxy.haproxy_environment(tmp_path)
    launcher = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    checked = subprocess.run([launcher, "-c", "-f", str(config)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert f"bind unix@{tmp_path}/s mode 600" in config.read_text()
