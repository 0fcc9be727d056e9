"""Builds DAGs from pipelines: from one, or from every definition in a folder."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param

import sagebridge
from sagebridge.authoring.dag_pipeline import (
    default_arguments,
    legal_id,
    schema_type,
    shown_default,
    steps_of,
    task_ids,
    watch_id,
)
from sagebridge.authoring.step_arguments import write_arguments
from sagebridge.errors import SagebridgeError
from sagebridge.model.connections import for_airflow, own_connections
from sagebridge.model.display import free_name
from sagebridge.model.graph import hidden_failures
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.values import ABSENT, EMPTY, thaw
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.failure_watcher import WatchOperator
from sagebridge_operators.airflow.step_operators import OPERATORS, FailOperator, StepOperator


def build(pipeline: Pipeline, *, dag_id: str | None = None, **operator_args: Any) -> DAG:
    """Builds the DAG of a pipeline: one task per step, one Param per parameter.

    Args:
        pipeline: a pipeline, as ``sagebridge.read(path).pipeline``.
        dag_id: default: the pipeline's name.
        operator_args: default arguments of all operators, such as ``backend``, ``aws_conn_id`` or
            ``role_arn``.
    """
    dag_id = dag_id or legal_id(pipeline.name or "pipeline")
    steps = len(list(walk(pipeline)))
    limit = pipeline.parallelism
    with DAG(
        dag_id=dag_id,
        schedule=None,
        params={parameter.name: param(parameter) for parameter in pipeline.declared},
        description=None if pipeline.description is ABSENT else pipeline.description,
        max_active_tasks=max(steps, 1) if limit is ABSENT else limit.max_parallel_execution_steps,
        default_args={**default_arguments(pipeline, dag_id), **operator_args},
        tags=["sagebridge"],
        # A definition is data: none of its strings is a template.
        render_template_as_native_obj=False,
    ) as dag:
        _operators(pipeline.steps, _own_arguments(pipeline))
        if hidden := hidden_failures(pipeline):
            by_name = steps_of(dag)
            watched = [by_name[name] for name in hidden]
            WatchOperator(task_id=watch_id(pipeline), watched=watched)
    return dag


def _own_arguments(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The arguments of each operator that its step does not have: task id and connection."""
    connections = own_connections(pipeline)
    return {
        name: {"task_id": task_id, **thaw(for_airflow(connections.get(name, EMPTY)))}
        for name, task_id in task_ids(pipeline).items()
    }


def _operators(steps: Sequence[Step], own: Mapping[str, Mapping[str, Any]]) -> list[StepOperator]:
    return [_operator(step, own) for step in steps]


def _operator(step: Step, own: Mapping[str, Mapping[str, Any]]) -> StepOperator:
    common = write_arguments(step)
    common |= {**own[step.name], "step_name": common.pop("name")}
    if isinstance(step, ConditionStep):
        return ConditionOperator(
            conditions=step.conditions,
            if_steps=ABSENT if step.if_steps is ABSENT else _operators(step.if_steps, own),
            else_steps=ABSENT if step.else_steps is ABSENT else _operators(step.else_steps, own),
            **common,
        )
    if step.type in OPERATORS:
        return OPERATORS[step.type](**common)
    return StepOperator(step_type=step.type, **common)


def param(parameter: Parameter) -> Param:
    """The Param of a pipeline parameter, for Airflow's trigger form."""
    schema: dict[str, Any] = {"type": schema_type(parameter)}
    if parameter.enum_values is not ABSENT and parameter.enum_values:
        schema["enum"] = thaw(parameter.enum_values)
    if parameter.description is not ABSENT:
        schema["description"] = parameter.description
    if parameter.default is ABSENT:
        return Param(**schema)
    return Param(thaw(shown_default(parameter)), **schema)


def load_folder(folder: str | Path, namespace: MutableMapping[str, Any], **args: Any) -> list[DAG]:
    """Builds a DAG from every definition in a folder and returns the DAGs.

    Args:
        folder: the folder with the definitions: ``*.json`` and ``*/definition.json``. The latter
            are named after their folder.
        namespace: ``globals()`` of the DAG file, where Airflow finds the DAGs.
        args: arguments of :func:`build`, such as ``backend``.

    A definition that cannot be read or is not valid becomes a DAG with one failing task that shows
    the reason, since an exception would hide the other DAGs.
    """
    folder = Path(folder)
    dags: dict[str, DAG] = {}
    for path in sorted((*folder.glob("*.json"), *folder.glob("*/definition.json"))):
        name = path.parent.name if path.name == "definition.json" else path.stem
        dag = _load(path, name, args)
        if dag.dag_id in dags:
            free = free_name(dag.dag_id, dags, separator="-")
            dag = _error_dag(
                free, f"{path}: another definition already has the name {dag.dag_id!r}"
            )
        dags[dag.dag_id] = dag
    namespace.update({f"dag_{position}": dag for position, dag in enumerate(dags.values())})
    return list(dags.values())


def _load(path: Path, name: str, args: Mapping[str, Any]) -> DAG:
    try:
        errors = [found for found in sagebridge.validate(path) if found.severity == "error"]
        if errors:
            places = (f"line {found.line}: {found.message} [{found.code}]" for found in errors)
            return _error_dag(name, f"{path}: " + "; ".join(places))
        pipeline = sagebridge.read(path).pipeline
        if pipeline.name in (None, path.stem):
            pipeline = replace(pipeline, name=name)
        return build(pipeline, **args)
    except SagebridgeError as error:
        return _error_dag(name, str(error))


def _error_dag(name: str, reason: str) -> DAG:
    with DAG(
        dag_id=legal_id(name), schedule=None, tags=["sagebridge", "broken"], doc_md=f"{reason}\n"
    ) as dag:
        FailOperator(task_id="definition_cannot_be_read", error_message=reason)
    return dag
