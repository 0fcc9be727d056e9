"""EMR Serverless applications and job runs. Every id that the fake has not made exists, too."""

from __future__ import annotations

import time
from typing import Any

from tests.faulty_aws.job_store import JobService, StoredJob
from tests.faulty_aws.protocol import ACCOUNT, AwsError, Call

_STATES = {
    "InProgress": "RUNNING",
    "Completed": "SUCCESS",
    "Failed": "FAILED",
    "Stopping": "CANCELLING",
    "Stopped": "CANCELLED",
}


class EmrServerlessApi(JobService):
    """A run is a resource of kind ``JobRun``, whose id is ``run-`` and its name."""

    missing = ("ResourceNotFoundException", "Job run does not exist")

    def __init__(self) -> None:
        super().__init__()
        self._applications: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        super().clear()
        self._applications.clear()

    def _answer(self, call: Call) -> Any:
        members = call.members
        application = str(members.get("applicationId", ""))
        match call.operation:
            case "StartJobRun":
                return self._start(application, members)
            case "GetJobRun":
                job = self.job(call.name)
                return {"jobRun": self._described(job, job.current.look())}
            case "CancelJobRun":
                self.job(call.name).stop()
                return {"applicationId": application, "jobRunId": call.name}
            case "ListJobRuns":
                runs = self.jobs("JobRun", application)
                shown = [{"id": one.name, "name": one.body["name"]} for one in runs]
                return {"jobRuns": shown}
            case "CreateApplication":
                for id_, made in self._applications.items():
                    if made["clientToken"] == members["clientToken"]:
                        return {"applicationId": id_}
                id_ = f"app{len(self._applications) + 1}"
                self._applications[id_] = {**members, "state": "CREATED"}
                return {"applicationId": id_}
            case "ListApplications":
                found = self._applications.items()
                listed = [{"id": i, "name": a["name"], "state": a["state"]} for i, a in found]
                return {"applications": listed}
            case "GetApplication":
                if application not in self._applications:
                    raise self.not_found()
                return {"application": {"state": self._applications[application]["state"]}}
            case "StartApplication":
                self._applications[application]["state"] = "STARTED"
                return {}
            case "StopApplication":
                self._applications[application]["state"] = "STOPPED"
                return {}
            case "DeleteApplication":
                if self._applications[application]["state"] not in ("CREATED", "STOPPED"):
                    raise AwsError("ValidationException", "The application must be stopped.")
                self._applications[application]["state"] = "TERMINATED"
                return {}
        raise self.unknown(call)

    def _start(self, application: str, members: dict[str, Any]) -> dict[str, Any]:
        for one in self.jobs("JobRun"):
            if one.body["clientToken"] == members["clientToken"]:
                return {"applicationId": one.owner, "jobRunId": one.name, "arn": _arn(one)}
        if application in self._applications:
            self._applications[application]["state"] = "STARTED"
        job = self.add("JobRun", f"run-{members['name']}", members, application)
        return {"applicationId": application, "jobRunId": job.name, "arn": _arn(job)}

    def _described(self, job: StoredJob, status: str) -> dict[str, Any]:
        return {
            "applicationId": job.owner,
            "jobRunId": job.name,
            "name": job.body["name"],
            "arn": _arn(job),
            "state": _STATES.get(status, status),
            "stateDetails": job.reason,
            "executionRole": job.body["executionRoleArn"],
            "createdAt": time.time(),
        }


def _arn(job: StoredJob) -> str:
    place = f"/applications/{job.owner}/jobruns/{job.name}"
    return f"arn:aws:emr-serverless:eu-west-1:{ACCOUNT}:{place}"
