"""The threat mind: what each enemy will do to me and my team, how sure that is, and of what kind the doubt.

An ensemble (Lakshminarayanan et al. 2017): members of equal shape with weights of their own, computed
together as stacked matrices. Damage within a horizon is often exactly zero, so each member states the chance
of any damage, and mean and relative spread of the damage if there is any. Members' means disagree where they
have seen little: that is the epistemic part; what they all call chance is the aleatoric part.

Every enemy slot goes through the same weights and sees the others only through sums and maxima, and of
positions only distances are used: an arena turned or mirrored, or units listed in another order, change
nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range
from envs.contracts import OBS_SIZE, OBS_VERSION
from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE
from envs.contracts.window import NUM_WINDOW_FEATURES, WINDOW_LENGTH
from policies import inference
from policies.inference import Port, Signature
from policies.threat_sight import (
    ENEMY_SIZE,
    NUM_AIM,
    NUM_DEED,
    NUM_LOOKS,
    NUM_OWN,
    InputScale,
    aims_of,
    last_deeds,
    own_numbers,
    recent_sight,
    sides,
    wounds_of,
)

MODEL_TYPE = "threat_assessment"
QUESTIONS = ("threat_2s", "threat_5s", "team_2s", "team_5s")
"""Damage of an enemy to me / my max HP, and to my team / its max HP, within 2 s and 5 s."""
TARGETS = ("me", "ally_0", "ally_1", "ally_2", "ally_3", "none")
"""Whom an enemy aims at one second later."""
HISTORY = 40
"""Decisions that are looked back at if nothing else is said: 8 s, as long as most cooldowns."""
UNIT = 10.0
"""Damage is counted in tenths of max HP inside, so that its squares stay in the range of float16."""


@dataclasses.dataclass(frozen=True)
class ThreatAssessmentConfig:
    """Shape of the network; the profiles' values stand in `configs/threat_assessment.yaml`."""

    members: Annotated[int, Range(minimum=2, maximum=64)] = 5
    """Networks of the ensemble."""
    hidden: Annotated[int, Range(minimum=4, maximum=4096)] = 64
    """Units of each hidden layer of a member."""
    aim: Annotated[int, Range(minimum=2, maximum=1024)] = 16
    """Numbers by which a member describes whom an enemy may aim at."""
    history: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = HISTORY
    """Decisions that are looked back at for deeds, the present one last."""
    deeds: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = 8
    """Of these the last so many deeds of each enemy: when, of what look, and what came of them."""
    recent: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = 10
    """Decisions that are looked at in full, with positions and targets."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share of hidden units left out at random during an update; never while serving."""

    def validate(self) -> None:
        """Cross-check the looks back.

        Raises:
            ValueError: more decisions or deeds than the history has.
        """
        for name in ("recent", "deeds"):
            if getattr(self, name) > self.history:
                raise ValueError(f"{name}: {getattr(self, name)} of a history of {self.history} decisions")


class Beliefs(NamedTuple):
    """What each member believes of each enemy, before calibration.

    The axis `enemy` runs over the enemies alive, or over all slots of all rows one after another.

    Attributes:
        hit: logits of any damage, float32 (member, enemy, question).
        amount: mean damage if there is any, tenths of max HP, like `hit`.
        spread: variance of that damage / its squared mean, like `hit`.
        kill: logits that the enemy kills somebody within 5 s, float32 (member, enemy).
        target: logits of `TARGETS`, float32 (member, enemy, 6).
        death: logits that I die within 5 s, float32 (member, row).
        places: row x 5 + slot of each enemy, int64 (enemy,); None if all slots are there.
        present: 1 where an enemy lives, else 0, float32 (row, slot).
    """

    hit: Tensor
    amount: Tensor
    spread: Tensor
    kill: Tensor
    target: Tensor
    death: Tensor
    places: Tensor | None
    present: Tensor


