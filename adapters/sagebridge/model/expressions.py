"""Expressions of a pipeline definition: references, joins and reads of JSON files.

They follow "Pipeline parameters, properties and functions" in the SageMaker Pipelines guide.
A reference is tokenized once (:func:`parse_path`) and never split on dots, because keys can contain
dots, colons and brackets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import NoneType
from typing import ClassVar, Protocol, TypeAlias

from sagebridge.model.display import shown
from sagebridge.model.parameters import Parameter
from sagebridge.model.values import ABSENT, Absent, Object, Strict, Value, exact
from sagebridge.model.visit import nodes, rebuild

ROOTS = (
    "Parameters",
    "Execution",
    "Steps",
    "PipelineExperimentConfig",
    "ForEach",
    "IterationOutput",
)
"""``ForEach`` and ``IterationOutput`` exist only in a ForEach step: see model/for_each.py."""
FUNCTIONS = ("Std:Join", "Std:JsonGet")


@dataclass(frozen=True, slots=True, eq=False)
class Member(Strict):
    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Key(Strict):
    name: str

    def __str__(self) -> str:
        # A backslash escapes a quote or another backslash, as in JSONPath.
        name = self.name.replace("\\", "\\\\")
        if "'" not in name:
            return f"['{name}']"
        name = name.replace('"', '\\"')
        return f'["{name}"]'


@dataclass(frozen=True, slots=True, eq=False)
class Index(Strict):
    position: int

    def __str__(self) -> str:
        return f"[{self.position}]"


Token: TypeAlias = Member | Key | Index


class RunTimeExpression(Strict):
    """A value that is only known at run time. Python cannot format, test or compare it.

    Otherwise a file would continue with an answer from the time when the file is read.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | int | float):
            raise TypeError(f"{_RUN_TIME_ONLY}; compare them in a condition step, with equals(…)")
        return Strict.__eq__(self, other)

    __hash__ = Strict.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"{_RUN_TIME_ONLY}; use a condition step to branch on them")

    def __format__(self, spec: str) -> str:
        raise TypeError(f'{_RUN_TIME_ONLY}; use join("", …) to build a string')


@contextmanager
def strings_forbidden() -> Iterator[None]:
    """Reject ``str()`` and ``%s`` too while a file is read."""
    # Otherwise __str__ must work, because Airflow's serializer calls it.
    original = RunTimeExpression.__str__
    RunTimeExpression.__str__ = lambda self: self.__format__("")  # type: ignore[method-assign]
    try:
        yield
    finally:
        RunTimeExpression.__str__ = original  # type: ignore[method-assign]


_RUN_TIME_ONLY = "parameters, execution variables and step outputs are only known at run time"

_TOKEN = re.compile(
    r"""\.(?P<member>[^.\[\]'"\s]+)
      | \['(?P<single>(?:[^'\\]|\\.)*)'\] | \["(?P<double>(?:[^"\\]|\\.)*)"\]
      | \[(?P<index>[0-9]{1,18})\]""",
    re.VERBOSE | re.DOTALL,
)
_MEMBER = re.compile(r"""[^.\[\]'"\s]+""")
_ESCAPED = re.compile(r"""\\(['"\\])""")
_ROOT = re.compile(r"[A-Za-z]+")


def parse_path(text: str) -> tuple[str, tuple[Token, ...]] | None:
    """Parse ``Steps.A.Outputs['x']`` into root and tokens; None if it is not a path."""
    root = _ROOT.match(text)
    if root is None:
        return None
    tokens = parse_tokens(text[root.end() :])
    return None if tokens is None else (root.group(), tokens)


