"""The least IAM policy of the caller for each step type, from the calls of its JobType.

It follows "Actions, resources, and condition keys" of each service in the AWS Service Authorization
Reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagebridge_operators.steps.job_type import JobType

ACCOUNT, ROLE = "111122223333", "SageMakerJobs"
"""Placeholders of the policies."""
_NAMES = "pipelines-*"


def policy(job_type: JobType) -> dict[str, Any]:
    """The policy that a worker needs for steps of one type, without records and property files."""
    return {"Version": "2012-10-17", "Statement": list(_statements(job_type))}


def _statements(job_type: JobType) -> Iterator[dict[str, Any]]:
    prefix, operations = _service(job_type.service)

    def allow(actions: list[str], resource: str, **more: Any) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}

    def arn(resource: str) -> str:
        return f"arn:aws:{prefix}:*:{ACCOUNT}:{resource}"

    def named(method: str) -> str:
        return f"{prefix}:{operations[method]}"

    if job_type.permissions:
        for granted, to in job_type.permissions:
            yield allow(list(granted), to.format(account=ACCOUNT, role=ROLE))
        return
    calls = [one for one in (job_type.create, job_type.describe, job_type.stop) if one]
    kind = _kind(job_type.create)
    resource = arn(f"{kind}/{'*' if job_type.role_key is None and not job_type.stop else _NAMES}")
    yield allow([*map(named, calls), f"{prefix}:AddTags"], resource)
    if job_type.more_calls:
        kinds = dict.fromkeys(map(_kind, job_type.more_calls))
        for one in kinds:
            actions = [named(call) for call in job_type.more_calls if _kind(call) == one]
            yield allow(actions, arn(f"{one}/*"))
    if job_type.s3_calls:
        yield allow([f"s3:{call}" for call in job_type.s3_calls], "arn:aws:s3:::BUCKET/*")
    if job_type.listing is not None:  # a List action has no resource
        yield allow([named(one) for one in (job_type.listing[0], *job_type.lists)], "*")
    if job_type.log_group is not None:
        group = f"arn:aws:logs:*:{ACCOUNT}:log-group:{job_type.log_group}:*"
        yield allow(["logs:FilterLogEvents"], group)
    if job_type.role_key is not None:
        passed = {"StringEquals": {"iam:PassedToService": f"{job_type.service}.amazonaws.com"}}
        role = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
        yield allow(["iam:PassRole"], role, Condition=passed)


def _kind(method: str) -> str:
    """The kind of resource in an ARN: ``training-job`` for ``create_training_job``."""
    return method.partition("_")[2].replace("_", "-")


def _service(name: str) -> tuple[str, dict[str, str]]:
    """The prefix of a service's IAM actions, and its operations by boto3 method."""
    from botocore import session, xform_name

    model = session.get_session().get_service_model(name)
    operations = {xform_name(one): str(one) for one in model.operation_names}
    return str(model.metadata.get("signingName") or model.metadata["endpointPrefix"]), operations
