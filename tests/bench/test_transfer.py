from __future__ import annotations

import pytest

from bench import transfer
from experiments.learning_curves import Curve, Paired
from experiments.transfer_result import TransferResult


def result(gained: float) -> TransferResult:
    scratch = [Curve(seed, "s", (10.0, 20.0), (0.1, 0.2 + 0.01 * seed)) for seed in (0, 1, 2)]
    treated = [Curve(c.seed, "t", c.steps, tuple(y + gained for y in c.scores)) for c in scratch]
    paired = Paired.of(scratch, treated, 0.7)
    return TransferResult(
        "mage", "ranged", "movement_ppo", "demo", "mage/movement_ppo v1", "run", "selection_win_rate",
        "env_steps", tuple(treated), paired, "ranged/movement_ppo v1", "run-2",
    )  # fmt: skip


def test_only_an_interval_above_zero_counts_as_help() -> None:
    assert transfer.helped([result(0.6), result(-0.1)]) == ["movement_ppo mage to ranged"]
    assert transfer.helped([result(0.0)]) == []


def test_the_tables_show_gains_and_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    transfer.show([result(0.6)])
    printed = capsys.readouterr().out
    assert "+0.600  +0.600 to +0.600" in printed and "3 / 0" in printed
    assert printed.count("mage to ranged") == 6 and "not in 20" in printed


def test_one_seed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        transfer.main(["--seeds", "1"])
    assert "one seed has no interval" in capsys.readouterr().err
