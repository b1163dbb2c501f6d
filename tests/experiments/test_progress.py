from experiments.progress import Progress, clock, table

TANK = {"archetype": "tank", "model_type": "combat_dqn"}


def test_clock_and_table() -> None:
    assert clock(0.4) == "0:00" and clock(125) == "2:05"
    assert table(["name", "n"], [["tank", 7], ["mage", None]], right={1}) == [
        "name  n",
        "----  -",
        "tank  7",
        "mage  -",
    ]


def test_an_epoch_is_one_line_and_missing_numbers_are_dashes() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    progress.epoch({**TANK, "epoch": 5, "epochs": 40, "win_rate": 0.5, "loss": float("nan")}, 1, 6)
    assert len(lines) == 1
    assert "tank       combat_dqn           epoch   5/40  win 0.50  greedy -  reward -  loss -" in lines[0]
    assert lines[0].endswith("(1 of 6 runs done)")


def test_a_long_run_shows_its_first_its_last_and_eight_lines_between() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    for epoch in range(1, 43):
        progress.epoch({**TANK, "epoch": epoch, "epochs": 42}, 0, 1)
    shown = [int(line.split("epoch")[1].split("/")[0]) for line in lines]
    assert shown == [1, 5, 10, 15, 20, 25, 30, 35, 40, 42]


def test_a_supervised_epoch_shows_its_losses() -> None:
    lines: list[str] = []
    seen = {
        **TANK,
        "epoch": 1,
        "epochs": 4,
        "loss": 0.5,
        "val_loss": 0.625,
        "best_epoch": 1,
        "rows_per_s": 1234.0,
    }
    Progress(lines.append).epoch(seen, 0, 1)
    assert "loss 0.500  validation 0.625  best epoch 1  1,234 rows/s" in lines[0]
