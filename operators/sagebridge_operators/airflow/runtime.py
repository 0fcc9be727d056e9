"""From an Airflow task's context to a step that can run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagebridge.model.expressions import plain
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.pipeline import VERSION, Pipeline
from sagebridge.model.values import ABSENT, EMPTY, Object, freeze
from sagebridge_operators.airflow import links
from sagebridge_operators.backends import default_name, open_backend, records_location
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution, execution_id
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords, open_objects
from sagebridge_operators.lifecycle.run import StepRun

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG, Context

    from sagebridge_operators.airflow.operators import StepOperator

_TYPES = {"string": "String", "integer": "Integer", "number": "Float", "boolean": "Boolean"}


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
        parameters=coerce(pipeline.declared, dict(context["params"])),
        experiment_config=pipeline.experiment_config,
    )
    records = ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))
    records.begin(execution.id, _describe(execution, backend), lambda: _definition(pipeline))
    names = {step: task.task_id for step, task in links.of(dag).operators.items()}

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
        references=references_to(operator.step.name, pipeline.steps),
        generation=generation(ti.max_tries, operator.retries),
        role=operator.role_arn,
        log=operator.log,
        on_request=show,
    )


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


def pipeline_of(dag: DAG) -> Pipeline:
    """The pipeline that the steps and params of a DAG make, as the DAG is now."""
    operators = links.of(dag).operators
    steps = {name: operator.step for name, operator in operators.items()}
    inside = {inner.name for step in steps.values() for inner in getattr(step, "branches", ())}
    beside = dict(plain(dag.default_args.get("definition", {})))
    details = beside.pop("Parameters", EMPTY)
    return Pipeline(
        steps=tuple(step for name, step in steps.items() if name not in inside),
        parameters=parameters_of(dag, details),
        version=beside.pop("Version", VERSION),
        metadata=beside.pop("Metadata", ABSENT),
        experiment_config=beside.pop("PipelineExperimentConfig", ABSENT),
        mlflow_config=beside.pop("MlflowConfig", ABSENT),
        extra=Object(beside),
        name=dag.default_args.get("pipeline_name", dag.dag_id),
    )


def parameters_of(dag: DAG, details: Mapping[str, Any] = EMPTY) -> tuple[Parameter, ...]:
    """The pipeline parameters that a DAG declares as Params of a JSON scalar type.

    ``details`` has, by name, what a Param cannot say.
    """
    found = []
    for name in dag.params:
        param = dag.params.get_param(name)
        declared = _TYPES.get(str(param.schema.get("type", "string")))
        if declared is None:
            continue
        choices = param.schema.get("enum")
        found.append(
            Parameter(
                name=name,
                type=declared,
                default=param.value if param.has_value else ABSENT,
                enum_values=ABSENT if choices is None else freeze(choices),
                description=param.description or ABSENT,
            )
        )
    return tuple(found)


def _describe(execution: Execution, backend: Backend) -> dict[str, Any]:
    return {
        "id": execution.id,
        "pipeline": execution.pipeline,
        "engine": execution.engine,
        "run": execution.run,
        "backend": backend.name,
        "started": execution.started.isoformat(),
        "parameters": dict(execution.parameters),
    }


def _definition(pipeline: Pipeline) -> dict[str, Any]:
    from sagebridge.formats.sagemaker.writer import definition

    return definition(pipeline)
