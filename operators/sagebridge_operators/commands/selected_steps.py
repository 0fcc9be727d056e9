"""The options of ``sagebridge run`` that select steps, and the source of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from sagebridge.errors import SelectionError, UsageError
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.terminal.console import printable
from sagebridge_operators.commands.execution_view import status_of
from sagebridge_operators.commands.job_backends import JobBackends
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.selection import Chosen, Source, choose

_ENDED = ("Succeeded", "Failed", "CompletedWithFailures", "Stopped")
_C = TypeVar("_C", bound=Callable[..., Any])


def selection_options(command: _C) -> _C:
    """The options --steps, --from-execution and --value."""
    options = (
        click.option(
            "--steps",
            "selected",
            multiple=True,
            metavar="A,B",
            help="Run only these steps. Steps on paths between them must be included.",
        ),
        click.option(
            "--from-execution",
            "source_id",
            metavar="ID",
            help="With --steps: take the outputs of other steps, and parameters that are not set, "
            "from this execution. 'latest' is the newest one of the pipeline that has ended.",
        ),
        click.option(
            "--value",
            "values",
            multiple=True,
            metavar="EXPR=VALUE",
            help="With --steps: set what a selected step refers to, such as "
            "Steps.Create.ModelName=rings. The value of a property file is a local JSON file or "
            "an S3 URI. Repeatable.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def choose_steps(
    pipeline: Pipeline,
    selected: Sequence[str],
    source_id: str | None,
    values: Sequence[str],
    given: Mapping[str, Any],
    workdir: Workdir,
) -> tuple[Chosen | None, dict[str, Any]]:
    """The selected steps, if any, and the values of the pipeline's parameters.

    Raises UsageError, ParameterError, or SelectionError with all missing values.
    """
    if not selected:
        for option, used in (("--from-execution", source_id), ("--value", values)):
            if used:
                raise UsageError(f"{option} needs --steps")
        return None, coerce(pipeline.declared, given)
    source, inherited = None, {}
    if source_id is not None:
        source = _source(source_id, pipeline, workdir)
        before = (workdir.records.execution(source.execution) or {}).get("parameters", {})
        declared = {one.name for one in pipeline.declared}
        inherited = {name: value for name, value in before.items() if name in declared}
    parameters = coerce(pipeline.declared, {**inherited, **given})
    execution = Execution(
        id="",
        pipeline=pipeline.name or "pipeline",
        engine="",
        run="",
        started=datetime.now(UTC),
        parameters=parameters,
    )
    names = _names(selected, pipeline)
    chosen = choose(pipeline, names, values, source, execution, workdir.backend)
    for text in chosen.unused:
        line = f"warning: --value {text} is not used; no selected step refers to it"
        click.echo(printable(line), err=True)
    if source is not None and (kept := [name for name in inherited if name not in given]):
        line = f"parameters from execution {source.execution}: {', '.join(kept)}"
        click.echo(printable(line), err=True)
    return chosen, parameters


def _names(selected: Sequence[str], pipeline: Pipeline) -> Sequence[str]:
    """The step names in ``A,B``; the name of a step may contain a comma."""
    known = {step.name for step in walk(pipeline)}
    split = ([text] if text in known else text.split(",") for text in selected)
    words = (word if word in known else word.strip() for one in split for word in one)
    return [word for word in words if word]


def _source(text: str, pipeline: Pipeline, workdir: Workdir) -> Source:
    """The earlier execution. Raises SelectionError if its values cannot be used."""
    records, name = workdir.records, pipeline.name or "pipeline"

    def problem(body: Mapping[str, Any], execution: str) -> str:
        if body.get("format") != FORMAT:
            return "has records of an older version"
        if body["pipeline"] != name:
            return f"is of pipeline {body['pipeline']!r}, not {name!r}"
        if body["backend"] != workdir.backend_name:
            return f"ran on backend {body['backend']!r}, not {workdir.backend_name!r}"
        status = status_of(records, execution)
        return "" if status in _ENDED else f"has not ended (status {status})"

    if text == "latest":
        for execution in records.ids():
            body = records.execution(execution)
            if body is not None and not problem(body, execution):
                break
        else:
            where = f"{records.objects.location} (backend {workdir.backend_name})"
            raise SelectionError([f"no execution of pipeline {name!r} has ended in {where}"])
    else:
        execution = records.resolve(text)
        body = records.execution(execution) or {}
        if why := problem(body, execution):
            raise SelectionError([f"--from-execution {text}: execution {execution} {why}"])
    backends = JobBackends(workdir)
    return Source(execution, records, lambda one: backends.of(body, one))
