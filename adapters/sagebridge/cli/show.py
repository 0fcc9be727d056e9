"""``sagebridge show``."""

from __future__ import annotations

import click

import sagebridge
from sagebridge.cli.output import console, print_json, printable
from sagebridge.cli.tree import as_json, as_tree
from sagebridge.registry import FORMATS


@click.command(short_help="Show the parameters and steps of a pipeline.")
@click.argument("source")
@click.option("--as", "shape", type=click.Choice(("tree",)), default="tree", show_default=True)
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text")
@click.option("--name", help="Call the pipeline by this name instead of its own.")
@click.option("--from", "from_", type=click.Choice(tuple(FORMATS)), help="The source's format.")
def show(source: str, shape: str, form: str, name: str | None, from_: str | None) -> None:
    """Show the parameters of a pipeline, its steps with their branches, and what each waits for."""
    del shape
    pipeline, losses = sagebridge.read(source, from_, name=name)
    for loss in losses:
        click.echo(printable(str(loss)), err=True)
    if form == "json":
        print_json(as_json(pipeline))
    else:
        console().print(as_tree(pipeline))
