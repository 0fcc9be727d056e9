"""The backends of recorded jobs, for commands that look at jobs or stop them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.run_errors import JobElsewhere


@dataclass(frozen=True, slots=True)
class JobBackends:
    """Backends by execution and attempt; those on AWS have the credentials of this shell."""

    workdir: Workdir
    _opened: dict[tuple[str, str], Backend] = field(default_factory=dict)
    _accounts: dict[str, str] = field(default_factory=dict)

    def of(self, body: Mapping[str, Any], attempt: Attempt) -> Backend:
        """The backend of an attempt, given the record of its execution.

        On AWS it is in the region of the job, not of this shell. Raises JobElsewhere if the job is
        in another account than the shell's.
        """
        if body.get("backend") != "aws":
            return self._open("local", body)
        arn = attempt.parts[-1].arn if attempt.parts else None
        region, account = arn.split(":")[3:5] if arn else ("", "")
        backend = self._open(region or str(attempt.settings.get("region_name") or ""), body)
        if arn and (own := self._account(region, backend)) not in ("", account):
            settings = attempt.settings
            used = settings.get("aws_conn_id") or settings.get("aws_credentials")
            raise JobElsewhere(arn, own, str(used or ""))
        return backend

    def _open(self, where: str, body: Mapping[str, Any]) -> Backend:
        key = where, str(body.get("home", ""))
        if key not in self._opened:
            self._opened[key] = self.workdir.for_execution(body).backend
            if where not in ("", "local"):
                from sagebridge_operators.backends.aws import AwsBackend, session_clients

                region = {"region_name": where}
                self._opened[key] = AwsBackend(lambda: session_clients(region))
        return self._opened[key]

    def _account(self, region: str, backend: Backend) -> str:
        """The account of the shell's credentials; empty if STS does not answer."""
        if region not in self._accounts:
            try:
                self._accounts[region] = str(getattr(backend, "account", ""))
            except Exception:  # noqa: BLE001 - the next call to the job's service shows the cause
                self._accounts[region] = ""
        return self._accounts[region]
