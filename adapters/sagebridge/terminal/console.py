"""Console output: rich on a terminal, plain text in a pipe. Markup in sources is not rendered."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sagebridge.model.display import printable

__all__ = ["aligned", "console", "count", "dump_json", "prepare_streams", "print_json", "printable"]

WIDE = 10_000


def prepare_streams() -> None:
    """Escape characters that the encoding of the terminal lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def console(*, err: bool = False) -> Console:
    """The console for results, or for messages (``err``). In a pipe, lines are not wrapped."""
    width = None if Console(stderr=err).is_terminal else WIDE
    return Console(stderr=err, highlight=False, markup=False, emoji=False, width=width)


def dump_json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def print_json(value: Any) -> None:
    click.echo(dump_json(value), nl=False)


def count(number: int, thing: str, things: str = "") -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or f'{thing}s'}"


def aligned(rows: Sequence[Sequence[Text]]) -> Iterator[Text]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text("  ").join(
            _padded(cell, width) for cell, width in zip(row, widths, strict=True)
        )
        line.rstrip()
        yield line


def _padded(cell: Text, width: int) -> Text:
    padded = cell.copy()
    padded.pad_right(width - cell.cell_len)
    return padded
