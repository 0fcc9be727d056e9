"""The pipeline model: a pipeline, its parameters, and its steps in the order of the definition.

The classes can be built by hand. They accept lists, dicts, steps and parameters, and keep tuples,
read-only mappings and references. A value of the wrong type raises
:class:`~sagebridge.errors.ModelTypeError`, which lists every wrong field of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from sagebridge.model.conditions import Condition, checked, operands
from sagebridge.model.converters import (
    Converter,
    convert,
    each,
    object_,
    optional,
    string_,
)
from sagebridge.model.dependencies import COMPLETED, Dependency, dependency
from sagebridge.model.display import shown
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.expressions import (
    Get,
    HasProperties,
    Properties,
    json_value,
    properties_of,
    references,
)
from sagebridge.model.parameters import Parameter
from sagebridge.model.schedules import Schedule
from sagebridge.model.source_notes import NO_NOTES, SourceNotes
from sagebridge.model.step_settings import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value
from sagebridge.model.visit import rebuild

VERSION = "2020-12-01"

# dataclasses cannot convert fields (PEP 712 was rejected). The fields have the types that they are
# kept in; the __init__ below TYPE_CHECKING has the types that are accepted.


@dataclass(frozen=True, slots=True, eq=False)
class Step(Strict):
    """One step of any type.

    Args:
        name: unique in the pipeline.
        type: a step type of AWS, such as ``Training``. An unknown type is kept.
        arguments: the request of the job, by AWS's names. It can contain parameters, ``join(...)``,
            ``json_get(...)`` and properties of other steps.
        depends_on: steps or step names that must succeed first; ``failed(step)``,
            ``stopped(step)`` and ``ended(step)`` wait for another outcome.
        retry_policies, cache_config, property_files, output_parameters: as in a definition.
        display_name, description: shown in SageMaker Studio.
        extra: every other key of the step by AWS's name, such as ``FunctionArn`` of a Lambda step.
        engine: settings that only Airflow and Prefect have.

    ``inner_fields`` of a class are its fields with nested steps, and their keys in Arguments.
    """

    own_type: ClassVar[str] = ""
    value_fields: ClassVar[tuple[str, ...]] = ("arguments", "extra")
    inner_fields: ClassVar[Mapping[str, str]] = MappingProxyType({})

    name: str
    type: str
    arguments: Value = ABSENT
    depends_on: tuple[str | Dependency, ...] | Absent = ABSENT
    retry_policies: tuple[RetryPolicy, ...] | Absent = ABSENT
    cache_config: CacheConfig | Absent = ABSENT
    property_files: tuple[PropertyFile, ...] | Absent = ABSENT
    output_parameters: tuple[OutputParameter, ...] | Absent = ABSENT
    display_name: str | Absent = ABSENT
    description: str | Absent = ABSENT
    extra: Object = EMPTY
    engine: EngineSettings = NO_SETTINGS

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            type: str,
            arguments: Value = ABSENT,
            depends_on: Dependencies = ABSENT,
            retry_policies: Sequence[RetryPolicy] | Absent = ABSENT,
            cache_config: CacheConfig | Absent = ABSENT,
            property_files: Sequence[PropertyFile] | Absent = ABSENT,
            output_parameters: Sequence[OutputParameter] | Absent = ABSENT,
            display_name: str | Absent = ABSENT,
            description: str | Absent = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
            engine: EngineSettings = NO_SETTINGS,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"step {shown(self.name)}", STEP_FIELDS)

    def __format__(self, spec: str) -> str:
        raise TypeError(
            f"step {self.name!r} cannot be part of a string; use join(…) and its properties"
        )

    @property
    def properties(self) -> Properties:
        """References to what the step returns: ``step.properties.A.B["c"]``."""
        return properties_of(self.name)

    def values(self) -> Iterator[Value]:
        """Every value of the step that may contain expressions."""
        return (getattr(self, name) for name in self.value_fields)

    @property
    def inner(self) -> Steps:
        """The steps directly inside this one, such as those of both branches of a Condition."""
        return tuple(one for name in self.inner_fields for one in getattr(self, name) or ())

    def with_inner(self, change: Callable[[Steps], Steps]) -> Step:
        """The same step; ``change`` gets each of its lists of nested steps."""
        lists = {name: getattr(self, name) for name in self.inner_fields}
        changed: Any = {k: change(steps) for k, steps in lists.items() if steps is not ABSENT}
        return replace(self, **changed) if changed else self

    def replaced(self, change: Callable[[Value], Value]) -> Step:
        """The same step with its own values rebuilt, as :func:`~sagebridge.model.visit.rebuild`."""
        values = {name: rebuild(getattr(self, name), change) for name in self.value_fields}
        return replace(self, **values)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The names of the steps in ``depends_on``, with or without a trigger."""
        return tuple(name for name, _ in self.triggers)

    @property
    def triggers(self) -> tuple[tuple[str, Value], ...]:
        """The steps in ``depends_on``, each with the trigger that it needs."""
        return tuple(
            (item, COMPLETED)
            if isinstance(item, str)
            else (item.step, COMPLETED if item.trigger is ABSENT else item.trigger)
            for item in self.depends_on or ()
        )

    def property_file(self, name: str) -> PropertyFile | None:
        files = () if self.property_files is ABSENT else self.property_files
        return next((file for file in files if file.name == name), None)


