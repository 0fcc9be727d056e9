"""Expressions of a pipeline definition: references, joins and reads of JSON files.

They follow "Pipeline parameters, properties and functions" of the SageMaker Pipelines guide.
A reference is tokenized once (:func:`parse_path`) and never split on dots, since a key may hold
dots, colons and brackets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sagebridge.model.values import ABSENT, Absent, Object, Strict, Value
from sagebridge.model.visit import nodes, rebuild

ROOTS = ("Parameters", "Execution", "Steps", "PipelineExperimentConfig")


@dataclass(frozen=True, slots=True, eq=False)
class Member(Strict):
    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Key(Strict):
    name: str

    def __str__(self) -> str:
        return f"['{self.name}']" if "'" not in self.name else f'["{self.name}"]'


@dataclass(frozen=True, slots=True, eq=False)
class Index(Strict):
    position: int

    def __str__(self) -> str:
        return f"[{self.position}]"


Token: TypeAlias = Member | Key | Index


class RunTime(Strict):
    """What is known only when a pipeline runs: Python cannot make a text of it, test or compare it.

    A file that did so would go on with the answer of the day it is read.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | int | float):
            raise TypeError(f"{_KNOWN_LATE}; compare it in a condition step, with equals(…)")
        return Strict.__eq__(self, other)

    __hash__ = Strict.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"{_KNOWN_LATE}; branch on it with a condition step")

    def __format__(self, spec: str) -> str:
        raise TypeError(f'{_KNOWN_LATE}; use join("", …) to build a text')


@contextmanager
def no_texts() -> Iterator[None]:
    """Refuses ``str`` and ``%`` too, while a file is read: only Airflow's serializer needs them."""
    with_texts = RunTime.__str__
    RunTime.__str__ = lambda self: self.__format__("")  # type: ignore[method-assign]
    try:
        yield
    finally:
        RunTime.__str__ = with_texts  # type: ignore[method-assign]


_KNOWN_LATE = "what a parameter, an execution or a step has is known only at run time"

_TOKEN = re.compile(
    r"""\.(?P<member>[^.\[\]'"\s]+) | \['(?P<single>[^']*)'\] | \["(?P<double>[^"]*)"\]
      | \[(?P<index>[0-9]{1,18})\]""",
    re.VERBOSE,
)
_ROOT = re.compile(r"[A-Za-z]+")


def parse_path(text: str) -> tuple[str, tuple[Token, ...]] | None:
    """``Steps.A.Outputs['x']`` to its root and tokens; None where it is no path."""
    root = _ROOT.match(text)
    if root is None:
        return None
    tokens = parse_tokens(text[root.end() :])
    return None if tokens is None else (root.group(), tokens)


