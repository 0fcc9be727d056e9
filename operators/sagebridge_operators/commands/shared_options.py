"""What the commands that run things have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from sagebridge.errors import ServiceError

_P = ParamSpec("_P")
_R = TypeVar("_R")

workdir_option = click.option(
    "--workdir",
    type=click.Path(path_type=Path),
    envvar="SAGEBRIDGE_HOME",
    default=".sagebridge",
    show_default=True,
    help="The folder of records, jobs and the local store.",
)
upload_option = click.option(
    "--upload",
    "uploads",
    multiple=True,
    metavar="LOCAL=S3URI",
    help="A file or folder to put into the store first; a URI that ends in / is a folder.",
)
format_option = click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True
)


def aws_errors(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """AWS that refuses or cannot be reached is told in its words, without a traceback."""

    @wraps(command)
    def telling(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            if type(error).__module__.startswith("botocore."):
                # An operation that is refused is named, and may be one of the local backend.
                head = "" if hasattr(error, "operation_name") else "AWS: "
                raise ServiceError(f"{head}{error}") from error
            raise

    return telling
