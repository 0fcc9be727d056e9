"""The names that a flow file can import from sagebridge, as the source reader evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.authoring import public_names
from sagebridge.authoring.pipeline_builder import PipelineBuilder, StepHandle
from sagebridge.formats.python.function_source import of_definition
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

    return {
        **{row.function: function(row.name) for row in OPERATOR_TYPES.values()},
        **{name: getattr(public_names, name) for name in public_names.__all__},
        "step": step,
        "python": python,
        "shell": builder.shell,
        "stub": builder.stub,
        "begin": builder.begin,
        "finish": builder.finish,
        "stop_jobs": STOP_JOBS,
    }
