"""`python -m bench.training_peers NAME TASK`: train one peer, one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from bench.training_peers import PEERS
from bench.training_peers.base import measure, task_from


def main() -> int:
    """Train on one core."""
    parser = argparse.ArgumentParser(prog="python -m bench.training_peers", description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("task", help="the fields of base.Task as one JSON object")
    options = parser.parse_args()
    # One core, whatever pool of threads a library starts.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = measure(PEERS[options.name], task_from(options.task))
    # Trainers print what they like; the answer is the last line.
    print("\n" + json.dumps(asdict(result)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
