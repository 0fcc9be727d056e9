"""Help pages with tables for exit codes and the like, and with examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

Tables = Mapping[str, Mapping[str, str]]
"""Rows by table title; each row is a term and its meaning."""


class TableCommand(click.Command):
    """A command whose help ends with ``tables`` and ``examples`` (command lines)."""

    def __init__(
        self, *args: Any, tables: Tables | None = None, examples: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.tables, self.examples = tables or {}, examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_tables(formatter, self.tables)
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def write_tables(formatter: click.HelpFormatter, tables: Tables) -> None:
    for title, rows in tables.items():
        with formatter.section(title):
            formatter.write_dl(list(rows.items()))
