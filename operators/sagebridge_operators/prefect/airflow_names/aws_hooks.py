"""Hooks of the Amazon provider for Airflow, implemented with boto3.

The credentials are those of the AwsCredentials block that has the name of the connection, otherwise
those of boto3's default chain, as in Airflow when a connection does not exist.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from sagebridge_operators.prefect.airflow_names.exceptions import (
    AirflowException,
    AirflowNotFoundException,
)
from sagebridge_operators.prefect.airflow_names.stores import (
    BaseHook,
    Connection,
    aws_credentials,
)


class AwsGenericHook(BaseHook):
    """A boto3 client or resource with the credentials of a connection."""

    def __init__(
        self,
        aws_conn_id: str | None = "aws_default",
        verify: bool | str | None = None,
        region_name: str | None = None,
        client_type: str | None = None,
        resource_type: str | None = None,
        config: Any = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id, self.verify, self.config = aws_conn_id, verify, config
        self.client_type, self.resource_type = client_type, resource_type
        self._region_name = region_name

    @property
    def region_name(self) -> str | None:
        """The region that the hook or its connection has."""
        return self._region_name or self._block.region_name

    @cached_property
    def _block(self) -> Any:
        from prefect_aws import AwsCredentials

        if (block := aws_credentials(self.aws_conn_id)) is not None:
            return block
        try:
            found = Connection.get(self.aws_conn_id or "")
        except AirflowNotFoundException:
            return AwsCredentials()
        return AwsCredentials(
            aws_access_key_id=found.login,
            aws_secret_access_key=found.password,
            aws_session_token=found.extra_dejson.get("aws_session_token"),
            region_name=found.extra_dejson.get("region_name"),
        )

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """The boto3 session."""
        session = self._block.get_boto3_session()
        wanted = region_name or self._region_name
        if not wanted or session.region_name == wanted:
            return session
        return self._block.model_copy(update={"region_name": wanted}).get_boto3_session()

    def _options(self, config: Any) -> dict[str, Any]:
        own = self._block.aws_client_parameters.get_params_override()
        given = {"config": config or self.config, "verify": self.verify}
        return {**own, **{name: value for name, value in given.items() if value is not None}}

    def get_client_type(
        self, region_name: str | None = None, config: Any = None, deferrable: bool = False
    ) -> Any:
        """The boto3 client."""
        return self.get_session(region_name).client(self.client_type, **self._options(config))

    def get_resource_type(
        self, region_name: str | None = None, config: Any = None, deferrable: bool = False
    ) -> Any:
        """The boto3 resource."""
        return self.get_session(region_name).resource(self.resource_type, **self._options(config))

    @cached_property
    def conn(self) -> Any:
        """The client or resource of the hook."""
        return self.get_client_type() if self.client_type else self.get_resource_type()

    def get_conn(self) -> Any:
        """The client or resource of the hook."""
        return self.conn

    @property
    def conn_region_name(self) -> str:
        """The region of the client."""
        name: str = getattr(self.conn, "meta", self.conn).client.meta.region_name
        return name

    @cached_property
    def account_id(self) -> str:
        """The AWS account."""
        account: str = self.get_session().client("sts").get_caller_identity()["Account"]
        return account

    def get_credentials(self, region_name: str | None = None) -> Any:
        """The frozen credentials of the session."""
        return self.get_session(region_name).get_credentials().get_frozen_credentials()

    def expand_role(self, role: str, region_name: str | None = None) -> str:
        """The ARN of a role."""
        if "/" in role:
            return role
        client = self.get_session(region_name).client("iam")
        arn: str = client.get_role(RoleName=role)["Role"]["Arn"]
        return arn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"{type(self).__name__}.{name} of Airflow is not available in a flow; "
            "call the boto3 client of get_conn() instead"
        )


AwsBaseHook = AwsGenericHook


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class SnsHook(AwsGenericHook):
    """Amazon SNS."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "client_type": "sns"})

    def publish_to_target(
        self,
        target_arn: str,
        message: str,
        subject: str | None = None,
        message_attributes: Mapping[str, Any] | None = None,
        message_deduplication_id: str | None = None,
        message_group_id: str | None = None,
    ) -> Any:
        """Publishes a message to a topic or an endpoint."""
        attributes = {name: _attribute(one) for name, one in (message_attributes or {}).items()}
        return self.get_conn().publish(
            **_given(
                TargetArn=target_arn,
                MessageStructure="json",
                Message=json.dumps({"default": message}),
                Subject=subject,
                MessageDeduplicationId=message_deduplication_id,
                MessageGroupId=message_group_id,
                MessageAttributes=attributes or None,
            )
        )


