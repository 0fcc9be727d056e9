"""Links from a step to its job: the SageMaker console, the log in CloudWatch, the output in S3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from posixpath import commonpath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.lifecycle.lineage import bucket_and_key, s3_uris

if TYPE_CHECKING:
    from sagebridge_operators.steps.job_type import JobType

CONSOLE, LOG, OUTPUT = "SageMaker console", "CloudWatch log", "S3 output"
"""The names of the links."""
_DOMAINS = {
    "aws": "aws.amazon.com",
    "aws-cn": "amazonaws.cn",
    "aws-us-gov": "amazonaws-us-gov.com",
}
"""The console's domain in each AWS partition, as in BaseAwsLink of the Amazon provider."""


def job_links(job_type: JobType, name: str, description: Mapping[str, Any]) -> dict[str, str]:
    """URLs by link name, from the description of a job.

    Partition and region are those of the job's ARN. A description without an ARN, an unknown
    partition and a type without pages give no links.
    """
    arn = str(description.get(job_type.arn_key, "")).split(":")
    if len(arn) < 6 or arn[1] not in _DOMAINS:
        return {}
    partition, region = arn[1], arn[3]
    row = STEP_TYPES.get(job_type.type)
    found = {}
    if row is not None and row.console_page is not None:
        fragment = f"/{row.console_page}/{quote(name)}"
        found[CONSOLE] = _page(partition, f"sagemaker/home?region={region}#{fragment}")
    if job_type.log_group is not None:
        found[LOG] = log_page(partition, region, job_type.log_group, f"{name}/")
    uris = s3_uris(job_type.s3_folder or job_type.s3_outputs, description)
    if (folder := _common_folder(uris)) is not None:
        bucket, key = folder
        prefix = quote(f"{key}/" if key else "", safe="")
        found[OUTPUT] = _page(
            partition, f"s3/buckets/{quote(bucket)}?region={region}&prefix={prefix}"
        )
    return found


def log_page(partition: str, region: str, group: str, prefix: str) -> str:
    """The console page of the log streams in a group whose names start with ``prefix``."""
    # The console decodes the fragment twice, with "$" in the place of "%".
    where = f"{_twice(group)}$3FlogStreamNameFilter$3D{_twice(prefix)}"
    return _page(partition, f"cloudwatch/home?region={region}#logsV2:log-groups/log-group/{where}")


def _page(partition: str, path: str) -> str:
    return f"https://console.{_DOMAINS.get(partition, _DOMAINS['aws'])}/{path}"


def _twice(text: str) -> str:
    return quote(quote(text, safe=""), safe="").replace("%", "$")


def _common_folder(uris: Iterable[str]) -> tuple[str, str] | None:
    """Bucket and key of the folder that contains all URIs, or of the first one."""
    places = [bucket_and_key(uri) for uri in uris]
    if not places:
        return None
    buckets = {bucket for bucket, _ in places}
    if len(places) == 1 or len(buckets) > 1:
        return places[0]
    return places[0][0], commonpath([key for _, key in places])
