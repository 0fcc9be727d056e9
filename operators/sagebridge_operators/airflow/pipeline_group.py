"""A whole pipeline as a task group of a hand-written DAG."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from sagebridge.authoring.dag_pipeline import task_ids
from sagebridge.authoring.declared_names import suggestion, unknown_arguments
from sagebridge.authoring.pipeline_page import page
from sagebridge.errors import SagebridgeError
from sagebridge.model.connections import for_airflow, shared_connection
from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, Template
from sagebridge.model.graph import hidden_failures
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_names import with_step_names
from sagebridge.model.values import ABSENT, EMPTY, Strict, thaw
from sagebridge_operators.airflow._compat import TaskGroup
from sagebridge_operators.airflow.code_operators import PythonStepOperator
from sagebridge_operators.airflow.dag_builder import (
    Definition,
    StepBuilder,
    own_arguments,
    read_valid,
)
from sagebridge_operators.airflow.run_time_values import ParameterValue, caller
from sagebridge_operators.airflow.step_operators import OPERATOR_ARGUMENTS, StepOperator
from sagebridge_operators.functions.tasks import nothing

_GROUP_ARGUMENTS = frozenset(signature(TaskGroup.__init__).parameters) - {"self", "group_id"}
_LONGEST_NAME = 64
"""The longest name of a step in a definition."""


class InvalidDefinition(SagebridgeError):
    """A definition that cannot be a task group."""


class PipelineTaskGroup(TaskGroup):
    """A pipeline in a DAG with other tasks: one task per step.

    The group is upstream or downstream of other tasks as any task group::

        with DAG("nightly", schedule="@daily"):
            abalone = PipelineTaskGroup(
                "abalone.json", parameters={"InputData": upload(), "Day": template("{{ ds }}")}
            )
            extract() >> abalone >> notify(abalone["Train"].output["model_artifact"])

    Args:
        pipeline: a file with a definition or a CreatePipeline request, relative to this one; a
            :class:`sagebridge.Pipeline`; or a pipeline of the SageMaker SDK.
        group_id: default: the name of the pipeline or of its file.
        parameters: values of the pipeline's parameters: constants, outputs of tasks,
            ``template("{{ ds }}")``, ``parameter("X")`` of the DAG, and properties of other steps.
        default_args: default arguments of the operators.
        more: arguments of TaskGroup, such as ``tooltip``, and default arguments of the operators,
            such as ``backend`` and ``deferrable``.

    The step ``Train`` is the task ``GROUP.Train``, and its name in records and job names is
    ``GROUP-Train``, so that a DAG may contain a pipeline several times. If a step may be skipped,
    a last task ``done`` succeeds unless a step of the group fails, or all are skipped.

    Raises InvalidDefinition for a definition with errors, ParameterError for wrong, unknown and
    missing parameters, and TypeError for an unknown argument; each is an import error of the DAG.
    """

    def __init__(
        self,
        pipeline: str | Path | Pipeline | Any,
        *,
        group_id: str | None = None,
        parameters: Mapping[str, Any] = EMPTY,
        default_args: Mapping[str, Any] = EMPTY,
        **more: Any,
    ) -> None:
        known = (*OPERATOR_ARGUMENTS, *_GROUP_ARGUMENTS)
        if problem := unknown_arguments("PipelineTaskGroup()", more, known, ("parameters",)):
            raise TypeError(problem)
        for_group = {name: more.pop(name) for name in list(more) if name in _GROUP_ARGUMENTS}
        read = _read(pipeline)
        wanted = group_id or re.sub(r"[^\w-]", "_", read.name or "pipeline", flags=re.ASCII)
        shared: dict[str, Any] = {**thaw(for_airflow(shared_connection(read)))}
        if read.role_arn is not ABSENT:
            shared["role_arn"] = read.role_arn
        if isinstance(read.description, str):
            for_group.setdefault("tooltip", read.description)
        if "doc_md" in _GROUP_ARGUMENTS:  # from Airflow 3.3 on
            for_group.setdefault("doc_md", page(read))
        defaults: Any = {**shared, **default_args, **more}
        super().__init__(group_id=wanted, default_args=defaults, **for_group)
        self.pipeline = read
        self._operators: dict[str, StepOperator] = {}
        _warn_of_ignored(self)
        values = _values(read, parameters)
        names = _step_names(self)
        own = {names[name]: found for name, found in own_arguments(read).items()}

        def change(node: Any) -> Any:
            is_given = isinstance(node, Get) and node.root == "Parameters" and node.name in values
            return values[node.name] if is_given else node

        with self:
            StepBuilder(own, change).build(with_step_names(read.steps, names))
            mine = {
                task.step.name: task for task in self._tasks() if isinstance(task, StepOperator)
            }
            self._operators = {name: mine[names[name]] for name in names}
            self._end(names)

    def __getitem__(self, step: str) -> StepOperator:
        """The operator of a step, by its name in the pipeline. Raises KeyError."""
        if step not in self._operators:
            raise KeyError(f"no step {step!r}{suggestion(step, list(self._operators))}")
        return self._operators[step]

    def _tasks(self) -> Iterator[Any]:
        pending: list[Any] = list(self.children.values())
        while pending:
            one = pending.pop()
            if isinstance(one, TaskGroup):
                pending += one.children.values()
            else:
                yield one

    def _end(self, names: Mapping[str, str]) -> None:
        """Adds the last task, if a task after the group would be skipped with a branch."""
        conditions = [one for one in self.pipeline.steps if isinstance(one, ConditionStep)]
        if not conditions and not any(map(_has_trigger, walk(self.pipeline))):
            return
        inside = {task.task_id for task in self._tasks()}
        last = [task for task in self._tasks() if not task.downstream_task_ids & inside]
        more = [*(one.name for one in conditions), *hidden_failures(self.pipeline)]
        last += [self[name] for name in more if self[name] not in last]
        end = free_name("done", [*task_ids(self.pipeline).values()])
        operator = PythonStepOperator(
            task_id=end,
            step_name=_step_name(self.group_id, end, names.values()),
            python_callable=nothing,
            trigger_rule="none_failed_min_one_success",
        )
        operator.ends_group = True
        operator.set_upstream(last)


def _read(source: Any) -> Pipeline:
    """The pipeline of a source. Raises InvalidDefinition."""
    if isinstance(source, Pipeline):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_absolute():
            path = caller().parent / path
        found = Definition(path).read()
    else:
        found = read_valid(source, type(source).__name__)
    if isinstance(found, str):
        raise InvalidDefinition(found)
    return found


def _values(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each parameter, or an expression for it. Raises ParameterError."""
    later = {name: one for name, one in given.items() if _is_later(one)}
    declared = {one.name: one for one in pipeline.declared}
    known = [one for name, one in declared.items() if name not in later]
    constants = {name: one for name, one in given.items() if name not in later}
    unknown = {name: "" for name in later if name not in declared}
    values: dict[str, Any] = coerce(known, constants | unknown)
    return values | {name: _later(declared[name], one) for name, one in later.items()}


