"""The properties of a step in a running flow: references at first, values once the step has ended.

A reference that a flow passes to its own ``@task`` becomes its value, too. Prefect replaces futures
in the arguments of a task, also inside dataclasses (visit_collection in
prefect/utilities/collections.py), so a reference contains a future of its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.futures import PrefectFuture
from prefect.states import Completed, State

from sagebridge.authoring.pipeline_builder import ConditionHandle, ForEachHandle, StepHandle
from sagebridge.model.expressions import (
    Get,
    Index,
    Join,
    JsonGet,
    Key,
    Properties,
    Token,
    properties_of,
)
from sagebridge.model.values import Strict, Value
from sagebridge.model.visit import nodes, rebuild
from sagebridge_operators.lifecycle.masking import mask
from sagebridge_operators.lifecycle.outputs import look_up, path_text
from sagebridge_operators.run_errors import Unresolvable

if TYPE_CHECKING:
    from sagebridge_operators.prefect.flow_run import FlowRun


def with_results(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a step with the results of task runs in place of their futures."""

    def result(node: Any) -> Any:
        return node.result() if _is_future(node) else node

    return {
        name: rebuild(value, result) if any(map(_is_future, nodes(value))) else value
        for name, value in given.items()
    }


def _is_future(value: object) -> bool:
    """Whether a value is the future of a task run. References and steps are registered as such."""
    return isinstance(value, PrefectFuture) and not isinstance(value, Strict | StepHandle)


class PropertyFuture(PrefectFuture[Any]):  # type: ignore[misc]
    """The future of a property, with the interface that Prefect uses for the arguments of a task.

    Each method raises UsageError if the step has not ended.
    """

    def __init__(self, flow: FlowRun, tokens: tuple[Token, ...]) -> None:
        # Not super().__init__(), which is deprecated.
        self.flow, self.tokens = flow, tokens

    @property
    def reference(self) -> Get:
        return Get("Steps", self.tokens)

    @property
    def task_run_id(self) -> UUID:
        found: UUID = self.flow.ended_future(self.reference).task_run_id
        return found

    @property
    def state(self) -> State[Any]:
        """The state of a step that failed, otherwise Completed with the value."""
        state: State[Any] = self.flow.ended_future(self.reference).state
        return Completed(data=self.result()) if state.is_completed() else state

    @property
    def _final_state(self) -> State[Any]:  # prefect.futures.wait reads it
        return self.state

    def wait(self, timeout: float | None = None) -> None:
        self.flow.ended_future(self.reference).wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The value. Raises Unresolvable if it does not exist or the step failed."""
        return value_at(self.flow.properties_found(self.reference), self.tokens)

    def add_done_callback(self, fn: Callable[[PrefectFuture[Any]], None]) -> None:
        self.wait()
        fn(self)


@dataclass(frozen=True, slots=True, eq=False)
class StepReference(Properties):
    """A property of a step that has not ended. A task that gets it as an argument gets its value.

    Prefect rebuilds this dataclass with the result in place of the future; ``__new__`` then returns
    that result.
    """

    _future: Any = field(default=None, compare=False)

    def __new__(cls, _tokens: tuple[Token, ...] = (), _future: Any = None) -> Any:
        return object.__new__(cls) if isinstance(_future, PropertyFuture) else _future

    def _below(self, token: Token) -> StepReference:
        return step_reference(self._future.flow, (*self._tokens, token))


def step_reference(flow: FlowRun, tokens: tuple[Token, ...]) -> StepReference:
    """The reference to a property; the first token is the name of the step."""
    return StepReference(tokens, PropertyFuture(flow, tokens))


class PropertyValues(dict[str, Any]):
    """Properties of an ended step: a dict that attributes can read, too.

    As a dict it contains plain JSON, with the values of ``Environment`` objects masked.

    Args:
        root: all properties of the step, as JSON.
        tokens: the path of this object, from the name of the step.
    """

    def __init__(self, root: Mapping[str, Any], tokens: tuple[Token, ...]) -> None:
        name = str(getattr(tokens[-1], "name", "")) if len(tokens) > 1 else ""
        super().__init__(mask({name: look_up(root, tokens[1:])})[name])
        self._root, self._tokens = root, tokens

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except Unresolvable as missing:  # hasattr() and copying expect an AttributeError
            raise AttributeError(str(missing)) from None

    def __getitem__(self, name: str) -> Any:
        return value_at(self._root, (*self._tokens, Key(name)))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class PropertyList(list[Any]):
    """A list in the properties of an ended step; its items have names, as in a definition.

    The arguments are those of :class:`PropertyValues`.
    """

    def __init__(self, root: Mapping[str, Any], tokens: tuple[Token, ...]) -> None:
        super().__init__(mask(look_up(root, tokens[1:])))
        self._root, self._tokens = root, tokens

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return super().__getitem__(item)
        token = Key(item) if isinstance(item, str) else Index(range(len(self))[item])
        return value_at(self._root, (*self._tokens, token))

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


def value_at(root: Mapping[str, Any], tokens: tuple[Token, ...]) -> Any:
    """The property at a path. Raises Unresolvable if it is missing."""
    try:
        value = look_up(root, tokens[1:])
    except LookupError as missing:
        there: Sequence[Any] = missing.args[1] if len(missing.args) > 1 else ()
        problem, names = str(missing.args[0]), [str(one) for one in there]
        raise Unresolvable(Get("Steps", tokens).text, problem, names) from None
    if isinstance(value, Mapping):
        return PropertyValues(root, tokens)
    return PropertyList(root, tokens) if isinstance(value, list) else value


def missing_value(reference: Get, why: str) -> str:
    """The message about a property, or a whole step, that has no value in the flow."""
    path = path_text(reference)
    return (
        f"{path} of step {reference.name!r}: {why}" if path else f"step {reference.name!r}: {why}"
    )


class _StepFuture:
    """The attributes of a PrefectFuture, for a step that a flow passes to its own task.

    The task waits for the step and gets its outputs. Raises UsageError if it has not ended.
    """

    name: str
    builder: Any

    @property
    def _future(self) -> Any:
        return self.builder.ended_future(properties_of(self.name)._get)

    @property
    def task_run_id(self) -> UUID:
        found: UUID = self._future.task_run_id
        return found

    @property
    def state(self) -> State[Any]:
        state: State[Any] = self._future.state
        return state

    def wait(self, timeout: float | None = None) -> None:
        self._future.wait(timeout)


class FlowStep(_StepFuture, StepHandle):
    """A step of a running flow."""


class FlowCondition(_StepFuture, ConditionHandle):
    """A condition of a running flow."""


class FlowForEach(_StepFuture, ForEachHandle):
    """A loop of a running flow."""


def resolve_expressions(value_of: Callable[[Value], Any]) -> None:
    """Makes Prefect replace expressions in the arguments of a task by their values.

    They become futures to Prefect by registration, since sagebridge's model does not import it.
    """
    for kind in (Get, Join, JsonGet):
        kind.state = property(lambda self: Completed(data=value_of(self)))  # type: ignore[union-attr]
        kind.wait = lambda self, timeout=None: None  # type: ignore[union-attr]
        PrefectFuture.register(kind)


for _handle in (FlowStep, FlowCondition, FlowForEach):
    PrefectFuture.register(_handle)
