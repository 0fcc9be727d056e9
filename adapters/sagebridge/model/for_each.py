"""ForEach steps: a body of steps that runs once for each item of a list.

Body steps refer to the item with ``ForEach.CurrentItem`` (``current_item`` in Python), and the
selector to an output of a body step with ``IterationOutput.STEP…`` (``iteration_output``). Other
steps read ``Steps.NAME.IterationOutputs[i].STEP…`` and ``Steps.NAME.Selected…``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from sagebridge.model.converters import Converter, convert
from sagebridge.model.display import shown, words
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.expressions import Get, Index, Key, Member
from sagebridge.model.pipeline import (
    STEP_FIELDS,
    Dependencies,
    Pipeline,
    Step,
    Steps,
    inner_steps,
    type_is,
    walk,
)
from sagebridge.model.step_settings import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value

MOST_CONCURRENT = 50
"""The largest ``MaxConcurrency``."""
MAX_BY, MIN_BY = "MaxBy", "MinBy"
ITEM, OUTPUT = "ForEach", "IterationOutput"
"""The roots of references to the item of an iteration, and to the outputs of an iteration."""


@dataclass(frozen=True, slots=True, eq=False)
class Selector(Strict):
    """The choice of one iteration: the one with the largest (``MaxBy``) or smallest ``field``."""

    _parts = ("pick", "field", "extra")

    pick: Value = ABSENT
    field: Value = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, pick: Value = ABSENT, field: Value = ABSENT, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "selector")


def max_by(field: Value) -> Selector:
    """Select the iteration with the largest value: ``max_by(iteration_output.Score.Auc)``."""
    return Selector(MAX_BY, field)


def min_by(field: Value) -> Selector:
    """Select the iteration with the smallest value: ``min_by(iteration_output.Score.Loss)``."""
    return Selector(MIN_BY, field)


@dataclass(frozen=True, slots=True, eq=False)
class ForEachStep(Step):
    """A loop: ``body`` runs once for each of the ``items``.

    Args:
        items: ``IterableItems``: a list of scalars and references, or a reference to a string that
            contains a JSON list.
        max_concurrency: how many iterations run at the same time: 1 to 50.
        selector: chooses the iteration whose outputs are ``Steps.NAME.Selected``.
        body: the steps of one iteration.

    ``arguments`` has the other keys of its Arguments.
    """

    own_type: ClassVar[str] = "ForEach"
    value_fields: ClassVar[tuple[str, ...]] = words(
        "arguments extra items max_concurrency selector"
    )
    inner_fields: ClassVar[Mapping[str, str]] = MappingProxyType({"body": "ForEachBody"})

    type: str = "ForEach"
    arguments: Value = EMPTY
    items: Value = ABSENT
    max_concurrency: Value = ABSENT
    selector: Selector | Absent = ABSENT
    body: Steps | Absent = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            type: str = "ForEach",
            arguments: Value = EMPTY,
            depends_on: Dependencies = ABSENT,
            retry_policies: Sequence[RetryPolicy] | Absent = ABSENT,
            cache_config: CacheConfig | Absent = ABSENT,
            property_files: Sequence[PropertyFile] | Absent = ABSENT,
            output_parameters: Sequence[OutputParameter] | Absent = ABSENT,
            display_name: str | Absent = ABSENT,
            description: str | Absent = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
            engine: EngineSettings = NO_SETTINGS,
            items: Value = ABSENT,
            max_concurrency: Value = ABSENT,
            selector: Selector | Absent = ABSENT,
            body: Sequence[Step] | Absent = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"step {shown(self.name)}", _FOR_EACH_FIELDS)
        if self.engine.soft_fail:  # the name of skip_if_empty in older files
            engine = replace(self.engine, soft_fail=False, skip_if_empty=True)
            object.__setattr__(self, "engine", engine)


def body_owners(pipeline: Pipeline | Sequence[Step]) -> dict[str, str]:
    """By the name of each step in a body: the name of the outermost ForEach around it."""
    found: dict[str, str] = {}
    for step in walk(pipeline):
        if isinstance(step, ForEachStep):
            for inner in walk(step.inner):
                found.setdefault(inner.name, step.name)
    return found


def iteration_name(step: str, index: int) -> str:
    """The name of a body step in one iteration, as the service and every engine show it."""
    return f"{step}-{index}"


def inner_reference(step: Step | None, reference: Get) -> tuple[Step, Get, int | None] | None:
    """The body step and its property that a reference to a ForEach passes to, and the index.

    The index is None for the selected iteration. None if ``step`` is not a ForEach, or the
    reference is to one of its counts, say.
    """
    if not isinstance(step, ForEachStep):
        return None
    field = None if step.selector is ABSENT else step.selector.field
    match reference.tokens[1:]:
        case (Member("IterationOutputs"), Index(index), Member(name) | Key(name), *rest):
            found: int | None = index
        case (Member("Selected"), *rest) if isinstance(field, Get):
            found, name = None, field.name
        case _:
            return None
    inner = next((one for one in step.inner if one.name == name), None)
    return None if inner is None else (inner, Get("Steps", (Member(name), *rest)), found)


def most_iterations(step: ForEachStep) -> int:
    """How many iterations may run at the same time, as far as the definition shows."""
    limit = step.max_concurrency
    return limit if isinstance(limit, int) and limit > 0 else MOST_CONCURRENT


_FOR_EACH_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {**STEP_FIELDS, "type": type_is("ForEach"), "body": inner_steps}
)
