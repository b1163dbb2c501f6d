from typing import Any

import pytest

from experiments.gate import FAIL, PASS, UNDECIDED, GateResult, judge, judge_perception, thresholds

BASELINES = {"random": {"wins": 800, "n": 2000}, "mirror": {"wins": 1000, "n": 2000}}


def good(**changes: Any) -> dict[str, Any]:
    """A candidate that passes: 1,600 of 2,000 fights won, lower bound 0.782."""
    return {
        "wins": 1600, "n": 2000, "average_reward": 180.0, "fp32_error": 2e-7, "fp16_action_agreement": 0.999,
        "latency_p95_ms": 4.0, "latency_requests": 250, "action_entropy_bits": 2.4, "loss": 0.01,
        **changes,
    }  # fmt: skip


def verdict_of(result: GateResult, name: str) -> str:
    return next(check.verdict for check in result.checks if check.name == name)


def test_a_good_candidate_passes_and_says_why() -> None:
    result = judge(good(), BASELINES)
    assert result.verdict == PASS and not result.refused
    assert any("win rate 0.800 (lower 95 % bound 0.782, n = 2000) is above 0.70" in r for r in result.reasons)


def test_the_lower_bound_decides_not_the_rate() -> None:
    # 0.715 of 2,000: standard error sqrt(.715 * .285 / 2000) = 0.0101, so the bound is near 0.695
    result = judge(good(wins=1430), BASELINES)
    assert verdict_of(result, "win_rate") == UNDECIDED and result.verdict == UNDECIDED
    # 0.725: the bound is near 0.705
    assert verdict_of(judge(good(wins=1450), BASELINES), "win_rate") == PASS


def test_a_rate_at_or_under_the_target_fails_and_under_the_floor_is_refused() -> None:
    result = judge(good(wins=1400), BASELINES)
    assert result.verdict == FAIL and not result.refused
    result = judge(good(wins=1199), BASELINES)
    assert result.verdict == FAIL and result.refused


def test_too_few_fights_are_undecided_even_when_all_are_won() -> None:
    result = judge(good(wins=499, n=499), BASELINES)
    assert result.verdict == UNDECIDED
    assert "too few fights, 500 are needed" in result.reasons[0]


def test_a_candidate_must_be_above_every_baseline() -> None:
    near = {"random": {"wins": 10, "n": 2000}, "mirror": {"wins": 1590, "n": 2000}}
    assert verdict_of(judge(good(), near), "baselines") == UNDECIDED
    above = {"mirror": {"wins": 1700, "n": 2000}}
    assert judge(good(), above).verdict == FAIL
    assert verdict_of(judge(good(), {}), "baselines") == UNDECIDED


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"average_reward": 100.0}, "average_reward", FAIL),
        ({"average_reward": float("nan")}, "average_reward", FAIL),
        ({"average_reward": None}, "average_reward", UNDECIDED),
        ({"fp32_error": 1.1e-5}, "fp32_error", FAIL),
        ({"fp32_error": 1.0e-5}, "fp32_error", PASS),
        ({"fp16_action_agreement": 0.9949}, "fp16_action_agreement", FAIL),
        ({"fp16_action_agreement": 0.995}, "fp16_action_agreement", PASS),
        ({"latency_p95_ms": 15.0}, "latency_p95_ms", FAIL),
        ({"latency_p95_ms": None}, "latency_p95_ms", UNDECIDED),
        ({"latency_requests": 199}, "latency_p95_ms", UNDECIDED),
    ],
)
def test_each_blocking_check_blocks_alone(changes: dict[str, Any], name: str, expected: str) -> None:
    result = judge(good(**changes), BASELINES)
    assert verdict_of(result, name) == expected
    assert result.verdict == expected


