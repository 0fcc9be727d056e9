"""The trigger rules of lifecycle/ are those of the installed Airflow."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.ti_deps.deps import trigger_rule_dep

from sagebridge.model.engine_settings import TRIGGER_RULES
from sagebridge_operators.lifecycle.trigger_rules import decide

S, F, X, K, N, P = "Succeeded", "Failed", "Stopped", "Skipped", "NotRun", "Executing"
_COUNTS = {S: "success", F: "failed", X: "failed", K: "skipped", N: "upstream_failed"}


def airflow_decision(
    rule: str, upstream: tuple[str, ...], setups: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> str:
    """What Airflow's scheduler does with a task, from the states of its upstream tasks."""
    counts = Counter(_COUNTS[one] for one in upstream if one != P)
    states = SimpleNamespace(
        success=counts["success"],
        skipped=counts["skipped"],
        failed=counts["failed"],
        upstream_failed=counts["upstream_failed"],
        removed=0,
        done=sum(counts.values()),
        success_setup=setups.count(S),
        skipped_setup=setups.count(K),
    )
    given = SimpleNamespace(calculate=lambda finished: states)
    monkeypatch.setattr(trigger_rule_dep, "_UpstreamTIStates", given)
    tasks = [
        SimpleNamespace(
            task_id=f"t{position}",
            is_setup=position < len(setups),
            get_needs_expansion=lambda: False,
        )
        for position in range(len(upstream))
    ]
    task = SimpleNamespace(
        upstream_list=tasks,
        upstream_task_ids={one.task_id for one in tasks},
        trigger_rule=rule,
        is_teardown=False,
        get_upstreams_only_setups=lambda: (),
        get_closest_mapped_task_group=lambda: None,
    )
    found: list[str] = []
    ti = SimpleNamespace(
        task=task,
        map_index=-1,
        get_dagrun=lambda session: None,
        set_state=lambda state, session: found.append(str(state)),
    )
    context: Any = SimpleNamespace(
        flag_upstream_failed=True,
        wait_for_past_depends_before_skipping=False,
        ensure_finished_tis=lambda run, session: (),
        have_changed_ti_states=False,
    )
    dep: Any = trigger_rule_dep.TriggerRuleDep()
    statuses = list(dep._get_dep_statuses(ti, context, session=None))
    if found:
        return {"skipped": "skip"}.get(found[0], found[0])
    return "run" if all(one.passed for one in statuses) else "wait"


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_rule_decides_as_airflow(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        *itertools.product((S, F, X, K, N, P), repeat=2),
        *itertools.combinations_with_replacement((S, F, K, N, P), 3),
    ]
    for upstream in cases:
        for count in range(2):
            setups = upstream[:count]
            expected = airflow_decision(rule, upstream, setups, monkeypatch)
            assert decide(rule, upstream, setups) == expected, (upstream, setups)


def test_all_rules_are_known() -> None:
    from airflow.sdk import TriggerRule

    deprecated = {"dummy", "none_failed_or_skipped"}
    assert {one.value for one in TriggerRule} - deprecated == set(TRIGGER_RULES)
