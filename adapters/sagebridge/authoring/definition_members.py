"""What a definition says beside its steps and parameters, as files of both orchestrators have it.

It is one mapping by AWS's member names, ``definition={"Metadata": {…}}``; members that AWS does not
have are below ``extra``. A version left out is ABSENT; a file that says none means the usual one.
"""

from __future__ import annotations

from typing import Any

from sagebridge.model.pipeline import VERSION, Pipeline
from sagebridge.model.values import ABSENT, EMPTY, Value


def members_beside(pipeline: Pipeline) -> dict[str, Value]:
    """The mapping for a pipeline; empty where a file need not say anything."""
    members = {
        "Metadata": pipeline.metadata,
        "PipelineExperimentConfig": pipeline.experiment_config,
        "MlflowConfig": pipeline.mlflow_config,
        "extra": pipeline.extra or ABSENT,
    }
    result = {name: value for name, value in members.items() if value is not ABSENT}
    return result if pipeline.version == VERSION else {"Version": pipeline.version, **result}


def fields_beside(members: dict[str, Value]) -> dict[str, Any]:
    """The fields of a pipeline, taken out of the mapping."""
    return {
        "version": members.pop("Version", VERSION),
        "metadata": members.pop("Metadata", ABSENT),
        "experiment_config": members.pop("PipelineExperimentConfig", ABSENT),
        "mlflow_config": members.pop("MlflowConfig", ABSENT),
        "extra": members.pop("extra", EMPTY),
    }
