"""The arena: what the environments of all heads share.

Each head has its own module with a vector class (native, many fights at once) and a single one; they
differ in the meaning of an action and in what is seen beside the 64 floats of `obs_v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs import archetypes, curriculum, scenarios, terrain
from envs.configuration import ConfigError, nearest
from envs.contracts import layout as f
from envs.contracts.checks import OBS_LIMIT
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import NUM_SKILL_SLOTS, OBS_SIZE
from envs.rewards import RewardLedger, weighed
from envs.simulation import state as s
from envs.simulation.world import TIERS, World

if TYPE_CHECKING:
    from envs.render import Painter

_SEED_LIMIT = 2**63
MIXED, SWITCHING = "styles", "switching"
OPPONENTS = (*TIERS, *s.STYLES[1:], MIXED, SWITCHING)
"""Traditional AI by tier, one style, or all six: one per fight, or another one from its middle on."""
RENDER_MODES = ("rgb_array",)
RENDER_FPS = 5
"""Pictures per second of play: one per decision."""


def vector_box() -> spaces.Box:
    """Return the space of `obs_v1`: 64 floats in [-1, 1], positions relative to oneself in [-2, 2]."""
    limit = np.ones(OBS_SIZE, np.float32)
    for first in (*range(20, 50, 6), *range(50, 62, 3)):
        limit[first : first + 2] = OBS_LIMIT  # dx, dy
    return spaces.Box(-limit, limit, dtype=np.float32)


def opponent_arguments(opponent: str, usual: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return who plays how, as arguments of `World`: tiers of both sides, the enemies' styles, switching.

    Teams are mirrored: the scripts of the learner's side play at the tier of the enemies, so that the
    traditional AI in the learner's place wins half of its fights. Only passive enemies face classic ones,
    because somebody has to begin. A tier leaves the styles that are `usual` for the scenario.

    Raises:
        ConfigError: unknown opponent.
    """
    if opponent not in OPPONENTS:
        raise ConfigError(f"unknown opponent {opponent!r}{nearest(opponent, OPPONENTS)}")
    styles = usual if opponent in TIERS else s.STYLES[1:] if opponent in (MIXED, SWITCHING) else (opponent,)
    tier = opponent if opponent in TIERS else "classic"
    return {
        "tiers": ("classic" if tier == "passive" else tier, tier),
        "styles": ((), styles),
        "switching": opponent == SWITCHING,
    }