def parse_tokens(text: str) -> tuple[Token, ...] | None:
    """Parse ``.a['b'][0]`` into tokens; None if that is not possible."""
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
            quoted = match["single"] if match["single"] is not None else match["double"]
            tokens.append(Key(_ESCAPED.sub(r"\1", quoted)))
        at = match.end()
    return tuple(tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Get(RunTimeExpression):
    """``{"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}``.

    ``spelling`` is the original string if it differs from the canonical one. It is written back,
    and it counts for equality because the definitions differ.
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
        """The name of the parameter, variable or step."""
        first = self.tokens[0]
        return str(first.position) if isinstance(first, Index) else first.name

    @property
    def step(self) -> str | None:
        return self.name if self.root == "Steps" else None

    @property
    def property_file(self) -> str | None:
        """``F`` of ``Steps.S.PropertyFiles.F``, otherwise None."""
        match self.tokens:
            case (_, Member("PropertyFiles"), Member(name) | Key(name)) if self.root == "Steps":
                return name
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Join(RunTimeExpression):
    """``{"Std:Join": {"On": …, "Values": […]}}``; without the outer object if ``bare``."""

    _parts = ("values",)

    values: tuple[Value, ...]
    on: str | Absent = ABSENT
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JsonGet(RunTimeExpression):
    """``{"Std:JsonGet": …}``: a value at ``path`` in a property file, or in the object at a URI."""

    _parts = ("path", "property_file", "s3_uri")

    path: Value
    property_file: Get | Absent = ABSENT
    s3_uri: Value = ABSENT

    def __post_init__(self) -> None:
        file: object = self.property_file
        if file is not ABSENT and not (isinstance(file, Get) and file.property_file is not None):
            found = shown(file.text if isinstance(file, Get) else file)
            raise TypeError(
                f"property_file: expected get('Steps.NAME.PropertyFiles.FILE'), got {found}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Template(RunTimeExpression):
    """Text that is rendered by Jinja with Airflow's context when the step runs: ``{{ ds }}``.

    Only DAGs and flows contain templates: a definition is data, so no text in a definition can
    become one.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"template() expects a string, got {shown(self.text)}")


Expression: TypeAlias = Get | Join | JsonGet | Template
_TEMPLATE_PARTS = re.compile(r"(\{\{(?:[^{}'\"]|'[^'{}]*'|\"[^\"{}]*\")*\}\})")
_WHOLE = re.compile(r"\{%|\{#|\{\{[-+]|[-+]\}\}|\n\Z")
"""Marks of strings that have to be rendered as a whole."""


def template(text: str) -> Template | Join:
    """Text that is rendered by Jinja when the step runs: ``template("s3://bucket/{{ ds }}")``.

    If that has the same result, it is a join of its literal parts and its expressions.
    """
    whole = Template(text)
    parts = _TEMPLATE_PARTS.split(text)
    if _WHOLE.search(text) or any("{{" in part for part in parts[::2]):
        return whole
    pieces = [part if at % 2 == 0 else Template(part) for at, part in enumerate(parts) if part]
    return Join(tuple(pieces), "") if len(pieces) > 1 else whole


def is_expression(value: Value) -> bool:
    return isinstance(value, Get | Join | JsonGet | Template)


def unknown_function(value: Value) -> str | None:
    """The unknown function of an object that has the form of an expression, otherwise None."""
    if not isinstance(value, str) and isinstance(value, Mapping) and len(value) == 1:
        name: str = next(iter(value))
        if name == "Get" or name.startswith("Std:"):
            return name
    return None


def references(value: Value) -> Iterator[Get]:
    """Every reference in a value at any depth, including those inside other expressions."""
    if type(value) is not Object:
        return (node for node in nodes(value) if isinstance(node, Get))
    if value._references is None:  # an Object never changes, and writers ask for these often
        value._references = tuple(node for node in nodes(value) if isinstance(node, Get))
    return iter(value._references)


def parameter(name: str) -> Get:
    """A reference to the pipeline parameter of that name."""
    return Get("Parameters", (_token(name, "the name of a parameter"),))


def _token(name: object, what: str) -> Member | Key:
    if not isinstance(name, str):
        raise TypeError(f"expected {what}, got {shown(name)}")
    return Member(name) if _MEMBER.fullmatch(name) else Key(name)


def get(text: str) -> Get:
    """Any reference by its path: ``get("Steps.Train.ModelArtifacts.S3ModelArtifacts")``."""
    if not isinstance(text, str):
        raise TypeError(f"expected the path of a reference, got {shown(text)}")
    found = Get.parse(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a reference; expected a path that starts with {', '.join(ROOTS)}"
        )
    return found


def join(on: str | None, *values: Value, bare: bool = False) -> Join:
    """The values as one string, with ``on`` between them."""
    if not isinstance(on, str | None):
        raise TypeError(f"join() expects the separator first, as a string or None, got {shown(on)}")
    return Join(tuple(plain(value) for value in values), ABSENT if on is None else on, bare)


def json_get(step: str | HasProperties, property_file: str, path: Value) -> JsonGet:
    """The value at ``path`` in a property file of ``step``, which is a step or its name."""
    properties = None if isinstance(step, str) else getattr(step, "properties", None)
    first = (
        properties._tokens[0]
        if isinstance(properties, Properties) and not isinstance(step, Properties)
        else _token(step, "a step or a step name")
    )
    file = _token(property_file, "the name of a property file")
    return JsonGet(plain(path), Get("Steps", (first, Member("PropertyFiles"), file)))


