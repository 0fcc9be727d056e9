"""Derives the state of an execution and its steps from the recorded attempts.

A step that has not started has no record. Whether it is Pending, Skipped or NotRun follows from its
upstream steps, by the rules that Airflow calls ``all_success``, ``all_failed`` (trigger Failed) and
``all_done`` (Any). docs/semantics.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sagebridge.model.dependencies import ANY, COMPLETED, FAILED, STOPPED
from sagebridge.model.for_each import ForEachStep, iteration_name
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge_operators.lifecycle.attempt import Attempt

State = Literal[
    "Pending", "Executing", "Stopping", "Succeeded", "Failed", "Stopped", "Skipped", "NotRun"
]
Attempts = Mapping[str, Attempt]
"""One attempt for each step that has started, by step name (see ExecutionRecords.steps)."""
End = Mapping[str, Any]

RUNNING = frozenset(("Executing", "Stopping"))
_LIVE = RUNNING | {"Pending"}
_UNSUCCESSFUL = frozenset(("Failed", "Stopped", "NotRun"))
_FIRES_ON: Mapping[str, frozenset[str]] = {
    COMPLETED: frozenset(("Succeeded",)),
    FAILED: frozenset(("Failed", "NotRun")),
    STOPPED: frozenset(("Stopped",)),
    ANY: frozenset(("Succeeded", "Failed", "Stopped", "Skipped", "NotRun")),
}
"""The states of a step after which each trigger lets another step run."""


class Status(NamedTuple):
    """The status of an execution; ``reason`` is empty unless it failed or was stopped."""

    status: Literal["Executing", "Succeeded", "Failed", "CompletedWithFailures", "Stopped"]
    reason: str = ""


def states(pipeline: Pipeline, attempts: Attempts, end: End | None = None) -> dict[str, State]:
    """The state of each step, in definition order.

    A step in the branch not taken is Skipped, whatever its other dependencies are. Any other step
    that has not started is NotRun if a step that must succeed did not, otherwise Skipped if one was
    skipped or a trigger did not fire. A step in the body of a ForEach that has ended is Skipped,
    too. After ``end``, the record of the execution's end, steps do not start any more.
    """
    import networkx as nx  # slow to import

    edges = graph(pipeline)
    not_taken = _not_taken(pipeline, attempts) | _not_iterated(pipeline, attempts)
    found: dict[str, State] = {}
    for name in _order(edges, nx):
        upstream = {
            blocked(found.get(parent, "Pending"), trigger)
            for parent in edges.predecessors(name)
            for trigger in edges.edges[parent, name]["triggers"]
        }
        if name in attempts:
            found[name] = attempts[name].state
        elif name in not_taken:
            found[name] = "Skipped"
        elif "NotRun" in upstream:
            found[name] = "NotRun"
        elif "Skipped" in upstream:
            found[name] = "Skipped"
        else:
            found[name] = "NotRun" if end else "Pending"
    return {step.name: found[step.name] for step in walk(pipeline)}


def blocked(state: str, trigger: str) -> Literal["Skipped", "NotRun"] | None:
    """What becomes of a step because an upstream step has this state; None if it may still run."""
    if state in _LIVE or state in _FIRES_ON[trigger]:
        return None
    return "NotRun" if trigger == COMPLETED and state in _UNSUCCESSFUL else "Skipped"


def ran_after_failure(pipeline: Pipeline, attempts: Attempts) -> set[str]:
    """The steps that ran because of a trigger, after a step that failed or did not run."""
    reached, edges = states(pipeline, attempts), graph(pipeline)
    return {
        name
        for source, name in edges.edges
        if name in attempts
        and COMPLETED not in edges.edges[source, name]["triggers"]
        and reached[source] in _FIRES_ON[FAILED]
    }


def repeated_steps(pipeline: Pipeline, attempts: Attempts) -> list[str]:
    """The steps that a retry runs again although they may have succeeded.

    They ran because another step did not succeed, or come after such a step.
    """
    import networkx as nx  # slow to import

    reached, edges = states(pipeline, attempts), graph(pipeline)
    handlers = {
        name
        for source, name in edges.edges
        if COMPLETED not in edges.edges[source, name]["triggers"]
        and reached[source] in _UNSUCCESSFUL
    }
    found = handlers.union(*(nx.descendants(edges, name) for name in handlers))
    return [name for name in reached if name in found and name in attempts]


def branch_steps(
    pipeline: Pipeline, condition: ConditionStep, *, holds: bool
) -> tuple[list[str], list[str]]:
    """The steps of the branch that a condition takes, and all steps that it skips.

    Skipped are the steps of the other branch and everything downstream of them.
    """
    taken = condition.if_steps if holds else condition.else_steps
    decided = Attempt("", condition.name, condition.type, "").with_end(
        "Succeeded", outputs={"outcome": holds}
    )
    found = states(pipeline, {condition.name: decided})
    skipped = [name for name, state in found.items() if state == "Skipped"]
    return [step.name for step in taken or () if step.name not in skipped], skipped


def status(
    pipeline: Pipeline, attempts: Attempts, end: End | None = None, *, stop_requested: bool = False
) -> Status:
    """The status of the execution: the recorded end, otherwise derived from its steps.

    After a stop request no further step starts, even if no engine is left to record the end.
    """
    if end is not None:
        return Status(end["status"], end.get("reason") or "")
    reached = states(pipeline, attempts).values()
    if RUNNING & set(reached) or ("Pending" in reached and not stop_requested):
        return Status("Executing")
    if "Pending" in reached:
        return Status("Stopped", "a stop was requested")
    if "Failed" in reached:
        ended = any(one.type == "Fail" and one.state == "Failed" for one in attempts.values())
        if not ended and ran_after_failure(pipeline, attempts):
            return Status("CompletedWithFailures", failure_reason(attempts))
        return Status("Failed", failure_reason(attempts))
    return Status("Stopped") if "Stopped" in reached else Status("Succeeded")


def final_status(pipeline: Pipeline, attempts: Attempts, *, stop_requested: bool) -> Status:
    """The final status of an execution after its engine's run has ended."""
    found = status(pipeline, attempts, stop_requested=stop_requested)
    stopped = any(one.state == "Stopped" for one in attempts.values())
    if stop_requested and stopped and found.status not in ("Executing", "Succeeded"):
        return Status("Stopped", "a stop was requested")
    return found