def test_a_check_says_what_was_seen_and_what_was_wanted() -> None:
    texts = {check.name: check.text for check in judge(good(loss=None), BASELINES).checks}
    assert texts["average_reward"] == "average reward 180.0 per episode is above 100.0"
    assert texts["fp32_error"] == "FP32 error 2.0e-07 is at most 1.0e-05"
    assert texts["latency_p95_ms"] == "P95 latency 4.00 ms is below 15.00"
    assert texts["loss"] == "training loss was not measured"


def test_diversity_and_loss_are_reported_and_block_in_strict_mode_only() -> None:
    dull = good(action_entropy_bits=1.5)
    assert judge(dull, BASELINES).verdict == PASS
    assert verdict_of(judge(dull, BASELINES), "action_entropy_bits") == FAIL
    assert judge(dull, BASELINES, strict=True).verdict == FAIL
    assert judge(good(loss=0.6), BASELINES, strict=True).verdict == FAIL
    assert judge(good(), BASELINES, strict=True).verdict == PASS


def test_a_failure_outweighs_what_is_undecided_and_nothing_measured_is_undecided() -> None:
    result = judge(good(average_reward=1.0, latency_p95_ms=None), BASELINES)
    assert result.verdict == FAIL and len(result.reasons) == 1
    assert judge({}, BASELINES).verdict == UNDECIDED


def test_the_installed_thresholds_are_those_of_the_specification() -> None:
    limits = thresholds()
    assert limits["win_rate"]["target"] == 0.70 and limits["win_rate"]["floor"] == 0.60
    assert limits["average_reward"]["target"] == 100.0
    assert limits["latency_p95_ms"]["target"] == 15.0
    assert limits["parity"] == {"fp32_error": 1e-5, "fp16_action_agreement": 0.995, "fp16_error": 1e-2}
    assert limits["perception"] == {
        "threat_share_of_ceiling": 0.85,
        "calibration_error": 0.05,
        "map_share_of_ceiling": 0.80,
        "points_over_baseline": 10.0,
    }
    assert limits["action_diversity_bits"]["target"] == 2.0


SEEN = {"fp32_error": 2e-7, "fp16_error": 2e-3, "fp16_action_agreement": 1.0,
        "latency_p95_ms": 4.0, "latency_requests": 250}  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "good", "bad"),
    [
        ("threat_assessment", {"share_of_ceiling_2s": 0.85, "calibration_error": 0.049},
         {"share_of_ceiling_2s": 0.849}),
        ("threat_assessment", {"share_of_ceiling_2s": 0.9, "calibration_error": 0.03},
         {"calibration_error": 0.05}),
        ("spatial_vit", {"share_of_ceiling_damage": 0.8, "share_of_ceiling_occupancy": 0.9},
         {"share_of_ceiling_damage": 0.79}),
        ("temporal_transformer", {"points_over_best_low": 10.0}, {"points_over_best_low": 9.9}),
        ("pattern_recognition", {"points_over_best_low": 12.0}, {"points_over_best_low": -3.0}),
    ],
)  # fmt: skip
def test_a_perception_mind_is_judged_by_its_own_row(
    model_type: str, good: dict[str, float], bad: dict[str, float]
) -> None:
    assert judge_perception(model_type, {**SEEN, **good}).verdict == PASS
    failed = judge_perception(model_type, {**SEEN, **good, **bad})
    assert failed.verdict == FAIL and len(failed.reasons) == 1
    unmeasured = judge_perception(model_type, {**SEEN, **good, **dict.fromkeys(bad)})
    assert unmeasured.verdict == UNDECIDED
    slow = judge_perception(model_type, {**SEEN, **good, "latency_p95_ms": 15.0})
    assert slow.verdict == FAIL and "P95 latency 15.00 ms is not below 15.00" in slow.reasons[0]
    assert judge_perception(model_type, {**SEEN, **good, "fp16_error": 0.011}).verdict == FAIL


def test_an_unmeasured_ceiling_is_named() -> None:
    result = judge_perception("threat_assessment", {**SEEN, "calibration_error": 0.01})
    assert result.reasons == (
        "explained variance of the threat in 2 s, share of its ceiling, was not measured",
    )
