"""The command line: parse the arguments, call the public API, print the result."""

from __future__ import annotations

import gc
from collections.abc import Sequence

INTERRUPTED = 130
GC_THRESHOLD = (200_000, 20, 100)
"""Collect garbage rarely: a command is short, and most of its objects live until it exits."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; ``argv`` defaults to the process's arguments.

    A :class:`SagebridgeError` is printed as one message on standard error. Any other exception is
    a bug and keeps its traceback.
    """
    import click

    from sagebridge.cli.app import app
    from sagebridge.errors import SagebridgeError
    from sagebridge.terminal.console import prepare_streams

    if argv is None:
        gc.set_threshold(*GC_THRESHOLD)
    prepare_streams()
    try:
        result = app.main(
            args=None if argv is None else list(argv), prog_name="sagebridge", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SagebridgeError as error:
        click.echo(f"sagebridge: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return result if isinstance(result, int) else 0
