"""The edges of a DAG that follow from references between its steps.

Steps may be created in any order: a reference to a later step is linked once that step exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagebridge.errors import SagebridgeError
from sagebridge.model.expressions import parameter
from sagebridge.model.pipeline import step_references
from sagebridge.model.visit import rebuild

if TYPE_CHECKING:
    from sagebridge_operators.airflow.step_operators import StepOperator

_ATTRIBUTE = "sagebridge_links"


class DuplicateStep(SagebridgeError):
    """Two tasks of a DAG have the same step name; task groups do not make it unique."""

    def __init__(self, step: str, *task_ids: str) -> None:
        tasks = " and ".join(task_ids)
        super().__init__(
            f"tasks {tasks} are both step {step!r}; set a different step_name on one of them"
        )


@dataclass(slots=True)
class PendingEdges:
    """The operators of one DAG by step name, and those that wait for a missing step."""

    operators: dict[str, StepOperator] = field(default_factory=dict)
    waiting: dict[str, list[StepOperator]] = field(default_factory=dict)


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
    if edges.operators.setdefault(step.name, operator) is not operator:
        raise DuplicateStep(step.name, edges.operators[step.name].task_id, operator.task_id)
    names = [reference.step for reference in step_references(step) if reference.step]
    for name in dict.fromkeys((*names, *step.dependencies)):
        if name == step.name:
            continue
        if name in edges.operators:
            _set_upstream(edges.operators[name], operator)
        else:
            edges.waiting.setdefault(name, []).append(operator)
    for waiter in edges.waiting.pop(step.name, []):
        _set_upstream(operator, waiter)


def without_dag_params(value: Any) -> Any:
    """Replaces the arguments of an ``@dag`` function by references to parameters.

    They are DagParam objects, whose name is private (airflow/sdk/definitions/param.py). The class
    is compared by name because ``airflow.sdk`` does not export it.
    """
    return rebuild(
        value, lambda node: parameter(node._name) if type(node).__name__ == "DagParam" else node
    )


def _set_upstream(first: StepOperator, second: StepOperator) -> None:
    if first.task_id not in second.upstream_task_ids:
        second.set_upstream(first)
