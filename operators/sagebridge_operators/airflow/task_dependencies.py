"""The edges of a DAG that follow from references between its steps.

Steps may be created in any order: a reference to a later step is linked once that step exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.dag_pipeline import GENERATED, pipeline_of
from sagebridge.authoring.declared_names import find_faults, suggestion
from sagebridge.authoring.pipeline_page import page
from sagebridge.authoring.runnable import CANNOT_RUN, described, why_pipeline_not_runnable
from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import STUB
from sagebridge.model.graph import needed_steps
from sagebridge.model.pipeline import Step, walk
from sagebridge.model.values import ABSENT
from sagebridge_operators.airflow import trigger_gates
from sagebridge_operators.airflow._compat import check_cycle
from sagebridge_operators.airflow.failure_watcher import watch_hidden_failures
from sagebridge_operators.airflow.run_time_values import (
    link_run_time_values,
    take_run_time_values,
    warn_of_templates,
)
from sagebridge_operators.lifecycle.backend import NAMES

if TYPE_CHECKING:
    from sagebridge_operators.airflow.for_each_operator import ForEachOperator
    from sagebridge_operators.airflow.step_operators import StepOperator

_ATTRIBUTE = "sagebridge_links"


class DuplicateStep(SagebridgeError):
    """Two tasks of a DAG have the same step name; task groups do not make it unique."""

    def __init__(self, step: str, *task_ids: str) -> None:
        tasks = " and ".join(task_ids)
        super().__init__(
            f"tasks {tasks} are both step {step!r}; set a different step_name on one of them"
        )


class InvalidDag(SagebridgeError):
    """Faults of a DAG file that are found when Airflow has parsed the DAG."""

    def __init__(self, dag_id: str, faults: Sequence[str]) -> None:
        self.dag_id, self.faults = dag_id, tuple(faults)
        super().__init__(f"DAG {dag_id!r}: " + "; ".join(self.faults))

    def __reduce__(self) -> tuple[type[InvalidDag], tuple[str, tuple[str, ...]]]:
        return type(self), (self.dag_id, self.faults)


@dataclass(slots=True)
class PendingEdges:
    """The operators of one DAG by step name, and those that wait for a missing step.

    ``parsed`` is set once the whole DAG is known and was checked.
    """

    operators: dict[str, StepOperator] = field(default_factory=dict)
    waiting: dict[str, list[StepOperator]] = field(default_factory=dict)
    parsed: bool = False


def pending_edges(dag: Any) -> PendingEdges:
    """The pending edges of a DAG, stored in an attribute of the DAG."""
    found: PendingEdges = vars(dag).setdefault(_ATTRIBUTE, PendingEdges())
    return found


def connect(operator: StepOperator) -> None:
    """Links a new step with its upstream tasks, and with earlier tasks that refer to it."""
    # BaseOperator.has_dag() in airflow/sdk/bases/operator.py has no annotations.
    dag = operator.dag if operator.has_dag() else None  # type: ignore[no-untyped-call]
    # A worker creates an operator for each map index, which is not a new step. Airflow marks it
    # only with this private attribute (BaseOperatorMeta in airflow/sdk/bases/operator.py).
    if dag is None or getattr(operator, "_BaseOperator__from_mapped", False):
        return
    edges = pending_edges(dag)
    step = operator.step
    link_run_time_values(operator.entry, list(operator.run_time_values.values()))
    if step.type != STUB and GENERATED not in dag.tags:
        for value in step.values():
            warn_of_templates(operator.task_id, value)
    if edges.operators.setdefault(step.name, operator) is not operator:
        raise DuplicateStep(step.name, edges.operators[step.name].task_id, operator.task_id)
    if (loop := for_each_of(operator)) is not None:
        loop.body.append(operator)
    for name in needed_steps(step):
        if name in edges.operators:
            _set_upstream(edges.operators[name], operator)
        else:
            edges.waiting.setdefault(name, []).append(operator)
    for waiter in edges.waiting.pop(step.name, []):
        _set_upstream(operator, waiter)


def put_into_branch(operator: StepOperator) -> None:
    """Prepares a step for the branch of a condition."""
    if operator.has_dag():  # type: ignore[no-untyped-call]
        trigger_gates.put_into_branch(operator, pending_edges(operator.dag).operators)


def complete(dag: Any) -> None:
    """Checks a DAG whose tasks are all known. Raises :class:`InvalidDag` with all faults.

    Documents a generated DAG, watches steps whose failure would be hidden, and marks a DAG that
    cannot run.
    """
    edges = pending_edges(dag)
    if edges.parsed:
        return
    edges.parsed = True
    pipeline = pipeline_of(dag)
    steps = list(walk(pipeline))
    names = [step.name for step in steps]
    parameters = [one.name for one in pipeline.declared]
    mapped = [(task, _mapped_step(task)) for task in dag.tasks if _is_mapped_step(task)]
    faults = find_faults([*steps, *(step for _, step in mapped)], names, parameters)
    faults += [
        f"task {task.task_id!r}: unknown backend {name!r}{suggestion(name, NAMES)}"
        for task in dag.tasks
        if (name := _backend(task)) is not None and name not in NAMES
    ]
    if faults:
        raise InvalidDag(dag.dag_id, faults)
    for task, step in mapped:
        link_run_time_values(task, list(task.partial_kwargs.values()))
        for name in needed_steps(step):
            trigger_gates.link(edges.operators[name], task, step)
    if mapped:
        check_cycle(dag)
    if GENERATED in dag.tags and not dag.doc_md:
        dag.doc_md = page(pipeline)
    if why_pipeline_not_runnable(pipeline) is not None:
        dag.tags = type(dag.tags)((*dag.tags, CANNOT_RUN))  # a list in Airflow 2
        dag.doc_md = described(dag.doc_md, pipeline)
    # With trigger rules, the last tasks decide, as Airflow's users expect.
    ruled = (edges.operators[step.name] for step in steps if step.engine.trigger_rule)
    if all(getattr(operator, "ends_group", False) for operator in ruled):
        watch_hidden_failures(dag, [*edges.operators.values(), *(task for task, _ in mapped)])


def _is_mapped_step(task: Any) -> bool:
    """Whether a task is a mapped sagebridge operator, which has no step before its run."""
    return hasattr(task, "partial_kwargs") and hasattr(task.operator_class, "step_type")


def _mapped_step(task: Any) -> Step:
    """The step of a mapped operator, with the arguments that all its indexes share."""
    given = task.partial_kwargs
    arguments, depends_on = given.get("arguments", {}), given.get("depends_on", ABSENT)
    arguments = take_run_time_values(arguments, {})
    return Step(task.task_id, task.operator_class.step_type, arguments, depends_on)


def _backend(task: Any) -> str | None:
    """The backend that a task sets."""
    if _is_mapped_step(task):
        found: str | None = task.partial_kwargs.get("backend")
        return found
    return task.backend if hasattr(task, "step") else None


def for_each_of(operator: Any) -> ForEachOperator | None:
    """The innermost ForEach whose body contains a task."""
    group = operator.task_group
    while group is not None:
        loop: ForEachOperator | None = getattr(group, "for_each", None)
        if loop is not None:
            return loop
        group = group.parent_group
    return None


def _set_upstream(first: StepOperator, second: StepOperator) -> None:
    """Makes ``second`` wait for ``first``; a body starts after everything that it needs."""
    waiting: Any = second.entry
    outer, own = for_each_of(second), for_each_of(first)
    while outer is not None and outer is not own:
        waiting = outer.entry
        outer = for_each_of(outer)
    trigger_gates.link(first, waiting, second.step)
