"""The credentials of a step's client; records and files contain no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.prefect.cancellation_hooks import stop_jobs
from sagebridge_operators.prefect.flow_backends import backend_of, settings_for_record
from tests.faulty_aws.server import FaultyAws
from tests.prefect.conftest import Run, flow_of
from tests.shapes import ROLE

pytestmark = pytest.mark.prefect

SECRET = "secretsecretsecret"


@pytest.fixture
def block(server: None) -> str:
    """The name of a saved AwsCredentials block."""
    from prefect_aws import AwsCredentials

    del server
    AwsCredentials(
        aws_access_key_id="AKIDOFBLOCK",
        aws_secret_access_key=SECRET,
        region_name="eu-west-1",
        aws_client_parameters={"endpoint_url": "http://127.0.0.1:9", "verify": False},
    ).save("team", overwrite=True)
    return "team"


def signed_as(backend: Backend) -> tuple[str, str, str]:
    """Access key, region and endpoint of a backend's client."""
    client = backend.client("sagemaker")
    key = client._request_signer._credentials.access_key
    return key, client.meta.region_name, client.meta.endpoint_url


def test_credentials_block_or_its_name(block: str) -> None:
    from prefect_aws import AwsCredentials

    wanted = ("AKIDOFBLOCK", "eu-west-1", "http://127.0.0.1:9")
    assert signed_as(backend_of({"backend": "aws", "aws_credentials": block})) == wanted
    loaded = AwsCredentials.load(block)
    assert signed_as(backend_of({"backend": "aws", "aws_credentials": loaded})) == wanted
    region = backend_of({"aws_credentials": block, "region_name": "us-east-2"})
    assert signed_as(region)[1] == "us-east-2"


def test_default_credential_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert signed_as(backend_of({}))[:2] == ("AKIDOFENVIRONMENT", "eu-central-1")
    assert signed_as(backend_of({"region_name": "us-east-2"}))[:2] == (
        "AKIDOFENVIRONMENT",
        "us-east-2",
    )


def test_local_backend_needs_no_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(tmp_path))
    assert isinstance(backend_of({"backend": "local", "aws_credentials": "team"}), LocalBackend)


def test_record_contains_block_name_and_no_secret(block: str) -> None:
    from prefect_aws import AwsCredentials

    settings = {"aws_credentials": AwsCredentials.load(block), "role_arn": ROLE}
    assert settings_for_record(settings) == {"aws_credentials": "team", "role_arn": ROLE}


def test_block_reaches_every_client_of_a_run_and_its_hook(
    play: Run, monkeypatch: pytest.MonkeyPatch, server: None
) -> None:
    """Its role, region, endpoint and proxy. Records have their own block."""
    from prefect_aws import AwsCredentials

    del server
    with FaultyAws() as aws:
        aws.create_bucket("records")
        for role in ("team", "keeper"):
            AwsCredentials(
                aws_access_key_id="AKIDOFBLOCK",
                aws_secret_access_key=SECRET,
                region_name="eu-north-1",
                assume_role_arn=f"arn:aws:iam::111122223333:role/{role}",
                aws_client_parameters={
                    "endpoint_url": "http://aws.internal",  # only the proxy makes it reachable
                    "config": {
                        "proxies": {"http": aws.url},
                        "s3": {"addressing_style": "path"},
                    },
                },
            ).save(role, overwrite=True)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)  # the block assumes the role with it
        monkeypatch.setenv("SAGEBRIDGE_RECORDS", "s3://records/executions")
        monkeypatch.setenv("SAGEBRIDGE_RECORDS_CREDENTIALS", "keeper")
        text = """
from prefect import flow
from sagebridge_operators.prefect import begin, finish, model, stop_jobs

@flow(name="identities")
def identities():
    begin(backend="aws", aws_credentials="team", role_arn="arn:aws:iam::111122223333:role/r")
    model("A", arguments={"PrimaryContainer": {"Image": "i"}})
    return finish()
"""
        aws.clear_requests()
        flow = flow_of(text)
        played = play(flow)
        assert played.state.is_completed(), played.messages
        stop_jobs(flow, played.run, played.state)

        made = [one for one in aws.all_requests() if one.operation != "AssumeRole"]
    assert {"CreateModel", "DescribeModel", "GetObject", "PutObject"} <= {
        one.operation for one in made
    }
    for one in made:
        role = "keeper" if one.name.startswith("records") else "team"
        found = (one.host, one.access_key, one.region, one.proxied)
        assert found == ("aws.internal", f"ASIA{role.upper()}", "eu-north-1", True), one


def test_begin_settings_reach_the_steps(
    play: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(tmp_path))
    text = f'''
from prefect import flow
from sagebridge_operators.prefect import begin, finish, model

@flow(name="settings")
def settings():
    begin(backend="local", role_arn="{ROLE}")
    model("A", arguments={{"PrimaryContainer": {{"Image": "i"}}}})
    return finish()
'''
    played = play(flow_of(text))
    assert played.state.is_completed(), played.messages
    body = played.records.execution(played.id)
    assert body is not None
    assert body["backend"] == "local"
    assert body["settings"] == {"A": {"backend": "local", "role_arn": ROLE}}
    client = LocalBackend(tmp_path, tmp_path).client("sagemaker")
    (found,) = client.list_models()["Models"]
    described_ = client.describe_model(ModelName=found["ModelName"])
    assert described_["ExecutionRoleArn"] == ROLE