class HasProperties(Protocol):
    """A step: of the model, an Airflow operator, or a step in a Prefect flow."""

    @property
    def properties(self) -> Properties: ...


def json_get_s3(s3_uri: Value, path: Value) -> JsonGet:
    """The value at ``path`` in the JSON object at ``s3_uri``."""
    return JsonGet(plain(path), s3_uri=plain(s3_uri))


class _Execution:
    """The execution variables, named after the SageMaker SDK's ExecutionVariables."""

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
    "ForEach": ("CurrentItem",),
}
"""The variables below the roots other than parameters and steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Properties(RunTimeExpression):
    """``step.properties``: attributes and items build a reference, which ``str()`` rejects."""

    _root: ClassVar[str] = "Steps"

    _tokens: tuple[Token, ...] = field(default=())

    def __getattr__(self, name: str) -> Properties:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._below(Member(name))

    def __getitem__(self, item: str | int) -> Properties:
        match item:
            case str():
                return self._below(Key(item))
            case int() if item >= 0:
                return self._below(Index(item))
        raise TypeError(f"expected a key or a position of at least 0, got {item!r}")

    def __iter__(self) -> Iterator[Properties]:
        raise TypeError("properties are only known at run time and cannot be looped over")

    def __str__(self) -> str:
        return format(self)

    @property
    def _get(self) -> Get:
        if not self._tokens:
            raise TypeError(f"{self._root} is not a value; expected a step and an output below it")
        return Get(self._root, self._tokens)

    def _below(self, token: Token) -> Properties:
        return type(self)((*self._tokens, token))


def properties_of(step: str) -> Properties:
    """``step.properties`` of the step with that name."""
    return Properties((_token(step, "a step name"),))


class _CurrentItem(Properties):
    __slots__ = ()
    _root = "ForEach"


class _IterationOutput(Properties):
    __slots__ = ()
    _root = "IterationOutput"


current_item = _CurrentItem((Member("CurrentItem"),))
"""The item of an iteration, in the body of a ForEach: ``current_item``, ``current_item.a``."""
iteration_output = _IterationOutput()
"""An output of an iteration, in a selector: ``iteration_output.Score.OutputParameters["Auc"]``."""


def json_value(value: Value) -> Value:
    """The same as :func:`plain`, but raise TypeError for a value that is not JSON."""
    # Every step is checked, so the common types are looked up without a call.
    if all(type(node) in _FROZEN or _is_frozen(node) for node in nodes(value)):
        return value
    try:
        found = plain(value)
    except RecursionError:
        raise TypeError("nested too deeply, or contains itself") from None
    # Reversed: of several values that are not JSON, the last one is reported.
    for node in reversed(list(nodes(found))):
        if isinstance(node, float) and not math.isfinite(node):
            raise TypeError(f"{node} is not a JSON number")
        if not _is_frozen(node):
            raise TypeError(_not_json(node))
    return found


def _is_frozen(node: object) -> bool:
    return type(node) in _FROZEN or (type(node) is float and math.isfinite(node))


_SCALARS = frozenset((str, int, float, bool, NoneType))
_FROZEN = (_SCALARS - {float}) | {Object, tuple, Get, Join, JsonGet, Template, Absent}


def _not_json(found: object) -> str:
    kind = type(found).__name__
    if kind.endswith("XComArg"):
        return (
            f"a {kind} is not a pipeline value; use op.properties.… of a sagebridge operator. "
            "For the result of a @task, run its function in a PythonStepOperator and use "
            "op.properties.return_value"
        )
    article = "an" if kind[0].lower() in "aeiou" else "a"
    return (
        f"{article} {kind} is not a pipeline value; use strings, numbers, booleans, lists, dicts "
        "and references such as step.properties.…"
    )


def plain(value: Value) -> Value:
    """A frozen copy of a value: properties and parameters become references."""
    return rebuild(value, _plain)


def _plain(value: Value) -> Value:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str | int | float):
        return exact(value)
    if isinstance(value, Properties):
        return value._get
    if isinstance(value, Parameter):
        return parameter(value.name)
    if isinstance(value, Mapping) and not all(type(name) is str for name in value):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the keys of a JSON object are strings, got {name!r}")
        return Object({exact(name): plain(item) for name, item in value.items()})
    return value
