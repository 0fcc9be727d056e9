"""``sagebridge show``."""

from __future__ import annotations

import click

import sagebridge
from sagebridge.cli.pipeline_tree import as_json, as_tree
from sagebridge.drawing.diagram import diagram, marks
from sagebridge.drawing.dot import dot
from sagebridge.drawing.mermaid import mermaid
from sagebridge.drawing.svg import svg
from sagebridge.registry import FORMATS
from sagebridge.terminal.console import console, print_json, printable

_PICTURES = {"mermaid": mermaid, "dot": dot, "svg": svg}


@click.command(short_help="Show the parameters and steps of a pipeline.")
@click.argument("source")
@click.option(
    "--as",
    "shape",
    type=click.Choice(("tree", *_PICTURES, "json")),
    default="tree",
    show_default=True,
    help="A tree to read, a picture of the steps (svg needs no Graphviz), or JSON.",
)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text")
@click.option(
    "--for", "target", type=click.Choice(tuple(FORMATS)), help="Mark what this target would lose."
)
@click.option("--name", help="Call the pipeline by this name instead of its own.")
@click.option("--from", "from_", type=click.Choice(tuple(FORMATS)), help="The source's format.")
def show(
    source: str, shape: str, form: str, target: str | None, name: str | None, from_: str | None
) -> None:
    """Show the parameters of a pipeline, its steps with their branches, and what each waits for."""
    pipeline, losses = sagebridge.read(source, from_, name=name)
    if target is not None:
        losses = (*losses, *sagebridge.write(pipeline, target).losses)
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
