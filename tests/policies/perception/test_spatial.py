"""The spatial task: rows are what happened, turned rows are turned fights, losses by hand, baselines."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from envs.configuration import ConfigError
from envs.contracts.grid import G_ENEMIES, G_WALKABLE
from envs.perception import labels, maps
from envs.perception.recorder import record
from envs.perception.recording import CAST_X, X
from envs.perception.sights import Sights, _Eyes
from envs.simulation.world import World
from envs.symmetries import ELEMENTS, turn
from policies.perception.profiles import resolve_perception_run
from policies.perception.spatial import SpatialTask
from policies.perception.spatial_rows import equally_best, placed, spatial_rows, spread, turned
from policies.perception.task import Rows, take
from policies.perception.trainer import SupervisedTrainer, train
from policies.spatial_vit import STAY, SpatialViT, SpatialViTConfig

TEAMS = (("mage", "tank"), ("ranged", "aggressive"))
STRIDE = 5


@cache
def sights(element: int = 0, *, corner: bool = False) -> Sights:
    """Twelve fights with grids of unit 0, begun turned by an element of the square's group."""
    world = World(12, TEAMS, seed=4, starts="random", tiers=("veteran", "classic"), log_damage=True)
    size = 32
    for fight in world.units:
        for unit in fight:
            x, y = turn(element, *(2 * unit[:2] - (size - 1)).tolist())
            unit[:2] = (x + size - 1) // 2, (y + size - 1) // 2
    if corner:
        world.units[:, 0, :2] = 1, 0
    eyes = _Eyes(12, (0,), 0, STRIDE, size)
    return eyes.sights(record(world, policy=eyes, windows=58))


@cache
def rows(element: int = 0) -> Rows:
    return spatial_rows(sights(element), stride=STRIDE)


def row(cells: dict[tuple[int, int], float], count: int = 1) -> np.ndarray:
    out = np.zeros((count, 32, 32), np.float32)
    for cell, value in cells.items():
        out[(slice(None), *cell)] = value
    return out


def test_rows_hold_what_happened_after_each_picture() -> None:
    seen, found = sights(), rows()
    recording = seen.recording
    assert {name: (values.dtype.name, values.shape[1:]) for name, values in found.items()} == {
        "fight": ("int64", ()),
        "grid": ("uint8", (12, 32, 32)),
        "damage": ("float32", (32, 32)),
        "occupancy": ("uint8", (32, 32)),
        "best": ("uint8", (7, 7)),
        "fire": ("float32", (7, 7)),
        "known": ("bool", ()),
        "team": ("int16", (5,)),
        "recent": ("float32", (5,)),
        "reach": ("float32", (5,)),
    }
    wanted = labels.exact(recording, 5)[seen.frames[:, 0], seen.frames[:, 1]]
    frames = seen.frames[wanted]
    assert len(found["grid"]) == len(frames) > 50 and (~wanted).any()
    assert np.array_equal(found["grid"], seen.grids[wanted])
    assert np.array_equal(found["known"], labels.exact(recording, 10)[frames[:, 0], frames[:, 1]])
    assert not found["known"].all()
    assert np.array_equal(found["damage"], maps.damage_map(recording, frames))
    assert np.array_equal(found["occupancy"] > 0, maps.enemy_occupancy(recording, frames))
    best = maps.best_cell(recording, frames)
    bars = best.fire / 1000 / recording.max_hp[0]
    assert np.allclose(found["fire"], np.where(best.fire < 0, -1, bars), atol=1e-6)
    step = best.step.astype(int) + 3
    assert (found["best"][np.arange(len(frames)), step[:, 1], step[:, 0]] == 1).all()


def test_rows_may_be_fewer_than_pictures() -> None:
    half = spatial_rows(sights(), stride=2 * STRIDE)
    assert 0 < len(half["grid"]) < len(rows()["grid"])
    with pytest.raises(ValueError, match="no multiple of grid_stride 4"):
        SpatialTask(grid_stride=4).rows(sights(), stride=10)


def test_ground_under_the_step_head_is_where_one_can_stand() -> None:
    found = spatial_rows(sights(corner=True), stride=STRIDE)
    ground = found["grid"][:, G_WALKABLE, 13:20, 13:20] > 0
    ground[:, 3, 3] = True
    assert np.array_equal(ground, found["fire"] >= 0) and not ground.all()


