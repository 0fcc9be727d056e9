"""``sagebridge schedule``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import click
from rich.text import Text

import sagebridge
from sagebridge.authoring.eventbridge_requests import eventbridge_expression
from sagebridge.authoring.prefect_schedules import prefect_schedule
from sagebridge.cli import schedule_view
from sagebridge.cli.schedule_view import local, summary_json, utc
from sagebridge.errors import MissingExtra, UsageError
from sagebridge.model.fire_times import fire_times, zone
from sagebridge.model.schedule_expressions import ExpressionError, Rate
from sagebridge.model.schedule_words import in_words
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import aligned, console, count, print_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import (
    arg_option,
    format_option,
    from_option,
    map_option,
    schedules_option,
)

_DEFAULT, _MOST = 10, 1000
_TITLES = {"sagemaker": "SageMaker", "airflow": "Airflow", "prefect": "Prefect"}
_NO_TIME = "-"


@dataclass(frozen=True, slots=True)
class Span:
    """Times after an instant, up to another one, at most so many."""

    after: datetime
    until: datetime | None
    number: int

    @property
    def anchor(self) -> datetime:
        """Where a rate without a start counts from."""
        return self.after + timedelta(microseconds=self.after.microsecond and 1)

    def of(self, schedule: Schedule) -> list[datetime]:
        """The times of EventBridge's rules."""
        found: Iterator[datetime] = fire_times(schedule, self.after, anchor=self.anchor)
        if (until := self.until) is not None:
            found = takewhile(lambda one: one <= until, found)
        return list(islice(found, self.number))


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """The times of one engine; None if they are not known. ``note`` explains a difference."""

    times: list[datetime] | None
    note: str = ""


@click.group(short_help="Compare the times of a pipeline's schedules on each engine.")
def schedule() -> None:
    """Compare the times of a pipeline's schedules on each engine."""


@schedule.command(
    "next",
    cls=TableCommand,
    short_help="List the next times of each schedule, for each engine.",
    tables={
        "Exit codes": {
            "0": "The times are listed. They may differ.",
            "1": "A schedule cannot be read.",
            "5": "The source cannot be read.",
        }
    },
    examples=(
        "sagebridge schedule next dags/nightly.py -n 20",
        "sagebridge schedule next p.json --between 2027-03-27 2027-03-30T12:00",
    ),
)
@click.argument("source")
@arg_option
@click.option(
    "-n",
    "number",
    type=click.IntRange(1, _MOST),
    metavar="N",
    help=f"How many times of each schedule. Default: {_DEFAULT}, or all with --between, at most "
    f"{_MOST}.",
)
@click.option(
    "--between",
    nargs=2,
    metavar="START END",
    help="Times from START to END, in ISO 8601. Without an offset, they are in the time zone of "
    "the schedule. Default: from now on.",
)
@from_option
@schedules_option
@map_option
@format_option
def next_(
    source: str,
    number: int | None,
    between: tuple[str, str] | None,
    from_: str | None,
    changes: Changes,
    form: str,
) -> int:
    """List the next times of each schedule, side by side for each engine.

    A line with a difference begins with '!'. Times are in the time zone of the schedule. If a
    schedule has no exact form in Prefect, its times are computed by Prefect itself, which needs
    the extra 'prefect'. 'sagebridge --help' lists the kinds of SOURCE.
    """
    pipeline, losses = sagebridge.read(source, from_)
    for loss in losses:
        click.echo(printable(str(loss)), err=True)
    pipeline = changes.apply(pipeline)
    changes.warn()
    if not pipeline.schedules:
        click.echo(printable(f"{pipeline.name or source}: no schedules"), err=True)
    listed, failed = [], False
    for one in pipeline.schedules:
        try:
            listed.append((one, _times(one, _span(one, number, between))))
        except ExpressionError as error:
            fix = f"; {error.fix}" if error.fix else ""
            click.echo(printable(f"schedule {one.name!r}: {error}{fix}"), err=True)
            failed = True
    if form == "json":
        rows = [_as_json(one, times) for one, times in listed]
        print_json({"pipeline": pipeline.name, "schedules": rows})
    else:
        for one, times in listed:
            _print(one, times, _span(one, number, between))
    return int(failed)


