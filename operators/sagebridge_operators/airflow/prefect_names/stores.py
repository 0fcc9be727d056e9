"""Prefect's Variables, blocks, logs and artifacts, kept by Airflow as Variables and Connections."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict

from sagebridge_operators.airflow.prefect_names.dispatch import dispatched, settled
from sagebridge_operators.lifecycle.masking import looks_secret
from sagebridge_operators.lifecycle.user_code.kept_secrets import part_of, report_secret
from sagebridge_operators.lifecycle.user_code.run_context import CURRENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

_LOGGER = "airflow.task"
_REGION = "region_name"
_NOTIFY_SECONDS = 30
_VARIABLE = "Variable"


def get_run_logger(context: Any = None, **more: Any) -> logging.Logger:
    """The logger of the task."""
    return logging.getLogger(_LOGGER)


def get_logger(name: str | None = None) -> logging.Logger:
    """A logger whose lines are in the log of the task."""
    return logging.getLogger(f"{_LOGGER}.{name}" if name else _LOGGER)


def _variable(name: str) -> Any:
    """An Airflow Variable: the object in its JSON, or its text; None if it does not exist."""
    from sagebridge_operators.airflow._compat import Variable as AirflowVariable

    text = AirflowVariable.get(name, None)
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = text
    report_secret(found, _VARIABLE, name, every=looks_secret(name))
    return found


def secret(reference: Sequence[str]) -> Any:
    """A secret that a step has returned, by its store, name and keys."""
    store, name, *keys = reference
    return part_of(_variable(name) if store == _VARIABLE else Secret.load(name).get(), keys)


class Variable:
    """Prefect's Variable: an Airflow Variable of the same name, with a text or JSON."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    @classmethod
    @dispatched
    def get(cls, name: str, default: Any = None) -> Any:
        """The value, or ``default``."""
        found = _variable(name)
        return default if found is None else found

    @classmethod
    async def aget(cls, name: str, default: Any = None) -> Any:
        """As :meth:`get`."""
        return await settled(cls.get(name, default))

    @classmethod
    @dispatched
    def set(
        cls, name: str, value: Any, tags: list[str] | None = None, overwrite: bool = False
    ) -> Variable:
        """Sets the value. Raises ValueError if there is one and ``overwrite`` is false."""
        from sagebridge_operators.airflow._compat import Variable as AirflowVariable

        del tags  # Airflow's Variables have none
        if not overwrite and _variable(name) is not None:
            raise ValueError(f"variable {name!r} exists; use overwrite=True")
        AirflowVariable.set(name, value if isinstance(value, str) else json.dumps(value))
        return cls(name, value)

    @classmethod
    async def aset(
        cls, name: str, value: Any, tags: list[str] | None = None, overwrite: bool = False
    ) -> Variable:
        """As :meth:`set`."""
        await settled(cls.set(name, value, tags, overwrite))
        return cls(name, value)


class _Block:
    """A block that only has a value."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    @classmethod
    @dispatched
    def load(cls, name: str, validate: bool = True) -> Self:
        """The block from Airflow. Raises ValueError, as Prefect, if Airflow has no such value."""
        return cls(cls._found(name))

    @classmethod
    async def aload(cls, name: str, validate: bool = True) -> Self:
        """As :meth:`load`."""
        found: Self = await settled(cls.load(name, validate))
        return found

    @classmethod
    def _found(cls, name: str) -> Any:
        found = _variable(name)
        if found is None:
            kind = cls.__name__
            raise ValueError(
                f"block {kind.lower()}/{name}: Airflow has no Variable {name!r}; create it"
            )
        return found


class JSON(_Block):
    """Prefect's block with a JSON value: an Airflow Variable."""


class String(_Block):
    """Prefect's block with a text: an Airflow Variable."""


class Secret(_Block):
    """Prefect's Secret: the password of an Airflow Connection, otherwise a Variable."""

    @classmethod
    def _found(cls, name: str) -> Any:
        from sagebridge_operators.airflow._compat import mask_secret

        connection = _connection(name)
        value = connection.password if connection is not None else None
        if value is None:
            value = super()._found(name)
        mask_secret(value)
        report_secret(value, "Secret", name)
        return value

    def get(self) -> Any:
        """The secret value."""
        return self.value


class SlackWebhook(Secret):
    """Prefect's webhook of Slack: a Secret with its URL."""

    def __init__(self, url: Any = None, **more: Any) -> None:
        del more
        super().__init__(_plain(url))

    @dispatched
    def notify(self, body: str, subject: str | None = None) -> None:
        """Posts a text. Raises httpx.HTTPError."""
        import httpx  # Airflow needs it, too

        text = f"*{subject}*\n{body}" if subject else body
        answer = httpx.post(self.get(), json={"text": text}, timeout=_NOTIFY_SECONDS)
        answer.raise_for_status()

    async def anotify(self, body: str, subject: str | None = None) -> None:
        """As :meth:`notify`."""
        await settled(self.notify(body, subject))


