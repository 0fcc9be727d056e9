"""Operators and sensors of the Amazon provider as calls of AWS APIs, by the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sagebridge.formats.airflow.provider import aws_special
from sagebridge.formats.airflow.provider.aws_table import (
    POLLING,
    ROWS,
    SENSOR_ARGUMENTS,
    Given,
    Row,
)
from sagebridge.formats.airflow.provider.provider_task import (
    Builder,
    OperatorKind,
    Task,
    UnreadableTask,
    property_output,
)
from sagebridge.formats.airflow.task_values import RETURN_VALUE, Output
from sagebridge.model.aws_calls import PATH, aws_call_arguments
from sagebridge.model.code_steps import AWS_CALL, AwsCallStep
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.expressions import Join
from sagebridge.model.losses import LEFT_RUNNING
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Object, Value, freeze

_ARGUMENT, _MERGED = ":", "**"


def _tags(given: Any, key: str = "Key", value: str = "Value") -> Any:
    if not isinstance(given, Mapping):
        return given
    return [{key: name, value: item} for name, item in given.items()]


def _pascal(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise UnreadableTask("its config is only known at run time")
    words = {name: "".join(one.title() for one in str(name).split("_")) for name in given}
    return {words[name].replace("Kms", "KMS"): item for name, item in given.items()}


def _message_attributes(given: Any) -> Any:
    """As ``_get_message_attribute`` in the provider's ``hooks/sns.py``."""
    if not isinstance(given, Mapping):
        return given
    return {name: dict(_typed(item)) for name, item in given.items()}


def _typed(value: Any) -> Iterator[tuple[str, Any]]:
    number = isinstance(value, int | float)
    yield "DataType", "Number" if number else "String"
    yield "StringValue", str(value) if number else value


_CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "ecs_tags": partial(_tags, key="key", value="value"),
    "list": lambda given: [given] if isinstance(given, str) else sorted(given or ()),
    "parameters": partial(_tags, key="Name"),
    "pascal": _pascal,
    "sns": _message_attributes,
    "tags": _tags,
}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Mapping | Sequence) and len(value) == 0)


class _Filling:
    """Fills the arguments of a task into a row."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def of(self, given: Any) -> Value:
        """A value of the table; None if it has no argument."""
        match given:
            case Given(value=value):
                return _as_data(self.task.value(value))
            case str() if given.startswith(_ARGUMENT):
                return self._argument(given.removeprefix(_ARGUMENT))
            case Mapping():
                return self._object(given)
            case list() | tuple():
                return tuple(found for one in given if not _is_empty(found := self.of(one)))
        return freeze(given)

    def _object(self, given: Mapping[str, Any]) -> Value:
        found: dict[str, Value] = {}
        for name, item in given.items():
            value = self.of(item)
            if name == _MERGED:
                if not _is_empty(value) and not isinstance(value, Mapping):
                    what = f"its {str(item).strip(':')} are only known at run time"
                    raise UnreadableTask(what)
                found |= dict(value or {})
            elif item is None:
                found.pop(name, None)
            elif not _is_empty(value):
                found[name] = value
        return Object(found)

    def _argument(self, text: str) -> Value:
        name, _, change = text.partition("|")
        name, _, key = name.partition(".")
        value = getattr(self.task.operator, name, None)
        if key:
            value = value.get(key) if isinstance(value, Mapping) else None
        if change == "given":
            value = aws_special.given(self.task.operator).get(name)
        elif change and value is not None:
            value = _CHANGES[change](value)
        if isinstance(value, set | frozenset):
            value = sorted(value)
        if isinstance(value, bytes):
            value = aws_special.text_of(value)
        return _as_data(self.task.value(value))


def _as_data(value: Value) -> Value:
    """A value of the DAG, in which strings that look like paths of the call are plain strings."""
    match value:
        case str() if value.startswith(PATH):
            return Join((value,), "")
        case Mapping():
            return Object({name: _as_data(item) for name, item in value.items()})
        case tuple():
            return tuple(map(_as_data, value))
    return value


def _row_of(operator: Any, name: str) -> Row:
    row = ROWS[name]
    change = aws_special.CHANGES.get(name)
    return row if change is None else change(operator, row)


def _build(name: str, task: Task) -> list[Step]:
    row = _row_of(task.operator, name)
    service, _, operation = row.call.partition(":")
    filling = _Filling(task)
    waits = row.waits is True or bool(
        row.waits and (getattr(task.operator, row.waits, True) or _defers(task.operator))
    )
    stop = filling.of(row.stop) if row.stop is not None and waits else None
    if stop is not None and (stops := aws_special.stops(task.operator, name)) is not True:
        stop = stop if stops is None else None
        if stops is None:
            what = "what it starts is stopped if the step is cancelled or takes too long"
            task.report("engine-option", "info", f"{what}; {name} does not stop it", LEFT_RUNNING)
    arguments = aws_call_arguments(
        service,
        operation,
        request=filling.of(row.request),
        before=filling.of(row.before),
        ignore=row.ignore,
        result=row.result,
        fails=row.fails,
        wait=filling.of(row.wait) if row.wait is not None and waits else None,
        stop=stop,
    )
    engine = NO_SETTINGS if operation else _sensor_settings(task.operator)
    step = Step(task.name, AWS_CALL, arguments=arguments, engine=engine)
    return [AwsCallStep.of(step)]


def _sensor_settings(operator: Any) -> EngineSettings:
    """How long and how often a sensor looks."""
    times = (operator.poke_interval, operator.timeout)
    numbers = (one if isinstance(one, int | float) else ABSENT for one in map(_seconds, times))
    interval, timeout = numbers
    return EngineSettings(
        poll_interval=interval, poll_timeout=timeout, soft_fail=bool(operator.soft_fail)
    )


def _seconds(value: Any) -> Any:
    return value.total_seconds() if hasattr(value, "total_seconds") else value


def _defers(operator: Any) -> bool:
    return getattr(operator, "deferrable", None) is True


def _reads(row: Row) -> tuple[str, ...]:
    """The arguments that a row has or that need no place in a step."""
    places = (row.request, row.before, row.wait, row.stop)
    names = re.findall(r"(?<=[\"']):(\w+)", repr([thawed(one) for one in places]))
    waits = () if isinstance(row.waits, bool) else (row.waits,)
    sensor = () if ":" in row.call else SENSOR_ARGUMENTS
    return tuple(dict.fromkeys((*names, *waits, *row.more, *POLLING, *sensor)))


def thawed(value: Any) -> Any:
    """The value with plain dicts and lists."""
    if isinstance(value, Mapping):
        return {name: thawed(item) for name, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, list | tuple) else value


KINDS: Mapping[str, OperatorKind] = {
    name: OperatorKind(
        partial(_build, name),
        (*_reads(row), *aws_special.READS.get(name, ())),
        outputs=lambda operator, step: property_output(step, RETURN_VALUE),
    )
    for name, row in ROWS.items()
}


def choice(
    name: str, exact: Callable[[Any], bool], build: Builder, exact_outputs: Callable[[str], Output]
) -> OperatorKind:
    """The kind of an operator that is a step of SageMaker if that does exactly the same."""
    kind = KINDS[name]

    def built(task: Task) -> list[Step]:
        return build(task) if exact(task.operator) else kind.build(task)

    def outputs(operator: Any, step: str) -> Output:
        return exact_outputs(step) if exact(operator) else property_output(step, RETURN_VALUE)

    return replace(kind, build=built, outputs=outputs)
