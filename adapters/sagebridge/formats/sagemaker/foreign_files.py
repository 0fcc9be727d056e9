"""Recognize JSON and YAML files of other tools, so that messages can name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.authoring.json_document import NotAPipeline


class ForeignFile(NotAPipeline):
    """A file of another tool."""

    def __init__(self, source: str, kind: str) -> None:
        problem = f"{kind}; sagebridge does not read it"
        super().__init__(source, problem, "use a pipeline definition, a DAG file or a flow file")


_BY_KEYS: Mapping[str, tuple[str, ...]] = {
    "a Kubernetes manifest": ("apiVersion", "kind"),
    "a Docker Compose file": ("services",),
    "an Amazon States Language definition (Step Functions)": ("StartAt", "States"),
    "a Kubeflow pipeline": ("pipelineInfo",),
    "a GitHub Actions workflow": ("jobs",),
}


def foreign_kind(value: Mapping[str, Any]) -> str:
    """A noun phrase for the kind of file that has this content; empty if it is unknown."""
    if "prefect-version" in value or isinstance(value.get("deployments"), list):
        return "a Prefect deployment file (prefect.yaml)"
    if any(_is_dag(one) for one in value.values()):
        return "a dag-factory file (YAML DAGs, also the format of MWAA Serverless)"
    for kind, keys in _BY_KEYS.items():
        if all(key in value for key in keys):
            return kind
    return ""


def _is_dag(value: object) -> bool:
    """Whether a value has tasks with operators, as in dag-factory: by name, or as a list."""
    tasks = value.get("tasks") if isinstance(value, Mapping) else None
    if isinstance(tasks, Mapping):
        tasks = list(tasks.values())
    return isinstance(tasks, list) and any(
        isinstance(one, Mapping) and ("operator" in one or "decorator" in one) for one in tasks
    )
