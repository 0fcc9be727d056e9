"""The context of a step's user code, from the step as its engine hands it over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import EMPTY
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.for_each_items import owner_of
from sagebridge_operators.lifecycle.objects import key_part
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.user_code import templates, values
from sagebridge_operators.lifecycle.user_code.kept_secrets import with_secrets, without_secrets
from sagebridge_operators.lifecycle.user_code.roles import named_steps
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, in_run

PUSHED = "pushed"
"""The outputs of a step that its code pushed, by key."""
_STORED = "stored"
_LARGEST = 40 * 1024
"""Bytes of JSON. A larger result is in an object next to the record of its attempt."""


def context_of(
    task: StepTask,
    *,
    tries: int = 0,
    began: datetime | None = None,
    pushed: dict[str, Any] | None = None,
    names: Mapping[str, Any] = EMPTY,
) -> RunContext:
    """The context of user code after ``tries`` retries, in an attempt that began at ``began``.

    ``pushed`` gets the values that the code pushes, as JSON. The classes of pulled values are
    looked up in ``names``, the globals of the function.
    """
    execution, engine, step = task.execution, task.engine_run, task.step
    kept: dict[str, Any] = {} if pushed is None else pushed
    secrets: dict[str, tuple[str, ...]] = {}
    started = execution.started
    started = started if started.tzinfo else started.replace(tzinfo=UTC)

    def push(key: str, value: Any) -> None:
        kept[key] = without_secrets(step.name, values.encode(step.name, value), secrets)

    def pull(name: str, key: str, index: int | None) -> Any:
        own = name == step.name and index is None and key in kept
        found = kept[key] if own else _pulled(task, name, key, index)
        return values.decode(with_secrets(found, engine.secret, secrets), names)

    return RunContext(
        engine=execution.engine,
        pipeline=task.pipeline or Pipeline(name=execution.pipeline, steps=(step,)),
        execution=execution.id,
        run_id=engine.run_id or execution.run,
        started=started,
        scheduled=engine.scheduled or started,
        parameters=execution.parameters,
        step=step.name,
        index=task.index[-1] if task.index else None,
        try_number=tries + 1,
        retries=task.user_retries,
        pull=pull,
        push=push,
        runs=engine.runs,
        facts=engine.facts,
        began=began,
        secrets=secrets,
    )


def engine_context(task: StepTask, context: RunContext) -> Mapping[str, Any]:
    """Airflow's context, by name, as the engine builds it."""
    build = task.engine_run.context
    with in_run(context):
        return {} if build is None else build(context)


def rendered(task: StepTask, tries: int, text: str) -> Any:
    """The text of a template in the run of a step, after ``tries`` retries."""
    context = context_of(task, tries=tries)
    with in_run(context):
        if task.engine_run.render is not None:
            return task.engine_run.render(text)
        return templates.render(text, engine_context(task, context))


def _pulled(task: StepTask, name: str, key: str, index: int | None) -> Any:
    """A value of another step, as JSON; of a step in another body one for each iteration."""
    pipeline, records = task.pipeline, task.records
    step = next(named_steps(pipeline, name), name) if pipeline is not None else name
    latest: dict[tuple[int, ...], Attempt] = {}
    for one in sorted(records.attempts(task.execution.id, step), key=lambda one: one.order):
        latest[one.index] = one
    if index is None and task.index and _same_body(pipeline, step, task.step.name):
        index = task.index[-1]
    if index is not None:
        found = _value(records, latest.get((index,), latest.get(())), key)
        loop = pipeline is not None and isinstance(pipeline.step(step), ForEachStep)
        return dict(enumerate(found or ())).get(index) if loop else found
    if () in latest or not latest:
        return _value(records, latest.get(()), key)
    ordered = [latest[one] for one in sorted(latest)]
    found = (_value(records, one, key) for one in ordered)
    return [one for one in found if one is not None]


def _same_body(pipeline: Pipeline | None, step: str, other: str) -> bool:
    owner = owner_of(pipeline, step)
    return owner is not None and any(one.name == other for one in owner.inner)


def _value(records: ExecutionRecords, attempt: Attempt | None, key: str) -> Any:
    outputs = (attempt.outputs if attempt is not None else None) or {}
    pushed = outputs.get(PUSHED, {})
    if key in pushed:
        return loaded(records, pushed[key])
    if RETURN_VALUE not in outputs:  # the outputs of a job have their own names
        return None if PUSHED in outputs or key != RETURN_VALUE else outputs or None
    result = loaded(records, outputs[RETURN_VALUE])
    if key == RETURN_VALUE:
        return result
    # Airflow pushes each key of a result with multiple_outputs.
    return result.get(key) if isinstance(result, dict) and values.TAG not in result else None


def stored(records: ExecutionRecords, attempt: Attempt, name: str, value: Any) -> Any:
    """The value, or a reference to an object that contains it if it is large."""
    if len(json.dumps(value).encode()) <= _LARGEST:
        return value
    index = "-".join(map(str, attempt.index)) or "_"
    place = f"{attempt.generation}.{index}.{attempt.number}-{key_part(name)}"
    key = f"{attempt.execution}/values/{key_part(attempt.step)}/{place}.json"
    records.objects.put(key, {"value": value})
    return {values.TAG: _STORED, "value": key}


def loaded(records: ExecutionRecords, value: Any) -> Any:
    """The value that :func:`stored` keeps, also in a list of results."""
    if isinstance(value, list):
        return [loaded(records, one) for one in value]
    if not isinstance(value, dict) or value.get(values.TAG) != _STORED:
        return value
    found = records.objects.read(value["value"])
    return None if found is None else loaded(records, found.body["value"])


def with_loaded(
    records: ExecutionRecords, outputs: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The outputs of a step with its whole result."""
    if outputs is None or RETURN_VALUE not in outputs:
        return outputs
    return {**outputs, RETURN_VALUE: loaded(records, outputs[RETURN_VALUE])}
