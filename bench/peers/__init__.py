"""Public environments of other projects, stepped on the CPU beside ours by `bench.simulation`.

Each module is one adapter: a public name, the package it needs, and `start()`, which makes the environment
and returns what plays it. Adapters import their package inside `start`, and nothing of ours but `bench`, so
that a peer can run in a Python of its own: `python -m bench.peers smax` (`make peers` builds one, since JAX
slows every start of RLlib in the environment where it lies).

Common to all rows: one thread on one core, random actions drawn beforehand, observations and rewards of all
agents in every step, episodes begun anew when they end, the peer's own fastest documented way of stepping.
"""

from __future__ import annotations

from bench.peers import battle, battle_dicts, simple_tag, smax, tag_vectorised
from bench.peers.base import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (simple_tag.PEER, battle_dicts.PEER, battle.PEER, tag_vectorised.PEER, smax.SMALL, smax.LARGE)
}
"""All peers by name, slowest form first."""
