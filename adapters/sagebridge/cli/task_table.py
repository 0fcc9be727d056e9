"""``sagebridge assess --tasks``: the tasks that translations carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.text import Text

from sagebridge.errors import MissingExtra
from sagebridge.task_counts import CountedTask, State, TaskCount, count_tasks
from sagebridge.terminal.console import aligned, console, count, print_json, printable

_STATES: tuple[State, ...] = ("carried", "lost", "unreported")
_STYLE = {"carried": "green", "lost": "red", "unreported": "bold red"}


def print_task_counts(files: Sequence[str], form: str, *, summary: bool) -> int:
    """Print the tasks of DAG and flow files; returns 1 if a task is neither carried nor reported.

    A file whose engine is not installed is skipped, unless no other file is left.
    """
    found: list[TaskCount] = []
    missing: list[MissingExtra] = []
    for one in count_tasks(files):
        if isinstance(one, MissingExtra):
            missing.append(one)
        else:
            found.append(one)
    if missing and not found:
        raise missing[0]
    for error in missing:
        click.echo(printable(f"skipped: {error}"), err=True)
    if form == "json":
        print_json({"summary": _totals(found), "files": [one.as_json() for one in found]})
    else:
        if not summary:
            _print(found)
        click.echo(_total_line(found))
    return 1 if any(one.count("unreported") for one in found) else 0


def _print(found: Sequence[TaskCount]) -> None:
    rows = [[Text(word, "bold") for word in ("file", "tasks", *_STATES)]]
    for one in found:
        numbers = [Text(str(one.count(state)), _STYLE[state]) for state in _STATES]
        for number in numbers:
            if number.plain == "0":
                number.style = "dim"
        rows.append([Text(printable(one.source)), Text(str(len(one.tasks))), *numbers])
    out = console()
    for row in aligned(rows):
        out.print(row, soft_wrap=True)
    for one in found:
        if one.error and not one.tasks:
            out.print(Text(printable(one.error)), soft_wrap=True)
        for task in one.tasks:
            for line in _lines(one, task):
                out.print(Text(printable(line)), soft_wrap=True)


def _lines(file: TaskCount, task: CountedTask) -> Iterator[str]:
    """A task that is not carried, with its losses."""
    if task.state == "carried":
        return
    place = f"{file.source}:{task.line}: {task.name}"
    if task.state == "unreported":
        yield f"{place} is neither carried nor reported; please report this fault of sagebridge"
        return
    yield f"{place} is lost:"
    for loss in task.losses:
        yield f"  {loss}"


def _totals(found: Sequence[TaskCount]) -> dict[str, Any]:
    states = Counter(task.state for one in found for task in one.tasks)
    return {
        "files": len(found),
        "tasks": states.total(),
        **{state: states[state] for state in _STATES},
    }


def _total_line(found: Sequence[TaskCount]) -> str:
    totals = _totals(found)
    tasks = totals["tasks"]
    share = f" ({totals['carried'] * 100 // tasks} %)" if tasks else ""
    return (
        f"{count(len(found), 'file')}, {count(tasks, 'task')}: {totals['carried']} carried{share}, "
        f"{totals['lost']} lost, {totals['unreported']} unreported"
    )