MicrosoftTeamsWebhook = SlackWebhook


def _connection(name: str) -> Any:
    """The connection with this id; None if it does not exist."""
    from sagebridge_operators.airflow._compat import AirflowException, BaseHook

    try:
        return BaseHook.get_connection(name)
    except AirflowException:
        return None


class Block(BaseModel):
    """Prefect's base class of blocks: an Airflow Variable with the fields as JSON."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    @dispatched
    def load(cls, name: str, validate: bool = True) -> Self:
        """The block. Raises ValueError, as Prefect, if Airflow has no such Variable."""
        del validate
        found = _variable(name)
        if found is None:
            raise ValueError(
                f"block {cls.__name__.lower()}/{name}: Airflow has no Variable {name!r} with the "
                "fields as JSON; create it"
            )
        return cls.model_validate(found)

    @classmethod
    async def aload(cls, name: str, validate: bool = True) -> Self:
        """As :meth:`load`."""
        found: Self = await settled(cls.load(name, validate))
        return found


class AwsCredentials:
    """Prefect's AwsCredentials: an Airflow connection of the same name, or the given keys."""

    def __init__(self, connection: str | None = None, **given: Any) -> None:
        self.connection, self.given = connection, given

    @classmethod
    @dispatched
    def load(cls, name: str, validate: bool = True) -> AwsCredentials:
        """The credentials of a connection. Raises ValueError if it does not exist."""
        if _connection(name) is None:
            raise ValueError(
                f"block aws-credentials/{name}: Airflow has no connection {name!r}; create one of "
                "the type aws"
            )
        return cls(name)

    @classmethod
    async def aload(cls, name: str, validate: bool = True) -> AwsCredentials:
        """As :meth:`load`."""
        found: Self = await settled(cls.load(name, validate))
        return found

    @property
    def region_name(self) -> str | None:
        """The region of the connection."""
        found = self.given.get(_REGION) or self.get_boto3_session().region_name
        return None if found is None else str(found)

    def get_boto3_session(self) -> Any:
        """A boto3 session."""
        if self.connection is not None:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

            hook: AwsGenericHook[Any] = AwsGenericHook(aws_conn_id=self.connection)
            return hook.get_session()
        import boto3

        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", _REGION)
        keys = {name: self.given[name] for name in names if self.given.get(name)}
        secrets = {
            name: getattr(one, "get_secret_value", lambda o=one: o)() for name, one in keys.items()
        }
        return boto3.Session(**secrets, profile_name=self.given.get("profile_name"))

    def get_client(self, client_type: Any, **options: Any) -> Any:
        """A boto3 client."""
        service = str(getattr(client_type, "value", client_type))
        if self.connection is not None and not options:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

            hook: AwsGenericHook[Any] = AwsGenericHook(
                aws_conn_id=self.connection, client_type=service
            )
            return hook.get_conn()
        return self.get_boto3_session().client(service, **options)

    def get_s3_client(self) -> Any:
        """A client of S3."""
        return self.get_client("s3")

    def get_secrets_manager_client(self) -> Any:
        """A client of Secrets Manager."""
        return self.get_client("secretsmanager")


def _plain(secret: Any) -> Any:
    """The value of pydantic's SecretStr, or the value itself."""
    return secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret


class S3Bucket:
    """Prefect's S3Bucket: an Airflow Variable with its fields as JSON."""

    def __init__(
        self, bucket_name: str, credentials: Any = None, bucket_folder: str = "", **more: Any
    ) -> None:
        self.bucket_name, self.bucket_folder = bucket_name, bucket_folder
        self.credentials = credentials or AwsCredentials("aws_default")

    @classmethod
    @dispatched
    def load(cls, name: str, validate: bool = True) -> S3Bucket:
        """The bucket. Raises ValueError if there is no such Variable."""
        found = _Block._found(name)
        if not isinstance(found, Mapping) or "bucket_name" not in found:
            raise ValueError(f"the Variable {name!r} needs JSON such as {{'bucket_name': 'data'}}")
        return cls(str(found["bucket_name"]), bucket_folder=str(found.get("bucket_folder") or ""))

    @classmethod
    async def aload(cls, name: str, validate: bool = True) -> S3Bucket:
        """As :meth:`load`."""
        found: Self = await settled(cls.load(name, validate))
        return found

    @property
    def _client(self) -> Any:
        return self.credentials.get_client("s3")

    def _key(self, path: str) -> str:
        folder = self.bucket_folder.strip("/")
        return f"{folder}/{path}" if folder else path

    @dispatched
    def read_path(self, path: str) -> bytes:
        """The bytes of an object."""
        answer = self._client.get_object(Bucket=self.bucket_name, Key=self._key(path))
        return bytes(answer["Body"].read())

    @dispatched
    def write_path(self, path: str, content: bytes) -> str:
        """Writes an object; returns its key."""
        self._client.put_object(Bucket=self.bucket_name, Key=self._key(path), Body=content)
        return self._key(path)

    @dispatched
    def upload_from_path(self, from_path: str | Path, to_path: str | None = None) -> str:
        """Uploads a file; returns its key."""
        key = self._key(to_path or Path(from_path).name)
        self._client.upload_file(str(from_path), self.bucket_name, key)
        return key

    @dispatched
    def download_object_to_path(self, from_path: str, to_path: str | Path) -> Path:
        """Downloads an object to a file."""
        self._client.download_file(self.bucket_name, self._key(from_path), str(to_path))
        return Path(to_path)

    @dispatched
    def list_objects(self, folder: str = "") -> list[dict[str, Any]]:
        """The objects below a folder, as in ListObjectsV2."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket_name, Prefix=self._key(folder)
        )
        return [one for page in pages for one in page.get("Contents", [])]


class ArtifactId(UUID):
    """The id of an artifact. It can be awaited, as async code does."""

    def __await__(self) -> Generator[Any, None, UUID]:
        yield from ()
        return self


def _artifact(kind: str, shown: Any, key: str | None, description: str | None) -> ArtifactId:
    """Logs the content of an artifact, and pushes it as XCom ``artifact_<key>``."""
    text = shown if isinstance(shown, str) else json.dumps(shown, default=str)
    title = f"{kind} artifact {key!r}" if key else f"{kind} artifact"
    get_run_logger().info("%s%s\n%s", title, f": {description}" if description else "", text)
    context = CURRENT.get()
    if key and context is not None:
        context.push(f"artifact_{key}", json.loads(json.dumps(shown, default=str)))
    return ArtifactId(uuid4().hex)


def create_markdown_artifact(
    markdown: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Logs Markdown."""
    return _artifact("markdown", markdown, key, description)


def create_link_artifact(
    link: str,
    link_text: str | None = None,
    key: str | None = None,
    description: str | None = None,
    **more: Any,
) -> ArtifactId:
    """Logs a link."""
    return _artifact("link", f"[{link_text or link}]({link})", key, description)


def create_table_artifact(
    table: Any, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Logs a table."""
    return _artifact("table", table, key, description)


def create_image_artifact(
    image_url: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Logs the URL of an image."""
    return _artifact("image", image_url, key, description)


def create_progress_artifact(
    progress: float, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Logs a progress in percent."""
    return _artifact("progress", progress, key, description)


def update_progress_artifact(
    artifact_id: UUID, progress: float, description: str | None = None, **more: Any
) -> ArtifactId:
    """Logs a progress in percent."""
    return _artifact("progress", progress, None, description)


acreate_image_artifact = create_image_artifact
acreate_link_artifact = create_link_artifact
acreate_markdown_artifact = create_markdown_artifact
acreate_progress_artifact = create_progress_artifact
acreate_table_artifact = create_table_artifact
aupdate_progress_artifact = update_progress_artifact


@contextmanager
def concurrency(names: str | list[str], occupy: int = 1, **more: Any) -> Iterator[None]:
    """Accepted: Airflow limits tasks by their pools, not by names in their code."""
    get_run_logger().info("the concurrency limit %s (%s) has no effect in Airflow", names, occupy)
    yield


@asynccontextmanager
async def async_concurrency(
    names: str | list[str], occupy: int = 1, **more: Any
) -> AsyncIterator[None]:
    """As :func:`concurrency`."""
    with concurrency(names, occupy, **more):
        yield


def rate_limit(names: str | list[str], occupy: int = 1, **more: Any) -> None:
    """Accepted, as :func:`concurrency`."""
    with concurrency(names, occupy, **more):
        pass


async def async_rate_limit(names: str | list[str], occupy: int = 1, **more: Any) -> None:
    """As :func:`rate_limit`."""
    rate_limit(names, occupy, **more)


def emit_event(event: str, resource: Mapping[str, str], **more: Any) -> None:
    """Logs an event; Airflow has no bus of events."""
    get_run_logger().info("event %s of %s: %s", event, dict(resource), more)
