"""The commands behind the published figures; run them as `python -m bench.NAME` from the repository root."""
