"""Steps for small pipelines, the same for both engines."""

from __future__ import annotations

from typing import Any

from sagebridge.model.conditions import Condition, equals
from sagebridge.model.expressions import plain, properties_of
from sagebridge.model.pipeline import ConditionStep, Step

TRUE, FALSE = equals(1, 1), equals(1, 2)
ROLE = "arn:aws:iam::111122223333:role/r"


def model(name: str, *needs: str, after: tuple[str, ...] = (), **arguments: Any) -> Step:
    """A Model step, which ends immediately, with references to the steps ``needs``."""
    containers: list[Any] = [{"Image": properties_of(need).ModelName} for need in needs]
    request = {
        "ExecutionRoleArn": ROLE,
        "Containers": containers or [{"Image": "image"}],
        **arguments,
    }
    return Step(name, "Model", arguments=plain(request), depends_on=after)


def training(name: str, **more: Any) -> Step:
    """A Training step; the test decides how long its job runs."""
    request = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return Step(name, "Training", arguments=plain(request), **more)


def fail(name: str, message: Any = "no", **more: Any) -> Step:
    return Step(name, "Fail", arguments=plain({"ErrorMessage": message}), **more)


def branch(
    name: str,
    condition: Condition,
    *if_steps: Step,
    otherwise: tuple[Step, ...] = (),
    after: tuple[str, ...] = (),
) -> ConditionStep:
    return ConditionStep(
        name,
        "Condition",
        depends_on=after,
        conditions=(condition,),
        if_steps=if_steps,
        else_steps=otherwise,
    )
