"""botocore's service models, read once per process.

Each botocore session has its own loader, which reads a service's model again: 25 ms and 20 MB
for SageMaker. Models are read-only data, so all sessions can share one loader.
"""

from __future__ import annotations

from functools import cache
from typing import Any

PRELOADED = ("sagemaker", "s3", "sts")
"""The services that most steps call."""


def share(session: Any) -> Any:
    """Makes a boto3 or botocore session use the loader of this process; returns the session."""
    core = getattr(session, "_session", session)  # boto3.Session has no public name for it
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return session


@cache
def _loader(data_path: str | None) -> Any:
    """``data_path`` is AWS_DATA_PATH, where users keep their own models."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def preload() -> None:
    """Reads the models of the services that most steps call."""
    import boto3

    session = share(boto3.Session())
    for service in PRELOADED:
        # Making a client reads everything that the next client of the service needs. The keys keep
        # it from looking for credentials; it sends no request.
        session.client(
            service,
            region_name="us-east-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - not a secret
        )
