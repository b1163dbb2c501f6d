"""Plays fights and measures them: the exported file as it is served, and the baselines beside it.

``n`` fights are ``n`` environments of which the first episode counts. Counting whichever episodes end
first would favour short fights, and a win by kill is shorter than a win on time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.seeds import Purpose, seed_for
from experiments.statistics import entropy_bits, wilson_interval
from experiments.stopping import Looks

Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Observations float32 (rows, 64) and masks bool (rows, 10) in, actions int (rows,) out."""

CHUNK = 1024
"""Fights simulated side by side: large enough for the kernel, small enough for the cache."""

OUTCOMES = {1: "won_kill", -1: "lost_kill", 2: "won_time", -2: "lost_time", 3: "draw"}
BASELINES = ("random", "mirror", "attack_nearest")
# Far beyond the 300 decisions of a fight; a kernel that never ends a fight must not hang a report.
STEP_LIMIT = 2_000


@dataclass(frozen=True)
class FightScore:
    """What ``n`` fights came to.

    Attributes:
        n: Fights played.
        wins: Fights won by kill.
        win_rate: ``wins / n``, strict.
        win_rate_low: Lower 95 % Wilson bound.
        win_rate_high: Upper 95 % Wilson bound.
        score: Like the win rate, but a win on time counts as well and a draw as half.
        average_reward: Mean shaped, unscaled reward of an episode.
        average_reward_se: Its standard error.
        episode_length: Mean decisions of a fight.
        action_entropy_bits: Entropy of all chosen actions; None for the script, which has none.
        reward_terms: Mean per episode of each named term.
        outcomes: Fights by outcome name.
        action_shares: Share of each action, in the order of the action contract.
    """

    n: int
    wins: int
    win_rate: float
    win_rate_low: float
    win_rate_high: float
    score: float
    average_reward: float
    average_reward_se: float
    episode_length: float
    action_entropy_bits: float | None
    reward_terms: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    action_shares: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class Tally:
    """What the counted episodes add up to; arrays have one entry per fight."""

    rewards: list[np.ndarray] = field(default_factory=list)
    lengths: list[np.ndarray] = field(default_factory=list)
    outcomes: list[np.ndarray] = field(default_factory=list)
    terms: dict[str, list[np.ndarray]] = field(default_factory=dict)
    actions: np.ndarray = field(default_factory=lambda: np.zeros((1, 0), np.int64))
    """Counts of each action; of continuous controls one row per component."""

    def count(self, actions: np.ndarray, size: int, bins: int = 16) -> None:
        """Counts chosen actions: whole numbers ``(row,)``, or controls ``(row, part)`` in [-1, 1]."""
        if actions.dtype.kind == "f":
            places = np.clip(((actions + 1.0) * (bins / 2)).astype(np.int64), 0, bins - 1)
            seen = np.stack([np.bincount(part, minlength=bins) for part in places.T])
        else:
            seen = np.bincount(actions, minlength=size)[None]
        self.actions = seen if self.actions.size == 0 else self.actions + seen

    @property
    def wins(self) -> int:
        """Fights won by kill so far."""
        return sum(int((part == 1).sum()) for part in self.outcomes)

    def add(
        self, rewards: np.ndarray, lengths: np.ndarray, outcomes: np.ndarray, terms: dict[str, np.ndarray]
    ) -> None:
        """Adds fights; each array has one entry per fight."""
        for name, values in terms.items():
            self.terms.setdefault(name, []).append(values)
        self.rewards.append(rewards)
        self.lengths.append(lengths)
        self.outcomes.append(outcomes)

    def score(self, scripted: bool) -> FightScore:
        """What all fights came to; a script's choices are not known."""
        rewards, lengths, outcomes = map(np.concatenate, (self.rewards, self.lengths, self.outcomes))
        n, wins = len(outcomes), int((outcomes == 1).sum())
        low, high = wilson_interval(wins, n)
        points = wins + (outcomes == 2).sum() + 0.5 * (outcomes == 3).sum()
        totals = np.maximum(self.actions.sum(axis=1, keepdims=True), 1)
        bits = [entropy_bits(row.tolist()) for row in self.actions]
        return FightScore(
            n=n,
            wins=wins,
            win_rate=wins / n,
            win_rate_low=low,
            win_rate_high=high,
            score=float(points) / n,
            average_reward=float(rewards.mean()),
            average_reward_se=float(rewards.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
            episode_length=float(lengths.mean()),
            action_entropy_bits=None if scripted else sum(bits) / len(bits),
            reward_terms={name: float(np.concatenate(parts).mean()) for name, parts in self.terms.items()},
            outcomes={name: int((outcomes == code).sum()) for code, name in OUTCOMES.items()},
            action_shares=() if scripted else tuple((self.actions / totals).mean(axis=0).tolist()),
        )


class Running:
    """Fights that are under way, and what each has come to so far.

    Attributes:
        fights: Whether a fight goes on, bool ``(fight,)``.
    """

    def __init__(self, fights: int) -> None:
        self.fights = np.ones(fights, bool)
        self._rewards, self._lengths = np.zeros(fights), np.zeros(fights, np.int64)
        self._outcomes = np.zeros(fights, np.int8)
        # Summed per fight first: the means then do not depend on how fights are cut into batches.
        self._terms: dict[str, np.ndarray] = {}

    def step(
        self, reward: np.ndarray, ended: np.ndarray, outcome: np.ndarray, terms: Mapping[str, np.ndarray]
    ) -> bool:
        """Counts one decision of the fights that go on; each array has one entry per fight.

        Returns:
            Whether any goes on.
        """
        self._rewards += np.where(self.fights, reward, 0.0)
        self._lengths += self.fights
        for name, value in terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + np.where(self.fights, value, 0.0)
        over = self.fights & ended
        self._outcomes[over] = outcome[over]
        self.fights &= ~over
        return bool(self.fights.any())

    def into(self, tally: Tally) -> None:
        """Adds the fights to a tally.

        Raises:
            RuntimeError: One did not end, which is a fault of the simulation.
        """
        if self.fights.any():
            raise RuntimeError(
                f"{int(self.fights.sum())} fights did not end in {STEP_LIMIT} decisions: simulation fault"
            )
        tally.add(self._rewards, self._lengths, self._outcomes, self._terms)


def chunks(n: int, tally: Tally, looks: Looks | None = None) -> Iterator[tuple[int, int]]:
    """First fight and number of fights of each chunk, until all are played or a look is clear.

    Args:
        n: Fights without looks.
        tally: What the chunks are added to.
        looks: Where it may end earlier; the last look replaces ``n``.
    """
    done = 0
    for stop in (n,) if looks is None else looks.fights:
        for start in range(done, stop, CHUNK):
            yield start, min(CHUNK, stop - start)
        done = stop
        if looks is not None and looks.clear(tally.wins, done):
            return


def play_fights(
    archetype: str,
    policy: Policy | None,
    n: int,
    seed: int,
    *,
    purpose: Purpose = Purpose.EVALUATION,
    opponent: str = "classic",
    scenario: str | None = None,
    threads: int = 1,
    looks: Looks | None = None,
) -> FightScore:
    """Plays ``n`` fights of an archetype in its default scenario.

    Args:
        archetype: Name of the learner's archetype.
        policy: Chooses the actions; None lets the traditional AI play the learner's side too.
        n: Fights, at least 1.
        seed: The user's base seed; the fights' own seeds come from the seed plan.
        purpose: Block of the seed plan the fights are drawn from.
        opponent: Tier of the other side.
        scenario: Another scenario than the archetype's own.
        threads: Threads of the simulation.
        looks: Where the fights may end earlier.

    Raises:
        ValueError: Fewer than one fight.
        RuntimeError: A fight did not end, which is a fault of the simulation.
    """
    from envs.combat import CombatVectorEnv

    if n < 1:
        raise ValueError(f"{n} fights cannot be played: ask for at least 1")
    tally = Tally()
    for start, size in chunks(n, tally, looks):
        env = CombatVectorEnv(
            size,
            archetype=archetype,
            scenario=scenario,
            opponent=opponent,
            threads=threads,
            learner="script" if policy is None else "policy",
            first_fight=start,
        )
        _play_chunk(env, policy, seed_for(purpose, seed, archetype), tally)
        env.close()
    return tally.score(scripted=policy is None)


def _play_chunk(env: Any, policy: Policy | None, seed: int, tally: Tally) -> None:
    size = env.num_envs
    obs, info = env.reset(seed=seed)
    running = Running(size)
    actions = np.zeros(size, np.int64)
    for _ in range(STEP_LIMIT):
        if policy is not None:
            # Rows whose fight is over are not asked: they would cost time and colour the action counts.
            rows = np.flatnonzero(running.fights)
            chosen = np.asarray(policy(obs[rows], info["action_mask"][rows]), np.int64)
            actions[rows] = chosen
            tally.count(chosen, 10)
        obs, reward, terminated, truncated, info = env.step(actions)
        if not running.step(reward, terminated | truncated, info["outcome"], info["reward_terms"]):
            break
    running.into(tally)


def random_policy(seed: int) -> Policy:
    """Chooses uniformly among the legal actions.

    Args:
        seed: Seed of its own generator.
    """
    generator = np.random.default_rng(seed)

    def choose(obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        # The largest of independent uniform draws is uniform over the legal entries.
        draws: np.ndarray = generator.random(mask.shape)
        return np.asarray(np.where(mask, draws, -1.0).argmax(axis=1))

    return choose


def attack_nearest(obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Attacks the nearest enemy (action 1) whenever that is legal, else holds (action 0)."""
    return np.where(mask[:, 1], 1, 0)


def play_baselines(archetype: str, n: int, seed: int, *, threads: int = 1) -> dict[str, FightScore]:
    """Plays the three yardsticks of an archetype on the evaluation seeds.

    Args:
        archetype: Name of the learner's archetype.
        n: Fights per baseline.
        seed: The user's base seed.
        threads: Threads of the simulation.

    Returns:
        ``random``, ``mirror`` (the traditional AI against itself) and ``attack_nearest``.
    """
    policies: dict[str, Policy | None] = {
        "random": random_policy(seed_for(Purpose.EVALUATION, seed, archetype, "random policy")),
        "mirror": None,
        "attack_nearest": attack_nearest,
    }
    return {
        name: play_fights(archetype, policy, n, seed, threads=threads) for name, policy in policies.items()
    }


def open_session(path: Path, sha256: str | None = None) -> Any:
    """Opens an exported file on one thread.

    Args:
        path: The file.
        sha256: Expected digest of its bytes; None trusts the file.

    Raises:
        ExperimentError: The bytes differ from the digest.
    """
    import hashlib

    import onnxruntime

    from experiments.errors import ExperimentError

    data = Path(path).read_bytes()
    seen = hashlib.sha256(data).hexdigest()
    if sha256 is not None and seen != sha256:
        raise ExperimentError(
            f"{path} has sha256 {seen[:12]}…, the registry says {sha256[:12]}…: the file was changed,"
            " export again"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class OnnxPolicy:
    """Plays an exported ONNX file greedily, exactly as the service does.

    Args:
        path: The file.
        sha256: Expected digest of its bytes; None trusts the file.

    Raises:
        ExperimentError: The bytes differ from the digest.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self._session = open_session(path, sha256)
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        """What the exporter wrote into the file, such as the archetype."""

    def __call__(self, obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Chooses actions int64 (rows,) for observations (rows, 64) and masks (rows, 10)."""
        feed = {"obs": obs.astype(np.float32, copy=False), "action_mask": mask.astype(np.float32)}
        return np.asarray(self._session.run(["action"], feed)[0])
