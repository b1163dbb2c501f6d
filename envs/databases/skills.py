"""A monster's skills in our terms: at most six, as different as possible, and reasons for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.contracts.vocabulary import NUM_SKILL_SLOTS
from envs.databases.mob_skill_db import SkillEntry
from envs.databases.reading import words
from envs.databases.skill_names import has_no_counterpart, meaning, without_class

FIGHTING_STATES = words("attack angry chase follow rush berserk any anytarget anyattack")
_BUFFS = frozenset(("heal", "guard", "power", "shield"))
_DAMAGE = frozenset(("strike", "area", "ground", "stun", "slow", "dash"))
# Conditions that a fight of our world never meets.
_NEVER = words("rudeattacked onspawn slavelt slavele masterattacked masterhpltmaxrate alchemist trickcasting")
_ALL_AROUND = words("self around around1 around2 around3 around4")


@dataclass(frozen=True)
class Rule:
    """Numbers of a kind that databases do not state; those of our own archetypes.

    Attributes:
        effect, per_level: per cent of ATK or MATK at skill level 0, and what each of ten levels adds.
        cost: SP.
        cooldown_ms, duration_ms: least re-use delay, and how long the effect lasts.
        radius: cells around the target.
        reach: cells for magic or for a friend; what works with ATK reaches as far as a swing.
    """

    effect: int
    per_level: int
    cost: int
    cooldown_ms: int
    duration_ms: int = 0
    radius: int = 0
    reach: int = 9


RULES = {
    "strike": Rule(150, 7, 10, 1500),
    "area": Rule(110, 4, 14, 5000, radius=2),
    "ground": Rule(140, 5, 20, 5000, radius=2),
    "heal": Rule(0, 0, 16, 2500, reach=8),  # effect: see `HEAL_PERCENT`
    "guard": Rule(0, 0, 10, 8000, 5000, reach=8),
    "power": Rule(0, 0, 10, 8000, 6000, reach=8),
    "shield": Rule(0, 0, 16, 9000, 5000, reach=8),  # effect: see `SHIELD_PERCENT`
    "taunt": Rule(0, 0, 8, 6000, 2500, 5, reach=5),
    "stun": Rule(60, 5, 12, 8000, 1200, reach=7),
    "slow": Rule(80, 3, 10, 6000, 2500),
    "dash": Rule(120, 0, 8, 10_000, reach=6),
}
HEAL_PERCENT = (6, 14)
"""A heal restores between these shares of the caster's max HP, by skill level 1 to 10."""
SHIELD_PERCENT = 12
"""A shield absorbs this share of the caster's max HP."""
MAX_CAST_MS, MAX_COOLDOWN_MS, TELEGRAPH_MS = 3000, 60_000, 800


@dataclass(frozen=True)
class Mapped:
    """A skill of our world, but for the effect of heals and shields, which needs the final HP.

    Attributes:
        line: where the database states it.
        friends: whether it is meant for friends.
    """

    line: int
    name: str
    kind: str
    magic: bool
    level: int
    effect: int
    range: int
    cost: int
    cast_ms: int
    cooldown_ms: int
    radius: int
    duration_ms: int
    chance: int
    friends: bool

    @property
    def damages(self) -> bool:
        """Whether it takes hit points from an enemy."""
        return self.kind in _DAMAGE


@dataclass(frozen=True)
class Dropped:
    """A skill that was left out, and why."""

    line: int
    name: str
    reason: str


