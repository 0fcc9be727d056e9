"""Values of steps that a run does not select: given ones, or those of an earlier execution.

The source is the record of the earlier execution, otherwise the description of its job. If the
source was selective itself, its own given values and its own source follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagebridge.authoring.request_shapes import ApiShape, operation_shape, property_shape
from sagebridge.errors import SelectionError
from sagebridge.model import selection
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import Get, JsonGet, get, unknown_function
from sagebridge.model.for_each import ForEachStep, inner_reference
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import Value, freeze
from sagebridge.model.visit import nodes
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.outputs import (
    json_safe,
    look_up,
    outputs_of,
    path_text,
    properties_in,
    property_of,
)
from sagebridge_operators.lifecycle.records import ExecutionRecords, by_step
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.user_code.values import escaped
from sagebridge_operators.run_errors import ObjectNotFound, StepFailed, StoreError, Unresolvable
from sagebridge_operators.steps import JOB_TYPES

_TEXTS = ("string", "timestamp", "blob")
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "structure": dict,
    "map": dict,
    "list": list,
}
"""The JSON value of each type of shape."""
_OUTPUT_TYPES = {"Integer": "integer", "Float": "double", "Boolean": "boolean"}


@dataclass(frozen=True, slots=True)
class Given:
    """One ``--value EXPR=VALUE``; ``value`` is JSON, for a property file its path or URI."""

    reference: Get
    value: Any

    @classmethod
    def parse(cls, text: str, pipeline: Pipeline, selected: Sequence[str]) -> Given:
        """Parse ``Steps.Name.Path=VALUE``; the step must not be selected. Raises SelectionError.

        The type of a property follows from the API response that contains it. A value of unknown
        type, such as the result of user code, is JSON if it can be parsed, otherwise a string.
        """
        for at in (at for at, char in enumerate(text) if char == "="):
            if (reference := Get.parse(text[:at])) is not None:
                break
        else:
            raise SelectionError([f"--value {text}: expected Steps.NAME.PROPERTY=VALUE"])
        if reference.root != "Steps" or len(reference.tokens) < 2:
            fix = "; set a parameter with -p" if reference.root == "Parameters" else ""
            raise SelectionError([f"--value {text}: expected a property of a step{fix}"])
        value, step = text[at + 1 :], pipeline.step(reference.name)
        head, name = f"--value {reference.text}: ", shown(reference.name)
        if step is None:
            known = [one.name for one in walk(pipeline)]
            raise SelectionError([f"{head}no step {name}{did_you_mean(reference.name, known)}"])
        if step.name in selected:
            raise SelectionError([f"{head}step {name} is selected, so its value is of this run"])
        if reference.property_file is not None:
            return cls(reference, value if _is_uri(value) else str(Path(value).absolute()))
        try:
            return cls(reference, _typed(value, _shape(step, reference)))
        except ValueError as wrong:
            raise SelectionError([f"{head}{wrong}, got {shown(value)}"]) from None


@dataclass(frozen=True, slots=True)
class Source:
    """An earlier execution, with the backend of each of its jobs."""

    execution: str
    records: ExecutionRecords
    backend_of: Callable[[Attempt], Backend]

    def value(self, reference: Get, step: Step | None) -> tuple[Any, str]:
        """A property or the URI of a property file, and the execution whose step made it.

        ``step`` is the step in the new pipeline. Raises StepFailed if there is no value.
        """
        current = self.records.current(self.execution)
        attempt = by_step(current).get(reference.name)
        if attempt is None:
            return self._earlier(reference, step)
        try:
            return self._recorded(attempt, reference, step), self.execution
        except Unresolvable:
            passed = inner_reference(step, reference)
            if passed is None or attempt.state != "Succeeded":
                raise
            # The source's pipeline did not refer to this output of an iteration.
            inner, passed_on, index = passed
            if index is None:
                index = ((attempt.outputs or {}).get("selected") or {}).get("index")
            found = [one for one in current if (one.step, one.index) == (inner.name, (index,))]
            if not found:
                raise
        return self._recorded(found[0], passed_on, inner), self.execution

    def _earlier(self, reference: Get, step: Step | None) -> tuple[Any, str]:
        """The value that this execution itself was given, or took from its source."""
        record = (self.records.execution(self.execution) or {}).get("selection") or {}
        for text, value in record.get("values", {}).items():
            if selection.path_of(get(text)) == selection.path_of(reference):
                return value, self.execution
        if not record.get("source"):
            problem = f"step {reference.name!r} did not run in execution {self.execution}"
            raise Unresolvable(reference.text, problem)
        return Source(record["source"], self.records, self.backend_of).value(reference, step)

    def _recorded(self, attempt: Attempt, reference: Get, step: Step | None) -> Any:
        if attempt.state != "Succeeded":
            problem = f"step {attempt.name!r} is {attempt.state} in execution {self.execution}"
            raise Unresolvable(reference.text, problem)
        outputs = attempt.outputs or {}
        if (name := reference.property_file) is not None:
            files = outputs.get("property_files", {})
            if name not in files and step is not None:
                found = outputs_of(step, self._description(attempt, reference), ())
                files = found.get("property_files", {})
            if name not in files:
                raise Unresolvable(reference.text, "no such property file", list(files))
            return files[name]
        try:
            return property_of(reference, outputs)
        except Unresolvable:
            described = attempt.job is not None and attempt.type in JOB_TYPES
            if not described or path_text(reference) in outputs.get("missing", {}):
                raise
        try:  # the source's pipeline did not refer to it
            description = self._description(attempt, reference)
            if step is not None:
                description = JOB_TYPES[attempt.type].properties(step, description)
            return escaped(json_safe(look_up(description, reference.tokens[1:])))
        except LookupError as absent:
            there = absent.args[1] if len(absent.args) > 1 else []
            names = [str(one) for one in there]
            raise Unresolvable(reference.text, str(absent.args[0]), names) from None

    def _description(self, attempt: Attempt, reference: Get) -> Mapping[str, Any]:
        """The description of the job. Raises Unresolvable if the job does not exist any more."""
        job_type, job = JOB_TYPES[attempt.type], attempt.job
        name = job.name if job is not None else ""
        found = None
        if job_type.described:
            client = job_type.client(self.backend_of(attempt))
            found = job_type.find(client, name)
        if found is None:
            problem = f"{attempt.type} {name} of execution {self.execution} does not exist any more"
            raise Unresolvable(reference.text, problem)
        return job_type.with_details(lambda: client, found, properties_in((reference,)))


@dataclass(slots=True)
class Chosen:
    """The selected steps of a run, and what they use of other steps.

    Attributes:
        pipeline: the smaller pipeline.
        steps: the names of the selected steps.
        values: by reference, the values that took the place of other steps' outputs.
        origins: by step, the execution that its values are of; empty for given values.
        unused: given values that no selected step refers to.
    """

    pipeline: Pipeline
    steps: tuple[str, ...]
    source: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, dict[str, str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The selection in the record of the execution."""
        return {
            "steps": list(self.steps),
            "source": self.source,
            "values": self.values,
            "origins": self.origins,
        }


