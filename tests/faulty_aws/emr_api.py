"""EMR clusters and steps. Every cluster id that the fake has not made is a waiting cluster."""

from __future__ import annotations

from typing import Any

from tests.faulty_aws.job_scripts import TERMINAL
from tests.faulty_aws.job_store import JobService, StoredJob
from tests.faulty_aws.protocol import AwsError, Call

_STATES = {
    "InProgress": "RUNNING",
    "Completed": "COMPLETED",
    "Failed": "FAILED",
    "Stopping": "CANCEL_PENDING",
    "Stopped": "CANCELLED",
}
_PAGE = 50


class EmrApi(JobService):
    """A step is a resource of kind ``Step``, whose id is ``s-`` and its name."""

    missing = ("InvalidRequestException", "Step id is not valid.")

    def __init__(self) -> None:
        super().__init__()
        self._clusters: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        super().clear()
        self._clusters.clear()

    def _answer(self, call: Call) -> Any:
        members = call.members
        match call.operation:
            case "AddJobFlowSteps":
                self._state(members["JobFlowId"])
                return {"StepIds": [self._add(one, members) for one in members["Steps"]]}
            case "RunJobFlow":
                cluster = f"j-OWN{len(self._clusters) + 1}"
                self._clusters[cluster] = {"Name": members["Name"], "Request": members}
                for one in members["Steps"]:
                    self._add(one, {"JobFlowId": cluster})
                return {"JobFlowId": cluster}
            case "DescribeStep":
                job = self._step(call)
                return {"Step": self._described(job, job.current.look())}
            case "ListSteps":
                self._state(members["ClusterId"])
                steps = self.jobs("Step", members["ClusterId"])
                return {"Steps": [self._described(one, one.status) for one in steps]}
            case "ListClusters":
                names = self._clusters.items()
                return {"Clusters": [{"Id": one, "Name": body["Name"]} for one, body in names]}
            case "DescribeCluster":
                cluster = members["ClusterId"]
                return {"Cluster": {"Id": cluster, "Status": self._state(cluster)}}
            case "CancelSteps":
                job = self._step(call)
                job.stop()
                return {"CancelStepsInfoList": [{"StepId": job.name, "Status": "SUBMITTED"}]}
            case "TerminateJobFlows":
                for cluster in members["JobFlowIds"]:
                    self._clusters[cluster]["Terminated"] = True
                    for one in self.jobs("Step", cluster):
                        one.stop()
                return {}
        raise self.unknown(call)

    def _step(self, call: Call) -> StoredJob:
        return self.job(call.name)

    def _add(self, step: dict[str, Any], members: dict[str, Any]) -> str:
        return self.add("Step", f"s-{step['Name']}", step, members["JobFlowId"]).name

    def _described(self, job: StoredJob, status: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"State": _STATES.get(status, status)}
        if status == "Failed" and job.reason:
            shown["FailureDetails"] = {"Reason": job.reason}
        jar = job.body["HadoopJarStep"]
        config = {name: jar[name] for name in ("Jar", "MainClass", "Args") if name in jar}
        return {"Id": job.name, "Name": job.body["Name"], "Config": config, "Status": shown}

    def _state(self, cluster: str) -> dict[str, Any]:
        """The status of a cluster: it ends with its steps, unless it stays alive."""
        if cluster not in self._clusters:
            if cluster.startswith("j-OWN"):
                text = f"Cluster id '{cluster}' is not valid."
                raise AwsError("InvalidRequestException", text)
            return {"State": "WAITING"}
        statuses = [one.status for one in self.jobs("Step", cluster)]
        reason = {"Code": "ALL_STEPS_COMPLETED", "Message": "Steps completed"}
        if self._clusters[cluster].get("Terminated"):
            reason = {"Code": "USER_REQUEST", "Message": "Terminated by user request"}
        elif not set(statuses) <= TERMINAL:
            return {"State": "RUNNING"}
        elif self._clusters[cluster]["Request"]["Instances"]["KeepJobFlowAliveWhenNoSteps"]:
            return {"State": "WAITING"}
        return {"State": "TERMINATED", "StateChangeReason": reason}
