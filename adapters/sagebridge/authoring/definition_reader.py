"""Read definition JSON into the model.

Reading is lenient: a value of an unexpected type is kept unchanged in ``extra``, and ``validate``
reports it. Only a definition without a list of steps, or a step without a name or a type, is
rejected; the error lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from sagebridge.authoring.definition_writer import canonical_definition
from sagebridge.authoring.expression_json import read_value
from sagebridge.authoring.json_document import Document, kind
from sagebridge.authoring.key_order import key_order
from sagebridge.errors import ModelTypeError, SourceError
from sagebridge.model.conditions import (
    COMPARISONS,
    Comparison,
    ComparisonType,
    Condition,
    In,
    Not,
    Or,
    UnknownCondition,
)
from sagebridge.model.dependencies import Dependency, read_dependency
from sagebridge.model.display import word_set
from sagebridge.model.for_each import ForEachStep, Selector
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Parallelism, Pipeline, Step
from sagebridge.model.step_settings import (
    CacheConfig,
    OutputParameter,
    PropertyFile,
    RetryPolicy,
)
from sagebridge.model.values import ABSENT, Object, Value, freeze

T = TypeVar("T")


class InvalidDefinition(SourceError):
    """A definition without readable steps; ``problems`` are pairs of pointer and message."""

    def __init__(self, document: Document, problems: list[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            document.source,
            "not a pipeline definition:\n"
            + "\n".join(
                f"  line {document.line(pointer)}: {pointer or '/'}: {problem}"
                for pointer, problem in problems
            ),
        )

    def is_about(self, pointer: str) -> bool:
        """Whether one of the problems is at this pointer or at its parent."""
        found = {location for location, _ in self.problems}
        return pointer in found or pointer.rpartition("/")[0] in found


class ObjectReader:
    """Reads an object key by key; ``extra`` has the keys that are left."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.left = dict(raw)

    def take(self, name: str, read: Callable[[Any], T | None]) -> Any:
        """The value of a key as ``read`` returns it; ABSENT for None or a missing key."""
        if name not in self.left:
            return ABSENT
        result = read(self.left[name])
        if result is None:
            return ABSENT
        del self.left[name]
        return result

    def any(self, name: str) -> Value:
        return freeze(self.left.pop(name)) if name in self.left else ABSENT

    def extra(self) -> Object:
        return Object({name: freeze(item) for name, item in self.left.items()})


def string(raw: Any) -> str | None:
    return raw if isinstance(raw, str) else None


def dependency(raw: Any) -> str | Dependency | None:
    """An item of DependsOn: a step's name, or an object with Step and Trigger."""
    if isinstance(raw, dict) and isinstance(raw.get("Step"), str):
        return read_dependency(raw)
    return string(raw)


def names(raw: Any) -> tuple[str, ...] | None:
    if isinstance(raw, list | tuple) and all(isinstance(item, str) for item in raw):
        return tuple(raw)
    return None


def each(read: Callable[[Any], T | None]) -> Callable[[Any], tuple[T, ...] | None]:
    """A reader of arrays; it returns None if ``read`` does so for one of the items."""

    def read_all(raw: Any) -> tuple[T, ...] | None:
        if not isinstance(raw, list | tuple):
            return None
        items: list[T] = []
        for item in raw:
            result = read(item)
            if result is None:
                return None
            items.append(result)
        return tuple(items)

    return read_all


