"""Airflow's trigger rules, as a function of the states of the upstream steps.

It follows ``TriggerRuleDep`` in airflow/ti_deps/deps/trigger_rule_dep.py: a rule may decide before
all upstream steps have ended. A stopped step counts as failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

Decision = Literal["run", "skip", "upstream_failed", "wait"]
SETUP_RULE = "all_done_setup_success"
"""The rule of a teardown, which runs if one of its setups has succeeded."""
_OUTCOMES = {
    "Succeeded": "success",
    "Failed": "failed",
    "Stopped": "failed",
    "Skipped": "skipped",
    "NotRun": "upstream_failed",
}


def decide(rule: str, upstream: Iterable[str], setups: Iterable[str] = ()) -> Decision:
    """What becomes of a step with a trigger rule.

    Args:
        rule: the rule by Airflow's name; empty for ``all_success``.
        upstream: the states of the direct upstream steps.
        setups: the states of those of them that are setups.
    """
    states = [_OUTCOMES.get(state, "live") for state in upstream]
    if not states or rule == "always":
        return "run"
    count, total = Counter(states), len(states)
    success, skipped, failed = count["success"], count["skipped"], count["failed"]
    unsuccessful = failed + count["upstream_failed"]
    done = not count["live"]
    outcome: Decision = "wait"
    match rule:
        case "" | "all_success":
            outcome = "upstream_failed" if unsuccessful else _chosen(skip=skipped, run=done)
        case "all_failed":
            outcome = _chosen(skip=success or skipped, run=done)
        case "all_done":
            outcome = _chosen(run=done)
        case "all_skipped":
            outcome = _chosen(skip=success or unsuccessful, run=done)
        case "all_done_min_one_success":
            outcome = _chosen(skip=skipped, run=done and success, fail=done)
        case "all_done_setup_success":
            outcome = _after_setups(list(setups)) if done else "wait"
        case "none_failed":
            outcome = "upstream_failed" if unsuccessful else _chosen(run=done)
        case "none_failed_min_one_success":
            outcome = (
                "upstream_failed" if unsuccessful else _chosen(skip=skipped == total, run=done)
            )
        case "none_skipped":
            outcome = _chosen(skip=skipped, run=done)
        case "one_success":
            outcome = _chosen(run=success, skip=skipped == total, fail=done)
        case "one_failed":
            outcome = _chosen(run=unsuccessful, skip=done and not unsuccessful)
        case "one_done":
            outcome = _chosen(run=success or failed, skip=done and not (success or failed))
    return outcome


def _chosen(*, skip: object = False, run: object = False, fail: object = False) -> Decision:
    """The first outcome that holds."""
    if skip:
        return "skip"
    if run:
        return "run"
    return "upstream_failed" if fail else "wait"


def _after_setups(setups: list[str]) -> Decision:
    """What becomes of a teardown when everything before it has ended."""
    if not setups or "Succeeded" in setups:
        return "run"
    return "skip" if all(state == "Skipped" for state in setups) else "upstream_failed"
