from pathlib import Path

import pytest

from experiments import coordination
from experiments.errors import UsageError
from experiments.ledger import Ledger
from experiments.tuning import TrainedRun
from policies.model_types import build_network, save_weights


def test_fights_become_whole_epochs_of_packs_of_that_size() -> None:
    run = coordination.plan("mage", 5, 1000)
    training = run.settings["trial"]["training"]
    per_epoch = training["rounds_per_epoch"] * training["num_envs"] * training["rollout_length"]
    assert (run.epochs - 1) * per_epoch < 1000 * coordination.DECISIONS_PER_FIGHT <= run.epochs * per_epoch
    assert run.settings["trial"]["env"]["scenario"] == run.settings["selection"]["scenario"] == "5v5"
    assert coordination.plan("mage", 4, 1).epochs == 1
    with pytest.raises(UsageError, match="did you mean 'mage'"):
        coordination.plan("mgae", 5, 1000)


def test_a_trained_pack_is_measured_in_teams_of_its_size(tmp_path: Path) -> None:
    run = coordination.plan("mage", 4, 1)
    record = Ledger(tmp_path).run(run.run_id)
    record.begin(run.settings)
    save_weights(build_network("team_coordination", run.settings["trial"]["model"]), record.model_folder)
    score = coordination.measure(TrainedRun(run, record, {}, False), 8, 0)
    assert score.n == 8 and 0.0 <= score.win_rate_low <= score.win_rate <= score.win_rate_high <= 1.0
