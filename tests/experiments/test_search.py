"""Search spaces, samples drawn from the seed, and a search whose weak samples are stopped early."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from envs.configuration import ConfigError
from envs.contracts import MODEL_TYPES
from experiments import search, tuning
from experiments.config import load_settings, overrides
from experiments.errors import UsageError
from experiments.ledger import Ledger
from experiments.matrix import PROFILES
from experiments.monitoring.status import run_states
from experiments.progress import Progress
from experiments.search import Row, SearchRequest


def mage(num_samples: int, **more: Any) -> SearchRequest:
    return SearchRequest("mage", "combat_dqn", num_samples, **more)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_space_fits_every_profile_at_all_its_ends(model_type: str, profile: str) -> None:
    space = search.load_space(model_type, profile)
    request = SearchRequest("tank", model_type, 1, profile=profile)
    assert "learning_rate" in space["training"]
    for part, keys in space.items():
        for key, way in keys.items():
            for value in way.choice or way.log_uniform or way.uniform or ():
                run = search.run_of(request, {part: {key: value}})
                if key != "learning_rate":  # which is times the archetype's
                    assert run.settings["trial"][part][key] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("combat_dqn: {training: {gae_lambda: {choice: [1]}}}", "has no key 'training.gae_lambda'"),
        ("combat_dqn: {trainin: {}}", "unknown key 'trainin'; did you mean 'training'"),
        ("combat_dqn: {training: {n_step: {choice: [1], uniform: [0, 1]}}}", "exactly one of"),
        ("combat_dqn: {training: {n_step: {}}}", "exactly one of"),
        ("combat_dqn: {training: {n_step: {choice: []}}}", "choice is empty"),
        ("combat_dqn: {training: {learning_rate: {log_uniform: [0, 1]}}}", "must rise, and start above 0"),
        ("skill_dqn: {}", "no search space for 'combat_dqn'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "spaces.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        search.load_space("combat_dqn", "demo", path)


def test_the_seed_decides_the_samples_and_more_of_them_keep_the_first() -> None:
    space = search.load_space("combat_dqn", "demo")
    few, many = (search.draw_samples(mage(n), space) for n in (3, 6))
    assert [s.run.hash for s in few] == [s.run.hash for s in many[:3]]
    assert len({s.run.hash for s in many}) == 6
    assert few[0].laid == {} and few[1].laid.keys() == space.keys()
    other = search.draw_samples(mage(3, seed=1), space)
    assert few[1].laid != other[1].laid
    for sample in many[1:]:
        rate = sample.laid["training"]["learning_rate"]
        assert 1e-4 <= rate <= 2e-3 and float(f"{rate:.3g}") == rate
        assert sample.settings(space)["training.n_step"] == sample.laid["training"]["n_step"]


def test_a_space_with_too_few_points_is_an_error() -> None:
    space = {"training": {"n_step": search.Dimension(choice=(1, 3))}}
    assert len(search.draw_samples(mage(2), space)) == 2  # three steps are the profile's
    with pytest.raises(UsageError, match="no more than 2 different points"):
        search.draw_samples(mage(3), space)


@pytest.mark.parametrize("model_type", ["combat_dqn", "movement_ppo", "skill_dqn", "spatial_vit"])
def test_the_best_settings_load_back_as_the_same_run(model_type: str, tmp_path: Path) -> None:
    request = SearchRequest("mage", model_type, 2, epochs=2)
    first, second = search.draw_samples(request, search.load_space(model_type, "demo"))
    for sample in (first, second):
        path = search.write_best(tmp_path, request, Row(sample, "finished", 0.5, 2, 1.0))
        assert path == tmp_path / "tuned" / f"mage-{model_type}.yaml"
        settings = load_settings(path)
        assert settings.training.epochs == 2
        laid = overrides(settings, path.name, (model_type,))[model_type]
        assert search.run_of(request, laid).hash == sample.run.hash
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_settings_file_names_a_wrong_training_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models: {combat_dqn: {training: {nstep: 3}}}")
    with pytest.raises(ConfigError, match="unknown key 'nstep'; did you mean 'n_step'"):
        overrides(load_settings(path), path.name)


def test_a_run_that_was_given_up_can_be_begun_again(tmp_path: Path) -> None:
    record = Ledger(tmp_path).run("mage-1")
    record.begin({})
    record.stop({"epoch": 2})
    assert record.stopped() == {"epoch": 2} and record.done() is None
    assert [state.state for state in run_states(tmp_path)] == ["pruned"]
    record.begin({})
    assert record.stopped() is None


def stand_in(scores: dict[str, float], begun: Path) -> Any:
    """A body of runs that reports a given score and learns nothing; Ray ships it by value, being local."""

    def run_cell(config: dict[str, Any]) -> None:
        import json
        from pathlib import Path

        from ray import tune

        cell = config["cell"]
        with begun.open("a") as file:
            file.write(cell["run_id"] + "\n")
        run = json.loads(cell["run"])
        epochs, score = run["trial"]["training"]["epochs"], scores[cell["run_id"]]
        for epoch in range(1, epochs + 1):
            metrics = {"epoch": epoch, "epochs": epochs, "epoch_s": 1.0, "archetype": run["archetype"]}
            metrics["model_type"] = run["model_type"]
            if 3 * epoch > epochs:
                metrics["selection_win_rate"] = score
            checkpoint = None
            if epoch == epochs:
                folder = Path("checkpoint")
                (folder / "best").mkdir(parents=True, exist_ok=True)
                best = {"epoch": epoch, "rank": [score, 0.0]}
                (folder / "progress.json").write_text(json.dumps({"epoch": epoch, "best": best}))
                (folder / "files.json").write_text("{}")
                checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report(metrics, checkpoint=checkpoint)

    return run_cell


@pytest.mark.ray
def test_weak_samples_are_stopped_and_a_search_goes_on_with_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = mage(4, epochs=4)
    samples = search.draw_samples(asked, search.load_space("combat_dqn", "demo"))
    ids = [sample.run.run_id for sample in samples]
    begun = tmp_path / "begun"
    # The last would be the first on its rung, and finish, if the scores of the others were forgotten.
    body = stand_in(dict(zip(ids, (0.9, 0.8, 0.7, 0.6), strict=True)), begun)
    monkeypatch.setattr("experiments.trainable.run_cell", body)
    lines: list[str] = []

    def go(n: int) -> list[tuple[int, str, float | None, int]]:
        assert search.carry_out(tmp_path, asked, samples[:n], Progress(lines.append), nullcontext) is None
        rows = search.ranked(tmp_path, samples[:n], "selection_win_rate")
        return [(row.sample.number, row.state, row.score, row.epoch) for row in rows]

    with tuning.local_ray(1):
        first = go(3)
        assert first == [(0, "finished", 0.9, 4), (1, "stopped early", 0.8, 2), (2, "stopped early", 0.7, 2)]
        assert begun.read_text().split() == ids[:3]
        assert any(f"{ids[1]} stopped early after epoch 2/4" in line for line in lines)
        assert go(4) == [*first, (3, "stopped early", 0.6, 2)]
        assert begun.read_text().split() == ids, "nothing was repeated"
    marker = json.loads((tmp_path / "training" / ids[2] / "stopped.json").read_text())
    assert marker == {"epoch": 2, "epochs": 4, "metric": "selection_win_rate", "score": 0.7}
    assert sorted(state.state for state in run_states(tmp_path)) == ["finished"] + ["pruned"] * 3
