"""Fights of any head, played by an inference form as it is served.

A mind is asked by the names of its inputs and answers by the names of its outputs, whatever its head: one
loop plays them all, carries the state of those that remember, and counts each fight once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation import STEP_LIMIT, FightScore, Running, Tally, chunks, open_session
from experiments.seeds import Purpose, seed_for
from experiments.stopping import Looks

BINS = 16
"""Parts that each continuous control is cut into for the entropy of actions."""

Answer = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Mind:
    """An inference form that plays.

    Attributes:
        inputs: Their names and shapes behind the batch axis.
        state: (input, output) pairs that are carried from decision to decision, zeros at first.
        choice: The output that is the action.
        answer: From inputs to outputs, by name.
    """

    inputs: dict[str, tuple[int, ...]]
    state: dict[str, str]
    choice: str
    answer: Answer

    def ask(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers; a carried state that is not given is that of a beginning, zeros."""
        rows = len(next(iter(given.values())))
        fresh = {
            name: np.zeros((rows, *self.inputs[name]), np.float32) for name in self.state if name not in given
        }
        return self.answer({**fresh, **given})


def torch_mind(network: Any) -> Mind:
    """A network that plays through its inference form.

    Args:
        network: Of a model type with actions.
    """
    import torch

    form, signature = network.inference_form(), network.signature()

    def answer(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = form(*(torch.from_numpy(given[name]) for name in signature.input_names))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: value.numpy() for name, value in zip(signature.output_names, outputs, strict=True)}

    inputs = {port.name: port.shape for port in signature.inputs}
    return Mind(inputs, dict(signature.state), signature.choice or signature.output_names[0], answer)


def onnx_mind(path: Path, sha256: str | None = None) -> Mind:
    """An exported file that plays; its manifest, which the file carries, says how.

    Args:
        path: The file.
        sha256: Expected digest of its bytes; None trusts the file.

    Raises:
        ExperimentError: The bytes differ from the digest.
    """
    session = open_session(path, sha256)
    manifest = json.loads(session.get_modelmeta().custom_metadata_map["manifest"])
    names = [output.name for output in session.get_outputs()]

    def answer(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(given)), strict=True))

    inputs = {name: tuple(shape[1:]) for name, shape in manifest["inputs"].items()}
    return Mind(inputs, dict(manifest["state"]), manifest["choice"] or names[0], answer)


class Seat:
    """Fights of one head side by side, seen as the inputs of an inference form.

    Args:
        head: combat, movement, skill, control or pack.
        archetype: Of the learner, or whose pack it is.
        fights: Side by side.
        **arguments: Of the head's vector environment: opponent, scenario, threads, learner, first_fight.
    """

    def __init__(self, head: str, archetype: str, fights: int, **arguments: Any) -> None:
        from policies.columnar.vector_env import make_vector_env

        spec: dict[str, Any] = {"archetype": archetype, **arguments}
        if head == "pack":
            spec["factory"] = "policies.columnar.pack_rows:make"
        else:
            spec["id"] = f"MLMonster/{head.capitalize()}-v0"
        self.env: Any = make_vector_env(spec, fights)
        self.rows = int(self.env.num_envs)
        self.members = self.rows // fights
        self.layout: Mapping[str, slice] | None = getattr(self.env, "layout", None)

    def inputs(
        self, obs: np.ndarray, info: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]
    ) -> dict[str, np.ndarray]:
        """What an inference form is given, by name, `(row, ...)`; copies.

        Args:
            obs: Of the environment.
            info: Of the environment.
            wanted: Names and shapes, without the carried state.
        """
        found = {}
        for name, shape in wanted.items():
            if name == "action_mask":
                values = info["action_mask"].astype(np.float32)
            elif self.layout is not None:
                values = obs[:, self.layout[name]].reshape(-1, *shape)
                values = values.astype(np.int64 if name.endswith("_ids") else np.float32)
            else:
                values = np.array(obs, np.float32)
            found[name] = np.ascontiguousarray(values)
        return found


