"""Write the model as definition JSON, with keys in the order of the SageMaker SDK."""

from __future__ import annotations

from typing import Any

from sagebridge.authoring.expression_json import write_value
from sagebridge.authoring.key_order import arrange
from sagebridge.model.conditions import Comparison, Condition, In, Not, Or
from sagebridge.model.dependencies import Dependency
from sagebridge.model.for_each import ForEachStep, Selector
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.step_settings import RetryPolicy, StepSetting
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Object, Value


def definition(pipeline: Pipeline) -> dict[str, Any]:
    """The definition as plain JSON, its keys in the order of the source."""
    result: dict[str, Any] = arrange(canonical_definition(pipeline), pipeline.key_order)
    return result


def canonical_definition(pipeline: Pipeline) -> dict[str, Any]:
    """The definition as plain JSON, its keys in the order of the SDK."""
    return _object(
        ("Version", pipeline.version),
        ("Metadata", pipeline.metadata),
        ("Parameters", _all(pipeline.parameters, write_parameter)),
        ("PipelineExperimentConfig", pipeline.experiment_config),
        ("MlflowConfig", pipeline.mlflow_config),
        ("Steps", [write_step(step) for step in pipeline.steps]),
        extra=pipeline.extra,
    )


def write_envelope(pipeline: Pipeline) -> dict[str, Any]:
    """The fields of a CreatePipeline request that the pipeline has, without the definition."""
    limit = pipeline.parallelism
    parallelism = (
        ABSENT
        if limit is ABSENT
        else {"MaxParallelExecutionSteps": limit.max_parallel_execution_steps}
    )
    return _object(
        ("PipelineName", pipeline.name or ABSENT),
        ("PipelineDisplayName", pipeline.display_name),
        ("PipelineDescription", pipeline.description),
        ("RoleArn", pipeline.role_arn),
        ("Tags", pipeline.tags),
        ("ParallelismConfiguration", parallelism),
        extra=pipeline.request,
    )


def _object(*fields: tuple[str, Value], extra: Value) -> dict[str, Any]:
    result = {name: write_value(value) for name, value in fields if value is not ABSENT}
    result.update(write_value(extra))
    return result


def _all(items: Any, write_one: Any) -> Value:
    return ABSENT if items is ABSENT else [write_one(item) for item in items]


def write_parameter(parameter: Parameter) -> dict[str, Any]:
    return _object(
        ("Name", parameter.name),
        ("Type", parameter.type),
        ("DefaultValue", parameter.default),
        ("EnumValues", parameter.enum_values),
        ("Description", parameter.description),
        extra=parameter.extra,
    )


def write_step(step: Step) -> dict[str, Any]:
    row = STEP_TYPES.get(step.type)
    names = row.members.values() if row else ()
    own = [(name, step.extra[name]) for name in names if name in step.extra]
    return _object(
        ("Name", step.name),
        ("Type", step.type),
        ("Arguments", _arguments(step)),
        ("DependsOn", _all(step.depends_on, write_dependency)),
        ("DisplayName", step.display_name),
        ("Description", step.description),
        ("RetryPolicies", _all(step.retry_policies, write_setting)),
        (
            "CacheConfig",
            ABSENT if step.cache_config is ABSENT else write_setting(step.cache_config),
        ),
        *own,
        ("PropertyFiles", _all(step.property_files, write_setting)),
        ("OutputParameters", _all(step.output_parameters, write_setting)),
        extra=step.extra.without(*(name for name, _ in own)),
    )


def write_dependency(item: str | Dependency) -> str | Object:
    return item if isinstance(item, str) else item.written()


def _arguments(step: Step) -> Value:
    if not step.inner_fields:
        return step.arguments
    own: dict[str, Value] = {}
    if isinstance(step, ConditionStep):
        own["Conditions"] = _all(step.conditions, write_condition)
    elif isinstance(step, ForEachStep):
        own["IterableItems"], own["MaxConcurrency"] = step.items, step.max_concurrency
        own["Selector"] = ABSENT if step.selector is ABSENT else write_selector(step.selector)
    inner = {key: _all(getattr(step, name), write_step) for name, key in step.inner_fields.items()}
    found = {**own, **inner}.items()
    fields = {name: write_value(value) for name, value in found if value is not ABSENT}
    if step.arguments is ABSENT:
        return fields or ABSENT
    return {**fields, **write_value(step.arguments)} if fields else step.arguments


def write_selector(selector: Selector) -> dict[str, Any]:
    return _object(("Pick", selector.pick), ("Field", selector.field), extra=selector.extra)


def write_condition(condition: Condition) -> Any:
    match condition:
        case Comparison(type=type_, left=left, right=right, extra=extra):
            return _object(("Type", type_), ("LeftValue", left), ("RightValue", right), extra=extra)
        case In(query=query, values=values, spelling=spelling, extra=extra):
            keys = ("Value", "In") if spelling else ("QueryValue", "Values")
            return _object(("Type", "In"), (keys[0], query), (keys[1], values), extra=extra)
        case Not(condition=inner, spelling=spelling, extra=extra):
            written = write_condition(inner)
            if spelling:
                return {**written, "Type": spelling}
            return _object(("Type", "Not"), ("Condition", written), extra=extra)
        case Or(conditions=inner_all, extra=extra):
            return _object(
                ("Type", "Or"), ("Conditions", list(map(write_condition, inner_all))), extra=extra
            )
    return write_value(condition.raw)


def write_setting(setting: StepSetting) -> dict[str, Any]:
    found = {key: getattr(setting, name) for name, key in setting.keys.items()}
    if isinstance(setting, RetryPolicy):
        types = setting.exception_types
        found = {"ExceptionType": types[0] if setting.one_type else types, **found}
    return _object(*found.items(), extra=setting.extra)