def _attribute(value: Any) -> dict[str, Any]:
    """The attribute of an SNS message, with the type of the value."""
    if isinstance(value, bytes):
        return {"DataType": "Binary", "BinaryValue": value}
    if isinstance(value, str):
        return {"DataType": "String", "StringValue": value}
    if isinstance(value, int | float):
        return {"DataType": "Number", "StringValue": str(value)}
    return {"DataType": "String.Array", "StringValue": json.dumps(list(value))}


class SqsHook(AwsGenericHook):
    """Amazon SQS."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "client_type": "sqs"})

    def create_queue(self, queue_name: str, attributes: Mapping[str, Any] | None = None) -> Any:
        """Creates a queue."""
        texts = {name: str(value) for name, value in (attributes or {}).items()}
        return self.get_conn().create_queue(QueueName=queue_name, Attributes=texts)

    def send_message(
        self,
        queue_url: str,
        message_body: str,
        delay_seconds: int = 0,
        message_attributes: Mapping[str, Any] | None = None,
        message_group_id: str | None = None,
        message_deduplication_id: str | None = None,
    ) -> Any:
        """Sends a message to a queue."""
        return self.get_conn().send_message(
            **_given(
                QueueUrl=queue_url,
                MessageBody=message_body,
                DelaySeconds=delay_seconds,
                MessageAttributes=dict(message_attributes or {}),
                MessageGroupId=message_group_id,
                MessageDeduplicationId=message_deduplication_id,
            )
        )


class LambdaHook(AwsGenericHook):
    """AWS Lambda."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "client_type": "lambda"})

    def invoke_lambda(
        self,
        *,
        function_name: str,
        invocation_type: str | None = None,
        log_type: str | None = None,
        client_context: str | None = None,
        payload: bytes | str | None = None,
        qualifier: str | None = None,
    ) -> Any:
        """Invokes a function."""
        return self.conn.invoke(
            **_given(
                FunctionName=function_name,
                InvocationType=invocation_type,
                LogType=log_type,
                ClientContext=client_context,
                Payload=payload.encode() if isinstance(payload, str) else payload,
                Qualifier=qualifier,
            )
        )


class SecretsManagerHook(AwsGenericHook):
    """AWS Secrets Manager."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "client_type": "secretsmanager"})

    def get_secret(self, secret_name: str) -> str | bytes:
        """The value of a secret."""
        found = self.get_conn().get_secret_value(SecretId=secret_name)
        if "SecretString" in found:
            text: str = found["SecretString"]
            return text
        return base64.b64decode(found["SecretBinary"])

    def get_secret_as_dict(self, secret_name: str) -> dict[str, Any]:
        """The object in a secret."""
        found: dict[str, Any] = json.loads(self.get_secret(secret_name))
        return found


class DynamoDBHook(AwsGenericHook):
    """Amazon DynamoDB, by its boto3 resource."""

    def __init__(
        self,
        *args: Any,
        table_keys: list[str] | None = None,
        table_name: str | None = None,
        **more: Any,
    ) -> None:
        self.table_keys, self.table_name = table_keys, table_name
        super().__init__(*args, **{**more, "resource_type": "dynamodb"})

    @property
    def client(self) -> Any:
        """The boto3 client."""
        return self.conn.meta.client

    def write_batch_data(self, items: Iterable[Mapping[str, Any]]) -> bool:
        """Writes items to the table of the hook."""
        try:
            table = self.conn.Table(self.table_name)
            with table.batch_writer(overwrite_by_pkeys=self.table_keys) as batch:
                for item in items:
                    batch.put_item(Item=item)
        except Exception as error:
            raise AirflowException(f"Failed to insert items in dynamodb, error: {error}") from error
        return True

    def get_item(self, table_name: str, key: Mapping[str, Any]) -> Any:
        """An item; None if it does not exist."""
        return self.conn.Table(table_name).get_item(Key=key).get("Item")

    def put_item(
        self,
        table_name: str,
        item: Mapping[str, Any],
        condition_expression: str | None = None,
    ) -> Any:
        """Inserts or replaces an item."""
        condition = _given(ConditionExpression=condition_expression or None)
        return self.conn.Table(table_name).put_item(Item=item, **condition)