class ArenaVectorEnv(VectorEnv):
    """Many fights at once, natively vectorised; NEXT_STEP autoreset.

    The learner is unit 0 of team 0; its team mates and all enemies are scripts of one tier. Rewards are
    float64 `(fight,)`, the exact sum of `info["reward_terms"]`.

    `info` holds `action_mask` bool `(fight, action)` (heads with discrete actions), `reward_terms` name ->
    `(fight,)`, `statistics` int32 `(fight, statistic)` (see `envs.simulation.state.STATISTICS`) and `outcome`
    int8 `(fight,)`: 0 running, 1/-1 won/lost by kill, 2/-2 won/lost on time, 3 draw.
    """

    metadata = {  # noqa: RUF012  (Gymnasium's form)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
    }
    head: ClassVar[str]
    learner_unit = 0

    def __init__(
        self,
        num_envs: int = 1,
        archetype: str = "aggressive",
        scenario: str | None = None,
        opponent: str | None = None,
        *,
        level: int | None = None,
        threads: int = 1,
        learner: str = "policy",
        copy: bool = True,
        first_fight: int = 0,
        rules: str = "renewal",
        size: int = 32,
        terrain_name: str | None = None,
        mask_in_observation: bool = False,
        log_damage: bool = False,
        render_mode: str | None = None,
        reward: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up the fights.

        Args:
            num_envs: fights stepped together.
            archetype: of the learner.
            scenario: `1v1` to `5v5` (mirrored teams) or a named one (`envs.scenarios`); None takes the one in
                which this archetype learns with this head.
            opponent: tier of the scripts (passive, classic, veteran), a style of the enemies (rusher, kiter,
                focus_fire, healer_first, turtle, random), `styles` (one drawn per fight) or `switching`
                (another one from the middle of the fight on); None is classic. Team mates, and where a head
                moves only the feet or names only a target the learner's own hands, are of the same tier;
                against passive enemies and styles they are classic.
            level: 1 to 5, a level of the curriculum in place of scenario and opponent.
            threads: threads of the simulation; results do not depend on it.
            learner: `policy`, or `script`: the traditional AI plays the learner's part (mirror baseline).
            copy: return copies; False returns views that the next step overwrites.
            first_fight: number of the first fight, to split one numbered batch over several environments.
            rules: `renewal` or `prerenewal`.
            size: cells per edge, 32 or 48.
            terrain_name: a layout of `envs.terrain`; None takes the scenario's.
            mask_in_observation: observations become a Dict with `action_mask` beside `observation`.
            log_damage: keep who damaged whom, in `world.damage`.
            render_mode: `rgb_array`, or None for no pictures.
            reward: weights laid over the archetype's published ones (`envs.rewards.weighed`), for learning.

        Raises:
            ConfigError: unknown archetype, scenario, opponent, terrain, render mode or reward term, or a
                level beside the others.
        """
        if learner not in ("policy", "script"):
            raise ConfigError(f"unknown learner {learner!r}; 'policy' or 'script'")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ConfigError(f"unknown render_mode {render_mode!r}{nearest(render_mode, RENDER_MODES)}")
        config = archetypes.load(archetype)
        obeys = learner == "policy"
        if level is not None:
            if scenario is not None or opponent is not None:
                raise ConfigError(
                    f"level {level} says who fights whom; give no scenario and no opponent with it"
                )
            setup = curriculum.level(level).resolve(config)
            arguments = setup.world_arguments()
            self.scenario, self.opponent = setup.scenario, f"level {level}"
            arguments |= {"size": size, "terrain": None}
        else:
            setting = scenarios.resolve(archetype, scenario, self.head)
            self.scenario, self.opponent = setting.scenario, opponent or "classic"
            arguments = {
                "teams": setting.teams,
                **setting.arguments(size),
                **opponent_arguments(self.opponent, setting.enemy_styles),
            }
        if terrain_name is not None:
            arguments["terrain"] = terrain.layout(terrain_name, size)
        if not obeys:  # a mirror: both sides alike
            arguments["tiers"] = (arguments["tiers"][1],) * 2
        teams = arguments.pop("teams")
        self.archetype, self.level = archetype, level
        self.num_envs, self.copy, self.render_mode = num_envs, copy, render_mode
        self.mask_in_observation = mask_in_observation
        self.ledger = RewardLedger(weighed(config, reward), len(teams[0]))
        self.world = World(
            num_envs,
            teams,
            learners=1 if obeys else 0,
            observed=1,
            head=self.head,
            first_fight=first_fight,
            threads=threads,
            rules=rules,
            log_damage=log_damage,
            **arguments,
        )
        self.single_action_space = self.build_action_space()
        self.single_observation_space = self.build_observation_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._actions = np.zeros((num_envs, 1), np.int32)
        self._present = np.ones(num_envs, bool)
        self._never = np.zeros(num_envs, bool)
        self._painter: Painter | None = None

    def build_action_space(self) -> spaces.Space[Any]:
        """Return the action space of one fight."""
        return spaces.Discrete(self.world.masks.shape[-1])

    def build_observation_space(self) -> spaces.Space[Any]:
        """Return the space of one observation: 64 floats, or a Dict with the mask beside them."""
        if not self.mask_in_observation:
            return vector_box()
        mask = spaces.MultiBinary(self.world.masks.shape[-1])
        return spaces.Dict({"observation": vector_box(), "action_mask": mask})

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin every fight anew: episode 0 under `seed`, or the next episode under the old seed.

        Returns:
            Observations and info.
        """
        if isinstance(seed, list):
            seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
        if seed is not None and not 0 <= seed < _SEED_LIMIT:
            raise ValueError(f"seed {seed} is outside [0, 2^63)")
        super().reset(seed=None if seed is None else seed % 2**32)
        self.world.reset(self._draw_seed() if seed is None and not hasattr(self, "_seeded") else seed)
        self._seeded = True
        return self._observation(), self._info()

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one decision window (200 ms) in every fight.

        Args:
            actions: one row per fight, in the head's action space.
        """
        self.carry_out(actions)
        return self._result()

    def carry_out(self, actions: Any) -> None:
        """Play one window with whole numbers `(fight,)`."""
        self._actions[:, 0] = actions
        self.world.step(self._actions)

    def step_orders(self, orders: np.ndarray, actions: np.ndarray | None = None) -> Any:
        """As `step`, with concrete orders int32 `(fight, 5)`, as a game server carries them out.

        `actions` is what the units remember as their last action (default: none).

        Raises:
            ValueError: wrong shape, or a number that no order has.
        """
        self._actions[:, 0] = -1 if actions is None else actions
        self.world.step_orders(self._checked(orders)[:, None], self._actions)
        return self._result()

    def rows(self) -> np.ndarray:
        """What the learner sees now as rows of numbers without the mask, float32 `(fight, number)`."""
        return np.asarray(self.world.obs[:, 0])

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """Return a picture of every fight, uint8 `(height, width, 3)`, or None without a render mode."""
        if self.render_mode is None:
            return None
        from envs.render import painter_for, render_world

        if self._painter is None:
            self._painter = painter_for(self.world)
        return tuple(render_world(self.world, fight, self._painter) for fight in range(self.num_envs))

    def world_view(self, fight: int) -> WorldView:
        """Return what a game server would send of a fight."""
        return self.world.view(fight)

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays; `set_state` continues exactly from there."""
        return self.world.get_state()

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `get_state`'s arrays; returns nothing, the next `step` is exact."""
        self.world.set_state(state)
        self._seeded = True

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the simulation's threads."""
        # Gymnasium also closes what failed in __init__: then there is no simulation yet.
        if hasattr(self, "world"):
            self.world.close()

    def _checked(self, orders: np.ndarray) -> np.ndarray:
        """Orders within their limits; the compiled kernel trusts what it gets."""
        rows = np.ascontiguousarray(orders, np.int32)
        if rows.shape != (self.num_envs, f.NUM_ORDER_FIELDS):
            raise ValueError(
                f"orders of shape {rows.shape}; this needs ({self.num_envs}, {f.NUM_ORDER_FIELDS})"
            )
        low = np.full(rows.shape, (f.O_HOLD, -1, -1, -1, -1), np.int32)
        low[rows[:, f.ORDER_KIND] == f.O_SKILL, f.ORDER_SKILL] = 0
        high = (f.O_FUMBLE, NUM_SKILL_SLOTS - 1, self.world.units.shape[1] - 1, 1, 1)
        wrong = ((rows < low) | (rows > high)).any(axis=1)
        if wrong.any():
            fight = int(wrong.argmax())
            raise ValueError(
                f"order {rows[fight].tolist()} of fight {fight}: kind 0..{f.O_FUMBLE}, skill slot "
                f"0..{NUM_SKILL_SLOTS - 1} (-1 but for a skill), target -1..{high[2]}, "
                "direction -1..1; build it with `order_row`"
            )
        return rows

    def _draw_seed(self) -> int:
        return int(self.np_random.integers(2**62))

    def _observation(self) -> Any:
        obs = self.world.obs[:, 0]
        if self.mask_in_observation:
            return {"observation": obs.copy(), "action_mask": self.world.masks[:, 0].astype(np.int8)}
        return obs.copy() if self.copy else obs

    def _result(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        stats = self.world.stats[:, self.learner_unit]
        reward, terms = self.ledger(stats)
        terminated = self.world.outcome != s.RUNNING
        info = self._info()
        info["reward_terms"] = terms
        info["statistics"] = stats.copy() if self.copy else stats
        info["_reward_terms"] = info["_statistics"] = self._present
        return self._observation(), reward, terminated, self._never.copy(), info

    def _info(self) -> dict[str, Any]:
        info = {"outcome": self.world.outcome.astype(np.int8), "_outcome": self._present}
        if isinstance(self.single_action_space, spaces.Discrete):
            mask = self.world.masks[:, 0]
            info |= {"action_mask": mask.copy() if self.copy else mask, "_action_mask": self._present}
        return info


class ArenaEnv(gymnasium.Env[Any, Any]):
    """One fight as a plain Gymnasium environment; see `ArenaVectorEnv` for arguments and info."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012  (Gymnasium's form)

    vector_class: ClassVar[type[ArenaVectorEnv]]

    def __init__(
        self,
        archetype: str = "aggressive",
        scenario: str | None = None,
        opponent: str | None = None,
        **kwargs: Any,
    ):
        """Set up the fight; arguments as `ArenaVectorEnv`."""
        self._vector = self.vector_class(1, archetype, scenario, opponent, **kwargs)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space
        self.render_mode = self._vector.render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next fight: episode 0 under `seed`."""
        super().reset(seed=seed)
        if seed is None and not hasattr(self._vector, "_seeded"):
            seed = int(self.np_random.integers(2**62))
        obs, info = self._vector.reset(seed=seed)
        return self._first(obs), self._first_info(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play one decision window (200 ms)."""
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        obs, reward, terminated, truncated, info = self._vector.step(np.array([action]))
        return (
            self._first(obs),
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            self._first_info(info),
        )

    def render(self) -> Any:
        """Return a picture of the fight, uint8 `(height, width, 3)`, or None without a render mode."""
        pictures = self._vector.render()
        return None if pictures is None else pictures[0]

    def world_view(self) -> WorldView:
        """Return what a game server would send."""
        return self._vector.world_view(0)

    def close(self) -> None:
        """Release the simulation."""
        self._vector.close()

    @staticmethod
    def _first(obs: Any) -> Any:
        return {key: value[0] for key, value in obs.items()} if isinstance(obs, dict) else obs[0]

    @classmethod
    def _first_info(cls, info: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {"outcome": int(info["outcome"][0])}
        if "action_mask" in info:
            out["action_mask"] = info["action_mask"][0]
        if "reward_terms" in info:
            out["reward_terms"] = {name: float(value[0]) for name, value in info["reward_terms"].items()}
            out["statistics"] = dict(zip(s.STATISTICS, info["statistics"][0].tolist(), strict=True))
        return out


assert len(s.STATISTICS) == s.NUM_STATISTICS and f.NUM_ORDER_FIELDS == 5
