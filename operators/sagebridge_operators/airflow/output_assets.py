"""Assets of Airflow for the S3 data that a step writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias

from sagebridge.model.pipeline import Step
from sagebridge.model.values import Strict, Value
from sagebridge.model.visit import nodes

_WRITTEN = ("ProcessingOutputConfig", "OutputDataConfig", "TransformOutput")
"""The parts of a request with the places that a job writes to."""
_OUTPUTS = ("model_artifact", "output", "outputs")
"""The outputs of a step that are S3 URIs."""


def outlets_of(dag_id: str, task_id: str, step: Step) -> list[Any]:
    """The outlets of a task: the S3 URIs that are known, and an alias for the others."""
    known = [Asset(uri) for uri in _uris(step.arguments)]
    return [*known, AssetAlias(f"{dag_id}.{task_id}")]


def add_events(operator: Any, context: Any, outputs: Mapping[str, Any]) -> None:
    """Adds an event for each S3 URI that a step has written and that was not known before."""
    known = {one.uri for one in operator.outlets if isinstance(one, Asset)}
    for alias in operator.outlets:
        if isinstance(alias, AssetAlias):
            for uri in _uris([outputs.get(name) for name in _OUTPUTS]):
                if (asset := Asset(uri)).uri not in known:
                    context["outlet_events"][alias].add(asset)


def _uris(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [value[name] for name in _WRITTEN if name in value]
    constants = nodes(value, prune=lambda node: isinstance(node, Strict))
    found = (node for node in constants if isinstance(node, str))
    yield from dict.fromkeys(uri for uri in found if uri.startswith("s3://"))
