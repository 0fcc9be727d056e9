"""What a pipeline is: parameters, steps in their written order, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from sagebridge.model.conditions import Condition, checked, operands
from sagebridge.model.expressions import Get, references
from sagebridge.model.parameters import Parameter
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value

VERSION = "2020-12-01"


@dataclass(frozen=True, slots=True, eq=False)
class RetryPolicy(Strict):
    """A member of ``RetryPolicies``; ``one_type`` where ExceptionType came as a single string."""

    exception_types: tuple[str, ...]
    interval_seconds: Value = ABSENT
    backoff_rate: Value = ABSENT
    max_attempts: Value = ABSENT
    expire_after_min: Value = ABSENT
    one_type: bool = False
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class CacheConfig(Strict):
    enabled: Value = ABSENT
    expire_after: Value = ABSENT
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class PropertyFile(Strict):
    """A JSON file, ``file_path`` below the step's output ``output_name``, that JsonGet may read."""

    name: str
    output_name: str
    file_path: str
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class OutputParameter(Strict):
    """A named value that a Lambda or Callback step returns."""

    name: str
    type: Value = ABSENT
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class Step(Strict):
    """One step. Members that the model has no word for are in ``extra``, as they came."""

    name: str
    type: str
    arguments: Value = ABSENT
    depends_on: tuple[str | Object, ...] | Absent = ABSENT
    retry_policies: tuple[RetryPolicy, ...] | Absent = ABSENT
    cache: CacheConfig | Absent = ABSENT
    property_files: tuple[PropertyFile, ...] | Absent = ABSENT
    output_parameters: tuple[OutputParameter, ...] | Absent = ABSENT
    display_name: str | Absent = ABSENT
    description: str | Absent = ABSENT
    extra: Object = EMPTY

    def __post_init__(self) -> None:
        for name, kinds in _ITEMS.items():
            for item in getattr(self, name) or ():
                if not isinstance(item, kinds):
                    raise self._unfit(name, kinds[-1].__name__, item)
        if not isinstance(self.cache, CacheConfig | Absent):
            raise self._unfit("cache_config", "CacheConfig", self.cache)

    def _unfit(self, member: str, kind: str, found: object) -> TypeError:
        text = repr(found)[:60]
        return TypeError(f"{member} of step {self.name!r}: a {kind} is expected, found {text}")

    def values(self) -> Iterator[Value]:
        """Every value of the step that may hold expressions."""
        yield self.arguments
        yield self.extra

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The steps that DependsOn names, in either of its forms: a name, or {Step, Trigger}."""
        items = self.depends_on or ()
        return tuple(item if isinstance(item, str) else str(item["Step"]) for item in items)

    def property_file(self, name: str) -> PropertyFile | None:
        files = () if self.property_files is ABSENT else self.property_files
        return next((file for file in files if file.name == name), None)


_ITEMS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "depends_on": (Object, str),
        "retry_policies": (RetryPolicy,),
        "property_files": (PropertyFile,),
        "output_parameters": (OutputParameter,),
    }
)
"""What the lists of a step hold."""
Steps: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ConditionStep(Step):
    """A branch. ``arguments`` holds what its Arguments have beside conditions and branches."""

    conditions: tuple[Condition, ...] | Absent = ABSENT
    if_steps: Steps | Absent = ABSENT
    else_steps: Steps | Absent = ABSENT

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        for condition in self.conditions or ():
            checked(condition)

    def values(self) -> Iterator[Value]:
        yield from Step.values(self)
        for condition in self.conditions or ():
            yield from operands(condition)

    @property
    def branches(self) -> Steps:
        return (*(self.if_steps or ()), *(self.else_steps or ()))


@dataclass(frozen=True, slots=True, eq=False)
class Parallelism(Strict):
    max_parallel_execution_steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline(Strict):
    """A pipeline definition and, as keyword fields at the end, what AWS keeps beside it.

    Attributes:
        request: the fields of a CreatePipeline request that have no attribute, unchanged.
        key_order: the order of keys in the definition it was read from, for the objects in which
            it is not the SDK's order. See :mod:`sagebridge.authoring.key_order`.
        origin: what it was read from, in words; empty for a pipeline made in Python.
    """

    steps: Steps
    parameters: tuple[Parameter, ...] | Absent = ABSENT
    version: Value = VERSION
    metadata: Value = ABSENT
    experiment_config: Value = ABSENT
    mlflow_config: Value = ABSENT
    extra: Object = EMPTY
    name: str | None = field(default=None, compare=False)
    display_name: str | Absent = field(default=ABSENT, compare=False)
    description: str | Absent = field(default=ABSENT, compare=False)
    role_arn: str | Absent = field(default=ABSENT, compare=False)
    tags: Value = field(default=ABSENT, compare=False)
    parallelism: Parallelism | Absent = field(default=ABSENT, compare=False)
    request: Object = field(default=EMPTY, compare=False)
    key_order: Object = field(default=EMPTY, compare=False)
    origin: str = field(default="", compare=False)

    @property
    def declared(self) -> tuple[Parameter, ...]:
        return () if self.parameters is ABSENT else self.parameters

    def step(self, name: str) -> Step | None:
        return next((step for step in walk(self) if step.name == name), None)


def walk(pipeline: Pipeline | Sequence[Step]) -> Iterator[Step]:
    """Every step in written order, a Condition before the steps of its branches."""
    for step in pipeline.steps if isinstance(pipeline, Pipeline) else pipeline:
        yield step
        if isinstance(step, ConditionStep):
            yield from walk(step.branches)


def step_references(step: Step) -> Iterator[Get]:
    """Every reference that a step makes; for a Condition those of its conditions, not branches."""
    for value in step.values():
        yield from references(value)
