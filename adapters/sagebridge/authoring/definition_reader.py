"""Plain definition JSON to the model.

Reading is lenient: a member of an unexpected shape is kept verbatim among the extra ones and
``validate`` reports it. What cannot be a pipeline at all is refused, all such places at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from sagebridge.authoring.definition_writer import canonical_definition
from sagebridge.authoring.expression_json import read_value
from sagebridge.authoring.json_document import Document, kind
from sagebridge.authoring.key_order import key_order
from sagebridge.errors import SourceError
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
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import (
    CacheConfig,
    ConditionStep,
    OutputParameter,
    Parallelism,
    Pipeline,
    PropertyFile,
    RetryPolicy,
    Step,
)
from sagebridge.model.values import ABSENT, Object, Value, freeze

T = TypeVar("T")


class InvalidDefinition(SourceError):
    """A definition whose shape no pipeline has; ``problems`` are (pointer, text)."""

    def __init__(self, document: Document, problems: list[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            document.source,
            "no pipeline definition:\n"
            + "\n".join(
                f"  line {document.line(pointer)}: {pointer or '/'}: {text}"
                for pointer, text in problems
            ),
        )

    def is_about(self, pointer: str) -> bool:
        """Whether one of the problems is at this pointer, or at the object that holds it."""
        places = {place for place, _ in self.problems}
        return pointer in places or pointer.rpartition("/")[0] in places


class Members:
    """The members of an object, taken one by one; what is left over is kept verbatim."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.left = dict(raw)

    def take(self, name: str, read: Callable[[Any], T | None]) -> Any:
        """What ``read`` makes of a member; ABSENT where it is absent or of another shape."""
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


def text(raw: Any) -> str | None:
    return raw if isinstance(raw, str) else None


def dependency(raw: Any) -> str | Object | None:
    """A step's name, or an object that names it in Step beside a Trigger (SDK v3)."""
    if isinstance(raw, dict) and isinstance(raw.get("Step"), str):
        return Object(freeze(raw))
    return text(raw)


def names(raw: Any) -> tuple[str, ...] | None:
    if isinstance(raw, list | tuple) and all(isinstance(item, str) for item in raw):
        return tuple(raw)
    return None


def each(read: Callable[[Any], T | None]) -> Callable[[Any], tuple[T, ...] | None]:
    """A reader of arrays whose every item ``read`` understands."""

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
    """The pipeline of an opened document and what reading it lost (members written twice)."""
    raw: dict[str, Any] = document.value
    problems: list[tuple[str, str]] = []
    if "Steps" in raw:
        _check_steps(raw["Steps"], "/Steps", problems)
    else:
        problems.append(("", "a definition has Steps (an array), found none"))
    if problems:
        raise InvalidDefinition(document, problems)
    members = Members(raw)
    pipeline = Pipeline(
        steps=tuple(read_step(step) for step in members.left.pop("Steps")),
        parameters=members.take("Parameters", each(read_parameter)),
        version=members.any("Version"),
        metadata=members.any("Metadata"),
        experiment_config=_config(members, "PipelineExperimentConfig"),
        mlflow_config=_config(members, "MlflowConfig"),
        extra=members.extra(),
        **read_envelope(document.envelope),
    )
    order = key_order(raw, canonical_definition(pipeline))
    pipeline = replace(pipeline, key_order=freeze(order))
    losses = tuple(
        Loss(
            "duplicate-member",
            "dropped",
            document.source,
            f"the member {name!r} is written twice in one object; the last one counts",
            "sagemaker",
            "keep one of them",
        )
        for name in document.duplicates
    )
    return pipeline, (*document.losses, *losses)


def _check_steps(raw: Any, pointer: str, problems: list[tuple[str, str]]) -> None:
    if not isinstance(raw, list):
        problems.append((pointer, f"an array of steps is expected, found {kind(raw)}"))
        return
    for position, step in enumerate(raw):
        here = f"{pointer}/{position}"
        if not isinstance(step, dict):
            problems.append((here, f"a step is an object, found {kind(step)}"))
            continue
        for name in ("Name", "Type"):
            if not isinstance(step.get(name), str):
                found = kind(step[name]) if name in step else "none"
                problems.append((here, f"a step has a {name} (a string), found {found}"))
        arguments = step.get("Arguments")
        if step.get("Type") == "Condition" and isinstance(arguments, dict):
            for branch in ("IfSteps", "ElseSteps"):
                if isinstance(arguments.get(branch), list):
                    _check_steps(arguments[branch], f"{here}/Arguments/{branch}", problems)


def _config(members: Members, name: str) -> Value:
    if name not in members.left:
        return ABSENT
    return read_value(members.left.pop(name), bare_joins=name == "PipelineExperimentConfig")


