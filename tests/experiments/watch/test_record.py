from pathlib import Path

import numpy as np
import pytest

from envs.playback import frames
from experiments.errors import ExperimentError, UsageError
from experiments.watch.record import OnnxMind, Subject, Thought, head_of, notes_of, record_fight
from tests.serve.tiny_onnx import favourite, tiny_mind


def thought(scores: list[float], legal: list[int], value: float | None = None) -> Thought:
    return Thought(0, np.array(legal, bool), np.array(scores), None, value)


def test_preferences_are_a_softmax_whose_temperature_is_the_usual_lead() -> None:
    # Leads of the best legal score over the second: 2, 4, and none where one action is legal.
    thoughts = [
        thought([0, 2, 9], [1, 1, 0], 2.0),
        thought([0, 4, 9], [1, 1, 0], 4.0),
        thought([7, 0, 0], [1, 0, 0], 7.0),
    ]
    note, words = notes_of(thoughts, value_factor=50.0)
    # Temperature: the median of 2 and 4, 3. First row: e^(-2/3) = 0.51342 against 1.
    assert note.probabilities[0] == (round(0.51342 / 1.51342, 4), round(1 / 1.51342, 4), 0.0)
    assert note.probabilities[2] == (1.0, 0.0, 0.0)
    assert note.values == (100.0, 200.0, 350.0)
    assert words == {"probabilities": "softmax of its Q-values", "value": "reward"}
    _, words = notes_of(thoughts, value_factor=None)
    assert words["value"] == "own units"


def test_scores_without_any_lead_give_even_preferences() -> None:
    note, _ = notes_of([thought([3, 3], [1, 1])], None)
    assert note.probabilities == ((0.5, 0.5),) and note.values == ()


def test_a_model_plays_and_what_it_thought_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mind.onnx"
    path.write_bytes(tiny_mind(favourite(2)))
    subject = Subject("mage", OnnxMind(path, value_factor=100.0), scenario="2v2", about={"played by": "tiny"})
    replay = record_fight(subject, 1)
    assert record_fight(subject, 1) == replay != record_fight(subject, 2)
    states = list(frames(replay))
    assert states[-1].outcome == replay.end.outcome != 0
    (note,) = replay.notes
    for state, (action,), p, value in zip(
        states, replay.actions, note.probabilities, note.values, strict=False
    ):
        legal = state.masks[0]
        assert action == (2 if legal[2] else 0) == int(np.argmax(p))
        assert sum(p) == pytest.approx(1, abs=1e-3) and not np.any(np.array(p)[~legal])
        # q = bias + at most 0.02, times 100: near 100 for the favourite, near 0 for holding.
        assert value == pytest.approx(100 if legal[2] else 0, abs=2.1)
    assert replay.about["scenario"] == "2v2" and replay.about["played by"] == "tiny"


def test_without_a_mind_the_traditional_ai_plays_both_sides() -> None:
    replay = record_fight(Subject("tank", opponent="veteran"), 0)
    assert replay.learners == 0 and replay.actions == () and replay.notes == ()
    assert replay.about["opponent"] == "veteran" and "ally_death" in replay.weights


def test_what_is_no_playable_model(tmp_path: Path) -> None:
    path = tmp_path / "mind.onnx"
    with pytest.raises(ExperimentError, match="cannot be read"):
        OnnxMind(path)
    path.write_text("no model")
    with pytest.raises(ExperimentError, match="is no ONNX model"):
        OnnxMind(path)
    path.write_bytes(tiny_mind(favourite(1), "name"))
    with pytest.raises(ExperimentError, match="wants state, which this head does not observe"):
        record_fight(Subject("mage", OnnxMind(path)), 0)
    path.write_bytes(tiny_mind(favourite(1)))
    with pytest.raises(ExperimentError, match="was changed since its export"):
        OnnxMind(path, "0" * 64)
    # A mind of ten actions before a head of seventy.
    with pytest.raises(ExperimentError, match="does not take these observations"):
        record_fight(Subject("mage", OnnxMind(path), head="skill"), 0)


def test_types_that_do_not_act() -> None:
    assert head_of("soft_actor_critic") == "control"
    with pytest.raises(UsageError, match="chooses no actions of its own"):
        head_of("spatial_vit")
