"""``sagebridge executions``: what ran, from the records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

import click
from rich.text import Text

import sagebridge
from sagebridge.terminal.console import console, print_json, printable
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_printing import print_list, print_view, second
from sagebridge_operators.commands.execution_view import ExecutionReader
from sagebridge_operators.commands.shared_options import aws_errors, format_option, workdir_option
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import status
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.run_errors import ExecutionFailed, OlderRecord, UnknownStep
from sagebridge_operators.steps import JOB_TYPES

_EXECUTION = click.argument("execution", metavar="ID")


@click.group(short_help="List, show, stop what ran.")
def executions() -> None:
    """What ran, from the records of a working folder.

    An ID may be shortened to a beginning that no other execution has.
    """


@executions.command("list")
@workdir_option
@format_option
@aws_errors
def list_executions(workdir: Path, form: str) -> None:
    """Every execution, the newest first."""
    records = _place(workdir).records
    rows: list[dict[str, str]] = []
    for execution in records.ids():
        if (body := records.execution(execution)) is None:
            continue
        names = ("id", "pipeline", "engine", "backend", "started")
        row = {name: str(body.get(name, "")) for name in names}
        rows.append(row | {"status": _status(records, execution)})
    if form == "json":
        print_json(rows)
    elif rows:
        print_list(console(), rows)
    else:
        where = records.objects.location
        click.echo(printable(f"no executions in {where}: --workdir names another working folder"))


@executions.command()
@_EXECUTION
@workdir_option
@format_option
@aws_errors
def show(execution: str, workdir: Path, form: str) -> None:
    """The steps of an execution, their jobs, and the property files that they wrote."""
    reader = ExecutionReader(_place(workdir))
    found = reader.place.records.resolve(execution)
    view = reader.view(found)
    files = list(reader.property_files(found))
    if form == "json":
        contents = {name: {"uri": uri, "content": text} for name, uri, text in files}
        print_json({**view.as_json(), "property_files": contents})
        return
    out = console()
    run = f"{view.engine} run {view.run}, backend {view.backend}"
    out.print(Text(printable(f"{view.pipeline} {view.id}: {run}")), soft_wrap=True)
    out.print(Text(f"started {second(view.started)} UTC, {view.seconds:.0f} s"))
    for name, value in view.parameters.items():
        out.print(Text(printable(f"  {name} = {value!r}")), soft_wrap=True)
    out.print()
    print_view(out, view, jobs=True)
    for name, uri, text in files:
        out.print()
        out.print(Text(printable(f"{name} ({uri})"), "bold"), soft_wrap=True)
        out.print(Text("\n".join(map(printable, text.splitlines()))), soft_wrap=True)


@executions.command()
@_EXECUTION
@click.argument("step", required=False)
@workdir_option
@format_option
@aws_errors
def logs(execution: str, step: str | None, workdir: Path, form: str) -> None:
    """What the jobs of an execution wrote, of all its steps or of one."""
    place = _place(workdir)
    found = place.records.resolve(execution)
    body = place.records.execution(found) or {}
    backend = place.for_execution(body).backend
    steps = place.records.steps(found)
    if step is not None and step not in steps:
        raise UnknownStep(step, list(steps))
    written: dict[str, list[str]] = {}
    for name in [step] if step is not None else steps:
        if job := steps[name].job:
            written[name], _ = backend.job_log(steps[name].type, job.name, 0)
        elif note := _no_log(steps[name], f"{body.get('engine')} run {body.get('run')}", step):
            click.echo(printable(note), err=True)
    if form == "json":
        print_json(written)
        return
    out = console()
    for name, lines in written.items():
        for line in lines:
            head = "" if step is not None else f"[{name}] "
            out.print(Text(printable(f"{head}{line.expandtabs()}")), soft_wrap=True)


@executions.command()
@_EXECUTION
@workdir_option
@format_option
@aws_errors
def stop(execution: str, workdir: Path, form: str) -> int:
    """Stop an execution, and wait until its steps have ended. Exit code 3 where one does not."""
    place = _place(workdir)
    found = place.records.resolve(execution)
    backend = place.for_execution(place.records.execution(found) or {}).backend
    reader = ExecutionReader(place)
    left: list[str] = []
    if not _has_ended(reader, found):
        left = Ending(place.records, found, _backend_of(backend)).stop(code=True)
    view = reader.view(found)
    if form == "json":
        print_json({"id": found, "status": view.status, "still_running": left})
    elif left:
        click.echo(f"{found}: these steps have not ended yet: {', '.join(left)}")
    else:
        click.echo(f"{found}: no job runs any more; the execution is {view.status}")
    return ExecutionFailed.exit_code if left else 0


@executions.command()
@click.option(
    "--lost-for",
    "minutes",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="MINUTES",
    help="How long no worker must have been at a step. The engine may start it again before.",
)
@workdir_option
@format_option
@aws_errors
def sweep(minutes: int, workdir: Path, form: str) -> int:
    """Stop the jobs that lost runs left.

    A job is stopped if its execution has ended, if no worker has been at its step for that long, if
    its step was given up, or if it runs beyond its own maximum run time; never while a worker is at
    it. Records in S3 do not show whether a worker is at a step: there, use `executions stop ID` for
    a run that you know to be lost.

    Exit code: 0, or 3 when a job does not stop within a minute or could not be looked at.
    """
    place = _place(workdir)
    swept: list[dict[str, str]] = []
    unknown: list[str] = []
    for execution in place.records.ids():
        body = place.records.execution(execution)
        if body is None or body.get("format") != FORMAT:
            continue
        try:
            ending = Ending(
                place.records, execution, _backend_of(place.for_execution(body).backend)
            )
            lost = ending.lost(timedelta(minutes=minutes))
            left = ending.stop_attempts(lost)
        except Exception as error:  # noqa: BLE001 - told, after the other executions were swept
            unknown.append(f"{execution}: {type(error).__name__}: {error}")
            continue
        for one in lost:
            job = one.job.name if one.job is not None else ""
            state = "Stopping" if one.step in left else "Stopped"
            swept.append({"execution": execution, "step": one.step, "job": job, "state": state})
    if form == "json":
        print_json(swept)
    elif not swept and not unknown:
        click.echo("lost runs left no jobs")
    else:
        for row in swept:
            click.echo(printable(" ".join(filter(None, row.values()))))
    for line in unknown:
        click.echo(printable(f"{line} (sweep again)"), err=True)
    stopping = unknown or any(row["state"] == "Stopping" for row in swept)
    return ExecutionFailed.exit_code if stopping else 0


def _backend_of(backend: Backend) -> Callable[[Attempt], Backend]:
    """The backend of an attempt: on AWS in the region of its job, whatever this shell's is."""

    @cache
    def of_region(region: str) -> Backend:
        from sagebridge_operators.backends.aws import AwsBackend, session_clients

        return AwsBackend(lambda: session_clients({"region_name": region}))

    def backend_of(attempt: Attempt) -> Backend:
        arn = attempt.job.arn if attempt.job is not None else None
        region = arn.split(":")[3] if backend.name == "aws" and arn else ""
        return of_region(region) if region else backend

    return backend_of


