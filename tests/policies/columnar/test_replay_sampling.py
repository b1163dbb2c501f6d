"""What is drawn, and how often: a naive twin, chi-square tests, rows that never mix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from policies.columnar.replay import PrioritizedReplay, ReplayBatch
from policies.columnar.rollout import Rollout

# What an autoreset row carries as action and reward; a batch that shows them has taken such a row for a step.
IGNORED_ACTION, IGNORED_REWARD = 99, 1e6


class Story:
    """Random episodes whose numbers say where they come from.

    The observation is (env, step of the env, episode, step of the episode); the action is the env's step
    modulo 90, or (env, env's step) if continuous; the reward is env + 10 x episode + the env's step / 4.
    """

    def __init__(self, num_envs: int, continuous: bool, num_actions: int, seed: int) -> None:
        self.num_envs, self.continuous, self.num_actions = num_envs, continuous, num_actions
        self.random = np.random.default_rng(seed)
        self.step, self.steps = 0, np.zeros(num_envs, np.int64)
        self.episode = np.zeros(num_envs, np.int64)
        self.done = np.zeros(num_envs, np.bool_)
        self.mask = self._mask()

    def round(self, time: int) -> Rollout:
        shape = (2,) if self.continuous else ()
        rollout = Rollout.empty(self.num_envs, time, 4, self.num_actions, shape)
        env = np.arange(self.num_envs)
        self._see(rollout, 0)
        for t in range(time):
            acting, draw = ~self.done, self.random.random(self.num_envs)
            if self.continuous:
                rollout.actions[:, t] = np.stack([env, np.full_like(env, self.step)], axis=1)
            else:
                rollout.actions[:, t] = self.step % 90
            rollout.rewards[:, t] = env + 10 * self.episode + self.step / 4
            rollout.actions[self.done, t], rollout.rewards[self.done, t] = IGNORED_ACTION, IGNORED_REWARD
            rollout.valid[:, t] = acting
            rollout.terminated[:, t] = acting & (draw < 0.15)
            rollout.truncated[:, t] = acting & (draw > 0.9)
            self.episode += self.done
            self.steps = np.where(self.done, 0, self.steps + 1)
            self.done = rollout.terminated[:, t] | rollout.truncated[:, t]
            self.step += 1
            self.mask = self._mask()
            self._see(rollout, t + 1)
        return rollout

    def _see(self, rollout: Rollout, t: int) -> None:
        step = np.full(self.num_envs, self.step)
        rollout.obs[:, t] = np.stack([np.arange(self.num_envs), step, self.episode, self.steps], axis=1)
        if rollout.action_mask is not None:
            rollout.action_mask[:, t] = self.mask

    def _mask(self) -> NDArray[np.bool_]:
        return self.random.random((self.num_envs, self.num_actions)) < 0.5


class Twin:
    """The buffer in plain Python: lists of all steps ever added, cumulative sums instead of a tree."""

    def __init__(
        self, num_envs: int, length: int, gamma: float, n_step: int, alpha: float, seed: int
    ) -> None:
        self.length, self.gamma, self.n_step, self.alpha = length, gamma, n_step, alpha
        self.steps: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]
        self.seen: list[dict[str, Any]] = []
        self.priorities: dict[tuple[int, int], float] = {}
        self.max_priority = 1.0
        self.random = np.random.Generator(np.random.PCG64(seed))

    def add(self, rollout: Rollout) -> None:
        for env, steps in enumerate(self.steps):
            for t in range(rollout.time):
                names = ("actions", "rewards", "terminated", "truncated", "valid")
                steps.append({**{name: getattr(rollout, name)[env, t] for name in names}})
                steps[-1].update(self._seen(rollout, env, t))
        last = rollout.time
        self.seen = [self._seen(rollout, env, last) for env in range(len(self.steps))]
        for step, env in self.drawable():
            self.priorities.setdefault((step, env), self.max_priority**self.alpha)

    def drawable(self) -> list[tuple[int, int]]:
        """(step, env) of complete windows, oldest first."""
        now = len(self.steps[0])
        return [
            (step, env)
            for step in range(max(now - self.length + 1, 0), now - self.n_step + 1)
            for env in range(len(self.steps))
            if self.steps[env][step]["valid"]
        ]

    def draw(self, rows: int) -> list[tuple[int, int]]:
        uniforms, windows = self.random.random(rows), self.drawable()
        if self.alpha == 0.0:
            return [windows[int((k + uniforms[k]) / rows * len(windows))] for k in range(rows)]
        windows.sort(key=self.slot)
        ends = np.cumsum([self.priorities[window] for window in windows])
        points = [(k + uniforms[k]) / rows * ends[-1] for k in range(rows)]
        return [windows[index] for index in np.searchsorted(ends, points, side="right")]

    def slot(self, window: tuple[int, int]) -> int:
        step, env = window
        return step % self.length * len(self.steps) + env

    def row(self, window: tuple[int, int]) -> dict[str, Any]:
        step, env = window
        episode, total = self.steps[env], 0.0
        for taken in range(1, self.n_step + 1):
            at = episode[step + taken - 1]
            total += self.gamma ** (taken - 1) * float(at["rewards"])
            if at["terminated"] or at["truncated"]:
                break
        after = episode[step + taken] if step + taken < len(episode) else self.seen[env]
        start = episode[step]
        return {
            "obs": start["obs"].tolist(),
            "new_obs": after["obs"].tolist(),
            "actions": start["actions"].tolist(),
            "rewards": pytest.approx(total, rel=1e-6),
            "terminateds": bool(at["terminated"]),
            "n_step": float(taken),
            **({"action_mask": start["mask"], "new_action_mask": after["mask"]} if "mask" in start else {}),
        }

    def update(self, drawn: list[tuple[int, int]], errors: list[float], floor: float) -> None:
        alive = set(self.drawable())
        for window, error in zip(drawn, errors, strict=True):
            self.max_priority = max(self.max_priority, abs(error) + floor)
            if window in alive:
                self.priorities[window] = (abs(error) + floor) ** self.alpha

    def _seen(self, rollout: Rollout, env: int, t: int) -> dict[str, Any]:
        mask = {} if rollout.action_mask is None else {"mask": rollout.action_mask[env, t].tolist()}
        return {"obs": rollout.obs[env, t].copy(), **mask}


def rows_of(batch: ReplayBatch) -> list[dict[str, Any]]:
    lists = {name: column.tolist() for name, column in batch.columns.items() if name != "weights"}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("alpha", [0.6, 1.0, 0.0])
def test_draws_and_batches_equal_a_naive_twin(continuous: bool, n_step: int, alpha: float) -> None:
    """Random adds, draws and updates, late updates among them; the ring wraps about six times."""
    num_envs, length, floor, beta = 3, 23, 1e-2, 0.4
    num_actions = 0 if continuous else 11
    for seed in range(2):
        choices = np.random.default_rng(1000 * n_step + seed)
        story = Story(num_envs, continuous, num_actions, seed)
        replay = PrioritizedReplay(
            num_envs=num_envs,
            capacity=num_envs * length + 2,
            observation_size=4,
            action_shape=(2,) if continuous else (),
            num_actions=num_actions,
            gamma=0.9,
            n_step=n_step,
            alpha=alpha,
            priority_floor=floor,
            seed=seed,
        )
        twin = Twin(num_envs, length, 0.9, n_step, alpha, seed)
        for _ in range(40):
            rollout = story.round(int(choices.integers(1, 7)))
            replay.add(rollout)
            twin.add(rollout)
            windows = twin.drawable()
            assert len(replay) == len(windows)
            for _ in range(int(choices.integers(0, 4)) if windows else 0):
                rows = int(choices.integers(1, 40))
                batch, drawn = replay.sample(rows, beta), twin.draw(rows)
                slots = batch.slots.copy()
                assert slots.tolist() == [twin.slot(window) for window in drawn]
                assert rows_of(batch) == [twin.row(window) for window in drawn]
                chances = np.array([twin.priorities[window] for window in drawn])
                expected = (chances / chances.min()) ** -beta
                np.testing.assert_allclose(batch.columns["weights"].numpy(), expected, rtol=1e-6)
                errors = choices.normal(0, 3, rows).astype(np.float32)
                if choices.random() < 0.3:  # an update that comes after the next round
                    late = story.round(int(choices.integers(1, 7)))
                    replay.add(late)
                    twin.add(late)
                replay.update_priorities(slots, errors)
                twin.update(drawn, errors.tolist(), floor)


@pytest.mark.parametrize("alpha", [0.6, 0.0])
@pytest.mark.parametrize("continuous", [False, True])
def test_rows_never_mix_and_autoreset_rows_enter_no_batch(alpha: float, continuous: bool) -> None:
    num_envs, n_step = 5, 4
    story = Story(num_envs, continuous, 0, seed=3)
    replay = PrioritizedReplay(
        num_envs=num_envs,
        capacity=num_envs * 41,
        observation_size=4,
        action_shape=(2,) if continuous else (),
        gamma=1.0,
        n_step=n_step,
        alpha=alpha,
    )
    autoreset_rows, ends = 0, set()
    for _ in range(60):
        rollout = story.round(5)
        autoreset_rows += int((~rollout.valid).sum())
        replay.add(rollout)
        batch = replay.sample(256, beta=0.4)
        replay.update_priorities(batch.slots, batch.columns["rewards"].numpy())
        columns = {name: column.numpy() for name, column in batch.columns.items()}
        (env, step, episode, at), after = columns["obs"].T, columns["new_obs"].T
        taken = columns["n_step"]
        assert np.array_equal(env, after[0]) and np.array_equal(episode, after[2])
        assert np.array_equal(step + taken, after[1]) and np.array_equal(at + taken, after[3])
        action = np.stack([env, step], axis=1) if continuous else step % 90
        assert np.array_equal(columns["actions"], action)
        # sum over i < m of env + 10 episode + (step + i) / 4 = m (env + 10 episode + step / 4 + (m - 1) / 8)
        assert np.array_equal(columns["rewards"], taken * (env + 10 * episode + step / 4 + (taken - 1) / 8))
        assert np.array_equal(batch.slots, step % 41 * num_envs + env)
        ends |= set(taken[columns["terminateds"]].tolist())
    # Not an empty proof: there were such rows, and windows of every length ended with their episode.
    assert autoreset_rows > 100 and ends == {1.0, 2.0, 3.0, 4.0}


def eight_windows(alpha: float = 1.0, seed: int = 0) -> PrioritizedReplay:
    """Eight windows in slots 0-7, one environment, all of the same priority."""
    replay = PrioritizedReplay(
        num_envs=1, capacity=16, observation_size=4, gamma=0.9, alpha=alpha, priority_floor=1e-12, seed=seed
    )
    rollout = Rollout.empty(1, 8, 4)
    rollout.valid[:] = True
    replay.add(rollout)
    return replay


def test_frequencies_match_priorities() -> None:
    """Batches of one row have one slice, so their draws are independent: the plain chi-square test."""
    replay = eight_windows(alpha=0.5, seed=1)
    # Squares to the power of 0.5: chances in proportion to 1 2 ... 8; then, after updates, to 8 7 ... 1.
    for chances in (np.arange(1, 9), np.arange(8, 0, -1)):
        replay.update_priorities(np.arange(8), (chances**2).astype(np.float32))
        counts = np.zeros(8)
        for _ in range(6000):
            counts[replay.sample(1, beta=0.0).slots[0]] += 1
        assert stats.chisquare(counts, chances / 36 * 6000).pvalue > 1e-3
        # The test is able to fail: it tells these chances from their square roots.
        wrong = np.sqrt(chances) / np.sqrt(chances).sum()
        assert stats.chisquare(counts, wrong * 6000).pvalue < 1e-6


def slice_statistic(
    counts: NDArray[np.int64], chances: NDArray[np.float64], batches: int
) -> tuple[float, int]:
    """Chi-square of stratified draws: sum over slices and leaves, and its degrees of freedom.

    Row k of a batch is drawn from slice k only, and is independent of all others. Pooled over batches, the
    draws of one slice are multinomial over the leaves that the slice overlaps: the sum over the slices of
    their chi-squares has sum of (leaves of the slice - 1) degrees of freedom.
    """
    rows = len(counts)
    ends = np.concatenate([[0.0], np.cumsum(chances / chances.sum())])
    statistic, freedom = 0.0, 0
    for k in range(rows):
        overlap = np.minimum(ends[1:], (k + 1) / rows) - np.maximum(ends[:-1], k / rows)
        inside = overlap > 1e-9
        expected = overlap[inside] * rows * batches
        assert counts[k][~inside].sum() == 0
        statistic += float(((counts[k][inside] - expected) ** 2 / expected).sum())
        freedom += int(inside.sum()) - 1
    return statistic, freedom


@pytest.mark.parametrize("rows", [5, 9, 32])
def test_frequencies_of_stratified_draws(rows: int) -> None:
    replay, batches, random = eight_windows(seed=2), 3000, np.random.default_rng(rows)
    chances = random.integers(1, 20, 8).astype(np.float64)
    replay.update_priorities(np.arange(8), random.random(8).astype(np.float32))  # to be overwritten
    replay.update_priorities(np.arange(8), chances.astype(np.float32))
    counts = np.zeros((rows, 8), np.int64)
    for _ in range(batches):
        counts[np.arange(rows), replay.sample(rows, beta=0.0).slots] += 1
    statistic, freedom = slice_statistic(counts, chances, batches)
    assert stats.chi2.sf(statistic, freedom) > 1e-3
    # Over all slices each window has its share; slices only make the counts steadier than chance would.
    assert stats.chisquare(counts.sum(axis=0), chances / chances.sum() * rows * batches).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_equal_priorities_draw_uniformly(alpha: float) -> None:
    """Without a tree and with one, on a ring that went round and has autoreset rows."""
    num_envs = 3
    story = Story(num_envs, False, 0, seed=4)
    replay = PrioritizedReplay(
        num_envs=num_envs, capacity=num_envs * 20, observation_size=4, gamma=0.9, alpha=alpha, seed=5
    )
    for _ in range(9):
        replay.add(story.round(5))
    windows, counts = len(replay), np.zeros(num_envs * 20)
    for _ in range(6000):
        counts[replay.sample(1, beta=0.0).slots[0]] += 1
    drawn = counts[counts > 0]
    assert len(drawn) == windows < 19 * num_envs
    assert stats.chisquare(drawn).pvalue > 1e-3
    # Three slices to each window: three draws of each, whatever the random numbers.
    batch = np.bincount(replay.sample(3 * windows, beta=0.0).slots)
    assert set(batch[batch > 0].tolist()) == {3}
