"""TensorBoard curves, read back by our reader and by TensorBoard's own."""

from __future__ import annotations

from pathlib import Path

from experiments.monitoring.curves import PREFIX, Curve, read_curve, tag


def by_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(str(folder))
    seen.Reload()
    return {name: [(e.step, e.value) for e in seen.Scalars(name)] for name in seen.Tags()["scalars"]}


def write(curve: Curve, epochs: range, value: float = 0.0) -> None:
    for epoch in epochs:
        curve.add(epoch, {"loss": value + epoch, "win_rate": 0.5})


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    write(Curve(tmp_path), range(1, 4))
    assert by_tensorboard(tmp_path) == {
        "learning/loss": [(1, 1.0), (2, 2.0), (3, 3.0)],
        "play/win_rate": [(1, 0.5), (2, 0.5), (3, 0.5)],
    }


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    write(Curve(tmp_path), range(1, 4))
    (before,) = tmp_path.iterdir()
    write(Curve(tmp_path), range(4, 6))
    assert list(tmp_path.iterdir()) == [before]
    assert [step for step, _ in by_tensorboard(tmp_path)["learning/loss"]] == [1, 2, 3, 4, 5]


def test_epochs_that_a_resume_repeats_stand_once(tmp_path: Path) -> None:
    write(Curve(tmp_path), range(1, 5))
    curve = Curve(tmp_path)
    write(curve, range(3, 6), value=100.0)
    expected = [(1, 1.0), (2, 2.0), (3, 103.0), (4, 104.0), (5, 105.0)]
    assert by_tensorboard(tmp_path)["learning/loss"] == expected
    # The same within one driver, when Tune starts a trial once more.
    write(curve, range(5, 7), value=200.0)
    assert by_tensorboard(tmp_path)["learning/loss"] == [*expected[:4], (5, 205.0), (6, 206.0)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_record_torn_off_by_a_killed_process_is_dropped(tmp_path: Path) -> None:
    write(Curve(tmp_path), range(1, 4))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    write(Curve(tmp_path), range(4, 5))
    assert read_curve(tmp_path)["learning/loss"] == {1: 1.0, 2: 2.0, 4: 4.0}
    assert [step for step, _ in by_tensorboard(tmp_path)["learning/loss"]] == [1, 2, 4]


def test_what_is_no_finite_number_is_left_out(tmp_path: Path) -> None:
    Curve(tmp_path).add(
        1, {"loss": float("nan"), "archetype": "mage", "epoch": 1, "best_epoch": None, "steps": 3}
    )
    assert read_curve(tmp_path) == {"progress/steps": {1: 3.0}}


def test_a_run_that_starts_anew_leaves_no_old_points(tmp_path: Path) -> None:
    curve = Curve(tmp_path)
    write(curve, range(1, 3))
    curve.clear()
    assert list(tmp_path.glob(f"{PREFIX}*")) == []
    write(curve, range(1, 2))
    assert read_curve(tmp_path)["learning/loss"] == {1: 1.0}


def test_tags_are_grouped() -> None:
    names = (
        "reward",
        "val_loss",
        "val_accuracy",
        "seconds_env",
        "reward_terms/kill",
        "gpu_memory_bytes",
        "q_max",
    )
    assert [tag(name) for name in names] == [
        "play/reward",
        "learning/val_loss",
        "validation/val_accuracy",
        "resources/seconds_env",
        "reward_terms/kill",
        "resources/gpu_memory_bytes",
        "learning/q_max",
    ]
