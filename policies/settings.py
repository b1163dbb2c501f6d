"""What a training run is made of: the settings of each algorithm, and the run itself.

The values stand in `configs/<model type>.yaml`; the frozen dataclasses here are their schema. A run is one
resolved dictionary of plain JSON types, so that it can be hashed, stored and handed to a worker.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from envs.configuration import Range
from envs.curriculum import CurriculumSettings
from policies.actor_critic import ActorCriticConfig
from policies.combat_dqn import CombatDQNConfig
from policies.skill_dqn import SkillDQNConfig
from policies.soft_actor_critic import SoftActorCriticConfig
from policies.team import TeamConfig

Share = Annotated[float, Range(minimum=0.0, maximum=1.0)]
Count = Annotated[int, Range(minimum=1)]
Positive = Annotated[float, Range(above=0.0)]
NotNegative = Annotated[float, Range(minimum=0.0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every algorithm has."""

    epochs: Count
    """Reports to Tune."""
    learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Step size of Adam at the start."""
    learning_rate_final_share: Share
    """Share of the learning rate that is left at the last epoch; the way there is linear."""
    gamma: Share
    """Discount per decision."""
    grad_clip: Positive
    """Largest global norm of the gradient."""
    num_envs: Count
    """Fights side by side, over all env runners."""
    rollout_length: Count
    """Decisions per fight and round."""
    rounds_per_epoch: Count
    """Rounds of acting and learning in an epoch."""
    reward_unit: Positive
    """Value learning sees reward / reward_unit x reward scale."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay (AdamW) per step, times the learning rate."""
    accumulate: Count = 1
    """Parts that a batch is cut into; their gradients are added before the step."""
    adam_eps: Positive = 1e-8
    """Added to Adam's denominator."""
    symmetries: bool = False
    """Turn, mirror and renumber each row of a batch at random (`envs.symmetries`)."""

    warm_start_fights: Annotated[int, Range(minimum=0)] = 0
    """Fights of the traditional AI, as a veteran, that the network is taught to copy before it learns by
    itself; 0 leaves that out."""
    warm_start_passes: Count = 10
    """Most passes over those fights; fewer if it stops getting better on those held out."""

    @property
    def rows_per_round(self) -> int:
        """Decisions per round, autoreset rows included."""
        return self.num_envs * self.rollout_length

    @property
    def updates_per_epoch(self) -> int:
        """Gradient steps per epoch once learning has started."""
        raise AttributeError("settings of an algorithm say so")

    def validate(self) -> None:
        """Cross-check the settings that depend on each other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayTrainingConfig(TrainingConfig):
    """What the algorithms with a replay buffer share."""

    batch_size: Count
    """Transitions per gradient step."""
    n_step: Count
    """Rewards summed before bootstrapping; a window ends with its episode."""
    updates_per_round: Annotated[int, Range(minimum=0)]
    """Gradient steps per round."""
    learning_starts: Annotated[int, Range(minimum=0)]
    """Decisions stored before the first gradient step."""
    buffer_capacity: Count
    """Transitions kept for replay."""
    priority_alpha: Share
    """How strongly large TD errors are preferred; 0 samples uniformly."""
    priority_beta: Share
    """Importance correction at the start."""
    priority_beta_final: Share
    """Importance correction at the last epoch."""
    priority_floor: Positive
    """Added to each TD error before it becomes a priority."""
    target_period: Count
    """Gradient steps between two moves of the target network."""
    target_tau: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Share of the online weights in such a move."""

    @property
    def updates_per_epoch(self) -> int:
        """Gradient steps per epoch once learning has started."""
        return self.rounds_per_epoch * self.updates_per_round

    def validate(self) -> None:
        """Cross-check the settings that depend on each other.

        Raises:
            ValueError: The buffer cannot hold two rounds, or a batch is asked for before it can exist.
        """
        per_round = self.num_envs * (self.rollout_length + self.n_step)
        if self.buffer_capacity < 2 * per_round:
            raise ValueError(
                f"buffer_capacity {self.buffer_capacity} holds less than two rounds of {per_round} rows "
                "(num_envs x (rollout_length + n_step)); raise buffer_capacity or lower num_envs"
            )
        if self.learning_starts > self.buffer_capacity:
            raise ValueError(
                f"learning_starts {self.learning_starts} is more than buffer_capacity "
                f"{self.buffer_capacity}; lower learning_starts"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQNTrainingConfig(ReplayTrainingConfig):
    """How a DQN learns."""

    double_q: bool
    """Choose the next action by the online network and value it by the target network."""
    epsilon_initial: Share
    """Share of random legal actions at the start."""
    epsilon_decay_share: Share
    """Share of the run after which the final share of random actions is reached."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SACTrainingConfig(ReplayTrainingConfig):
    """How a soft actor-critic learns; `learning_rate` is the actor's."""

    critic_learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Step size of the critics."""
    alpha_learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Step size of the temperature."""
    initial_alpha: Positive
    """Temperature at the start: the worth of one nat of entropy in units of the scaled reward."""
    actor_starts: Annotated[int, Range(minimum=0)] = 0
    """Gradient steps in which the critics learn alone, so that an actor that was taught to copy somebody is
    not led astray by critics that know nothing yet."""
    target_entropy: float | None = None
    """Entropy that the temperature aims at, in nats; None is minus the number of action components."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOTrainingConfig(TrainingConfig):
    """How PPO learns from one round."""

    minibatch_size: Count
    """Rows per gradient step."""
    passes: Count
    """Passes over each round's rows."""
    gae_lambda: Share
    """Weight of longer returns in the advantage."""
    clip: Positive
    """How far the probability ratio may move before its gradient is cut."""
    value_clip: Positive
    """Squared value errors above this give no gradient."""
    value_coeff: NotNegative
    """Weight of the value loss."""
    entropy_coeff: NotNegative
    """Weight of the entropy bonus, times the archetype's noise / 0.1."""
    entropy_coeff_final_share: Share = 1.0
    """Share of the entropy bonus that is left at the last epoch."""
    kl_coeff: NotNegative = 0.0
    """Weight of the KL penalty at the start; 0 leaves it out."""
    kl_target: Positive = 0.01
    """KL divergence per round that the penalty's weight aims at."""

    @property
    def updates_per_epoch(self) -> int:
        """Gradient steps per epoch."""
        return self.rounds_per_epoch * self.passes * max(1, round(self.rows_per_round / self.minibatch_size))

    def validate(self) -> None:
        """Cross-check the settings that depend on each other.

        Raises:
            ValueError: A minibatch larger than a round.
        """
        if self.minibatch_size > self.rows_per_round:
            raise ValueError(
                f"minibatch_size {self.minibatch_size} is more than the {self.rows_per_round} rows of a "
                "round (num_envs x rollout_length); lower minibatch_size or raise num_envs"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeamTrainingConfig(PPOTrainingConfig):
    """How a pack learns: PPO over sequences, with a central critic. `minibatch_size` counts member rows."""

    reward_sharing: Share = 1.0
    """Share of each member's reward that goes to all members alike."""
    sequence_length: Count
    """Decisions that gradients flow back through; the state at a sequence's start is taken as it was."""

    @property
    def updates_per_epoch(self) -> int:
        """Gradient steps per epoch, for packs of three."""
        rows = 3 * self.rows_per_round
        return self.rounds_per_epoch * self.passes * max(1, round(rows / self.minibatch_size))

    def validate(self) -> None:
        """Cross-check the settings that depend on each other.

        Raises:
            ValueError: A round that does not divide into sequences.
        """
        if self.rollout_length % self.sequence_length:
            raise ValueError(
                f"rollout_length {self.rollout_length} is no multiple of sequence_length "
                f"{self.sequence_length}; choose one that is"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training run, fully resolved; `policies.training.build_trainer` takes it or its plain form."""

    model: Any
    """Shape of the network; every subclass says which."""
    training: Any
    """The algorithm's settings; every subclass says which."""
    env: dict[str, Any]
    """What to make: id and keyword arguments of a Gymnasium vector environment, or factory and its
    arguments."""
    seed: Annotated[int, Range(minimum=0, below=2**31)] = 0
    """Decides weights, exploration and replay, and the environment unless `env_seed` is given."""
    env_seed: Annotated[int, Range(minimum=0)] | None = None
    """Seed of the environment."""
    noise: Share = 0.1
    """The archetype's exploration noise: final epsilon of a DQN, floor of the action's standard deviation
    of SAC, and entropy bonus of PPO relative to 0.1."""
    reward_scale: Positive = 1.0
    """The archetype's reward scale; value learning only, never the published reward."""
    device: str = "cpu"
    """Where torch works: cpu, cuda or cuda:N."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of forward and backward passes; weights and optimizer stay fp32."""
    compiled: bool = False
    """Whether torch.compile makes one kernel of a loss; needs a C++ compiler."""
    env_runners: Annotated[int, Range(minimum=0)] = 0
    """Processes that act; 0 acts in the trainer's own."""
    learners: Annotated[int, Range(minimum=0)] = 0
    """Processes that learn; 0 learns in the trainer's own."""
    sampler: Literal["columnar", "stock"] = "columnar"
    """`stock` runs RLlib's own env runners, connectors, buffers and learners: the reference, and slow."""
    curriculum: CurriculumSettings | None = None
    """Levels of growing difficulty in place of the environment's scenario and opponent; None leaves those."""
    checkpoint_replay: bool = True
    """Whether checkpoints hold the replay buffer; without it a resumed run is not the same run any more."""

    def validate(self) -> None:
        """Cross-check settings.

        Raises:
            ValueError: Fights that cannot be dealt to the env runners evenly, or a curriculum on a lane that
                has none.
        """
        if self.curriculum is not None and self.sampler == "stock":
            raise ValueError("curriculum: RLlib's own lane (sampler stock) plays no levels; use columnar")
        num_envs = int(self.training.num_envs)
        if self.env_runners and num_envs % self.env_runners:
            raise ValueError(
                f"num_envs {num_envs} cannot be dealt to {self.env_runners} env runners evenly; choose a "
                "multiple"
            )

    @property
    def reward_factor(self) -> float:
        """What a reward is multiplied with before value learning sees it."""
        return self.reward_scale / float(self.training.reward_unit)

    @property
    def planned_env_steps(self) -> int:
        """Decisions that the run samples in all, autoreset rows included."""
        training = self.training
        return int(training.epochs * training.rounds_per_epoch * training.rows_per_round)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DQNRun(Run):
    """A run of Double DQN."""

    model: CombatDQNConfig
    training: DQNTrainingConfig
    algorithm: Literal["dqn"] = "dqn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillDQNRun(DQNRun):
    """A run of Double DQN on the skill head's network."""

    model: SkillDQNConfig  # type: ignore[assignment]
    model_type: Literal["skill_dqn"] = "skill_dqn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPORun(Run):
    """A run of PPO."""

    model: ActorCriticConfig
    training: PPOTrainingConfig
    algorithm: Literal["ppo"] = "ppo"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SACRun(Run):
    """A run of soft actor-critic."""

    model: SoftActorCriticConfig
    training: SACTrainingConfig
    algorithm: Literal["sac"] = "sac"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeamRun(Run):
    """A run of recurrent multi-agent PPO with a central critic (CTDE)."""

    model: TeamConfig
    training: TeamTrainingConfig
    algorithm: Literal["team_ppo"] = "team_ppo"

    def validate(self) -> None:
        """Cross-check settings.

        Raises:
            ValueError: As for every run, or a curriculum.
        """
        super().validate()
        if self.curriculum is not None:
            raise ValueError(
                "curriculum: levels differ in team size and a pack keeps its own; train packs without one"
            )


RUNS: dict[str, type[Run]] = {"dqn": DQNRun, "ppo": PPORun, "sac": SACRun, "team_ppo": TeamRun}
"""The class of a run by the name of its algorithm."""
OWN_RUNS: dict[str, type[Run]] = {"skill_dqn": SkillDQNRun}
"""The class of a run of a model type whose network is not its algorithm's usual one; such a run names its
model type."""