def _status(records: ExecutionRecords, execution: str) -> str:
    """The status of an execution: the end that was recorded, else what its steps add up to."""
    if (end := records.end(execution)) is not None:
        return str(end["status"])
    try:
        attempts = records.steps(execution)
    except OlderRecord:
        return "older version"
    pipeline = sagebridge.read(records.definition(execution)).pipeline
    asked = records.stop_requested(execution)
    return status(pipeline, attempts, stop_requested=asked).status


def _has_ended(reader: ExecutionReader, execution: str) -> bool:
    """Whether it is known to have: what cannot be looked at is stopped all the same."""
    try:
        return reader.view(execution).status != "Executing"
    except Exception:  # noqa: BLE001 - told when it is looked at after the stop
        return False


def _no_log(attempt: Attempt, run: str, asked: str | None) -> str:
    """Why a step without a job has no log here; nothing of a type that never has one, unasked."""
    kind, head = attempt.type, f"step {attempt.step!r}"
    if kind in CODE_TYPES:
        return f"{head} is code: its log is that of its task in {run}"
    if kind in JOB_TYPES:
        return f"{head} has no job{f': {attempt.reason}' if attempt.reason else ' yet'}"
    return f"{head} has no log: a {kind} step has no job" if asked is not None else ""


def _place(workdir: Path) -> Workdir:
    return Workdir.of(workdir, default_name())
