"""Airflow's names in the code of a flow: Variables, connections, hooks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sagebridge.model.engine_names import AIRFLOW, offered_names
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, in_run
from tests.faulty_aws.server import FaultyAws

pytestmark = pytest.mark.prefect
TEXTS = some.none() | some.text("aZ9 /:@?#%&=é", min_size=1, max_size=8)


def test_all_names_that_carried_code_may_use_are_offered() -> None:
    from sagebridge_operators.prefect import airflow_names

    assert set(airflow_names.__all__) == offered_names(AIRFLOW)


def test_variables_are_those_of_prefect(server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.variables import Variable as Stored

    from sagebridge_operators.prefect.airflow_names import Variable

    Stored.set("limit", 5)
    Stored.set("mail_to", {"a": 1})
    assert Variable.get("limit") == "5"
    assert Variable.get("Mail.To", deserialize_json=True) == {"a": 1}
    assert Variable.get("gone", default=None) is None
    assert Variable.get("gone", default_var="x") == "x"
    with pytest.raises(KeyError, match="prefect variable set gone VALUE"):
        Variable.get("gone")
    Variable.set("made", [1], serialize_json=True)
    Variable.set("made", [2], serialize_json=True)
    assert json.loads(Stored.get("made")) == [2]
    monkeypatch.setenv("AIRFLOW_VAR_LIMIT", "7")

    async def in_async_code() -> Any:
        Variable.delete("made")
        return Variable.get("limit"), Variable.get("made", None)

    assert asyncio.run(in_async_code()) == ("7", None)


def test_connections_come_from_blocks_and_the_environment(
    server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret
    from prefect_aws import AwsCredentials

    from sagebridge_operators.prefect.airflow_names import (
        AirflowNotFoundException,
        BaseHook,
        Connection,
    )

    Secret(value={"conn_type": "http", "host": "dash", "extra": {"a": 1}}).save("finance-dashboard")
    found = BaseHook.get_connection("finance_dashboard")
    assert (found.host, found.extra_dejson) == ("dash", {"a": 1})
    AwsCredentials(aws_access_key_id="AK", aws_secret_access_key="sk", region_name="r").save(
        "aws-x"
    )
    aws = Connection.get("aws_x")
    assert (aws.login, aws.password, aws.extra_dejson) == ("AK", "sk", {"region_name": "r"})
    assert "sk" not in repr(aws)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_X", "postgresql://u:p%40@h:5432/db?ssl=1")
    other = Connection.get("aws_x")
    assert other == Connection(
        "aws_x", "postgres", None, "h", "db", "u", "p@", 5432, json.dumps({"ssl": "1"})
    )
    with pytest.raises(AirflowNotFoundException, match="create the Secret block 'no-such'"):
        Connection.get("no_such")


def test_secrets_of_stores_are_reported(server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagebridge_operators.prefect.airflow_names import Connection, Variable
    from sagebridge_operators.prefect.airflow_names.stores import secret

    uri = "http://user:p%404@shop?api_key=k-1&a=b"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
    monkeypatch.setenv("AIRFLOW_VAR_LIMIT", "5")
    monkeypatch.setenv("AIRFLOW_VAR_API_KEY", '{"a": "k-2"}')
    more: Any = [datetime.now(UTC), datetime.now(UTC), {}, "Load", None, 1, 0, None, None]
    run = RunContext("prefect", Pipeline("sales"), "abc", "1", *more)
    with in_run(run):
        found = Connection.get("shop")
        Variable.get("limit")
        Variable.get("api_key", deserialize_json=True)
    assert set(run.secrets) == {"p@4", "k-1", found.get_uri(), '{"a": "k-2"}', "k-2"}
    assert [secret(one) for one in run.secrets.values()] == list(run.secrets)


@given(TEXTS, TEXTS, TEXTS, some.none() | some.integers(1, 65535), some.booleans())
def test_connection_is_equal_to_that_of_its_uri(
    schema: str | None, login: str | None, password: str | None, port: int | None, extra: bool
) -> None:
    from sagebridge_operators.prefect.airflow_names import Connection

    one = Connection(
        "c",
        "my_sql",
        host="db.local",
        schema=schema,
        login=login if login or not password else "",
        password=password,
        port=port,
        extra=json.dumps({"a": {"b": [1]}}) if extra else None,
    )
    found = Connection.from_uri(one.get_uri(), "c")
    one.login = one.login or (None if password is None else "")
    assert found == one


def test_s3_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: None) -> None:
    from sagebridge_operators.prefect.airflow_names import S3Hook

    with FaultyAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        hook = S3Hook()
        hook.create_bucket("data", "eu-west-1")
        hook.load_string("a,b", "in/a.csv", "data")
        hook.load_bytes(b"c", "s3://data/in/b.csv", replace=True)
        with pytest.raises(ValueError, match="already exists"):
            hook.load_string("x", "in/a.csv", "data")
        assert hook.list_keys("data", "in/") == ["in/a.csv", "in/b.csv"]
        assert hook.list_keys("data", "in/*b*", apply_wildcard=True) == ["in/b.csv"]
        assert hook.read_key("s3://data/in/a.csv") == "a,b"
        assert hook.check_for_key("in/a.csv", "data")
        assert not hook.check_for_key("in/gone.csv", "data")
        assert hook.check_for_wildcard_key("in/?.csv", "data")
        got = hook.download_file("in/a.csv", "data", str(tmp_path), preserve_file_name=True)
        assert Path(got).name == "a.csv"
        assert Path(got).read_text() == "a,b"
        with pytest.raises(AttributeError, match="select_key of Airflow is not available"):
            hook.select_key("in/a.csv")