def parse_tokens(text: str) -> tuple[Token, ...] | None:
    """``.a['b'][0]`` to tokens; None where the text is no such chain."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        if match["member"] is not None:
            tokens.append(Member(match["member"]))
        elif match["index"] is not None:
            tokens.append(Index(int(match["index"])))
        else:
            tokens.append(Key(match["single"] if match["single"] is not None else match["double"]))
        at = match.end()
    return tuple(tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Get(RunTime):
    """``{"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}``.

    ``spelling`` is the text as it came where it differs from the canonical one; it is written back
    and takes part in equality, since another text is another definition.
    """

    root: str
    tokens: tuple[Token, ...]
    spelling: str | None = None

    @classmethod
    def parse(cls, text: str) -> Get | None:
        parsed = parse_path(text)
        if parsed is None or parsed[0] not in ROOTS or not parsed[1]:
            return None
        plain = cls(*parsed)
        return plain if plain.text == text else cls(*parsed, spelling=text)

    @property
    def text(self) -> str:
        if self.spelling is not None:
            return self.spelling
        return self.root + "".join(str(token) for token in self.tokens)

    @property
    def name(self) -> str:
        """The parameter, variable or step that is named."""
        first = self.tokens[0]
        return str(first.position) if isinstance(first, Index) else first.name

    @property
    def step(self) -> str | None:
        return self.name if self.root == "Steps" else None

    @property
    def property_file(self) -> str | None:
        """``F`` of ``Steps.S.PropertyFiles.F``, else None."""
        match self.tokens:
            case (_, Member("PropertyFiles"), Member(name) | Key(name)) if self.root == "Steps":
                return name
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Join(RunTime):
    """``{"Std:Join": {"On": …, "Values": […]}}``; ``bare``: without the outer object."""

    _parts = ("values",)

    values: tuple[Value, ...]
    on: str | Absent = ABSENT
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JsonGet(RunTime):
    """``{"Std:JsonGet": …}``: a value at ``path`` in a property file, or in the object at a URI."""

    _parts = ("path", "property_file", "s3_uri")

    path: Value
    property_file: Get | Absent = ABSENT
    s3_uri: Value = ABSENT


Expression: TypeAlias = Get | Join | JsonGet


def is_expression(value: Value) -> bool:
    return isinstance(value, Get | Join | JsonGet)


def unknown_function(value: Value) -> str | None:
    """The function of an object that would be an expression if its function were known."""
    if not isinstance(value, str) and isinstance(value, Mapping) and len(value) == 1:
        name: str = next(iter(value))
        if name == "Get" or name.startswith("Std:"):
            return name
    return None


def references(value: Value) -> Iterator[Get]:
    """Every Get inside a value, at any depth, expressions' own parts included."""
    if type(value) is not Object:
        return (node for node in nodes(value) if isinstance(node, Get))
    if value._references is None:  # an Object never changes, and writers ask for these often
        value._references = tuple(node for node in nodes(value) if isinstance(node, Get))
    return iter(value._references)


def parameter(name: str) -> Get:
    """A reference to a pipeline parameter."""
    return Get("Parameters", (Member(name),))


def get(text: str) -> Get:
    """Any reference, by its text: ``get("Steps.Train.ModelArtifacts.S3ModelArtifacts")``."""
    found = Get.parse(text)
    if found is None:
        raise ValueError(f"{text!r} is no reference (it starts with {', '.join(ROOTS)})")
    return found


def join(on: str | None, *values: Value, bare: bool = False) -> Join:
    """Values put together as one text, ``on`` between them."""
    return Join(tuple(plain(value) for value in values), ABSENT if on is None else on, bare)


def json_get(step: str | HasProperties, property_file: str, path: Value) -> JsonGet:
    """The value at ``path`` in a property file that ``step``, or the step of that name, writes."""
    first = Member(step) if isinstance(step, str) else step.properties._tokens[0]
    return JsonGet(
        plain(path), Get("Steps", (first, Member("PropertyFiles"), Member(property_file)))
    )


class HasProperties(Protocol):
    """A step of an Airflow or Prefect file."""

    @property
    def properties(self) -> Properties: ...


def json_get_s3(s3_uri: Value, path: Value) -> JsonGet:
    """The value at ``path`` in the JSON object at ``s3_uri``."""
    return JsonGet(plain(path), s3_uri=plain(s3_uri))


class _Execution:
    """The execution variables, in the spelling of the SageMaker SDK's ExecutionVariables."""

    start_datetime = Get("Execution", (Member("StartDateTime"),))
    current_datetime = Get("Execution", (Member("CurrentDateTime"),))
    pipeline_name = Get("Execution", (Member("PipelineName"),))
    pipeline_arn = Get("Execution", (Member("PipelineArn"),))
    pipeline_execution_id = Get("Execution", (Member("PipelineExecutionId"),))
    pipeline_execution_arn = Get("Execution", (Member("PipelineExecutionArn"),))
    training_job_name = Get("Execution", (Member("TrainingJobName"),))
    processing_job_name = Get("Execution", (Member("ProcessingJobName"),))


execution = _Execution()

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "Execution": tuple(get.name for get in vars(_Execution).values() if isinstance(get, Get)),
    "PipelineExperimentConfig": ("ExperimentName", "TrialName"),
}
"""What there is below the roots that are neither parameters nor steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Properties(RunTime):
    """``step.properties``: attributes and items build a reference, ``str`` of it is refused."""

    _tokens: tuple[Token, ...] = field(default=())

    def __getattr__(self, name: str) -> Properties:
        if name.startswith("__"):
            raise AttributeError(name)
        return Properties((*self._tokens, Member(name)))

    def __getitem__(self, item: str | int) -> Properties:
        match item:
            case str():
                return Properties((*self._tokens, Key(item)))
            case int() if item >= 0:
                return Properties((*self._tokens, Index(item)))
        raise TypeError(f"a property is picked by its name or its position from 0, not by {item!r}")

    def __iter__(self) -> Iterator[Properties]:
        raise TypeError("a property is known only at run time; it cannot be looped over")

    def __str__(self) -> str:
        return format(self)

    @property
    def _get(self) -> Get:
        return Get("Steps", self._tokens)


def properties_of(step: str) -> Properties:
    """What ``step.properties`` gives for the step of that name."""
    return Properties((Member(step),))


def stated(value: Value) -> Value:
    """As :func:`plain`, of what a file of Python says. Raises TypeError where it is no JSON."""
    found = plain(value)
    # Backwards: of several values that are no JSON, the last one is reported.
    for node in reversed(list(nodes(found))):
        if isinstance(node, float) and not math.isfinite(node):
            raise TypeError(f"{node} is no number of JSON")
        if node is not None and not isinstance(node, _JSON):
            raise TypeError(_no_value(node))
    return found


_JSON = (tuple, Mapping, Join, JsonGet, str, int, float, Get, Absent)


def _no_value(found: object) -> str:
    kind = type(found).__name__
    if kind.endswith("XComArg"):
        return (
            f"a {kind} is no value of a pipeline: what a step of ours makes is step.properties…; "
            "what a @task returns is .properties.return_value of a PythonStepOperator with its "
            "function"
        )
    return (
        f"a {kind} is no value of a pipeline; it takes texts, numbers, lists and dicts, and says "
        "what another step makes by step.properties…"
    )


def plain(value: Value) -> Value:
    """A value with every :class:`Properties` in it turned into its reference, frozen."""
    return rebuild(value, _plain)


def _plain(value: Value) -> Value:
    if isinstance(value, Properties):
        return value._get
    if isinstance(value, Mapping) and not all(isinstance(name, str) for name in value):
        odd = next(name for name in value if not isinstance(name, str))
        raise TypeError(f"a member is called by a text, not by {odd!r}")
    return value
