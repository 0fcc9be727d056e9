"""Options of several commands."""

from __future__ import annotations

import click

from sagebridge.registry import FORMATS

format_names = click.Choice(tuple(FORMATS))
from_option = click.option(
    "--from",
    "from_",
    type=format_names,
    metavar="FORMAT",
    help="Source format: sagemaker, airflow or prefect. Default: detected.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format.",
)
_NAME = (
    "Pipeline name. Default: the name in SOURCE; if it has none, the file name without its suffix."
)
name_option = click.option("--name", metavar="NAME", help=_NAME)
single_name_option = click.option(
    "--name", metavar="NAME", help=f"{_NAME} Requires a single source."
)
