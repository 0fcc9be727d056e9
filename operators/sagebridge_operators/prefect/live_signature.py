"""The arguments of a live flow, as pipeline parameters are made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sagebridge.authoring.flow_signature import TYPES, Argument, read_descriptions
from sagebridge.model.values import ABSENT, freeze


def arguments_of(function: Callable[..., Any]) -> tuple[Argument, ...]:
    """Its arguments that a pipeline parameter can be: those of a scalar type."""
    return tuple(_arguments(function))


def _arguments(function: Callable[..., Any]) -> Iterator[Argument]:
    hints = get_type_hints(function)
    descriptions = read_descriptions(function.__doc__)
    for name, argument in inspect.signature(function).parameters.items():
        default = ABSENT if argument.default is argument.empty else freeze(argument.default)
        hint = hints.get(name, type(default) if default is not ABSENT else str)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        kinds = {type(choice) for choice in choices} or {hint}
        kind = kinds.pop() if len(kinds) == 1 else None
        if getattr(kind, "__name__", None) in TYPES:
            assert kind is not None
            yield Argument(name, kind.__name__, default, choices, descriptions.get(name, ""))
