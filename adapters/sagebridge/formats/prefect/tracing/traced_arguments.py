"""The arguments of a traced flow as pipeline parameters, and the losses of this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sagebridge.authoring.flow_signature import FlowArgument, LiveArgument, read_signature
from sagebridge.model.display import shown
from sagebridge.model.values import ABSENT


@dataclass(frozen=True, slots=True)
class TracedArgument:
    """``argument`` is None if the flow is traced with the default ``value`` only.

    ``lost`` describes what a pipeline parameter does not keep.
    """

    name: str
    argument: FlowArgument | None
    value: Any = None
    lost: str = ""


def traced_arguments(function: Callable[..., Any]) -> Iterator[TracedArgument]:
    for one in read_signature(function):
        what = f"parameter {shown(one.name)}"
        if one.scalar and _fits(one):
            lost = f"{what} cannot be null in a pipeline" if one.nullable else ""
            yield TracedArgument(one.name, one.argument, lost=lost)
        else:
            argument = one.argument if one.default is ABSENT else None
            result = "it keeps its default" if argument is None else "it becomes a string"
            lost = f"{what} is not a string, number or boolean: {result}"
            yield TracedArgument(one.name, argument, one.default, lost)


def _fits(live: LiveArgument) -> bool:
    """Whether the default, if any, is null or has the declared type."""
    type_, default = live.argument.type, live.default
    if default is ABSENT or default is None:
        return True
    return type(default).__name__ == type_ or (type_ == "float" and type(default) is int)
