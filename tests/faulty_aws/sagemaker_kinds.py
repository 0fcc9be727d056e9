"""The kinds of SageMaker resources, as data: members, messages, and what Describe adds.

Error codes and messages are copied from the service if they are known. For a missing job or
model the service answers ValidationException, although its API model declares ResourceNotFound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.faulty_aws.job_scripts import TERMINAL, JobScript, Walk, merged
from tests.faulty_aws.protocol import ACCOUNT, AwsError

_TAKEN = (
    "{noun} must be unique within an AWS account and region, and a {job} with this name already "
    "exists ({{arn}})"
)
_JOB_TAKEN = _TAKEN.format(noun="Job name", job="job")
_TRAINING_TAKEN = _TAKEN.format(noun="Training job names", job="training job")
_NO_JOB = "Could not find requested job with name: {name}"
_DAY = {"StoppingCondition": {"MaxRuntimeInSeconds": 86400}}
_SECONDARY = {"InProgress": "Training"}


@dataclass(slots=True)
class Resource:
    """A resource. ``body`` holds the members of its request; only kinds with a status walk."""

    kind: Kind
    name: str
    arn: str
    body: dict[str, Any]
    created: float
    created_epoch: float
    script: JobScript | None = None
    walk: Walk | None = None
    stopped: Walk | None = None
    before: dict[str, Any] = field(default_factory=dict)
    """The request that an update replaces; empty after a creation."""

    @property
    def current(self) -> Walk:
        found = self.stopped or self.walk
        assert found is not None
        return found

    @property
    def history(self) -> list[tuple[str, float]]:
        """The statuses so far and their times, those after a stop included."""
        before = self.walk.history if self.walk else []
        return before + (self.stopped.history if self.stopped else [])

    def described(self, status: str) -> dict[str, Any]:
        """Every member that any operation returns for the resource."""
        name = self.kind.name
        shown = {
            **self.body,
            f"{name}Name": self.name,
            f"{name}Arn": self.arn,
            "CreationTime": self.created_epoch,
        }
        if self.walk is not None:
            named = self.kind.statuses.get(status, status)
            shown[f"{name}Status"] = "Updating" if self.before and named == "Creating" else named
        shown |= self.kind.more(self, status)
        if self.script is not None and self.current.at_last:
            shown = merged(self.script.under, {**shown, **self.script.members})
        return shown


Members = dict[str, Any]


def _job(one: Resource, status: str) -> Members:
    changed, prefix = one.history[-1][1], one.kind.name.removesuffix("Job")
    shown: Members = {f"{prefix}StartTime": one.created_epoch, "LastModifiedTime": changed}
    if status in TERMINAL:
        shown[f"{prefix}EndTime"] = changed
    if status == "Failed":
        shown["FailureReason"] = "AlgorithmError: the test's script made this job fail"
    return shown


def _processing_job(one: Resource, status: str) -> Members:
    """As Model Monitor's container, a job with a baseline ends with the result of its check."""
    shown = _job(one, status)
    if status == "Completed" and "baseline_constraints" in one.body.get("Environment", {}):
        shown["ExitMessage"] = "Completed: Job completed successfully with no violations."
    return shown


def _training_job(one: Resource, status: str) -> Members:
    folder = str(one.body.get("OutputDataConfig", {}).get("S3OutputPath", "")).rstrip("/")
    transitions: list[Members] = [
        {"Status": _SECONDARY.get(name, name), "StartTime": began, "StatusMessage": name}
        for name, began in one.history
    ]
    for earlier, later in pairwise(transitions):
        earlier["EndTime"] = later["StartTime"]
    return _job(one, status) | {
        "ModelArtifacts": {"S3ModelArtifacts": f"{folder}/{one.name}/output/model.tar.gz"},
        "SecondaryStatus": _SECONDARY.get(status, status),
        "SecondaryStatusTransitions": transitions,
    }


