"""``sagebridge run``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console
from rich.text import Text

import sagebridge
from sagebridge.errors import SourceError, TranslationError, UsageError
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline
from sagebridge.terminal.console import console, print_json, printable
from sagebridge.terminal.wording import finding_line
from sagebridge_operators.backends import NAMES
from sagebridge_operators.commands.execution_printing import Progress, print_view, warn
from sagebridge_operators.commands.execution_view import ExecutionReader
from sagebridge_operators.commands.shared_options import (
    aws_errors,
    format_option,
    upload_option,
    workdir_option,
)
from sagebridge_operators.launch.engine_versions import ENGINES, version_of
from sagebridge_operators.launch.uploads import Upload
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.run_errors import ExecutionFailed

if TYPE_CHECKING:
    from sagebridge_operators.launch.engine_execution import EngineExecution
    from sagebridge_operators.launch.prefect_flow import Flow


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM; its text is the reason that the execution is recorded with."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class _Interrupts:
    """While it is entered SIGINT and SIGTERM raise :class:`Interrupted`, each time they come."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the execution has ended, so that no job is left to stop."""
        self._raised: Interrupted | None = None

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._interrupt) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del frame
        stopping = b"stopping the jobs (Ctrl-C again: without waiting for them)\n"
        os.write(2, b"closing the UI\n" if self.ended else stopping)
        self._raised = Interrupted(number)
        raise self._raised

    def repeat(self) -> None:
        """Raises again what code that was interrupted kept to itself, as a callback may."""
        if self._raised is not None:
            raise self._raised


@click.command(short_help="Run a pipeline to its end.")
@click.argument("source")
@click.option(
    "--on", "engine", type=click.Choice(tuple(ENGINES)), required=True, help="What runs the steps."
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
@upload_option
@click.option("--name", help="The pipeline's name; else the document's, else the file's.")
@workdir_option
@click.option("--keep-ui", is_flag=True, help="Keep the engine's UI after the end, until Ctrl-C.")
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
    """Run a pipeline to its end, on an engine that lives as long as the run.

    On Prefect a flow file runs as it is; of any other source a flow is written, as translate does.

    Jobs, records and the local store are kept in the working folder. Ctrl-C stops the jobs and the
    execution; a second one does not wait for the jobs.

    Exit code: 0 when the execution succeeded, 3 when it did not, 130 after Ctrl-C.
    """
    version_of(engine)
    source = _piped() if source == "-" else source
    found = _read(source)
    if found is None:
        return 1
    pipeline = found.pipeline if name is None else replace(found.pipeline, name=name)
    flow = _flow(source, name, pipeline) if engine == "prefect" else None
    if flow is None or flow.file is None:
        _tell(found.losses)
    pipeline = flow.pipeline if flow is not None else pipeline
    parameters = coerce(pipeline.declared, dict(map(_pair, given)))
    sending = [Upload.parse(upload) for upload in uploads]
    warn(pipeline)
    place = Workdir.of(workdir, backend)
    place.check_writable()
    place.check_isolation(pipeline)
    # With JSON on standard output, what happens is told on the other one.
    out = console(err=form == "json")
    for upload in sending:
        upload.send(place.backend.client("s3"))
    with _Interrupts() as interrupts:
        execution = _execution(flow or pipeline, parameters, place)
        try:
            return _execute(execution, out, form, interrupts, keep_ui=keep_ui)
        except Interrupted as interrupted:
            if execution.id and not interrupts.ended:
                _report(execution, form)
            raise SystemExit(128 + interrupted.number) from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"-p {text}: Name=Value is expected")
    return name, value


def _read(source: str) -> sagebridge.CheckedPipeline | None:
    """What is to run; None where it has errors, which are printed."""
    shown = source if source.lstrip()[:1] != "{" else "<stdin>"
    try:
        (found,) = sagebridge.read_checked(source)
    except TranslationError as error:
        errors, losses = list(error.findings), error.losses
    else:
        if all(one.severity != "error" for one in found.findings):
            return found
        errors, losses = [one for one in sagebridge.validate(source) if one.severity == "error"], ()
    for finding in errors:
        console(err=True).print(finding_line(shown, finding), soft_wrap=True)
    _tell(losses)
    return None


def _tell(losses: Sequence[Loss]) -> None:
    for loss in losses:
        console(err=True).print(printable(str(loss)), soft_wrap=True)


def _flow(source: str, name: str | None, pipeline: Pipeline) -> Flow:
    """What Prefect runs: a person's own flow, or one that is written."""
    from sagebridge_operators.launch.prefect_flow import Flow

    if sagebridge.detect(source).name != "prefect":
        return Flow.written(pipeline)
    if name is not None:
        raise SourceError(source, "a flow file says its flow's name", "leave --name out")
    flow = Flow.of_file(source, pipeline)
    if flow.own_tasks:
        tasks = ", ".join(flow.own_tasks)
        text = f"warning: the flow's own tasks run too, and are no steps of the execution: {tasks}"
        click.echo(printable(text), err=True)
    return flow


def _piped() -> str:
    """The document on standard input, which is text alone: it names no file and no module."""
    text = sys.stdin.read().removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        raise SourceError("<stdin>", "no JSON object", "a pipeline definition is expected")
    return text


def _execution(
    what: Flow | Pipeline, parameters: Mapping[str, Any], place: Workdir
) -> EngineExecution:
    if isinstance(what, Pipeline):
        from sagebridge_operators.launch.airflow_execution import AirflowExecution

        return AirflowExecution(what, parameters, place)
    from sagebridge_operators.launch.prefect_execution import PrefectExecution

    return PrefectExecution(what, parameters, place)


def _execute(
    execution: EngineExecution, out: Console, form: str, interrupts: _Interrupts, *, keep_ui: bool
) -> int:
    """Starts the execution, shows it until it has ended, and what came of it; the exit code."""
    reader = ExecutionReader(execution.place)
    title = ENGINES[execution.engine]
    execution.tell = lambda text: out.print(Text(printable(text)), soft_wrap=True)
    with Progress(out) as progress:
        known = f"execution {execution.id}: " if execution.id else ""
        progress.waiting(f"{known}starting {title} {version_of(execution.engine)}")
        with execution:
            if not known:
                out.print(f"execution {execution.id}")
            out.print(f"{title} UI: {execution.ui}", soft_wrap=True)
            while execution.running():
                interrupts.repeat()
                progress.steps(reader.progress(execution.id, execution.pipeline))
                time.sleep(execution.place.look_seconds)
            execution.finish()
            progress.steps(reader.progress(execution.id, execution.pipeline))
            progress.close()
            code = _report(execution, form)
            interrupts.ended = True
            if keep_ui:
                out.print("The UI stays until Ctrl-C.")
                with suppress(Interrupted):
                    signal.pause()
    return code


def _report(execution: EngineExecution, form: str) -> int:
    """Shows the execution as it ended; the exit code."""
    view = ExecutionReader(execution.place).view(execution.id)
    if form == "json":
        print_json({**view.as_json(), "ui": execution.ui})
    else:
        print_view(console(), view)
    return 0 if view.status == "Succeeded" else ExecutionFailed.exit_code
