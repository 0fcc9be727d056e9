"""boto3 clients of an Airflow connection: the same ones in tasks, triggers and listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sagebridge_operators.backends import default_name, open_backend, records_credentials
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend

if TYPE_CHECKING:
    from sagebridge_operators.airflow.step_operators import StepOperator
    from sagebridge_operators.backends.aws import ClientFactory

_RECORDED = ("aws_conn_id", "region_name", "verify")


@dataclass(frozen=True, slots=True)
class AwsConnection:
    """An Airflow connection, with the arguments of the Amazon provider's operators.

    All fields are JSON values, so a trigger can store them. The credentials, role and endpoints
    are read from the connection each time a session is opened.
    """

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    botocore_config: Mapping[str, Any] | None = None

    def backend(self, **options: Any) -> Backend:
        """AWS with this connection. The first client opens the session.

        ``options`` for botocore's Config are added to those of the connection.
        """
        from sagebridge_operators.backends.aws import AwsBackend

        return AwsBackend(partial(self.open_session, options))

    def open_session(self, options: Mapping[str, Any]) -> ClientFactory:
        """A client factory with current credentials; all its clients share one session.

        Follows the Amazon provider: ``region_name`` and ``verify`` take precedence over those of
        the connection, ``botocore_config`` over its ``config_kwargs``. An endpoint comes from
        ``service_config`` or ``endpoint_url``. ``role_arn`` is assumed once for all clients.
        """
        # Imported here so that the local backend needs neither the Amazon provider nor boto3.
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
        from botocore.config import Config

        from sagebridge_operators.backends.aws import client_config, config_of
        from sagebridge_operators.backends.service_models import share

        hook: AwsGenericHook[Any] = AwsGenericHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=Config(**self.botocore_config) if self.botocore_config else None,
        )
        connection = hook.conn_config
        # Set afterwards: a hook with a config ignores the connection's config_kwargs, which may
        # contain a proxy (AwsConnectionWrapper in
        # airflow/providers/amazon/aws/utils/connection_wrapper.py).
        config = client_config(connection.botocore_config).merge(Config(**options))
        connection.botocore_config = config
        session = share(hook.get_session(region_name=hook.region_name))

        def client(service: str) -> Any:
            return session.client(
                service,
                endpoint_url=connection.get_service_endpoint_url(service),
                config=config_of(service, hook.config),
                verify=hook.verify,
            )

        return client


def connection_of(operator: StepOperator) -> AwsConnection:
    """The connection of a task's jobs."""
    return AwsConnection(
        operator.aws_conn_id, operator.region_name, operator.verify, operator.botocore_config
    )


def settings_for_record(operator: StepOperator) -> dict[str, Any]:
    """What another process needs to find the task and its job.

    Without ``botocore_config``: the address of a proxy may contain a password.
    """
    connection, defaults = connection_of(operator), AwsConnection()
    given = {name: getattr(connection, name) for name in _RECORDED}
    return {"task_id": operator.task_id} | {
        name: value for name, value in given.items() if value != getattr(defaults, name)
    }


def backend_of_attempt(name: str, attempt: Attempt) -> Backend:
    """The backend ``name`` with the connection of an attempt."""
    given = {one: attempt.settings[one] for one in _RECORDED if one in attempt.settings}
    return _backend(name, AwsConnection(**given))


def records_connection() -> AwsConnection:
    """The connection of records in S3, the same for all steps of all DAGs."""
    name = records_credentials()
    return AwsConnection(name) if name else AwsConnection()


def records_backend() -> Backend:
    """The backend for the records, without a step."""
    return _backend(default_name(), records_connection())


def backends_of(operator: StepOperator) -> tuple[Backend, Backend]:
    """The backends of a task's jobs and of its execution's records."""
    jobs = _backend(operator.backend or default_name(), connection_of(operator))
    if default_name() == jobs.name and connection_of(operator) == records_connection():
        return jobs, jobs  # a second session would take 20 MB
    return jobs, records_backend()


def _backend(name: str, connection: AwsConnection) -> Backend:
    return connection.backend() if name == "aws" else open_backend(name)
