"""``sagebridge executions``: list, inspect and stop executions by their records."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click
from rich.text import Text

from sagebridge.terminal.console import console, print_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import format_option
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_printing import print_list, print_view, second
from sagebridge_operators.commands.execution_view import ExecutionReader, status_of
from sagebridge_operators.commands.job_backends import JobBackends
from sagebridge_operators.commands.retry import retry
from sagebridge_operators.commands.shared_options import aws_errors, workdir_option
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.sweep import LOST_FOR, WITHIN, Sweep
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.run_errors import ExecutionFailed, UnknownStep
from sagebridge_operators.steps import JOB_TYPES

_LOG_LINES = 100_000
"""Most lines of a job that ``logs`` prints; a log in CloudWatch has no end."""
_EXECUTION = click.argument("execution", metavar="ID")


@click.group(short_help="List, inspect, retry and stop executions.")
def executions() -> None:
    """List, inspect, retry and stop executions.

    An execution is one run of a pipeline. Its records are in the working folder, or in
    SAGEBRIDGE_RECORDS if set. You can shorten an ID to any unique prefix.
    """


executions.add_command(retry)


@executions.command("list")
@workdir_option
@format_option
@aws_errors
def list_executions(folder: Path, form: str) -> None:
    """List all executions, newest first."""
    records = _open_workdir(folder).records
    rows: list[dict[str, str]] = []
    for execution in records.ids():
        if (body := records.execution(execution)) is None:
            continue
        names = ("id", "pipeline", "engine", "backend", "started")
        row = {name: str(body.get(name, "")) for name in names}
        rows.append(row | {"status": status_of(records, execution)})
    if form == "json":
        print_json(rows)
    elif rows:
        print_list(console(), rows)
    else:
        where = records.objects.location
        click.echo(printable(f"no executions in {where}; use --workdir for another working folder"))


@executions.command()
@_EXECUTION
@workdir_option
@format_option
@aws_errors
def show(execution: str, folder: Path, form: str) -> None:
    """Show the steps, jobs and property files of an execution."""
    reader = ExecutionReader(_open_workdir(folder))
    found = reader.workdir.records.resolve(execution)
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
def logs(execution: str, step: str | None, folder: Path, form: str) -> None:
    """Print the job logs of an execution, or of one STEP.

    The name of a step in the body of a ForEach stands for all its iterations; Score-0 is the first.
    """
    workdir = _open_workdir(folder)
    found = workdir.records.resolve(execution)
    body = workdir.records.execution(found) or {}
    backend = workdir.for_execution(body).backend
    attempts = sorted(workdir.records.current(found), key=lambda one: (one.step, one.index))
    chosen = [one for one in attempts if step in (None, one.step, one.name)]
    if step is not None and not chosen:
        raise UnknownStep(step, list(dict.fromkeys(one.name for one in attempts)))
    written: dict[str, list[str]] = {}
    for one in chosen:
        if job := one.job:
            written[one.name] = backend.job_log(one.type, job.name).read(_LOG_LINES)
        elif note := _no_log(one, f"{body.get('engine')} run {body.get('run')}", step):
            click.echo(printable(note), err=True)
    if form == "json":
        print_json(written)
        return
    out = console()
    for name, lines in written.items():
        for line in lines:
            head = f"[{name}] " if step is None or len(chosen) > 1 else ""
            out.print(Text(printable(f"{head}{line.expandtabs()}")), soft_wrap=True)


@executions.command(
    cls=TableCommand,
    tables={
        "Exit codes": {
            "0": "The execution has ended.",
            "3": "A step is still running after one minute.",
            "6": "A service does not respond.",
        }
    },
)
@_EXECUTION
@workdir_option
@format_option
@aws_errors
def stop(execution: str, folder: Path, form: str) -> int:
    """Stop an execution and wait until its steps have ended."""
    workdir = _open_workdir(folder)
    found = workdir.records.resolve(execution)
    body = workdir.records.execution(found) or {}
    backends = JobBackends(workdir)
    reader = ExecutionReader(workdir)
    left: list[str] = []
    if not _has_ended(reader, found):
        ending = Ending(workdir.records, found, lambda attempt: backends.of(body, attempt))
        left = ending.stop(code=True)
    view = reader.view(found)
    if form == "json":
        print_json({"id": found, "status": view.status, "still_running": left})
    elif left:
        click.echo(f"{found}: steps still running: {', '.join(left)}")
    else:
        click.echo(f"{found}: no jobs are running; the execution is {view.status}")
    return ExecutionFailed.exit_code if left else 0


@executions.command(
    cls=TableCommand,
    tables={
        "Exit codes": {
            "0": "No lost job is running, or --dry-run was given.",
            "3": "A job did not stop within a minute, or its state is unknown.",
        }
    },
)
@click.option(
    "--lost-for",
    "minutes",
    type=click.IntRange(min=0),
    default=LOST_FOR // timedelta(minutes=1),
    show_default=True,
    metavar="MINUTES",
    help="Minutes without a worker after which a job counts as lost. Leave the engine enough time "
    "to retry the step.",
)
@click.option(
    "--within",
    "days",
    type=click.IntRange(min=1),
    default=WITHIN.days,
    show_default=True,
    metavar="DAYS",
    help="Only executions that started in the last DAYS days.",
)
@click.option("--dry-run", is_flag=True, help="List the lost jobs and stop none.")
@workdir_option
@format_option
@aws_errors
def sweep(minutes: int, days: int, dry_run: bool, folder: Path, form: str) -> int:
    """Stop lost jobs: jobs that no worker handles any more.

    Use this command after an engine or a worker was killed. A job is lost if no worker handles
    its step and one of these is true: no worker has looked at it for --lost-for minutes, the step
    ended before its job, the execution has ended, or the job exceeds its maximum run time.

    A worker with records in S3 notes every 15 minutes that it looks at its job. A deferred task
    notes the end of the job's maximum run time. The sweeps that run inside Airflow or Prefect also
    know which tasks have ended; see docs/semantics.md.
    """
    workdir = _open_workdir(folder)
    backends = JobBackends(workdir)
    found = Sweep(
        workdir.records,
        backends.of,
        lost_for=timedelta(minutes=minutes),
        within=timedelta(days=days),
        dry_run=dry_run,
    )
    swept = list(found.run())
    if form == "json":
        print_json([asdict(one) for one in swept])
    elif not swept:
        click.echo("no lost jobs found")
    else:
        for one in swept:
            words = filter(None, (one.execution, one.step, one.job, one.state))
            click.echo(printable(f"{' '.join(words)}: {one.why}"), err=one.state == "Unknown")
    return ExecutionFailed.exit_code if any(one.left for one in swept) else 0


def _has_ended(reader: ExecutionReader, execution: str) -> bool:
    """Whether the execution has ended; False if its state cannot be read, so that it is stopped."""
    try:
        return reader.view(execution).status != "Executing"
    except Exception:  # noqa: BLE001 - reported by the view after the stop
        return False


def _no_log(attempt: Attempt, run: str, selected: str | None) -> str:
    """Why a step has no log here; empty for a type without jobs, unless ``selected``."""
    kind, head = attempt.type, f"step {attempt.name!r}"
    if kind in CODE_TYPES:
        return f"{head} is user code; its log is the task log in {run}"
    if kind in JOB_TYPES:
        return f"{head} has no job{f': {attempt.reason}' if attempt.reason else ' yet'}"
    return f"{head} has no log: {kind} steps have no job" if selected is not None else ""


def _open_workdir(folder: Path) -> Workdir:
    return Workdir.of(folder, default_name())