ENGINE_FILES = frozenset(("an Airflow DAG", "a Prefect flow"))
"""The origins of pipelines that were read from a file of an engine."""
Steps: TypeAlias = tuple[Step, ...]
Dependencies: TypeAlias = Sequence[str | Dependency | Mapping[str, Value] | HasProperties] | Absent


@dataclass(frozen=True, slots=True, eq=False)
class ConditionStep(Step):
    """A branch: ``if_steps`` run if all ``conditions`` hold, otherwise ``else_steps``.

    ``arguments`` has the keys of its Arguments other than the conditions and branches.
    """

    own_type: ClassVar[str] = "Condition"
    value_fields: ClassVar[tuple[str, ...]] = ("arguments", "extra", "conditions")
    inner_fields: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"if_steps": "IfSteps", "else_steps": "ElseSteps"}
    )

    type: str = "Condition"
    arguments: Value = EMPTY
    conditions: tuple[Condition, ...] | Absent = ABSENT
    if_steps: Steps | Absent = ()
    else_steps: Steps | Absent = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            type: str = "Condition",
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
            conditions: Sequence[Condition] | Absent = ABSENT,
            if_steps: Sequence[Step] | Absent = (),
            else_steps: Sequence[Step] | Absent = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"step {shown(self.name)}", _CONDITION_STEP_FIELDS)

    @property
    def branches(self) -> Steps:
        return self.inner


