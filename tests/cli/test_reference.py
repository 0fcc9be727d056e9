"""docs/cli.md says what --help says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sagebridge.cli.app import app

FILE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
HEAD = """\
# Command line

`sagebridge COMMAND --help`, all of them. This page is made by
`pytest tests/cli/test_reference.py --update-golden`, and the tests compare it.
"""


def reference() -> str:
    settings = {**app.context_settings, "terminal_width": 100}
    with click.Context(app, info_name="sagebridge", **settings) as context:
        return "\n".join((HEAD, fenced(app.get_help(context)), *sections(app, context)))


def sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        with click.Context(command, context, name, terminal_width=100) as inner:
            yield f"## {inner.command_path}\n\n{fenced(command.get_help(inner))}"
            if isinstance(command, click.Group):
                yield from sections(command, inner)


def fenced(text: str) -> str:
    return f"```\n{text.rstrip()}\n```\n"


def test_reference_is_up_to_date(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--update-golden"):
        FILE.write_text(reference())
    assert FILE.read_text() == reference()
