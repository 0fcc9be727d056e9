"""The least IAM policy of the caller for each step type, from the calls of its JobType.

It follows "Actions, resources, and condition keys" of each service in the AWS Service Authorization
Reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sagebridge_operators.steps.job_type import JobType

ACCOUNT, ROLE = "111122223333", "SageMakerJobs"
"""Placeholders of the policies."""
_NAMES, _SHORT_NAMES, _SHORT = "pipelines-*", "pip*", 32
"""How names of jobs begin, those of at most 32 characters included."""


def policy(job_type: JobType) -> dict[str, Any]:
    """The policy that a worker needs for steps of one type, without records and property files."""
    return {"Version": "2012-10-17", "Statement": list(_statements(job_type))}


def policy_of(permissions: Iterable[tuple[tuple[str, ...], str]]) -> dict[str, Any]:
    """The policy with some IAM actions, each group with its resource."""
    statements = [
        {"Effect": "Allow", "Action": [*granted], "Resource": to.format(account=ACCOUNT, role=ROLE)}
        for granted, to in permissions
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _statements(job_type: JobType) -> Iterator[dict[str, Any]]:
    prefix, operations = _service(job_type.service)

    def allow(actions: list[str], resource: str | list[str], **more: Any) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}

    def arn(resource: str) -> str:
        return f"arn:aws:{prefix}:*:{ACCOUNT}:{resource}"

    def named(method: str) -> str:
        return f"{prefix}:{operations[method]}"

    if job_type.permissions:
        yield from policy_of(job_type.permissions)["Statement"]
        return
    own = (job_type.create, job_type.describe, job_type.stop, *job_type.own_calls)
    calls = [one for one in own if one]
    kind = job_type.arn_kind or _kind(job_type.create)
    names = _SHORT_NAMES if job_type.name_limit <= _SHORT else _NAMES
    resource = arn(f"{kind}/{names if job_type.owned else '*'}")
    yield allow([*map(named, calls), f"{prefix}:AddTags"], resource)
    if job_type.uses:
        yield allow([named(job_type.create)], [arn(f"{one}/*") for one in job_type.uses])
    if job_type.more_calls:
        kinds = dict.fromkeys(map(_kind, job_type.more_calls))
        for one in kinds:
            actions = [named(call) for call in job_type.more_calls if _kind(call) == one]
            yield allow(actions, arn(f"{one}/*"))
    if job_type.s3_calls:
        yield allow([f"s3:{call}" for call in job_type.s3_calls], "arn:aws:s3:::BUCKET/*")
    if job_type.listing:  # a List action has no resource
        yield allow([named(one) for one in (job_type.listing[0], *job_type.lists)], "*")
    if job_type.log_group is not None:
        group = f"arn:aws:logs:*:{ACCOUNT}:log-group:{job_type.log_group}:*"
        yield allow(["logs:FilterLogEvents"], group)
    if job_type.passes_role:
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
