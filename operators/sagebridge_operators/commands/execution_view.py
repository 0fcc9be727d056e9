"""The state of an execution, from its records and the jobs they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge.model.expressions import JsonGet
from sagebridge.model.for_each import iteration_name
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.visit import nodes
from sagebridge.terminal.wording import format_value
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.iterations import StepRow, step_rows
from sagebridge_operators.lifecycle.recorded_pipeline import recorded_pipeline
from sagebridge_operators.lifecycle.records import ExecutionRecords, by_step
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_states import Attempts, State, status
from sagebridge_operators.run_errors import OlderRecord
from sagebridge_operators.steps import JOB_TYPES


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of an execution, or a body step of a ForEach for one item: ``Score-0``.

    Args:
        seconds: None for a step that never started.
        made: its outputs by label.
        attempts: its attempts under its retry policies.
        cached_from: ``<execution>/<step>`` of the run whose job it reused.
        index: the index of the item, and ``item`` the item itself, shortened.
    """

    name: str
    type: str
    state: State
    seconds: float | None = None
    job: str | None = None
    reason: str = ""
    outcome: bool | None = None
    made: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    cached_from: str = ""
    index: int | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """An execution now.

    ``metrics`` are the property file values that its conditions compare. ``selection`` is empty
    unless steps were selected (see :mod:`~sagebridge_operators.lifecycle.selection`).
    """

    id: str
    pipeline: str
    engine: str
    run: str
    backend: str
    status: str
    reason: str
    started: str
    seconds: float
    parameters: Mapping[str, Any]
    steps: tuple[StepView, ...]
    metrics: Mapping[str, Any]
    selection: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExecutionReader:
    """Reads the executions of a working folder. Raises UnknownExecution for an unknown id."""

    workdir: Workdir

    def progress(self, execution: str, pipeline: Pipeline) -> tuple[StepView, ...]:
        """The current steps, from the records only."""
        # Read the end before the steps: once it is recorded, no step changes any more.
        end = self.workdir.records.end(execution)
        rows = step_rows(pipeline, self.workdir.records.current(execution), end)
        return tuple(map(_step_view, rows))

    def view(self, execution: str) -> View:
        """The whole execution; describes the recorded jobs too."""
        store = self.workdir.records
        body = store.execution(execution) or {}
        workdir = self.workdir.for_execution(body)
        pipeline = recorded_pipeline(store, execution)
        # Read the end before the steps: once it is recorded, no step changes any more.
        end, stop_requested = store.end(execution), store.stop_requested(execution)
        found_attempts = Ending(store, execution, lambda attempt: workdir.backend).current()
        attempts = by_step(found_attempts)
        found = status(pipeline, attempts, end, stop_requested=stop_requested)
        return View(
            id=execution,
            pipeline=body["pipeline"],
            engine=body["engine"],
            run=body["run"],
            backend=body["backend"],
            status=found.status,
            reason=found.reason,
            started=body["started"],
            seconds=_seconds(body["started"], _ended(found.status, attempts, end)),
            parameters=body["parameters"],
            steps=tuple(
                _step_view(row, _results(workdir, row.attempt))
                for row in step_rows(pipeline, found_attempts, end)
            ),
            metrics=dict(_metrics(workdir, pipeline, body, attempts)),
            selection=body.get("selection") or {},
        )

    def property_files(self, execution: str) -> Iterator[tuple[str, str, str]]:
        """``(step.file, URI, content)`` per property file; the content may be an error message."""
        workdir = self.workdir.for_execution(self.workdir.records.execution(execution) or {})
        for attempt in self.workdir.records.current(execution):
            files = (attempt.outputs or {}).get("property_files", {})
            for name, uri in files.items():
                try:
                    content = workdir.backend.read_object(uri).decode(errors="replace")
                except SagebridgeError as error:
                    content = str(error)
                yield f"{attempt.name}.{name}", uri, content


def _step_view(row: StepRow, made: Mapping[str, str] | None = None) -> StepView:
    attempt = row.attempt
    view = StepView(row.name, row.step.type, row.state, index=row.index, item=row.item)
    if attempt is None:
        return view
    return replace(
        view,
        seconds=_seconds(attempt.started, attempt.ended or None),
        job=attempt.job.shown if attempt.job else None,
        reason=attempt.reason,
        outcome=(attempt.outputs or {}).get("outcome"),
        made=made or {},
        attempts=attempt.number + 1,
        cached_from=attempt.cached_from,
    )


def _ended(status: str, attempts: Attempts, end: Mapping[str, Any] | None) -> str | None:
    """The recorded end of an execution; otherwise the end of its last step."""
    if end is not None:
        return str(end["ended"])
    return (
        max((one.ended for one in attempts.values()), default=None)
        if status != "Executing"
        else None
    )


def _seconds(began: str, ended: str | None) -> float:
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    return round((until - datetime.fromisoformat(began)).total_seconds(), 1)


def _results(workdir: Workdir, attempt: Attempt | None) -> dict[str, str]:
    """The results of a succeeded job, from its Describe response; of a ForEach its selection."""
    if attempt is not None and (selected := (attempt.outputs or {}).get("selected")):
        return {"selected": iteration_name(selected["step"], selected["index"])}
    if attempt is None or attempt.state != "Succeeded" or attempt.job is None:
        return {}
    row = STEP_TYPES.get(attempt.type)  # an AWS call has none
    if row is None or not row.results:
        return {}
    job_type = JOB_TYPES[attempt.type]
    client = job_type.client(workdir.backend)
    description = job_type.find(client, attempt.job.name) or {}
    results: dict[str, str] = {}
    for label, path in row.results.items():
        value = _at(description, path)
        results[label] = str(value)
        # Fields such as S3OutputPath hold URIs; with the local backend, also plain paths.
        is_uri = isinstance(value, str) and path.rpartition(".")[2].startswith("S3")
        folder = workdir.path_of(value) if is_uri else None
        if folder and folder.is_dir():
            results["path"] = str(folder)
    if attempt.type == "Endpoint" and (call := workdir.call_of(attempt.job.shown)):
        results["call"] = call
    return results


def _at(description: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None."""
    found: Any = description
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _metrics(
    workdir: Workdir, pipeline: Pipeline, body: Mapping[str, Any], attempts: Attempts
) -> Iterator[tuple[str, Any]]:
    """The property file values that conditions compare, as far as the files exist."""
    execution = Execution.of(body, pipeline.experiment_config)

    def upstream(step: str) -> Mapping[str, Any] | None:
        attempt = attempts.get(step)
        return attempt.outputs if attempt is not None else None

    resolve = Resolver(execution, upstream, workdir.backend.read_object, workdir.backend.arn)
    for step in walk(pipeline):
        if not isinstance(step, ConditionStep) or step.name not in attempts:
            continue
        for read in nodes(step.conditions, lambda node: isinstance(node, JsonGet)):
            if isinstance(read, JsonGet):
                with suppress(SagebridgeError):
                    yield format_value(read), resolve(read)


def status_of(records: ExecutionRecords, execution: str) -> str:
    """The recorded final status of an execution; otherwise the status of its steps combined."""
    if (end := records.end(execution)) is not None:
        return str(end["status"])
    try:
        attempts = records.steps(execution)
    except OlderRecord:
        return "older version"
    pipeline = recorded_pipeline(records, execution)
    stop_requested = records.stop_requested(execution)
    return status(pipeline, attempts, stop_requested=stop_requested).status