def map_skills(
    entries: Sequence[SkillEntry], attack_range: int
) -> tuple[tuple[Mapped, ...], tuple[Dropped, ...]]:
    """Turn a monster's list into at most six skills, in the list's order.

    Of entries of one skill (the same for several states) the most frequent one counts. Of more than six
    skills the most frequent of each kind stay, then the most frequent of the rest.

    Args:
        entries: lines of the monster and of its groups.
        attack_range: of its swings, in cells.

    Returns:
        The skills, and what was dropped.
    """
    best: dict[str, Mapped] = {}
    dropped: list[Dropped] = []
    reasons: dict[str, Dropped] = {}
    for entry in entries:
        found = _map(entry, attack_range)
        if isinstance(found, Dropped):
            reasons.setdefault(found.name, found)
        elif found.name not in best or best[found.name].chance < found.chance:
            first = best.get(found.name)
            best[found.name] = found
            if first is not None:  # keeps its place in the list
                best = {name: found if name == found.name else skill for name, skill in best.items()}
    dropped += [drop for name, drop in reasons.items() if name not in best]
    ranked = sorted(best.values(), key=lambda skill: -skill.chance)
    kinds: dict[str, Mapped] = {}
    for skill in ranked:
        kinds.setdefault(skill.kind, skill)
    first_ones = sorted(kinds.values(), key=lambda skill: -skill.chance)
    order = [*first_ones, *(skill for skill in ranked if skill not in first_ones)]
    kept = order[:NUM_SKILL_SLOTS]
    dropped += [
        Dropped(skill.line, skill.name, f"a {skill.kind} beyond the {NUM_SKILL_SLOTS} that fit")
        for skill in order[NUM_SKILL_SLOTS:]
    ]
    return tuple(skill for skill in best.values() if skill in kept), tuple(dropped)


def _map(entry: SkillEntry, attack_range: int) -> Mapped | Dropped:
    name = without_class(entry.name).lower().replace("_", " ")
    does = meaning(entry.name)
    if does is None:
        known = has_no_counterpart(entry.name)
        reason = "nothing like it in this world" if known else "unknown skill"
        return Dropped(entry.line, name, reason)
    if entry.state not in FIGHTING_STATES:
        return Dropped(entry.line, name, f"only in state '{entry.state[:20]}', not in a fight")
    if entry.condition in _NEVER:
        return Dropped(entry.line, name, f"only on '{entry.condition}', which no fight here meets")
    chance = round(min(max(entry.rate, 0), 10_000) * _how_often(entry))
    if chance < 1:
        return Dropped(entry.line, name, "never tried (rate 0)")
    rule, kind = RULES[does.kind], does.kind
    asked = entry.target in ("friend", "master") or entry.condition.startswith("friend")
    friends = kind in _BUFFS and asked
    if kind in _BUFFS:
        reach = rule.reach if friends else 0
    elif does.magic or kind in ("taunt", "dash", "ground"):
        reach = rule.reach
    else:
        reach = attack_range
    # What hits all around its owner needs no target at a distance.
    if kind in ("area", "ground") and entry.target in _ALL_AROUND:
        kind, reach = "area", max(attack_range, RULES["area"].radius)
    level = min(max(entry.level, 1), 10)
    cast = min(max(entry.cast_ms, TELEGRAPH_MS if kind == "ground" else 0), MAX_CAST_MS)
    return Mapped(
        line=entry.line,
        name=name,
        kind=kind,
        magic=does.magic,
        level=level,
        effect=RULES[kind].effect + RULES[kind].per_level * level,
        range=reach,
        cost=rule.cost,
        cast_ms=cast,
        cooldown_ms=min(max(entry.delay_ms, rule.cooldown_ms), MAX_COOLDOWN_MS),
        radius=RULES[kind].radius,
        duration_ms=rule.duration_ms,
        chance=chance,
        friends=friends,
    )


def _how_often(entry: SkillEntry) -> float:
    """Share of a fight in which a condition holds, roughly; our skills have no conditions of their own."""
    low, high = entry.values
    if entry.condition in ("always", "mystatusoff", "friendstatusoff"):
        return 1.0
    if entry.condition == "myhpltmaxrate":
        return min(max(low, 1), 100) / 100
    if entry.condition == "myhpinrate":
        return min(max(high - low, 1), 100) / 100
    return 0.5
