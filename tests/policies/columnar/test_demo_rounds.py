"""Demonstrated fights in the replay buffer: every window stays inside its fight."""

from __future__ import annotations

import numpy as np

from envs.demonstrations import Demonstrations
from policies.columnar.demo_rounds import ROUND, demonstration_rounds
from policies.columnar.replay import PrioritizedReplay
from policies.columnar.rollout import Rollout

LENGTHS = (5, 40, 3, 17)


def demos() -> Demonstrations:
    """Observation (fight, step, 0, 0); reward 100 fight + step; every fourth step has no label."""
    fights = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    steps = np.concatenate([np.arange(length) for length in LENGTHS])
    # Interleaved, as fights that are played side by side are recorded.
    order = np.lexsort((fights, steps))
    fights, steps = fights[order], steps[order]
    obs = np.stack([fights, steps, 0 * steps, 0 * steps], axis=1).astype(np.float32)
    return Demonstrations(
        obs=obs,
        action_mask=np.ones((len(fights), 4), np.bool_),
        actions=steps % 4,
        rewards=(100.0 * fights + steps).astype(np.float32),
        valid=steps % 4 != 3,
        fights=fights,
        head="combat",
        archetype="tank",
        scenario="3v3",
        opponent="classic",
        teacher="veteran",
        seed=0,
    )


def test_every_labelled_decision_can_be_drawn_and_no_window_leaves_its_fight() -> None:
    replay = PrioritizedReplay(
        num_envs=3, capacity=3 * 200, observation_size=4, num_actions=4, gamma=0.5, n_step=3
    )
    for rollout in demonstration_rounds(demos(), 3, reward_factor=0.1):
        replay.add(rollout)
    # What the runner adds next begins somewhere else.
    later = Rollout.empty(3, ROUND, 4, 4)
    later.obs[:] = 77.0
    later.valid[:] = True
    replay.add(later)
    batch = replay.sample(4000, beta=0.0).columns
    obs, new_obs = batch["obs"].numpy(), batch["new_obs"].numpy()
    own = obs[:, 0] < 70
    fight, step = obs[own, 0], obs[own, 1]
    seen = {(int(f), int(s)) for f, s in zip(fight, step, strict=True)}
    assert seen == {(f, s) for f, length in enumerate(LENGTHS) for s in range(length) if s % 4 != 3}
    lengths = np.array(LENGTHS)[fight.astype(int)]
    taken = np.minimum(3, lengths - step)
    assert np.array_equal(batch["n_step"].numpy()[own], taken)
    ended = step + taken == lengths
    assert np.array_equal(batch["terminateds"].numpy()[own], ended)
    # Where the window does not end the fight, what is seen after it is `taken` steps later in the same fight.
    assert np.array_equal(new_obs[own][~ended][:, 0], fight[~ended])
    assert np.array_equal(new_obs[own][~ended][:, 1], (step + taken)[~ended])
    # 0.1 x sum over k of 0.5^k (100 f + s + k)
    expected = sum(0.1 * 0.5**k * (100 * fight + step + k) * (k < taken) for k in range(3))
    np.testing.assert_allclose(batch["rewards"].numpy()[own], expected, rtol=1e-5)
