"""Watching a fight: recorded, simulated again, and shown as a page, a film or JSON."""

from __future__ import annotations
