"""Other projects' trainers, learning in our environments beside our own in `bench.training`.

Each module is one project: `run(task, clock)` trains with that project's own sampling and learning, of which
`base.Clock` measures the stretch after the warm-up. Every trainer runs in a process of its own
(`python -m bench.training_peers sb3 '{"algorithm": "ppo", ...}'`), since some lie in another environment than
ours (`make peers`) and none may slow the start of another.

Common to all rows: one thread on one core; our natively vectorised environment through the thinnest adapter
that the project allows; `aggressive` against `classic`, `MLMonster/Combat-v0` for PPO and DQN and
`MLMonster/Control-v0` for SAC; two hidden layers for the actor and two more for the critic; Adam; no logs, no
checkpoints and no evaluation. None of the projects masks actions unless its row says so. What a trainer does
differently stands in its row's note.
"""

from __future__ import annotations

from bench.training_peers.base import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("ml_monster", "ml-monster", ("ppo", "dqn", "sac")),
        Peer("sb3", "stable-baselines3", ("ppo", "dqn", "sac")),
        Peer("tianshou", "tianshou", ("ppo", "dqn", "sac")),
        Peer("torchrl", "torchrl", ("ppo", "dqn", "sac")),
        Peer("sample_factory", "sample-factory", ("ppo",)),
        Peer("pufferlib", "pufferlib", ("ppo",)),
    )
}
"""All trainers by name, which is also the name of the module."""
