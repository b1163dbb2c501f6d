"""Calibration finds what was done to true chances and spreads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from policies.perception.calibration import FEW, fit_calibration, fit_chance, fit_temperature, join_beliefs
from policies.perception.task import Rows
from policies.threat_assessment import QUESTIONS, UNIT, Beliefs, ThreatAssessment, ThreatAssessmentConfig

ROWS = 6000


def test_scale_and_shift_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(ROWS, generator=generator) * 1.5
    truth = torch.rand(ROWS, generator=generator) < torch.sigmoid(true)
    # What is stated is twice as sure as it should be and one too high: 0.5 x (2 x + 1) - 0.5 = x.
    scale, shift = fit_chance((2.0 * true + 1.0).expand(3, -1), truth)
    assert scale == pytest.approx(0.5, abs=0.03) and shift == pytest.approx(-0.5, abs=0.1)


def test_temperature_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(ROWS, 4, generator=generator)
    truth = torch.multinomial(torch.softmax(true, dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature((true * 3.0).expand(2, -1, -1), truth) == pytest.approx(1 / 3, abs=0.03)


def test_too_few_rows_change_nothing() -> None:
    truth = torch.zeros(500, dtype=torch.bool)
    truth[: FEW - 1] = True
    assert fit_chance(torch.randn(2, 500), truth) == (1.0, 0.0)
    assert fit_temperature(torch.randn(2, 3, 4), torch.zeros(3, dtype=torch.int64)) == 1.0


def stated(members: int = 2) -> tuple[Beliefs, Rows]:
    """Enemies in slot 1 whose damage is gamma of shape 4, stated with a spread of 1 instead of 1 / 4."""
    rng = np.random.default_rng(0)
    everything = torch.ones(members, ROWS, len(QUESTIONS))
    present = torch.zeros(ROWS, 5)
    present[:, 1] = 1.0
    hits = rng.random((ROWS, 5, len(QUESTIONS))) < 0.5
    damage = np.where(hits, rng.gamma(4.0, 2.0 / UNIT / 4.0, hits.shape), 0.0).astype(np.float32)
    chances = (rng.random((ROWS, 5)) < 1 / (1 + math.exp(-1.0))).astype(np.int8)
    rows = {
        "threat": damage,
        "known": np.ones(hits.shape, bool),
        "kill": chances,
        "target": (rng.random((ROWS, 5)) > math.exp(2.0) / (math.exp(2.0) + 5)).astype(np.int8),
        "death": chances[:, 0],
    }
    beliefs = Beliefs(
        hit=everything * 0.0,
        amount=everything * 2.0,
        spread=everything,
        kill=torch.zeros(members, ROWS),
        target=torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).expand(members, ROWS, 6),
        death=torch.zeros(members, ROWS),
        places=torch.arange(ROWS) * 5 + 1,
        present=present,
    )
    return beliefs, rows


def test_all_buffers_are_set() -> None:
    torch.manual_seed(0)
    config = ThreatAssessmentConfig(members=2, hidden=4, aim=2, history=4, recent=2, deeds=2)
    network = ThreatAssessment(config)
    found = fit_calibration(network, *stated())
    assert network.spread_scale.tolist() == pytest.approx([0.25] * 4, rel=0.3)
    assert network.hit_shift.tolist() == pytest.approx([0.0] * 4, abs=0.1)
    # A logit of 0 whatever the scale: only the shift says that three of four are true.
    assert network.kill_shift.item() == pytest.approx(1.0, abs=0.1)
    assert network.death_shift.item() == pytest.approx(1.0, abs=0.1)
    # The first of six targets is true as often as a logit of 2 against zeros says, and 1 is stated.
    assert network.target_scale.item() == pytest.approx(2.0, abs=0.05)
    assert found["spread_scale_threat_5s"] == pytest.approx(network.spread_scale[1].item())


def test_beliefs_of_batches_join_in_order() -> None:
    beliefs, _ = stated()
    parts = []
    for rows in (slice(0, 3), slice(3, 5)):
        part = {name: getattr(beliefs, name)[:, rows] for name in Beliefs._fields[:6]}
        places = torch.arange(rows.stop - rows.start) * 5 + 1
        parts.append(beliefs._replace(**part, places=places, present=beliefs.present[rows]))
    joined = join_beliefs(parts)
    assert joined.places is not None and joined.places.tolist() == [1, 6, 11, 16, 21]
    assert joined.hit.shape == (2, 5, 4) and joined.present.shape == (5, 5)
