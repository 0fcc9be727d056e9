"""Endpoint: CreateEndpoint, or UpdateEndpoint if the endpoint exists. AWS cannot stop either.

An update by another user is waited for: the service rejects a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.steps.given_names import Updated


def _wanted(body: Mapping[str, Any]) -> str:
    """The configuration of a request, or the one that an endpoint has or is about to have."""
    pending = body.get("PendingDeploymentSummary", {})
    return str(pending.get("EndpointConfigName") or body.get("EndpointConfigName"))


_BUSY = frozenset(("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"))
STEP = Updated(
    type="Endpoint",
    own_calls=("update_endpoint",),
    uses=("endpoint-config",),
    role_key=None,
    status_key="EndpointStatus",
    states={
        "InService": "Succeeded",
        "Failed": "Failed",
        "OutOfService": "Failed",
        "UpdateRollbackFailed": "Failed",
        "RolledBack": "Failed",
    },
    interim=_BUSY,
    busy=_BUSY,
    update="update_endpoint",
    update_keys=("EndpointName", "EndpointConfigName", "DeploymentConfig"),
    wanted=_wanted,
    outputs=lambda found: {
        "endpoint_name": found.get("EndpointName"),
        "endpoint_config_name": found.get("EndpointConfigName"),
    },
)
