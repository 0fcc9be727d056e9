"""Commands that need two engines: one reads the source, the other runs or deploys it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from click.core import ParameterSource

import sagebridge
from sagebridge.errors import SagebridgeError
from sagebridge.model.display import safe_stem
from sagebridge_operators.launch.engine_versions import ENGINES, is_installed

_FOLDERS = {"airflow": "dags", "prefect": "flows"}


class TwoEnvironments(SagebridgeError):
    """A source needs one engine and the command another, and one of them is not installed.

    Args:
        commands: two commands that do the same; the first is for the environment of ``reader``.
    """

    exit_code = 6

    def __init__(self, source: str, reader: str, engine: str, commands: tuple[str, str]) -> None:
        self.source, self.reader, self.engine, self.commands = source, reader, engine, commands
        missing = [ENGINES[one] for one in sorted((reader, engine)) if not is_installed(one)]
        verb = "are" if len(missing) > 1 else "is"
        first, second = commands
        super().__init__(
            f"{source}: {ENGINES[reader]} reads this file and {ENGINES[engine]} runs it, but "
            f"{' and '.join(missing)} {verb} not installed here; use two environments:\n"
            f"  with sagebridge[{reader}]: {first}\n"
            f"  with sagebridge[{engine}]: {second}"
        )

    def __reduce__(self) -> tuple[type[TwoEnvironments], tuple[str, str, str, tuple[str, str]]]:
        return type(self), (self.source, self.reader, self.engine, self.commands)


def require_engines(source: str, format: str | None, engine: str) -> None:
    """Raise TwoEnvironments if the source needs another engine than ``engine``, and one is missing.

    Call it in a click command whose argument is ``source`` or ``sources``.
    """
    reader = format or sagebridge.detect(source).name
    if reader in ("sagemaker", engine):
        return
    if is_installed(engine) and (is_installed(reader) or _is_source_form(reader, source)):
        return
    context = click.get_current_context()
    file, _, _ = source.partition("#")
    target = Path(
        context.params.get("output") or _FOLDERS[engine], f"{safe_stem(Path(file).stem)}.py"
    )
    translate = ["translate", source, "--to", engine, "-o", str(target)]
    if context.params.get("name"):  # a flow file has its own name
        translate += ["--name", str(context.params["name"])]
    if format is not None:
        translate += ["--from", format]
    then = [str(context.info_name), str(target), *_options(context, {"name", "output", "from_"})]
    commands = (shlex.join(["sagebridge", *translate]), shlex.join(["sagebridge", *then]))
    raise TwoEnvironments(source, reader, engine, commands)


def _is_source_form(reader: str, source: str) -> bool:
    """Whether a source is a flow in the form of written files, which is read without Prefect."""
    if reader != "prefect":
        return False
    try:
        sagebridge.read(source, reader)
    except SagebridgeError:
        return False
    return True


def _options(context: click.Context, without: set[str]) -> list[str]:
    """The options of the command line, without those in ``without``."""
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or name in without or not given:
            continue
        value = context.params[name]
        for one in value if option.multiple else (value,):
            words += [option.opts[-1]] if option.is_flag else [option.opts[-1], str(one)]
    return words