def trained_by(one: Resource) -> list[Members]:
    """The training jobs of a tuning job, in no order; without some members that AWS has."""
    config = one.body.get("HyperParameterTuningJobConfig", {})
    objective = config.get("HyperParameterTuningJobObjective", {})
    several = one.body.get("TrainingJobDefinitions", [one.body.get("TrainingJobDefinition", {})])
    found = []
    most = config.get("ResourceLimits", {}).get("MaxNumberOfTrainingJobs", 3)
    for number, value in enumerate((0.7, 0.9, 0.8, *([0.1] * (most - 3))), 1):
        definition = several[number % len(several)]
        goal = definition.get("TuningObjective", objective)
        metric = {"Type": goal.get("Type", "Maximize"), "Value": value}
        metric["MetricName"] = goal.get("MetricName", "validation:auc")
        name = f"{one.name}-00{number}-0a1b2c3d"
        job = {
            "TrainingJobName": name,
            "TrainingJobArn": KINDS["TrainingJob"].arn(one.arn.split(":")[3], name),
            "TrainingJobStatus": "Completed",
            "CreationTime": one.created_epoch,
            "TunedHyperParameters": {"max_depth": str(number)},
            "FinalHyperParameterTuningJobObjectiveMetric": metric,
        }
        if "DefinitionName" in definition:
            job["TrainingJobDefinitionName"] = definition["DefinitionName"]
        found.append(job)
    return found


def value_of(job: Members) -> float:
    return float(job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def _tuning_job(one: Resource, status: str) -> Members:
    shown = _job(one, status)
    if status in TERMINAL:
        shown["HyperParameterTuningEndTime"] = shown["LastModifiedTime"]
    if status == "Completed":
        jobs = sorted(trained_by(one), key=value_of)
        metric = jobs[0]["FinalHyperParameterTuningJobObjectiveMetric"]
        shown["BestTrainingJob"] = jobs[0 if metric["Type"] == "Minimize" else -1]
    return shown


def _auto_ml_job(one: Resource, status: str) -> Members:
    shown = _job(one, status)
    if status in TERMINAL:
        shown["EndTime"] = shown["LastModifiedTime"]
    if status == "Completed":
        folder = f"{str(one.body['OutputDataConfig']['S3OutputPath']).rstrip('/')}/{one.name}"
        candidate, reports = f"{one.name}-best", f"{folder}/documentation"
        shown["BestCandidate"] = {
            "CandidateName": candidate,
            "CandidateStatus": "Completed",
            "ObjectiveStatus": "Succeeded",
            "CandidateSteps": [],
            "CreationTime": one.created_epoch,
            "LastModifiedTime": shown["LastModifiedTime"],
            "InferenceContainers": [
                {"Image": "image", "ModelDataUrl": f"{folder}/models/{candidate}/model.tar.gz"}
            ],
            "CandidateProperties": {
                "CandidateArtifactLocations": {
                    "Explainability": f"{reports}/explainability/output/{candidate}",
                    "ModelInsights": f"{reports}/model_monitor/output/{candidate}",
                }
            },
        }
    return shown


def _general_job(one: Resource, status: str) -> Members:
    """A Job. Its document gets the result of the job."""
    shown = _job(one, status)
    if status == "Completed":
        document = json.loads(one.body["JobConfigDocument"])
        document["OutputModelPackageArn"] = (
            f"{one.arn.rpartition(':job/')[0]}:model-package/tuned/1"
        )
        shown["JobConfigDocument"] = json.dumps(document)
    return shown


def _package(one: Resource, status: str) -> Members:
    del status
    shown: Members = {
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []}
    }
    if "ModelPackageGroupName" in one.body:
        shown["ModelPackageName"] = one.body["ModelPackageGroupName"]
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of resource.

    ``{name}`` and ``{arn}`` in a message are those of the resource.

    Args:
        name: as in members: ``TrainingJob`` in TrainingJobName, TrainingJobArn, TrainingJobStatus.
        missing: the code and message when Describe does not find one.
        not_to_stop: the message when Stop does not find one; None if there is no Stop operation.
        taken: the code and message when the name is in use.
        walks: whether it walks through statuses.
        summaries: the member of a List operation's response with the summaries.
        defaults: members that Describe shows for a request without them.
        more: further members of a description, from the resource and its status.
        longest: the longest name.
        arn_kind: the kind in ARNs, if it is not the noun.
        statuses: its names for the statuses of job scripts.
        updates: whether it has an Update operation.
    """

    name: str
    missing: tuple[str, str]
    taken: tuple[str, str]
    not_to_stop: str | None = None
    walks: bool = False
    summaries: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[Resource, str], Members] = lambda one, status: {}
    longest: int = 63
    arn_kind: str = ""
    statuses: Mapping[str, str] = field(default_factory=dict)
    updates: bool = False

    def arn(self, region: str, name: str) -> str:
        kind = self.arn_kind or self.noun.replace(" ", "-")
        return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"

    @property
    def noun(self) -> str:
        """The kind in messages, such as ``model package``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).lower()

    def error(self, error: tuple[str, str], region: str, name: str) -> AwsError:
        code, text = error
        return AwsError(code, text.format(name=name, arn=self.arn(region, name)))