def random_answers(seed: int) -> Callable[[Seat, Mapping[str, Any]], np.ndarray]:
    """Draws uniformly among the legal actions, or of continuous controls.

    Args:
        seed: Of its own generator.
    """
    generator = np.random.default_rng(seed)

    def choose(seat: Seat, info: Mapping[str, Any]) -> np.ndarray:
        mask = info.get("action_mask")
        if mask is None:
            size = seat.env.single_action_space.shape
            return generator.uniform(-1.0, 1.0, (seat.rows, *size)).astype(np.float32)
        return np.asarray(np.where(mask, generator.random(mask.shape), -1.0).argmax(axis=1))

    return choose


def play_head(
    archetype: str,
    head: str,
    mind: Mind | str,
    n: int,
    seed: int,
    *,
    purpose: Purpose = Purpose.EVALUATION,
    opponent: str = "classic",
    scenario: str | None = None,
    threads: int = 1,
    looks: Looks | None = None,
) -> FightScore:
    """Plays ``n`` fights of an archetype in the scenario of a head.

    Args:
        archetype: Name of the learner's archetype.
        head: What the actions mean.
        mind: Chooses the actions; "random" draws legal ones, "script" lets the traditional AI play.
        n: Fights, at least 1.
        seed: The user's base seed; the fights' own seeds come from the seed plan.
        purpose: Block of the seed plan the fights are drawn from.
        opponent: Tier of the other side.
        scenario: Another scenario than the head's own.
        threads: Threads of the simulation.
        looks: Where the fights may end earlier.

    Raises:
        ValueError: Fewer than one fight.
        RuntimeError: A fight did not end, which is a fault of the simulation.
    """
    if n < 1:
        raise ValueError(f"{n} fights cannot be played: ask for at least 1")
    tally = Tally()
    for start, size in chunks(n, tally, looks):
        seat = Seat(
            head,
            archetype,
            size,
            opponent=opponent,
            scenario=scenario,
            threads=threads,
            first_fight=start,
            learner="script" if mind == "script" else "policy",
        )
        draw = random_answers(seed_for(purpose, seed, archetype, "random", start))
        _play(seat, mind, draw, seed_for(purpose, seed, archetype), tally)
        seat.env.close()
    return tally.score(scripted=mind == "script")


def _play(seat: Seat, mind: Mind | str, draw: Any, seed: int, tally: Tally) -> None:
    env, members = seat.env, seat.members
    obs, info = env.reset(seed=seed)
    fights = seat.rows // members

    def by_fight(values: np.ndarray) -> np.ndarray:
        return values.reshape(fights, members)

    running = Running(fights)
    state: dict[str, np.ndarray] = {}
    wanted: dict[str, tuple[int, ...]] = {}
    if isinstance(mind, Mind):
        wanted = {name: shape for name, shape in mind.inputs.items() if name not in mind.state}
        state = {
            name: np.zeros((seat.rows, *mind.inputs[name]), np.float32)
            for name in mind.inputs
            if name in mind.state
        }
    for _ in range(STEP_LIMIT):
        if isinstance(mind, Mind):
            answer = mind.answer({**seat.inputs(obs, info, wanted), **state})
            state = {own: answer[after] for own, after in mind.state.items()}
            actions = answer[mind.choice]
        else:
            # A script plays by itself; what it is told does not matter.
            actions = draw(seat, info)
        acted = np.repeat(running.fights, members) & np.asarray(info.get("alive", True))
        tally.count(actions[acted], _size(env), BINS)
        obs, reward, terminated, truncated, info = env.step(actions)
        # A pack is paid as its members are on average, and ends for all of them at once.
        terms = {name: by_fight(value).mean(axis=1) for name, value in info["reward_terms"].items()}
        ended, outcome = by_fight(terminated | truncated)[:, 0], by_fight(info["outcome"])[:, 0]
        if not running.step(by_fight(reward).mean(axis=1), ended, outcome, terms):
            break
    running.into(tally)


def _size(env: Any) -> int:
    """How many actions there are; 0 of continuous controls."""
    return int(getattr(env.single_action_space, "n", 0))