@dataclass(frozen=True, slots=True, eq=False)
class Parallelism(Strict):
    """The limit on concurrent steps: ``Parallelism(4)``."""

    max_parallel_execution_steps: int

    def __post_init__(self) -> None:
        convert(self, "parallelism")


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline(Strict):
    """A pipeline: the definition, and the fields of a CreatePipeline request next to it.

    Args:
        name: the name of the pipeline; a bare definition has none.
        steps: in the order of the definition, which need not be the order of execution.
        parameters: what an execution can set.
        version, metadata, experiment_config, mlflow_config: as in a definition.
        extra: every other key of the definition, by AWS's name.
        display_name, description, role_arn, tags, parallelism: as in a CreatePipeline request.
        request: the fields of a CreatePipeline request that have no argument here, unchanged.
        connections: by step, the arguments with which it connects to AWS. See
            :mod:`sagebridge.model.connections`.
        key_order: the order of keys in the definition it was read from, for the objects in which
            it is not the SDK's order. See :mod:`sagebridge.authoring.key_order`.
        origin: a description of what the pipeline was read from; empty if it was built in Python.
        schedules, event_triggers: what starts its executions.
        engine: settings of the DAG or flow that only Airflow and Prefect have.
        notes: the docstring, order and comments of the file it was read from.
    """

    name: str | None = field(default=None, compare=False)
    steps: Steps = ()
    parameters: tuple[Parameter, ...] | Absent = ABSENT
    version: Value = VERSION
    metadata: Value = ABSENT
    experiment_config: Value = ABSENT
    mlflow_config: Value = ABSENT
    extra: Object = EMPTY
    display_name: str | Absent = field(default=ABSENT, compare=False)
    description: str | Absent = field(default=ABSENT, compare=False)
    role_arn: str | Absent = field(default=ABSENT, compare=False)
    tags: Value = field(default=ABSENT, compare=False)
    parallelism: Parallelism | Absent = field(default=ABSENT, compare=False)
    request: Object = field(default=EMPTY, compare=False)
    connections: Object = field(default=EMPTY, compare=False)
    key_order: Object = field(default=EMPTY, compare=False)
    origin: str = field(default="", compare=False)
    schedules: tuple[Schedule, ...] = field(default=(), compare=False)
    event_triggers: tuple[EventTrigger, ...] = field(default=(), compare=False)
    engine: EngineSettings = field(default=NO_SETTINGS, compare=False)
    notes: SourceNotes = field(default=NO_NOTES, compare=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str | None = None,
            steps: Sequence[Step] = (),
            parameters: Sequence[Parameter] | Absent = ABSENT,
            version: Value = VERSION,
            metadata: Value = ABSENT,
            experiment_config: Value = ABSENT,
            mlflow_config: Value = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
            display_name: str | Absent = ABSENT,
            description: str | Absent = ABSENT,
            role_arn: str | Absent = ABSENT,
            tags: Value = ABSENT,
            parallelism: Parallelism | Absent = ABSENT,
            request: Mapping[str, Value] = EMPTY,
            connections: Mapping[str, Mapping[str, Value]] = EMPTY,
            key_order: Mapping[str, Value] = EMPTY,
            origin: str = "",
            schedules: Sequence[Schedule] = (),
            event_triggers: Sequence[EventTrigger] = (),
            engine: EngineSettings = NO_SETTINGS,
            notes: SourceNotes = NO_NOTES,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"pipeline {shown(self.name)}" if self.name else "pipeline", _PIPELINE_FIELDS)

    @property
    def declared(self) -> tuple[Parameter, ...]:
        """The parameters; none if the definition has no ``Parameters``."""
        return () if self.parameters is ABSENT else self.parameters

    @property
    def starters(self) -> tuple[Starter, ...]:
        """The schedules and event triggers."""
        return (*self.schedules, *self.event_triggers)

    def step(self, name: str) -> Step | None:
        """The step of that name, at any depth."""
        return next((step for step in walk(self) if step.name == name), None)


def walk(pipeline: Pipeline | Sequence[Step]) -> Iterator[Step]:
    """Every step in the order of the definition, each before the steps inside it."""
    for step in pipeline.steps if isinstance(pipeline, Pipeline) else pipeline:
        yield step
        if step.inner_fields:
            yield from walk(step.inner)


def step_references(step: Step) -> Iterator[Get]:
    """Every reference in a step itself, such as those in conditions, not in the steps inside it."""
    for value in step.values():
        yield from references(value)


def _step(given: Any) -> Step:
    if not isinstance(given, Step):
        raise TypeError(f"expected a step, got {shown(given)}")
    if given.type in ("Condition", "ForEach") and given.own_type != given.type:
        raise TypeError(f"build the {given.type} step {given.name!r} with {given.type}Step")
    return given


def _condition(given: Any) -> Condition:
    condition = checked(given)
    for value in operands(condition):
        json_value(value)
    return condition


def type_is(type_: str) -> Converter:
    """Accept only this type of step."""

    def check(given: Any) -> str:
        if given != type_:
            raise TypeError(f"a {type_}Step has the type {type_!r}, got {shown(given)}")
        return type_

    return check


def _key_order(given: Any) -> Object:
    orders = object_(given)
    for name, keys in orders.items():
        if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
            raise TypeError(f"expected a list of keys at {shown(name)}, got {shown(keys)}")
    return orders


def _connections(given: Any) -> Object:
    connections = object_(given)
    for name, arguments in connections.items():
        if not isinstance(arguments, Object):
            raise TypeError(f"expected a dict at {shown(name)}, got {shown(arguments)}")
    return connections


STEP_FIELDS: Mapping[str, Converter] = MappingProxyType({"depends_on": optional(each(dependency))})
_steps = each(_step)
inner_steps = optional(_steps)
_CONDITION_STEP_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {
        **STEP_FIELDS,
        "type": type_is("Condition"),
        "conditions": optional(each(_condition)),
        "if_steps": inner_steps,
        "else_steps": inner_steps,
    }
)
_PIPELINE_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {
        "name": lambda given: given if given is None else string_(given),
        "steps": _steps,
        "connections": _connections,
        "key_order": _key_order,
    }
)