@pytest.mark.parametrize("element", ELEMENTS)
def test_turned_rows_are_those_of_the_turned_fight(element: int) -> None:
    plain = {name: rows()[name] for name in ("grid", "damage", "occupancy", "best", "fire", "known")}
    other = rows(element)
    made = turned(plain, np.full(len(plain["grid"]), element))
    # Bits that were not carried out, because the picture does not show the cells that would come into view.
    ground = np.swapaxes(plain["grid"], -1, -2) if element & 1 else plain["grid"]
    unseen = ((element & 2 > 0) & ground[:, G_WALKABLE, :, -1].any(axis=1)) | (
        (element & 4 > 0) & ground[:, G_WALKABLE, -1].any(axis=1)
    )
    assert (~unseen).sum() > 10 and (element < 2) == (not unseen.any())
    for name, values in made.items():
        assert np.array_equal(values[~unseen], other[name][~unseen]), name


def test_turning_keeps_the_given_rows_and_rows_apart() -> None:
    plain = {name: rows()[name][:40] for name in ("grid", "damage", "best")}
    before = {name: values.copy() for name, values in plain.items()}
    elements = np.arange(40) % 8
    together = turned(plain, elements)
    assert all(np.array_equal(plain[name], before[name]) for name in plain)
    for number in range(40):
        alone = turned(take(plain, slice(number, number + 1)), elements[number : number + 1])
        assert all(np.array_equal(alone[name][0], together[name][number]) for name in plain)


