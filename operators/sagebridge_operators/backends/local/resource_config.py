"""The resourceconfig.json file of a job: the hosts that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOST = "algo-1"
INTERFACE = "lo"


def resource_config(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The content of resourceconfig.json: one host, as a local job always has."""
    kind = instance_type(cluster)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": kind,
        "current_group_name": group["instance_group_name"],
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": INTERFACE,
    }


def instance_type(cluster: Mapping[str, Any]) -> str:
    groups = cluster.get("InstanceGroups") or [cluster]
    return str(groups[0].get("InstanceType", "local"))
