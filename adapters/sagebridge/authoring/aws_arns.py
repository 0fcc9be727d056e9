"""Names and ARNs of pipelines, and ARNs and URLs of SQS queues."""

from __future__ import annotations

import re

_ARN = re.compile(r"(?P<account>arn:.{1,300}:sagemaker:.{0,300}:)pipeline/(?P<name>.{1,300})")
_QUEUE_ARN = re.compile(r"arn:(aws[a-z-]*):sqs:([a-z0-9-]+):(\d{12}):([\w.-]+)")
_QUEUE_URL = re.compile(r"https://sqs\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)/(\d{12})/([\w.-]+)")
_VARIABLE_ARN = re.compile(r"\$\{(\w+)\.Arn\}")


def target_parts(arn: str) -> tuple[str, str] | None:
    """``arn:aws:sagemaker:eu-west-1:111122223333:`` and the name of the pipeline with that ARN."""
    match = _ARN.fullmatch(arn)
    return (match["account"], match["name"]) if match else None


def legal_name(name: str | None) -> str:
    """The nearest name that SageMaker allows for a pipeline."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name or "pipeline")[:256].strip("-") or "pipeline"


def queue_url(arn: str) -> str | None:
    """The URL of the SQS queue with an ARN; ``${Queue}`` for CloudFormation's ``${Queue.Arn}``."""
    if match := _VARIABLE_ARN.fullmatch(arn):
        return f"${{{match[1]}}}"
    if match := _QUEUE_ARN.fullmatch(arn):
        partition, region, account, name = match.groups()
        domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        return f"https://sqs.{region}.{domain}/{account}/{name}"
    return None


def queue_arn(url: str) -> str | None:
    """The ARN of the SQS queue with a URL; None if it is not a URL of AWS."""
    if match := re.fullmatch(r"\$\{(\w+)\}", url):
        return f"${{{match[1]}.Arn}}"
    if match := _QUEUE_URL.fullmatch(url):
        region, domain, account, name = match.groups()
        partition = "aws-cn" if domain.endswith(".cn") else "aws"
        partition = "aws-us-gov" if region.startswith("us-gov-") else partition
        return f"arn:{partition}:sqs:{region}:{account}:{name}"
    return None