def test_augmenting_depends_on_the_generator_alone() -> None:
    task = SpatialTask()
    one, same, other = (task.augment(rows(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one["grid"], same["grid"]) and not np.array_equal(one["grid"], other["grid"])
    for name in ("grid", "damage", "occupancy", "best"):  # nothing is lost but what leaves the picture
        left, whole = (float(values[name].sum(dtype=np.float64)) for values in (one, rows()))
        assert 0.9 * whole < left <= whole * (1 + 1e-9), name


def test_equally_best_cells_share_all_but_the_last_ties() -> None:
    fire, aims = np.full((1, 7, 7), 5, np.int64), np.zeros((1, 7, 7), np.int64)
    fire[0, 1, 3] = fire[0, 3, 1] = fire[0, 5, 5] = 0  # two steps straight, twice; two steps diagonally
    cell = maps.BestCell(np.zeros((1, 2), np.int8), fire, aims)
    assert np.argwhere(equally_best(cell)[0]).tolist() == [[1, 3], [3, 1]]
    aims[0, 5, 5] = 1
    assert np.argwhere(equally_best(cell)[0]).tolist() == [[5, 5]]
    fire[0, 5, 5] = -1
    assert np.argwhere(equally_best(cell)[0]).tolist() == [[1, 3], [3, 1]]


class Said(nn.Module):
    """Says the same of everything."""

    def __init__(self, damage: float, chance: float, steps: Tensor) -> None:
        super().__init__()
        self.damage, self.chance = nn.Parameter(torch.tensor(damage)), nn.Parameter(torch.tensor(chance))
        self.steps = nn.Parameter(steps)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ones = torch.ones(len(grid), 32, 32)
        return self.damage * ones, self.chance * ones, self.steps.expand(len(grid), -1)


def batch(known: tuple[bool, ...] = (True,)) -> dict[str, Tensor]:
    count = len(known)
    best = np.zeros((count, 7, 7), np.uint8)
    best[:, 0, 0] = best[:, 3, 3] = 1
    return {
        "grid": torch.zeros(count, 12, 32, 32, dtype=torch.uint8),
        "damage": torch.from_numpy(row({(2, 3): 0.5, (9, 9): 0.25}, count)),
        "occupancy": torch.from_numpy(row({(4, 4): 1, (5, 4): 1}, count).astype(np.uint8)),
        "best": torch.from_numpy(best),
        "known": torch.tensor(known),
    }


FITTED = {"damage_per_row": torch.tensor(0.5), "enemies_per_row": torch.tensor(2.0)}


def test_losses_by_hand() -> None:
    steps = torch.zeros(49)
    steps[0] = math.log(3.0)  # 3 of 51 parts, and staying 1
    task = SpatialTask(damage_weight=2.0, occupancy_weight=3.0, step_weight=5.0)
    losses = task.loss(Said(0.01, 0.1, steps), batch(), FITTED)
    damage = (1024 * 0.01 - 0.75 * math.log(0.01)) / 0.5
    occupancy = -(2 * math.log(0.1) + 1022 * math.log(0.9)) / 2.0
    step = -math.log(4 / 51)
    assert losses["damage_loss"].item() == pytest.approx(damage, rel=1e-5)
    assert losses["occupancy_loss"].item() == pytest.approx(occupancy, rel=1e-5)
    assert losses["step_loss"].item() == pytest.approx(step, rel=1e-5)
    total = 2 * damage + 3 * occupancy + 5 * step
    assert losses["loss"].item() == pytest.approx(total, rel=1e-5)


def test_unknown_rows_give_no_gradient() -> None:
    task = SpatialTask(occupancy_weight=0.0)
    network = Said(0.01, 0.1, torch.zeros(49))
    task.loss(network, batch((False, False)), FITTED)["loss"].backward()
    assert network.damage.grad == 0 and not network.steps.grad.any()  # type: ignore[union-attr]
    one, some = batch((True,)), batch((True, False))
    some["damage"][1], some["best"][1] = 9.0, 1
    losses = [task.loss(network, rows, FITTED)["loss"].item() for rows in (one, some)]
    assert losses[0] == pytest.approx(losses[1])


def test_chances_of_nought_and_one_stay_finite() -> None:
    for chance in (0.0, 1.0):
        network = Said(0.0, chance, torch.zeros(49))
        loss = SpatialTask().loss(network, batch(), FITTED)["loss"]
        loss.backward()
        assert torch.isfinite(loss)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def hand_rows() -> Rows:
    """Two rows, of which the second is half unknown; the team stands on one cell, an enemy on another."""
    grid = np.zeros((2, 12, 32, 32), np.uint8)
    grid[:, G_ENEMIES, 4, 4] = 51
    best, fire = np.zeros((2, 7, 7), np.uint8), np.full((2, 7, 7), 0.5, np.float32)
    best[:, 0, 1], fire[:, 0, 1], fire[:, 0, 0] = 1, 0.25, -1.0
    team = np.full((2, 5), -1, np.int16)
    team[:, 0], team[:, 2] = 16 * 32 + 16, 3
    recent, reach = np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32)
    recent[:, 0], reach[:, 2], reach[:, 1] = 0.5, 0.75, 9.0
    return {
        "fight": np.array([0, 1]),
        "grid": grid,
        "damage": row({(16, 16): 0.25}, 2),
        "occupancy": row({(4, 5): 1}, 2).astype(np.uint8),
        "best": best,
        "fire": fire,
        "known": np.array([True, False]),
        "team": team,
        "recent": recent,
        "reach": reach,
    }


def test_errors_of_the_baselines_by_hand() -> None:
    task, given = SpatialTask(), hand_rows()
    fitted = task.fit(given)
    assert fitted["damage_per_row"] == 0.25 and fitted["enemies_per_row"] == 1.0
    assert fitted["mean_step"][1] == 1.0 and fitted["mean_damage"][16, 16] == 0.25
    found = {
        name: {question: values.tolist() for question, values in task.errors(said, given, fitted).items()}
        for name, said in task.baselines(given, fitted).items()
    }
    nan = pytest.approx(math.nan, nan_ok=True)
    assert found["same_place"] == {"occupancy": [2.0, 2.0]}  # one cell too many, one missed
    # 0.5 where 0.25 falls; 0.75 on cell (0, 3), nothing where 0.25 falls. The 9 of the dead count nowhere.
    assert found["last_2s"] == {"damage": [0.0625, nan], "damage_total": [0.0625, nan]}
    assert found["reach"] == {"damage": [0.625, nan], "damage_total": [0.25, nan]}
    assert found["stay"] == {"best_cell": [1.0, nan], "fire": [0.25, nan]}
    assert found["prior"]["best_cell"] == [0.0, nan] and found["prior"]["damage"] == [0.0, nan]


def test_the_prior_takes_no_blocked_cell() -> None:
    task, given = SpatialTask(), hand_rows()
    fitted = {**task.fit(given), "mean_step": np.linspace(1.0, 0.0, 49).astype(np.float32)}
    assert task.baselines(given, fitted)["prior"]["step"].tolist() == [1, 1]  # (0, 0) is blocked


def test_metrics_by_hand() -> None:
    task, given = SpatialTask(), hand_rows()
    given["known"][1] = True
    given["damage"][1] = 0.0
    given["occupancy"][1] = 0
    fitted = task.fit(given)
    answers = {
        "damage": row({(16, 16): 0.125}, 2),
        "occupancy": row({(4, 5): 0.5}, 2),
        "step": np.array([1, STAY]),
    }
    metrics = task.metrics(answers, given, fitted)
    assert metrics["damage_explained"] == metrics["occupancy_explained"] == pytest.approx(0.0)
    assert metrics["best_cell_accuracy"] == 0.5 and metrics["fire_regret"] == pytest.approx(0.125)
    assert metrics[task.score] == pytest.approx(0.5 / 3)
    right = {**answers, "damage": given["damage"], "occupancy": given["occupancy"].astype(np.float32)}
    assert task.metrics(right, given, fitted)["damage_total_explained"] == 1.0


def test_maps_of_members_add_up_and_leave_the_dead_out() -> None:
    team = np.array([[5, 5, -1], [0, -1, -1]])
    values = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], np.float32)
    out = placed(team, values, 4)
    assert out[0, 1, 1] == 3.0 and out[1, 0, 0] == 8.0 and out.sum() == 11.0