def choose(
    pipeline: Pipeline,
    steps: Sequence[str],
    values: Sequence[str],
    source: Source | None,
    execution: Execution,
    backend: Backend,
) -> Chosen:
    """The pipeline of the selected steps, with values in place of other steps' outputs.

    A given value takes precedence over the source. Raises SelectionError with all problems.

    Args:
        pipeline: the whole pipeline.
        steps: the names of the selected steps.
        values: ``EXPR=VALUE`` strings, as :meth:`Given.parse` reads them.
        source: the earlier execution, if any.
        execution: the new execution; a path in a local property file may refer to its parameters.
        backend: where property files are read.
    """
    names = selection.closed(pipeline, steps)
    problems: list[str] = []
    given: list[Given] = []
    for text in values:
        try:
            given.append(Given.parse(text, pipeline, names))
        except SelectionError as wrong:
            problems += wrong.problems
    chosen = _Values(given, source, backend)
    for reference in selection.needed(pipeline, names):
        try:
            chosen.add(reference, pipeline.step(reference.name))
        except StepFailed as missing:
            problems.append(str(missing))
    if problems:
        raise SelectionError(problems)
    smaller = with_values(pipeline, names, chosen.values, execution, backend)
    unused = [one.reference.text for one in given if id(one) not in chosen.used]
    return Chosen(
        smaller,
        names,
        source.execution if source is not None else "",
        chosen.values,
        chosen.origins,
        tuple(unused),
    )


def with_values(
    pipeline: Pipeline,
    names: Sequence[str],
    values: Mapping[str, Any],
    execution: Execution,
    backend: Backend,
) -> Pipeline:
    """The pipeline of the named steps with ``values``, by reference, as :class:`Chosen` has them.

    Values of a local property file are read now, since workers may not have it. Raises
    SelectionError.
    """
    found = {selection.path_of(get(text)): value for text, value in values.items()}
    problems: list[str] = []

    def find(expression: Get | JsonGet) -> Value:
        if isinstance(expression, Get):
            return freeze(found[selection.path_of(expression)])
        uri = found[selection.path_of(selection.file_of(expression))]
        read = JsonGet(expression.path, s3_uri=uri)
        if _is_uri(uri):
            return read
        try:
            return freeze(Resolver(execution, lambda step: None, _content, backend.arn)(read))
        except StepFailed as wrong:
            problems.append(f"{wrong}; upload the file and use its S3 URI")
            return None

    smaller = selection.selected(pipeline, names, find)
    if problems:
        raise SelectionError(list(dict.fromkeys(problems)))
    return smaller


