"""The command group: built-in commands, and those of the entry point group sagebridge.commands."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

import sagebridge
from sagebridge.authoring.json_document import (
    MAX_BYTES,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_REFERENCE,
)
from sagebridge.errors import MissingExtra
from sagebridge.model.display import did_you_mean
from sagebridge.terminal.help_tables import write_tables

GROUP = "sagebridge.commands"
_BUILT_IN = {
    "assess": "sagebridge.cli.assess:assess",
    "schedule": "sagebridge.cli.schedule:schedule",
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
"""The extra that installs each optional module."""

_SOURCES = {
    "FILE.json": "Pipeline definition, CreatePipeline request, DescribePipeline response, "
    "CloudFormation template, or requests of EventBridge.",
    "FILE.yaml": "CloudFormation template.",
    "prefect.yaml": "Prefect flows, with the schedules of their deployments.",
    "FILE.py": "Airflow DAG file or Prefect flow file.",
    "FILE#NAME": "The pipeline NAME of a file that contains several.",
    "MODULE:NAME": "SageMaker SDK pipeline object, or a function that returns one. FILE.py:NAME "
    "works too. --arg sets arguments.",
    "prefect://FLOW/NAME": "The deployment NAME on the Prefect server of PREFECT_API_URL.",
    "FOLDER": "All pipeline files in the folder, without subfolders. Not for run, schedule and "
    "show.",
    "-": "Pipeline definition on standard input.",
}
_EXECUTED = (
    "Reading a DAG file, MODULE:NAME, or a flow that is not built with sagebridge's step functions "
    "executes its code. DAGs and flows are executed in a separate process. All other sources are "
    "only parsed."
)
_LIMITS = {
    "Size of a source": f"{MAX_BYTES // 2**20} MiB.",
    "Reference": f"{MAX_REFERENCE} characters, such as a Get path.",
    "Nesting": f"{MAX_DEPTH} levels of JSON, and {MAX_CONDITIONS} conditions in each other.",
    "Import of a file": "60 seconds, for a DAG or flow file that is executed.",
}
_EXIT_CODES = {
    "0": "Success.",
    "1": "A pipeline has errors, or --check found differences.",
    "2": "Wrong options or parameter values.",
    "3": "The execution failed or was stopped, or a job is still running.",
    "4": "The translation has losses, and --fail-on-loss is set.",
    "5": "A source cannot be read.",
    "6": "An optional dependency (extra) is not installed, a service does not respond, or the "
    "working folder cannot be used.",
    "130": "Interrupted by Ctrl-C (SIGTERM: 143).",
}


class Commands(click.Group):
    """A group that imports a command only when it is used, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _BUILT_IN:
            module, _, attribute = _BUILT_IN[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        for point in entry_points(group=GROUP, name=cmd_name):
            return _load(point)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            known = self.list_commands(ctx)
            hint = did_you_mean(name, known) or f"; commands: {', '.join(known)}"
            ctx.fail(f"unknown command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_tables(formatter, {"Sources": _SOURCES})
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_EXECUTED)
        write_tables(formatter, {"Limits": _LIMITS, "Exit codes": _EXIT_CODES})

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
    assert isinstance(command, click.Command), f"{point.value} is not a click command"
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sagebridge.__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Translate, check and run machine learning pipelines.

    sagebridge translates between SageMaker pipelines, Airflow DAGs and Prefect flows. It runs
    pipelines on an engine (Airflow or Prefect), with jobs on AWS or on this machine.

    Run 'sagebridge COMMAND --help' for the options of a command.
    """
