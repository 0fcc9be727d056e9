"""Job: CreateJob, whose configuration is a JSON document. DescribeJob also needs the category."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.documents import problem_of
from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType, is_not_found

_CATEGORY, _DOCUMENT = "JobCategory", "JobConfigDocument"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The request. Raises StepFailed if a value breaks the JSON document."""
        document = arguments.get(_DOCUMENT)
        written = step.arguments.get(_DOCUMENT) if isinstance(step.arguments, Mapping) else None
        if isinstance(document, str) and (problem := problem_of(written, document)) is not None:
            text = f"{_DOCUMENT} of step {step.name!r}: {problem}"
            raise StepFailed(text, kind="request")
        return JobType.request(self, step, arguments, name=name, token=token, role=role)

    def handle(self, name: str, request: Mapping[str, Any], since: object) -> str:
        return f"{name}|{request.get(_CATEGORY, '')}"

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        """The description; without a category all of them are tried."""
        from botocore.exceptions import ClientError

        name, _, given = name.partition("|")
        for category in (given,) if given else _categories(client):
            try:
                return dict(client.describe_job(JobName=name, JobCategory=category))
            except ClientError as error:
                if not is_not_found(error):
                    raise
        return None

    def send_stop(self, client: Any, name: str) -> None:
        name, _, category = name.partition("|")
        client.stop_job(JobName=name, JobCategory=category)


def _categories(client: Any) -> list[str]:
    """The categories that the client's API model has."""
    shape = client.meta.service_model.operation_model("DescribeJob").input_shape
    return list(shape.members[_CATEGORY].enum)


def _outputs(description: Mapping[str, Any]) -> dict[str, Any]:
    """What the job adds to its document: the model package of a fine-tuning job."""
    try:
        document = json.loads(description.get(_DOCUMENT, ""))
    except ValueError:
        return {}
    found = document.get("OutputModelPackageArn") if isinstance(document, dict) else None
    return {"model_package_arn": found}


STEP = Job(
    type="Job",
    listing=(),
    states={
        "Completed": "Succeeded",
        "Failed": "Failed",
        "Stopped": "Stopped",
        "DeleteFailed": "Failed",
    },
    interim=frozenset(("InProgress", "Stopping", "Deleting")),
    arn_kind="job/*",
    dropped_arguments=("JobName",),
    outputs=_outputs,
)
