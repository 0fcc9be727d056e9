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
    help="Source format: sagemaker, airflow or prefect. Detected by default.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format.",
)
name_option = click.option(
    "--name", metavar="NAME", help="Override the pipeline name. Requires a single source."
)
