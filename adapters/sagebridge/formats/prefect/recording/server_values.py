"""Values that only a Prefect server has: blocks and variables, in a flow or on import."""

from __future__ import annotations

from dataclasses import dataclass

from sagebridge.model.values import ABSENT, Value


@dataclass(frozen=True, slots=True)
class ServerValue:
    """A value that becomes a parameter as soon as a step uses it.

    Attributes:
        what: a noun phrase for messages.
        line: where the file reads it.
        name: the wanted name of the parameter.
        type: its type.
        default: the default of the parameter.
    """

    what: str
    line: int
    name: str
    type: str = "String"
    default: Value = ABSENT
