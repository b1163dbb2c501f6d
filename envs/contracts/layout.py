"""Integer layout of a fight: what one unit and one skill consist of.

The simulation keeps its state in this layout (plus private columns behind it), and a
`WorldView` is the same table for a fight that runs elsewhere, so features, masks and orders
are computed from equal numbers in training and in service. Times are milliseconds, distances
cells, shares are never stored.
"""

from __future__ import annotations

# One row per unit, int32.
(
    X,
    Y,
    HP,
    MAX_HP,
    SP,
    MAX_SP,
    ATK,
    MATK,
    DEF,
    MDEF,
    HIT,
    FLEE,
    RANGE,
    SPEED,  # ms per cell
    ATTACK_DELAY,
    ATTACK_MOTION,
    ARCHETYPE,  # index into ARCHETYPES, -1 unknown
    TEAM,  # 0 or 1
    TARGET,  # unit index, -1 none
    ACTION_CLOCK,  # ms until the next swing or skill: one clock for both
    MOVE_LOCK,  # ms until the next step
    ACT_LOCK,  # ms of animation after a skill
    CAST_SLOT,  # skill slot being cast, -1 none
    CAST_LEFT,
    CAST_TARGET,
    CAST_X,  # cell fixed when a ground-aimed cast starts
    CAST_Y,
    COOLDOWN,  # first of six
) = range(28)
(
    GUARD,  # ms of halved damage left
    POWER,  # ms of raised damage left
    STUN,
    STUN_IMMUNE,
    SLOW,
    TAUNT,
    TAUNT_BY,  # unit index, -1 none
    SHIELD,  # hit points the shield still absorbs
    SHIELD_LEFT,
    LAST_ACTION,  # action index of the last decision, -1 none
) = range(33, 43)
NUM_UNIT_FIELDS = 43

# One row per skill slot, int32.
(
    KIND,
    MAGIC,  # 1: MATK against MDEF, 0: ATK against DEF
    EFFECT,  # per cent of ATK or MATK; hit points for a shield
    REACH,  # cells; 0 = oneself
    COST,  # SP
    CAST_TIME,
    COOLDOWN_TIME,
    RADIUS,
    DURATION,
) = range(9)
NUM_SKILL_FIELDS = 9

SKILL_KINDS = (
    "none",
    "strike",
    "area",
    "ground",
    "heal",
    "guard",
    "power",
    "shield",
    "taunt",
    "stun",
    "slow",
    "dash",
)
(K_NONE, K_STRIKE, K_AREA, K_GROUND, K_HEAL, K_GUARD, K_POWER, K_SHIELD, K_TAUNT, K_STUN, K_SLOW, K_DASH) = (
    range(12)
)

# An order is five int32: what a body is told for one decision window.
ORDER_KINDS = ("hold", "move", "attack", "skill", "steer", "script", "fumble")
(O_HOLD, O_MOVE, O_ATTACK, O_SKILL, O_STEER, O_SCRIPT, O_FUMBLE) = range(7)
(ORDER_KIND, ORDER_SKILL, ORDER_TARGET, ORDER_DX, ORDER_DY) = range(5)
NUM_ORDER_FIELDS = 5
