"""The names that a flow file can import from sagebridge, as the source reader evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.authoring.pipeline_builder import PipelineBuilder, StepHandle
from sagebridge.formats.python.function_source import of_definition
from sagebridge.model import conditions, expressions, pipeline, values
from sagebridge.model.step_types import OPERATOR_TYPES

PACKAGE = "sagebridge_operators.prefect"
STOP_JOBS = object()
"""Stands for the hook that stops the jobs of a flow."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module imported with ``import ... as``."""

    members: Mapping[str, Any]


def importable_names(builder: PipelineBuilder, source: str) -> dict[str, Any]:
    """The importable names; the step functions add steps to ``builder``."""

    def function(type_: str) -> Callable[..., StepHandle]:
        return lambda name, **arguments: builder.step(type_, name, **arguments)

    def step(type: str, name: str, **arguments: Any) -> StepHandle:
        return builder.step(type, name, **arguments)

    def python(name: str, function: Any, **arguments: Any) -> StepHandle:
        return builder.python(name, of_definition(function, source), **arguments)

    plain = (
        *(getattr(conditions, name) for name in _CONDITIONS),
        *(getattr(expressions, name) for name in _EXPRESSIONS),
        *(getattr(pipeline, name) for name in _RECORDS),
    )
    return {
        **{row.function: function(row.name) for row in OPERATOR_TYPES.values()},
        **{one.__name__: one for one in plain},
        "ABSENT": values.ABSENT,
        "execution": expressions.execution,
        "step": step,
        "python": python,
        "shell": builder.shell,
        "begin": builder.begin,
        "finish": builder.finish,
        "stop_jobs": STOP_JOBS,
    }


_CONDITIONS = (
    "equals",
    "greater_than",
    "greater_than_or_equal_to",
    "is_in",
    "less_than",
    "less_than_or_equal_to",
    "not_",
    "or_",
    "other_condition",
)
_EXPRESSIONS = ("JsonGet", "get", "join", "json_get", "json_get_s3", "parameter")
_RECORDS = ("CacheConfig", "OutputParameter", "PropertyFile", "RetryPolicy")
