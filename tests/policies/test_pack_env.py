"""RLlib's form of the pack: the same fights as the native one, and RLlib's own runner can play them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from envs.configuration import ConfigError
from envs.contracts.vocabulary import NUM_PACK_ORDERS
from envs.pack import PackVectorEnv
from policies.pack_env import PackMultiAgentEnv, module_for


@pytest.mark.parametrize("masked", [False, True])
def test_rllibs_own_check(masked: bool) -> None:
    check_multiagent_environments(PackMultiAgentEnv({"archetype": "mage", "mask_in_observation": masked}))


def test_it_plays_the_fights_of_the_native_form() -> None:
    env = PackMultiAgentEnv({"archetype": "support", "opponent": "veteran", "mask_in_observation": True})
    vector = PackVectorEnv(1, "support", opponent="veteran")
    seen, _ = env.reset(seed=11)
    obs, info = vector.reset(seed=11)
    rng = np.random.default_rng(1)
    died_early: set[Any] = set()
    over = False
    while not over:
        for member, agent in enumerate(env.agents):
            assert env.get_observation_space(agent).contains(seen[agent])
            assert np.array_equal(seen[agent]["local"], obs["local"][0, member])
            assert np.array_equal(seen[agent]["global"], obs["global"][0])
            assert np.array_equal(seen[agent]["action_mask"].astype(bool), info["action_mask"][0, member])
        row = rng.integers(0, NUM_PACK_ORDERS, (1, env.vector.num_members))
        seen, rewards, ends, cuts, infos = env.step(dict(zip(env.agents, row[0], strict=True)))
        obs, paid, ended, _, info = vector.step(row)
        over = bool(ended[0])
        assert [rewards[agent] for agent in env.agents] == paid[0].tolist()
        assert ends == dict.fromkeys([*env.agents, "__all__"], over) and not any(cuts.values())
        for member, agent in enumerate(env.agents):
            assert rewards[agent] == sum(infos[agent]["reward_terms"].values())
            assert infos[agent]["alive"] == info["alive"][0, member]
            if not infos[agent]["alive"] and not over:
                died_early.add(agent)
                assert not seen[agent]["local"].any() and seen[agent]["action_mask"].tolist() == [1] + [0] * 7
    assert died_early  # else the lines above were never run
    assert infos["monster_0"]["outcome"] == info["outcome"][0] != 0


class Uniform(TorchRLModule):
    """Every order equally likely; reads what an actor reads."""

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        rows = len(batch[Columns.OBS]["local"])
        return {Columns.ACTION_DIST_INPUTS: torch.zeros(rows, NUM_PACK_ORDERS)}

    def get_inference_action_dist_cls(self) -> Any:
        from ray.rllib.models.torch.torch_distributions import TorchCategorical

        return TorchCategorical

    get_exploration_action_dist_cls = get_train_action_dist_cls = get_inference_action_dist_cls


def test_rllibs_runner_plays_a_whole_fight_with_one_module_per_archetype() -> None:
    team = ("tank", "mage", "mage")
    specs = {name: RLModuleSpec(module_class=Uniform) for name in set(team)}
    config = (
        PPOConfig()
        .environment(PackMultiAgentEnv, env_config={"team": team})
        .multi_agent(policies=set(team), policy_mapping_fn=module_for(team))
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=specs))
        .debugging(seed=3)
    )
    runner = MultiAgentEnvRunner(config=config)
    (episode,) = runner.sample(num_episodes=1)
    runner.stop()
    parts = episode.agent_episodes
    assert {agent: part.module_id for agent, part in parts.items()} == {
        "monster_0": "tank",
        "monster_1": "mage",
        "monster_2": "mage",
    }
    # All act until the fight's end, the dead too.
    assert {len(part) for part in parts.values()} == {episode.env_t} and episode.is_terminated


def test_bad_configuration_and_actions() -> None:
    with pytest.raises(ConfigError, match=r"env_config: unknown key 'archtype'; did you mean 'archetype'"):
        PackMultiAgentEnv({"archtype": "tank"})
    env = PackMultiAgentEnv()
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"actions for \['monster_0'\]; every step needs one for each"):
        env.step({"monster_0": 0})
