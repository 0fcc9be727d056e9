"""AutoML: CreateAutoMLJob, the first version of the API. Pipelines allow only Mode ENSEMBLING."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType

_MODE = "ENSEMBLING"
# The guide names the two properties, but not the files. Autopilot writes these ("Autopilot job
# results" and "Autopilot explainability report" in the SageMaker guide).
_REPORTS = {
    "ModelInsights": ("ModelInsightsJsonReportPath", "statistics.json"),
    "Explainability": ("ExplainabilityJsonReportPath", "analysis.json"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoML(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The request. Raises StepFailed for a mode that pipelines do not allow."""
        config = arguments.get("AutoMLJobConfig")
        mode = config.get("Mode", _MODE) if isinstance(config, Mapping) else _MODE
        if mode != _MODE:
            text = f"AutoMLJobConfig.Mode of step {step.name!r}: expected {_MODE}, got {mode!r}"
            raise StepFailed(text, kind="request")
        return JobType.request(self, step, arguments, name=name, token=token, role=role)

    def with_details(
        self,
        client: Callable[[], Any],
        description: Mapping[str, Any],
        properties: frozenset[str],
    ) -> Mapping[str, Any]:
        candidate = description.get("BestCandidate", {}).get("CandidateProperties", {})
        folders = candidate.get("CandidateArtifactLocations", {})
        reports = {
            name: f"{folders[kind].rstrip('/')}/{file}"
            for kind, (name, file) in _REPORTS.items()
            if folders.get(kind)
        }
        return {**description, "BestCandidateProperties": {**candidate, **reports}}


def _outputs(description: Mapping[str, Any]) -> dict[str, Any]:
    """The best candidate and its model artifact, that of the last container with a model."""
    best = description.get("BestCandidate", {})
    containers = best.get("InferenceContainers", [])
    artifacts = [one["ModelDataUrl"] for one in containers if one.get("ModelDataUrl")]
    return {
        "best_candidate": best.get("CandidateName"),
        "model_artifact": artifacts[-1] if artifacts else None,
        "output": description.get("OutputDataConfig", {}).get("S3OutputPath"),
    }


STEP = AutoML(
    type="AutoML",
    arn_kind="automl-job",
    name_limit=32,
    interim=frozenset(("InProgress", "Stopping")),
    end_key="EndTime",
    s3_inputs="InputDataConfig[].DataSource.S3DataSource.S3Uri",
    s3_outputs="OutputDataConfig.S3OutputPath",
    outputs=_outputs,
)