def read_definition(document: Document) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of an open document, and the losses (keys that appear twice)."""
    raw: dict[str, Any] = document.value
    problems: list[tuple[str, str]] = []
    if "Steps" in raw:
        _check_steps(raw["Steps"], "/Steps", problems)
    else:
        problems.append(("", "missing key 'Steps'; expected a list of steps"))
    if problems:
        raise InvalidDefinition(document, problems)
    reader = ObjectReader(raw)
    pipeline = Pipeline(
        steps=tuple(read_step(step) for step in reader.left.pop("Steps")),
        parameters=reader.take("Parameters", each(read_parameter)),
        version=reader.any("Version"),
        metadata=reader.any("Metadata"),
        experiment_config=_config(reader, "PipelineExperimentConfig"),
        mlflow_config=_config(reader, "MlflowConfig"),
        extra=reader.extra(),
        schedules=document.schedules,
        event_triggers=document.event_triggers,
        **read_envelope(document.envelope),
    )
    order = key_order(raw, canonical_definition(pipeline))
    pipeline = replace(pipeline, key_order=freeze(order))
    losses = tuple(
        Loss(
            "duplicate-member",
            "dropped",
            document.source,
            f"the key {name!r} is repeated in one object; only the last value is used",
            "sagemaker",
            "remove one of them",
        )
        for name in document.duplicates
    )
    return pipeline, (*document.losses, *losses)


def _check_steps(raw: Any, pointer: str, problems: list[tuple[str, str]]) -> None:
    if not isinstance(raw, list):
        problems.append((pointer, f"expected a list of steps, got {kind(raw)}"))
        return
    for position, step in enumerate(raw):
        here = f"{pointer}/{position}"
        if not isinstance(step, dict):
            problems.append((here, f"step: expected an object, got {kind(step)}"))
            continue
        for name in ("Name", "Type"):
            if not isinstance(step.get(name), str):
                problem = f"{name} of a step: expected a string, got {kind(step.get(name))}"
                problems.append((here, problem if name in step else f"step: missing key {name!r}"))
        arguments = step.get("Arguments")
        for key in _INNER_KEYS.get(str(step.get("Type")), ()):
            if isinstance(arguments, dict) and isinstance(arguments.get(key), list):
                _check_steps(arguments[key], f"{here}/Arguments/{key}", problems)


_INNER_KEYS = {
    one.own_type: tuple(one.inner_fields.values()) for one in (ConditionStep, ForEachStep)
}
"""The keys of Arguments with nested steps, by type of step."""


def _config(reader: ObjectReader, name: str) -> Value:
    if name not in reader.left:
        return ABSENT
    return read_value(reader.left.pop(name), bare_joins=name == "PipelineExperimentConfig")


def read_envelope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Create/DescribePipeline document as fields of :class:`Pipeline`."""
    reader = ObjectReader(raw)
    result = {
        "name": reader.take("PipelineName", string),
        "display_name": reader.take("PipelineDisplayName", string),
        "description": reader.take("PipelineDescription", string),
        "role_arn": reader.take("RoleArn", string),
        "tags": reader.any("Tags"),
        "parallelism": reader.take("ParallelismConfiguration", _parallelism),
    }
    found = {name: value for name, value in result.items() if value is not ABSENT}
    return {**found, "request": reader.extra()}


def _parallelism(raw: Any) -> Parallelism | None:
    match raw:
        case {"MaxParallelExecutionSteps": int(limit), **rest}:
            return None if rest or isinstance(limit, bool) else Parallelism(limit)
    return None


def read_parameter(raw: Any) -> Parameter | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str):
        return None
    reader = ObjectReader(raw)
    return Parameter(
        name=reader.left.pop("Name"),
        type=reader.take("Type", string),
        default=reader.any("DefaultValue"),
        enum_values=reader.take(
            "EnumValues", lambda item: freeze(item) if isinstance(item, list) else None
        ),
        description=reader.take("Description", string),
        extra=reader.extra(),
    )


def read_step(raw: Mapping[str, Any]) -> Step:
    reader = ObjectReader(raw)
    common: dict[str, Any] = {
        "name": reader.left.pop("Name"),
        "type": reader.left.pop("Type"),
        "depends_on": reader.take("DependsOn", each(dependency)),
        "retry_policies": reader.take("RetryPolicies", each(read_retry_policy)),
        "cache_config": reader.take("CacheConfig", read_setting(CacheConfig)),
        "property_files": reader.take("PropertyFiles", each(read_setting(PropertyFile))),
        "output_parameters": reader.take("OutputParameters", each(read_setting(OutputParameter))),
        "display_name": reader.take("DisplayName", string),
        "description": reader.take("Description", string),
    }
    arguments = reader.left.pop("Arguments", ABSENT)
    common["extra"] = Object(
        {
            name: freeze(item) if name in NO_EXPRESSIONS else read_value(item)
            for name, item in reader.left.items()
        }
    )
    if common["type"] == "Condition":
        return _read_condition_step(common, arguments)
    if common["type"] == "ForEach":
        return _read_for_each_step(common, arguments)
    return Step(arguments=_read_arguments(arguments), **common)


