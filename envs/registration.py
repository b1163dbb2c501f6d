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

HEAD_IDS = {
    f"MLMonster/{name}-v0": (f"envs.{module}:{name}Env", f"envs.{module}:{name}VectorEnv")
    for module, name in (
        ("combat", "Combat"),
        ("movement", "Movement"),
        ("skill", "Skill"),
        ("control", "Control"),
    )
}
"""Id -> entry points of the single and of the native vector environment."""


def register() -> None:
    """Register our ids with Gymnasium; a second call does nothing."""
    from gymnasium.envs import registration

    for name, (single, vector) in HEAD_IDS.items():
        if name not in registration.registry:
            registration.register(name, entry_point=single, vector_entry_point=vector)


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
