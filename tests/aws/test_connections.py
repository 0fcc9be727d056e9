"""Endpoint, region, role, proxy and options of a connection reach every client of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from botocore.exceptions import ClientError

from sagebridge.model.expressions import execution
from sagebridge.model.step_settings import PropertyFile
from sagebridge_operators.airflow import (
    ConditionOperator,
    ModelOperator,
    ProcessingOperator,
    join,
    json_get,
    less_than_or_equal_to,
)
from sagebridge_operators.airflow.aws_clients import AwsConnection
from sagebridge_operators.airflow.deferral.poller import backend_of
from tests.dagtest import new_id, play
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.request_log import RequestRecord
from tests.faulty_aws.server import FaultyAws
from tests.faulty_aws.sts_api import key_of_role
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = pytest.mark.airflow

HOST = "aws.internal"
"""No such host exists: only the proxy makes it reachable."""
TEAM, OTHER = (f"arn:aws:iam::111122223333:role/{name}" for name in ("team", "other"))


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        aws.create_bucket("records")
        aws.create_bucket("bucket")
        report = json.dumps({"mse": 4.5}).encode()
        aws.client("s3").put_object(Bucket="bucket", Key="out/report.json", Body=report)
        aws.clear_requests()
        yield aws


def connection(aws: FaultyAws, role: str, region: str) -> str:
    """A connection whose clients reach AWS only through a proxy, with an assumed role."""
    extra = {
        "role_arn": role,
        "region_name": region,
        "endpoint_url": f"http://{HOST}",
        "service_config": {"sts": {"endpoint_url": f"http://sts.{HOST}"}},
        "config_kwargs": {
            "proxies": {"http": aws.url},
            "s3": {"addressing_style": "path"},
        },
    }
    text = {"conn_type": "aws", "login": "AKIABASE", "password": "secret", "extra": extra}
    return json.dumps(text)


def dag_of(**arguments: Any) -> DAG:
    """A DAG that needs SageMaker, the records, a property file and the account."""
    with DAG(new_id("connections"), schedule=None) as dag:
        ProcessingOperator(
            task_id="Prepare",
            arguments={
                **ARGUMENTS["Processing"],
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {
                            "OutputName": "report",
                            "S3Output": {
                                "S3Uri": "s3://bucket/out",
                                "LocalPath": "/opt/ml/processing/out",
                                "S3UploadMode": "EndOfJob",
                            },
                        }
                    ]
                },
            },
            property_files=[PropertyFile("Report", "report", "report.json")],
        )
        container = {"Image": "i", "ModelDataUrl": join("/", "s3://bucket", execution.pipeline_arn)}
        model = ModelOperator(
            task_id="Model",
            arguments={**ARGUMENTS["Model"], "PrimaryContainer": container},
            **arguments,
        )
        ConditionOperator(
            task_id="Check",
            conditions=[less_than_or_equal_to(json_get("Prepare", "Report", "mse"), 6.0)],
            if_steps=[model],
        )
    return dag


def identities(records: list[RequestRecord]) -> set[tuple[str, str, str, bool]]:
    return {(one.host, one.access_key, one.region, one.proxied) for one in records}


def test_connection_reaches_every_client(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection(aws, TEAM, "eu-north-1"))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(aws, OTHER, "eu-north-1"))
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", "s3://records/executions")

    played = play(dag_of(aws_conn_id="other", region_name="eu-south-1"))

    assert played.state == "success"
    assumed = aws.requests("AssumeRole")
    assert {one[:2] for one in identities(assumed)} == {(f"sts.{HOST}", "AKIABASE")}
    assert all(one.proxied for one in assumed)
    rest = [one for one in aws.all_requests() if one.operation != "AssumeRole"]
    records = [one for one in rest if one.name.startswith("records")]
    of_model = [one for one in rest if one.service == "sts" or one.operation.endswith("Model")]
    others = [one for one in rest if one not in records and one not in of_model]
    team = (HOST, key_of_role(TEAM), "eu-north-1", True)
    assert identities(others) == {team}
    assert {"CreateProcessingJob", "DescribeProcessingJob", "GetObject"} <= {
        one.operation for one in others
    }
    hosts = (HOST, f"sts.{HOST}")
    assert identities(of_model) == {(one, key_of_role(OTHER), "eu-south-1", True) for one in hosts}
    assert {"CreateModel", "GetCallerIdentity"} <= {one.operation for one in of_model}
    assert identities(records) == {team}, "all records are written with the same credentials"
    assert len(assumed) <= 4, "each session assumes its role once"


def test_connection_reaches_the_client_of_a_trigger(
    aws: FaultyAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its options are added to those of the connection, which may contain a proxy."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(aws, OTHER, "eu-north-1"))
    aws.add_faults(FaultRule(fault="throttle", operation="DescribeTrainingJob"))

    backend = backend_of(AwsConnection("other", region_name="eu-south-1"))
    with pytest.raises(ClientError, match="Throttling"):
        backend.client("sagemaker").describe_training_job(TrainingJobName="job")

    (look,) = aws.requests("DescribeTrainingJob")  # botocore repeats no request in a trigger
    assert identities([look]) == {(HOST, key_of_role(OTHER), "eu-south-1", True)}


def test_environment_reaches_every_client(
    aws: FaultyAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-north-1\ns3 =\n  addressing_style = path\n")
    for name, value in {
        **aws.environment("AKIAENV"),
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL": f"http://{HOST}",
        "HTTP_PROXY": aws.url,
        "http_proxy": aws.url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for connection in (AwsConnection(), AwsConnection(None)):
        aws.clear_requests()
        backend = connection.backend()
        assert backend.read_object("s3://bucket/out/report.json")
        assert backend.arn("pipeline/x").startswith("arn:aws:sagemaker:eu-north-1:111122223333:")
        backend.client("sagemaker").list_training_jobs()
        assert len(aws.all_requests()) == 3
        assert identities(aws.all_requests()) == {(HOST, "AKIAENV", "eu-north-1", True)}
