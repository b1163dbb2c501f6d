"""Which symmetries of the world a run's batches may be turned by."""

from __future__ import annotations

from envs.configuration import ConfigError
from envs.symmetries import Symmetries
from policies.columnar.vector_env import make_vector_env
from policies.settings import Run


def symmetries_of(run: Run) -> Symmetries | None:
    """The symmetries of a run's environment; None if the run asks for none.

    Turns and mirrors that keep the ground as it is; units are renumbered only where they are alike.

    Raises:
        ConfigError: The run asks for them in an environment that has none.
    """
    if not run.training.symmetries:
        return None
    env = make_vector_env(dict(run.env), 1)
    try:
        world = getattr(env.unwrapped, "world", None)
        if world is None:
            name = run.env.get("id", run.env.get("factory"))
            raise ConfigError(
                f"training.symmetries: the symmetries of {name!r} are not known; set it to false, or train "
                "in an environment of MLMonster"
            )
        return Symmetries.of_world(world)
    finally:
        env.close()
