"""What a newcomer may do after a run: commands as they have to be typed here, and a request to try."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from experiments.ledger import write_json

SAMPLE_REQUEST = "request.json"


def write_sample_request(home: Path, archetype: str, seed: int) -> None:
    """Leaves a request to try the service with: a world view in the middle of a fight."""
    from experiments.game_server import sample_request

    write_json(home / SAMPLE_REQUEST, sample_request(archetype, seed))


def monster_command() -> str:
    """The command as the user has to type it here: by its name where the shell finds it, else by its path."""
    here = Path(sys.argv[0])
    if here.name != "monster":
        return "monster"
    found = shutil.which("monster")
    if found is not None and os.path.realpath(found) == os.path.realpath(here):
        return "monster"
    shown = os.path.relpath(here)
    return str(here) if shown.startswith("..") else shown


def next_steps(home: Path) -> list[tuple[str, str]]:
    """What a newcomer may do after the demo: pairs of what it does and a command."""
    shown = os.path.relpath(home)
    shown = shown if not shown.startswith("..") else str(home)
    monster = monster_command()
    return [
        ("Serve the deployed minds", f"{monster} serve --home {shown} --port 8000"),
        (
            "Ask one for a decision (another terminal)",
            "curl -s localhost:8000/v1/decide -H 'Content-Type: application/json'"
            f" -d @{shown}/{SAMPLE_REQUEST}",
        ),
        ("See what is registered", f"{monster} registry list --home {shown}"),
        (
            "Plan a run of your own",
            f"{monster} train --archetypes mage --epochs 60 --seed 1 --home {shown} --dry-run",
        ),
    ]
