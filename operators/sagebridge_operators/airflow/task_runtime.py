"""Builds the driver of a step from an Airflow task's context."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.dag_pipeline import may_be_empty, pipeline_of, steps_of
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.airflow import code_run, job_links
from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
from sagebridge_operators.airflow.aws_clients import backends_of, settings_for_record
from sagebridge_operators.airflow.dag_test import is_dag_test, known_start, test_start
from sagebridge_operators.airflow.task_dependencies import for_each_of
from sagebridge_operators.airflow.task_retries import user_retries
from sagebridge_operators.backends import default_name, open_records, why_not_on
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import PATIENCE, StepDriver
from sagebridge_operators.lifecycle.execution import (
    Execution,
    airflow_execution_id,
    given_execution,
)
from sagebridge_operators.lifecycle.opening import open_execution, start_time, valid_definition
from sagebridge_operators.lifecycle.outages import patiently
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords, by_step
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import MissingStartDate

if TYPE_CHECKING:
    from sagebridge_operators.airflow._compat import Context
    from sagebridge_operators.airflow.step_operators import StepOperator


STARTED = "sagebridge_started"
"""The XCom that keeps the first start of a DAG run after the run is cleared."""


def prepare(operator: StepOperator, context: Context, *, resumes: bool = False) -> StepDriver:
    """The driver for the step of a task, which ``resumes`` after a deferral.

    Raises as :func:`step_task`; also AirflowRescheduleException in the body of a ForEach, if the
    most iterations run.
    """
    task = step_task(operator, context, resumes=resumes)
    loop = for_each_of(operator)
    if loop is not None and task.index:
        # Imported here: few DAGs have a ForEach.
        from sagebridge_operators.airflow.for_each_slots import show_item, take_slot

        if not resumes:
            take_slot(operator, loop, task, context["ti"])
        show_item(loop, task, context)
    return StepDriver(task, operator.log)


def step_task(operator: StepOperator, context: Context, *, resumes: bool = False) -> StepTask:
    """The step of a task with its context.

    Raises ParameterError for invalid parameter values, InvalidPipeline before the first job, and
    MissingStartDate if the DAG run has no start date.
    """
    dag, dag_run, ti = operator.dag, context["dag_run"], context["ti"]
    pipeline = pipeline_of(dag)
    backend, for_records = backends_of(operator)
    operators = steps_of(dag)
    tasks = {step: task.task_id for step, task in operators.items()}
    start = first_start(dag_run, ti, _other_steps(operator), resumes=resumes)
    execution = Execution(
        id=execution_id_of(dag.dag_id, dag_run.run_id, start),
        pipeline=pipeline.name or dag.dag_id,
        engine="airflow",
        run=f"{dag.dag_id}/{dag_run.run_id}",
        started=start,
        parameters=_parameters(pipeline, dag, context["params"]),
        experiment_config=pipeline.experiment_config,
    )
    records = open_records(for_records)

    def why_not(step: Step, pipeline: Pipeline) -> list[tuple[str, str]]:
        own = getattr(operators.get(step.name), "backend", None)
        return why_not_on(own or default_name(), step, pipeline)

    described = execution.described(backend.name)
    body = patiently(
        lambda: open_execution(
            records, execution.id, described, lambda: valid_definition(pipeline, why_not)
        ),
        PATIENCE,
    )
    execution = replace(execution, started=start_time(body))

    mapped = getattr(ti, "map_index", None)  # -1 if the task is not mapped
    index = () if mapped is None or mapped < 0 else (mapped,)
    loop = for_each_of(operator)
    siblings = {one.step.name for one in loop.body} if loop is not None else set()

    def upstream(step: str) -> Mapping[str, Any] | None:
        same: dict[str, Any] = {"map_indexes": mapped} if step in siblings else {}
        outputs = ti.xcom_pull(task_ids=tasks.get(step, step), **same)
        return outputs if isinstance(outputs, Mapping) else None

    def show(request: Mapping[str, Any]) -> None:
        operator.request = request
        if IS_AIRFLOW_2:
            from sagebridge_operators.airflow.airflow2 import store_rendered

            store_rendered(operator, ti)

    generation, engine_try = _count(operator, ti, records, execution.id, body, index)
    return StepTask(
        step=operator.step,
        execution=execution,
        backend=backend,
        records=records,
        upstream=upstream,
        function=getattr(operator, "python_callable", None),
        references=references_to(operator.step.name, pipeline.steps),
        pipeline=pipeline,
        generation=generation,
        engine_try=engine_try,
        resumes=resumes,
        index=index,
        settings=settings_for_record(operator),
        role=operator.role_arn,
        engine_run=code_run.engine_run(operator, context),
        user_retries=user_retries(operator),
        on_request=show,
        on_secrets=_hide_in_logs,
        on_links=lambda links: job_links.store(links, type(operator).operator_extra_links, ti),
    )


def recorded(
    operator: StepOperator, context: Context, index: tuple[int, ...] | None = None
) -> Attempt | None:
    """The recorded attempt of another step of the run; None if it has not started.

    Without an ``index`` the one that ExecutionRecords.steps chooses.
    """
    ti, dag = context["ti"], operator.dag
    start = known_start(ti) if is_dag_test(ti) else None
    start = start or first_start(context["dag_run"], ti, _other_steps(operator))
    _, for_records = backends_of(operator)
    execution = execution_id_of(dag.dag_id, context["dag_run"].run_id, start)
    records = open_records(for_records)
    current = patiently(lambda: records.current(execution), PATIENCE)
    found = (one for one in current if index in (None, one.index))
    return by_step(found).get(operator.step.name)


def _hide_in_logs(secrets: Sequence[str]) -> None:
    """Makes Airflow mask values in everything that the task logs, as with its own secrets."""
    from sagebridge_operators.airflow._compat import mask_secret

    for one in secrets:
        mask_secret(one)


def run(
    driver: StepDriver, operator: StepOperator, context: Context, event: Mapping[str, Any]
) -> dict[str, Any]:
    """Runs a step to its end, or defers its task. ``event`` is that of the trigger, or empty."""
    if operator.deferrable is not False:
        # Imported here: triggers are slow to import, and few tasks are deferred.
        from sagebridge_operators.airflow.deferral import deferring

        return deferring.run(driver, operator, context, event)
    return driver.run()


def _count(
    operator: StepOperator,
    ti: Any,
    records: ExecutionRecords,
    execution: str,
    body: Mapping[str, Any],
    index: tuple[int, ...],
) -> tuple[int, int]:
    """The generation and the try of a task, also in a retried execution."""
    generation, retry = ti.max_tries or 0, Retry.of(body)
    if not retry.number:
        return generation, ti.try_number
    known = patiently(lambda: records.attempts(execution, operator.step.name, index), PATIENCE)
    # Clearing a task raises max_tries.
    uncleared = user_retries(operator) + operator.retries_for_lost_workers
    return retry.count(known, generation, ti.try_number, again=generation > uncleared)


def first_start(dag_run: Any, ti: Any, others: Sequence[str], *, resumes: bool = False) -> datetime:
    """When a DAG run first started. Distinguishes it from a later run with the same id.

    Airflow resets ``start_date`` when a run is cleared (clear_task_instances in
    airflow/models/taskinstance.py). Each task therefore first stores the start in an XCom, and a
    cleared run reads it from another task.

    Raises MissingStartDate, so that the task is retried; a guess would be another execution.
    """
    found: datetime | None = dag_run.start_date
    if is_dag_test(ti):
        found = test_start(ti, resumes=resumes)
    elif getattr(dag_run, "clear_number", 0):
        kept = ti.xcom_pull(task_ids=list(others), key=STARTED) if others else []
        found = next((datetime.fromisoformat(one) for one in _strings(kept)), found)
    if found is None:
        raise MissingStartDate(dag_run.run_id)
    ti.xcom_push(key=STARTED, value=found.astimezone(UTC).isoformat())
    return found


def _other_steps(operator: StepOperator) -> list[str]:
    """The ids of the DAG's other tasks that are steps, including mapped ones."""
    # Imported here because step_operators imports this module.
    from sagebridge_operators.airflow.step_operators import StepOperator

    def is_step(task: Any) -> bool:
        # A MappedOperator is not an instance of its operator_class.
        return issubclass(getattr(task, "operator_class", type(task)), StepOperator)

    own = operator.task_id
    return [task.task_id for task in operator.dag.tasks if task.task_id != own and is_step(task)]


