"""Vector environments by description: what a run says of its world becomes one native environment."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.registration import register
from policies.columnar.flat_rows import FlatRows

# Gymnasium ids that `envs.registration` registers.
OWN_ID_PREFIX = "MLMonster/"


def make_vector_env(spec: Mapping[str, Any], num_envs: int) -> VectorEnv:
    """Make the vector environment that a run describes.

    Args:
        spec: Either {"id": a Gymnasium id with a vector entry point, and its keyword arguments}, or
            {"factory": "package.module:callable", and its keyword arguments}; the callable gets num_envs too.
        num_envs: Fights side by side.

    Returns:
        An environment that resets by itself on the step after an end (NEXT_STEP), with one row of numbers as
        observation.

    Raises:
        ValueError: Neither id nor factory given, or an environment that resets in another way: its rows
            would be read wrongly without any error.
    """
    arguments = {
        key: value for key, value in spec.items() if key not in ("id", "factory") and value is not None
    }
    if "factory" in spec:
        module_name, _, name = str(spec["factory"]).partition(":")
        env = getattr(importlib.import_module(module_name), name)(num_envs=num_envs, **arguments)
    elif "id" in spec:
        if str(spec["id"]).startswith(OWN_ID_PREFIX):
            register()
            # The runner copies each row into its own arrays at once, so the environment may reuse its
            # buffers.
            arguments.setdefault("copy", False)
        env = gymnasium.make_vec(
            str(spec["id"]), num_envs=num_envs, vectorization_mode="vector_entry_point", **arguments
        )
    else:
        raise ValueError(f"run.env has the keys {sorted(spec)}; give 'id' (a Gymnasium id) or 'factory'")
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"the vector environment {spec.get('id', spec.get('factory'))!r} declares autoreset mode {mode}; "
            "the columnar runner takes the row after an end for the reset row, so it must be "
            "AutoresetMode.NEXT_STEP"
        )
    return FlatRows(env) if isinstance(env.single_observation_space, spaces.Dict) else env
