"""``sagebridge show``."""

from __future__ import annotations

import click

import sagebridge
from sagebridge.cli.pipeline_tree import as_json, as_tree
from sagebridge.drawing.diagram import diagram, marks
from sagebridge.drawing.dot import dot
from sagebridge.drawing.mermaid import mermaid
from sagebridge.drawing.svg import svg
from sagebridge.model.losses import for_target
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import console, print_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import (
    arg_option,
    format_names,
    format_option,
    from_option,
    map_option,
    name_option,
    schedules_option,
)

_PICTURES = {"mermaid": mermaid, "dot": dot, "svg": svg}


@click.command(
    cls=TableCommand,
    short_help="Show the parameters and steps of a pipeline.",
    examples=(
        "sagebridge show nightly.json --for airflow",
        "sagebridge show nightly.json --as svg > nightly.svg",
    ),
)
@click.argument("source")
@arg_option
@click.option(
    "--as",
    "shape",
    type=click.Choice(("tree", *_PICTURES, "json")),
    default="tree",
    show_default=True,
    metavar="SHAPE",
    help="Form of the output: tree, mermaid, dot, svg or json (the same as --format json).",
)
@format_option
@click.option(
    "--for",
    "target",
    type=format_names,
    metavar="FORMAT",
    help="Mark what a translation to this format would lose: sagemaker, airflow or prefect.",
)
@name_option
@from_option
@schedules_option
@map_option
def show(
    source: str,
    shape: str,
    form: str,
    target: str | None,
    name: str | None,
    from_: str | None,
    changes: Changes,
) -> None:
    """Show the parameters, schedules and steps of a pipeline.

    Steps are shown with their branches and dependencies. 'sagebridge --help' lists the kinds of
    SOURCE.
    """
    pipeline, losses = sagebridge.read(source, from_, name=name)
    pipeline = changes.apply(pipeline)
    changes.warn()
    if target is not None:
        losses = (*for_target(losses, target), *sagebridge.write(pipeline, target).losses)
    by_step = marks(pipeline, losses)
    shown = {loss for lost in by_step.values() for loss in lost} if target else set()
    for loss in losses:
        if loss not in shown:
            click.echo(printable(str(loss)), err=True)
    if shape in _PICTURES:
        click.echo(_PICTURES[shape](diagram(pipeline, by_step)), nl=False)
    elif shape == "json" or form == "json":
        print_json(as_json(pipeline, by_step))
    else:
        console().print(as_tree(pipeline, by_step))
