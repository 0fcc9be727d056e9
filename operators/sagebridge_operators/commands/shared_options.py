"""Options and error handling shared by the commands of this package."""

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
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    envvar="SAGEBRIDGE_HOME",
    default=".sagebridge",
    show_default=True,
    show_envvar=True,
    help="Working folder: execution records, jobs and the local store.",
)
upload_option = click.option(
    "--upload",
    "uploads",
    multiple=True,
    metavar="LOCAL=S3URI",
    help="First copy a file or folder to S3, or to the local store with the local backend. If the "
    "URI ends in /, a file keeps its name. Repeatable.",
)


def aws_errors(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn errors of boto3 into a ServiceError, so that no traceback is printed."""

    @wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            # Compared by name, since botocore is optional.
            if type(error).__module__.startswith("botocore."):
                # A ClientError names its operation. It may come from the local backend, so "AWS: "
                # is added only to the other errors (connections, credentials).
                head = "" if hasattr(error, "operation_name") else "AWS: "
                raise ServiceError(f"{head}{error}") from error
            raise

    return wrapper