def test_spread_adds_the_variances_of_cells() -> None:
    values = np.random.default_rng(0).random((50, 3, 4)).astype(np.float32)
    assert spread(values) == pytest.approx(values.astype(np.float64).var(axis=0).sum())


def test_turned_casts_stay_with_their_units() -> None:
    # The turned fight of the other tests is a fight that was played: its first state is the turned start.
    plain, other = sights().recording, sights(6).recording
    assert np.array_equal(other.units[0, ..., X], 31 - plain.units[0, ..., X])
    assert plain.units[1:, ..., CAST_X].any() and np.array_equal(other.damage, plain.damage)


def test_a_small_network_learns_the_rows() -> None:
    task = SpatialTask()
    few = {name: values[:24] for name, values in rows().items()}
    fitted = {name: torch.from_numpy(value) for name, value in task.fit(few).items()}
    given = {name: torch.from_numpy(np.ascontiguousarray(few[name])) for name in batch()}
    torch.manual_seed(0)
    network = SpatialViT(SpatialViTConfig(width=16, depth=1, heads=2, unit_depth=1, view=2, walk=4))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        found = task.loss(network, given, fitted)
        found["loss"].backward()
        optimizer.step()
        losses.append({name: value.item() for name, value in found.items()})
    for name in ("damage_loss", "occupancy_loss", "step_loss"):
        assert losses[-1][name] < 0.7 * losses[0][name], name


def test_the_trainer_takes_the_task() -> None:
    run = resolve_perception_run(
        "spatial_vit",
        "mage",
        seed=3,
        overrides={
            "model": {"width": 16, "depth": 1, "view": 1, "walk": 2},
            "data": {"fights": 16, "sizes": {"1v1": 1}},
            "training": {"epochs": 1, "batch_size": 16},
        },
    )
    trainer = SupervisedTrainer(run)
    fitted = train(trainer)
    metrics = trainer.evaluate("test")
    assert fitted == {} and all(np.isfinite(value) for value in metrics.values())
    assert set(metrics) >= {"damage_explained", "occupancy_explained", "best_cell_accuracy", "score"}


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="damage_wait"):
        SpatialTask(damage_wait=1.0)
    assert SpatialTask(grid_stride=7).grid_stride == 7


def test_rows_name_their_fights() -> None:
    seen = dataclasses.replace(
        sights(), recording=dataclasses.replace(sights().recording, number=np.arange(12) + 40)
    )
    found = spatial_rows(seen, stride=STRIDE)["fight"]
    assert set(found.tolist()) == set(range(40, 52))
