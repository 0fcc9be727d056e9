"""The state of every step of an execution, and of the execution, from what the steps recorded.

Steps that never began have no record: whether such a step is still to come, was skipped or can no
longer run follows from the steps that it waits for, by the rule that Airflow calls all_success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sagebridge.model.graph import graph
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge_operators.lifecycle.attempt import Attempt

State = Literal[
    "Pending", "Executing", "Stopping", "Succeeded", "Failed", "Stopped", "Skipped", "NotRun"
]
Attempts = Mapping[str, Attempt]
"""The attempt that counts of each step that began, by step name."""
End = Mapping[str, Any]

RUNNING = frozenset(("Executing", "Stopping"))
_UNSUCCESSFUL = frozenset(("Failed", "Stopped", "NotRun"))


class Status(NamedTuple):
    """Of an execution; ``reason`` is empty unless it failed or was stopped."""

    status: Literal["Executing", "Succeeded", "Failed", "Stopped"]
    reason: str = ""


def states(pipeline: Pipeline, attempts: Attempts, end: End | None = None) -> dict[str, State]:
    """The state of each step, in written order.

    ``end`` is the record of the execution's end, after which no step begins. A step of the
    branch not taken is Skipped whatever else it waits for; any other step is NotRun where one that
    it waits for did not succeed, Skipped where one was skipped.
    """
    import networkx as nx

    waits_for = graph(pipeline)
    not_taken = _not_taken(pipeline, attempts)
    found: dict[str, State] = {}
    for name in _order(waits_for, nx):
        upstream = {found.get(parent, "Pending") for parent in waits_for.predecessors(name)}
        if name in attempts:
            found[name] = attempts[name].state
        elif name in not_taken:
            found[name] = "Skipped"
        elif upstream & _UNSUCCESSFUL:
            found[name] = "NotRun"
        elif "Skipped" in upstream:
            found[name] = "Skipped"
        else:
            found[name] = "NotRun" if end else "Pending"
    return {step.name: found[step.name] for step in walk(pipeline)}


def status(
    pipeline: Pipeline, attempts: Attempts, end: End | None = None, *, stop_requested: bool = False
) -> Status:
    """The status of the execution: the recorded end, else what its steps add up to.

    After a stop was asked for no step begins, whether or not an engine is left to say so.
    """
    if end is not None:
        return Status(end["status"], end.get("reason") or "")
    reached = states(pipeline, attempts).values()
    if RUNNING & set(reached) or ("Pending" in reached and not stop_requested):
        return Status("Executing")
    if "Pending" in reached:
        return Status("Stopped", "a stop was asked for")
    if "Failed" in reached:
        return Status("Failed", failure_reason(attempts))
    return Status("Stopped") if "Stopped" in reached else Status("Succeeded")


def verdict(pipeline: Pipeline, attempts: Attempts, *, stop_requested: bool) -> Status:
    """The status of an execution whose engine says that it has ended."""
    found = status(pipeline, attempts, stop_requested=stop_requested)
    stopped = any(one.state == "Stopped" for one in attempts.values())
    if stop_requested and stopped and found.status in ("Failed", "Stopped"):
        return Status("Stopped", "a stop was asked for")
    return found


def failure_reason(attempts: Attempts) -> str:
    """The message of a Fail step that was reached, else the first failed step and its reason."""
    failed = sorted(
        (one for one in attempts.values() if one.state == "Failed"),
        key=lambda one: (one.type != "Fail", one.ended),
    )
    if not failed:
        return ""
    first = failed[0]
    reason = first.reason or "no reason was given"
    return reason if first.type == "Fail" else f"step {first.step!r} failed: {reason}"


def _not_taken(pipeline: Pipeline, attempts: Attempts) -> set[str]:
    """The steps that stand directly in a branch which their condition did not take."""
    names: set[str] = set()
    for step in walk(pipeline):
        attempt = attempts.get(step.name)
        outputs = (attempt.outputs if attempt is not None else None) or {}
        if isinstance(step, ConditionStep) and "outcome" in outputs:
            branch = step.else_steps if outputs["outcome"] else step.if_steps
            names.update(inner.name for inner in branch or ())
    return names


def _order(waits_for: Any, nx: Any) -> list[str]:
    """Names in an order in which each comes after what it waits for; any order for a cycle."""
    try:
        return list(nx.topological_sort(waits_for))
    except nx.NetworkXUnfeasible:
        return list(waits_for)
