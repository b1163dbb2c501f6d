"""``monster rewards`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from experiments import cli
from tests.serve.tiny_onnx import favourite, tiny_mind


def monster(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(["rewards", *arguments])
    except SystemExit as left:
        code = int(left.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_a_plot_and_the_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "rewards.html"
    code, out, _ = monster(capsys, "--archetypes", "ranged", "--fights", "60", "--plot", str(plot))
    assert code == 0 and "ranged 1v1, script against classic: 60 fights" in out
    assert "sustained_damage" in out and "warning (sparse): kiting is paid in 0.0% of 60 episodes" in out
    assert "<svg" in plot.read_text()


def test_json_is_json_alone_and_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--archetypes", "mage", "tank", "--learner", "random", "--fights", "20", "--json")
    code, out, _ = monster(capsys, *arguments, "--opponent", "veteran")
    mage, tank = json.loads(out)
    assert code == 0 and (mage["archetype"], mage["opponent"], mage["fights"]) == ("mage", "veteran", 20)
    assert sum(term["share"] for term in tank["terms"]) == pytest.approx(1.0)
    # A random player's figures do not depend on who else is played.
    _, alone, _ = monster(
        capsys,
        "--archetypes",
        "tank",
        "--learner",
        "random",
        "--fights",
        "20",
        "--json",
        "--opponent",
        "veteran",
    )
    assert json.loads(alone) == [tank]


def test_an_exported_model_plays_its_own_archetype(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load_from_string(tiny_mind(favourite(1)))
    proto.metadata_props.add(key="archetype", value="aggressive")
    path = tmp_path / "mind.onnx"
    path.write_bytes(proto.SerializeToString())
    code, out, _ = monster(capsys, "--learner", str(path), "--fights", "20", "--json")
    (row,) = json.loads(out)
    assert code == 0 and (row["archetype"], row["learner"]) == ("aggressive", str(path))
    dealt = next(term for term in row["terms"] if term["name"] == "damage_dealt")
    assert dealt["mean"] > 0


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = monster(capsys, "--archetypes", "ranged", "--levels", "--fights", "30", "--json")
    levels = json.loads(out)
    assert code == 0 and [(row["level"], row["scenario"]) for row in levels] == [
        (1, "1v1"), (2, "1v1"), (3, "2v2"), (4, "3v3"), (5, "5v5"),
    ]  # fmt: skip
    assert [row["threshold"] for row in levels] == [50, 100, 200, 400, 800]
    assert levels[0]["warning"] is None and levels[4]["warning"].startswith("ranged, level 5: threshold 800")
    _, out, _ = monster(capsys, "--archetypes", "ranged", "--levels", "--fights", "30")
    assert "5 veteran" in out and "warning: ranged, level 5" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--archetypes", "tnak"], "did you mean 'tank'"),
        (["--opponent", "clasic"], "unknown opponent 'clasic'; did you mean 'classic'"),
        (["--learner", "nobody.onnx"], "no such file; give script, random or an exported .onnx file"),
        (["--learner", "broken.onnx"], "not an exported combat model"),
        (["--learner", "other.onnx"], "not an exported combat model"),
        (["--fights", "0"], "--fights: 0 is too small"),
        (["--plot", "nowhere/rewards.html"], "a file in a folder that exists"),
        (["--levels", "--learner", "random"], "leave out --learner"),
        (["--levels", "--opponent", "veteran"], "leave out --learner, --opponent and --plot"),
    ],
)
def test_a_mistake_is_one_line_before_any_fight(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "other.onnx").write_bytes(tiny_mind(favourite(1), broken="name"))
    code, out, error = monster(capsys, *arguments)
    assert code == 2 and out == "" and said in error and error.count("\n") == 1
