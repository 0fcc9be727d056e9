"""Trigger rules: Airflow's own evaluation is the reference, see tests/airflow."""

from __future__ import annotations

import itertools

import pytest

from sagebridge_operators.lifecycle.trigger_rules import Decision, decide

S, F, X, K, N, P = "Succeeded", "Failed", "Stopped", "Skipped", "NotRun", "Pending"
RULES = (
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_done_setup_success",
    "all_skipped",
    "always",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "one_done",
    "one_failed",
    "one_success",
)


@pytest.mark.parametrize(
    ("rule", "upstream", "decision"),
    [
        ("", (S, S), "run"),
        ("", (S, P), "wait"),
        ("all_success", (K, F), "upstream_failed"),
        ("all_success", (P, K), "skip"),
        ("all_success", (P, X), "upstream_failed"),
        ("all_failed", (F, N), "run"),
        ("all_failed", (F, P), "wait"),
        ("all_failed", (F, K), "skip"),
        ("all_done", (F, K, N, S), "run"),
        ("all_done", (F, P), "wait"),
        ("all_done_min_one_success", (F, S), "run"),
        ("all_done_min_one_success", (F, N), "upstream_failed"),
        ("all_done_min_one_success", (K, S), "skip"),
        ("all_skipped", (K, K), "run"),
        ("all_skipped", (K, P), "wait"),
        ("all_skipped", (P, S), "skip"),
        ("always", (P, P), "run"),
        ("none_failed", (K, K), "run"),
        ("none_failed", (K, N), "upstream_failed"),
        ("none_failed_min_one_success", (K, S), "run"),
        ("none_failed_min_one_success", (K, K), "skip"),
        ("none_failed_min_one_success", (S, F), "upstream_failed"),
        ("none_failed_min_one_success", (K, P), "wait"),
        ("none_skipped", (F, S), "run"),
        ("none_skipped", (P, K), "skip"),
        ("one_done", (P, F), "run"),
        ("one_done", (K, N), "skip"),
        ("one_failed", (P, N), "run"),
        ("one_failed", (S, K), "skip"),
        ("one_failed", (S, P), "wait"),
        ("one_success", (P, S), "run"),
        ("one_success", (K, K), "skip"),
        ("one_success", (K, F), "upstream_failed"),
        ("one_success", (K, P), "wait"),
    ],
)
def test_rule_decides(rule: str, upstream: tuple[str, ...], decision: Decision) -> None:
    assert decide(rule, upstream) == decision


@pytest.mark.parametrize(
    ("upstream", "setups", "decision"),
    [
        ((S, F), (S,), "run"),
        ((S, P), (S,), "wait"),
        ((F, N), (F,), "upstream_failed"),
        ((K, K), (K,), "skip"),
        ((S, F, F), (S, F), "run"),
        ((F, K), (), "run"),
    ],
)
def test_teardown_needs_one_setup(
    upstream: tuple[str, ...], setups: tuple[str, ...], decision: Decision
) -> None:
    assert decide("all_done_setup_success", upstream, setups) == decision


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_decides_without_running_steps(rule: str) -> None:
    for upstream in itertools.product((S, F, K, N), repeat=3):
        assert decide(rule, upstream) != "wait", upstream


@pytest.mark.parametrize("rule", RULES)
def test_rule_without_upstream_runs(rule: str) -> None:
    assert decide(rule, ()) == "run"
