"""What a function gets from parameters that may be null, the same on both engines."""

from __future__ import annotations

from typing import Any

from sagebridge.model.expressions import join, parameter, template
from sagebridge.model.parameters import Parameter

ARGUMENTS = (
    parameter("day"),
    parameter("n"),
    join("", parameter("day"), "/", parameter("n")),
    template("{{ params.day }} {{ params.n or 5 }}"),
)
CASES: tuple[tuple[dict[str, Any], list[Any]], ...] = (
    ({}, [None, None, "None/None", "None 5", {"day": None, "n": None}]),
    ({"day": "", "n": 0}, ["", 0, "/0", " 5", {"day": "", "n": 0}]),
    ({"day": "mon", "n": None}, ["mon", None, "mon/None", "mon 5", {"day": "mon", "n": None}]),
)

DECLARED = (
    Parameter("day", default=None, description="a day", nullable=True),
    Parameter("n", "Integer", None, limits={"minimum": 1}, nullable=True),
    Parameter("mode", default="a", enum_values=("a", "b"), nullable=True),
    Parameter("share", "Float", None, enum_values=(0.5,), nullable=True),
    Parameter("must", nullable=True),
    Parameter("text", default="", nullable=True),
    Parameter("empty", default=""),
    Parameter("on", "Boolean", None, nullable=True),
    Parameter("stores", "Array", None, nullable=True),
    Parameter("plain", default=None, nullable=True),
)


def seen(day: Any, n: Any, text: str, rendered: str, params: Any) -> list[Any]:
    """Its arguments, and ``params`` of the context."""
    return [day, n, text, rendered, dict(params)]
