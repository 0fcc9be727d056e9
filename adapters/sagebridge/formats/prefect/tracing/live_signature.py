"""The parameters of a live flow, by its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sagebridge.authoring.flow_signature import TYPES, Argument, read_descriptions
from sagebridge.model.display import shown
from sagebridge.model.values import ABSENT, Value


@dataclass(frozen=True, slots=True)
class Taken:
    """What a flow takes: ``argument`` is None where it stays at the ``value`` that it has.

    ``lost`` says what a parameter of a pipeline does not have of it.
    """

    name: str
    argument: Argument | None
    value: Any = None
    lost: str = ""


def taken(function: Callable[..., Any]) -> Iterator[Taken]:
    """The arguments of a flow that a caller may give by name."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    descriptions = read_descriptions(function.__doc__)
    for name, given in inspect.signature(function).parameters.items():
        if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
            continue
        yield _taken(name, given.default, hints.get(name), descriptions.get(name, ""))


def _taken(name: str, default: Any, hint: Any, description: str) -> Taken:
    absent = default is inspect.Parameter.empty
    lost = ""
    choices: tuple[Value, ...] = ()
    if get_origin(hint) in (Union, UnionType):
        kinds = [one for one in get_args(hint) if one is not NoneType]
        hint = kinds[0] if len(kinds) == 1 else object
        lost = f"the parameter {shown(name)} may not be null in a pipeline"
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        types = {type(choice) for choice in choices}
        hint = types.pop() if len(types) == 1 else object
    if hint is None:
        hint = str if absent else type(default)
    type_ = getattr(hint, "__name__", "")
    if type_ in TYPES and (absent or default is None or _fits(default, hint)):
        value = ABSENT if absent or default is None else default
        return Taken(name, Argument(name, type_, value, choices, description), lost=lost)
    if absent:
        argument = Argument(name, "str", ABSENT, (), description)
        lost = f"the parameter {shown(name)} is no text, number or boolean: it is asked as a text"
        return Taken(name, argument, lost=lost)
    lost = f"the parameter {shown(name)} is no text, number or boolean: it stays at its default"
    return Taken(name, None, default, lost)


def _fits(default: Any, hint: type) -> bool:
    return type(default) is hint or (hint is float and type(default) is int)
