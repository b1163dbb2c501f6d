"""The minds: torch model classes, how they learn (the columnar RLlib lane) and how they are exported.

Importing the package loads nothing heavy. The plain networks (`policies.combat_dqn`) need torch only; RLlib
is loaded by `policies.training.build_trainer`, ONNX by `policies.export`.
"""

from __future__ import annotations

import os

# ONNX Runtime 1.29 and later reports what models a program loads, and keeps a device id under the user's
# home, unless it is told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.5.0"
