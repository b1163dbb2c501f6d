from experiments.progress import Progress, clock, table


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
    progress.epoch(
        {"archetype": "tank", "epoch": 3, "epochs": 40, "win_rate": 0.5, "loss": float("nan")}, 1, 6
    )
    assert len(lines) == 1
    assert "tank       epoch   3/40  win 0.50  greedy -  reward -  loss -" in lines[0]
    assert lines[0].endswith("(1 of 6 runs done)")
