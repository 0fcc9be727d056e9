"""Executions on a terminal, and in plain lines in a pipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sagebridge.cli.output import printable
from sagebridge_operators.commands.view import StepView, View
from sagebridge_operators.lifecycle.states import RUNNING

_STYLES = {
    "Pending": "dim",
    "Executing": "cyan",
    "Stopping": "yellow",
    "Succeeded": "green",
    "Failed": "bold red",
    "Stopped": "yellow",
    "Skipped": "dim",
    "NotRun": "dim",
}


class Progress:
    """Shows the steps while they run: a table that changes, or in a pipe a line a change."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._seen: dict[str, str] = {}
        self._live = Live(console=out, auto_refresh=True, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Shows no more."""
        self._live.stop()

    def waiting(self, what: str) -> None:
        """Says what is awaited before the first step."""
        if self._out.is_terminal:
            self._live.update(Spinner("dots", Text(what)))
        else:
            self._out.print(what)

    def steps(self, steps: Sequence[StepView]) -> None:
        if self._out.is_terminal:
            self._live.update(Group(*(_live_line(step) for step in steps)))
            return
        for step in steps:
            before = self._seen.get(step.name, "Pending")
            if step.state not in (before, "NotRun"):
                self._seen[step.name] = step.state
                self._out.print(_change(step), soft_wrap=True)


def _change(step: StepView) -> str:
    """``12:03:44 AbaloneTrain Succeeded 8.1 s``."""
    words = [f"{datetime.now().astimezone():%H:%M:%S}", printable(step.name), step.state]
    if step.seconds is not None and step.state not in RUNNING:
        words.append(f"{step.seconds:.1f} s")
    return " ".join(words)


def _live_line(step: StepView) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(min_width=30, no_wrap=True)
    grid.add_column(width=10)
    grid.add_column(width=9, justify="right")
    grid.add_column(no_wrap=True)
    mark = Spinner("dots") if step.state in RUNNING else Text(_mark(step.state))
    style = _STYLES[step.state]
    grid.add_row(
        mark,
        Text(printable(step.name), style),
        Text(step.state, style),
        _time(step),
        Text(step.job or "", "dim"),
    )
    return grid


def _mark(state: str) -> str:
    return {"Succeeded": "✓", "Failed": "✗", "Stopped": "■"}.get(state, "·")


def _time(step: StepView) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"


def print_view(out: Console, view: View) -> None:
    """The table of steps, what they made and measured, and the result."""
    table = Table("step", "type", "state", "time", "job", box=None, pad_edge=False)
    for step in view.steps:
        table.add_row(
            Text(printable(step.name)),
            step.type,
            Text(_state(step), _STYLES[step.state]),
            _time(step),
            Text(_job(step), overflow="fold"),
        )
    out.print(table)
    out.print()
    for label, value in _facts(view):
        out.print(Text(f"{label}: {value}"), soft_wrap=True)
    for step in view.steps:
        if step.state in ("Failed", "Stopped") and step.reason not in ("", view.reason):
            line = f"{step.name} {step.state}: {step.reason}"
            out.print(Text("\n".join(map(printable, line.splitlines()))), soft_wrap=True)
    out.print(Text(f"result: {view.status}", _STYLES[view.status]), soft_wrap=True)
    if view.reason:
        reason = "\n".join(map(printable, view.reason.splitlines()))
        out.print(Text(f"reason: {reason}"), soft_wrap=True)


def _state(step: StepView) -> str:
    return step.state if step.outcome is None else f"{step.state}: {_outcome(step.outcome)}"


def _outcome(held: bool) -> str:
    return "true (if)" if held else "false (else)"


def _job(step: StepView) -> str:
    """A model package is told by its ARN below; here its last part is enough."""
    name = step.job or ""
    return name.partition("model-package/")[2] or name


def _facts(view: View) -> list[tuple[str, str]]:
    facts = [(f"measured {name}", json.dumps(value)) for name, value in view.metrics.items()]
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


def print_list(out: Console, rows: Sequence[Mapping[str, str]]) -> None:
    table = Table(*rows[0], box=None, pad_edge=False) if rows else Table(box=None)
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row.values()))
    out.print(table if rows else "no executions")