def _endpoint(one: Resource, status: str) -> Members:
    """Until an update has ended, an endpoint has its earlier configuration."""
    shown: Members = {"LastModifiedTime": one.history[-1][1]}
    if one.before and status == "InProgress":
        shown["EndpointConfigName"] = one.before["EndpointConfigName"]
        pending = {"EndpointConfigName": one.body["EndpointConfigName"]}
        shown["PendingDeploymentSummary"] = pending
    return shown


def _component(one: Resource, status: str) -> Members:
    body = one.before if one.before and status == "InProgress" else one.body
    copies = body.get("RuntimeConfig", {}).get("CopyCount", 1)
    return {
        "LastModifiedTime": one.history[-1][1],
        "EndpointArn": KINDS["Endpoint"].arn(one.arn.split(":")[3], one.body["EndpointName"]),
        "Specification": body.get("Specification", {}),
        "RuntimeConfig": {"DesiredCopyCount": copies, "CurrentCopyCount": copies},
    }


_SERVING = {"InProgress": "Creating", "Completed": "InService"}
_INVALID = "ValidationException"
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="ProcessingJob",
            missing=(_INVALID, _NO_JOB),
            not_to_stop=_NO_JOB,
            taken=("ResourceInUse", _JOB_TAKEN),
            walks=True,
            summaries="ProcessingJobSummaries",
            defaults=_DAY,
            more=_processing_job,
        ),
        Kind(
            name="TrainingJob",
            missing=(_INVALID, "Requested resource not found."),
            not_to_stop="Requested resource not found.",
            taken=("ResourceInUse", _TRAINING_TAKEN),
            walks=True,
            summaries="TrainingJobSummaries",
            defaults=_DAY,
            more=_training_job,
        ),
        Kind(
            name="TransformJob",
            missing=(_INVALID, _NO_JOB),
            not_to_stop="Could not find job to update with name: {name}",
            taken=("ResourceInUse", _JOB_TAKEN),
            walks=True,
            summaries="TransformJobSummaries",
            more=_job,
        ),
        Kind(
            name="HyperParameterTuningJob",
            missing=("ResourceNotFound", "Requested resource not found."),
            not_to_stop="Requested resource not found.",
            taken=("ResourceInUse", _JOB_TAKEN),
            walks=True,
            summaries="HyperParameterTuningJobSummaries",
            more=_tuning_job,
            longest=32,
        ),
        Kind(
            name="AutoMLJob",
            missing=("ResourceNotFound", _NO_JOB),
            not_to_stop=_NO_JOB,
            taken=("ResourceInUse", _JOB_TAKEN),
            walks=True,
            summaries="AutoMLJobSummaries",
            more=_auto_ml_job,
            longest=32,
            arn_kind="automl-job",
        ),
        Kind(
            name="Job",
            missing=("ResourceNotFound", "Requested resource not found."),
            not_to_stop="Requested resource not found.",
            taken=("ResourceInUse", _JOB_TAKEN),
            walks=True,
            more=_general_job,
        ),
        Kind(
            name="Model",
            missing=(_INVALID, 'Could not find model "{arn}".'),
            taken=(_INVALID, 'Cannot create already existing model "{arn}".'),
            summaries="Models",
            defaults={"EnableNetworkIsolation": False},
        ),
        Kind(
            name="EndpointConfig",
            missing=(_INVALID, 'Could not find endpoint configuration "{arn}".'),
            taken=(_INVALID, 'Cannot create already existing endpoint configuration "{arn}".'),
            summaries="EndpointConfigs",
        ),
        Kind(
            name="Endpoint",
            missing=(_INVALID, 'Could not find endpoint "{arn}".'),
            taken=(_INVALID, 'Cannot create already existing endpoint "{arn}".'),
            walks=True,
            summaries="Endpoints",
            more=_endpoint,
            statuses=_SERVING,
            updates=True,
        ),
        Kind(
            name="InferenceComponent",
            missing=(_INVALID, 'Could not find inference component "{arn}".'),
            taken=(_INVALID, 'Cannot create already existing inference component "{arn}".'),
            walks=True,
            summaries="InferenceComponents",
            more=_component,
            statuses=_SERVING,
            updates=True,
        ),
        Kind(
            name="Action",
            missing=("ResourceNotFound", "Action '{arn}' does not exist."),
            taken=(_INVALID, "Action names must be unique within an AWS account and region."),
            summaries="ActionSummaries",
            longest=120,
        ),
        Kind(
            name="Context",
            missing=("ResourceNotFound", "Context '{arn}' does not exist."),
            taken=(_INVALID, "Context names must be unique within an AWS account and region."),
            summaries="ContextSummaries",
            longest=120,
        ),
        Kind(
            name="Artifact",
            missing=("ResourceNotFound", "Artifact '{arn}' does not exist."),
            taken=(_INVALID, "Artifact '{arn}' already exists."),
            summaries="ArtifactSummaries",
            more=lambda one, status: {"ArtifactName": one.body.get("ArtifactName", "")},
            longest=120,
        ),
        Kind(
            name="ModelPackageGroup",
            missing=(_INVALID, "ModelPackageGroup {arn} does not exist."),
            taken=(_INVALID, "Model Package Group already exists: {arn}"),
            summaries="ModelPackageGroupSummaryList",
            defaults={"CreatedBy": {}, "ModelPackageGroupStatus": "Completed"},
        ),
        Kind(
            name="ModelPackage",
            missing=(_INVALID, "ModelPackage {arn} does not exist."),
            taken=(_INVALID, "Model Package already exists: {arn}"),
            walks=True,
            summaries="ModelPackageSummaryList",
            defaults={"ModelApprovalStatus": "PendingManualApproval"},
            more=_package,
        ),
        # Since September 2026 some duplicates are reported without the words "already exists":
        # aws/sagemaker-python-sdk#6256.
        Kind(
            name="Experiment",
            missing=("ResourceNotFound", "Experiment '{arn}' does not exist."),
            taken=(_INVALID, "Experiment names must be unique within an AWS account and region."),
            summaries="ExperimentSummaries",
            longest=120,
        ),
        Kind(
            name="Trial",
            missing=("ResourceNotFound", "Trial '{arn}' does not exist."),
            taken=(_INVALID, "Trial with name ({name}) already exists."),
            summaries="TrialSummaries",
            longest=120,
        ),
    )
}
