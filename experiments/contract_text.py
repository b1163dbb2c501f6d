"""What an exported file takes and gives, in words: the manifest's part for a game's programmer."""

from __future__ import annotations

from typing import Any


def described(model: Any, model_type: str, report: Any) -> dict[str, Any]:
    """What a game needs to feed the file without us: names, scales and limits of values, names of actions.

    Args:
        model: The network.
        model_type: Its type.
        report: Of the export, for the digests of both files.
    """
    from envs.contracts import DECISION_MS

    signature = model.signature()
    return {
        "features": describe_inputs(signature),
        "meaning": {port.name: port.meaning for port in (*signature.inputs, *signature.outputs)},
        "actions": action_names(model_type),
        "decision_ms": DECISION_MS,
        "files": {"onnx_fp32": report.fp32.sha256, "onnx_fp16": report.fp16.sha256},
    }


def describe_inputs(signature: Any) -> list[dict[str, object]]:
    """Name, scale and limits of the values of each described input, one after the other."""
    from envs import contracts

    rows = {
        "obs": contracts.describe_features,
        "observation": contracts.describe_features,
        "local": contracts.describe_features,
        "skills": contracts.describe_skill_features,
        "grid": contracts.describe_grid,
        "token": contracts.describe_token,
        "opponents": contracts.describe_window,
        "window": contracts.describe_window,
    }
    found: list[dict[str, object]] = []
    for port in signature.inputs:
        if port.name in rows:
            described = rows[port.name]()
            # One row per name where an input stands alone, as before; else the input's name goes before it.
            found += described if port.name == "obs" else [{"input": port.name, **row} for row in described]
    return found


def action_names(model_type: str) -> list[str]:
    """Names of the actions of a model type, in their order; none of a perception mind."""
    from envs import contracts
    from policies.model_types import MODEL_TYPES

    names: dict[str | None, list[str]] = {
        "combat": list(contracts.COMBAT_ACTIONS),
        "movement": list(contracts.MOVEMENT_ACTIONS),
        "skill": [contracts.skill_action_name(action) for action in range(contracts.NUM_SKILL_ACTIONS)],
        "pack": list(contracts.PACK_ORDERS),
        "control": list(contracts.CONTROL_PARTS),
    }
    return names.get(MODEL_TYPES[model_type].head, [])
