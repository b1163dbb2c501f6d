import json
from pathlib import Path

import pytest

from envs.replay import load, save
from experiments.cli import main
from tests.experiments.watch.fights import fight
from tests.serve.tiny_onnx import favourite, tiny_mind


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_fight_is_recorded_and_watched_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--archetype", "mage", "--seed", "3", "--json"]) == 0
    said = capsys.readouterr()
    first = json.loads(said.out)
    assert said.err == "no trained mind of mage in runs: the traditional AI plays both sides\n"
    assert first["files"] == {
        "page": "runs/watch/mage-1v1-s3.html",
        "replay": "runs/watch/mage-1v1-s3.json",
    }
    assert not Path("runs/postgres").exists()
    replay = load(first["files"]["replay"])
    assert first["decisions"] == replay.decisions and first["seconds"] == replay.end.tick / 10
    assert main(["watch", first["files"]["replay"], "--out", "again.html", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["files"]["page"] == "again.html"
    assert Path("again.html").read_text() == Path(first["files"]["page"]).read_text()
    assert {k: v for k, v in first.items() if k != "files"} == {
        k: v for k, v in second.items() if k != "files"
    }


def test_an_exported_file_plays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mind.onnx").write_bytes(tiny_mind(favourite(1)))
    where = ["--out", "deep/f.html", "--gif", "f.gif"]
    assert main(["watch", "--onnx", "mind.onnx", "--archetype", "mage", *where]) == 0
    said = capsys.readouterr().out
    assert "played by: mind.onnx" in said and "page:   deep/f.html" in said
    replay = load("deep/f.json")
    assert replay.notes[0].probabilities and replay.names[0] == ("mage",)
    assert Path("f.gif").read_bytes()[:6] == b"GIF89a"


def test_a_replay_that_the_rules_have_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    replay = fight(team=("mage",))
    body = json.loads(save(replay, "old.json").read_text())
    body["checks"][0], body["rules_version"] = "0" * 16, "1" * 16
    Path("old.json").write_text(json.dumps(body))
    assert main(["watch", "old.json"]) == 2
    assert "the rules have changed since" in capsys.readouterr().err
    assert not Path("old.html").exists()
    assert main(["watch", "old.json", "--anyway", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genuine"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("none.json", "none.json cannot be read"),
        ("none.json --archetype mage", "leave out --archetype"),
        ("--archetype mgae", "did you mean 'mage'"),
        ("--opponent kitr", "did you mean 'kiter'"),
        ("--scenario 9v9", "unknown scenario '9v9'"),
        ("--level 3 --opponent kiter", "--level says who fights whom"),
        ("--level 7", "level 7 does not exist"),
        ("--script --onnx a.onnx", "not allowed with"),
        ("--out fight.png", "give the name of a .html file"),
        ("--gif fight", "give the name of a .gif file"),
        ("--model-type spatial_vit", "spatial_vit"),
        ("--seed x", "'x' is not a whole number"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    try:
        code = main(["watch", *arguments.split()])
    except SystemExit as left:
        code = int(str(left.code))
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert list(Path().iterdir()) == []


def test_a_missing_mind_is_an_error_when_it_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--model-type", "combat_dqn", "--archetype", "tank"]) == 1
    assert "no exported combat_dqn of tank is registered in runs" in capsys.readouterr().err
    assert main(["watch", "--onnx", "none.onnx"]) == 1
    assert "none.onnx cannot be read" in capsys.readouterr().err
