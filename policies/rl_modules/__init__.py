"""Thin RLlib adapters around the plain networks."""
