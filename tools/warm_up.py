"""Compiles the simulation kernel once, so that what runs next, perhaps in several processes, finds it cached.

Numba keeps compiled functions beside their source; two processes that start with an empty cache would both
compile for half a minute. With a warm cache this takes a few seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def warm_up() -> float:
    """Run one step of a fight in every way the kernel can be called; returns the seconds it took."""
    started = time.perf_counter()
    import numpy as np

    from envs.combat import CombatVectorEnv
    from envs.control import ControlVectorEnv
    from envs.simulation import perception
    from envs.simulation.history import History

    for threads in (1, 2):
        for learner in ("policy", "script"):
            env = CombatVectorEnv(num_envs=2, archetype="tank", threads=threads, learner=learner)
            env.reset(seed=0)
            env.step(np.zeros(2, dtype=np.int64))
            env.close()
    control = ControlVectorEnv(num_envs=2)
    control.reset(seed=0)
    control.step(np.zeros((2, 5), np.float32))
    history = History(control.world)
    history.push()
    windows, mask = perception.new_windows(history, [0])
    perception.central_batch(control.world, np.zeros((2, 256), np.float32))
    perception.grid_batch(history, [0], np.zeros((2, 1, 12, 32, 32), np.uint8))
    perception.token_batch(history, [0], np.zeros((2, 1, 80), np.float32))
    perception.window_batch(history, [0], windows, mask)
    control.close()
    return time.perf_counter() - started


if __name__ == "__main__":
    seconds = warm_up()
    sys.stdout.write(f"simulation kernel ready ({seconds:.1f} s)\n")
