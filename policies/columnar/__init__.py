"""The columnar lane: RLlib's Algorithm, Learner and losses, fed by arrays instead of episode objects.

`env_runner` steps one native vector environment and writes arrays `(env, time, ...)` in place, `replay`
keeps them in a ring with prioritized sampling, `learner` runs RLlib's own DQN loss without its per-update
bookkeeping, and `dqn` ties them together as an RLlib Algorithm.
"""
