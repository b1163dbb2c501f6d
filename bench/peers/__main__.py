"""`python -m bench.peers NAME`: measure one peer, one JSON line."""

from __future__ import annotations

import argparse
import os
import sys

from bench.peers import PEERS
from bench.peers.base import answer, version
from bench.rates import measure


def main() -> int:
    """Measure the peer on one core."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    peer = PEERS[options.name]
    if not version(peer.package):
        print(answer(peer, None, f"{peer.package} is not installed"))
        return 0
    # One core, whatever pool of threads a library starts.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(answer(peer, measure(peer.start(), options.seconds, options.repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
