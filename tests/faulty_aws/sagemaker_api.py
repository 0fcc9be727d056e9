"""SageMaker's jobs, models and model packages, in memory.

Error codes and messages are copied from the service if they are known. For a missing job or
model the service answers ValidationException, although its API model declares ResourceNotFound.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from botocore import session
from botocore.model import OperationModel, ServiceModel, StructureShape

from tests.faulty_aws.job_scripts import TERMINAL, JobScript, Walk
from tests.faulty_aws.listing import page
from tests.faulty_aws.protocol import ACCOUNT, AwsError, Call, name_of

_JOB = re.compile(r"(Create|Describe|Stop)(Processing|Training|Transform)Job")
_LIST_JOBS = re.compile(r"List(Processing|Training|Transform)Jobs")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_NO_JOB = {
    "Training": "Requested resource not found.",
    "Processing": "Could not find requested job with name: {name}",
    "Transform": "Could not find requested job with name: {name}",
}
_NO_JOB_TO_STOP = {
    "Training": "Requested resource not found.",
    "Processing": "Could not find requested job with name: {name}",
    "Transform": "Could not find job to update with name: {name}",
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Training": {"StoppingCondition": {"MaxRuntimeInSeconds": 86400}},
    "Processing": {"StoppingCondition": {"MaxRuntimeInSeconds": 86400}},
    "Transform": {},
}
_SECONDARY = {"InProgress": "Training"}


@dataclass(slots=True)
class _Resource:
    """``body`` holds what Describe echoes; only jobs and packages have a walk."""

    kind: str
    name: str
    arn: str
    body: dict[str, Any]
    created: float
    created_epoch: float
    script: JobScript | None = None
    walk: Walk | None = None
    stopped: Walk | None = None

    @property
    def current(self) -> Walk:
        found = self.stopped or self.walk
        assert found is not None
        return found


class SageMakerApi:
    """Answers calls by their operation. Thread-safe; jobs are not separated by region."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._resources: dict[tuple[str, str], _Resource] = {}
        self._tokens: dict[str, str] = {}
        self._scripts: list[JobScript] = []
        self._others: dict[str, Callable[[Call], dict[str, Any]]] = {
            "CreateModel": self._create_model,
            "CreateModelPackage": self._create_package,
            "CreateModelPackageGroup": self._create_group,
            "DescribeModel": self._describe_plain,
            "DescribeModelPackage": self._describe_package,
            "DescribeModelPackageGroup": self._describe_plain,
            "ListModelPackages": self._list_packages,
        }

    def answer(self, call: Call) -> dict[str, Any]:
        """The members of the response. Raises AwsError."""
        with self._lock:
            if job := _JOB.fullmatch(call.operation):
                verb, kind = job.groups()
                match verb:
                    case "Create":
                        return self._create_job(call, kind)
                    case "Describe":
                        return self._describe_job(call, kind)
                return self._stop_job(call, kind)
            if listed := _LIST_JOBS.fullmatch(call.operation):
                return self._list_jobs(call, listed[1])
            if call.operation in self._others:
                return self._others[call.operation](call)
        message = f"The fake SageMaker does not have {call.operation}."
        raise AwsError("UnknownOperationException", message)

    def created(self, call: Call) -> float | None:
        """When the resource that a Describe call names was created (monotonic), if it was."""
        with self._lock:
            kind = call.operation.removeprefix("Describe")
            found = self._resources.get((kind, call.name)) if kind != call.operation else None
            return found.created if found else None

    def not_found(self, call: Call) -> AwsError:
        """The service's error when the resource of a Describe call does not exist."""
        kind = call.operation.removeprefix("Describe")
        if kind.endswith("Job"):
            text = _NO_JOB.get(kind.removesuffix("Job"), "Requested resource not found.")
            return _invalid(text.format(name=call.name))
        arn = _arn(call, _slug(kind), call.name)
        if kind == "Model":
            return _invalid(f'Could not find model "{arn}".')
        return _invalid(f"{kind} {arn} does not exist.")

    def add_scripts(self, *scripts: JobScript) -> None:
        with self._lock:
            for script in scripts:
                self._scripts.append(script)
                if script.running:
                    self._rescript(script)

    def scripts(self) -> list[JobScript]:
        with self._lock:
            return list(self._scripts)

    def clear_scripts(self) -> None:
        """Later jobs walk as if no script had been added; running jobs keep theirs."""
        with self._lock:
            self._scripts.clear()

    def clear(self) -> None:
        with self._lock:
            for state in (self._resources, self._tokens, self._scripts):
                state.clear()

    def _rescript(self, script: JobScript) -> None:
        for one in self._resources.values():
            if one.walk is None or not script.matches(one.kind.removesuffix("Job"), one.name):
                continue
            if one.current.look(counts=False) not in TERMINAL:
                one.script = script
                if one.stopped is None:
                    one.walk = script.walk()
                else:
                    one.stopped = script.stop_walk()

    def _script(self, kind: str, name: str) -> JobScript:
        found = (one for one in reversed(self._scripts) if one.matches(kind, name))
        return next(found, JobScript())

    def _add(self, call: Call, kind: str, name: str, body: dict[str, Any]) -> _Resource:
        arn = _arn(call, _slug(kind), name)
        one = _Resource(kind, name, arn, body, time.monotonic(), time.time())
        self._resources[kind, name] = one
        return one

    def _start(self, one: _Resource) -> None:
        one.script = self._script(one.kind.removesuffix("Job"), one.name)
        one.walk = one.script.walk()

    def _find(self, call: Call, kind: str, name: str) -> _Resource:
        found = self._resources.get((kind, name))
        if found is None:
            raise self.not_found(call)
        return found

    def _create_job(self, call: Call, kind: str) -> dict[str, Any]:
        name = _checked(f"{kind.lower()}JobName", call.name)
        earlier = self._resources.get((f"{kind}Job", name))
        if earlier is not None:
            start = "Training job names" if kind == "Training" else "Job name"
            noun = "training job" if kind == "Training" else "job"
            raise AwsError(
                "ResourceInUse",
                f"{start} must be unique within an AWS account and region, and a {noun} with this "
                f"name already exists ({earlier.arn})",
            )
        one = self._add(call, f"{kind}Job", name, {**_DEFAULTS[kind], **call.members})
        self._start(one)
        return {f"{kind}JobArn": one.arn}

    def _describe_job(self, call: Call, kind: str) -> dict[str, Any]:
        one = self._find(call, f"{kind}Job", call.name)
        status = one.current.look()
        return _only_declared(call.operation, _job_members(one, kind, status))

    def _stop_job(self, call: Call, kind: str) -> dict[str, Any]:
        one = self._resources.get((f"{kind}Job", call.name))
        if one is None:
            raise _invalid(_NO_JOB_TO_STOP[kind].format(name=call.name))
        status = one.current.look(counts=False)
        if status in TERMINAL:
            noun = f"{kind.lower()} job"
            raise _invalid(f"The request was rejected because the {noun} is in status {status}.")
        if one.stopped is None and one.script is not None:
            one.stopped = one.script.stop_walk()
        return {}

    def _list_jobs(self, call: Call, kind: str) -> dict[str, Any]:
        found = (
            _job_members(one, kind, one.current.look(counts=False))
            for one in self._resources.values()
            if one.kind == f"{kind}Job"
        )
        shown = _summary_members(f"{kind}JobSummary")
        return page(call, f"{kind}JobSummaries", f"{kind}Job", found, shown)

    def _create_model(self, call: Call) -> dict[str, Any]:
        name = _checked("modelName", call.name)
        earlier = self._resources.get(("Model", name))
        if earlier is not None:
            raise _invalid(f'Cannot create already existing model "{earlier.arn}".')
        body = {"EnableNetworkIsolation": False, **call.members}
        return {"ModelArn": self._add(call, "Model", name, body).arn}

    def _create_group(self, call: Call) -> dict[str, Any]:
        name = _checked("modelPackageGroupName", call.name)
        earlier = self._resources.get(("ModelPackageGroup", name))
        if earlier is not None:
            raise _invalid(f"Model Package Group already exists: {earlier.arn}")
        body = {**call.members, "CreatedBy": {}, "ModelPackageGroupStatus": "Completed"}
        one = self._add(call, "ModelPackageGroup", name, body)
        return {"ModelPackageGroupArn": one.arn}

    def _create_package(self, call: Call) -> dict[str, Any]:
        """Create a version in a group, or a named package; idempotent by ClientToken."""
        token = call.members.get("ClientToken", "")
        if token in self._tokens:
            return {"ModelPackageArn": self._tokens[token]}
        members = {"ModelApprovalStatus": "PendingManualApproval", **call.members}
        if "ModelPackageGroupName" in members:
            group = name_of(members["ModelPackageGroupName"])
            if ("ModelPackageGroup", group) not in self._resources:
                arn = _arn(call, "model-package-group", group)
                raise _invalid(f"ModelPackageGroup {arn} does not exist.")
            # No package is ever deleted, so the count of a group's packages is its last version.
            version = 1 + sum(
                one.body.get("ModelPackageGroupName") == group
                for one in self._resources.values()
                if one.kind == "ModelPackage"
            )
            name = f"{group}/{version}"
            members |= {"ModelPackageGroupName": group, "ModelPackageVersion": version}
        else:
            name = _checked("modelPackageName", call.name)
            if ("ModelPackage", name) in self._resources:
                arn = _arn(call, "model-package", name)
                raise _invalid(f"Model Package already exists: {arn}")
        one = self._add(call, "ModelPackage", name, members)
        self._start(one)
        if token:
            self._tokens[token] = one.arn
        return {"ModelPackageArn": one.arn}

    def _describe_plain(self, call: Call) -> dict[str, Any]:
        kind = call.operation.removeprefix("Describe")
        one = self._find(call, kind, call.name)
        shown = {
            **one.body,
            f"{kind}Name": one.name,
            f"{kind}Arn": one.arn,
            "CreationTime": one.created_epoch,
        }
        return _only_declared(call.operation, shown)

    def _describe_package(self, call: Call) -> dict[str, Any]:
        one = self._find(call, "ModelPackage", call.name)
        status = one.current.look()
        return _only_declared(call.operation, _package_members(one, status))

    def _list_packages(self, call: Call) -> dict[str, Any]:
        wanted = name_of(call.members.get("ModelPackageGroupName", ""))
        found = (
            _package_members(one, one.current.look(counts=False))
            for one in self._resources.values()
            if one.kind == "ModelPackage" and one.body.get("ModelPackageGroupName", "") == wanted
        )
        shown = _summary_members("ModelPackageSummary")
        return page(call, "ModelPackageSummaryList", "ModelPackage", found, shown)


