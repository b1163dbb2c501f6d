"""The public peers of the simulation benchmark: what is measured, and that a missing one says so."""

from __future__ import annotations

import sys
import time

import pytest

from bench import simulation
from bench.peers import PEERS
from bench.peers.base import Peer, Row, ask, version
from bench.rates import Count, Rate, measure


def test_rates_are_the_median_repeat_per_second_of_process_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that gives each play 1, 2 and 4 s: 10 env steps a play are 10, 5 and 2.5 a second.
    ticks = iter([0.0, 0.0, 1.0, 10.0, 10.0, 12.0, 20.0, 20.0, 24.0])
    monkeypatch.setattr(time, "process_time", lambda: next(ticks))
    rate = measure(lambda: Count(10, 30, 60), seconds=0.5, repeats=3)
    assert rate == Rate(5.0, 2.5, 10.0, 15.0, 30.0)


def test_a_missing_peer_gives_a_row_that_says_so() -> None:
    absent = [peer for peer in PEERS.values() if not version(peer.package)]
    if not absent:
        pytest.skip("every peer is installed")
    row = ask(absent[0], sys.executable, 0.1, 1)
    assert row.rate is None and row.note == f"{absent[0].package} is not installed"
    assert ask(absent[0], "/nowhere/python", 0.1, 1).note == "/nowhere/python: No such file or directory"


def test_a_peer_that_fails_gives_a_row_that_says_so() -> None:
    peer = Peer("no_such_peer", "nothing", "nothing", "3v3", 1, lambda: lambda: Count(1, 1, 1))
    row = ask(peer, sys.executable, 0.1, 1)
    assert row.rate is None and row.note.startswith("failed with exit status 2")


def test_the_ratio_is_per_agent_step() -> None:
    def ours(what: str, size: str, agents: float) -> simulation.Row:
        return simulation.Row(what, size, 1024, Rate(100.0, 90.0, 110.0, agents, 600.0))

    rows = [ours("kernel", "3v3", 100.0), ours("pack", "3v3", 300.0), ours("pack", "5v5", 500.0)]
    peer = Row("p", "p", "1", "w", "3v3", 1, Rate(50.0, 50.0, 50.0, 200.0, 400.0))
    assert simulation.compare(peer, rows) == 1.5  # 300 / 200
    assert simulation.compare(Row("p", "p", "1", "w", "4v4", 1, peer.rate), rows) is None
    assert simulation.compare(Row("p", "p", "", "w", "3v3", 1, None), rows) is None


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_installed_counts_its_agents(name: str) -> None:
    peer = PEERS[name]
    if not version(peer.package):
        pytest.skip(f"{peer.package} is not installed")
    play = peer.start()
    first, second = play(), play()
    for count in (first, second):
        assert count.env_steps > 0 and count.unit_steps >= count.agent_steps > count.env_steps
    if name == "simple_tag":
        assert first == Count(100, 400, 400)
    if name in ("battle", "battle_dicts"):  # 2 x 81 at the start, fewer once some have died
        assert 50 * 100 < first.agent_steps <= 50 * 162 and second.agent_steps <= first.agent_steps


def test_one_run_prints_ours_and_the_peers(capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "--seconds",
        "0.01",
        "--repeats",
        "1",
        "--sizes",
        "3v3",
        "--batches",
        "8",
        "--peers",
        "simple_tag",
    ]
    assert simulation.main(settings) == 0
    table = capsys.readouterr().out
    for what in ("reference", "bare rules", "kernel", "pack ", "simple_tag"):
        assert any(line.startswith(what) for line in table.splitlines()), what
