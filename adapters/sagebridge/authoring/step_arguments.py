"""The arguments of every step in Python: of operators, flow functions and written files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar

from sagebridge.authoring.declared_names import unknown_arguments
from sagebridge.model.engine_settings import NO_SETTINGS
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class StepArgument:
    """An argument that is a field of :class:`Step`; ``kind`` is how writers write it."""

    name: str
    kind: Literal["name", "text", "value", "steps", "record", "records"]
    annotation: str
    default: Any = ABSENT

    @property
    def parameter(self) -> Parameter:
        """The argument in a signature; all except the name are keyword-only."""
        return Parameter(
            self.name,
            Parameter.POSITIONAL_OR_KEYWORD if self.kind == "name" else Parameter.KEYWORD_ONLY,
            default=self.default,
            annotation=self.annotation,
        )


STEP_ARGUMENTS = (
    StepArgument("name", "name", "str", Parameter.empty),
    StepArgument("arguments", "value", "Value"),
    StepArgument("depends_on", "steps", "Sequence[str | Step | Dependency] | Absent"),
    StepArgument("retry_policies", "records", "Sequence[RetryPolicy] | Absent"),
    StepArgument("cache_config", "record", "CacheConfig | Absent"),
    StepArgument("property_files", "records", "Sequence[PropertyFile] | Absent"),
    StepArgument("output_parameters", "records", "Sequence[OutputParameter] | Absent"),
    StepArgument("display_name", "text", "str | Absent"),
    StepArgument("description", "text", "str | Absent"),
    StepArgument("extra", "value", "Mapping[str, Value]", EMPTY),
)
"""In the order in which files are written."""
RETRIES, RETRY_DELAY = "retries", "retry_delay_seconds"
_STEP_FIELDS = frozenset(one.name for one in fields(Step))
SETTINGS = ("backend", "aws_credentials", "region_name", "role_arn", RETRIES, RETRY_DELAY)
"""Arguments of a step function that control where it runs, and how often after a failure."""
_OWN_CLASSES: Mapping[str, type[Step]] = {one.own_type: one for one in (ConditionStep, ForEachStep)}
_TYPE_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **{
        name: tuple(one.name for one in fields(class_) if one.name not in _STEP_FIELDS)
        for name, class_ in _OWN_CLASSES.items()
    },
    "Fail": ("error_message",),
}


def read_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`Step` after its name, removed from ``given``."""
    return {one.name: given.pop(one.name, one.default) for one in STEP_ARGUMENTS[1:]}


def write_arguments(step: Step) -> dict[str, Any]:
    """The arguments that create an equal step."""
    return {one.name: getattr(step, one.name) for one in STEP_ARGUMENTS}


def own_arguments(names: Iterable[str]) -> tuple[StepArgument, ...]:
    """The arguments for the keys of one step type."""
    return tuple(StepArgument(name, "value", "Value") for name in names)


def show_arguments(*arguments: StepArgument) -> Callable[[_Function], _Function]:
    """Add ``arguments`` to the signature of a function that accepts them as ``**kwargs``."""
    # Airflow applies default_args to the parameters that it finds in the signature of __init__
    # (BaseOperatorMeta._apply_defaults in airflow/sdk/bases/operator.py); partial() checks it too.

    def decorate(function: _Function) -> _Function:
        shown = signature(function)
        own = list(shown.parameters.values())
        added = [one.parameter for one in arguments if one.name not in shown.parameters]
        ordered = sorted([*own, *added], key=lambda parameter: parameter.kind)
        vars(function)["__signature__"] = shown.replace(parameters=ordered)
        return function

    return decorate


def make_step(type_: str, name: str, **given: Any) -> Step:
    """A step from the arguments of its function. Raises TypeError for unknown arguments.

    ``engine`` has the EngineSettings of the step.
    """
    members = OPERATOR_TYPES[type_].members if type_ in OPERATOR_TYPES else {}
    engine = given.pop("engine", NO_SETTINGS)
    known = (*(one.name for one in STEP_ARGUMENTS[1:]), *members, *_TYPE_ARGUMENTS.get(type_, ()))
    if problem := unknown_arguments(f"{type_} step {name!r}", given, known, SETTINGS):
        raise TypeError(problem)
    class_ = _OWN_CLASSES.get(type_, Step)
    if class_ is not Step:
        given.setdefault("arguments", EMPTY)
    if type_ == "Fail" and (message := given.pop("error_message", ABSENT)) is not ABSENT:
        given["arguments"] = {"ErrorMessage": message}
    more = {members[one]: given.pop(one) for one in list(given) if one in members}
    given["extra"] = {**given.get("extra", EMPTY), **more}
    common = read_arguments(given)
    own = {one: given.pop(one) for one in _TYPE_ARGUMENTS.get(type_, ()) if one in given}
    return class_(name, type_, **common, **own, engine=engine)
