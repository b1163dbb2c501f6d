"""A library that knows nothing of us learns in our environments: PPO of stable-baselines3.

Nothing of ours stands between: its `make_vec_env` calls `gymnasium.make`, for one fight of
`MLMonster/Combat-v0`, and for several of `MLMonster/Control-v0`, vectorised by its own DummyVecEnv. Rewards
are divided by their running spread (its VecNormalize), as PPO wants; learning rate, rollout, minibatch and
first noise are set in `train`, all else is its default. The action mask is not used.

The table shows the share of fights won by kill, in fights with other seeds than those trained on, before and
after training, with a 95 % interval. Exit status 1 if one of them learned nothing: if the interval after
does not lie above the one before.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium

import envs  # noqa: F401  (registers the ids)
from bench.machine import describe, header
from envs.simulation.state import WON_BY_KILL
from experiments.statistics import wilson_interval

TRAIN_SEED, TEST_SEED = 1, 10_000


@dataclass(frozen=True)
class WinRate:
    """Share of fights won by kill, with a 95 % interval."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Result:
    """One training; shares of fights won by kill, `n` fights each."""

    env: str
    archetype: str
    opponent: str
    num_envs: int
    steps: int
    seconds: float
    n: int
    before: WinRate
    after: WinRate

    @property
    def learned(self) -> bool:
        """Whether the interval after training lies above the one before."""
        return self.after.low > self.before.high


def play(model: Any, name: str, arguments: dict[str, Any], fights: int) -> WinRate:
    """Win rate of a model that acts without exploring, in `fights` fights of the same seeds for everybody."""
    env = gymnasium.make(name, **arguments)
    won = 0
    for fight in range(fights):
        obs, _ = env.reset(seed=TEST_SEED + fight)
        over = False
        while not over:
            action, _ = model.predict(obs, deterministic=True)
            obs, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        won += info["outcome"] == WON_BY_KILL
    env.close()
    return WinRate(won / fights, *wilson_interval(won, fights))


def train(name: str, num_envs: int, steps: int, fights: int, archetype: str, opponent: str) -> Result:
    """Train PPO and measure it before and after."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    arguments = {"archetype": archetype, "opponent": opponent}
    fights_env = make_vec_env(name, n_envs=num_envs, seed=TRAIN_SEED, env_kwargs=arguments)
    env = VecNormalize(fights_env, norm_obs=False)
    # 2,048 steps a rollout however many environments share it. Half the usual noise at first: of five
    # numbers drawn at random the fourth mostly asks for a skill that is not ready, which costs time.
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        n_steps=2048 // num_envs,
        batch_size=256,
        policy_kwargs={"log_std_init": -0.7},
        seed=TRAIN_SEED,
        device="cpu",
    )
    before = play(model, name, arguments, fights)
    began = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - began
    after = play(model, name, arguments, fights)
    env.close()
    return Result(name, archetype, opponent, num_envs, model.num_timesteps, seconds, fights, before, after)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train in both environments; print the table or one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sb3", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=50_000, help="decisions to learn from (default 50,000)")
    parser.add_argument("--fights", type=int, default=300, help="fights of each measurement (default 300)")
    parser.add_argument("--archetype", default="aggressive")
    parser.add_argument("--opponent", default="classic")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.fights < 1:
        parser.error("--steps and --fights must be at least 1")
    try:
        import stable_baselines3
    except ImportError:
        print("sb3: stable-baselines3 is not installed, so nothing was run; pip install 'ml-monster[bench]'")
        return 0
    results = [
        train(name, num_envs, options.steps, options.fights, options.archetype, options.opponent)
        for name, num_envs in (("MLMonster/Combat-v0", 1), ("MLMonster/Control-v0", 8))
    ]
    if options.json:
        rows = [asdict(result) | {"learned": result.learned} for result in results]
        print(json.dumps({"machine": describe(), "sb3": stable_baselines3.__version__, "rows": rows}))
    else:
        print(header())
        versions, setting = stable_baselines3.__version__, f"{options.archetype} against {options.opponent}"
        print(f"stable-baselines3 {versions}, PPO, {setting}; won: share of n fights won by kill")
        print(f"{'environment':<21} {'envs':>4} {'steps':>7} {'s':>5} {'n':>5} {'before':>22} {'after':>22}")
        for row in results:
            print(
                f"{row.env:<21} {row.num_envs:>4} {row.steps:>7,} {row.seconds:>5.0f} {row.n:>5} "
                f"{row.before!s:>22} {row.after!s:>22}"
            )
    failed = [result.env for result in results if not result.learned]
    for name in failed:
        print(f"sb3: nothing learned in {name}; more --steps, or is the environment broken?", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