def _strings(pulled: Any) -> Iterator[str]:
    """Flattens pulled XComs, which contain a list for each mapped task."""
    if isinstance(pulled, str):
        yield pulled
    elif pulled is not None:
        for one in pulled:
            yield from _strings(one)


def execution_id_of(dag_id: str, run_id: str, start: datetime) -> str:
    """The id of a DAG run's execution.

    ``sagebridge run`` chooses that of its run before it starts Airflow.
    SAGEBRIDGE_INSTALLATION distinguishes installations with a copied database.
    """
    return given_execution(run_id) or airflow_execution_id(
        dag_id, run_id, start, os.environ.get("SAGEBRIDGE_INSTALLATION", "")
    )


def _parameters(pipeline: Pipeline, dag: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline's parameters, coerced, from the params of a run.

    Null of a parameter that is not nullable means "" for a String that may be empty, otherwise not
    set. Raises ParameterError for wrong types and unknown names.
    """
    values = dict(params)
    values |= {
        one.name: ""
        for one in pipeline.declared
        if may_be_empty(one) and params.get(one.name, "") is None
    }
    declared = [
        one for one in pipeline.declared if one.nullable or values.get(one.name, "") is not None
    ]
    names = {one.name for one in declared}
    given = {name: value for name, value in values.items() if name in names}
    unknown = {name: value for name, value in params.items() if name not in dag.params}
    return coerce(declared, given | unknown)
