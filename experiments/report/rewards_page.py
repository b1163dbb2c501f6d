"""Writes the page of ``monster rewards``: how each reward term is distributed, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from experiments.report import reward_figures as figures
from experiments.report.shell import html_table, pill, shell, write_page
from experiments.reward_summary import RewardSummary

COLOURS = {"non-finite": "fail", "dominating": "fail", "sparse": "undecided", "dominated": "undecided"}


def write_rewards_page(path: Path, summaries: Sequence[RewardSummary], command: str, seed: int) -> None:
    """Writes the page; it needs nothing from outside.

    Args:
        path: Where to.
        summaries: At least one archetype.
        command: What the user typed.
        seed: The user's base seed.
    """
    write_page(path, rewards_page(summaries, command, seed))


def rewards_page(summaries: Sequence[RewardSummary], command: str, seed: int) -> str:
    """Renders the page."""
    found = sum(len(s.warnings) for s in summaries)
    first = summaries[0]
    played = sum(s.fights for s in summaries)
    means = [s.total.mean for s in summaries if math.isfinite(s.total.mean)] or [0.0]
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    headline = "What the reward is made of"
    if len(summaries) == 1:
        headline += f": {first.archetype}"
    body = [
        "<section><h2>What an episode is worth</h2>",
        '<p class="note">Shaped, unscaled reward of a whole fight.</p>',
        figures.legend(),
        figures.episodes(summaries),
        "</section>",
        *(_section(s) for s in summaries),
        f"<section><h2>How to read this</h2>{_glossary()}</section>",
        f"<section><h2>How this was made</h2>{_made(command, seed, first)}</section>",
    ]
    return shell(
        title=headline,
        over=f"ML Monster rewards, {created}",
        headline=headline,
        summary=(
            f"Each archetype played {first.fights:,} fights in its own scenario against"
            f" {first.opponent} opponents; the learner is {_learner(first.learner)}. The reward is the exact"
            " sum of the terms below."
        ),
        facts=[
            (f"{len(summaries)}", "archetype" if len(summaries) == 1 else "archetypes"),
            (f"{played:,}", "fights played"),
            (_span(means), "mean reward of an episode"),
            (f"{found}", "warning" if found == 1 else "warnings"),
        ],
        body="".join(body),
    )


def _span(means: Sequence[float]) -> str:
    return f"{min(means):.0f} to {max(means):.0f}" if len(means) > 1 else f"{means[0]:.0f}"


def _learner(name: str) -> str:
    known = {"script": "the traditional AI itself", "random": "a player that picks legal actions at random"}
    return known.get(name, name)


def _section(s: RewardSummary) -> str:
    on_time = s.fights - s.won - s.lost
    aside = (
        f"{s.scenario}, {s.won} won, {s.lost} lost, {on_time} on time, {s.decisions:.0f} decisions a fight"
    )
    items = "".join(f"<li>{pill(COLOURS[w.kind], w.kind)} {escape(w.text)}</li>" for w in s.warnings)
    return (
        f'<section><h2>{escape(s.archetype)}<span class="aside">{escape(aside)}</span></h2>'
        + (f'<ul class="warnings">{items}</ul>' if items else "")
        + figures.terms(s)
        + figures.histogram(s)
        + "</section>"
    )


def _glossary() -> str:
    rows = [
        ("share", "of the sum of |episode value| over all terms: how much say a term has"),
        ("paid in", "share of episodes in which the term is not zero"),
        ("won, lost", "by kill; fights that end on time are neither"),
        (pill("undecided", "sparse"), "paid in fewer than 5 % of the episodes"),
        (pill("undecided", "dominated"), "less than 1 % of all that is paid"),
        (pill("fail", "dominating"), "more than 80 % of all that is paid"),
        (pill("fail", "non-finite"), "NaN or infinite; those episodes are left out of the term's figures"),
    ]
    return html_table(("", ""), rows, set())


def _made(command: str, seed: int, first: RewardSummary) -> str:
    rows = [
        ("Command", command),
        ("Seeds", f"base seed {seed}; these fights judge no model"),
        ("Opponents", first.opponent),
        ("Learner", first.learner),
    ]
    return html_table(("", ""), [[escape(a), f"<code>{escape(b)}</code>"] for a, b in rows], set())
