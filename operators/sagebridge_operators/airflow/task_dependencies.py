"""The edges of a DAG that follow from what its steps refer to.

Steps may be made in any order: a reference to a step that comes later is linked when it comes.
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
    """Two tasks of a DAG that are the same step; groups do not tell steps apart."""

    def __init__(self, step: str, *task_ids: str) -> None:
        tasks = " and ".join(task_ids)
        super().__init__(f"tasks {tasks} are both the step {step!r}: give one another step_name")


@dataclass(slots=True)
class PendingEdges:
    """The steps of one DAG by name, and who waits for a step that is not there yet."""

    operators: dict[str, StepOperator] = field(default_factory=dict)
    waiting: dict[str, list[StepOperator]] = field(default_factory=dict)


def of(dag: Any) -> PendingEdges:
    """The links of a DAG; made when first asked for."""
    found: PendingEdges = vars(dag).setdefault(_ATTRIBUTE, PendingEdges())
    return found


def connect(operator: StepOperator) -> None:
    """Sets the upstream tasks of a new step, and it as upstream of those that waited for it."""
    dag = operator.dag if operator.has_dag() else None  # type: ignore[no-untyped-call]
    # A worker makes the operator of each map index anew. Airflow sets this name-mangled attribute
    # before __init__ (BaseOperatorMeta in airflow/sdk/bases/operator.py); there is no public one.
    if dag is None or getattr(operator, "_BaseOperator__from_mapped", False):
        return
    links = of(dag)
    step = operator.step
    if links.operators.setdefault(step.name, operator) is not operator:
        raise DuplicateStep(step.name, links.operators[step.name].task_id, operator.task_id)
    names = [reference.step for reference in step_references(step) if reference.step]
    for name in dict.fromkeys((*names, *step.dependencies)):
        if name == step.name:
            continue
        if name in links.operators:
            _order(links.operators[name], operator)
        else:
            links.waiting.setdefault(name, []).append(operator)
    for waiter in links.waiting.pop(step.name, []):
        _order(operator, waiter)


def without_dag_params(value: Any) -> Any:
    """A value in which the arguments of a function that ``@dag`` decorates are parameters."""
    return rebuild(
        value, lambda node: parameter(node._name) if type(node).__name__ == "DagParam" else node
    )


def _order(first: StepOperator, second: StepOperator) -> None:
    if first.task_id not in second.upstream_task_ids:
        second.set_upstream(first)
