"""EndpointConfig: CreateEndpointConfig, which is synchronous.

A given name is used exactly as it is. A configuration cannot be changed, so one that this execution
has not made fails the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.steps.given_names import GivenName, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig(GivenName):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The request. Only an endpoint for inference components, without models, has a role."""
        variants = arguments.get("ProductionVariants") or ()
        if any("ModelName" in one for one in variants):
            role = None
        return GivenName.request(self, step, arguments, name=name, token=token, role=role)


def _wanted(body: Mapping[str, Any]) -> str:
    keys = ("VariantName", "ModelName", "InstanceType", "InitialInstanceCount", "ServerlessConfig")
    variants = body.get("ProductionVariants", [])
    return digest([[one.get(key) for key in keys] for one in variants])


STEP = EndpointConfig(
    type="EndpointConfig",
    role_key="ExecutionRoleArn",
    uses=("model",),
    wanted=_wanted,
    s3_outputs="DataCaptureConfig.DestinationS3Uri",
    made_from={"ProductionVariants[].ModelName": "Model"},
    outputs=lambda found: {"endpoint_config_name": found.get("EndpointConfigName")},
)
