"""Jobs, models and objects on this machine, behind boto3's own clients."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from sagebridge_operators.backends.local.api import REGION, arn
from sagebridge_operators.backends.local.store import FolderStore

ROLE = "arn:aws:iam::000000000000:role/sagebridge-local"


class LocalBackend:
    """Jobs run as processes of this machine; everything that they leave is in ``home``.

    Relative plain paths in requests are taken from ``base``.
    """

    name = "local"
    poll_seconds = (0.2, 2.0)
    default_role: str | None = ROLE

    def __init__(self, home: Path, base: Path, region: str = REGION) -> None:
        self.home, self.base, self.region = home.absolute(), base.absolute(), region
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def client(self, service: str) -> Any:
        """A boto3 client of ``sagemaker`` or ``s3``, the same one at each call."""
        from sagebridge_operators.backends.local.client import client

        with self._lock:
            if service not in self._clients:
                self._clients[service] = client(service, self.home, self.base, self.region)
            return self._clients[service]

    def renew(self) -> None:
        """Nothing: keys of this machine do not expire."""

    def read_object(self, uri: str) -> bytes:
        """The object at an ``s3://`` or ``file://`` URI or plain path. Raises StoreError."""
        return FolderStore(self.home / "s3", self.base).read(uri)

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource here, as ``pipeline/x``."""
        return arn(self.region, resource)

    def job_log(self, kind: str, name: str, position: int) -> tuple[list[str], int]:
        """The lines a job has ended since byte ``position``, and the position after them.

        A line still being written is left for later, unless the job has ended.
        """
        from sagebridge_operators.backends.local.job_api import ended

        whole = ended(self.home, kind, name)
        try:
            with (self.home / "jobs" / kind / name / "log").open("rb") as log:
                log.seek(position)
                written = log.read()
        except FileNotFoundError:
            return [], position
        if not whole:
            written = written[: written.rfind(b"\n") + 1]
        return written.decode(errors="replace").splitlines(), position + len(written)