def _is_later(value: Any) -> bool:
    """Whether a value is known only at run time."""
    return isinstance(value, Strict) or hasattr(value, "iter_references")


def _later(declared: Parameter, value: Any) -> Any:
    if isinstance(value, Template) and declared.value_type != "String":
        return ParameterValue(declared, value)
    return value if isinstance(value, Strict) else ParameterValue(declared, value)


def _step_names(group: PipelineTaskGroup) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in walk(group.pipeline):
        found[step.name] = _step_name(group.group_id, step.name, found.values())
    return found


def _step_name(group: str | None, step: str, taken: Any) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{group}-{step}")[:_LONGEST_NAME]
    return free_name(name, taken, name[: _LONGEST_NAME - 4], "-")


def _has_trigger(step: Step) -> bool:
    return any(trigger != COMPLETED for _, trigger in step.triggers)


def _warn_of_ignored(group: PipelineTaskGroup) -> None:
    """Warns of what the DAG decides, and not the pipeline in it."""
    pipeline = group.pipeline
    found = {
        "its schedules and event triggers": pipeline.starters,
        "its limit of parallel steps": pipeline.parallelism,
        "its PipelineExperimentConfig": pipeline.experiment_config,
    }
    ignored = [what for what, value in found.items() if value not in (ABSENT, None, ())]
    if ignored:
        text = f"task group {group.group_id!r}: without effect in this DAG: {', '.join(ignored)}"
        warnings.warn(text, UserWarning, stacklevel=3)
