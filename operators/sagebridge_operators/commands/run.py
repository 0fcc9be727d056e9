"""``sagebridge run``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console
from rich.text import Text

import sagebridge
from sagebridge.authoring.schedule_rules import CODES
from sagebridge.errors import SourceError, TranslationError, UsageError
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import console, print_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import arg_option, format_option, map_option, name_option
from sagebridge.terminal.wording import finding_line
from sagebridge_operators.commands.execution_printing import Progress, print_view
from sagebridge_operators.commands.execution_view import ExecutionReader, StepView
from sagebridge_operators.commands.retry import described_source, unscheduled
from sagebridge_operators.commands.selected_steps import choose_steps, selection_options
from sagebridge_operators.commands.shared_options import (
    aws_errors,
    upload_option,
    workdir_option,
)
from sagebridge_operators.commands.two_environments import require_engines
from sagebridge_operators.launch.engine_versions import ENGINES, version_of
from sagebridge_operators.launch.uploads import Upload
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.answers import how_to_answer
from sagebridge_operators.lifecycle.backend import NAMES
from sagebridge_operators.lifecycle.opening import require_runnable
from sagebridge_operators.run_errors import ExecutionFailed

if TYPE_CHECKING:
    from sagebridge_operators.launch.engine_execution import EngineExecution
    from sagebridge_operators.launch.prefect_flow import Flow


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM. Its message is recorded as the reason for the stop."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class _Interrupts:
    """Raise :class:`Interrupted` for each SIGINT and SIGTERM inside the ``with`` block."""

    def __init__(self) -> None:
        self.ended = False
        """True once the execution has ended and no job is left to stop."""
        self._raised: Interrupted | None = None

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._interrupt) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        stopping = b"stopping the jobs (press Ctrl-C again to exit without waiting)\n"
        os.write(2, b"closing the UI\n" if self.ended else stopping)
        self._raised = Interrupted(number)
        raise self._raised

    def repeat(self) -> None:
        """Raise the last interrupt again; a callback may have swallowed it."""
        if self._raised is not None:
            raise self._raised


@click.command(
    cls=TableCommand,
    short_help="Run a pipeline and wait for the result.",
    tables={
        "Exit codes": {
            "0": "The execution succeeded.",
            "1": "The pipeline has errors.",
            "2": "Wrong options or parameter values.",
            "3": "The execution failed or was stopped.",
            "5": "The source cannot be read.",
            "6": "An extra is not installed, the engine does not start or dies, or the working "
            "folder cannot be used.",
            "130": "Interrupted by Ctrl-C (SIGTERM: 143).",
        }
    },
    examples=(
        "sagebridge run nightly.json --on airflow -p InputData=s3://bucket/data.csv",
        "sagebridge run flows/nightly.py --on prefect --backend aws --keep-ui",
        "sagebridge run p.json --on airflow --steps Eval,Check --from-execution latest",
    ),
)
@click.argument("source")
@arg_option
@click.option(
    "--on",
    "engine",
    type=click.Choice(tuple(ENGINES)),
    required=True,
    metavar="ENGINE",
    help="Engine that runs the steps: airflow or prefect.",
)
@click.option(
    "--backend",
    type=click.Choice(NAMES),
    envvar="SAGEBRIDGE_BACKEND",
    default="local",
    show_default=True,
    show_envvar=True,
    help="Where jobs run: on AWS or on this machine.",
)
@click.option(
    "-p",
    "--parameter",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a pipeline parameter. Repeatable.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run at most N steps at a time, instead of the pipeline's own limit.",
)
@selection_options
@upload_option
@click.option(
    "--lambda",
    "lambdas",
    multiple=True,
    metavar="NAME=FILE.py:HANDLER",
    help="With the local backend, run Lambda steps of the function NAME with a Python function. "
    "Default of HANDLER: lambda_handler. Repeatable.",
)
@name_option
@map_option
@workdir_option
@click.option("--keep-ui", is_flag=True, help="Keep the UI running after the run, until Ctrl-C.")
@format_option
@aws_errors
def run(
    source: str,
    engine: str,
    backend: str,
    given: tuple[str, ...],
    max_parallel: int | None,
    selected: tuple[str, ...],
    source_id: str | None,
    values: tuple[str, ...],
    uploads: tuple[str, ...],
    lambdas: tuple[str, ...],
    name: str | None,
    changes: Changes,
    folder: Path,
    keep_ui: bool,
    form: str,
) -> int:
    """Run a pipeline and wait for the result.

    The command starts a private Airflow or Prefect server, runs the pipeline on it and stops the
    server afterwards. It prints the address of the UI and its login. On Prefect, a flow file runs
    unchanged; any other source is translated first, and with --map a flow file too. 'sagebridge
    --help' lists the kinds of SOURCE.

    With --steps, no other step runs. What the selected steps use of other steps comes from
    --value, otherwise from --from-execution. On Prefect, a flow of the selected steps is generated.

    Ctrl-C stops the jobs and the execution. A second Ctrl-C exits without waiting for the jobs.
    """
    source = _piped() if source == "-" else source
    require_engines(source, None, engine)
    version_of(engine)
    found = _read(source)
    if found is None:
        return 1
    pipeline = found.pipeline if name is None else replace(found.pipeline, name=name)
    if max_parallel is not None:
        pipeline = replace(pipeline, parallelism=Parallelism(max_parallel))
    pipeline = unscheduled(changes.apply(pipeline))
    changes.warn()
    flow = None
    if engine == "prefect" and not selected:
        flow = generated_flow(pipeline) if changes else flow_of(source, name, pipeline)
        pipeline = flow.pipeline
    if flow is None or flow.file is None:
        _print_losses(found.losses)
    workdir = Workdir.of(folder, backend, lambdas)
    pairs = dict(map(_pair, given))
    chosen, parameters = choose_steps(pipeline, selected, source_id, values, pairs, workdir)
    if chosen is not None:
        pipeline = chosen.pipeline
        flow = generated_flow(pipeline) if engine == "prefect" else None
    sending = [Upload.parse(upload) for upload in uploads]
    own = flow is not None and flow.file is not None
    require_runnable(pipeline, partial(workdir.why_not_here, flow_file=own))
    workdir.check_writable()
    workdir.check_isolation(pipeline)
    for upload in sending:
        upload.send(workdir.backend.client("s3"))
    record = described_source(source, pipeline)
    if changes:
        record["changes"] = changes.as_json()
    if chosen is not None:
        record["selection"] = chosen.as_json()
    elif flow is not None and flow.file is not None:
        record["flow_file"] = str(flow.file)
    return run_to_end(flow or pipeline, parameters, workdir, record, form=form, keep_ui=keep_ui)


def run_to_end(
    what: Flow | Pipeline,
    parameters: Mapping[str, Any],
    workdir: Workdir,
    record: Mapping[str, Any],
    *,
    form: str,
    keep_ui: bool,
) -> int:
    """Run or retry an execution, show its progress and its result; return the exit code.

    The arguments are those of an EngineExecution. Raises SystemExit after an interrupt.
    """
    # With --format json, standard output has only the JSON; progress goes to standard error.
    out = console(err=form == "json")
    with _Interrupts() as interrupts:
        execution = _execution(what, parameters, workdir, record)
        try:
            return _execute(execution, out, form, interrupts, keep_ui=keep_ui)
        except Interrupted as interrupted:
            if execution.id and not interrupts.ended:
                _report(execution, form)
            raise SystemExit(128 + interrupted.number) from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"-p {text}: expected NAME=VALUE")
    return name, value


def _read(source: str) -> sagebridge.CheckedPipeline | None:
    """The pipeline to run; None if it has errors, which are printed."""
    shown = source if source.lstrip()[:1] != "{" else "<stdin>"
    try:
        (found,) = sagebridge.read_checked(source)
    except TranslationError as error:
        errors, losses = list(error.findings), error.losses
    else:
        if all(one.code in CODES for one in found.errors):
            return found
        errors, losses = [one for one in sagebridge.validate(source) if one.severity == "error"], ()
    for finding in errors:
        console(err=True).print(finding_line(shown, finding), soft_wrap=True)
    _print_losses(losses)
    return None


def _print_losses(losses: Sequence[Loss]) -> None:
    for loss in losses:
        console(err=True).print(printable(str(loss)), soft_wrap=True)


def flow_of(source: str, name: str | None, pipeline: Pipeline) -> Flow:
    """The flow that Prefect runs: that of the flow file, or one generated for the pipeline."""
    from sagebridge_operators.launch.flow_deployment import is_flow_source
    from sagebridge_operators.launch.prefect_flow import Flow

    if not is_flow_source(source):
        return generated_flow(pipeline)
    if name is not None:
        raise SourceError(source, "the name is set in the flow file", "remove --name")
    flow = Flow.of_file(source, pipeline)
    if flow.own_tasks:
        tasks = ", ".join(flow.own_tasks)
        text = f"warning: plain Prefect tasks run but are not steps of the execution: {tasks}"
        click.echo(printable(text), err=True)
    return flow


def generated_flow(pipeline: Pipeline) -> Flow:
    from sagebridge_operators.launch.prefect_flow import Flow

    return Flow.generated(pipeline)


def _piped() -> str:
    """The JSON document on standard input; file and module names are rejected."""
    text = sys.stdin.read().removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        raise SourceError("<stdin>", "not a JSON object", "expected a pipeline definition")
    return text


def _execution(
    what: Flow | Pipeline,
    parameters: Mapping[str, Any],
    workdir: Workdir,
    record: Mapping[str, Any],
) -> EngineExecution:
    if isinstance(what, Pipeline):
        from sagebridge_operators.launch.airflow_execution import AirflowExecution

        return AirflowExecution(what, parameters, workdir, record)
    from sagebridge_operators.launch.prefect_execution import PrefectExecution

    return PrefectExecution(what, parameters, workdir, record)


def _execute(
    execution: EngineExecution, out: Console, form: str, interrupts: _Interrupts, *, keep_ui: bool
) -> int:
    """Run the execution, show its progress and its result; return the exit code."""
    reader = ExecutionReader(execution.workdir)
    title = ENGINES[execution.engine]
    execution.report = lambda text: out.print(Text(printable(text)), soft_wrap=True)
    waiting = set[str]()
    with Progress(out) as progress:
        known = f"execution {execution.id}: " if execution.id else ""
        progress.waiting(f"{known}starting {title} {version_of(execution.engine)}")
        with execution:
            if not known:
                out.print(f"execution {execution.id}")
            out.print(Text(f"{title} UI: {execution.ui} ({execution.login})"), soft_wrap=True)
            while execution.running():
                interrupts.repeat()
                steps = reader.progress(execution.id, execution.pipeline)
                progress.steps(steps)
                _report_waiting(execution, steps, waiting)
                time.sleep(execution.workdir.look_seconds)
            execution.finish()
            progress.steps(reader.progress(execution.id, execution.pipeline))
            progress.close()
            code = _report(execution, form)
            interrupts.ended = True
            if keep_ui:
                out.print("The UI keeps running until Ctrl-C.")
                with suppress(Interrupted):
                    signal.pause()
    return code


def _report_waiting(execution: EngineExecution, steps: Sequence[StepView], known: set[str]) -> None:
    """Print how to answer the Callback steps that wait; ``known`` has their tokens afterwards."""
    home = execution.workdir.home
    option = "" if home == Path(".sagebridge").absolute() else f" --workdir {quote(str(home))}"
    for view in steps:
        if view.type == "Callback" and view.state == "Executing" and view.job not in {None, *known}:
            known.add(str(view.job))
            name = view.name if view.index is None else view.name.removesuffix(f"-{view.index}")
            step = execution.pipeline.step(name)
            if step is not None:
                execution.report(
                    how_to_answer(replace(step, name=view.name), str(view.job), option)
                )


def _report(execution: EngineExecution, form: str) -> int:
    """Show the final state of the execution; return the exit code."""
    view = ExecutionReader(execution.workdir).view(execution.id)
    if form == "json":
        print_json({**view.as_json(), "ui": execution.ui})
    else:
        print_view(console(), view)
    return 0 if view.status == "Succeeded" else ExecutionFailed.exit_code
