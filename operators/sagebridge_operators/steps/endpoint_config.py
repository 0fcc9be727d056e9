"""EndpointConfig: CreateEndpointConfig, which is synchronous.

A given name is used exactly as it is. A configuration cannot be changed, so one that this execution
has not made fails the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.steps.given_names import GivenName, digest


def _wanted(body: Mapping[str, Any]) -> str:
    keys = ("VariantName", "ModelName", "InstanceType", "InitialInstanceCount", "ServerlessConfig")
    variants = body.get("ProductionVariants", [])
    return digest([[one.get(key) for key in keys] for one in variants])


STEP = GivenName(
    type="EndpointConfig",
    create="create_endpoint_config",
    describe="describe_endpoint_config",
    name_key="EndpointConfigName",
    arn_key="EndpointConfigArn",
    role_key=None,
    uses=("model",),
    wanted=_wanted,
    s3_outputs="DataCaptureConfig.DestinationS3Uri",
    made_from={"ProductionVariants[].ModelName": "Model"},
    outputs=lambda found: {"endpoint_config_name": found.get("EndpointConfigName")},
)
