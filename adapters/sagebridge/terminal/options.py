"""Options that several commands have."""

from __future__ import annotations

import click

from sagebridge.registry import FORMATS

from_option = click.option(
    "--from", "from_", type=click.Choice(tuple(FORMATS)), help="The sources' format."
)
