"""Our own trainer on the tasks of the others, measured as they are: all threads of the process count."""

from __future__ import annotations

from typing import Any

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from policies.profiles import resolve_run
from policies.training import build_trainer

NOTES = {
    "ppo": "masked actions",
    "dqn": "masked actions, double, dueling, prioritized, three-step returns",
    "sac": "three-step returns",
}
MODEL_TYPES = {"ppo": "movement_ppo", "dqn": "combat_dqn", "sac": "soft_actor_critic"}


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    env = "Control" if task.algorithm == "sac" else "Combat"
    hidden = [task.hidden, task.hidden]
    training: dict[str, Any] = {
        "epochs": 1_000_000,
        "num_envs": task.num_envs,
        "rollout_length": task.rollout_length,
        "rounds_per_epoch": 1,
        "gamma": task.gamma,
        "grad_clip": base.GRAD_NORM,
    }
    model: dict[str, Any] = {"hidden_dims": hidden}
    if task.algorithm == "ppo":
        model = {"shared_dims": [], "actor_dims": hidden, "critic_dims": hidden}
        training |= {
            "minibatch_size": task.minibatch,
            "passes": task.epochs,
            "gae_lambda": task.gae_lambda,
            "clip": task.clip,
            "entropy_coeff": base.ENTROPY,
            "value_coeff": base.VALUE_WEIGHT,
        }
    else:
        training |= {
            "batch_size": task.minibatch,
            "updates_per_round": task.updates_per_round,
            "learning_starts": task.learning_starts,
            "buffer_capacity": base.CAPACITY,
        }
    if task.algorithm == "dqn":
        training |= {
            "target_period": base.TARGET_PERIOD,
            "priority_alpha": base.PRIORITY_ALPHA,
            "epsilon_initial": base.EXPLORATION,
        }
    trainer = build_trainer(
        resolve_run(
            MODEL_TYPES[task.algorithm],
            {"id": f"MLMonster/{env}-v0", "archetype": "aggressive", "opponent": "classic"},
            learning_rate=task.lr,
            seed=task.seed,
            overrides={"model": model, "training": training},
        )
    )
    while not clock.over(int(trainer.train_epoch()["env_steps"])):
        pass
    trainer.stop()
    return NOTES[task.algorithm]
