"""Derives the state of an execution and its steps from the recorded attempts.

A step that has not started has no record. Whether it is Pending, Skipped or NotRun follows from its
upstream steps, by the rules that Airflow calls ``all_success``, ``all_failed`` (trigger Failed) and
``all_done`` (Any), or by the trigger rule of the step. docs/semantics.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sagebridge.model.dependencies import ANY, COMPLETED, FAILED, STOPPED
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.for_each import ForEachStep, body_owners, iteration_name
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.trigger_rules import SETUP_RULE, decide

if TYPE_CHECKING:
    import networkx as nx

State = Literal[
    "Pending", "Executing", "Stopping", "Succeeded", "Failed", "Stopped", "Skipped", "NotRun"
]
Attempts = Mapping[str, Attempt]
"""One attempt for each step that has started, by step name (see ExecutionRecords.steps)."""
End = Mapping[str, Any]

RUNNING = frozenset(("Executing", "Stopping"))
_LIVE = RUNNING | {"Pending"}
_OBSTACLES = {"run": None, "skip": "Skipped", "upstream_failed": "NotRun", "wait": "Pending"}
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

    A step in the branch not taken, or one that the code of another step skips, is Skipped, whatever
    its other dependencies are. Any other step that has not started and has no trigger rule is
    NotRun if a step that must succeed did not, otherwise Skipped if one was skipped or a trigger
    did not fire. A step in the body of a ForEach that has ended is Skipped, too. After ``end``, the
    record of the execution's end, steps do not start any more.
    """
    return _reached(pipeline, attempts, end)[0]


def startable(pipeline: Pipeline, attempts: Attempts) -> set[str]:
    """The steps that can start now: a trigger rule may not need all steps before it to end."""
    return _reached(pipeline, attempts, None)[1]


def _reached(
    pipeline: Pipeline, attempts: Attempts, end: End | None
) -> tuple[dict[str, State], set[str]]:
    import networkx as nx  # slow to import

    edges = graph(pipeline)
    rules = _Rules(edges, attempts)
    not_taken = _not_taken(pipeline, attempts) | _not_iterated(pipeline, attempts)
    not_taken.update(*((one.outputs or {}).get("skips", ()) for one in attempts.values()))
    found: dict[str, State] = {}
    ready: set[str] = set()
    for name in _order(edges, nx):
        if name in attempts:
            found[name] = attempts[name].state
        elif name in not_taken:
            found[name] = "Skipped"
        else:
            obstacles = rules.obstacles(name, found)
            if "NotRun" in obstacles:
                found[name] = "NotRun"
            elif "Skipped" in obstacles:
                found[name] = "Skipped"
            else:
                found[name] = "NotRun" if end else "Pending"
                ready.update([] if "Pending" in obstacles else [name])
    return {step.name: found[step.name] for step in walk(pipeline)}, ready


def blocked(state: str, trigger: str) -> Literal["Skipped", "NotRun"] | None:
    """What becomes of a step because an upstream step has this state; None if it may still run."""
    if state in _LIVE or state in _FIRES_ON[trigger]:
        return None
    return "NotRun" if trigger == COMPLETED and state in _UNSUCCESSFUL else "Skipped"


