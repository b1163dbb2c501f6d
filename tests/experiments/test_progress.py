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
        {"archetype": "tank", "epoch": 5, "epochs": 40, "win_rate": 0.5, "loss": float("nan")}, 1, 6
    )
    assert len(lines) == 1
    assert "tank       epoch   5/40  win 0.50  greedy -  reward -  loss -" in lines[0]
    assert lines[0].endswith("(1 of 6 runs done)")


def test_a_long_run_shows_its_first_its_last_and_eight_lines_between() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    for epoch in range(1, 43):
        progress.epoch({"archetype": "tank", "epoch": epoch, "epochs": 42}, 0, 1)
    shown = [int(line.split("epoch")[1].split("/")[0]) for line in lines]
    assert shown == [1, 5, 10, 15, 20, 25, 30, 35, 40, 42]
