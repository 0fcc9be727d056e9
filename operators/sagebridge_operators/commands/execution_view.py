"""What people want to know of an execution, from its records and the jobs that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import sagebridge
from sagebridge.errors import SagebridgeError
from sagebridge.model.expressions import JsonGet
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.visit import nodes
from sagebridge.terminal.wording import value_words
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_states import RUNNING, State, states, status
from sagebridge_operators.lifecycle.stopping import refreshed
from sagebridge_operators.steps import JOB_TYPES


@dataclass(frozen=True, slots=True)
class StepView:
    """``seconds`` is None for a step that never began; ``made`` has what it made, by label."""

    name: str
    type: str
    state: State
    seconds: float | None = None
    job: str | None = None
    reason: str = ""
    outcome: bool | None = None
    made: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """An execution as it is now; ``metrics`` are the values that its conditions read from files."""

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

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExecutionReader:
    """Reads executions of one place. Raises UnknownExecution for an id that is not there."""

    place: Workdir

    def progress(self, execution: str, pipeline: Pipeline) -> tuple[StepView, ...]:
        """The steps as they are, from the records alone."""
        records = self.place.records.steps(execution)
        reached = states(pipeline, records, self.place.records.end(execution))
        return tuple(
            _step_view(step, reached[step.name], records.get(step.name, {}))
            for step in walk(pipeline)
        )

    def view(self, execution: str) -> View:
        """All there is to tell; asks for the jobs that the records name."""
        store = self.place.records
        body = store.execution(execution) or {}
        place = self.place.for_execution(body)
        pipeline = sagebridge.read(store.definition(execution)).pipeline
        records = {
            name: refreshed(record, place.backend, execution)
            if record["status"] in RUNNING
            else record
            for name, record in store.steps(execution).items()
        }
        end = store.end(execution)
        reached = states(pipeline, records, end)
        asked = store.stop_requested(execution)
        found = status(pipeline, records, end, stop_requested=asked)
        return View(
            id=execution,
            pipeline=body["pipeline"],
            engine=body["engine"],
            run=body["run"],
            backend=body["backend"],
            status=found.status,
            reason=found.reason,
            started=body["started"],
            seconds=_seconds(body["started"], (end or {}).get("ended")),
            parameters=body["parameters"],
            steps=tuple(
                _step_view(
                    step,
                    reached[step.name],
                    records.get(step.name, {}),
                    _made(place, records.get(step.name, {})),
                )
                for step in walk(pipeline)
            ),
            metrics=dict(_metrics(place, pipeline, body, records)),
        )

    def property_files(self, execution: str) -> Iterator[tuple[str, str, str]]:
        """``(step.file, URI, content)`` of every property file; the content may be an error."""
        place = self.place.for_execution(self.place.records.execution(execution) or {})
        for step, record in self.place.records.steps(execution).items():
            files = (record.get("outputs") or {}).get("property_files", {})
            for name, uri in files.items():
                try:
                    content = place.backend.read_object(uri).decode(errors="replace")
                except SagebridgeError as error:
                    content = str(error)
                yield f"{step}.{name}", uri, content


def _step_view(
    step: Step, state: State, record: Mapping[str, Any], made: Mapping[str, str] | None = None
) -> StepView:
    began = record.get("started")
    return StepView(
        name=step.name,
        type=step.type,
        state=state,
        seconds=_seconds(began, record.get("ended")) if began else None,
        job=(record.get("job") or {}).get("name"),
        reason=record.get("reason") or "",
        outcome=(record.get("outputs") or {}).get("outcome"),
        made=made or {},
    )


def _seconds(began: str, ended: str | None) -> float:
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    return round((until - datetime.fromisoformat(began)).total_seconds(), 1)


def _made(place: Workdir, record: Mapping[str, Any]) -> dict[str, str]:
    """What a job that succeeded left behind, in the words of its Describe response."""
    job = record.get("job")
    if record.get("status") != "Succeeded" or not job:
        return {}
    job_type = JOB_TYPES[record["type"]]
    description = job_type.find(place.backend.client(job_type.service), job["name"]) or {}
    made = {}
    for label, path in STEP_TYPES[record["type"]].results.items():
        made[label] = uri = str(reduce(_member, path.split("."), description))
        # Members such as S3OutputPath hold URIs, in the local backend plain paths too.
        folder = place.path_of(uri) if path.rpartition(".")[2].startswith("S3") else None
        if folder and folder.is_dir():
            made["path"] = str(folder)
    return made


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _metrics(
    place: Workdir, pipeline: Pipeline, body: Mapping[str, Any], records: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Every value of a file that a condition compares, once the file is there."""
    execution = Execution(
        id=body["id"],
        pipeline=body["pipeline"],
        engine=body["engine"],
        run=body["run"],
        started=datetime.fromisoformat(body["started"]),
        parameters=body["parameters"],
        experiment_config=pipeline.experiment_config,
    )

    def upstream(step: str) -> Mapping[str, Any] | None:
        outputs: Mapping[str, Any] | None = records.get(step, {}).get("outputs")
        return outputs

    resolve = Resolver(execution, upstream, place.backend.read_object, place.backend.arn)
    for step in walk(pipeline):
        if not isinstance(step, ConditionStep) or step.name not in records:
            continue
        for read in nodes(step.conditions, lambda node: isinstance(node, JsonGet)):
            if isinstance(read, JsonGet):
                with suppress(SagebridgeError):
                    yield value_words(read), resolve(read)
