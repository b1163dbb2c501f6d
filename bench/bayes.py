"""How well anybody can tell the six styles apart: the exact posterior, by what is seen and for how long.

    python -m bench.bayes [--fights 500] [--seed 1]

Plain scripts against units of one style per fight, drawn from the six with the same probability. Accuracy is
that of the most probable style (chance 16.7 %) over whole windows, for one unit and for all units of its side
together; then, in longer fights, right after a switch of style: by the posterior that knows of no switch, and
by the filter that allows for one. Speeds are per second of processor time on one thread.
"""

from __future__ import annotations

import argparse
import time

from envs.perception import bayes, labels
from envs.perception.baselines import log_loss
from envs.perception.recording import FIVE_SECONDS, TEN_SECONDS, TWO_SECONDS
from envs.simulation import state as s

TEAMS = {
    "1v1": (("mage",), ("aggressive",)),
    "2v2": (("aggressive", "ranged"), ("mage", "support")),
    "3v3": (("tank", "mage", "ranged"), ("support", "aggressive", "ranged")),
}
SIX = ((), s.STYLES[1:])
WINDOWS = (TWO_SECONDS, FIVE_SECONDS, TEN_SECONDS)
LONG_HP = (400, 400)
"""Per cent of hit points with which most fights outlive a switch, 10 to 30 s into them."""


def accuracies(fights: int, seed: int, kind: str, seen: str) -> None:
    """Print the rows of styles that are kept."""
    began = time.process_time()
    recording, log = bayes.likelihoods(fights, TEAMS[kind], seen=seen, seed=seed, styles=SIX)
    rate = fights / (time.process_time() - began)
    print(f"{kind}, {seen} seen; {rate:.0f} fights per CPU second")
    together = bayes.by_team(log)
    whole = bayes.posterior(together)
    for window in WINDOWS:
        label = whole_windows(labels.style(recording, window), window)
        one, side = bayes.posterior(log, window), bayes.posterior(together, window)
        shares = " / ".join(f"{bayes.accuracy(rows, label):.1%}" for rows in (one, side, whole))
        loss = log_loss(one[label.valid], label.value[label.valid])
        print(
            f"  {window // 5:2d} s: one unit / side / side since the start {shares}; "
            f"one unit's loss {loss:.2f} nats; n {label.valid.sum()}"
        )


def after_switches(fights: int, seed: int, kind: str, seen: str) -> None:
    """Print the rows of windows in which the style changed, and of the other windows of these fights."""
    recording, log = bayes.likelihoods(
        fights, TEAMS[kind], seen=seen, seed=seed, styles=SIX, switching=True, hp_percent=LONG_HP
    )
    whole = bayes.switching_posterior(bayes.by_team(log))
    for window in WINDOWS:
        unaware, filtered = bayes.posterior(log, window), bayes.switching_posterior(log, window)
        for name, rows in (("changed", labels.switched), ("kept", labels.style)):
            label = whole_windows(rows(recording, window), window)
            shares = " / ".join(f"{bayes.accuracy(each, label):.1%}" for each in (unaware, filtered, whole))
            print(
                f"  {window // 5:2d} s, style {name}: unaware of switches / filter / side's filter since the "
                f"start {shares}; n {label.valid.sum()}"
            )


def whole_windows(label: labels.Label, window: int) -> labels.Label:
    """The label of units with a style, and of windows that the fight was long enough for."""
    valid = label.valid & (label.value != s.SCRIPT)
    valid[:window] = False
    return labels.Label(label.value, valid)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fights", type=int, default=500, help="fights per composition")
    parser.add_argument("--seed", type=int, default=1, help="seed of the fights")
    arguments = parser.parse_args()
    bayes.likelihoods(1, TEAMS["1v1"], seen="deeds", styles=SIX)  # compile
    for kind in TEAMS:
        for seen in bayes.SEEN:
            accuracies(arguments.fights, arguments.seed, kind, seen)
            after_switches(max(arguments.fights // 5, 1), arguments.seed + 1, kind, seen)


if __name__ == "__main__":
    main()
