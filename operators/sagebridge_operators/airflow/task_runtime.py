"""From an Airflow task's context to a step that can run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.dag_pipeline import pipeline_of, steps_of
from sagebridge.authoring.definition_writer import definition
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.backends import default_name, open_backend, records_location
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution, execution_id
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords, open_objects
from sagebridge_operators.lifecycle.step_run import StepRun

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from sagebridge_operators.airflow.step_operators import StepOperator


def prepare(operator: StepOperator, context: Context) -> StepRun:
    """The step of a task in its DAG run. Raises ParameterError for values of the form or API."""
    dag, dag_run, ti = operator.dag, context["dag_run"], context["ti"]
    pipeline = pipeline_of(dag)
    backend = backend_of(operator)
    execution = Execution(
        id=execution_id("airflow", dag.dag_id, dag_run.run_id),
        pipeline=pipeline.name or dag.dag_id,
        engine="airflow",
        run=f"{dag.dag_id}/{dag_run.run_id}",
        started=dag_run.start_date or datetime.now(UTC),
        parameters=_parameters(pipeline, dag, context["params"]),
        experiment_config=pipeline.experiment_config,
    )
    records = ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))
    records.begin(execution.id, execution.described(backend.name), lambda: definition(pipeline))
    names = {step: task.task_id for step, task in steps_of(dag).items()}

    def upstream(step: str) -> Mapping[str, Any] | None:
        outputs = ti.xcom_pull(task_ids=names.get(step, step))
        return outputs if isinstance(outputs, Mapping) else None

    def show(request: Mapping[str, Any]) -> None:
        operator.request = request

    return StepRun(
        step=operator.step,
        execution=execution,
        backend=backend,
        records=records,
        upstream=upstream,
        function=getattr(operator, "python_callable", None),
        references=references_to(operator.step.name, pipeline.steps),
        generation=generation(ti.max_tries, operator.retries),
        role=operator.role_arn,
        log=operator.log,
        on_request=show,
    )


def _parameters(pipeline: Pipeline, dag: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline's parameters among a run's params, which may be null or lists beside them."""
    declared = [one for one in pipeline.declared if params.get(one.name, "") is not None]
    names = {one.name for one in declared}
    given = {name: value for name, value in params.items() if name in names}
    unknown = {name: value for name, value in params.items() if name not in dag.params}
    return coerce(declared, given | unknown)


def generation(max_tries: int | None, retries: int | None) -> int:
    """Grows when a person clears the task; a retry after a lost worker leaves it as it was."""
    return max(0, (max_tries or 0) - (retries or 0))


def backend_of(operator: StepOperator) -> Backend:
    """The backend that the task asks for; on AWS through its Airflow connection."""
    name = operator.backend or default_name()
    if name != "aws":
        return open_backend(name)
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    from botocore.config import Config

    from sagebridge_operators.backends.aws import AwsBackend

    config = Config(**operator.botocore_config) if operator.botocore_config else None

    def client(service: str) -> Any:
        hook: AwsGenericHook[Any] = AwsGenericHook(
            aws_conn_id=operator.aws_conn_id,
            region_name=operator.region_name,
            verify=operator.verify,
            client_type=service,
            config=config,
        )
        return hook.get_conn()

    return AwsBackend(client)