def read_envelope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a Create/DescribePipeline document says beside the definition, as Pipeline fields."""
    members = Members(raw)
    result = {
        "name": members.take("PipelineName", text),
        "display_name": members.take("PipelineDisplayName", text),
        "description": members.take("PipelineDescription", text),
        "role_arn": members.take("RoleArn", text),
        "tags": members.any("Tags"),
        "parallelism": members.take("ParallelismConfiguration", _parallelism),
    }
    found = {name: value for name, value in result.items() if value is not ABSENT}
    return {**found, "request": members.extra()}


def _parallelism(raw: Any) -> Parallelism | None:
    match raw:
        case {"MaxParallelExecutionSteps": int(limit), **rest}:
            return None if rest or isinstance(limit, bool) else Parallelism(limit)
    return None


def read_parameter(raw: Any) -> Parameter | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str):
        return None
    members = Members(raw)
    return Parameter(
        name=members.left.pop("Name"),
        type=members.take("Type", text),
        default=members.any("DefaultValue"),
        enum_values=members.take(
            "EnumValues", lambda item: freeze(item) if isinstance(item, list) else None
        ),
        description=members.take("Description", text),
        extra=members.extra(),
    )


def read_step(raw: Mapping[str, Any]) -> Step:
    members = Members(raw)
    common: dict[str, Any] = {
        "name": members.left.pop("Name"),
        "type": members.left.pop("Type"),
        "depends_on": members.take("DependsOn", each(dependency)),
        "retry_policies": members.take("RetryPolicies", each(read_retry_policy)),
        "cache": members.take("CacheConfig", read_cache),
        "property_files": members.take("PropertyFiles", each(read_property_file)),
        "output_parameters": members.take("OutputParameters", each(read_output_parameter)),
        "display_name": members.take("DisplayName", text),
        "description": members.take("Description", text),
    }
    arguments = members.left.pop("Arguments", ABSENT)
    common["extra"] = Object(
        {
            name: freeze(item) if name in NO_EXPRESSIONS else read_value(item)
            for name, item in members.left.items()
        }
    )
    if common["type"] == "Condition":
        return _read_condition_step(common, arguments)
    return Step(arguments=_read_arguments(arguments), **common)


NO_EXPRESSIONS = frozenset(
    (
        "Name",
        "Type",
        "DependsOn",
        "RetryPolicies",
        "CacheConfig",
        "PropertyFiles",
        "OutputParameters",
    )
)
"""The keys of a step whose values hold no expressions."""


def _read_arguments(raw: Any) -> Value:
    return ABSENT if raw is ABSENT else read_value(raw)


def _read_condition_step(common: dict[str, Any], raw: Any) -> ConditionStep:
    if not isinstance(raw, dict):
        return ConditionStep(arguments=_read_arguments(raw), **common)
    members = Members(raw)
    return ConditionStep(
        conditions=members.take("Conditions", each(read_condition)),
        if_steps=members.take("IfSteps", _read_branch),
        else_steps=members.take("ElseSteps", _read_branch),
        arguments=Object({name: read_value(item) for name, item in members.left.items()}),
        **common,
    )


def _read_branch(raw: Any) -> tuple[Step, ...] | None:
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
    if not isinstance(raw, dict):
        return None
    types = raw.get("ExceptionType")
    found = (types,) if isinstance(types, str) else names(types)
    if found is None:
        return None
    members = Members(raw)
    del members.left["ExceptionType"]
    return RetryPolicy(
        exception_types=found,
        interval_seconds=members.any("IntervalSeconds"),
        backoff_rate=members.any("BackoffRate"),
        max_attempts=members.any("MaxAttempts"),
        expire_after_min=members.any("ExpireAfterMin"),
        one_type=isinstance(types, str),
        extra=members.extra(),
    )


def read_cache(raw: Any) -> CacheConfig | None:
    if not isinstance(raw, dict):
        return None
    members = Members(raw)
    return CacheConfig(members.any("Enabled"), members.any("ExpireAfter"), members.extra())


def read_property_file(raw: Any) -> PropertyFile | None:
    match raw:
        case {
            "PropertyFileName": str(name),
            "OutputName": str(output),
            "FilePath": str(path),
            **rest,
        }:
            return PropertyFile(name, output, path, freeze(rest))
    return None


def read_output_parameter(raw: Any) -> OutputParameter | None:
    match raw:
        case {"OutputName": str(name), **rest}:
            type_ = freeze(rest.pop("OutputType")) if "OutputType" in rest else ABSENT
            return OutputParameter(name, type_, freeze(rest))
    return None
