"""The glossary of metrics names what training returns, all of it and nothing else, for each algorithm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.training import CONFIGS, build_trainer
from tests.policies.tiny_runs import ALGORITHMS, tiny_run

pytestmark = pytest.mark.ray

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", re.MULTILINE)


def glossary() -> dict[str, set[str]]:
    """Algorithms by the name of a metric. What is said of PPO goes for packs too."""
    found = {}
    for name, algorithms, *_ in ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert name not in found, f"{name} stands in the page twice"
        named = set(CONFIGS) if algorithms == "all" else set(algorithms.split(", "))
        found[name] = named | ({"team_ppo"} if "ppo" in named else set())
    return found


def test_every_row_of_the_page_is_read() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(glossary()) == len(lines) > 30


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_page_and_metrics_agree(algorithm: str) -> None:
    trainer = build_trainer(tiny_run(algorithm))
    try:
        returned = {re.sub("^reward_terms/.*", "reward_terms/NAME", name) for name in trainer.train_epoch()}
    finally:
        trainer.stop()
    page = {name for name, algorithms in glossary().items() if algorithm in algorithms}
    assert returned - page == set(), "returned, but not in docs/metrics.md"
    assert page - returned == set(), "in docs/metrics.md, but not returned"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_/]+\.py)`", PAGE.read_text()))))
def test_named_modules_exist(path: str) -> None:
    root = PAGE.parents[1]
    assert (root / "policies" / path).is_file() or (root / path).is_file()
