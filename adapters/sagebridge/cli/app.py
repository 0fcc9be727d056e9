"""The commands: our own, and those that other packages bring by the group sagebridge.commands."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

import sagebridge
from sagebridge.errors import MissingExtra
from sagebridge.model.display import did_you_mean

GROUP = "sagebridge.commands"
_OWN = {
    "assess": "sagebridge.cli.assess:assess",
    "show": "sagebridge.cli.show:show",
    "translate": "sagebridge.cli.translate:translate",
    "validate": "sagebridge.cli.validate:validate",
}
_EXTRAS = {
    "airflow": "airflow",
    "boto3": "aws",
    "botocore": "aws",
    "numpy": "local",
    "pandas": "local",
    "prefect": "prefect",
    "sagemaker": "sagemaker",
    "sklearn": "local",
    "xgboost": "local",
}
"""The extra that brings a module which may be absent."""


class Commands(click.Group):
    """Commands that are loaded when they are asked for, so that none pays for another."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _OWN:
            module, _, attribute = _OWN[cmd_name].partition(":")
            own: click.Command = getattr(import_module(module), attribute)
            return own
        for point in entry_points(group=GROUP, name=cmd_name):
            return _load(point)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            known = self.list_commands(ctx)
            hint = did_you_mean(name, known) or f" (there are {', '.join(known)})"
            ctx.fail(f"no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except MissingExtra as missing:
            return f"(needs the extra {missing.extra!r})"
        except ImportError as error:
            return f"(cannot be loaded: {error})"
        return command.get_short_help_str(limit=100) if command is not None else ""


def _load(point: EntryPoint) -> click.Command:
    try:
        command: Any = point.load()
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(f"the command {point.name!r}", extra) from error
    assert isinstance(command, click.Command), f"{point.value} is no command"
    return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 findings, or a stale file; 2 usage; 3 the execution failed; "
    "4 losses with --fail-on-loss; 5 a source cannot be read; 6 an extra or a service is missing.",
)
@click.version_option(sagebridge.__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Read, check, translate and run SageMaker pipelines, on AWS or on this machine.

    A SOURCE is a definition file, a CreatePipeline or DescribePipeline document, a CloudFormation
    template, an Airflow DAG or Prefect flow file (FILE#NAME where these have several pipelines),
    - for standard input, or module:attribute for a pipeline of the SageMaker SDK. Reading a DAG
    file, or a flow that sagebridge did not write, executes its Python in a process of its own; of
    JSON, YAML and flows as sagebridge writes them nothing is ever executed.
    """
