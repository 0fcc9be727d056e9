"""Tuning: CreateHyperParameterTuningJob.

The properties of the step are those of DescribeHyperParameterTuningJob, with the training jobs of
ListTrainingJobsForHyperParameterTuningJob as ``TrainingJobSummaries``, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.steps.job_type import JobType

_MOST = 50
"""The training jobs that a reference can select: ``TrainingJobSummaries[0]`` to ``[49]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The request. The role is a key of each definition of training jobs."""
        request = JobType.request(self, step, arguments, name=name, token=token, role=role)
        if role is None:
            return request
        one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
        if isinstance(one, Mapping):
            request["TrainingJobDefinition"] = {"RoleArn": role, **one}
        if isinstance(several, list):
            request["TrainingJobDefinitions"] = [{"RoleArn": role, **each} for each in several]
        return request

    @property
    def passes_role(self) -> bool:
        return True

    def with_details(
        self,
        client: Callable[[], Any],
        description: Mapping[str, Any],
        properties: frozenset[str],
    ) -> Mapping[str, Any]:
        if "TrainingJobSummaries" not in properties:
            return description
        objective = _objective(description)
        found = client().list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=description[self.name_key],
            SortBy="FinalObjectiveMetricValue",
            SortOrder="Ascending" if objective == "Minimize" else "Descending",
            MaxResults=_MOST,
        )
        return {**description, "TrainingJobSummaries": found["TrainingJobSummaries"]}


def _objective(description: Mapping[str, Any]) -> str | None:
    """Maximize or Minimize, which all definitions of training jobs share; None if not known."""
    config = description.get("HyperParameterTuningJobConfig", {})
    objectives = [config.get("HyperParameterTuningJobObjective")]
    objectives += [one.get("TuningObjective") for one in _definitions(description)]
    return next((one["Type"] for one in objectives if one), None)


def _definitions(description: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "TrainingJobDefinition" in description:
        yield description["TrainingJobDefinition"]
    yield from description.get("TrainingJobDefinitions", ())


def _outputs(description: Mapping[str, Any]) -> dict[str, Any]:
    """The best training job and the S3 URI of its model artifact.

    Training jobs of a tuning job write to ``<S3OutputPath>/<training job>/output/model.tar.gz``.
    """
    best = description.get("BestTrainingJob", {})
    if not (name := best.get("TrainingJobName")):
        return {}
    wanted, artifact = best.get("TrainingJobDefinitionName"), None
    for definition in _definitions(description):
        if wanted in (None, definition.get("DefinitionName")):
            output = definition["OutputDataConfig"]
            plain = output.get("CompressionType") == "NONE"
            folder = f"{output['S3OutputPath'].rstrip('/')}/{name}/output"
            artifact = f"{folder}/model" if plain else f"{folder}/model.tar.gz"
    return {"best_training_job": name, "model_artifact": artifact}


_EACH = "[TrainingJobDefinition, TrainingJobDefinitions[]][]"
STEP = Tuning(
    type="Tuning",
    own_calls=("list_training_jobs_for_hyper_parameter_tuning_job",),
    name_limit=32,
    role_key=None,
    states={
        "Completed": "Succeeded",
        "Failed": "Failed",
        "Stopped": "Stopped",
        "DeleteFailed": "Failed",
    },
    interim=frozenset(("InProgress", "Stopping", "Deleting")),
    s3_inputs=f"{_EACH}.InputDataConfig[].DataSource.S3DataSource.S3Uri",
    s3_outputs=f"{_EACH}.OutputDataConfig.S3OutputPath",
    outputs=_outputs,
)
