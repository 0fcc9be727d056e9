"""Airflow's Variables and Connections, kept by Prefect as Variables and blocks.

As in Airflow, the environment variables ``AIRFLOW_VAR_…`` and ``AIRFLOW_CONN_…`` come first.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from sagebridge_operators.lifecycle.masking import looks_secret
from sagebridge_operators.lifecycle.user_code.kept_secrets import part_of, report_secret
from sagebridge_operators.prefect.airflow_names.exceptions import (
    AirflowNotFoundException,
    AirflowRuntimeError,
)

_NOT_GIVEN: Any = object()
_EXTRA = "__extra__"
_CONNECTION, _JSON = "Connection", "JSON"
_TYPES = {"postgresql": "postgres"}


class Variable:
    """Airflow's Variable; its value is in Prefect's Variable of the same name."""

    def __init__(self, key: str, value: Any = None, description: str | None = None) -> None:
        self.key, self.value, self.description = key, value, description

    @classmethod
    def get(
        cls,
        key: str,
        default: Any = _NOT_GIVEN,
        deserialize_json: bool = False,
        *,
        default_var: Any = _NOT_GIVEN,
    ) -> Any:
        """The value: a string, or with ``deserialize_json`` the object in it.

        Raises AirflowRuntimeError, which is a KeyError too, if it does not exist.
        """
        value: Any = _environment("VAR", key)
        if value is None and (found := _stored(key)) is not None:
            value = found.value
        if value is None:
            given = default if default is not _NOT_GIVEN else default_var
            if given is _NOT_GIVEN:
                raise AirflowRuntimeError(
                    f"variable {key!r} does not exist; create it with "
                    f"`prefect variable set {variable_name(key)} VALUE`"
                )
            return given
        text = value if isinstance(value, str) else json.dumps(value)
        report_secret(text, "Variable", key, every=looks_secret(key))
        if not deserialize_json:
            return text
        found = json.loads(text)
        report_secret(found, _JSON, key, every=looks_secret(key))
        return found

    @classmethod
    def set(
        cls, key: str, value: Any, description: str | None = None, serialize_json: bool = False
    ) -> None:
        """Sets the value, which becomes a string."""
        del description  # Prefect's Variables have none
        text = json.dumps(value, indent=2) if serialize_json else str(value)
        name, there = variable_name(key), _stored(key)
        # Variable.set() of Prefect is async in async code, Airflow's is not.
        with get_client(sync_client=True) as client:
            if there is None:
                client.create_variable(VariableCreate(name=name, value=text))
            else:
                client.update_variable(VariableUpdate(name=there.name, value=text))

    @classmethod
    def delete(cls, key: str) -> None:
        """Deletes the Variable, if it exists."""
        if (there := _stored(key)) is not None:
            with get_client(sync_client=True) as client:
                client.delete_variable_by_name(there.name)

    @classmethod
    def setdefault(cls, key: str, default: Any, deserialize_json: bool = False) -> Any:
        """The value; sets it to ``default`` first if it does not exist."""
        found = cls.get(key, None, deserialize_json)
        if found is None:
            cls.set(key, default, serialize_json=deserialize_json)
        return default if found is None else found


def variable_name(key: str) -> str:
    """The key in lower case, with ``_`` for characters that Prefect rejects."""
    # VariableName in prefect/types/names.py allows nothing else.
    return re.sub(r"[^a-z0-9_-]", "_", key.lower())


def _stored(key: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_variable_by_name(variable_name(key))


def _environment(kind: str, name: str) -> str | None:
    return os.environ.get(f"AIRFLOW_{kind}_{name.upper()}")


@dataclass
class Connection:
    """Airflow's Connection; it is in the Secret block of the same name, or in AwsCredentials."""

    conn_id: str = ""
    conn_type: str | None = None
    description: str | None = None
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    extra: str | None = None

    @classmethod
    def get(cls, conn_id: str) -> Connection:
        """The connection. Raises AirflowNotFoundException.

        It is the value of AIRFLOW_CONN_<CONN_ID> or of a Secret block: Airflow's URI or JSON.
        """
        value: Any = _environment("CONN", conn_id)
        name = block_name(conn_id)
        if value is None and (stored := load_block(Secret, name)) is not None:
            value = stored.get()
        if value is not None:
            return cls.of(value, conn_id).reported()
        if (block := aws_credentials(conn_id)) is not None:
            return _of_aws(conn_id, block).reported()
        raise AirflowNotFoundException(
            f"the connection {conn_id!r} does not exist; create the Secret block {name!r} with its "
            f"URI or JSON, or set AIRFLOW_CONN_{conn_id.upper()}"
        )

    @classmethod
    def of(cls, value: Any, conn_id: str) -> Connection:
        """The connection of a URI, of JSON, or of a dict, with Airflow's names."""
        if isinstance(value, str) and not value.lstrip().startswith("{"):
            return cls.from_uri(value, conn_id)
        return cls.from_json(value, conn_id)

    @classmethod
    def from_json(cls, value: str | Mapping[str, Any], conn_id: str = "") -> Connection:
        """The connection in JSON, with the names that Airflow uses."""
        found = dict(json.loads(value) if isinstance(value, str) else value)
        extra = found.get("extra")
        if extra and not isinstance(extra, str):
            found["extra"] = json.dumps(extra)
        if found.get("port"):
            found["port"] = int(found["port"])
        if found.get("conn_type"):
            found["conn_type"] = _type(found["conn_type"])
        known = {one.name for one in fields(cls)}
        return cls(**{one: found[one] for one in found if one in known} | {"conn_id": conn_id})

    @classmethod
    def from_uri(cls, uri: str, conn_id: str = "") -> Connection:
        """The connection in a URI, such as ``postgres://user:password@host:5432/db?ssl=1``."""
        scheme, _, rest = uri.partition("://")
        inner = ""
        if "://" in rest.partition("?")[0]:  # the host has its own scheme: http://https://host
            inner, _, rest = rest.partition("://")
        parts = urlsplit(f"//{rest}")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        extra = query.get(_EXTRA) or (json.dumps(query) if query else None)
        host = unquote(parts.hostname or "")
        return cls(
            conn_id=conn_id,
            conn_type=_type(scheme),
            host=(f"{inner}://{host}" if inner else host) or None,
            schema=unquote(parts.path[1:]) or None,
            login=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            port=parts.port,
            extra=extra,
        )

    def reported(self) -> Connection:
        """The connection, whose secrets are noted as those of the running step."""
        own = {"password": self.password, "uri": self.get_uri() if self.password else ""}
        report_secret(own, _CONNECTION, self.conn_id)
        report_secret(self.extra_dejson, _CONNECTION, self.conn_id, "extra", every=False)
        return self

    def get_uri(self) -> str:
        """The connection as Airflow's URI."""
        user = "" if self.login is None else quote(self.login, safe="")
        user += "" if self.password is None else f":{quote(self.password, safe='')}"
        place = (f"{user}@" if user else "") + quote(self.host or "", safe="")
        place += f":{self.port}" if self.port else ""
        place += f"/{quote(self.schema, safe='')}" if self.schema else ""
        extra, query = self.extra_dejson, ""
        if self.extra:
            flat = all(isinstance(one, str) for one in extra.values())
            query = ("?" if self.schema else "/?") + urlencode(
                extra if extra and flat else {_EXTRA: self.extra}
            )
        return f"{(self.conn_type or '').replace('_', '-')}://{place}{query}"

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The object in ``extra``; empty if that is not JSON."""
        try:
            found = json.loads(self.extra or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def get_password(self) -> str | None:
        """The password."""
        return self.password

    def get_extra(self) -> str | None:
        """The text of ``extra``."""
        return self.extra

    def __repr__(self) -> str:  # without the password
        return f"Connection({self.conn_id!r}, conn_type={self.conn_type!r}, host={self.host!r})"


def _type(name: str) -> str:
    return _TYPES.get(name, name.replace("-", "_"))


def _of_aws(conn_id: str, block: Any) -> Connection:
    secret = block.aws_secret_access_key
    token = block.aws_session_token
    extra = {
        "region_name": block.region_name,
        "aws_session_token": getattr(token, "get_secret_value", lambda: token)(),
    }
    return Connection(
        conn_id=conn_id,
        conn_type="aws",
        login=block.aws_access_key_id,
        password=secret.get_secret_value() if secret else None,
        extra=json.dumps({name: value for name, value in extra.items() if value}),
    )


def block_name(conn_id: str) -> str:
    """The name of a connection's block: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", conn_id.lower()).strip("-")


