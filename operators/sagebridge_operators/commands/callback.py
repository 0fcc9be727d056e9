"""``sagebridge callback``: list the Callback steps that wait, and answer them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from sagebridge.errors import UsageError
from sagebridge.model.pipeline import walk
from sagebridge.model.values import ABSENT
from sagebridge.terminal.console import aligned, console, print_json, printable
from sagebridge.terminal.options import format_option
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_printing import second
from sagebridge_operators.commands.shared_options import aws_errors, workdir_option
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.answers import (
    WaitingStep,
    give_answer,
    waiting_step,
    waiting_steps,
)
from sagebridge_operators.lifecycle.recorded_pipeline import recorded_pipeline
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.output_parameters import typed_outputs

_TOKEN = click.argument("token", metavar="TOKEN")


@click.group(short_help="List and answer the Callback steps that wait.")
def callback() -> None:
    """List and answer the Callback steps that wait.

    A Callback step sends a message with a token and waits for an answer. Each step can be answered
    once. The records of the executions are in the working folder, or in SAGEBRIDGE_RECORDS if set.
    """


@callback.command("list")
@workdir_option
@format_option
@aws_errors
def list_callbacks(folder: Path, form: str) -> None:
    """List the steps that wait for an answer, the longest waiting first."""
    records = _records(folder)
    rows = [_row(one) for one in waiting_steps(records)]
    if form == "json":
        print_json(rows)
    elif not rows:
        where = records.objects.location
        click.echo(printable(f"no step waits for an answer (records in {where})"))
    else:
        names = ("token", "execution", "step", "sent", "arguments")
        head = [Text("sent (UTC)" if name == "sent" else name, "bold") for name in names]
        lines = [[Text(printable(_shown(name, row[name]))) for name in names] for row in rows]
        for line in aligned([head, *lines]):
            console().print(line, soft_wrap=True)


@callback.command()
@_TOKEN
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an output parameter of the step. Repeatable.",
)
@workdir_option
@aws_errors
def succeed(token: str, outputs: tuple[str, ...], folder: Path) -> None:
    """Let the step with TOKEN succeed.

    All output parameters that the step declares are required.
    """
    records = _records(folder)
    values = dict(map(_pair, outputs))
    found = waiting_step(records, token)
    _check(records, found, values)
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    give_answer(records, token, {"status": "Success", "outputParameters": parameters})
    click.echo(printable(f"{_name(found)}: answered"))


@callback.command()
@_TOKEN
@click.option("--reason", metavar="TEXT", default="", help="Failure reason of the step.")
@workdir_option
@aws_errors
def fail(token: str, reason: str, folder: Path) -> None:
    """Let the step with TOKEN fail."""
    answer = {"status": "Failure", "failureReason": reason}
    found = give_answer(_records(folder), token, answer)
    click.echo(printable(f"{_name(found)}: answered"))


def _check(records: ExecutionRecords, found: WaitingStep, values: Mapping[str, str]) -> None:
    """Raises UsageError for values that are not the declared outputs of a waiting step."""
    steps = walk(recorded_pipeline(records, found.execution))
    name = found.attempt.step if found.attempt is not None else None
    step = next((one for one in steps if one.name == name), None)
    if step is None:
        return
    declared = () if step.output_parameters is ABSENT else step.output_parameters
    names = [one.name for one in declared]
    if unknown := [one for one in values if one not in names]:
        known = ", ".join(names) or "none"
        raise UsageError(f"step {step.name!r} has no output {unknown[0]!r} (outputs: {known})")
    try:
        typed_outputs(step, values, "the answer")
    except StepFailed as refused:
        raise UsageError(str(refused)) from None


def _row(one: WaitingStep) -> dict[str, Any]:
    return {
        "token": one.token,
        "execution": one.execution,
        "step": one.attempt.name if one.attempt is not None else "",
        "queue": one.queue,
        "sent": one.sent,
        "arguments": one.message["arguments"],
    }


def _shown(name: str, value: Any) -> str:
    return second(value) if name == "sent" else value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _name(one: WaitingStep) -> str:
    step = one.attempt.name if one.attempt is not None else one.token
    return f"{one.execution} {step}"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"-o {text}: expected NAME=VALUE")
    return name, value


def _records(folder: Path) -> ExecutionRecords:
    return Workdir.of(folder, default_name()).records
