"""The backend and the AWS credentials of a flow's steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sagebridge_operators.backends import default_name, open_backend, records_credentials
from sagebridge_operators.lifecycle.backend import Backend


def backend_of(settings: Mapping[str, Any]) -> Backend:
    """The backend of a step; on AWS with its AwsCredentials block or boto3's default chain.

    ``settings`` may contain ``backend``, ``aws_credentials`` and ``region_name``.
    """
    name = settings.get("backend") or default_name()
    credentials, region = settings.get("aws_credentials"), settings.get("region_name")
    if name != "aws" or not (credentials or region):
        return open_backend(name)
    from sagebridge_operators.backends.aws import (
        AwsBackend,
        client_config,
        config_of,
        session_clients,
    )

    more = {"region_name": region} if region else {}
    if not credentials:
        return AwsBackend(lambda: session_clients(more))

    def open_session() -> Callable[[str], Any]:
        block = _load_block(credentials)
        session = block.get_boto3_session()
        options = {**block.aws_client_parameters.get_params_override(), **more}
        config = client_config(options.pop("config", None))
        return lambda service: session.client(service, config=config_of(service, config), **options)

    return AwsBackend(open_session)


def records_settings() -> dict[str, str]:
    """The settings of the backend for records in S3, the same for all flows and their hooks."""
    return {"aws_credentials": block} if (block := records_credentials()) else {}


def settings_for_record(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings for an execution's record, with the name of a block instead of its secrets."""
    result = {name: value for name, value in settings.items() if isinstance(value, str)}
    block = settings.get("aws_credentials")
    # A loaded block has its name only in this private attribute (prefect/blocks/core.py).
    if name := getattr(block, "_block_document_name", None):
        result["aws_credentials"] = name
    return result


def _load_block(credentials: Any) -> Any:
    if not isinstance(credentials, str):
        return credentials
    from prefect_aws import AwsCredentials

    return AwsCredentials.load(credentials)


def backend_folders(backend: Backend) -> dict[str, str]:
    """The folders of a local backend, for an execution's record; empty for AWS."""
    home, base = getattr(backend, "home", None), getattr(backend, "base", None)
    return {"home": str(home), "base": str(base)} if home else {}
