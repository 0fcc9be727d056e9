"""Secrets of jobs and blocks reach AWS, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.backends.aws import AwsBackend
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.prefect.conftest import Run, flow_of
from tests.secrets_planted import Secrets, write_log

pytestmark = pytest.mark.prefect


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.05, 0.1))
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "aws")
    with FaultyAws() as server:
        yield server


@pytest.fixture
def planted(server: None, aws: FaultyAws) -> Secrets:
    """Secrets, with those of the block ``planted``."""
    from prefect_aws import AwsCredentials

    del server
    secrets = Secrets()
    AwsCredentials(
        aws_access_key_id="AKIALOOPBACKONLY",
        aws_secret_access_key=secrets.new("secret key of the block"),
        region_name="eu-west-1",
        aws_client_parameters={"endpoint_url": aws.url},
    ).save("planted", overwrite=True)
    return secrets


@pytest.mark.slow
def test_secrets_are_in_no_log_database_or_record(
    play: Run,
    aws: FaultyAws,
    planted: Secrets,
    tmp_path: Path,
    capfd: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = planted.steps()
    failed = {"FailureReason": planted.echo("Bad")}
    aws.add_scripts(
        JobScript(looks=8),
        JobScript(name="*Bad*", looks=8, statuses=("InProgress", "Failed"), members=failed),
    )
    rejected = FaultRule(fault="error", operation="Create*", name="*Rejected*", status=400)
    outage = FaultRule(fault="error", operation="Create*", name="*Outage*", times=6)
    aws.add_faults(
        replace(rejected, message=planted.echo("Rejected", tags=True)),
        replace(outage, message=planted.echo("Outage", tags=True)),
    )
    text = write(Pipeline(steps=steps, name="secrets"))[0]
    text = text.replace("begin(", 'begin(aws_credentials="planted", ', 1)
    with write_log(aws, planted):
        played = play(flow_of(text))
    assert played.states == {
        "Good": "Completed",
        "Bad": "Failed",
        "Rejected": "Failed",
        "Outage": "Completed",
        "Model": "Completed",
    }
    planted.check_arrived(aws)
    shown = capfd.readouterr()
    planted.check_absent("the printed output", (shown.out + shown.err + caplog.text).encode())
    assert "echo: '***'" in shown.out + shown.err + caplog.text
    planted.check_absent_in(tmp_path / "executions")
    database = database_of_server()
    assert b"sagemaker.create_training_job" in database, "the logs of the flow run"
    planted.check_absent("the database", database)


def database_of_server() -> bytes:
    """The files of the test server's database, with the logs that were sent."""
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import get_current_settings

    APILogWorker.drain_all(timeout=30)
    url = get_current_settings().server.database.connection_url.get_secret_value()
    file = Path(url.partition(":///")[2])
    return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
