"""The command line as a person meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = (
    "demo",
    "train",
    "tune",
    "coordinate",
    "transfer",
    "evaluate",
    "export",
    "deploy",
    "serve",
    "rewards",
    "watch",
    "status",
    "tensorboard",
    "profile",
    "import-db",
    "registry",
)


def monster(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "experiments.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_help_names_every_command_and_each_has_an_example(tmp_path: Path) -> None:
    result = monster("--help", cwd=tmp_path)
    assert result.returncode == 0
    listed = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("    ")}
    assert listed >= set(COMMANDS)
    for command in COMMANDS:
        result = monster(command, "--help", cwd=tmp_path)
        assert result.returncode == 0 and f"example: monster {command}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--epochs", "-3"], "--epochs: -3 is too small"),
        (["train", "--epochs", "many"], "not a whole number"),
        (["train", "--lr", "0"], "outside (0, 1]"),
        (["train", "--profile", "huge"], "invalid choice: 'huge'"),
        (["train", "--archetypes", "tnak"], "did you mean 'tank'"),
        (["train", "--model-types", "combat_dqm"], "did you mean 'combat_dqn'"),
        (["train", "--model-types", "movement_pop"], "did you mean 'movement_ppo'"),
        (["train", "--stage", "core", "--model-types", "spatial_vit"], "--stage and --model-types exclude"),
        (["train", "--all", "--archetypes", "tank"], "exclude each other"),
        (["train", "--config", "none.yaml"], "no such file"),
        (["train", "--curriculum", "--model-types", "spatial_vit"], "train without levels"),
        (["train", "--config", "broken.yaml"], "training.batch_sise"),
        (["train", "--archetypes", "tank", "--device", "tpu"], "--device tpu is not known"),
        (["coordinate", "--archetype", "mage", "--pack-size", "6"], "invalid choice: 6"),
        (["coordinate", "--archetype", "mgae"], "did you mean 'mage'"),
        (["transfer", "--source-archetype", "mage"], "--target-archetype"),
        (["transfer", "--source-archetype", "mage", "--target-archetype", "mage"], "give two archetypes"),
        (["transfer", "--source-archetype", "mgae", "--target-archetype", "tank"], "did you mean 'mage'"),
        (["evaluate", "--num-episodes", "0"], "--num-episodes: 0 is too small"),
        (["export", "--home", "nowhere"], "no such folder"),
        (["deploy", "--version", "2"], "give one archetype"),
        (["serve", "--port", "70000"], "no TCP port"),
        (["registry"], "required: action"),
        (["registry", "show", "tnak"], "did you mean 'tank'"),
        (["demo", "--home", "a_file"], "cannot be used"),
        (["demo", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_a_mistake_is_one_clear_line_and_starts_nothing(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "broken.yaml").write_text("training: {batch_sise: 256}\n")
    (tmp_path / "a_file").write_text("")
    result = monster(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("monster: error: ") and said in lines[0]
    assert not (tmp_path / "runs" / "postgres").exists() and not (tmp_path / "runs" / "tune").exists()


def test_the_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    result = monster("train", "--epochs", "3", "--seed", "7", "--dry-run", "--json", cwd=tmp_path)
    assert result.returncode == 0
    rows = json.loads(result.stdout)["runs"]
    assert len(rows) == 54 and [row["archetype"] for row in rows[:6]] == [
        "aggressive", "defensive", "support", "mage", "tank", "ranged",
    ]  # fmt: skip
    assert all(row["epochs"] == 3 and row["state"] == "new" and "-s7-" in row["run_id"] for row in rows)
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_foresaw_is_one_line_with_the_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments import cli
    from experiments.cli import train

    def fail(args: object) -> int:
        raise ZeroDivisionError("a\nfault")

    monkeypatch.setattr(train, "run", fail)
    assert cli.main(["train", "--home", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert (
        error.startswith("monster: error: ZeroDivisionError: a fault (traceback in ")
        and error.count("\n") == 1
    )
    assert "in fail" in (tmp_path / "logs" / "error.log").read_text()


def test_an_interrupt_is_one_line_with_the_way_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments import cli
    from experiments.cli import train

    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", interrupted)
    assert cli.main(["train"]) == 130
    assert "interrupted; finished runs are kept; run the same command again" in capsys.readouterr().err


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_still_an_interrupt() -> None:
    import signal

    from experiments.cli.common import stoppable

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(ImportError), stoppable():
        raise ImportError("a real one")
