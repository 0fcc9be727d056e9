"""Options of several commands."""

from __future__ import annotations

import click

from sagebridge.environment_mapping import Stage
from sagebridge.errors import UsageError
from sagebridge.registry import FORMATS, set_call_arguments
from sagebridge.terminal.changes import Changes

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


_SCHEDULES = "sagebridge.schedules"


def _keep_schedules(ctx: click.Context, option: click.Parameter, given: str | None) -> None:
    """Keep the value for the callback of ``--map``, which runs after that of an eager option."""
    ctx.meta[_SCHEDULES] = given


def _changes(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Changes:
    return Changes(Stage.parse(given), ctx.meta.get(_SCHEDULES))


schedules_option = click.option(
    "--schedules",
    metavar="SOURCE",
    is_eager=True,
    expose_value=False,
    callback=_keep_schedules,
    help="Add the schedules and event triggers of another source, such as a document of "
    "EventBridge. They replace those with the same name.",
)
map_option = click.option(
    "--map",
    "changes",
    metavar="OLD=NEW|FILE",
    multiple=True,
    callback=_changes,
    help="Replace OLD with NEW in all strings (such as buckets, roles and images) except names "
    "and references. A JSON or YAML FILE has the changes for a stage: accounts, buckets, images, "
    "roles, defaults of parameters, schedules on or off; see docs/schedules.md. Repeatable.",
)


def _set_arguments(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> None:
    """Keep the arguments until the command ends: they belong to reading any of its sources."""
    arguments: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"--arg {text}: expected NAME=VALUE")
        arguments[name] = value
    ctx.call_on_close(set_call_arguments(arguments))


arg_option = click.option(
    "--arg",
    metavar="NAME=VALUE",
    multiple=True,
    expose_value=False,
    callback=_set_arguments,
    help="Argument for the function in MODULE:NAME. Repeatable.",
)
