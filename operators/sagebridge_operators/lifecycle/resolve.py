"""Resolves expressions to values at run time. Types are kept: "0123" and 1.0 do not change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagebridge.model.expressions import (
    Get,
    Join,
    JsonGet,
    Template,
    Token,
    parse_tokens,
    unknown_function,
)
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.outputs import look_up, path_text, property_of
from sagebridge_operators.lifecycle.user_code.values import (
    escaped,
    has_references,
    inside,
    joined,
    printable,
    untagged,
)
from sagebridge_operators.run_errors import StepFailed, Unresolvable

Upstream = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves the expressions of one step.

    Args:
        upstream: returns the outputs of a step, by its name.
        read: returns the content of the object at an S3 URI.
        arn: returns the ARN of a SageMaker resource, such as ``pipeline/x``.
        job_name: the value of ``Execution.TrainingJobName`` and ``Execution.ProcessingJobName``.
        item: returns the item of the iteration, in the body of a ForEach.
        render: renders a template.
        lenient: a step without outputs has the value None, as a skipped task in Airflow.
        tagged: keep the tags of values that JSON cannot express, for the arguments of a function.
    """

    execution: Execution
    upstream: Upstream
    read: Callable[[str], bytes]
    arn: Callable[[str], str]
    job_name: str | None = None
    item: Callable[[], Any] | None = None
    render: Callable[[str], Any] | None = None
    tagged: bool = False
    lenient: bool = False

    def __call__(self, value: Value) -> Any:
        """Resolves all expressions in a value; returns plain JSON. Raises :class:`Unresolvable`."""
        match value:
            case Get():
                found = self._get(value)
                return found if self.tagged else untagged(found)
            case Template(text=text):
                if self.render is None:
                    raise Unresolvable(text, "templates are rendered only in the run of a step")
                rendered = self.render(text)  # a dict, if Airflow renders templates as objects
                return escaped(rendered) if self.tagged else rendered
            case Join(values=values, on=on):
                return joined([self._text(item) for item in values], "" if on is ABSENT else on)
            case JsonGet():
                found = self._json_get(value)
                return escaped(found) if self.tagged else found
            case Mapping():
                if (function := unknown_function(value)) is not None:
                    raise Unresolvable(function, "unknown function")
                return {name: self(item) for name, item in value.items()}
            case list() | tuple():
                return [self(item) for item in value]
        return value

    def _text(self, value: Value) -> Any:
        """A string, or a tagged one with secrets for the arguments of a function."""
        found = self._get(value) if isinstance(value, Get) else self(value)
        if self.tagged and has_references(found):
            return found
        if found is None and isinstance(value, Get) and value.root == "Parameters":
            return "None"  # as Jinja and Python write it: a definition has no such parameter
        return text_of(printable(found))

    def source_of(self, value: Value) -> str:
        """Where a value comes from, such as ``parameter Limit``; empty for a literal."""
        match value:
            case Get(root="Parameters", name=name):
                return f"parameter {name}"
            case Get(root="Steps", name=name):
                return f"{path_text(value)} of step {name}"
            case Get(text=text):
                return text
            case Join(values=values):
                sources = filter(None, map(self.source_of, values))
                return ", ".join(dict.fromkeys(sources))
            case JsonGet(path=path, property_file=file):
                place = f"{self(path)} in {self._file_uri(value)}"
                if isinstance(file, Get):
                    return f"{place}, property file {file.property_file} of step {file.name}"
                return place
        return ""

    def _get(self, reference: Get) -> Any:
        match reference.root:
            case "Parameters":
                if reference.name in self.execution.parameters and len(reference.tokens) == 1:
                    return escaped(self.execution.parameters[reference.name])
                there = list(self.execution.parameters)
                raise Unresolvable(reference.text, "unknown or unset parameter", there)
            case "Steps":
                outputs = self.upstream(reference.name)
                if self.lenient and (outputs is None or outputs.keys() <= {"pushed"}):
                    return None
                return property_of(reference, outputs)
            case "PipelineExperimentConfig":
                return self._experiment(reference)
            case "ForEach":
                return self._item(reference)
            case "IterationOutput":
                raise Unresolvable(reference.text, "it exists only in the Selector of a ForEach")
        return self._variable(reference)

    def _item(self, reference: Get) -> Any:
        """``ForEach.CurrentItem``, or a value at a path below it.

        An item is often a JSON object in a string (CurrentItem in
        sagemaker.mlops.workflow.for_each_step).
        """
        if self.item is None:
            raise Unresolvable(reference.text, "this step is not in the body of a ForEach")
        if reference.name != "CurrentItem":
            raise Unresolvable(reference.text, "unknown variable", ["CurrentItem"])
        item, path = self.item(), reference.tokens[1:]
        if path and isinstance(item, str):
            with suppress(ValueError):
                item = escaped(json.loads(item))
        try:
            return look_up(item, path, by_name=False, content=inside)
        except LookupError as absent:
            there = absent.args[1] if len(absent.args) > 1 else []
            raise Unresolvable(reference.text, str(absent.args[0]), list(map(str, there))) from None

    def _variable(self, reference: Get) -> Any:
        execution = self.execution
        known: dict[str, Callable[[], str | None]] = {
            "StartDateTime": lambda: _iso(execution.started),
            "CurrentDateTime": lambda: _iso(datetime.now(UTC)),
            "PipelineName": lambda: execution.pipeline,
            "PipelineArn": lambda: self.arn(f"pipeline/{execution.pipeline}"),
            "PipelineExecutionId": lambda: execution.id,
            "PipelineExecutionArn": lambda: self.arn(
                f"pipeline/{execution.pipeline}/execution/{execution.id}"
            ),
            "TrainingJobName": lambda: self.job_name,
            "ProcessingJobName": lambda: self.job_name,
        }
        if reference.name not in known or len(reference.tokens) != 1:
            raise Unresolvable(reference.text, "unknown execution variable", list(known))
        found = known[reference.name]()
        if found is None:
            raise Unresolvable(reference.text, "this step has no job")
        return found

    def _experiment(self, reference: Get) -> Any:
        config = self.execution.experiment_config
        defaults = {
            "ExperimentName": self.execution.pipeline,
            "TrialName": self.execution.id,
        }
        if reference.name not in defaults or config is None or config is ABSENT:
            raise Unresolvable(
                reference.text, "not in the experiment configuration of the pipeline"
            )
        given = self(config[reference.name]) if reference.name in config else None
        return _experiment_name(defaults[reference.name] if given is None else str(given))

    def _json_get(self, expression: JsonGet) -> Any:
        path = self(expression.path)
        uri = self._file_uri(expression)
        name = f"Std:JsonGet of {path!r} in {uri}"
        tokens = _json_path(str(path))
        if tokens is None:
            raise Unresolvable(name, "the path is not a JSON path such as a.b[0]['c']")
        try:
            document = json.loads(self.read(uri))
        except ValueError as error:
            raise Unresolvable(name, f"the file is not JSON: {error}") from None
        try:
            return look_up(document, tokens, by_name=False)
        except LookupError as absent:
            there = absent.args[1] if len(absent.args) > 1 else []
            raise Unresolvable(name, str(absent.args[0]), [str(item) for item in there]) from None

    def _file_uri(self, expression: JsonGet) -> str:
        file = expression.property_file
        if file is ABSENT:
            return str(self(expression.s3_uri))
        outputs = self.upstream(file.name) or {}
        files: Mapping[str, str] = outputs.get("property_files", {})
        name = file.property_file or ""
        if name not in files:
            problem = f"step {file.name!r} has no such property file"
            raise Unresolvable(file.text, problem, list(files))
        return files[name]


def text_of(value: Any) -> str:
    """A resolved value as a string, as Std:Join writes it. Raises StepFailed for null."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case None:
            raise StepFailed("Std:Join cannot join null", kind="unresolvable")
    return json.dumps(value)


def _experiment_name(name: str) -> str:
    """A name that SageMaker accepts (ExperimentEntityName in its API): DAG ids may have ``_``."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:120].rstrip("-")


def _json_path(path: str) -> tuple[Token, ...] | None:
    path = path.removeprefix("$")
    return parse_tokens(path if path.startswith((".", "[")) or not path else f".{path}")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
