"""Progress and results of executions, for terminals and pipes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

import click
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sagebridge.authoring import runnable
from sagebridge.model.pipeline import Pipeline
from sagebridge.terminal.console import aligned, printable
from sagebridge_operators.commands.execution_view import StepView, View
from sagebridge_operators.lifecycle.step_states import RUNNING

_STYLES = {
    "Pending": "dim",
    "Executing": "cyan",
    "Stopping": "yellow",
    "Succeeded": "green",
    "Failed": "bold red",
    "CompletedWithFailures": "bold red",
    "Stopped": "yellow",
    "Skipped": "dim",
    "NotRun": "dim",
}
_LONGEST_ITEM = 40


class Progress:
    """The steps while they run: a live table, or in a pipe one line per change."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._seen: dict[str, str] = {}
        self._live = Live(console=out, auto_refresh=True, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the live display."""
        self._live.stop()

    def waiting(self, what: str) -> None:
        """Show a message until the first step."""
        if self._out.is_terminal:
            self._live.update(Spinner("dots", Text(what)))
        else:
            self._out.print(what)

    def steps(self, steps: Sequence[StepView]) -> None:
        if self._out.is_terminal:
            self._live.update(_live(steps))
            return
        for step in steps:
            before = self._seen.get(step.name, "Pending")
            if step.state not in (before, "NotRun"):
                self._seen[step.name] = step.state
                self._out.print(_change(step), soft_wrap=True)


def _change(step: StepView) -> str:
    """``12:03:44 AbaloneTrain Succeeded 8.1 s``."""
    parts = [f"{datetime.now().astimezone():%H:%M:%S}", printable(step.name), step.state]
    if step.seconds is not None and step.state not in RUNNING:
        parts.append(f"{step.seconds:.1f} s")
    if step.cached_from:
        parts.append("(cached)")
    return " ".join(parts)


def _live(steps: Sequence[StepView]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(no_wrap=True)
    grid.add_column(width=10)
    grid.add_column(width=9, justify="right")
    for step in steps:
        mark = Spinner("dots") if step.state in RUNNING else Text(_mark(step.state))
        style = _STYLES[step.state]
        name, state = Text(printable(step.name), style), Text(step.state, style)
        grid.add_row(mark, name, state, _time(step))
    return grid


def _mark(state: str) -> str:
    return {"Succeeded": "✓", "Failed": "✗", "Stopped": "■"}.get(state, "·")


def _time(step: StepView) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"


def print_view(out: Console, view: View, *, jobs: bool = False) -> None:
    """Print the steps (with ``jobs``, their jobs too), outputs, metrics and the result."""
    rows = [
        [
            Text(printable(step.name)),
            Text(printable(_item(step))),
            Text(printable(step.type)),
            Text(_state(step), _STYLES[step.state]),
            Text(_time(step)),
            Text(printable(_job(step))),
        ]
        for step in view.steps
    ]
    rows = [*_other_steps(view), *rows]
    items = any(step.item is not None for step in view.steps)
    columns = [0, *([1] if items else []), 2, 3, 4, *([5] if jobs else [])]
    names = ("step", "item", "type", "state", "time", "job")
    _print_table(out, [names[at] for at in columns], [[row[at] for at in columns] for row in rows])
    out.print()
    for label, value in _facts(view):
        out.print(Text(f"{label}: {value}"), soft_wrap=True)
    for step in view.steps:
        if step.state in ("Failed", "Stopped") and step.reason not in ("", view.reason):
            line = f"{step.name}: {step.reason}"
            out.print(Text("\n".join(map(printable, line.splitlines()))), soft_wrap=True)
    out.print(Text(f"result: {view.status}", _STYLES[view.status]), soft_wrap=True)
    if view.reason:
        reason = "\n".join(map(printable, view.reason.splitlines()))
        out.print(Text(f"reason: {reason}"), soft_wrap=True)


def _other_steps(view: View) -> list[list[Text]]:
    """Rows for the steps that were not selected, but whose outputs the selected steps use."""
    rows = []
    for name, origin in view.selection.get("origins", {}).items():
        source = f"from {origin['execution']}" if origin["execution"] else "given"
        cells = (printable(name), "", printable(origin["type"]), source, "", "")
        rows.append([Text(cell, "dim") for cell in cells])
    return rows


def _state(step: StepView) -> str:
    text = step.state if step.outcome is None else f"{step.state}: {_outcome(step.outcome)}"
    if step.cached_from:
        text += f" (cached from {step.cached_from.partition('/')[0]})"
    return text if step.attempts < 2 else f"{text} ({step.attempts} attempts)"


def _item(step: StepView) -> str:
    """The item of an iteration in the table."""
    item = step.item or ""
    return item if len(item) <= _LONGEST_ITEM else f"{item[: _LONGEST_ITEM - 3]}..."


def _outcome(held: bool) -> str:
    return "true (if)" if held else "false (else)"


def _job(step: StepView) -> str:
    """The name of the job; of a model package ARN, only the end."""
    name = step.job or ""
    return name.partition("model-package/")[2] or name


def _facts(view: View) -> list[tuple[str, str]]:
    facts = [(f"metric {name}", json.dumps(value)) for name, value in view.metrics.items()]
    facts += [
        (f"condition {step.name}", _outcome(step.outcome))
        for step in view.steps
        if step.outcome is not None
    ]
    for step in view.steps:
        if len(step.made) == 0:
            continue
        (label, main), *others = step.made.items()
        more = ", ".join(value for _, value in others)
        facts.append((f"{step.name} {label}", f"{main} ({more})" if more else main))
    return [(printable(label), printable(value)) for label, value in facts]


def warn(pipeline: Pipeline) -> None:
    """Warn about a pipeline that cannot run."""
    if (line := runnable.warning(pipeline)) is not None:
        click.echo(printable(line), err=True)


def print_list(out: Console, rows: Sequence[Mapping[str, str]]) -> None:
    names = ("id", "pipeline", "engine", "backend", "started (UTC)", "status")
    cells = [
        [Text(printable(second(text) if name == "started" else text)) for name, text in row.items()]
        for row in rows
    ]
    _print_table(out, names, cells)


def second(time: str) -> str:
    """A recorded time in UTC, to the second; a string that is not a time is returned unchanged."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return time


def _print_table(out: Console, names: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print rows without cutting or wrapping, so that names can be copied."""
    for line in aligned([[Text(name, "bold") for name in names], *rows]):
        out.print(line, soft_wrap=True)