NO_EXPRESSIONS = word_set(
    "Name Type DependsOn RetryPolicies CacheConfig PropertyFiles OutputParameters"
)
"""The keys of a step whose values hold no expressions."""


def _read_arguments(raw: Any) -> Value:
    return ABSENT if raw is ABSENT else read_value(raw)


def _read_condition_step(common: dict[str, Any], raw: Any) -> ConditionStep:
    if not isinstance(raw, dict):
        return ConditionStep(
            arguments=_read_arguments(raw), if_steps=ABSENT, else_steps=ABSENT, **common
        )
    reader = ObjectReader(raw)
    return ConditionStep(
        conditions=reader.take("Conditions", each(read_condition)),
        if_steps=reader.take("IfSteps", _read_steps),
        else_steps=reader.take("ElseSteps", _read_steps),
        arguments=Object({name: read_value(item) for name, item in reader.left.items()}),
        **common,
    )


def _read_for_each_step(common: dict[str, Any], raw: Any) -> ForEachStep:
    if not isinstance(raw, dict):
        return ForEachStep(arguments=_read_arguments(raw), body=ABSENT, **common)
    reader = ObjectReader(raw)
    return ForEachStep(
        items=read_value(reader.left.pop("IterableItems", ABSENT)),
        max_concurrency=read_value(reader.left.pop("MaxConcurrency", ABSENT)),
        selector=reader.take("Selector", _read_selector),
        body=reader.take("ForEachBody", _read_steps),
        arguments=Object({name: read_value(item) for name, item in reader.left.items()}),
        **common,
    )


def _read_selector(raw: Any) -> Selector | None:
    if not isinstance(raw, dict):
        return None
    reader = ObjectReader(raw)
    pick, field = (read_value(reader.left.pop(name, ABSENT)) for name in ("Pick", "Field"))
    rest = Object({name: read_value(item) for name, item in reader.left.items()})
    return Selector(pick, field, rest)


def _read_steps(raw: Any) -> tuple[Step, ...] | None:
    return tuple(read_step(step) for step in raw) if isinstance(raw, list) else None


def read_condition(raw: Any) -> Condition:
    match raw:
        case {"Type": str(type_), "LeftValue": left, "RightValue": right, **rest} if type_ in (
            *COMPARISONS,
            "NotEquals",
        ):
            operands = (read_value(left), read_value(right))
            if type_ == "NotEquals":
                return Not(Comparison("Equals", *operands, extra=freeze(rest)), "NotEquals")
            return Comparison(cast("ComparisonType", type_), *operands, extra=freeze(rest))
        case {"Type": "In" | "NotIn" as type_, "QueryValue": query, "Values": list(values), **rest}:
            return _membership(type_, In(read_value(query), read_value(values), "", freeze(rest)))
        case {"Type": "In" | "NotIn" as type_, "Value": query, "In": list(values), **rest}:
            return _membership(
                type_, In(read_value(query), read_value(values), "Value/In", freeze(rest))
            )
        case {"Type": "Not", "Condition": dict(inner), **rest}:
            return Not(read_condition(inner), extra=freeze(rest))
        case {"Type": "Or", "Conditions": list(inner_all), **rest}:
            return Or(tuple(read_condition(inner) for inner in inner_all), freeze(rest))
    return UnknownCondition(read_value(raw))


def _membership(type_: str, condition: In) -> In | Not:
    return Not(condition, "NotIn") if type_ == "NotIn" else condition


def read_retry_policy(raw: Any) -> RetryPolicy | None:
    types = raw.get("ExceptionType") if isinstance(raw, dict) else None
    found = (types,) if isinstance(types, str) else names(types)
    if found is None:
        return None
    rest = {key: value for key, value in raw.items() if key != "ExceptionType"}
    given = {"exception_types": found, "one_type": isinstance(types, str)}
    policy: RetryPolicy | None = read_setting(RetryPolicy)(rest, **given)
    return policy


def read_setting(class_: Any) -> Callable[..., Any]:
    """A reader of objects; it returns None if a field that is a string has another type."""

    def read(raw: Any, **given: Any) -> Any:
        if not isinstance(raw, dict):
            return None
        reader = ObjectReader(raw)
        own = {name: reader.any(key) for name, key in class_.keys.items()}
        try:
            return class_(**given, **own, extra=reader.extra())
        except ModelTypeError:
            return None

    return read
