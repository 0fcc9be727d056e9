"""``sagebridge assess``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.progress import track
from rich.text import Text

from sagebridge.assessment import Assessment, Outcome, counts
from sagebridge.assessment import assess as assess_all
from sagebridge.cli.task_table import print_task_counts
from sagebridge.errors import UsageError
from sagebridge.registry import FORMATS
from sagebridge.report.entries import as_json
from sagebridge.report.page import page
from sagebridge.terminal.console import aligned, console, count, dump_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import arg_option, format_names, format_option, from_option
from sagebridge.terminal.source_files import expand, write_file
from sagebridge.terminal.wording import finding_line

_STYLE = {"exact": "green", "changed": "yellow", "needs manual work": "red", "": "dim"}
_SAME = "(source format)"
_TABLES = {
    "Grades": {
        "exact": "Nothing is lost.",
        "changed": "Something behaves differently, or is unknown to sagebridge and kept as is.",
        "needs manual work": "Something is dropped, or the pipeline has errors or cannot be read.",
    },
    "Exit codes": {
        "0": "All pipelines have grades, or all tasks are counted. The grades do not matter.",
        "1": "With --tasks: a task is neither carried nor reported, a fault of sagebridge.",
        "5": "A folder contains no pipeline files.",
        "6": "A required extra is not installed.",
    },
}


@click.command(
    cls=TableCommand,
    short_help="Report what translating pipelines would lose.",
    tables=_TABLES,
    examples=(
        "sagebridge assess pipelines/ --to airflow",
        "sagebridge assess pipelines/ --to airflow --as html -o report.html",
        "sagebridge assess dags/ --tasks --summary",
    ),
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@arg_option
@click.option(
    "--to",
    "targets",
    multiple=True,
    type=format_names,
    metavar="FORMAT",
    help="Target format: sagemaker, airflow or prefect. Repeatable. Default: all formats except "
    "that of the source.",
)
@from_option
@click.option(
    "--as",
    "shape",
    type=click.Choice(("text", "html", "json")),
    default="text",
    show_default=True,
    metavar="SHAPE",
    help="Form of the output: text, html (a report for a browser) or json (the same as --format "
    "json).",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Output file. An existing file is overwritten. Default: standard output.",
)
@format_option
@click.option("--summary", is_flag=True, help="Print only the totals.")
@click.option(
    "--tasks",
    is_flag=True,
    help="Count the tasks of DAG and flow files that a translation to the other engine carries.",
)
def assess(
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    from_: str | None,
    shape: str,
    output: str | None,
    form: str,
    summary: bool,
    tasks: bool,
) -> int:
    """Report what translating pipelines would lose.

    Each pipeline gets one grade per target format. Nothing is written. 'sagebridge --help' lists
    the kinds of SOURCE.
    """
    shape = form if form == "json" and shape == "text" else shape
    if form == "json" and shape == "html":
        raise UsageError("--as html and --format json are two forms; omit one of them")
    if shape == "text" and output is not None:
        raise UsageError("-o requires --as html or --as json")
    if summary and shape == "html":
        raise UsageError("--summary prints text; omit it or --as html")
    if tasks:
        if targets or from_:
            raise UsageError("--tasks counts for the other engine; omit --to and --from")
        if shape == "html" or output is not None:
            raise UsageError("--tasks prints text or JSON; omit --as html and -o")
        return print_task_counts(expand(sources, (".py",)), shape, summary=summary)
    files = expand(sources)
    screen = console(err=True)
    found = list(
        track(
            assess_all(files, targets, from_),
            description="Assessing",
            total=len(files),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )
    )
    if shape != "text":
        text = page(found) if shape == "html" else dump_json(as_json(found))
        if output is None:
            click.echo(text, nl=False)
        else:
            write_file(Path(output), text)
            click.echo(printable(f"written {output}"), err=True)
        return 0
    if not summary:
        _print(found)
    for line in _summary(found):
        click.echo(line)
    return 0


def _print(found: Sequence[Assessment]) -> None:
    columns = _targets(found)
    rows = [[Text(word, "bold") for word in ("pipeline", "steps", *columns)]]
    for one in found:
        name = printable(one.pipeline or one.source)
        cells = (_cell(one, target) for target in columns)
        rows.append([Text(name), Text(str(one.steps or "")), *cells])
    out = console()
    for row in aligned(rows):
        out.print(row, soft_wrap=True)
    for one in found:
        for text, targets in _reasons(one).items():
            line = f"{text} (to {', '.join(dict.fromkeys(targets))})"
            out.print(Text(printable(line)), soft_wrap=True)


def _cell(one: Assessment, target: str) -> Text:
    if target not in one.outcomes:
        return Text(_SAME, "dim")
    outcome = one.outcomes[target]
    codes = ", ".join(dict.fromkeys(outcome.codes))
    return Text(f"{outcome.grade}" + (f" ({codes})" if codes else ""), _STYLE[outcome.grade])


def _reasons(one: Assessment) -> dict[str, list[str]]:
    """The losses and errors of a pipeline, one line each, with the targets they apply to."""
    found: dict[str, list[str]] = {}
    for target, outcome in one.outcomes.items():
        for loss in outcome.losses:
            prefix = (
                "" if loss.place.startswith(one.source.partition("#")[0]) else f"{one.source}: "
            )
            found.setdefault(f"{prefix}{loss}", []).append(target)
        for finding in outcome.findings:
            found.setdefault(finding_line(one.source, finding).plain, []).append(target)
        for line in outcome.error.splitlines():
            found.setdefault(line, []).append(target)
    return found


def _targets(found: Sequence[Assessment]) -> list[str]:
    there = {target for one in found for target in one.outcomes}
    return [target for target in FORMATS if target in there]


def _summary(found: Sequence[Assessment]) -> Iterator[str]:
    steps = sum(one.steps for one in found)
    yield f"{count(len(found), 'pipeline')}, {count(steps, 'step')}"
    for target, grades in counts(found).items():
        words = ", ".join(f"{number} {name}" for name, number in grades.items())
        codes = Counter(code for one in found for code in one.outcomes.get(target, _NONE).codes)
        why = ", ".join(f"{code} {number}" for code, number in codes.most_common())
        yield f"to {target}: {words}" + (f" ({why})" if why else "")


_NONE = Outcome("exact")
