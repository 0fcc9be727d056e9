"""``sagebridge executions``: what ran, from the records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

import sagebridge
from sagebridge.terminal.console import console, print_json, printable
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_printing import print_list, print_view, second
from sagebridge_operators.commands.execution_view import ExecutionReader
from sagebridge_operators.commands.shared_options import aws_errors, format_option, workdir_option
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.step_states import status
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.run_errors import ExecutionFailed, UnknownStep
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
        body = records.execution(execution) or {}
        pipeline = sagebridge.read(records.definition(execution)).pipeline
        found = status(
            pipeline,
            records.steps(execution),
            records.end(execution),
            stop_requested=records.stop_requested(execution),
        )
        names = ("id", "pipeline", "engine", "backend", "started")
        rows.append({name: str(body.get(name, "")) for name in names} | {"status": found.status})
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
        if job := steps[name].get("job"):
            written[name], _ = backend.job_log(steps[name]["type"], job["name"], 0)
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
        left = stopping.stop(place.records, backend, found, code=True)
    view = reader.view(found)
    if form == "json":
        print_json({"id": found, "status": view.status, "still_running": left})
    elif left:
        click.echo(f"{found}: these steps have not ended yet: {', '.join(left)}")
    else:
        click.echo(f"{found}: no job runs any more; the execution is {view.status}")
    return ExecutionFailed.exit_code if left else 0


def _has_ended(reader: ExecutionReader, execution: str) -> bool:
    """Whether it is known to have: what cannot be looked at is stopped all the same."""
    try:
        return reader.view(execution).status != "Executing"
    except Exception:  # noqa: BLE001 - told when it is looked at after the stop
        return False


def _no_log(record: Mapping[str, Any], run: str, asked: str | None) -> str:
    """Why a step without a job has no log here; nothing of a type that never has one, unasked."""
    kind, head = record["type"], f"step {record['name']!r}"
    if kind in CODE_TYPES:
        return f"{head} is code: its log is that of its task in {run}"
    if kind in JOB_TYPES:
        reason = record.get("reason")
        return f"{head} has no job{f': {reason}' if reason else ' yet'}"
    return f"{head} has no log: a {kind} step has no job" if asked is not None else ""


def _place(workdir: Path) -> Workdir:
    return Workdir.of(workdir, default_name())
