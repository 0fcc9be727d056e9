"""EMR: a step on a running cluster, or on its own cluster, which ends with it.

AddJobFlowSteps and RunJobFlow have no client token, so a lost answer is looked up by our name:
ListSteps of the cluster, or ListClusters since the start of the execution.

A job is named by a handle: ``<cluster>/<step>``, where the step is our name until its id is known.
The cluster is ``new:<time>`` until its id is known, and begins with ``own:`` if the step made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from sagebridge.model.display import words
from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType, State

_NEW, _OWN = "new:", "own:"
_TIME = "%Y%m%dT%H%M%S"
_SET_BY_STEP = ("Name", "Steps", "AutoTerminationPolicy")
_SET_IN_INSTANCES = ("KeepJobFlowAliveWhenNoSteps", "TerminationProtected")
"""Keys that ClusterConfig may not have ("EMR step" in the SageMaker AI Developer Guide)."""
_ENDING = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")
_ENDED = frozenset(("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"))
_LIMIT = re.compile(r"limit|quota|maximum number", re.IGNORECASE)
_RESOURCE_LIMIT = "ResourceLimitExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emr(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        cluster, config = arguments.get("ClusterId"), arguments.get("ClusterConfig")
        if (cluster is None) is (config is None):
            _refuse(step, "expected either ClusterId or ClusterConfig")
        job = {"Name": name, **_normalised(arguments.get("StepConfig") or {})}
        if config is None:
            # The cluster is not ours, so a failed step must not end it.
            steps = [{"ActionOnFailure": "CONTINUE", **job, "Name": name}]
            roles = {key: arguments[key] for key in ("ExecutionRoleArn",) if key in arguments}
            return {"JobFlowId": cluster, "Steps": steps, **roles}
        if "ExecutionRoleArn" in arguments:
            _refuse(step, "ExecutionRoleArn is only valid with ClusterId")
        instances = config.get("Instances") or {}
        given = [f"ClusterConfig.{key}" for key in _SET_BY_STEP if key in config]
        given += [f"ClusterConfig.Instances.{key}" for key in _SET_IN_INSTANCES if key in instances]
        if given:
            _refuse(step, f"the step sets {', '.join(given)} itself; remove it")
        return {
            **config,
            "Name": name,
            "Instances": {**instances, "KeepJobFlowAliveWhenNoSteps": False},
            "Steps": [{**job, "Name": name, "ActionOnFailure": "TERMINATE_CLUSTER"}],
        }

    def create_method(self, request: Mapping[str, Any]) -> str:
        return self.create if "JobFlowId" in request else "run_job_flow"

    def key_attributes(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        (step,) = request["Steps"]
        config = {"StepConfig": {key: one for key, one in step.items() if key != "Name"}}
        if "JobFlowId" in request:
            return {**config, "ClusterId": request["JobFlowId"]}
        cluster = {key: one for key, one in request.items() if key not in ("Name", "Steps")}
        return {**config, "ClusterConfig": cluster}

    def handle(self, name: str, request: Mapping[str, Any], since: datetime) -> str:
        new = f"{_NEW}{since.astimezone(UTC):{_TIME}}"
        return f"{request.get('JobFlowId', new)}/{name}"

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        if (found := _ids(client, name)) is None:
            return None
        cluster, step, own, described = found
        try:
            described = client.describe_step(ClusterId=cluster, StepId=step)["Step"]
        except ClientError as error:
            if not _is_missing(error):
                raise
            if described is None:  # otherwise it was just listed, and descriptions lag behind
                return None
        status = described["Status"]
        details = status.get("FailureDetails") or status.get("StateChangeReason") or {}
        texts = [details.get(key) for key in ("Reason", "Message", "LogFile")]
        state = status["State"]
        if own:
            ended = client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
            state, more = _state_on_own_cluster(state, ended)
            texts.append(more)
        return {
            **described,
            "ClusterId": cluster,
            "State": state,
            "FailureReason": "; ".join(text for text in texts if text),
        }

    def known_as(self, name: str, description: Mapping[str, Any]) -> str:
        prefix = _OWN if name.startswith((_NEW, _OWN)) else ""
        return f"{prefix}{description['ClusterId']}/{description['Id']}"

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        from botocore.exceptions import ClientError

        try:
            made = getattr(client, self.create_method(request))(**request)
        except ClientError as error:
            text = str(error)
            if "Exception" in error.response["Error"]["Code"] and _LIMIT.search(text):
                raise StepFailed(text, kind="request", code=_RESOURCE_LIMIT) from None
            raise
        if "JobFlowId" in request:
            return f"{request['JobFlowId']}/{made['StepIds'][0]}"
        return f"{_OWN}{made['JobFlowId']}/{name.partition('/')[2]}"

    def request_stop(self, client: Any, name: str) -> None:
        """Cancels the step, or terminates its own cluster."""
        if name.startswith((_NEW, _OWN)):
            if cluster := _cluster(client, name):  # its step may not be listed yet
                client.terminate_job_flows(JobFlowIds=[cluster])
            return
        if (found := _ids(client, name)) is None:
            return
        cluster, step, _, _ = found
        answer = client.cancel_steps(
            ClusterId=cluster, StepIds=[step], StepCancellationOption="TERMINATE_PROCESS"
        )
        for one in answer.get("CancelStepsInfoList", ()):
            described = self.find(client, name) if one["Status"] == "FAILED" else None
            if described is None or described["State"] == "CANCEL_PENDING":
                continue
            if self.state(described) == "Executing":
                raise StepFailed(f"CancelSteps: {one.get('Reason')}", kind="service")

    def clean_up(self, client: Any, name: str, description: Mapping[str, Any]) -> None:
        """Terminates the own cluster of the step if it does not end by itself."""
        found = _ids(client, name)
        if found is not None and found[2]:
            cluster = client.describe_cluster(ClusterId=found[0])["Cluster"]
            if cluster["Status"]["State"] not in _ENDING:
                client.terminate_job_flows(JobFlowIds=[found[0]])

    def ended(self, description: Mapping[str, Any]) -> str | None:
        time = description["Status"].get("Timeline", {}).get("EndDateTime")
        if not isinstance(time, datetime):
            return None
        return time.astimezone(UTC).isoformat(timespec="milliseconds")

    def failure_code(self, description: Mapping[str, Any]) -> str:
        code = JobType.failure_code(self, description)
        limited = _LIMIT.search(str(description.get("FailureReason", "")))
        return code or (_RESOURCE_LIMIT if limited else "")


def _ids(client: Any, handle: str) -> tuple[str, str, bool, dict[str, Any] | None] | None:
    """The ids of cluster and step, and whether the step made the cluster; None if missing.

    Last is the summary of the step, if it had to be listed.
    """
    step = handle.partition("/")[2]
    cluster, own = _cluster(client, handle), handle.startswith((_NEW, _OWN))
    if cluster and step.startswith("s-"):
        return cluster, step, own, None
    steps = _pages(client.list_steps, "Steps", ClusterId=cluster) if cluster else ()
    listed = next((one for one in steps if one["Name"] == step), None)
    return None if listed is None else (cluster, listed["Id"], own, listed)


def _cluster(client: Any, handle: str) -> str:
    """The id of the cluster; empty if it does not exist."""
    cluster, _, step = handle.partition("/")
    if not cluster.startswith(_NEW):
        return cluster.removeprefix(_OWN)
    since = datetime.strptime(cluster.removeprefix(_NEW), _TIME).replace(tzinfo=UTC)
    # An hour for the difference of two clocks.
    clusters = _pages(client.list_clusters, "Clusters", CreatedAfter=since - timedelta(hours=1))
    return next((str(one["Id"]) for one in clusters if one["Name"] == step), "")


def _pages(method: Any, key: str, **request: Any) -> Iterator[dict[str, Any]]:
    from botocore.exceptions import ClientError

    while True:
        try:
            page = method(**request)
        except ClientError as error:
            if _is_missing(error):
                return
            raise
        yield from page[key]
        if not page.get("Marker"):
            return
        request["Marker"] = page["Marker"]


def _is_missing(error: Any) -> bool:
    """Whether EMR does not know the cluster or the step."""
    details = error.response["Error"]
    return "InvalidRequest" in details["Code"] and "is not valid" in details.get("Message", "")


def _state_on_own_cluster(state: str, cluster: Mapping[str, Any]) -> tuple[str, str]:
    """The state of a step, and the reason of its cluster if that ended before or with the step."""
    reason = cluster.get("StateChangeReason") or {}
    stopped = reason.get("Code") == "USER_REQUEST"
    if state in ("COMPLETED", "FAILED") or cluster["State"] not in _ENDING:
        return state, ""
    if state not in _ENDED and cluster["State"] == "TERMINATING":
        return state, ""
    text = " ".join(str(reason[key]) for key in ("Code", "Message") if reason.get(key))
    return ("CANCELLED" if stopped else "FAILED"), f"the cluster ended: {text}"


def _normalised(config: Mapping[str, Any]) -> dict[str, Any]:
    """StepConfig as the API takes it: examples of the guide write ``key`` and ``value``."""
    jar = config.get("HadoopJarStep")
    if not isinstance(jar, Mapping) or not isinstance(jar.get("Properties"), list):
        return dict(config)
    names = {"key": "Key", "value": "Value"}
    properties = [
        {names.get(key, key): value for key, value in one.items()}
        if isinstance(one, Mapping)
        else one
        for one in jar["Properties"]
    ]
    return {**config, "HadoopJarStep": {**jar, "Properties": properties}}


def _refuse(step: Step, problem: str) -> NoReturn:
    raise StepFailed(f"Arguments of step {step.name!r}: {problem}", kind="request")


_STATES: dict[str, State] = {
    "COMPLETED": "Succeeded",
    "FAILED": "Failed",
    "INTERRUPTED": "Failed",
    "CANCELLED": "Stopped",
}
STEP = Emr(
    type="EMR",
    service="emr",
    create="add_job_flow_steps",
    describe="describe_step",
    stop="cancel_steps",
    name_key="Name",
    arn_key="Id",
    role_key=None,
    status_key="State",
    states=_STATES,
    interim=frozenset(("PENDING", "CANCEL_PENDING", "RUNNING")),
    noun="step",
    found_by="list",
    outputs=lambda found: {"cluster_id": found.get("ClusterId"), "step_id": found.get("Id")},
    permissions=(
        (
            words(
                "elasticmapreduce:AddJobFlowSteps elasticmapreduce:CancelSteps "
                "elasticmapreduce:DescribeCluster elasticmapreduce:DescribeStep "
                "elasticmapreduce:ListSteps elasticmapreduce:TerminateJobFlows"
            ),
            "arn:aws:elasticmapreduce:*:{account}:cluster/*",
        ),
        (("elasticmapreduce:ListClusters", "elasticmapreduce:RunJobFlow"), "*"),
        (("iam:PassRole",), "arn:aws:iam::{account}:role/{role}"),
    ),
)
