"""Printing: rich on a terminal, plain text in a pipe, and nothing of a source is ever markup."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console

WIDE = 10_000


def prepare_streams() -> None:
    """Let no character that a terminal's encoding lacks end a command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def console(*, err: bool = False) -> Console:
    """The console for results, or for messages. In a pipe lines are as long as they are."""
    width = None if Console(stderr=err).is_terminal else WIDE
    return Console(stderr=err, highlight=False, markup=False, emoji=False, width=width)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def printable(text: str) -> str:
    """A text of a source with every control character escaped: it may hold terminal commands."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
