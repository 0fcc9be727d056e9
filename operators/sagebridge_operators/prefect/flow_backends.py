"""Where a flow's steps run, and as whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sagebridge_operators.backends import default_name, open_backend
from sagebridge_operators.lifecycle.backend import Backend


def backend_of(settings: Mapping[str, Any]) -> Backend:
    """The backend of a step: on AWS through its AwsCredentials block, else boto3's own chain."""
    name = settings.get("backend") or default_name()
    credentials, region = settings.get("aws_credentials"), settings.get("region_name")
    if name != "aws" or not (credentials or region):
        return open_backend(name)
    from sagebridge_operators.backends.aws import AwsBackend, client_config, session_clients

    more = {"region_name": region} if region else {}
    if not credentials:
        return AwsBackend(lambda: session_clients(more))

    def open_session() -> Callable[[str], Any]:
        block = _loaded(credentials)
        session = block.get_boto3_session()
        options = {**block.aws_client_parameters.get_params_override(), **more}
        options["config"] = client_config(options.get("config"))
        return lambda service: session.client(service, **options)

    return AwsBackend(open_session)


def described(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as an execution's record may have them: by a block's name, never what is in it."""
    result = {name: value for name, value in settings.items() if isinstance(value, str)}
    block = settings.get("aws_credentials")
    if name := getattr(block, "_block_document_name", None):
        result["aws_credentials"] = name
    return result


def _loaded(credentials: Any) -> Any:
    if not isinstance(credentials, str):
        return credentials
    from prefect_aws import AwsCredentials

    return AwsCredentials.load(credentials)


def place_of(backend: Backend) -> dict[str, str]:
    """What an execution's record says of where a backend keeps its things."""
    home, base = getattr(backend, "home", None), getattr(backend, "base", None)
    return {"home": str(home), "base": str(base)} if home else {}
