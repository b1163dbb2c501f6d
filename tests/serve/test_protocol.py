"""Reading and answering the body of `/v1/decide`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.contracts import ARCHETYPES, WorldView, combat_orders, observe
from serve.heads import HEADS
from serve.protocol import DecisionBatch, RequestError, answers, read_decisions, read_json, read_model_name
from tests.serve.views import duel

OBSERVATION = [k / 64 for k in range(64)]


def read(data: Any, limit: int = 8) -> DecisionBatch:
    return read_decisions(read_json(json.dumps(data).encode()), limit)


def bare(**changes: Any) -> dict[str, Any]:
    return {"archetype": "tank", "observation": OBSERVATION} | changes


def chosen(action: int) -> dict[str, np.ndarray]:
    return {"q_values": np.arange(10, dtype=np.float32)[None], "action": np.array([action])}


def test_a_bare_request() -> None:
    batch = read(bare(action_mask=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0], version=3, explain=True))
    assert batch.bare
    (request,) = batch.requests
    assert (request.archetype, request.model_type, request.version) == ("tank", "combat_dqn", 3)
    assert batch.observations.dtype == np.float32
    assert batch.observations[0].tolist() == [k / 64 for k in range(64)]  # exact in float32
    assert batch.masks[0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_without_a_mask_everything_is_legal() -> None:
    assert read(bare()).masks.tolist() == [[1.0] * 10]
    assert read(bare(action_mask=None)).masks.tolist() == [[1.0] * 10]


def test_views_and_bare_observations_keep_their_rows_in_one_body() -> None:
    requests = [
        bare(archetype="mage"),
        {"archetype": "tank", "view": duel(1), "unit": "t1"},
        bare(archetype="ranged", observation=[0.5] * 64),
        {"archetype": "tank", "view": duel(9), "unit": "e1"},
    ]
    batch = read({"requests": requests})
    assert not batch.bare
    views = [WorldView.from_json(duel(1)), WorldView.from_json(duel(9))]
    seen = observe(views, [0, 1])
    _, legal = combat_orders(views, [0, 1])
    assert batch.observations[0].tolist() == OBSERVATION
    assert (batch.observations[1] == seen[0]).all()
    assert batch.observations[2].tolist() == [0.5] * 64
    assert (batch.observations[3] == seen[1]).all()
    assert (batch.masks[[1, 3]] == legal).all()
    assert batch.place == [-1, 0, -1, 1]


def test_an_answer_with_a_view_holds_a_concrete_order() -> None:
    batch = read({"archetype": "tank", "view": duel(1), "unit": "t1"})
    (decision,) = answers(batch, [0], 4, chosen(1))
    assert decision["action_name"] == "attack_nearest"
    assert decision["model_version"] == 4
    assert decision["order"]["kind"] == "attack"
    assert decision["order"]["target"] == "e1"
    assert "q_values" not in decision


def test_an_explained_answer_holds_the_q_values() -> None:
    batch = read(bare(explain=True))
    (decision,) = answers(batch, [0], 1, chosen(9))
    assert decision["q_values"] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert "order" not in decision


@pytest.mark.parametrize(
    ("model_type", "action", "name", "order"),
    [
        ("movement_ppo", 3, "E", {"kind": "steer", "direction": [1, 0]}),
        ("skill_dqn", 0, "attack:enemy_0", {"kind": "attack", "target": "e1"}),
        (
            "soft_actor_critic",
            [0.0, -1.0, 0.0, 0.0, 0.0],
            "steer",
            {"kind": "steer", "target": "e1", "direction": [0, -1]},
        ),
    ],
)
def test_every_acting_mind_is_asked_by_a_view(
    model_type: str, action: Any, name: str, order: dict[str, Any]
) -> None:
    one = {"archetype": "tank", "model_type": model_type, "view": duel(3), "unit": "t1"}
    batch = read({"requests": [bare(), one, bare(), one | {"unit": "e1"}]})
    inputs = batch.rows([3, 1])
    assert all(len(values) == 2 for values in inputs.values())
    seen = next(values for key, values in inputs.items() if key.startswith("obs"))
    assert (seen == observe([WorldView.from_json(duel(3))] * 2, [1, 0])).all()
    head = HEADS[model_type]
    decision = answers(batch, [1], 2, {head.choice: np.array([action])})[0]
    assert (decision["action"], decision["action_name"], decision["order"]) == (action, name, order)
    assert (decision["model_type"], decision["model_version"]) == (model_type, 2)


NESTED = b'{"requests": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON (Expecting property name enclosed in double quotes, line 1 column 2)"),
        (b"\xff\xfe", "body: not UTF-8 text (byte 0); send JSON"),
        (b"[1]", "body: expected a JSON object, got a list"),
        (b"null", "body: expected a JSON object, got null"),
        (b'{"archetype": NaN}', "body: NaN is not a number that JSON knows; every value must be finite"),
        (b'{"x": -Infinity}', "body: -Infinity is not a number that JSON knows"),
        (b'{"x": ' + b"9" * 5000 + b"}", "body: a number in the JSON is too long"),
        (NESTED, "body: JSON is nested too deeply"),
    ],
)
def test_bytes_that_are_no_json_object_are_refused(body: bytes, line: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_json(body)
    assert str(refused.value).startswith(line)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"archetype": "tnak"}, "unknown archetype 'tnak'; did you mean 'tank'?"),
        ({"archetype": ["tank"]}, "unknown archetype ['tank']; did you mean 'tank'?"),
        ({"archetype": 7}, "unknown archetype 7; one of aggressive, defensive"),
        ({"model_type": "combat_dqm"}, "unknown model type 'combat_dqm'; did you mean 'combat_dqn'?"),
        ({"version": 0}, "version: expected a version number from 1, got 0"),
        ({"version": True}, "version: expected a version number from 1, got True"),
        ({"version": "2"}, "version: expected a version number from 1, got '2'"),
        ({"version": 10**30}, "version: expected a version number from 1, got 1000"),
        ({"observation": OBSERVATION[:63]}, "observation: expected 64 numbers, got 63"),
        ({"observation": []}, "observation: expected 64 numbers, got 0"),
        ({"observation": "0.1"}, "observation: expected a list of 64 numbers, got a string"),
        (
            {"observation": [*OBSERVATION[:63], "0.1"]},
            "observation: value 63 is a string, expected 64 numbers",
        ),
        ({"observation": [*OBSERVATION[:63], True]}, "observation: value 63 is true or false"),
        ({"observation": [*OBSERVATION[:63], None]}, "observation: value 63 is null"),
        ({"observation": [[0.0] * 64]}, "observation: value 0 is a list"),
        ({"observation": [*OBSERVATION[:63], 1e300]}, "observation: value 63 of row 0 is inf"),
        ({"observation": [*OBSERVATION[:63], 10**400]}, "observation: expected 64 numbers"),
        ({"observation": [*OBSERVATION[:63], 2.5]}, "observation: value 63 of row 0 is 2.5, outside [-2, 2]"),
        ({"action_mask": [1] * 9}, "action_mask: expected 10 values of 0 or 1, got shape 1x9"),
        ({"action_mask": [0] * 10}, "action_mask: at least one action must be legal"),
        ({"action_mask": [2] * 10}, "action_mask: every value must be 0 (illegal) or 1 (legal)"),
        ({"action_mask": "1111111111"}, "action_mask: expected 10 values of 0 or 1"),
        ({"model_type": "skill_dqn"}, "observation: skill_dqn needs a 'view' and 'unit'; its own inputs are"),
        (
            {"model_type": "spatial_vit"},
            "model_type: spatial_vit perceives and decides nothing; ask POST /v2/",
        ),
        (
            {"model_type": "team_coordination"},
            "model_type: team_coordination is asked for a whole pack, in a",
        ),
        ({"explain": 1}, "explain: expected true or false, got a number"),
        ({"observations": []}, "unknown key 'observations'; did you mean 'observation'?"),
        ({"view": duel()}, "expected either 'observation' (64 numbers) or 'view' and 'unit', got both"),
        ({"unit": "t1"}, "unit: belongs to a 'view'"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as alone:
        read(bare(**changes))
    assert str(alone.value).startswith(line)
    assert "\n" not in str(alone.value)
    with pytest.raises(RequestError) as listed:
        read({"requests": [bare(), bare(**changes)]})
    assert str(listed.value).startswith(f"requests[1]: {line}")


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (
            {"archetype": "tank"},
            "expected either 'observation' (64 numbers) or 'view' and 'unit', got neither",
        ),
        ({"observation": OBSERVATION}, "archetype: missing; one of aggressive"),
        ({"archetype": "tank", "view": duel()}, "unit: expected the id of a unit of the view, got null"),
        ({"archetype": "tank", "view": duel(), "unit": "t9"}, "view: no unit 't9'; this view has 't1', 'e1'"),
        ({"archetype": "tank", "view": [], "unit": "t1"}, "view: expected an object, got list"),
        (
            {"archetype": "tank", "view": {"units": []}, "unit": "t1"},
            "view: 'units' must be a list of 1 to 10",
        ),
        (
            {"archetype": "tank", "view": duel(), "unit": "t1", "action_mask": [1] * 10},
            "action_mask: belongs to a bare 'observation'; with a 'view' it is computed",
        ),
    ],
)
def test_a_request_without_what_it_needs_is_refused(request_: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(request_)
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"requests": []}, "requests: expected a list of at least one request, got an empty list"),
        ({"requests": {}}, "requests: expected a list of at least one request, got an object"),
        ({"requests": [bare()] * 9}, "requests: 9 are too many for one body, at most 8; split them"),
        ({"requests": [bare()], "explain": True}, "body: unknown key 'explain' beside 'requests'"),
        ({"requests": [bare(), 3]}, "requests[1]: expected an object, got a number"),
    ],
)
def test_a_wrong_list_is_refused(data: Any, line: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(data)
    assert str(refused.value) == line


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
keys = ("archetype", "model_type", "version", "observation", "action_mask", "view", "unit", "explain")


def mutated(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    changes = st.dictionaries(st.sampled_from(keys), anything, max_size=2)
    inner = st.dictionaries(st.sampled_from([*sorted(duel()), "bounds", "origin"]), anything, max_size=2)
    unit = st.dictionaries(
        st.sampled_from(
            [*duel()["units"][0], "skills", "cast", "clocks", "status", "target", "sp", "max_sp"]
        ),
        anything,
        max_size=2,
    )

    def build(parts: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
        outer, view, first = parts
        whole = duel() | view
        if isinstance(whole["units"], list) and whole["units"] and isinstance(whole["units"][0], dict):
            whole["units"] = [whole["units"][0] | first, *whole["units"][1:]]
        return base | {"view": whole} | outer

    return st.tuples(changes, inner, unit).map(build)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(mutated({"archetype": "tank", "unit": "t1"}))
def test_no_body_raises_anything_but_a_request_error(data: dict[str, Any]) -> None:
    try:
        batch = read_decisions(read_json(json.dumps(data).encode()), 8)
    except RequestError as error:
        line = str(error)
        assert line
        assert "\n" not in line
    else:
        assert np.isfinite(batch.observations).all()
        assert batch.masks.any(axis=1).all()


def test_a_user_s_own_archetype_is_answered_for_when_it_is_loaded() -> None:
    body = bare(archetype="mud_ling")
    with pytest.raises(RequestError, match="unknown archetype 'mud_ling'; one of aggressive"):
        read(body)
    batch = read_decisions(body, 8, (*ARCHETYPES, "mud_ling"))
    assert batch.requests[0].archetype == "mud_ling"
    with pytest.raises(RequestError, match="unknown archetype 'mudling'; did you mean 'mud_ling'"):
        read_decisions(bare(archetype="mudling"), 8, (*ARCHETYPES, "mud_ling"))


def test_a_candidate_s_archetype_must_only_be_a_name() -> None:
    assert read_model_name({"archetype": "mud_ling", "version": 2}, None) == ("mud_ling", "combat_dqn", 2)
    for wrong in ("Mud Ling", "", "x" * 64, "tank\n", 3, None, ["tank"]):
        with pytest.raises(RequestError, match="unknown archetype"):
            read_model_name({"archetype": wrong}, None)