def _span(schedule: Schedule, number: int | None, between: tuple[str, str] | None) -> Span:
    if between is None:
        return Span(schedule_view.now(), None, number or _DEFAULT)
    start, end = (_instant(text, schedule) for text in between)
    if end < start:
        raise UsageError(f"--between {between[0]} {between[1]}: the end is before the start")
    return Span(start - timedelta(microseconds=1), end, number or _MOST)


def _instant(text: str, schedule: Schedule) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--between {text}: expected a time such as 2027-03-27 or 2027-03-27T12:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=zone(schedule.timezone))).astimezone(
        UTC
    )


def _times(schedule: Schedule, span: Span) -> dict[str, EngineTimes]:
    return {
        "sagemaker": _eventbridge_times(schedule, span),
        "airflow": EngineTimes(span.of(schedule)),
        "prefect": _prefect_times(schedule, span),
    }


def _eventbridge_times(schedule: Schedule, span: Span) -> EngineTimes:
    if eventbridge_expression(schedule) is None:
        return EngineTimes([], "EventBridge cannot express it")
    return EngineTimes(span.of(schedule))


def _prefect_times(schedule: Schedule, span: Span) -> EngineTimes:
    found = prefect_schedule(schedule, span.anchor)
    if not found.fields:
        return EngineTimes([], found.problem)
    if not found.problem:
        return EngineTimes(span.of(schedule))
    from sagebridge.formats.prefect.engine_times import engine_times

    try:
        times = engine_times(found.fields, span.after, span.until, span.number)
    except MissingExtra:
        return EngineTimes(None, f"{found.problem}; its times need the extra 'prefect'")
    return EngineTimes(times, found.problem)


def _rows(times: Mapping[str, EngineTimes], number: int) -> list[datetime]:
    """The first times of any engine. An engine that has one of them lists it."""
    every = {instant for one in times.values() for instant in one.times or ()}
    return sorted(every)[:number]


def _differs(instant: datetime, times: Mapping[str, EngineTimes]) -> bool:
    return any(instant not in one.times for one in times.values() if one.times is not None)


def _print(schedule: Schedule, times: Mapping[str, EngineTimes], span: Span) -> None:
    out = console()
    title = Text.assemble((printable(schedule.name), "bold"), f"  {printable(in_words(schedule))}")
    if not schedule.enabled:
        title.append("  off", "yellow")
    out.print(title)
    instants = _rows(times, span.number)
    if not instants:
        out.print("  no times")
    else:
        out.print(*aligned(list(_table(schedule, times, instants))), sep="\n")
    for note in _notes(schedule, times, len(instants), span):
        out.print(Text(f"  {printable(note)}", "dim"))


def _table(
    schedule: Schedule, times: Mapping[str, EngineTimes], instants: Sequence[datetime]
) -> Iterator[list[Text]]:
    yield [Text(" "), *(Text(_TITLES[name], "bold") for name in times)]
    for instant in instants:
        differs = _differs(instant, times)
        cells = [
            Text("?" if one.times is None else _cell(instant, one.times, schedule))
            for one in times.values()
        ]
        yield [Text("!" if differs else " ", "red"), *cells]


def _cell(instant: datetime, times: Sequence[datetime], schedule: Schedule) -> str:
    return local(instant, schedule) if instant in times else _NO_TIME


def _notes(
    schedule: Schedule, times: Mapping[str, EngineTimes], listed: int, span: Span
) -> Iterator[str]:
    for name, one in times.items():
        if one.note:
            yield f"{_TITLES[name]}: {one.note}"
    if isinstance(schedule.timing, Rate) and schedule.start is ABSENT:
        yield "without a start, times count from when the engine gets the schedule; here from " + (
            "the first time shown" if span.until else "now"
        )
    if schedule.flexible_minutes is not ABSENT:
        late = count(schedule.flexible_minutes, "minute")
        yield f"SageMaker: starts up to {late} later, as it has a flexible time window"
    if span.until and listed == span.number:
        yield f"only the first {listed} times"


def _as_json(schedule: Schedule, times: Mapping[str, EngineTimes]) -> dict[str, Any]:
    number = max((len(one.times or ()) for one in times.values()), default=0)
    instants = _rows(times, number)
    engines = {
        name: {
            "times": None if one.times is None else [utc(t) for t in one.times if t in instants],
            **({"note": one.note} if one.note else {}),
        }
        for name, one in times.items()
    }
    return {
        **summary_json(schedule),
        "engines": engines,
        "differences": [utc(one) for one in instants if _differs(one, times)],
    }
