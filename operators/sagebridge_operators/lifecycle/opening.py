"""Opens an execution, and decides which attempt of a step a worker continues.

No other module writes the record of an execution.

| record of the step and index | the engine starts | decision |
|---|---|---|
| none | a first try | a new attempt |
| of another generation | a later try: a cleared task, a retried flow run | the next generation |
| planned, created or stopping | a try after a lost worker | the same attempt |
| any | the same try, after a deferral | the same attempt |
| stopped with its worker, or swept | a later try | the next number |
| failed, and user retries are left | a later try | the next number, one retry used |
| ended otherwise | a try after a lost worker | keep: the same result |
| of a later try | a worker that was thought lost | rejected: SupersededWorker |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sagebridge
from sagebridge.authoring.runnable import WhyNotHere, why_pipeline_not_runnable
from sagebridge.errors import UsageError
from sagebridge.model.code_removal import with_plain_parameters
from sagebridge.model.code_transport import without_templates
from sagebridge.model.display import word_set
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.visit import unescape
from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, now
from sagebridge_operators.lifecycle.objects import WriteConflict
from sagebridge_operators.lifecycle.recorded_pipeline import (
    recorded_definition,
    recorded_pipeline,
)
from sagebridge_operators.lifecycle.records import DAYS, ExecutionRecords
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.lifecycle.step_states import repeated_steps
from sagebridge_operators.run_errors import (
    RETRIED,
    InvalidPipeline,
    OlderRecord,
    SupersededWorker,
)

_NOT_CHECKED = word_set(
    "depends-on-fail-step no-steps parameter-name step-name text-too-long "
    "too-many-outputs unknown-condition-type unknown-expression unknown-step-type "
    "unknown-variable"
)


def open_execution(
    records: ExecutionRecords,
    execution: str,
    body: Mapping[str, Any],
    describe: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """The record of an execution. Written by the first step that starts.

    If there is no record, ``body`` becomes the record, and the pipeline definition that
    ``definition`` returns is recorded next to it. Raises OlderRecord.
    """
    there = records.execution(execution)
    if there is None:
        records.describe(execution, describe())
        day, _, time = str(body["started"]).partition("T")
        try:
            records.objects.create(_key(execution), body)
            records.objects.put(f"{DAYS}{day}/{time[:8].replace(':', '')}-{execution}.json", {})
            return dict(body)
        except WriteConflict:
            there = records.execution(execution) or {}
    if there.get("format") != FORMAT:
        raise OlderRecord(f"execution {execution}")
    return there


def valid_definition(
    pipeline: Pipeline, why_not_here: WhyNotHere = lambda step, pipeline: ()
) -> dict[str, Any]:
    """The definition of a pipeline that is about to start.

    ``why_not_here`` returns the reasons of a step whose backend is this machine.

    Raises InvalidPipeline for errors and for steps that cannot run. Not checked: what only
    SageMaker rejects and both engines run, such as long names; and unknown functions, which fail
    in their own step.
    """
    require_runnable(pipeline, why_not_here)
    marked, marks = without_templates(with_plain_parameters(pipeline)[0])
    checked = recorded_definition(marked)
    errors = [
        f"{found.message} [{found.code}]"
        for found in sagebridge.validate(checked)
        if found.severity == "error"
        and found.code not in _NOT_CHECKED
        and not _is_template(checked, found.pointer, marks)
    ]
    if errors:
        raise InvalidPipeline(pipeline.name or "pipeline", errors)
    return recorded_definition(pipeline)


def _is_template(definition: Any, pointer: str, marks: Collection[str]) -> bool:
    """Whether a finding is about a template, whose value is known only at run time."""
    found = definition
    for token in pointer.split("/")[1:]:
        if isinstance(found, list) and token.isdecimal() and int(token) < len(found):
            found = found[int(token)]
        elif isinstance(found, dict) and unescape(token) in found:
            found = found[unescape(token)]
        else:
            return False
    values = found.values() if isinstance(found, dict) else [found]
    return any(isinstance(one, str) and one in marks for one in values)


def require_runnable(
    pipeline: Pipeline, why_not_here: WhyNotHere = lambda step, pipeline: ()
) -> None:
    """Raises InvalidPipeline with all steps that cannot run, see :func:`valid_definition`."""
    if (what := why_pipeline_not_runnable(pipeline, why_not_here)) is not None:
        raise InvalidPipeline(pipeline.name or "pipeline", [f"sagebridge cannot run {what}"])


def complete_execution(records: ExecutionRecords, execution: str, body: Mapping[str, Any]) -> None:
    """Adds keys to the record of an execution. Existing keys keep their values."""
    there = records.execution(execution) or {}
    if body.keys() - there.keys():
        records.objects.put(_key(execution), {**body, **there})


def retry_execution(records: ExecutionRecords, execution: str) -> None:
    """Lets an execution run again: its failed and stopped steps count as not started.

    So do the steps that ran because of them. Its end and its stop request are removed. Raises
    UsageError if another process retries it now.
    """
    stored = records.objects.read(_key(execution))
    if stored is None:
        return
    pipeline = recorded_pipeline(records, execution)
    again = repeated_steps(pipeline, records.steps(execution))
    retry = Retry.of(stored.body).next(records.attempts(execution), again)
    try:
        body = {**stored.body, "retry": retry.as_json()}
        records.objects.replace(_key(execution), body, stored.version)
    except WriteConflict:
        raise UsageError(f"execution {execution} is being retried by another command") from None
    records.objects.remove(f"{execution}/end.json")
    records.objects.remove(f"{execution}/stop.json")


def start_time(body: Mapping[str, Any]) -> datetime:
    """``Execution.StartDateTime`` in a record; the same for every step and try."""
    return datetime.fromisoformat(body["started"])


def choose_attempt(
    records: ExecutionRecords, wanted: Attempt, *, resumes: bool = False
) -> tuple[Attempt, bool]:
    """The attempt that a worker continues, and whether another worker began it.

    ``wanted`` is the attempt that the engine starts, without number, phase or job; with ``resumes``
    its try has run before. Raises :class:`SupersededWorker` if a later try is already recorded.
    """
    known = records.attempts(wanted.execution, wanted.step, wanted.index)
    if not known:
        return wanted, False
    there = max(known, key=lambda one: one.order)
    numbers = [one.number for one in known if one.generation == wanted.generation]
    following = replace(wanted, number=max(numbers, default=-1) + 1)
    if there.generation != wanted.generation:
        if there.order > wanted.order:
            raise SupersededWorker(there.step, there.state)
        if not records.stop_requested(wanted.execution):
            records.objects.remove(f"{wanted.execution}/end.json")  # the step was run again
        return following, False
    stopped = not resumes and _stopped_with_worker(there)
    if stopped and not records.stop_requested(wanted.execution):
        begun = there.begun or there.started
        return replace(following, tries=there.tries, uses=there.uses, begun=begun), False
    return there, True


def is_retried(attempt: Attempt, retries: int) -> bool:
    """Whether a user retry may follow an attempt."""
    failure = attempt.end.failure if attempt.end is not None else None
    return failure is not None and failure.kind in RETRIED and attempt.tries < retries


def next_try(wanted: Attempt, failed: Attempt) -> Attempt:
    """The attempt that uses a retry, after an attempt that failed."""
    return replace(wanted, number=failed.number + 1, tries=failed.tries + 1)


def _stopped_with_worker(attempt: Attempt) -> bool:
    """Whether a job was stopped only because its worker was, as when a running task is cleared.

    Airflow clears a running task by killing its worker and leaves ``max_tries`` as it is
    (clear_task_instances in airflow/models/taskinstance.py), so the generation stays the same.
    """
    if attempt.end is None:
        return attempt.phase == "stopping"
    failure = attempt.end.failure
    kinds = ("stopped", "lost-worker")
    return attempt.end.state == "Stopped" and failure is not None and failure.kind in kinds


def first_attempt(
    execution: str,
    step: str,
    type_: str,
    *,
    generation: int = 0,
    index: tuple[int, ...] = (),
    engine_try: int = 0,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Attempt:
    """The attempt that an engine starts, not recorded yet."""
    started = now()
    more = {
        "index": index,
        "generation": generation,
        "engine_try": engine_try,
        "begun": started,
        "settings": dict(settings),
    }
    # mypy checks each argument against the joined type of the dict's values.
    return Attempt(execution, step, type_, started, **more)  # type: ignore[arg-type]


def _key(execution: str) -> str:
    return f"{execution}/execution.json"
