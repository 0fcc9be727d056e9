"""The AWS access of a job: a server in its supervisor that answers from the local store."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from shlex import quote
from urllib.parse import unquote

from sagebridge_operators.backends.local import ROLE
from sagebridge_operators.backends.local.aws_keys import Keys, keys
from sagebridge_operators.backends.local.job_environment import ENDPOINT
from sagebridge_operators.backends.local.loopback import HOST, listen
from sagebridge_operators.backends.local.os_errors import describe
from sagebridge_operators.backends.local.supervised_job import Job

# A request with one of these variables has its own access, which must not be mixed with this one.
_OWN = re.compile(
    r"AWS_(ENDPOINT_URL(_\w+)?|IGNORE_CONFIGURED_ENDPOINT_URLS|ACCESS_KEY_ID|SECRET_ACCESS_KEY|"
    r"SESSION_TOKEN|(DEFAULT_)?PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|ROLE_ARN|"
    r"WEB_IDENTITY_TOKEN_FILE|CONTAINER_(CREDENTIALS|AUTHORIZATION)_\w+)"
)
_NOT_FOUND = 404
_MISSING = re.compile(r"\b404\b|NoSuchKey|NoSuchBucket|FileNotFoundError")


class AwsAccess:
    """What the script of a job needs to call AWS, and what it did not find.

    Attributes:
        variables: environment variables.
    """

    def __init__(self, job: Job) -> None:
        self.variables: dict[str, str] = {}
        self._job, self._is_noted, self._missing = job, False, ""

    def observe(self, service: str, path: str, status: int) -> None:
        """Note a request in the job's log, once."""
        if not self._is_noted:
            self._is_noted = True
            self._job.note("AWS calls of the script are answered from the local store")
        if service == "s3" and status == _NOT_FOUND:
            self._missing = f"s3:/{unquote(path)}"

    def explain(self, output: str) -> str:
        """The reason of a failure that the last lines of a log show; empty for all others."""
        if not self._missing or not _MISSING.search(output):
            return ""
        return (
            f"{self._missing} is not in the local store; copy it there with --upload "
            f"{quote(f'FILE={self._missing}')}, or run the pipeline with --backend aws"
        )


@contextmanager
def aws_access(job: Job, own: Mapping[str, str]) -> Iterator[AwsAccess]:
    """Answer AWS calls of a job while the block runs. ``own``: the variables of its request."""
    access = AwsAccess(job)
    if names := [name for name in own if _OWN.fullmatch(name)]:
        job.note(f"AWS calls go to AWS, not to the local store: the job sets {', '.join(names)}")
        yield access
        return
    with ExitStack() as stack:
        try:
            pair = keys(job.home)
            url = stack.enter_context(listen(partial(_serve, job, pair, access)))
        except OSError as error:
            job.note(f"AWS calls are not answered: {error.filename or HOST}: {describe(error)}")
        else:
            others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
            unproxied = f"{others},{HOST}" if others else HOST
            access.variables = {
                ENDPOINT: url,
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": pair.access,
                "AWS_SECRET_ACCESS_KEY": pair.secret,
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": unproxied,
                "no_proxy": unproxied,
            }
        yield access


def _serve(
    job: Job, pair: Keys, access: AwsAccess, listener: socket.socket, is_over: Callable[[], bool]
) -> None:
    # Most jobs never call AWS, and do not wait for these imports.
    from sagebridge_operators.backends.local.aws_identity import is_role
    from sagebridge_operators.backends.local.client import Endpoint
    from sagebridge_operators.backends.local.http_api import HttpApi
    from sagebridge_operators.backends.local.http_server import serve

    host, port = listener.getsockname()
    role = str(job.request.get("RoleArn"))
    endpoint = Endpoint(job.home, job.store.base, job.region, role if is_role(role) else ROLE)
    serve(listener, HttpApi(endpoint, pair, f"http://{host}:{port}", access.observe), is_over)
