"""OpenLineage: the datasets of a task's job.

They are named as those of the Amazon provider's SageMaker operators (path_to_s3_dataset in
airflow/providers/amazon/aws/operators/sagemaker.py). Airflow calls this only if the provider
``apache-airflow-providers-openlineage`` is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagebridge_operators.lifecycle.lineage import inputs_and_outputs
from sagebridge_operators.steps import JOB_TYPES

if TYPE_CHECKING:
    from sagebridge_operators.lifecycle.drive import StepDriver


def lineage_of(driver: StepDriver | None, *, failed: bool = False) -> Any:
    """The OperatorLineage of a step; that of a failed one has no outputs."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    attempt = driver.attempt if driver is not None else None
    if driver is None or attempt is None or attempt.job is None or attempt.type not in JOB_TYPES:
        return OperatorLineage()
    job_type = JOB_TYPES[attempt.type]
    inputs, outputs = inputs_and_outputs(job_type, attempt.job.name, driver.task.backend)
    return OperatorLineage(
        inputs=[_dataset(uri) for uri in inputs],
        outputs=[] if failed else [_dataset(uri) for uri in outputs],
    )


def _dataset(uri: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Dataset(namespace=f"s3://{bucket}", name=key, facets={})