def _job_members(one: _Resource, kind: str, status: str) -> dict[str, Any]:
    """Every member that any operation returns for a job."""
    history = one.walk.history if one.walk else []
    if one.stopped:
        history += one.stopped.history
    changed = history[-1][1]
    shown: dict[str, Any] = {
        **one.body,
        f"{kind}JobName": one.name,
        f"{kind}JobArn": one.arn,
        f"{kind}JobStatus": status,
        "CreationTime": one.created_epoch,
        f"{kind}StartTime": one.created_epoch,
        "LastModifiedTime": changed,
    }
    if kind == "Training":
        shown |= _training_members(one, status, history)
    if status in TERMINAL:
        shown[f"{kind}EndTime"] = changed
    if status == "Failed":
        shown["FailureReason"] = "AlgorithmError: the test's script made this job fail"
    if one.script is not None and one.current.at_last:
        shown |= one.script.members
    return shown


def _training_members(
    one: _Resource, status: str, history: list[tuple[str, float]]
) -> dict[str, Any]:
    folder = str(one.body.get("OutputDataConfig", {}).get("S3OutputPath", "")).rstrip("/")
    transitions: list[dict[str, Any]] = [
        {"Status": _SECONDARY.get(name, name), "StartTime": began} for name, began in history
    ]
    for earlier, later in pairwise(transitions):
        earlier["EndTime"] = later["StartTime"]
    return {
        "ModelArtifacts": {"S3ModelArtifacts": f"{folder}/{one.name}/output/model.tar.gz"},
        "SecondaryStatus": _SECONDARY.get(status, status),
        "SecondaryStatusTransitions": transitions,
    }


