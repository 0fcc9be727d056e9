"""``sagebridge executions retry``, and what a record must have for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sagebridge
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import thaw
from sagebridge.model.visit import nodes
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import format_option
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_view import status_of
from sagebridge_operators.commands.shared_options import aws_errors, workdir_option
from sagebridge_operators.launch.engine_versions import version_of
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.masking import MASK, mask
from sagebridge_operators.lifecycle.recorded_pipeline import recorded_definition, with_rules
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.selection import with_values
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.run_errors import NotRetryable, OlderRecord

if TYPE_CHECKING:
    from sagebridge_operators.launch.prefect_flow import Flow


def described_source(source: str, pipeline: Pipeline) -> dict[str, Any]:
    """The fields of a record from which its pipeline is read again.

    They are the source, and what a definition does not have: the fields of a CreatePipeline request
    and the connections to AWS.
    """
    file, mark, rest = source.partition(":") if not Path(source).exists() else (source, "", "")
    if source.lstrip().startswith("{"):
        shown = ""
    else:
        name = file.partition("#")[0]
        absolute = str(Path(file).absolute()) if Path(name).exists() else file
        shown = f"{absolute}{mark}{rest}"
    return {
        "source": shown,
        "request": write_envelope(pipeline),
        "connections": thaw(pipeline.connections),
    }


def unscheduled(pipeline: Pipeline) -> Pipeline:
    """The pipeline for one execution: nothing else starts it on the private engine."""
    return replace(pipeline, schedules=(), event_triggers=())


@click.command(
    cls=TableCommand,
    tables={
        "Exit codes": {
            "0": "The execution succeeded.",
            "2": "The execution cannot be retried.",
            "3": "The execution failed or was stopped.",
            "5": "The source of the execution cannot be read.",
            "6": "An extra is not installed, or the engine does not start or dies.",
            "130": "Interrupted by Ctrl-C (SIGTERM: 143).",
        }
    },
)
@click.argument("execution", metavar="ID")
@workdir_option
@click.option("--keep-ui", is_flag=True, help="Keep the UI running after the run, until Ctrl-C.")
@format_option
@aws_errors
def retry(execution: str, folder: Path, keep_ui: bool, form: str) -> int:
    """Run the steps of an execution again that did not succeed.

    The execution keeps its id, parameters and backend. Steps that succeeded keep their results;
    failed and stopped steps, and those that never started, run on a new private engine. As in
    SageMaker, an execution that a Fail step ended cannot be retried. For a run on an existing
    Airflow or Prefect, the command prints how to retry it there.
    """
    # Imported here because run imports this module.
    from sagebridge_operators.commands.run import run_to_end

    workdir = Workdir.of(folder, default_name())
    found = workdir.records.resolve(execution)
    record = workdir.records.execution(found) or {}
    workdir = workdir.for_execution(record)
    _check(workdir.records, record)
    version_of(str(record["engine"]))
    what = _pipeline(workdir, record)
    pipeline = what if isinstance(what, Pipeline) else what.pipeline
    parameters = coerce(pipeline.declared, record["parameters"])
    workdir.check_writable()
    workdir.check_isolation(pipeline)
    return run_to_end(what, parameters, workdir, record, form=form, keep_ui=keep_ui)


def _check(records: ExecutionRecords, record: Mapping[str, Any]) -> None:
    """Raises NotRetryable, or OlderRecord."""
    execution = str(record["id"])
    if record.get("format") != FORMAT:
        raise OlderRecord(f"execution {execution}")
    status = status_of(records, execution)
    if status in ("Executing", "Succeeded"):
        raise NotRetryable(execution, f"its status is {status}; it must be Failed or Stopped")
    fails = [one for one in records.current(execution) if one.type == "Fail"]
    if any(one.state == "Failed" for one in fails):
        raise NotRetryable(execution, f"the Fail step {fails[0].step!r} ended it; start a new run")
    if "source" not in record:
        raise NotRetryable(execution, _elsewhere(record))


def _elsewhere(record: Mapping[str, Any]) -> str:
    """How to retry a run of an existing engine."""
    name, _, run = str(record["run"]).partition("/")
    if record["engine"] == "prefect":
        return (
            f"it ran on an existing Prefect; press Retry on the page of flow run {run}, or run: "
            f"prefect flow-run retry {run}"
        )
    return (
        f"it ran in an existing Airflow; on the page of run {run!r} of DAG {name!r}, press Clear "
        'Run and "Clear only failed tasks", or POST {"dag_run_id": '
        f'{json.dumps(run)}, "only_failed": true, "dry_run": false}} to '
        f"/api/v2/dags/{name}/clearTaskInstances"
    )


def _pipeline(workdir: Workdir, record: Mapping[str, Any]) -> Pipeline | Flow:
    """What the execution ran.

    It comes from the record, or from the source if the record is not the whole: user code is not
    recorded, and secrets are masked.
    """
    from sagebridge_operators.commands.run import flow_of, generated_flow

    recorded = workdir.records.definition(str(record["id"]))
    has_code = any(step.type in CODE_TYPES for step in walk(sagebridge.read(recorded).pipeline))
    masked = any(isinstance(value, str) and MASK in value for value in nodes(recorded))
    source, selection = str(record["source"]), record.get("selection")
    is_flow = "flow_file" in record
    if not (has_code or masked or is_flow):
        document = {**record["request"], "PipelineDefinition": json.dumps(recorded)}
        pipeline = with_rules(sagebridge.read(document).pipeline)
        pipeline = replace(pipeline, connections=record["connections"])
    else:
        if not source:
            why = "its definition was not in a file, and the record does not contain its secrets"
            raise NotRetryable(str(record["id"]), why)
        (found,) = sagebridge.read_checked(source)
        pipeline = unscheduled(found.pipeline)
        if is_flow:
            return flow_of(source, None, pipeline)
        pipeline = Changes.from_json(record.get("changes", [])).apply(pipeline)
        pipeline = replace(pipeline, name=record["request"].get("PipelineName"))
        if selection:
            steps, values = selection["steps"], selection["values"]
            execution = Execution.of(record)
            pipeline = with_values(pipeline, steps, values, execution, workdir.backend)
        if mask(recorded_definition(pipeline)) != recorded:
            raise NotRetryable(
                str(record["id"]),
                f"{source} has changed since; undo the change, or run its steps with "
                f"`sagebridge run --steps ... --from-execution {record['id']}`",
            )
    return pipeline if record["engine"] == "airflow" else generated_flow(pipeline)
