"""EMRServerless: StartJobRun on an application, or on its own, which is deleted after the run.

A client token makes StartJobRun and CreateApplication repeatable. A job is named by a handle:
``<application>/<run>``. Until the id of the run is known, it is our name, followed by ``|`` and the
start of the execution. The application is ``new`` until its id is known, and begins with ``own:``
if the step made it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sagebridge.model.display import words
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType, State, is_not_found

_NEW, _OWN = "new", "own:"
_TIME = "%Y%m%dT%H%M%S"
_PAUSE, _LOOKS = 2.0, 90
"""Seconds between two looks at the own application as it starts or stops, and their number."""


class _Ids(NamedTuple):
    """Ids are empty for what does not exist."""

    application: str
    run: str
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmrServerless(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        application, config = arguments.get("ApplicationId"), arguments.get("ApplicationConfig")
        if (application is None) is (config is None):
            text = f"Arguments of step {step.name!r}: expected either ApplicationId or "
            raise StepFailed(f"{text}ApplicationConfig", kind="request")
        own = {"name": name, "clientToken": token}
        role = arguments.get("ExecutionRoleArn", role)
        job = {"executionRoleArn": role, **(arguments.get("JobConfig") or {}), **own}
        if config is None:
            return {**job, "applicationId": application}
        job.pop("applicationId", None)
        config = {**config, **own}
        if (stops := config.get("autoStopConfiguration")) is not None:
            # The application must not run on if no worker is left to delete it.
            config["autoStopConfiguration"] = {**stops, "enabled": True}
        return {**job, "ApplicationConfig": config}

    def given_name(self, step: Step) -> Value:
        job = step.arguments.get("JobConfig") if isinstance(step.arguments, Mapping) else None
        return job.get("name", ABSENT) if isinstance(job, Mapping) else ABSENT

    def handle(self, name: str, request: Mapping[str, Any], since: datetime) -> str:
        return f"{request.get('applicationId', _NEW)}/{name}|{since.astimezone(UTC):{_TIME}}"

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        if not (ids := _ids(client, name)).run:
            return None
        try:
            found = client.get_job_run(applicationId=ids.application, jobRunId=ids.run)
        except ClientError as error:
            if is_not_found(error):
                return None
            raise
        return dict(found["jobRun"])

    def known_as(self, name: str, description: Mapping[str, Any]) -> str:
        prefix = _OWN if name.startswith((f"{_NEW}/", _OWN)) else ""
        return f"{prefix}{description['applicationId']}/{description['jobRunId']}"

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        from botocore.exceptions import ParamValidationError

        job = {key: value for key, value in request.items() if key != "ApplicationConfig"}
        config, prefix = request.get("ApplicationConfig"), ""
        if config is not None:
            prefix = _OWN
            job["applicationId"] = client.create_application(**config)["applicationId"]
            _wait(client, job["applicationId"], "CREATING")
            if not (config.get("autoStartConfiguration") or {}).get("enabled", True):
                client.start_application(applicationId=job["applicationId"])
                _wait(client, job["applicationId"], "STARTING")
        try:
            made = client.start_job_run(**job)
        except ParamValidationError:
            if prefix:
                _delete(client, job["applicationId"])
            raise
        return f"{prefix}{made['applicationId']}/{made['jobRunId']}"

    def request_stop(self, client: Any, name: str) -> None:
        from botocore.exceptions import ClientError

        ids = _ids(client, name)
        if not ids.run:
            if ids.own and ids.application:  # its run was rejected, or not requested yet
                _delete(client, ids.application)
            return
        try:
            client.cancel_job_run(applicationId=ids.application, jobRunId=ids.run)
        except ClientError as error:
            found = self.find(client, name)
            state = found["state"] if found is not None else ""
            if state != "CANCELLING" and (found is None or self.state(found) == "Executing"):
                raise error from None

    def clean_up(self, client: Any, name: str, description: Mapping[str, Any]) -> None:
        """Stops and deletes the application of the step."""
        ids = _ids(client, name)
        if ids.own and ids.application:
            _delete(client, ids.application)

    def ended(self, description: Mapping[str, Any]) -> str | None:
        at = description.get("endedAt")
        if not isinstance(at, datetime):
            return None
        return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _ids(client: Any, handle: str) -> _Ids:
    """The ids of application and run, and whether the step made the application."""
    place, _, since = handle.partition("|")
    application, _, run = place.partition("/")
    own = application == _NEW or application.startswith(_OWN)
    application = application.removeprefix(_OWN)
    if application == _NEW:
        listed = _pages(client.list_applications, "applications")
        alive = (one for one in listed if one["name"] == run and one["state"] != "TERMINATED")
        application = next((one["id"] for one in alive), "")
    if application and since:
        # An hour for the difference of two clocks.
        after = datetime.strptime(since, _TIME).replace(tzinfo=UTC) - timedelta(hours=1)
        listed = _pages(
            client.list_job_runs, "jobRuns", applicationId=application, createdAtAfter=after
        )
        run = next((one["id"] for one in listed if one.get("name") == run), "")
    return _Ids(application, run if application else "", own)


def _pages(method: Any, key: str, **request: Any) -> Iterator[dict[str, Any]]:
    while True:
        page = method(**request)
        yield from page[key]
        if not page.get("nextToken"):
            return
        request["nextToken"] = page["nextToken"]


def _state(client: Any, application: str) -> str:
    from botocore.exceptions import ClientError

    try:
        return str(client.get_application(applicationId=application)["application"]["state"])
    except ClientError as error:
        if is_not_found(error):
            return "TERMINATED"
        raise


def _delete(client: Any, application: str) -> None:
    """Stops and deletes an application. The service refuses while it has a run."""
    if _wait(client, application, "CREATING", "STARTING") == "STARTED":
        client.stop_application(applicationId=application)
    if _wait(client, application, "STARTED", "STOPPING") != "TERMINATED":
        client.delete_application(applicationId=application)


def _wait(client: Any, application: str, *passing: str) -> str:
    """The first state of an application not in ``passing``. Raises StepFailed after 3 minutes."""
    for _ in range(_LOOKS):
        if (state := _state(client, application)) not in passing:
            return state
        time.sleep(_PAUSE)
    text = f"application {application} is still {state}"
    raise StepFailed(text, kind="service", code="ApplicationNotReady")  # a code: it is deleted


_STATES: dict[str, State] = {
    "SUCCESS": "Succeeded",
    "FAILED": "Failed",
    "CANCELLED": "Stopped",
}
STEP = EmrServerless(
    type="EMRServerless",
    service="emr-serverless",
    create="start_job_run",
    describe="get_job_run",
    stop="cancel_job_run",
    name_key="name",
    arn_key="arn",
    name_limit=64,
    role_key=None,
    status_key="state",
    states=_STATES,
    interim=frozenset(("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")),
    reason_keys=("stateDetails",),
    noun="job run",
    found_by="list",
    outputs=lambda found: {
        "application_id": found.get("applicationId"),
        "job_run_id": found.get("jobRunId"),
    },
    permissions=(
        (
            words(
                "emr-serverless:CancelJobRun emr-serverless:DeleteApplication "
                "emr-serverless:GetApplication emr-serverless:GetJobRun "
                "emr-serverless:ListJobRuns emr-serverless:StartApplication "
                "emr-serverless:StartJobRun emr-serverless:StopApplication"
            ),
            "arn:aws:emr-serverless:*:{account}:/applications/*",
        ),
        (("emr-serverless:CreateApplication", "emr-serverless:ListApplications"), "*"),
        (("iam:PassRole",), "arn:aws:iam::{account}:role/{role}"),
    ),
)