class _Values:
    """The values of references, as :func:`choose` collects them."""

    def __init__(self, given: Sequence[Given], source: Source | None, backend: Backend) -> None:
        self.given = {selection.path_of(one.reference): one for one in given}
        self.source, self.backend = source, backend
        self.values: dict[str, Any] = {}
        self.origins: dict[str, dict[str, str]] = {}
        self.used: set[int] = set()

    def add(self, reference: Get, step: Step | None) -> None:
        """Find the value of a reference. Raises StepFailed."""
        found = self._given(reference)
        value, origin = (found[0], "") if found else self._of_source(reference, step)
        if reference.property_file is not None:
            self._check_file(reference, str(value))
        elif any(_is_expression(node) for node in nodes(value)):
            problem = "its value has the form of an expression, such as {'Get': ...}"
            raise Unresolvable(reference.text, problem)
        self.values[reference.text] = value
        known = self.origins.setdefault(
            reference.name, {"type": step.type if step else "", "execution": origin}
        )
        known["execution"] = known["execution"] or origin

    def _given(self, reference: Get) -> tuple[Any] | None:
        """The given value of a reference, or its part of a value that contains it."""
        path = selection.path_of(reference)
        for length in range(len(path), 2, -1):
            if (one := self.given.get(path[:length])) is None:
                continue
            self.used.add(id(one))
            try:
                return (look_up(one.value, reference.tokens[length - 1 :]),)
            except LookupError as absent:
                there = absent.args[1] if len(absent.args) > 1 else []
                problem = f"{absent.args[0]} in the given value"
                raise Unresolvable(reference.text, problem, [str(x) for x in there]) from None
        return None

    def _of_source(self, reference: Get, step: Step | None) -> tuple[Any, str]:
        fix = f'select it too, or use --value "{reference.text}=..."'
        if self.source is None:
            problem = f"step {reference.name!r} is not selected; {fix}, or --from-execution"
            raise Unresolvable(reference.text, problem)
        if "Environment" in selection.path_of(reference)[2:]:
            problem = f"it may be a secret, which is not copied from an execution; {fix}"
            raise Unresolvable(reference.text, problem)
        try:
            return self.source.value(reference, step)
        except StepFailed as missing:
            raise StepFailed(f"{missing}; {fix}", kind="unresolvable") from None

    def _check_file(self, reference: Get, uri: str) -> None:
        """Raise Unresolvable for a property file that does not exist."""
        try:
            self.backend.read_object(uri) if _is_uri(uri) else _content(uri)
        except ObjectNotFound as missing:
            raise Unresolvable(reference.text, str(missing)) from None
        except StoreError:  # such as a role that only the workers have
            return


def _content(path: str) -> bytes:
    """The content of a local file. Raises ObjectNotFound."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ObjectNotFound(path, "this machine", error.strerror or str(error)) from None


def _is_uri(text: str) -> bool:
    return "://" in text


def _is_expression(node: Any) -> bool:
    return isinstance(node, Mapping) and unknown_function(node) is not None


def _shape(step: Step | None, reference: Get) -> ApiShape | None:
    """The shape of a property, from its declaration or the API response; None if unknown."""
    if (passed := inner_reference(step, reference)) is not None:
        return _shape(*passed[:2])
    if isinstance(step, ForEachStep):
        is_count = str(path_text(reference)).endswith("Count")
        return ApiShape("", "integer" if is_count else "string")
    row = STEP_TYPES.get(step.type) if step is not None else None
    if row is not None and row.makes == "nothing":  # the outcome of a condition
        return ApiShape("", "string")
    for one in (step.output_parameters if step is not None else ()) or ():
        if selection.path_of(reference)[2:] == ("OutputParameters", one.name):
            return ApiShape("", _OUTPUT_TYPES.get(str(one.type), "string"))
    for operation in row.outputs if row is not None else ():
        root = operation_shape(operation)
        found = property_shape(root, reference.tokens[1:]) if root is not None else ""
        if isinstance(found, ApiShape):
            return found
    return None


def _typed(text: str, shape: ApiShape | None) -> Any:
    """A value with the type of its property. Raises ValueError with what is expected."""
    if shape is not None and shape.type in _TEXTS:
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        if shape is None:
            return text
        raise ValueError(f"expected a JSON {shape.type}") from None
    if shape is not None:
        is_boolean = isinstance(value, bool)
        if is_boolean != (shape.type == "boolean") or not isinstance(value, _TYPES[shape.type]):
            raise ValueError(f"expected a JSON {shape.type}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)