class MemberLinear(nn.Module):
    """A linear layer for each member of an ensemble.

    Args:
        members: so many.
        inputs: numbers in.
        outputs: numbers out.
        gain: of the weights' deviation; sqrt(2) keeps the signal's variance through ReLU (He et al. 2015).
    """

    def __init__(self, members: int, inputs: int, outputs: int, gain: float = math.sqrt(2.0)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, inputs, outputs) * (gain / math.sqrt(inputs)))
        # Of one axis, so that weight decay leaves it alone.
        self.bias = nn.Parameter(torch.zeros(members * outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x (row, in), the same for all members, or (member, row, in), to (member, row, out)."""
        members, _, outputs = self.weight.shape
        return torch.matmul(x, self.weight) + self.bias.view(members, 1, outputs)


class ThreatAssessment(nn.Module):
    """The ensemble and its calibration.

    Args:
        config: Shape of the network.
    """

    # The counts of the inputs' scale are not served.
    served_prefixes = (
        "scale.centre", "scale.inverse", "look.", "kind.", "think.", "aims.", "join.", "decide.", "say.",
        "match.", "weigh.", "die.", "hit_", "kill_", "death_", "target_", "spread_",
    )  # fmt: skip

    def __init__(self, config: ThreatAssessmentConfig | None = None) -> None:
        super().__init__()
        self.config = config or ThreatAssessmentConfig()
        self.config.validate()
        c = self.config
        seen = NUM_OWN + ENEMY_SIZE + len(ARCHETYPES)
        seen += c.recent * NUM_WINDOW_FEATURES + NUM_LOOKS + c.deeds * NUM_DEED + 2
        self.scale = InputScale(seen)
        self.look = MemberLinear(c.members, seen, c.hidden)
        # Which units matter differs from archetype to archetype (Perez et al. 2018).
        self.kind = MemberLinear(c.members, len(ARCHETYPES), c.hidden, gain=0.1)
        self.think = MemberLinear(c.members, c.hidden, c.hidden)
        self.aims = MemberLinear(c.members, NUM_AIM, c.aim)
        self.join = MemberLinear(c.members, 3 * c.hidden + 2 * c.aim, c.hidden)
        self.decide = MemberLinear(c.members, c.hidden, c.hidden)
        # Per question chance, amount and spread; then kill, no target, and what is asked of the aims.
        self.say = MemberLinear(c.members, c.hidden, 3 * len(QUESTIONS) + 2 + c.aim, gain=0.3)
        self.match = MemberLinear(c.members, c.aim, 1, gain=0.3)
        self.weigh = MemberLinear(c.members, 2 * c.hidden + NUM_OWN, c.hidden)
        self.die = MemberLinear(c.members, c.hidden, 1, gain=0.3)
        for name, size in (("hit", len(QUESTIONS)), ("kill", 1), ("death", 1)):
            self.register_buffer(f"{name}_scale", torch.ones(size))
            self.register_buffer(f"{name}_shift", torch.zeros(size))
        self.register_buffer("target_scale", torch.ones(1))
        self.register_buffer("spread_scale", torch.ones(len(QUESTIONS)))
        self.hit_scale: Tensor
        self.hit_shift: Tensor
        self.kill_scale: Tensor
        self.kill_shift: Tensor
        self.death_scale: Tensor
        self.death_shift: Tensor
        self.target_scale: Tensor
        self.spread_scale: Tensor

    def forward(self, observation: Tensor, opponents: Tensor, kinds: Tensor, health: Tensor) -> Beliefs:
        """What each member believes; only living enemies are worked on.

        Args:
            observation: `obs_v1`, float32 (row, 64).
            opponents: what each enemy showed in its last decisions, the present one last: features of the
                pattern window, float32 (row, enemy slot, decision, 16), zeros where not shown; only the
                last `history` decisions are looked at.
            kinds: archetype of each enemy, one-hot, float32 (row, enemy slot, 6).
            health: HP shares of me and my allies in the same decisions, float32 (row, decision, 5), zeros
                where unknown.
        """
        return self.beliefs(observation, opponents, kinds, health, packed=True)

    def beliefs(
        self, observation: Tensor, opponents: Tensor, kinds: Tensor, health: Tensor, *, packed: bool
    ) -> Beliefs:
        """As `forward`; `packed` leaves out slots without a living enemy, which changes no number.

        Raises:
            ValueError: fewer decisions of history than the network looks at.
        """
        c, rows = self.config, observation.shape[0]
        if opponents.shape[2] < c.history or health.shape[1] < c.history:
            raise ValueError(
                f"{opponents.shape[2]} decisions are shown, the network looks at {c.history}; give the "
                "task (`task: history`) and the model the same history"
            )
        enemies = observation[:, ENEMY_0:ALLY_0].reshape(rows, MAX_TEAM_SIZE, ENEMY_SIZE)
        present = (enemies[..., 2] > 0).to(observation.dtype)
        places = present.flatten().nonzero()[:, 0] if packed else None

        def living(x: Tensor) -> Tensor:
            """(row, slot, ...) to (living slot, ...)."""
            flat = x.flatten(0, 1)
            return flat if places is None else flat[places]

        def for_each(x: Tensor) -> Tensor:
            """(member, row, number) to (member, living slot, number)."""
            if places is None:
                return x.repeat_interleave(MAX_TEAM_SIZE, dim=1)
            return x[:, places // MAX_TEAM_SIZE]

        own = torch.cat((own_numbers(observation[:, :ENEMY_0]), observation[:, -2:]), dim=1)
        wounds = wounds_of(health[:, -c.history :].to(own.dtype))
        slots = torch.cat((sides(enemies[..., :2]), enemies[..., 2:], kinds.to(own.dtype)), dim=-1)
        shown = living(opponents[:, :, -c.history :]).to(own.dtype)
        ours = for_each(torch.cat((own, wounds.flatten(1)), dim=1)[None])[0]
        blood = ours[:, NUM_OWN:].unflatten(1, (-1, 2))
        sight = recent_sight(shown, blood, c.recent), last_deeds(shown, blood, c.deeds)
        seen = torch.cat((ours[:, :NUM_OWN], living(slots), *sight), dim=-1)
        candidates, here = aims_of(observation, enemies)
        aims, there = living(candidates), living(here)
        seen = self.scale(seen)
        looked = functional.relu(self.look(seen) * (1.0 + self.kind(living(kinds).to(own.dtype))))
        hidden = self._hidden(self.think, functional.dropout(looked, c.dropout, self.training))
        around = torch.cat(self._pooled(hidden, places, present), dim=-1)
        pairs = functional.relu(self.aims(aims.flatten(0, 1))).unflatten(1, (-1, MAX_TEAM_SIZE))
        pairs = pairs * there[..., None]
        hidden = torch.cat((hidden, for_each(around), pairs.mean(dim=2), pairs.amax(dim=2)), dim=-1)
        hidden = self._hidden(self.decide, self._hidden(self.join, hidden))
        said = self.say(hidden)
        asked = functional.relu(said[..., -c.aim :].unsqueeze(2) + pairs)
        target = self.match(asked.flatten(1, 2)).unflatten(1, (-1, MAX_TEAM_SIZE)).squeeze(-1)
        # Nobody aims at the dead. Finite, and inside the range of float16.
        target = target.float() - 30.0 * (1.0 - there)
        around = torch.cat(self._pooled(hidden, places, present), dim=-1)
        summary = torch.cat((around, own.to(around.dtype).expand(c.members, -1, -1)), dim=-1)
        death = self.die(self._hidden(self.weigh, summary)).squeeze(-1).float()
        said, q = said.float(), len(QUESTIONS)
        return Beliefs(
            hit=said[..., :q],
            amount=functional.softplus(said[..., q : 2 * q]),
            spread=functional.softplus(said[..., 2 * q : 3 * q] - 1.0) + 1e-2,
            kill=said[..., 3 * q],
            target=torch.cat((target, said[..., 3 * q + 1 : 3 * q + 2]), dim=-1),
            death=death,
            places=places,
            present=present,
        )

    def combine(self, beliefs: Beliefs) -> dict[str, Tensor]:
        """One calibrated answer of all members, by name of the outputs, see `signature`.

        The law of total variance: Var(y) = E[Var(y | member)] + Var(E[y | member]).
        """
        # ONNX Runtime's Sigmoid is right to 1e-7 absolute; a deviation takes the root of chances below that.
        chance = torch.reciprocal(1.0 + torch.exp(-(beliefs.hit * self.hit_scale + self.hit_shift)))
        amount = beliefs.amount
        mean = chance * amount
        # Var(y) = c v + c (1 - c) m^2 with probability c of a part of mean m and variance v, else 0.
        within = chance * amount**2 * (beliefs.spread * self.spread_scale + 1.0 - chance)
        average = mean.mean(dim=0)
        between = ((mean - average) ** 2).mean(dim=0)
        kill = torch.sigmoid(beliefs.kill * self.kill_scale + self.kill_shift)
        death = torch.sigmoid(beliefs.death * self.death_scale + self.death_shift)
        target = torch.softmax(beliefs.target * self.target_scale, dim=-1).mean(dim=0)
        answers = torch.cat(
            (
                average / UNIT,
                torch.sqrt(within.mean(dim=0)) / UNIT,
                torch.sqrt(between) / UNIT,
                chance.mean(dim=0),
                kill.mean(dim=0)[:, None],
                # Where nobody lives all of it is 0, and nobody the target: 1 is added there.
                target[:, : len(TARGETS) - 1],
                target[:, len(TARGETS) - 1 :] - 1.0,
            ),
            dim=-1,
        )
        here = beliefs.present
        if beliefs.places is not None:
            answers = self._spread_out(answers[None], beliefs.places, here)[0]
        answers = answers.unflatten(0, here.shape) * here[..., None]
        sizes = [*(len(QUESTIONS),) * 4, 1, len(TARGETS) - 1, 1]
        threat, aleatoric, epistemic, any_damage, kills, aims, none = answers.split(sizes, dim=-1)
        return {
            "threat": threat,
            "aleatoric": aleatoric,
            "epistemic": epistemic,
            "chance": any_damage,
            "kill": kills.squeeze(-1),
            "target": torch.cat((aims, none + 1.0), dim=-1),
            "death": death.mean(dim=0),
            "death_epistemic": death.std(dim=0, correction=0),
        }

    def inference_form(self) -> ThreatInference:
        """The network as it is served: one calibrated answer of the ensemble, weights shared."""
        return ThreatInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observation, opponents, kinds and health of the right shapes, the same on every call."""
        generator = torch.Generator().manual_seed(0)
        observation = torch.rand((batch, OBS_SIZE), generator=generator) * 2.0 - 1.0
        shape = (batch, MAX_TEAM_SIZE, self.config.history, NUM_WINDOW_FEATURES)
        opponents = torch.rand(shape, generator=generator) * 2.0 - 1.0
        chosen = torch.randint(0, len(ARCHETYPES), (batch, MAX_TEAM_SIZE), generator=generator)
        health = torch.rand((batch, self.config.history, MAX_TEAM_SIZE), generator=generator)
        return observation, opponents, functional.one_hot(chosen, len(ARCHETYPES)).float(), health

    def signature(self) -> Signature:
        """The doors of the inference form."""
        slots, questions = (MAX_TEAM_SIZE,), (MAX_TEAM_SIZE, len(QUESTIONS))
        window = (MAX_TEAM_SIZE, self.config.history, NUM_WINDOW_FEATURES)
        share = "per enemy slot: to me in 2 s and 5 s, share of my max HP; to my team likewise"
        return Signature(
            inputs=(
                Port("observation", (OBS_SIZE,), meaning="obs_v1"),
                Port(
                    "opponents",
                    window,
                    meaning="per enemy slot the features of the pattern window, last decision last",
                ),
                Port(
                    "kinds", (MAX_TEAM_SIZE, len(ARCHETYPES)), meaning="archetype of each enemy slot, one-hot"
                ),
                Port(
                    "health",
                    (self.config.history, MAX_TEAM_SIZE),
                    meaning="HP shares of me and four allies in the same decisions",
                ),
            ),
            outputs=(
                Port("threat", questions, meaning=f"expected damage {share}"),
                Port("aleatoric", questions, meaning="standard deviation that chance puts into it"),
                Port("epistemic", questions, meaning="standard deviation of the members' means"),
                Port("chance", questions, meaning="probability of any damage"),
                Port("kill", slots, meaning="probability that the enemy kills somebody within 5 s"),
                Port(
                    "target",
                    (MAX_TEAM_SIZE, len(TARGETS)),
                    meaning=f"probability of its target in 1 s: {', '.join(TARGETS)}",
                ),
                Port("death", (), meaning="probability that I die within 5 s"),
                Port("death_epistemic", (), meaning="standard deviation of the members' probabilities"),
            ),
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        return inference.manifest(MODEL_TYPE, self, {"observation_version": OBS_VERSION})

    def _hidden(self, layer: MemberLinear, x: Tensor) -> Tensor:
        return functional.dropout(functional.relu(layer(x)), self.config.dropout, self.training)

    def _spread_out(self, values: Tensor, places: Tensor, present: Tensor) -> Tensor:
        """Packed values (member, living, number) on all slots (member, row x slot, number), zeros between."""
        room = values.new_zeros(values.shape[0], present.numel(), values.shape[2])
        return room.index_copy(1, places, values)

    def _pooled(self, hidden: Tensor, places: Tensor | None, present: Tensor) -> tuple[Tensor, Tensor]:
        """Sum / 5 and maximum over living enemies of what is not negative, each (member, row, number)."""
        if places is not None:
            hidden = self._spread_out(hidden, places, present)
        hidden = hidden.unflatten(1, present.shape) * present[..., None].to(hidden.dtype)
        return hidden.mean(dim=2), hidden.amax(dim=2)


class ThreatInference(nn.Module):
    """The served form: (observation, opponents, kinds, health) to the outputs of the signature.

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: ThreatAssessment) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, observation: Tensor, opponents: Tensor, kinds: Tensor, health: Tensor
    ) -> tuple[Tensor, ...]:
        """Answers in the order of the signature's outputs, all float32."""
        beliefs = self.network.beliefs(observation, opponents, kinds, health, packed=False)
        return tuple(self.network.combine(beliefs).values())
