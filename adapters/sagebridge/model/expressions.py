"""Expressions of a pipeline definition: references, joins and reads of JSON files.

They follow "Pipeline parameters, properties and functions" of the SageMaker Pipelines guide.
A reference is tokenized once (:func:`parse_path`) and never split on dots, since a key may hold
dots, colons and brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sagebridge.model.values import ABSENT, Absent, Object, Strict, Value

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
class Get(Strict):
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
class Join(Strict):
    """``{"Std:Join": {"On": …, "Values": […]}}``; ``bare``: without the outer object."""

    values: tuple[Value, ...]
    on: str | Absent = ABSENT
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JsonGet(Strict):
    """``{"Std:JsonGet": …}``: a value at ``path`` in a property file, or in the object at a URI."""

    path: Value
    property_file: Get | Absent = ABSENT
    s3_uri: Value = ABSENT


Expression: TypeAlias = Get | Join | JsonGet


def is_expression(value: Value) -> bool:
    return isinstance(value, Get | Join | JsonGet)


def references(value: Value) -> Iterator[Get]:
    """Every Get inside a value, at any depth, expressions' own parts included."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            continue
        if isinstance(item, Get):
            yield item
        elif isinstance(item, Join):
            stack.extend(reversed(item.values))
        elif isinstance(item, JsonGet):
            stack.extend((item.s3_uri, item.property_file, item.path))
        elif isinstance(item, Mapping):
            stack.extend(reversed(list(item.values())))
        elif isinstance(item, list | tuple):
            stack.extend(reversed(item))


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


def json_get(step: str, property_file: str, path: Value) -> JsonGet:
    """The value at ``path`` in a property file that ``step`` writes."""
    return JsonGet(
        plain(path), Get("Steps", (Member(step), Member("PropertyFiles"), Member(property_file)))
    )


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


@dataclass(frozen=True, slots=True, eq=False)
class Properties(Strict):
    """``step.properties``: attributes and items build a reference, ``str`` of it is refused."""

    _tokens: tuple[Token, ...] = field(default=())

    def __getattr__(self, name: str) -> Properties:
        if name.startswith("__"):
            raise AttributeError(name)
        return Properties((*self._tokens, Member(name)))

    def __getitem__(self, item: str | int) -> Properties:
        token = Index(item) if isinstance(item, int) else Key(item)
        return Properties((*self._tokens, token))

    def __iter__(self) -> Iterator[Properties]:
        raise TypeError("a property is known only at run time; it cannot be looped over")

    def __bool__(self) -> bool:
        raise TypeError("a property is known only at run time; use a ConditionStep to branch on it")

    def __str__(self) -> str:
        raise TypeError('a property is known only at run time; use join("", …) to build a text')

    @property
    def _get(self) -> Get:
        return Get("Steps", self._tokens)


def properties_of(step: str) -> Properties:
    """What ``step.properties`` gives for the step of that name."""
    return Properties((Member(step),))


def _plain(value: Value) -> Value:
    return value._get if isinstance(value, Properties) else value


def plain(value: Value) -> Value:
    """A value with every :class:`Properties` in it turned into its reference, frozen."""
    if isinstance(value, Properties):
        return _plain(value)
    if isinstance(value, Mapping):
        return Object({str(name): plain(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return value
