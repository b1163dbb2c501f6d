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

    for threads in (1, 2):
        for learner in ("policy", "script"):
            env = CombatVectorEnv(num_envs=2, archetype="tank", threads=threads, learner=learner)
            env.reset(seed=0)
            env.step(np.zeros(2, dtype=np.int64))
            env.close()
    return time.perf_counter() - started


if __name__ == "__main__":
    seconds = warm_up()
    sys.stdout.write(f"simulation kernel ready ({seconds:.1f} s)\n")
