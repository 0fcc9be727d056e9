"""Secrets of jobs and connections reach AWS, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import build
from sagebridge_operators.airflow.deferral import poller
from sagebridge_operators.backends.aws import AwsBackend
from tests.dagtest import migrated, new_id, play
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.secrets_planted import Secrets, write_log

pytestmark = pytest.mark.airflow


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyAws]:
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.05, 0.1))
    for name in ("_TICK", "_NEW", "_SECONDS"):
        monkeypatch.setattr(poller, name, 0.05)
    with FaultyAws() as server:
        yield server


@pytest.fixture
def planted(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Secrets, with those of the Airflow connection ``aws_planted``."""
    secrets = Secrets()
    extra = {"region_name": "eu-west-1", "endpoint_url": aws.url}
    connection = {
        "conn_type": "aws",
        "login": "AKIALOOPBACKONLY",
        "password": secrets.new("connection password"),
        "extra": {**extra, "aws_session_token": secrets.new("connection extra")},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PLANTED", json.dumps(connection))
    return secrets


@pytest.mark.slow
@pytest.mark.parametrize("deferrable", [False, True])
def test_secrets_are_in_no_log_database_or_record(
    deferrable: bool,
    aws: FaultyAws,
    planted: Secrets,
    tmp_path: Path,
    capfd: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For jobs that succeed, fail, are rejected, and meet an outage; the service echoes all."""
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
    dag = build(
        Pipeline(steps=steps, name="p"),
        dag_id=new_id("secrets"),
        backend="aws",
        aws_conn_id="aws_planted",
        deferrable=deferrable,
    )
    with write_log(aws, planted):
        played = play(dag)
    assert played.states == {
        "Good": "success",
        "Bad": "failed",
        "Rejected": "failed",
        "Outage": "success",
        "Model": "success",
    }
    planted.check_arrived(aws)
    shown = capfd.readouterr()
    assert shown.out.count("echo: '***'") >= 5
    planted.check_absent("the printed output", (shown.out + shown.err + caplog.text).encode())
    planted.check_absent_in(tmp_path / "executions")
    for database in migrated().parent.glob("airflow.db*"):
        planted.check_absent(database.name, database.read_bytes())
