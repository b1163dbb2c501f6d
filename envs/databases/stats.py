"""A monster's numbers in our terms: what the databases' fields mean, and how strong it then is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from envs.databases.mob_db import Mob
from envs.databases.skills import HEAL_PERCENT, SHIELD_PERCENT, Mapped

SCALES = ("own", "raw")
OWN_DAMAGE_PER_SECOND = 250
"""Points per second before defence to which `own` brings every monster; our archetypes swing 142 to 378."""
SECONDS_TO_KILL = (11.0, 40.0)
"""Limits of the time in which a monster takes its own hit points, in scale `own`."""
MOST_POINTS = 1_000_000
DEFAULT_DELAY_MS = 1000


@dataclass(frozen=True)
class Figures:
    """Stats in our units, before they are whole numbers.

    Attributes:
        hit, flee: a swing hits with HIT - FLEE - 5 per cent, 5 to 100.
        def_, mdef: of the renewal damage formula.
    """

    hp: float
    sp: float
    atk: float
    matk: float
    def_: float
    mdef: float
    hit: float
    flee: float
    range: int
    speed_ms: int
    attack_delay_ms: int
    attack_motion_ms: int


def looks_like_renewal(mobs: Sequence[Mob]) -> bool:
    """Whether `Attack2` is magic attack (renewal) and not the larger of two attacks (pre-renewal).

    In a pre-renewal database hardly any monster has an Attack2 below its Attack; 5 % decide.
    """
    both = [mob for mob in mobs if mob.attack > 0 and mob.attack2 > 0]
    return sum(mob.attack2 < mob.attack for mob in both) * 20 > len(both)


def figures(mob: Mob, *, renewal: bool) -> Figures:
    """Translate the fields.

    | ours | pre-renewal | renewal |
    |---|---|---|
    | ATK | (Attack + Attack2) / 2 | Attack |
    | MATK | INT + ((INT / 7)^2 + (INT / 5)^2) / 2 | Attack2 + INT |
    | DEF | 4000 p / (9 - 10 p) with p = Defense per cent, at most 0.85 | Defense |
    | MDEF | 1000 p / (9 - 10 p) with p = MagicDefense per cent, at most 0.85 | MagicDefense |
    | chance to hit its like, per cent | 80 + DEX - AGI, 5 to 100 | 50 + DEX - AGI, 5 to 100 |

    DEF lets the same share of damage through as Defense does: (4000 + DEF) / (4000 + 10 DEF) = 1 - p.
    FLEE is AGI, at most 40, and HIT = chance + FLEE + 5, so that fights between like monsters keep their
    chance, and those against others stay possible. SP: the database's where it states more than 1, kept
    within 80 to 260 (its monsters pay none; costs are a rule of this world), else 100.
    """
    if renewal:
        atk, matk = float(mob.attack), float(mob.attack2 + mob.int_)
        defence, mdef = float(mob.defense), float(mob.magic_defense)
    else:
        atk = (mob.attack + mob.attack2) / 2
        matk = mob.int_ + ((mob.int_ / 7) ** 2 + (mob.int_ / 5) ** 2) / 2
        defence, mdef = _from_percent(mob.defense, 4000), _from_percent(mob.magic_defense, 1000)
    chance = min(max((50 if renewal else 80) + mob.dex - mob.agi, 5), 100)
    flee = min(mob.agi, 40)
    delay = DEFAULT_DELAY_MS if mob.attack_delay == 0 else min(max(mob.attack_delay, 200), 4000)
    return Figures(
        hp=float(mob.hp),
        sp=float(min(max(mob.sp, 80), 260)) if mob.sp > 1 else 100.0,
        atk=atk,
        matk=matk,
        def_=min(defence, MOST_POINTS),
        mdef=min(mdef, MOST_POINTS),
        hit=chance + flee + 5.0,
        flee=float(flee),
        range=min(max(mob.attack_range, 1), 14),
        speed_ms=min(max(mob.walk_speed, 50), 1000),
        attack_delay_ms=delay,
        attack_motion_ms=min(mob.attack_motion, delay),
    )


def _from_percent(percent: int, scale: int) -> float:
    share = min(percent / 100, 0.85)
    return scale * share / (9 - 10 * share)


def damage_per_second(stats: Figures, skills: Sequence[Mapped], *, defended: bool) -> float:
    """Expected damage to its like: in each action the list is tried in order, else it swings.

    A skill is used no more often than its re-use delay allows. `defended`: less misses and defence.
    """
    physical = (4000 + stats.def_) / (4000 + 10 * stats.def_) if defended else 1.0
    magical = (1000 + stats.mdef) / (1000 + 10 * stats.mdef) if defended else 1.0
    hits = min(max(stats.hit - stats.flee - 5, 5), 100) / 100 if defended else 1.0
    left, total = 1.0, 0.0
    for skill in skills:
        used = left * min(skill.chance / 10_000, stats.attack_delay_ms / max(skill.cooldown_ms, 1))
        if skill.damages:
            base = stats.matk * magical if skill.magic else stats.atk * physical
            total += used * base * skill.effect / 100
        left -= used
    total += left * stats.atk * physical * hits
    return total * 1000 / stats.attack_delay_ms


def seconds_to_kill(stats: Figures, skills: Sequence[Mapped]) -> float:
    """Seconds in which a monster standing before its like takes its hit points."""
    return stats.hp / max(damage_per_second(stats, skills, defended=True), 1e-9)


def scaled(stats: Figures, skills: Sequence[Mapped]) -> Figures:
    """Bring a monster to the scale of our own archetypes.

    HP, ATK and MATK are multiplied by one factor, so that its damage is `OWN_DAMAGE_PER_SECOND`: shares of
    hit points, which are all that a mind sees, do not change by that. Then HP alone is stretched or cut
    where a fight against its like would leave `SECONDS_TO_KILL`.
    """
    factor = OWN_DAMAGE_PER_SECOND / damage_per_second(stats, skills, defended=False)
    stats = replace(stats, hp=stats.hp * factor, atk=stats.atk * factor, matk=stats.matk * factor)
    low, high = SECONDS_TO_KILL
    seconds = seconds_to_kill(stats, skills)
    return replace(stats, hp=stats.hp * min(max(seconds, low), high) / seconds)


def stat_block(stats: Figures) -> dict[str, int]:
    """Whole numbers under the names of an archetype's file, within their ranges."""

    def points(value: float, least: int = 0) -> int:
        return min(max(round(value), least), MOST_POINTS)

    return {
        "hp": points(stats.hp, 1),
        "sp": points(stats.sp),
        "atk": points(stats.atk),
        "matk": points(stats.matk),
        "def": points(stats.def_),
        "mdef": points(stats.mdef),
        "hit": points(stats.hit),
        "flee": points(stats.flee),
        "range": stats.range,
        "speed_ms": stats.speed_ms,
        "attack_delay_ms": stats.attack_delay_ms,
        "attack_motion_ms": stats.attack_motion_ms,
    }


def skill_entry(skill: Mapped, block: dict[str, int]) -> dict[str, object]:
    """A skill under the names of an archetype's file; heals and shields by the shares of max HP."""
    effect = skill.effect
    if skill.kind == "heal":
        low, high = HEAL_PERCENT
        percent = low + (high - low) * (skill.level - 1) / 9
        effect = round(block["hp"] * percent / max(block["matk"], 1))
    elif skill.kind == "shield":
        effect = round(block["hp"] * SHIELD_PERCENT / 100)
    return {
        "name": skill.name,
        "kind": skill.kind,
        "magic": skill.magic,
        "effect": min(max(effect, 0), MOST_POINTS),
        "range": skill.range,
        "cost": skill.cost,
        "cast_ms": skill.cast_ms,
        "cooldown_ms": skill.cooldown_ms,
        "radius": skill.radius,
        "duration_ms": skill.duration_ms,
        "chance": skill.chance,
    }
