"""Steps recorded from play: what an export is checked on and what the service is timed with."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation import Policy
from experiments.seeds import Purpose, seed_for

RECORDED_STEPS = 1_000
"""Of 200 rows a single rounded tie is half a per cent, the whole tolerance of the export's agreement."""
KEPT = 256
_FIGHTS = 32
_WILD = 0.2
"""Share of decisions that are drawn at random, so that odd situations occur too."""


def keep_rows(home: Path, weights_sha256: str, rows: Mapping[str, np.ndarray], count: int = KEPT) -> Path:
    """Keeps recorded rows of a mind for the timing of its service.

    Args:
        home: Project folder.
        weights_sha256: Digest of the mind's weights.
        rows: By input name; what else was recorded is left out.
        count: The first so many.
    """
    from policies.export import STARTS

    path = home / "recorded" / f"{weights_sha256[:16]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        kept: dict[str, Any] = {name: values[:count] for name, values in rows.items() if name != STARTS}
        np.savez_compressed(file, **kept)
    return beside.replace(path)


def kept_rows(home: Path, weights_sha256: str) -> dict[str, np.ndarray] | None:
    """What `keep_rows` wrote; None where it is missing or damaged."""
    try:
        with np.load(home / "recorded" / f"{weights_sha256[:16]}.npz", allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def record_steps(
    archetype: str, policy: Policy, seed: int, steps: int = RECORDED_STEPS
) -> dict[str, np.ndarray]:
    """Records steps spread over whole fights, played by a policy with some random moves.

    Args:
        archetype: The learner's archetype.
        policy: Chooses most actions; every fifth is random, so that odd situations occur too.
        seed: The user's base seed; the fights come from the recording block of the seed plan.
        steps: Rows wanted.

    Returns:
        ``obs`` float32 (steps, 64) and ``action_mask`` bool (steps, 10).
    """
    from envs.combat import CombatVectorEnv

    env = CombatVectorEnv(_FIGHTS, archetype=archetype)
    obs, info = env.reset(seed=seed_for(Purpose.RECORDING, seed, archetype))
    draw = np.random.default_rng(seed_for(Purpose.RECORDING, seed, archetype, "moves"))
    seen_obs, seen_masks = [], []
    # Four times as many rows as wanted, so that the drawn ones come from all parts of a fight.
    for _ in range(max(100, -(-4 * steps // _FIGHTS))):
        mask = info["action_mask"]
        seen_obs.append(obs.copy())
        seen_masks.append(mask.copy())
        wild = np.where(mask, draw.random(mask.shape), -1.0).argmax(axis=1)
        actions = np.where(draw.random(_FIGHTS) < _WILD, wild, policy(obs, mask))
        obs, _, _, _, info = env.step(actions)
    env.close()
    all_obs, all_masks = np.concatenate(seen_obs), np.concatenate(seen_masks)
    rows = np.sort(draw.choice(len(all_obs), size=steps, replace=False))
    return {"obs": all_obs[rows], "action_mask": all_masks[rows]}


def record_decisions(
    network: Any, archetype: str, seed: int, steps: int = RECORDED_STEPS
) -> dict[str, np.ndarray]:
    """Records what the inference form of any model type is given, in fights that it plays or watches itself.

    Args:
        network: Of any model type; it plays if it has actions, a fifth of them drawn at random.
        archetype: Whose mind it is.
        seed: The user's base seed.
        steps: Rows wanted.

    Returns:
        By input name ``(row, ...)``, without the carried state: rows of a mind with a memory follow one
        another in time, fight after fight (``policies.export.STARTS`` says where those of one that plays
        begin); other rows are spread over whole fights.
    """
    from policies.model_types import model_type, type_of

    kind = model_type(type_of(network))
    if kind.head is None:
        return _watched(network, kind.name, archetype, seed, steps)
    return _played(network, kind.head, archetype, seed, steps)


def _watched(network: Any, name: str, archetype: str, seed: int, steps: int) -> dict[str, np.ndarray]:
    """Of fights of the traditional AI, as a perception mind learns from."""
    from policies.model_types import model_type
    from policies.perception.compositions import FightPlan
    from policies.perception.data import collect
    from policies.perception.task import count_rows, served_inputs, take

    task = model_type(name).task_class()()
    signature = network.signature()
    plan = FightPlan(fights=32, sizes={"1v1": 2, "2v2": 1, "3v3": 1}, stride=task.grid_stride or 1)
    rows = collect(task, archetype, plan, seed_for(Purpose.RECORDING, seed, archetype))["train"]
    found: dict[str, np.ndarray] = served_inputs(task, signature, rows)
    if signature.state:
        return take(found, slice(0, steps))
    draw = np.random.default_rng(seed_for(Purpose.RECORDING, seed, archetype, "moves"))
    count = count_rows(found)
    return take(found, np.sort(draw.choice(count, size=min(steps, count), replace=False)))


def _played(network: Any, head: str, archetype: str, seed: int, steps: int) -> dict[str, np.ndarray]:
    from experiments.heads import Seat, random_answers, torch_mind
    from policies.export import STARTS

    seat, mind = Seat(head, archetype, _FIGHTS), torch_mind(network)
    draw = np.random.default_rng(seed_for(Purpose.RECORDING, seed, archetype, "moves"))
    wild = random_answers(seed_for(Purpose.RECORDING, seed, archetype, "wild"))
    wanted = {name: shape for name, shape in mind.inputs.items() if name not in mind.state}
    state = {name: np.zeros((seat.rows, *mind.inputs[name]), np.float32) for name in mind.state}
    obs, info = seat.env.reset(seed=seed_for(Purpose.RECORDING, seed, archetype))
    seen: list[dict[str, np.ndarray]] = []
    starts = [np.ones(seat.rows, bool)]
    # Four times as many rows as wanted, so that the drawn ones come from all parts of a fight.
    for _ in range(max(100, -(-4 * steps // seat.rows))):
        seen.append(seat.inputs(obs, info, wanted))
        answer = mind.answer({**seen[-1], **state})
        state = {own: answer[after] for own, after in mind.state.items()}
        chosen, odd = answer[mind.choice], wild(seat, info)
        strays = (draw.random(seat.rows) < _WILD).reshape(-1, *[1] * (chosen.ndim - 1))
        obs, _, ended, cut, info = seat.env.step(np.where(strays, odd, chosen))
        for values in state.values():
            values[ended | cut] = 0.0
        starts.append(ended | cut)
    seat.env.close()
    found = {name: np.stack([one[name] for one in seen], axis=1) for name in wanted}  # (place, time, ...)
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in found.items()}
    if state:
        flat[STARTS] = np.stack(starts[:-1], axis=1).reshape(-1)
        return {name: values[:steps] for name, values in flat.items()}
    rows = np.sort(draw.choice(len(next(iter(flat.values()))), size=steps, replace=False))
    return {name: values[rows] for name, values in flat.items()}
