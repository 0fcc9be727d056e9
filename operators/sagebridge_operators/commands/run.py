"""``sagebridge run``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

import sagebridge
from sagebridge.cli.output import console, print_json, printable
from sagebridge.cli.validate import finding_line
from sagebridge.errors import SourceError, UsageError
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge_operators.backends import NAMES
from sagebridge_operators.commands.options import aws_errors, format_option, workdir_option
from sagebridge_operators.commands.printing import Progress, print_view
from sagebridge_operators.commands.view import Reader
from sagebridge_operators.errors import ExecutionFailed
from sagebridge_operators.launch.execution import AirflowExecution
from sagebridge_operators.launch.home import airflow_version
from sagebridge_operators.launch.place import Place
from sagebridge_operators.launch.upload import Upload
from sagebridge_operators.steps import why_not_runnable


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM; its text is the reason that the execution is recorded with."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@click.command(short_help="Run a pipeline to its end.")
@click.argument("source")
@click.option(
    "--on", "engine", type=click.Choice(("airflow",)), required=True, help="What runs the steps."
)
@click.option(
    "--backend",
    type=click.Choice(NAMES),
    envvar="SAGEBRIDGE_BACKEND",
    default="local",
    show_default=True,
    help="Where the jobs run: on this machine, or on AWS.",
)
@click.option(
    "-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter's value."
)
@click.option(
    "--upload",
    "uploads",
    multiple=True,
    metavar="LOCAL=S3URI",
    help="A file or folder to put into the store first; a URI that ends in / is a folder.",
)
@click.option("--name", help="The pipeline's name; else the document's, else the file's.")
@workdir_option
@click.option("--keep-ui", is_flag=True, help="Keep the Airflow UI after the end, until Ctrl-C.")
@format_option
@aws_errors
def run(
    source: str,
    engine: str,
    backend: str,
    given: tuple[str, ...],
    uploads: tuple[str, ...],
    name: str | None,
    workdir: Path,
    keep_ui: bool,
    form: str,
) -> int:
    """Run a pipeline to its end, on an Airflow that lives as long as the run.

    Jobs, records and the local store are kept in the working folder. Ctrl-C stops the jobs and the
    execution; a second one does not wait for the jobs.

    Exit code: 0 when the execution succeeded, 3 when it did not, 130 after Ctrl-C.
    """
    del engine
    airflow_version()
    pipeline = _read(source, name)
    if pipeline is None:
        return 1
    parameters = coerce(pipeline.declared, dict(map(_pair, given)))
    sending = [Upload.parse(upload) for upload in uploads]
    _warn(pipeline)
    place = Place.of(workdir, backend)
    place.check_writable()
    place.check_isolation(pipeline)
    # With JSON on standard output, what happens is told on the other one.
    out = console(err=form == "json")
    with _interrupts():
        for upload in sending:
            upload.send(place.backend.client("s3"))
        execution = AirflowExecution(pipeline, parameters, place)
        try:
            return _execute(execution, out, form, keep_ui=keep_ui)
        except Interrupted as interrupted:
            _report(execution, form)
            raise SystemExit(128 + interrupted.number) from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"-p {text}: Name=Value is expected")
    return name, value


def _read(source: str, name: str | None) -> Pipeline | None:
    """The pipeline; None where the definition has errors, which are printed."""
    text = _piped() if source == "-" else source
    pipeline, losses = sagebridge.read(text, name=name)
    err = console(err=True)
    for loss in losses:
        err.print(printable(str(loss)), soft_wrap=True)
    errors = [one for one in sagebridge.validate(text) if one.severity == "error"]
    for finding in errors:
        err.print(finding_line(source, finding), soft_wrap=True)
    return None if errors else pipeline


def _piped() -> str:
    """The document on standard input, which is text alone: it names no file and no module."""
    text = sys.stdin.read().removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        raise SourceError("<stdin>", "no JSON object", "a pipeline definition is expected")
    return text


def _warn(pipeline: Pipeline) -> None:
    for step in walk(pipeline):
        if (what := why_not_runnable(step)) is not None:
            text = f"warning: sagebridge cannot run {what}; the execution fails if it is reached"
            click.echo(printable(text), err=True)


def _execute(execution: AirflowExecution, out: Console, form: str, *, keep_ui: bool) -> int:
    """Starts the execution, shows it until it has ended, and what came of it; the exit code."""
    reader = Reader(execution.place)
    with Progress(out) as progress:
        progress.waiting(f"execution {execution.id}: starting Airflow {airflow_version()}")
        with execution:
            out.print(f"Airflow UI: {execution.airflow.ui}", soft_wrap=True)
            while execution.running():
                progress.steps(reader.progress(execution.id, execution.pipeline))
                time.sleep(execution.place.look_seconds)
            execution.finish()
            progress.steps(reader.progress(execution.id, execution.pipeline))
            progress.close()
            code = _report(execution, form)
            if keep_ui:
                out.print("The UI stays until Ctrl-C.")
                with suppress(Interrupted):
                    signal.pause()
    return code


def _report(execution: AirflowExecution, form: str) -> int:
    """Shows the execution as it ended; the exit code."""
    view = Reader(execution.place).view(execution.id)
    if form == "json":
        print_json({**view.as_json(), "ui": execution.airflow.ui})
    else:
        print_view(console(), view)
    return 0 if view.status == "Succeeded" else ExecutionFailed.exit_code


@contextmanager
def _interrupts() -> Iterator[None]:
    """SIGINT and SIGTERM raise :class:`Interrupted`, each time that they come."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        os.write(2, b"stopping the jobs (Ctrl-C again: without waiting for them)\n")
        raise Interrupted(number)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
