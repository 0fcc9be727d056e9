"""What the file of a pipeline has for its readers; it does not change what the pipeline does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagebridge.model.converters import convert
from sagebridge.model.values import EMPTY, Object, Strict


@dataclass(frozen=True, slots=True, eq=False)
class SourceNotes(Strict):
    """Notes of a DAG or flow file.

    Attributes:
        docstring: the docstring of the file.
        names: the names that its statements bind, in order.
        comments: the comments on each step, by its name, as lines; those on the DAG or flow are
            below ``""``.
    """

    docstring: str = ""
    names: tuple[str, ...] = ()
    comments: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self,
            docstring: str = "",
            names: Sequence[str] = (),
            comments: Mapping[str, Sequence[str]] = EMPTY,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "source notes")


NO_NOTES = SourceNotes()
