"""In which order runs are handed to Tune when some start from the weights of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.tune.experiment import Experiment

from experiments.errors import UsageError
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, plan_rows, resolve
from experiments.packing import Room, make_plan
from experiments.progress import Progress
from experiments.tuning import train
from experiments.turns import InTurn
from policies import profiles
from policies.model_types import WEIGHTS_FILE, load_weights
from policies.training import build_trainer
from tests.experiments.test_packing import demand


def grid(max_concurrent: int, cells: list[tuple[str, str | None]]) -> InTurn:
    search = InTurn(max_concurrent)
    spec: dict[str, Any] = {
        "run": lambda config: None,
        "config": {"cell": {"grid_search": [{"run_id": name, "after": after} for name, after in cells]}},
    }
    search.add_configurations([Experiment("turns", **spec)])
    return search


def draw(search: InTurn) -> tuple[str, str] | None:
    trial = search.next_trial()
    return None if trial is None else (trial.config["cell"]["run_id"], trial.trial_id)


def test_a_run_waits_for_the_one_it_starts_from_and_others_pass_it() -> None:
    search = grid(0, [("a", None), ("b", "a"), ("c", "b"), ("d", "done before"), ("e", None)])
    first = draw(search)
    assert first is not None and first[0] == "a"
    assert [draw(search)[0] for _ in range(2)] == ["d", "e"]  # type: ignore[index]
    assert draw(search) is None and not search.is_finished()
    search.on_trial_complete(first[1])
    second = draw(search)
    assert second is not None and second[0] == "b" and draw(search) is None
    # One that failed is over as well; whoever needs it says so itself.
    search.on_trial_complete(second[1], error=True)
    assert draw(search)[0] == "c"  # type: ignore[index]
    assert draw(search) is None and search.is_finished()


def test_no_more_than_so_many_are_at_work() -> None:
    search = grid(2, [("a", None), ("b", None), ("c", None)])
    first, second = draw(search), draw(search)
    assert first is not None and second is not None and draw(search) is None
    assert not search.is_finished()
    search.on_trial_complete(second[1])
    assert draw(search)[0] == "c"  # type: ignore[index]


def test_a_plan_lets_them_wait_and_begins_with_what_others_wait_for() -> None:
    short, long = demand("short", 0.0, 10), demand("long", 0.0, 50)
    waits = [replace(demand(name, 0.0, 30), after=before) for name, before in (("x", "short"), ("y", "x"))]
    plan = make_plan([long, *waits, short], Room(0, 2, 2))
    starts = {run.demand.run_id: run.start_s for run in plan.placed}
    assert starts == {"short": 0.0, "long": 0.0, "x": 10.0, "y": 40.0}
    # No plan can beat the chain of three.
    assert plan.makespan_s == plan.lower_bound_s == 70.0


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles in which tank starts from mage and mage from ranged."""
    starts = {"tank": "mage", "mage": "ranged"}
    monkeypatch.setattr(profiles, "starts_from", lambda kind, profile, name: starts.get(name))


def test_what_a_cell_starts_from_is_resolved_with_it(chain: None) -> None:
    runs = resolve(Request(("aggressive", "mage", "tank"), ("combat_dqn",)))
    assert [run.archetype for run in runs] == ["aggressive", "ranged", "mage", "tank"]
    by_name = {run.archetype: run for run in runs}
    assert by_name["tank"].source_id == by_name["mage"].run_id
    assert by_name["mage"].source_id == by_name["ranged"].run_id
    assert by_name["ranged"].source_id is by_name["aggressive"].source_id is None
    assert [row["starts_from"] for row in plan_rows(runs)][-1] == by_name["mage"].run_id
    # A change of the source makes another run of its heir.
    longer = resolve(Request(("tank",), ("combat_dqn",), seed=1))
    assert longer[-1].run_id != by_name["tank"].run_id
    (alone,) = resolve(Request(("tank",), ("combat_dqn",), from_scratch=True))
    assert "start_from" not in alone.settings and alone.hash != by_name["tank"].hash


def test_a_run_whose_source_nobody_trains_is_refused(chain: None, tmp_path: Path) -> None:
    *_, tank = resolve(Request(("tank",), ("combat_dqn",)))
    with pytest.raises(UsageError, match=r"starts from the weights of mage-combat_dqn.*train that one too"):
        train(tmp_path, [tank], Progress(lambda line: None), session=lambda: pytest.fail("Ray was started"))


def test_weights_that_are_named_by_their_digest_wait_for_nobody() -> None:
    (run,) = resolve(Request(("tank",), ("combat_dqn",)))
    start = {"run_id": "mage-combat_dqn", "weights_sha256": "0" * 64}
    assert Run({**run.settings, "start_from": start}).source_id is None
    assert Ledger(Path("nowhere")).run("mage-combat_dqn").done() is None


@pytest.mark.ray
def test_an_heir_begins_with_the_weights_of_a_run_of_the_same_experiment(tmp_path: Path) -> None:
    little = {
        "epochs": 1, "rounds_per_epoch": 1, "num_envs": 8, "rollout_length": 8, "minibatch_size": 32,
        "learning_rate": 1e-9,
    }  # fmt: skip
    request = Request(("aggressive",), ("movement_ppo",), overrides={"movement_ppo": {"training": little}})
    mage, aggressive = resolve(request)
    assert aggressive.source_id == mage.run_id
    train(tmp_path, [aggressive, mage], Progress(lambda line: None), parallel=2)
    ledger = Ledger(tmp_path)
    weights = [load_weights(ledger.run(run.run_id).model_folder / WEIGHTS_FILE) for run in (mage, aggressive)]
    alone = build_trainer(aggressive.settings["trial"])
    own = alone.model().state_dict()
    alone.stop()
    before, after = (network.state_dict() for network in weights)
    moved = [name for name in before if not name.startswith(("critic.", "value_head."))]
    # The rate is so small that a run ends where it began.
    assert moved and all(torch.allclose(before[name], after[name], atol=1e-5) for name in moved)
    assert any(not torch.allclose(own[name], after[name], atol=1e-3) for name in moved)
