"""A learner's start from recorded fights of the traditional AI."""

from __future__ import annotations

import logging
from typing import Any

from envs.configuration import ConfigError
from envs.demonstrations import Demonstrations, demonstrate
from policies.columnar.learner import ColumnarLearner
from policies.settings import Run
from policies.warm_start import Form, clone

logger = logging.getLogger(__name__)

HEADS = {
    "MLMonster/Combat-v0": "combat",
    "MLMonster/Movement-v0": "movement",
    "MLMonster/Skill-v0": "skill",
    "MLMonster/Control-v0": "control",
}
"""The head whose actions an environment takes, where the traditional AI can be copied."""


def demonstrations_of(run: Run) -> Demonstrations:
    """Fights of the traditional AI in a run's own environment.

    Raises:
        ConfigError: The environment has nobody to copy.
    """
    name = run.env.get("id", run.env.get("factory"))
    if name not in HEADS:
        raise ConfigError(
            f"training.warm_start_fights: nobody to copy in {name!r}; set it to 0, or train in one of "
            f"{', '.join(HEADS)}"
        )
    return demonstrate(
        run.env.get("archetype", "aggressive"),
        head=HEADS[str(name)],
        scenario=run.env.get("scenario"),
        opponent=run.env.get("opponent") or "classic",
        fights=run.training.warm_start_fights,
        seed=run.seed,
        reward=run.env.get("reward"),
    )


def warm_up(learner: ColumnarLearner, *, demos: Demonstrations) -> None:
    """Teach a learner's network to copy demonstrations; the same on every learner.

    Args:
        learner: At the start of its run.
        demos: Of its own environment.
    """
    training = learner.run.training
    form, outputs, parameters = _what_is_taught(learner)
    learner.net_module.eval()
    result = clone(
        outputs,
        parameters,
        demos,
        form=form,
        epochs=training.warm_start_passes,
        gamma=training.gamma,
        reward_scale=learner.run.reward_factor,
        seed=learner.run.seed,
        weight_decay=training.weight_decay,
    )
    for flat in learner.flat:
        flat.zero_gradient()
    learner.after_warm_up()
    logger.info(
        "copied %d decisions of the traditional AI: %.3f right on %d held out, %.3f by the commonest action",
        result.rows,
        result.best.validation_accuracy,
        result.validation_rows,
        result.majority,
    )


def _what_is_taught(learner: ColumnarLearner) -> tuple[Form, Any, list[Any]]:
    """The form of the loss, the function from observations to what it reads, and what is trained."""
    net: Any = learner.net_module.net
    algorithm = getattr(learner.run, "algorithm", "")
    if algorithm == "dqn":
        return "q_values", net, list(net.parameters())
    if algorithm == "sac":
        return "squashed", lambda obs: net.actor(obs)[0], list(net.actor.parameters())
    # The critic's own layers get no gradient and stay as they are.
    return "logits", net.logits, [p for p in net.parameters() if p.requires_grad]
