"""Jobs, models and objects on this machine, behind boto3 clients."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.backends.local.api import REGION, arn
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.lifecycle.private_folders import restrict

if TYPE_CHECKING:
    from sagebridge_operators.backends.local.job_log import LocalLog

ROLE = "arn:aws:iam::000000000000:role/sagebridge-local"


class LocalBackend:
    """Jobs run as processes on this machine; all their data is in the folder ``home``.

    Relative paths in requests are relative to ``base``.
    """

    name = "local"
    poll_seconds = (0.2, 2.0)
    default_role: str | None = ROLE
    has_experiments = False
    response_queue: str | None = None

    def __init__(self, home: Path, base: Path, region: str = REGION) -> None:
        self.home, self.base, self.region = home.absolute(), base.absolute(), region
        restrict(self.home)
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def client(self, service: str) -> Any:
        """The boto3 client of a service of this machine, always the same one."""
        from sagebridge_operators.backends.local.client import client

        with self._lock:
            if service not in self._clients:
                self._clients[service] = client(service, self.home, self.base, self.region)
            return self._clients[service]

    def renew(self) -> None:
        """Nothing to do: local credentials do not expire."""

    def read_object(self, uri: str) -> bytes:
        """The object at an ``s3://`` or ``file://`` URI or a path. Raises StoreError."""
        return FolderStore(self.home / "s3", self.base).read(uri)

    def invocation(self, token: str) -> dict[str, Any] | None:
        """The invocation of a Lambda function with a token, or None."""
        from sagebridge_operators.backends.local.database import Records
        from sagebridge_operators.backends.local.lambda_api import invocation

        return invocation(Records(self.home / "records.db"), token)

    def stop_invocation(self, token: str) -> None:
        """Ends the running invocation of a Lambda function with a token."""
        from sagebridge_operators.backends.local.lambda_api import stop_invocation

        stop_invocation(self.home, token)

    def arn(self, resource: str) -> str:
        """The ARN of a local SageMaker resource, such as ``pipeline/x``."""
        return arn(self.region, resource)

    def job_log(self, kind: str, name: str, position: int = 0) -> LocalLog:
        """The log of a job, or of the server of an endpoint, from byte ``position`` on."""
        from sagebridge_operators.backends.local import endpoint_api
        from sagebridge_operators.backends.local.job_log import LocalLog

        if kind in STEP_TYPES and STEP_TYPES[kind].check_types:
            kind = "Processing"
        if kind == "Endpoint":
            kind, name = endpoint_api.log_of(self.home, name)
        if kind == "Lambda":
            name = name.rpartition("|")[2]
        return LocalLog(self.home, kind, name, position)
