"""Functions that users wrote, as text; they are carried between Airflow and Prefect."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagebridge.model.values import Strict


@dataclass(frozen=True, slots=True, eq=False)
class Function(Strict):
    """A function of a user, or of a library.

    Attributes:
        name: its name.
        code: its source, normalized by ``ast.unparse``; empty for a function of a library.
        text: its original source with comments; empty if unknown.
        returns: the parameter type of its result; empty if unknown.
        module: the statements of its module that it needs, itself included, with their comments,
            in the order of the source; empty if it uses nothing else of its module.
        imported_from: the module that it is imported from, such as
            ``sagebridge_operators.functions.waits``; empty for a function that is carried as text.
    """

    name: str
    code: str
    text: str = field(default="", compare=False)
    returns: str = field(default="", compare=False)
    module: str = ""
    imported_from: str = ""


NOTHING = Function("nothing", "", imported_from="sagebridge_operators.functions.tasks")
"""The function of a step that only joins others."""


def is_empty(function: Function) -> bool:
    """Whether a function does nothing in a pipeline: it joins steps, or skips late runs."""
    return function.imported_from == NOTHING.imported_from