def _obstacle(state: str, trigger: str) -> str | None:
    return "Pending" if state in _LIVE else blocked(state, trigger)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What becomes of a step because of the states of those before it."""

    edges: nx.DiGraph[str]
    attempts: Attempts

    def obstacles(self, name: str, found: Mapping[str, State]) -> set[str | None]:
        """Skipped, NotRun or Pending for each reason why the step does not run now.

        A trigger rule replaces all triggers, except that a step in a branch or in the body of a
        ForEach needs the step around it.
        """
        settings, plain, ruled = self._settings(name), dict[str, None](), dict[str, None]()
        for parent in self.edges.predecessors(name):
            inside = self.edges.edges[parent, name]["reasons"] & {"branch", "body"}
            (ruled if settings.trigger_rule and not inside else plain)[parent] = None
        result = {
            _obstacle(state, trigger)
            for parent in plain
            for trigger in self.edges.edges[parent, name]["triggers"]
            for state in self._states(parent, found)
        }
        if ruled:
            result.add(self._decided(name, ruled, found))
        setups = (found.get(one, "Pending") for one in self._setups(name))
        return result.union(_obstacle(state, COMPLETED) for state in setups)

    def _decided(
        self, name: str, upstream: Iterable[str], found: Mapping[str, State]
    ) -> str | None:
        rule = self._settings(name).trigger_rule
        states = {one: self._states(one, found) for one in upstream}
        setups = [one for one in states if self._settings(one).setup]
        if rule == SETUP_RULE:
            states |= {one: self._states(one, found) for one in self._scope(name, setups)}
        every = chain.from_iterable(states.values())
        return _OBSTACLES[decide(rule, every, [found.get(one, "Pending") for one in setups])]

    def _states(self, name: str, found: Mapping[str, State]) -> list[str]:
        """The state of a step; those of all iterations of a ForEach whose code skipped some."""
        attempt = self.attempts.get(name)
        outputs = (attempt.outputs if attempt is not None else None) or {}
        state = found.get(name, "Pending")
        skipped = outputs.get("skipped_iterations", 0)
        if not skipped:
            return [state]
        return ["Skipped", *([state] if outputs["input_item_count"] > skipped else [])]

    def _setups(self, name: str) -> Iterator[str]:
        """The setups that a step needs although others are between them.

        As Airflow's ``get_upstreams_only_setups``: those without a teardown, and those whose
        teardown comes after the step.
        """
        import networkx as nx  # slow to import

        every = [one for one in self.edges if self._settings(one).setup]
        if not every or self._settings(name).trigger_rule == SETUP_RULE:
            return
        before, after = nx.ancestors(self.edges, name), nx.descendants(self.edges, name)
        for setup in every:
            followers = set(self.edges.successors(setup))
            teardowns = {one for one in followers if self._settings(one).trigger_rule == SETUP_RULE}
            if setup in before and name not in followers and (not teardowns or teardowns & after):
                yield setup

    def _scope(self, teardown: str, setups: Iterable[str]) -> set[str]:
        """The steps between the setups of a teardown and the teardown."""
        import networkx as nx  # slow to import

        before = nx.ancestors(self.edges, teardown)
        return before.intersection(*[set().union(*(nx.descendants(self.edges, s) for s in setups))])

    def _settings(self, name: str) -> EngineSettings:
        settings: EngineSettings = self.edges.nodes[name]["step"].engine
        return settings


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
        if (
            COMPLETED not in edges.edges[source, name]["triggers"]
            or edges.nodes[name]["step"].engine.trigger_rule
        )
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
    if any(step.engine.trigger_rule for step in walk(pipeline)):
        return _status_of_last_steps(pipeline, attempts)
    if "Failed" in reached:
        ended = any(one.type == "Fail" and one.state == "Failed" for one in attempts.values())
        if not ended and ran_after_failure(pipeline, attempts):
            return Status("CompletedWithFailures", failure_reason(attempts))
        return Status("Failed", failure_reason(attempts))
    return Status("Stopped") if "Stopped" in reached else Status("Succeeded")


def _status_of_last_steps(pipeline: Pipeline, attempts: Attempts) -> Status:
    """The status of an execution with trigger rules, as Airflow derives that of a DAG run.

    It follows from the steps that no other step comes after. Teardowns do not count
    (``_tis_for_dagrun_state`` in airflow/models/dagrun.py).
    """
    edges, reached, bodies = graph(pipeline), states(pipeline, attempts), body_owners(pipeline)
    steps = {step.name: step for step in walk(pipeline) if step.name not in bodies}
    work = [one for one, step in steps.items() if step.engine.trigger_rule != SETUP_RULE]
    last = {reached[one] for one in work if edges.succ[one].keys().isdisjoint(work)}
    if last & {"Failed", "NotRun"}:
        return Status("Failed", failure_reason(attempts))
    return Status("Stopped") if "Stopped" in last else Status("Succeeded")


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