def failure_reason(attempts: Attempts) -> str:
    """The message of the Fail step that ran, otherwise the first failed step and its reason."""
    failed = sorted(
        (one for one in attempts.values() if one.state == "Failed"),
        key=lambda one: (one.type != "Fail", one.ended),
    )
    if not failed:
        return ""
    first = failed[0]
    reason = first.reason or "no reason was given"
    step = iteration_name(first.step, first.index[-1]) if first.index else first.step
    return reason if first.type == "Fail" else f"step {step!r} failed: {reason}"


def _not_taken(pipeline: Pipeline, attempts: Attempts) -> set[str]:
    """The names of the steps directly in branches that were not taken."""
    names: set[str] = set()
    for step in walk(pipeline):
        attempt = attempts.get(step.name)
        outputs = (attempt.outputs if attempt is not None else None) or {}
        if isinstance(step, ConditionStep) and "outcome" in outputs:
            branch = step.else_steps if outputs["outcome"] else step.if_steps
            names.update(inner.name for inner in branch or ())
    return names


def _not_iterated(pipeline: Pipeline, attempts: Attempts) -> set[str]:
    """The names of the steps in the bodies of ForEach steps that succeeded without an iteration."""
    ended = [one for one in walk(pipeline) if one.name in attempts and isinstance(one, ForEachStep)]
    done = [step for step in ended if attempts[step.name].state == "Succeeded"]
    return {inner.name for step in done for inner in step.inner}


def _order(edges: Any, nx: Any) -> list[str]:
    """Step names in topological order; in any order if the graph has a cycle."""
    try:
        return list(nx.topological_sort(edges))
    except nx.NetworkXUnfeasible:
        return list(edges)
