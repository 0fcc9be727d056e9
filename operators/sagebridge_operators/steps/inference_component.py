"""InferenceComponent: CreateInferenceComponent, or UpdateInferenceComponent if it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge_operators.steps.given_names import Identity, Updated, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceComponent(Updated):
    def is_wanted(self, found: Mapping[str, Any], identity: Identity) -> bool:
        """A request may have no number of copies; a description has one all the same."""
        any_number = {**found, "RuntimeConfig": {}}
        return identity.wanted in (self.wanted(found), self.wanted(any_number))


def _wanted(body: Mapping[str, Any]) -> str:
    """What a request and a description have in common: model or files, base, number of copies."""
    specification, runtime = body.get("Specification", {}), body.get("RuntimeConfig", {})
    container = specification.get("Container", {})
    return digest(
        specification.get("ModelName"),
        specification.get("BaseInferenceComponentName"),
        container.get("ArtifactUrl"),
        runtime.get("CopyCount", runtime.get("DesiredCopyCount")),
    )


_BUSY = frozenset(("Creating", "Updating", "Deleting"))
STEP = InferenceComponent(
    type="InferenceComponent",
    own_calls=("update_inference_component",),
    uses=("endpoint",),
    role_key=None,
    status_key="InferenceComponentStatus",
    states={"InService": "Succeeded", "Failed": "Failed", "RolledBack": "Failed"},
    interim=_BUSY,
    busy=_BUSY,
    update="update_inference_component",
    update_keys=("InferenceComponentName", "Specification", "RuntimeConfig"),
    wanted=_wanted,
    s3_inputs="Specification.Container.ArtifactUrl",
    made_from={"Specification.ModelName": "Model"},
    outputs=lambda found: {
        "inference_component_name": found.get("InferenceComponentName"),
        "endpoint_name": found.get("EndpointName"),
    },
)
