"""What the threat mind learns: who will hurt me and my team, kill, or aim at whom; and whether I die."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range, load_dataclass
from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.contracts.window import WINDOW_LENGTH
from envs.perception import baselines
from envs.perception.recording import FIVE_SECONDS, Recording
from envs.perception.sights import Sights
from policies.perception import reliability
from policies.perception.calibration import fit_calibration, join_beliefs
from policies.perception.ceilings import Ceiling, FreshFights, draw
from policies.perception.ceilings import ceiling as noise_ceiling_of
from policies.perception.compositions import FightPlan, Split
from policies.perception.task import Batch, Rows, count_rows
from policies.perception.threat_rows import UNKNOWN, damage_done, threat_rows
from policies.settings import NotNegative, Share
from policies.threat_assessment import HISTORY, QUESTIONS, TARGETS, UNIT, Beliefs, ThreatAssessment

INPUTS = ("observation", "opponents", "kinds", "health")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThreatSettings:
    """Further settings of the task, `task` in `configs/threat_assessment.yaml`."""

    history: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = HISTORY
    """Decisions of each enemy in a row; at least as many as the network looks at."""
    weight_2s: NotNegative = 1.0
    """Weight of damage within 2 s in the loss."""
    weight_5s: NotNegative = 0.5
    """Weight of damage within 5 s."""
    weight_team: NotNegative = 0.5
    """Factor on the weight of damage to the team."""
    weight_mean: NotNegative = 1.0
    """Weight of the squared error of the expected damage, in variances of the damage."""
    weight_kill: NotNegative = 0.5
    """Weight of who kills."""
    weight_target: NotNegative = 0.5
    """Weight of the next target."""
    weight_death: NotNegative = 0.5
    """Weight of whether I die."""
    balance: Share = 0.0
    """Classes of kill, target and death weigh (1 / frequency) to this power; 0 weighs rows alike."""
    bootstrap: Share = 1.0
    """How far each member weighs fights by its own random weights (Rubin 1981) in place of all alike."""
    noise: NotNegative = 0.01
    """Standard deviation of the noise on positions and bars in training."""


class ThreatTask:
    """See `policies.perception.task.PerceptionTask`.

    Args:
        **settings: Those of `ThreatSettings`.
    """

    model_type = "threat_assessment"
    score = "skill"
    grid_stride = 0

    def __init__(self, **settings: Any) -> None:
        self.settings = load_dataclass(ThreatSettings, settings, "threat_assessment: task")

    def rows(self, sights: Sights, *, stride: int) -> Rows:
        """See `policies.perception.threat_rows.threat_rows`."""
        return threat_rows(sights, stride=stride, history=self.settings.history)

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Noise on positions and bars.

        The network is blind to turning, mirroring and to the order of enemies and allies: such copies of a
        row would teach it nothing.
        """
        if self.settings.noise == 0.0:
            return rows
        return {**rows, "observation": _noisy(rows["observation"], self.settings.noise, rng)}

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        """Mean and scale of the damage, frequencies of the classes, how often targets are kept.

        Returns:
            `mean`, `scale` float32 `(question,)`; `kill_prior`, `death_prior` float32 `(2,)`,
            `target_prior` `(6,)`, `same_prior` `(6, 6)`: next target (last axis) given the present one.
        """
        threat, known = rows["threat"], rows["known"]
        values = [threat[..., q][known[..., q]].astype(np.float64) for q in range(len(QUESTIONS))]
        given = rows["target"] != UNKNOWN
        table = np.ones((len(TARGETS), len(TARGETS)))
        np.add.at(table, (rows["same"][given], rows["target"][given]), 1.0)
        fitted = {
            "mean": np.array([v.mean() for v in values]),
            "scale": np.array([max(v.std(), 1e-3) for v in values]),
            "kill_prior": _frequencies(rows["kill"], 2),
            "death_prior": _frequencies(rows["death"], 2),
            "target_prior": _frequencies(rows["target"], len(TARGETS)),
            "same_prior": table / table.sum(axis=1, keepdims=True),
        }
        return {name: value.astype(np.float32) for name, value in fitted.items()}

    def loss(self, network: nn.Module, batch: Batch, fitted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean over the members' losses, each with its own weights of fights in training."""
        beliefs: Beliefs = network(*_inputs(batch))
        places, members = beliefs.places, beliefs.hit.shape[0]
        assert places is not None
        share = self.settings.bootstrap if network.training else 0.0
        of_row = fight_weights(batch["fight"], members, share)
        weight = of_row[:, places // MAX_TEAM_SIZE]

        def of_enemies(name: str) -> Tensor:
            """(row, slot, ...) to (enemy, ...)."""
            return batch[name].flatten(0, 1)[places]

        hit, amount, mean = damage_losses(beliefs, of_enemies("threat").float(), fitted["scale"])
        per_question = _average(
            hit + amount + self.settings.weight_mean * mean, weight[..., None] * of_enemies("known"), (0, 1)
        )
        settings = self.settings
        of_question = per_question.new_tensor([settings.weight_2s, settings.weight_5s])
        of_question = torch.cat((of_question, of_question * settings.weight_team))
        kill = self._class_loss(_two(beliefs.kill), of_enemies("kill"), weight, fitted["kill_prior"])
        target = self._class_loss(beliefs.target, of_enemies("target"), weight, fitted["target_prior"])
        death = self._class_loss(_two(beliefs.death), batch["death"], of_row, fitted["death_prior"])
        damage = (per_question * of_question).sum()
        total = (
            damage
            + settings.weight_kill * kill
            + settings.weight_target * target
            + settings.weight_death * death
        )
        return {
            "loss": total,
            "damage_loss": damage,
            "kill_loss": kill,
            "target_loss": target,
            "death_loss": death,
        }

    def predict(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The ensemble's calibrated answers, see `ThreatAssessment.signature`."""
        assert isinstance(network, ThreatAssessment)
        return network.combine(network(*_inputs(batch)))

    def calibrate(
        self, network: nn.Module, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Fit scales and shifts of the chances and the spread of the damage on validation rows."""
        assert isinstance(network, ThreatAssessment)
        device = next(network.parameters()).device
        parts: list[Beliefs] = []
        with torch.no_grad():
            for start in range(0, count_rows(rows), 512):
                batch = {
                    name: torch.from_numpy(np.ascontiguousarray(rows[name][start : start + 512])).to(device)
                    for name in INPUTS
                }
                parts.append(
                    Beliefs(*(part.cpu() for part in network(*_inputs(batch))))
                )  # all are there when packed
        return fit_calibration(network, join_beliefs(parts), rows)

    def errors(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Squared error of damage, negative log-likelihood of classes; means over known enemies of a row."""
        found: dict[str, np.ndarray] = {}
        if "threat" in answers:
            squared = (answers["threat"].astype(np.float64) - rows["threat"]) ** 2
            for q, question in enumerate(QUESTIONS):
                found[question] = _row_means(squared[..., q], rows["known"][..., q])
        if "kill" in answers:
            found["kill"] = _row_means(_surprise(_pair(answers["kill"]), rows["kill"]), rows["kill"] >= 0)
        if "target" in answers:
            surprise = _surprise(answers["target"], rows["target"])
            found["target"] = _row_means(surprise, rows["target"] >= 0)
        if "death" in answers:
            death = rows["death"]
            found["death"] = np.where(death >= 0, _surprise(_pair(answers["death"]), death), np.nan)
        return found

    def metrics(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Figures of a set.

        Returns:
            `skill` (mean over the questions of 1 - error / error of the prior), `ev_<question>` explained
            variances, `interval_error` and `<kill, death, target>_ece`, `calibration_error` the worst of
            them, `target_accuracy`, `rank_correlation` of stated deviation with error (threat to me in 2 s),
            `epistemic_2s` and `aleatoric_2s` its mean deviations.
        """
        own = self.errors(answers, rows, fitted)
        prior = self.errors(self.baselines(rows, fitted)["prior"], rows, fitted)
        figures = {"skill": float(np.mean([1 - np.nanmean(own[q]) / np.nanmean(prior[q]) for q in own]))}
        misses = []
        for q, question in enumerate(QUESTIONS):
            known = rows["known"][..., q]
            truth = rows["threat"][..., q][known]
            mean, chance = answers["threat"][..., q][known], answers["chance"][..., q][known]
            std = total_std(answers)[..., q][known]
            figures[f"ev_{question}"] = baselines.explained_variance(mean, truth)
            misses.append(reliability.interval_error(*reliability.places(chance, mean, std, truth)))
        figures["interval_error"] = float(np.mean(misses))
        for question in ("kill", "death"):
            known = rows[question] >= 0
            figures[f"{question}_ece"] = reliability.expected_calibration_error(
                answers[question][known], rows[question][known]
            )
        known = rows["target"] >= 0
        chances, truth = answers["target"][known], rows["target"][known]
        right = chances.argmax(axis=-1) == truth
        figures["target_ece"] = reliability.expected_calibration_error(chances.max(axis=-1), right)
        names = ("interval_error", "kill_ece", "death_ece", "target_ece")
        figures["calibration_error"] = max(figures[name] for name in names)
        figures["target_accuracy"] = float(right.mean())
        known = rows["known"][..., 0]
        miss = np.abs(answers["threat"][..., 0] - rows["threat"][..., 0])[known]
        figures["rank_correlation"] = reliability.rank_correlation(total_std(answers)[..., 0][known], miss)
        for kind in ("epistemic", "aleatoric"):
            figures[f"{kind}_2s"] = float(answers[kind][..., 0][known].mean())
        return figures

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """The last 2 s repeated, DPS times reach, the mean or class prior, and the present target kept."""
        count = count_rows(rows)
        slots = (count, MAX_TEAM_SIZE)
        same = np.asarray(fitted["same_prior"])[rows["same"]]
        return {
            "repeated_threat": {"threat": rows["repeated"]},
            "reach_threat": {"threat": rows["reach"]},
            "prior": {
                "threat": np.broadcast_to(fitted["mean"], (*slots, len(QUESTIONS))),
                "kill": np.broadcast_to(fitted["kill_prior"][1], slots),
                "target": np.broadcast_to(fitted["target_prior"], (*slots, len(TARGETS))),
                "death": np.broadcast_to(fitted["death_prior"][1], (count,)),
            },
            "same_target": {"target": same},
        }

    def _class_loss(self, logits: Tensor, truth: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
        """Weighted cross-entropy of each member's logits (member, ..., class) where the truth is known."""
        known = truth >= 0
        # Mean weight 1 over the classes as they come.
        of_class = prior**-self.settings.balance
        of_class = of_class / (of_class * prior).sum()
        true = truth.long().clamp(min=0)
        chance = torch.log_softmax(logits, dim=-1)
        picked = chance.gather(-1, true.expand(logits.shape[:-1])[..., None])[..., 0]
        return -_average(picked, weight * (known * of_class[true]), dims=tuple(range(picked.ndim)))


def ceiling(
    archetype: str,
    plan: FightPlan,
    seed: int,
    *,
    split: Split = "test",
    states: int = 512,
    copies: int = 16,
    fresh: FreshFights | None = None,
) -> dict[str, Ceiling]:
    """Noise ceilings of each question about damage, from futures of states like the rows of a set.

    Args:
        archetype: of the observer.
        plan: what was recorded.
        seed: of compositions and fights.
        split: which set.
        states: drawn.
        copies: futures of each.
        fresh: see `policies.perception.ceilings.draw`.

    Returns:
        By question, of one who knows the whole state. `told_2s` and `told_5s`: damage to the observer, of one
        who must infer the sides' styles from all that they did so far; left out where the plan's styles
        change in mid-fight.
    """

    def drawn(told: bool) -> dict[str, Ceiling]:
        draws = draw(
            archetype, plan, seed, _futures, horizon=FIVE_SECONDS, split=split, states=states, copies=copies,
            told=told, fresh=fresh,
        )  # fmt: skip
        return {
            question: noise_ceiling_of(dataclasses.replace(draws, values=draws.values[..., q]))
            for q, question in enumerate(QUESTIONS)
        }

    found = drawn(False)
    if not plan.switching:
        told = drawn(True)
        found |= {f"told_{name}": told[f"threat_{name}"] for name in ("2s", "5s")}
    return found


def _futures(recording: Recording) -> np.ndarray:
    """What each enemy of unit 0 does, float64 `(copy, slot, question)`, nan where unknown."""
    value, known = damage_done(recording, 0)
    out = np.full((recording.num_fights, MAX_TEAM_SIZE, len(QUESTIONS)), np.nan)
    out[:, : value.shape[2]] = np.where(known, value, np.nan)[0]
    return out


def total_std(answers: Rows) -> np.ndarray:
    """Standard deviation of both kinds of doubt together, like `threat`."""
    return np.sqrt(answers["aleatoric"] ** 2 + answers["epistemic"] ** 2)


def damage_losses(beliefs: Beliefs, threat: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three losses of each member and enemy, float32 (member, enemy, question).

    Args:
        beliefs: of the members.
        threat: what happened, share of max HP, (enemy, question).
        scale: standard deviation of each question, (question,).

    Returns:
        Cross-entropy of any damage; negative log-likelihood of its amount if there is any, gamma with mean m
        and shape k = 1 / spread: log G(k) - k log(k / m) - (k - 1) log y + k y / m, in tenths of max HP;
        squared error of the expected damage / scale^2.
    """
    y = threat * UNIT
    positive = (y > 0).float()
    hit = functional.binary_cross_entropy_with_logits(
        beliefs.hit, positive.expand(beliefs.hit.shape), reduction="none"
    )
    shape = 1.0 / beliefs.spread
    mean = beliefs.amount.clamp(min=1e-4)
    # Any positive number stands in where there is no damage; its loss is multiplied by 0.
    some = torch.where(y > 0, y, torch.ones_like(y))
    amount = torch.lgamma(shape) - shape * torch.log(shape / mean)
    amount = amount - (shape - 1.0) * torch.log(some) + shape * some / mean
    expected = torch.sigmoid(beliefs.hit) * beliefs.amount
    return hit, amount * positive, ((expected - y) / (UNIT * scale)) ** 2


def fight_weights(fight: Tensor, members: int, share: float) -> Tensor:
    """Weight of a row for each member, the same for all rows of a fight, float32 (member, row).

    Exponential weights of mean 1 (the Bayesian bootstrap, Rubin 1981) from a hash of fight and member, mixed
    with 1: share 0 weighs all alike.
    """
    number = torch.arange(1, members + 1, device=fight.device)[:, None]
    # Multiplications wrap around: the mixing steps of SplitMix64 on signed numbers.
    bits = fight.long() * -7046029254386353131 + number * -4658895280553007687
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        bits = (bits ^ (bits >> shift)) * factor
    place = ((bits ^ (bits >> 31)) >> 12 & (1 << 40) - 1).double() / (1 << 40)
    return (1.0 - share + share * -torch.log1p(-place)).float()


def _noisy(observation: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Noise on numbers that are not zero, so that who is not there stays so; bars stay positive."""
    out = observation.copy()
    columns = [*range(0, 4), *_columns(ENEMY_0, 6), *_columns(ALLY_0, 3)]
    out[:, columns] = _shaken(observation[:, columns], std, rng)
    out[:, :2] = out[:, :2].clip(0.0, 1.0)
    return out


def _shaken(values: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Values that are not zero times 1 + noise, so that none changes its sign."""
    noise = rng.standard_normal(values.shape, np.float32) * np.float32(std)
    return values * (1 + noise)


def _columns(start: int, size: int) -> list[int]:
    """Position and HP columns of all blocks of units in `obs_v1`."""
    count = MAX_TEAM_SIZE if start == ENEMY_0 else MAX_TEAM_SIZE - 1
    return [start + size * k + part for k in range(count) for part in range(3)]


def _inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # The network turns what it looks at into float32, which is less than all of it.
    return batch["observation"], batch["opponents"], batch["kinds"], batch["health"]


def _two(logits: Tensor) -> Tensor:
    """Logits of no and yes."""
    return torch.stack((torch.zeros_like(logits), logits), dim=-1)


def _average(values: Tensor, weight: Tensor, dims: tuple[int, ...]) -> Tensor:
    weight = weight.expand(values.shape)
    return (values * weight).sum(dim=dims) / weight.sum(dim=dims).clamp(min=1e-6)


def _frequencies(values: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(values[values >= 0].astype(np.int64), minlength=classes) + 1.0
    return counts / counts.sum()


def _pair(chance: np.ndarray) -> np.ndarray:
    return np.stack([1.0 - chance, chance], axis=-1)


def _surprise(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of the true class in nats; what it says of unknown ones means nothing."""
    true = np.maximum(truth, 0).astype(np.int64)
    picked = np.take_along_axis(np.asarray(chances, np.float64), true[..., None], axis=-1)[..., 0]
    return -np.log(np.maximum(picked, 1e-6))


def _row_means(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean over the known slots of each row, nan without any."""
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
