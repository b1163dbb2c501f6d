"""Gymnasium ids, registered by string so that nothing heavy is imported until an environment is made.

`import envs` must stay light (a service reads `envs.contracts` and needs no Gymnasium), yet the ids
must be there whichever of the two is imported first. Gymnasium has no plugin hook any more, so we
wait for its import and register right behind it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

COMBAT_ID = "MLMonster/Combat-v0"


def register() -> None:
    """Register our ids with Gymnasium; a second call does nothing."""
    from gymnasium.envs import registration

    if COMBAT_ID not in registration.registry:
        registration.register(
            COMBAT_ID,
            entry_point="envs.combat:CombatEnv",
            vector_entry_point="envs.combat:CombatVectorEnv",
        )


class _WhenGymnasiumLoads(importlib.abc.MetaPathFinder):
    """Steps aside at the first import of Gymnasium and registers our ids when it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_soon() -> None:
    """Register now if Gymnasium is loaded, otherwise as soon as it is."""
    if "gymnasium" in sys.modules:
        register()
    elif not any(isinstance(finder, _WhenGymnasiumLoads) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenGymnasiumLoads())
