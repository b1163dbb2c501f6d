"""TeamModule on both lanes: what the runner calls, and RLlib's own multi-agent runner with a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from policies.pack_env import PackMultiAgentEnv
from policies.rl_modules.team import TeamModule

NETWORK = {"layers": 2, "units": 4, "critic_dims": [6]}


def module(space: spaces.Space[Any]) -> TeamModule:
    torch.manual_seed(2)
    made = TeamModule(
        observation_space=space,
        action_space=spaces.Discrete(3),
        model_config={"network": {**NETWORK, "state_size": 7}, "keep_logits": True},
    )
    with torch.no_grad():
        made.net.actor.policy_head.weight.normal_()
    return made


def columnar() -> TeamModule:
    return module(spaces.Box(-1, 1, (5,), np.float32))


def stock() -> TeamModule:
    parts = {"local": spaces.Box(-1, 1, (5,), np.float32), "global": spaces.Box(-1, 1, (7,), np.float32)}
    return module(spaces.Dict({**parts, "action_mask": spaces.MultiBinary(3)}))


def test_acting_draws_legal_orders_and_says_how_likely_they_were() -> None:
    made = columnar()
    made.exploration_random.manual_seed(0)
    mask = torch.rand(40, 3) < 0.5
    mask[:, 1] = True
    columns = {"obs": torch.randn(40, 5), "action_mask": mask, **made.initial_state(40)}
    output = made.act(columns, explore=True, env_steps=0)
    actions = output["actions"]
    assert bool(mask.gather(1, actions[:, None]).all())
    expected = torch.log_softmax(output["action_dist_inputs"], dim=1).gather(1, actions[:, None])[:, 0]
    torch.testing.assert_close(output["action_logp"], expected)
    assert output["state_h"].shape == (40, 2, 4) and bool(output["state_h"].abs().sum() > 0)
    greedy = made.act(columns, explore=False, env_steps=0)
    assert torch.equal(greedy["actions"], output["action_dist_inputs"].argmax(dim=1))


def test_central_state_reaches_the_critic_and_not_the_actor() -> None:
    made = columnar()
    columns = {"obs": torch.randn(6, 5), **made.initial_state(6)}
    one, other = torch.zeros(3, 7), torch.ones(3, 7)
    values = [made.compute_values({"obs": columns["obs"], "central": central}) for central in (one, other)]
    assert bool((values[0] - values[1]).abs().min() > 1e-5)
    acted = [made.act(columns | {"central": c}, explore=False, env_steps=0) for c in (one, other)]
    assert torch.equal(acted[0]["actions"], acted[1]["actions"])
    assert torch.equal(acted[0]["state_h"], acted[1]["state_h"])


def test_stock_form_equals_the_columnar_one() -> None:
    one, other = columnar(), stock()
    other.net.load_state_dict(one.net.state_dict())
    local, central = torch.randn(4, 3, 5), torch.randn(4, 3, 7)
    mask = torch.rand(4, 3, 3) < 0.6
    state = one.initial_state(4)
    batch = {
        Columns.OBS: {"local": local, "global": central, "action_mask": mask.to(torch.int8)},
        Columns.STATE_IN: state,
    }
    output = other._forward(batch)
    for t in range(3):
        acted = one.act({"obs": local[:, t], "action_mask": mask[:, t], **state}, explore=True, env_steps=0)
        state = {name: acted[name] for name in ("state_h", "state_c")}
        torch.testing.assert_close(output[Columns.ACTION_DIST_INPUTS][:, t], acted["action_dist_inputs"])
    torch.testing.assert_close(output[Columns.STATE_OUT]["state_c"], state["state_c"])
    # A fight of one member in each row.
    expected = one.compute_values({"obs": local, "central": central})
    torch.testing.assert_close(other.compute_values(batch), expected)
    assert {name: part.shape for name, part in other.get_initial_state().items()} == {
        "state_h": (2, 4),
        "state_c": (2, 4),
    }


def test_rllibs_own_runner_plays_with_it() -> None:
    config = PPOConfig()
    config.environment(PackMultiAgentEnv, env_config={"archetype": "tank", "mask_in_observation": True})
    config.env_runners(num_env_runners=0)
    config.multi_agent(policies={"pack"}, policy_mapping_fn=lambda *a, **k: "pack")
    spec = RLModuleSpec(module_class=TeamModule, model_config={"network": NETWORK, "max_seq_len": 8})
    config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={"pack": spec}))
    runner = MultiAgentEnvRunner(config)
    episodes = runner.sample(num_timesteps=20, random_actions=False)
    for episode in episodes:
        for agent in episode.agent_episodes.values():
            obs, actions = agent.get_observations(), agent.get_actions()
            for t in range(len(agent)):
                assert obs["action_mask"][t][actions[t]] == 1
    runner.stop()