def _package_members(one: _Resource, status: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        **one.body,
        "ModelPackageName": one.name,
        "ModelPackageArn": one.arn,
        "ModelPackageStatus": status,
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": one.created_epoch,
    }
    if "ModelPackageGroupName" in one.body:
        shown["ModelPackageName"] = one.body["ModelPackageGroupName"]
    if one.script is not None and one.current.at_last:
        shown |= one.script.members
    return shown


@cache
def _model() -> ServiceModel:
    return session.get_session().get_service_model("sagemaker")


@cache
def _declared(operation: str) -> frozenset[str]:
    model: OperationModel = _model().operation_model(operation)
    assert model.output_shape is not None
    return frozenset(model.output_shape.members)


@cache
def _summary_members(shape: str) -> frozenset[str]:
    found = _model().shape_for(shape)
    assert isinstance(found, StructureShape)
    return frozenset(found.members)


def _only_declared(operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Without request members that Describe does not return, such as Tags."""
    return {key: value for key, value in members.items() if key in _declared(operation)}


def _slug(kind: str) -> str:
    """The name of a kind in ARNs, such as ``model-package``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()


def _arn(call: Call, kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{call.region}:{ACCOUNT}:{kind}/{name}"


def _checked(member: str, name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise _invalid(
        f"1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {_NAME.pattern}"
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
