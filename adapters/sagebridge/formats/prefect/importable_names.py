"""The names that a flow file can import from sagebridge, as the source reader evaluates them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.authoring import public_names
from sagebridge.authoring.pipeline_builder import PipelineBuilder, StepHandle
from sagebridge.formats.python.function_source import of_name
from sagebridge.model.functions import Function
from sagebridge.model.step_types import OPERATOR_TYPES

PACKAGE = "sagebridge_operators.prefect"
STOP_JOBS = object()
"""Stands for the hook that stops the jobs of a flow."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module imported with ``import ... as``."""

    members: Mapping[str, Any]


def is_code(function: object, argument: str | int) -> bool:
    """Whether an argument of a function of the package is code: a function, or hooks."""
    if isinstance(argument, str) and argument.startswith("on_"):
        return not isinstance(function, ast.FunctionDef)
    owner = getattr(function, "__func__", None)
    return owner is PipelineBuilder.python and argument in (1, "function")


def read_code(node: ast.expr, source: str) -> Function | list[Function] | None:
    """The functions that an argument names, with what they reach in a source; or None.

    Raises :class:`~sagebridge.formats.python.function_source.NotSelfContained`.
    """
    match node:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name), attr="fn"):
            return of_name(name, source)
        case ast.List(elts=items):
            found = [read_code(one, source) for one in items]
            return [one for one in found if isinstance(one, Function)]
    return None


def importable_names(builder: PipelineBuilder) -> dict[str, Any]:
    """The importable names; the step functions add steps to ``builder``."""

    def function(type_: str) -> Callable[..., StepHandle]:
        return lambda name, **arguments: builder.step(type_, name, **arguments)

    def step(type: str, name: str, **arguments: Any) -> StepHandle:
        return builder.step(type, name, **arguments)

    return {
        **{row.function: function(row.name) for row in OPERATOR_TYPES.values()},
        **{name: getattr(public_names, name) for name in public_names.__all__},
        "step": step,
        "python": builder.python,
        "aws_call": builder.aws_call,
        "shell": builder.shell,
        "stub": builder.stub,
        "begin": builder.begin,
        "finish": builder.finish,
        "stop_jobs": STOP_JOBS,
    }
