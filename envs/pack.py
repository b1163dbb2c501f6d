"""A pack: three to five units of one side, each with a mind of its own, and what they know together.

`PackVectorEnv` is the native form, arrays `(fight, member, ...)`. `PackParallelEnv` (PettingZoo) and
`policies.pack_env.PackMultiAgentEnv` (RLlib) are one fight of it behind those libraries' interfaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from envs import archetypes, curriculum, scenarios, terrain
from envs.arena import opponent_arguments, vector_box
from envs.configuration import ConfigError
from envs.contracts import layout as f
from envs.contracts.central import CENTRAL_SIZE, describe_central
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import ARCHETYPES, LOCAL_SIZE, MAX_TEAM_SIZE, NUM_PACK_ORDERS, OBS_SIZE
from envs.rewards import RewardLedger, weighed
from envs.simulation import state as s
from envs.simulation.perception import central_batch
from envs.simulation.world import World

if TYPE_CHECKING:
    from envs.pack_parallel import PackParallelEnv

MIN_PACK, MAX_PACK = 3, MAX_TEAM_SIZE

_SEED_LIMIT = 2**63


def local_space() -> spaces.Box:
    """Return the space of what one member sees: `obs_v1` (64) and its archetype, one-hot (6)."""
    box, kinds = vector_box(), np.zeros(len(ARCHETYPES), np.float32)
    return spaces.Box(np.append(box.low, kinds), np.append(box.high, kinds + 1), dtype=np.float32)


def state_space() -> spaces.Box:
    """Return the space of the central state: 256 floats, see `envs.contracts.central`."""
    rows = describe_central()
    low, high = (np.array([row[key] for row in rows], np.float32) for key in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


class PackVectorEnv:
    """Many fights of one pack at once; NEXT_STEP autoreset.

    It has the methods of Gymnasium's vector environments, but is none of them: rewards are one per member.
    Agents are the pack's members, units 0 to k-1 of team 0; the enemies are scripts or styles.

    Observations are a dict: `local` float32 `(fight, member, 70)`, `global` float32 `(fight, 256)`
    (`envs.contracts.central`; for training only). Rewards are float64 `(fight, member)`, each by the weights
    of the member's own archetype, the exact sum of its `info["reward_terms"]`. A dead member sees zeros and
    has one legal action, which does nothing; its rewards go on, so that what the others make of its death
    can be credited to it.

    `info` holds `action_mask` bool `(fight, member, 8)`, `alive` bool `(fight, member)` and `outcome` int8
    `(fight,)`: 0 running, 1/-1 won/lost by kill, 2/-2 won/lost on time, 3 draw; after a step also
    `reward_terms`, one dict of name -> `(fight,)` per member, and `statistics` int32
    `(fight, member, statistic)` (see `envs.simulation.state.STATISTICS`).
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012  (Gymnasium's form)

    def __init__(
        self,
        num_envs: int = 1,
        archetype: str = "aggressive",
        scenario: str | None = None,
        opponent: str | None = None,
        *,
        team: Sequence[str] | None = None,
        enemies: Sequence[str] | None = None,
        level: int | None = None,
        threads: int = 1,
        learner: str = "policy",
        copy: bool = True,
        first_fight: int = 0,
        rules: str = "renewal",
        size: int = 32,
        terrain_name: str | None = None,
        log_damage: bool = False,
        reward: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up the fights.

        Args:
            num_envs: fights stepped together.
            archetype: of the first member; the others are its partners in the scenario.
            scenario: `3v3` to `5v5`, or a named one of that size; None takes the archetype's own.
            opponent: a tier, a style, `styles` or `switching`, as in `envs.arena`; None is classic. Members
                fight by a script of that tier where their order leaves it to them.
            team: archetypes of the members, in place of archetype and scenario.
            enemies: archetypes of the enemies, as many; None takes the scenario's, else the team's.
            level: 1 to 5, a level of the curriculum in place of scenario and opponent; at least 3v3.
            threads: threads of the simulation; results do not depend on it.
            learner: `policy`, or `script`: the traditional AI plays the pack (mirror baseline).
            copy: return copies; False returns views that the next step overwrites.
            first_fight: number of the first fight, to split one numbered batch over several environments.
            rules: `renewal` or `prerenewal`.
            size: cells per edge, 32 or 48.
            terrain_name: a layout of `envs.terrain`; None takes the scenario's.
            log_damage: keep who damaged whom, in `world.damage`.
            reward: weights laid over every member's published ones (`envs.rewards.weighed`), for learning.

        Raises:
            ConfigError: unknown archetype, scenario, opponent, terrain or reward term, a level beside the
                others, or a pack of less than 3 or more than 5.
        """
        if learner not in ("policy", "script"):
            raise ConfigError(f"unknown learner {learner!r}; 'policy' or 'script'")
        arguments = _world_arguments(archetype, scenario, opponent, team, enemies, level, size)
        teams = arguments.pop("teams")
        obeys = learner == "policy"
        if not obeys:  # a mirror: both sides alike
            arguments["tiers"] = (arguments["tiers"][1],) * 2
        if terrain_name is not None:
            arguments["terrain"] = terrain.layout(terrain_name, size)
        self.members, self.enemies = teams
        self.num_members, self.copy, self.num_envs = len(self.members), copy, num_envs
        self.opponent = f"level {level}" if level is not None else opponent or "classic"
        self.ledgers = [
            RewardLedger(weighed(archetypes.load(name), reward), self.num_members) for name in self.members
        ]
        self.single_local_space = local_space()
        self.single_action_space: spaces.Space[Any] = spaces.Discrete(NUM_PACK_ORDERS)
        self.single_state_space = state_space()
        self.world = World(
            num_envs,
            teams,
            learners=self.num_members if obeys else 0,
            observed=self.num_members,
            head="pack",
            first_fight=first_fight,
            threads=threads,
            rules=rules,
            log_damage=log_damage,
            **arguments,
        )
        kinds = [ARCHETYPES.index(archetypes.load(name).base) for name in self.members]
        self._kinds = np.eye(len(ARCHETYPES), dtype=np.float32)[kinds]
        self._local = np.zeros((num_envs, self.num_members, LOCAL_SIZE), np.float32)
        self._actions = np.zeros((num_envs, self.num_members), np.int32)
        self._central = np.zeros((num_envs, CENTRAL_SIZE), np.float32)
        self._tier, self._level = arguments["tiers"][1], level or 0
        self._never = np.zeros(num_envs, bool)
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin every fight anew: episode 0 under `seed`, or the next episode under the old seed.

        Raises:
            ValueError: a seed outside [0, 2^63).
        """
        if seed is not None and not 0 <= seed < _SEED_LIMIT:
            raise ValueError(f"seed {seed} is outside [0, 2^63)")
        if seed is None and not self._seeded:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
        self.world.reset(seed)
        self._seeded = True
        return self._observation(), self._info()

    def step(
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one decision window (200 ms) in every fight; one that had ended begins anew instead.

        Args:
            actions: whole numbers `(fight, member)` in 0..7, see `envs.contracts.PACK_ORDERS`; those of
                dead members do nothing.

        Returns:
            Observations, rewards `(fight, member)`, terminated and truncated `(fight,)`, info.
        """
        self._actions[...] = actions
        self.world.step(self._actions)
        stats = self.world.stats[:, : self.num_members]
        rewards = np.empty((self.num_envs, self.num_members), np.float64)
        terms = []
        for member, ledger in enumerate(self.ledgers):
            rewards[:, member], named = ledger(stats[:, member])
            terms.append(named)
        info = self._info()
        info["reward_terms"] = terms
        info["statistics"] = stats.copy() if self.copy else stats
        return self._observation(), rewards, self.world.outcome != s.RUNNING, self._never.copy(), info

    def alive(self) -> np.ndarray:
        """Which members live, bool `(fight, member)`."""
        return self.world.units[:, : self.num_members, f.HP] > 0

    def state(self) -> np.ndarray:
        """Return the central state of the pack's side, float32 `(fight, 256)`; for training only."""
        central_batch(self.world, self._central, tier=self._tier, level=self._level)
        return self._central.copy() if self.copy else self._central

    def world_view(self, fight: int) -> WorldView:
        """Return what a game server would send of a fight."""
        return self.world.view(fight)

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays; `set_state` continues exactly from there."""
        return self.world.get_state()

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `get_state`'s arrays."""
        self.world.set_state(state)
        self._seeded = True

    def close(self) -> None:
        """Stop the simulation's threads."""
        self.world.close()

    def _observation(self) -> dict[str, np.ndarray]:
        local = self._local
        local[..., :OBS_SIZE] = self.world.obs
        local[..., OBS_SIZE:] = self._kinds
        local[~self.alive()] = 0.0
        return {"local": local.copy() if self.copy else local, "global": self.state()}

    def _info(self) -> dict[str, Any]:
        masks = self.world.masks
        return {
            "action_mask": masks.copy() if self.copy else masks,
            "alive": self.alive(),
            "outcome": self.world.outcome.astype(np.int8),
        }


def member_info(info: dict[str, Any], member: int, masks: np.ndarray) -> dict[str, Any]:
    """Info of one member of a single fight, from `PackVectorEnv`'s; masks `(member, 8)`."""
    out: dict[str, Any] = {"action_mask": masks[member], "outcome": int(info["outcome"][0])}
    if "reward_terms" in info:
        terms = info["reward_terms"][member]
        out["reward_terms"] = {name: float(value[0]) for name, value in terms.items()}
        out["statistics"] = dict(zip(s.STATISTICS, info["statistics"][0, member].tolist(), strict=True))
    return out


def _world_arguments(
    archetype: str,
    scenario: str | None,
    opponent: str | None,
    team: Sequence[str] | None,
    enemies: Sequence[str] | None,
    level: int | None,
    size: int,
) -> dict[str, Any]:
    """Who fights whom, as arguments of `World`. Raises ConfigError, see `PackVectorEnv`."""
    if level is not None:
        if scenario is not None or opponent is not None:
            raise ConfigError(f"level {level} says who fights whom; give no scenario and no opponent with it")
        config = archetypes.load(archetype)
        arguments = curriculum.level(level).resolve(config).world_arguments() | {"size": size}
        if len(arguments["teams"][0]) < MIN_PACK:  # the first levels keep an archetype's own team
            arguments["teams"] = (config.team("3v3"),) * 2
    elif team is None:
        setting = scenarios.resolve(archetype, scenario, "pack")
        arguments = {
            "teams": setting.teams,
            **setting.arguments(size),
            **opponent_arguments(opponent or "classic"),
        }
    else:
        if scenario is not None:
            raise ConfigError("team and scenario both say who is in the pack; give one of them")
        arguments = {"teams": (tuple(team),) * 2, "size": size, **opponent_arguments(opponent or "classic")}
    own, theirs = arguments["teams"]
    if level is not None and team is not None:
        own = theirs = tuple(team)
    if enemies is not None:
        theirs = tuple(enemies)
    for name in (*own, *theirs):
        archetypes.load(name)
    if not MIN_PACK <= len(own) <= MAX_PACK:
        raise ConfigError(
            f"a pack of {len(own)} ({', '.join(own)}); packs have {MIN_PACK} to {MAX_PACK} members: "
            "scenario 3v3 to 5v5, or as many names in `team`"
        )
    if len(theirs) != len(own):
        raise ConfigError(
            f"{len(theirs)} enemies against a pack of {len(own)}; both sides have the same size"
        )
    arguments["teams"] = (own, theirs)
    return arguments


def __getattr__(name: str) -> type[PackParallelEnv]:
    """Import PettingZoo only where somebody asks for its form."""
    if name == "PackParallelEnv":
        from envs.pack_parallel import PackParallelEnv

        return PackParallelEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
