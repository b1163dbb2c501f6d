"""The combat rules in plain Python: the readable specification, and the oracle of the compiled kernel.

Read `fight` (order of events within a tick), `rules` (damage, skills, movement) and `script` (the
traditional AI). Everything is a whole number. Tests step this and `envs.simulation` side by side
and demand equal tables, so a change of the rules is written here first. The numbers of the rules
stand here a second time on purpose: a slip in either copy fails those tests.
"""

from __future__ import annotations

from envs.reference.fight import Fight
from envs.reference.unit import Unit
from envs.reference.world import ReferenceWorld

__all__ = ["Fight", "ReferenceWorld", "Unit"]
