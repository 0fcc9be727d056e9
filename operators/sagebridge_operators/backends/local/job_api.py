"""Jobs of every local kind: their records, and the supervisors that run them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.database import AlreadyExists, NoSuchRecord, Records
from sagebridge_operators.backends.local.listing import page
from sagebridge_operators.backends.local.local_job_type import (
    LOCAL_KINDS,
    LocalJobType,
    local_job_type,
)
from sagebridge_operators.backends.local.supervised_job import TERMINAL, enter

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


def check_name(member: str, name: object) -> str:
    """A resource's name, once it fits SageMaker's pattern (63 letters, digits and hyphens).

    Raises:
        ApiError: ValidationException in AWS's words.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value '{name}' at '{member[0].lower()}{member[1:]}' "
            f"failed to satisfy constraint: Member must satisfy regular expression pattern: "
            f"{NAME.pattern}",
        )
    return name


class Jobs:
    """The jobs of the local backend in the folder ``home``; each method is one API call."""

    def __init__(self, home: Path, base: Path, region: str, records: Records) -> None:
        self.home, self.base, self.region, self.records = home, base, region, records

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API's operations on jobs, by name."""
        verbs = {"Create": self.create, "Describe": self.describe, "Stop": self.stop}

        def bind(
            call: Callable[[LocalJobType, Mapping[str, Any]], dict[str, Any]], kind: str
        ) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
            return lambda request: call(local_job_type(kind), request)

        named = {
            f"{verb}{kind}Job": bind(call, kind)
            for verb, call in verbs.items()
            for kind in LOCAL_KINDS
        }
        return named | {f"List{kind}Jobs": bind(self.list, kind) for kind in LOCAL_KINDS}

    def create(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """Record a job and start its supervisor; the job goes on without its caller."""
        from sagebridge_operators.backends.local import supervisor

        name = check_name(job.name, request[job.name])
        job.check(request, self.records, self.region)
        now = time.time()
        job_arn = arn(self.region, f"{job.kind.lower()}-job/{name}")
        body = {
            **job.defaults,
            **{member: value for member, value in request.items() if member != "Tags"},
            **job.expected(request, name),
            job.arn: job_arn,
            job.status: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if job.secondary_statuses:
            enter(body, "Starting", f"Starting the {job.kind.lower()} job", now)
        with ExitStack() as stack:
            try:
                with self.records.transaction() as transaction:
                    transaction.insert(job.kind, name, body)
                    # Before anybody sees the record: it is nobody's without the lock.
                    lock = stack.enter_context(supervisor.hold(self.home, job.kind, name))
                    if lock is None:  # of a job whose record is gone
                        raise AlreadyExists(job.kind, name)
            except AlreadyExists:
                raise ApiError(
                    "ResourceInUse",
                    f"{job.kind} job names must be unique within an AWS account and region, and a "
                    f"{job.kind.lower()} job with this name already exists ({job_arn})",
                ) from None
            supervisor.start(self.home, job.kind, name, self.base, lock)
        return {job.arn: job_arn}

    def describe(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """A job as it is now."""
        body = self._body(job, request[job.name])
        return {
            member: value
            for member, value in body.items()
            if not member.startswith("_") and member not in job.undescribed
        }

    def stop(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a job's end; who waits for it asks Describe."""
        from sagebridge_operators.backends.local import supervisor

        name = request[job.name]
        status = self._body(job, name)[job.status]
        if status in TERMINAL:
            raise ApiError(
                "ValidationException",
                f"The request was rejected because the {job.kind.lower()} job is in status "
                f"{status}.",
            )
        supervisor.request_stop(self.home, job.kind, name)
        return {}

    def list(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """The jobs of a kind, as the request filters and orders them."""
        bodies = [
            body if body[job.status] in TERMINAL else self._body(job, body[job.name])
            for body in self.records.list(job.kind)
        ]
        shown = (job.name, job.arn, job.status, "CreationTime", "LastModifiedTime")
        return page(
            bodies,
            request,
            members=(*shown, f"{job.kind}EndTime", *job.summary),
            into=f"{job.kind}JobSummaries",
            name=job.name,
            status=job.status,
        )

    def _body(self, job: LocalJobType, name: str) -> dict[str, Any]:
        from sagebridge_operators.backends.local import supervisor

        try:
            return supervisor.reap(self.records, job.kind, name)
        except NoSuchRecord:
            raise ApiError(
                "ValidationException", f"Could not find requested job with name: {name}"
            ) from None


def ended(home: Path, kind: str, name: str) -> bool:
    """Whether nothing more comes of a job: also of one that nobody knows of, and of a model."""
    body = Records(home / "records.db").get(kind, name) or {}
    return body.get(f"{kind}JobStatus", TERMINAL[0]) in TERMINAL