def load_block(kind: type[Block], name: str) -> Any:
    """A block; None if it does not exist."""
    try:
        return kind.load(name, _sync=True)  # async_dispatch takes _sync
    except ValueError:  # also for a server that does not know the type
        return None


def aws_credentials(conn_id: str | None) -> Any:
    """The AwsCredentials block of a connection; None if it does not exist."""
    if not conn_id:
        return None
    from prefect_aws import AwsCredentials

    return load_block(AwsCredentials, block_name(conn_id))


def secret(reference: Sequence[str]) -> Any:
    """A secret that a step has returned, by its store, name and keys."""
    store, name, *keys = reference
    if store != _CONNECTION:
        return part_of(Variable.get(name, deserialize_json=store == _JSON), keys)
    found = Connection.get(name)
    parts = {"password": found.password, "uri": found.get_uri(), "extra": found.extra_dejson}
    return part_of(parts, keys)


class LoggingMixin:
    """A class with a logger, ``self.log``."""

    @property
    def log(self) -> logging.Logger:
        """The logger of the class."""
        return logging.getLogger(f"{type(self).__module__}.{type(self).__name__}")

    @property
    def logger(self) -> logging.Logger:
        """The same, by its older name."""
        return self.log


class BaseHook(LoggingMixin):
    """Airflow's base class of hooks."""

    def __init__(self, logger_name: str | None = None) -> None:
        del logger_name

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """The connection. Raises AirflowNotFoundException."""
        return Connection.get(conn_id)

    def get_conn(self) -> Any:
        """The client of the hook; classes of it implement this."""
        raise NotImplementedError


def mask_secret(secret: Any, name: str | None = None) -> None:
    """Does nothing: Prefect's logs have no list of secrets."""
