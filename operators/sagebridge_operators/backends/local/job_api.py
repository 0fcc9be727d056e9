"""The job operations of the local SageMaker API, for all kinds of jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.database import (
    AlreadyExists,
    NoSuchRecord,
    Records,
    Transaction,
)
from sagebridge_operators.backends.local.listing import page
from sagebridge_operators.backends.local.local_job_type import (
    LOCAL_KINDS,
    LocalJobType,
    local_job_type,
)
from sagebridge_operators.backends.local.supervised_job import TERMINAL, enter, hold

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


def check_name(field: str, name: object) -> str:
    """Return a resource name that matches SageMaker's pattern (63 letters, digits, hyphens).

    Raises:
        ApiError: ValidationException with AWS's message.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value '{name}' at '{field[0].lower()}{field[1:]}' "
            f"failed to satisfy constraint: Member must satisfy regular expression pattern: "
            f"{NAME.pattern}",
        )
    return name


def launch(
    records: Records,
    base: Path,
    kind: str,
    name: str,
    body: dict[str, Any],
    also: Callable[[Transaction], object] = lambda transaction: None,
) -> None:
    """Record a job and start its supervisor. The job survives the calling process.

    ``also`` makes more changes, in the transaction that records the job.

    Raises:
        AlreadyExists: the name is in use.
    """
    from sagebridge_operators.backends.local import supervisor

    home = records.path.parent
    with ExitStack() as stack:
        with records.transaction() as transaction:
            transaction.insert(kind, name, body)
            also(transaction)
            # Lock before the record is visible: reap() fails an unlocked running job.
            lock = stack.enter_context(hold(home, kind, name))
            if lock is None:  # still held for an earlier job whose record was deleted
                raise AlreadyExists(kind, name)
        supervisor.start(home, kind, name, base, lock)


class Jobs:
    """The jobs in the folder ``home``; each method is one API operation."""

    def __init__(self, home: Path, base: Path, region: str, records: Records) -> None:
        self.home, self.base, self.region, self.records = home, base, region, records

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API operations on jobs, by name."""
        verbs = {"Create": self.create, "Describe": self.describe, "Stop": self.stop}

        def bind(
            call: Callable[[LocalJobType, Mapping[str, Any]], dict[str, Any]], kind: str
        ) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
            return lambda request: call(local_job_type(kind), request)

        kinds = {kind: STEP_TYPES[kind].resource for kind in LOCAL_KINDS}
        named = {
            f"{verb}{resource}": bind(call, kind)
            for verb, call in verbs.items()
            for kind, resource in kinds.items()
        }
        named |= {f"List{resource}s": bind(self.list, kind) for kind, resource in kinds.items()}
        return named | {"ListTrainingJobsForHyperParameterTuningJob": self.list_tuned}

    def create(self, job: LocalJobType, request: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Start a job, which survives the calling process.

        ``more`` are fields of the record that are not in the request.
        """
        name = check_name(job.name, request[job.name])
        job.check(request, self.records, self.region)
        now = time.time()
        job_arn = arn(self.region, f"{job.arn_kind}/{name}")
        body = {
            **job.defaults,
            **{field: value for field, value in request.items() if field != "Tags"},
            **job.expected(request, name),
            **more,
            job.arn: job_arn,
            job.status: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if job.secondary_statuses:
            enter(body, "Starting", f"Starting the {job.kind.lower()} job", now)
        try:
            launch(self.records, self.base, job.kind, name, body)
        except AlreadyExists:
            raise ApiError(
                "ResourceInUse",
                f"{job.kind} job names must be unique within an AWS account and region, and a "
                f"{job.kind.lower()} job with this name already exists ({job_arn})",
            ) from None
        return {job.arn: job_arn}

    def describe(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """The Describe response of a job."""
        body = self._body(job, request[job.name])
        described = {
            field: value
            for field, value in body.items()
            if not field.startswith("_") and field not in job.undescribed
        }
        return {**described, **job.details(body, self.records)}

    def stop(self, job: LocalJobType, request: Mapping[str, Any]) -> dict[str, Any]:
        """Request a stop; the status is Stopping until the job has ended."""
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
        """One page of the jobs of a kind."""
        bodies = [
            body if body[job.status] in TERMINAL else self._body(job, body[job.name])
            for body in self.records.list(job.kind)
        ]
        bodies = [{**body, **job.details(body, self.records)} for body in bodies]
        shown = (job.name, job.arn, job.status, "CreationTime", "LastModifiedTime")
        return page(
            bodies,
            request,
            fields=(*shown, job.end_time, *job.summary),
            into=f"{job.resource}Summaries",
            name=job.name,
            status=job.status,
        )

    def list_tuned(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One page of the training jobs of a tuning job."""
        from sagebridge_operators.backends.local.tuning_job import (
            OBJECTIVE,
            SUMMARY,
            summaries,
        )

        tuning = local_job_type("Tuning")
        self._body(tuning, request[tuning.name])
        found = summaries(self.records, request[tuning.name])
        if request.get("SortBy") == OBJECTIVE:
            found = [one for one in found if OBJECTIVE in one]
        training = local_job_type("Training")
        return page(
            found,
            {"SortBy": "Name", **request},
            fields=SUMMARY,
            into="TrainingJobSummaries",
            name=training.name,
            status=training.status,
        )

    def _body(self, job: LocalJobType, name: str) -> dict[str, Any]:
        from sagebridge_operators.backends.local import supervisor

        try:
            return supervisor.reap(self.records, job.kind, name)
        except NoSuchRecord:
            raise ApiError(
                "ValidationException", f"Could not find requested job with name: {name}"
            ) from None


def has_ended(home: Path, kind: str, name: str) -> bool:
    """Whether a job has ended; True for an unknown job and for a resource that is not a job."""
    body = Records(home / "records.db").get(kind, name) or {}
    return kind not in LOCAL_KINDS or body.get(local_job_type(kind).status, TERMINAL[0]) in TERMINAL
