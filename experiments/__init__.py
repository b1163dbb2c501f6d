"""The work: the experiment matrix on Ray Tune, evaluation, the gate, the report and the command line.

Heavy libraries (ray, torch, numba) are imported only by the functions that need them, so that
``monster --help`` answers at once.
"""

from __future__ import annotations

import os

# ONNX Runtime 1.29 and later reports what models a program loads, and keeps a device id under the user's
# home, unless it is told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
