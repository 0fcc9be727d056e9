"""Deferred tasks in a running Airflow: what its triggerer does when users act on them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

import sagebridge
from sagebridge.model.event_triggers import s3_object_created
from sagebridge.model.expressions import parameter, plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from tests.e2e.desk import BIN
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.protocol import REGION
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import DAG, KilledAirflow, eventually
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
SECRET = "s3cret-of-the-team"
CONNECTION = {"conn_type": "aws", "login": "AKIATEAM", "password": SECRET}
EVENTS = "events"
RUNS = ("completed", "failed", "success", "cleared", "stopped")


class DeferringAirflow(KilledAirflow):
    """An Airflow whose runs all wait for their jobs in the triggerer."""

    def job(self, run: str) -> str:
        """The name of a run's newest job."""
        newest = max(self.attempts(run), key=lambda one: one.order)
        return newest.parts[-1].name if newest.parts else ""

    def act(self, method: str, path: str, **body: object) -> None:
        eventually(
            lambda: self.api._request(method, f"/api/v2/dags/{DAG}/{path}", body) or True, path
        )

    def end(self, aws: FaultyAws, run: str, status: str = "Completed") -> None:
        """Ends the job of a run."""
        aws.add_scripts(JobScript(name=self.job(run), statuses=(status,), running=True))


@pytest.fixture(scope="module")
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        server.add_scripts(JobScript(statuses=("InProgress",)))
        yield server


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    """moto's SQS."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session("x", "x", region_name=REGION)
    yield session.client("sqs", endpoint_url=f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="module")
def queue(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="new-data")["QueueUrl"])


@pytest.fixture(scope="module")
def airflow(
    aws: FaultyAws, sqs: Any, queue: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeferringAirflow]:
    folder = tmp_path_factory.mktemp("deferring")
    extra = {"service_config": {"sqs": {"endpoint_url": sqs.meta.endpoint_url}}}
    variables = {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(CONNECTION | {"extra": extra})}
    dags = {EVENTS: sagebridge.write(started_by_events(queue), "airflow").text}
    started = DeferringAirflow(folder, aws, deferred=True, variables=variables, dags=dags)
    with started:
        for run in RUNS:
            started.start(run)
        for run in RUNS:
            eventually(lambda run=run: started.task(run)["state"] == "deferred", run)  # type: ignore[misc]
        looked(aws, started)
        yield started


def started_by_events(queue: str) -> Pipeline:
    """A pipeline that an event of S3 in a queue starts."""
    data = {"Environment": {"DATA": parameter("InputData")}}
    train = Step("Train", "Training", plain(ARGUMENTS["Training"] | data))
    uri = {"InputData": "s3://<$.detail.bucket.name>/<$.detail.object.key>"}
    trigger = s3_object_created("new-data", "raw", "in/", parameters=uri, queue=queue)
    return Pipeline(EVENTS, [train], [Parameter("InputData")], event_triggers=[trigger])


def looked(aws: FaultyAws, airflow: DeferringAirflow) -> None:
    """Waits until the triggerer has looked at the jobs of all runs, one by one."""
    aws.clear_requests()
    for run in RUNS:
        name = airflow.job(run)
        eventually(lambda name=name: aws.requests("DescribeTrainingJob", name), run)  # type: ignore[misc]


def test_trigger_rows_and_logs_hold_no_secret(airflow: DeferringAirflow) -> None:
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        jobs = "select kwargs from \"trigger\" where classpath like '%JobTrigger'"
        rows = database.execute(jobs).fetchall()
    texts = [kwargs for (kwargs,) in rows]  # plain JSON: the execution API does not encrypt them
    assert len(texts) == len(RUNS)
    for run in RUNS:
        assert any(airflow.job(run) in text for text in texts)
    assert "AKIATEAM" not in "".join(texts)
    written = [*(airflow.home / "logs").rglob("*.log"), *airflow.home.parent.rglob("*.json")]
    assert written
    assert not [path for path in written if SECRET in path.read_text(errors="replace")]


@pytest.mark.parametrize("state", ["failed", "success"])
def test_task_set_to_a_final_state_stops_its_job(
    state: str, airflow: DeferringAirflow, aws: FaultyAws
) -> None:
    name = airflow.job(state)
    airflow.act("PATCH", f"dagRuns/{state}/taskInstances/Train", new_state=state)
    eventually(lambda: aws.count("StopTrainingJob", name), "the job is stopped")


def test_cleared_task_stops_its_job_and_starts_another(
    airflow: DeferringAirflow, aws: FaultyAws
) -> None:
    before = airflow.job("cleared")
    airflow.act(
        "POST",
        "clearTaskInstances",
        dag_run_id="cleared",
        task_ids=["Train"],
        dry_run=False,
        only_failed=False,
        reset_dag_runs=True,
    )
    eventually(lambda: airflow.job("cleared") not in ("", before), "another job runs")
    eventually(lambda: aws.count("StopTrainingJob", before), "the first is stopped")
    eventually(lambda: airflow.task("cleared")["state"] == "deferred", "deferred again")
    airflow.end(aws, "cleared")
    assert airflow.finish("cleared") == "Succeeded"


def test_stopped_execution_stops_the_job_and_fails_the_run(
    airflow: DeferringAirflow, aws: FaultyAws
) -> None:
    command = [str(BIN / "sagebridge"), "executions", "stop", airflow.execution("stopped")]
    variables = {**os.environ, **aws.environment(), "SAGEBRIDGE_BACKEND": "aws"}
    home = str(airflow.home.parent / "work")
    ended = subprocess.run(
        command,
        check=False,
        env={**variables, "SAGEBRIDGE_HOME": home},
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, 1), ended.stderr
    assert airflow.finish("stopped") == "Failed"
    assert aws.count("StopTrainingJob", airflow.job("stopped")) >= 1
    assert aws.count("CreateTrainingJob", airflow.job("stopped")) <= 1


def test_message_with_an_event_of_s3_starts_the_pipeline_once(
    airflow: DeferringAirflow, aws: FaultyAws, sqs: Any, queue: str
) -> None:
    def send(body: dict[str, Any]) -> str:
        time.sleep(0.5)  # in one batch or several
        return str(sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))["MessageId"])

    def event(key: str) -> dict[str, Any]:
        """As S3 sends it through EventBridge."""
        detail = {"bucket": {"name": "raw"}, "object": {"key": key}}
        return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}

    def notification(*keys: str) -> dict[str, Any]:
        """As S3 itself sends it, with keys of a URL."""
        fields = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
        objects = ({"bucket": {"name": "raw"}, "object": {"key": key}} for key in keys)
        return {"Records": [{**fields, "s3": one} for one in objects]}

    def runs(dag: str) -> dict[str, Any]:
        found = airflow.api._request("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        return {str(one["dag_run_id"]): one for one in found}

    def jobs() -> list[str]:
        created = [one.members for one in aws.requests("CreateTrainingJob")]
        found = {one["TrainingJobName"]: one.get("Environment", {}).get("DATA") for one in created}
        return sorted(filter(None, found.values()))

    one, _ = send(event("in/a 1.csv")), send(event("out/b.csv"))
    two = send(notification("in/c+2.csv", "in/d.csv"))
    expected = [f"{EVENTS}.new-data__{id_}" for id_ in (one, two, f"{two}-2")]
    eventually(lambda: len(runs(EVENTS)) == len(expected), "the events start runs")
    eventually(lambda: len(jobs()) >= len(expected), "their jobs start")
    assert sorted(runs(EVENTS)) == sorted(expected)
    assert jobs() == [f"s3://raw/in/{key}" for key in ("a 1.csv", "c 2.csv", "d.csv")]
    states = ("success", "skipped")
    small = f"{EVENTS}.new-data"
    eventually(lambda: all(run["state"] in states for run in runs(small).values()), "tasks end")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    assert {left[name] for name in names} == {"0"}


def test_job_outlives_a_lost_triggerer(airflow: DeferringAirflow, aws: FaultyAws) -> None:
    """The last test, since it takes the triggerer away from the others."""
    name = airflow.job("completed")
    airflow.kill_service("triggerer")
    airflow.restart("triggerer")
    aws.clear_requests()
    eventually(lambda: aws.requests("DescribeTrainingJob", name), "the next one looks", 120)
    time.sleep(2)  # a trigger that moved is killed within a second
    assert not aws.count("StopTrainingJob", name)
    airflow.end(aws, "completed")
    assert airflow.finish("completed") == "Succeeded"
    log = "".join(
        path.read_text() for path in Path(airflow.home / "logs").rglob("*run_id=completed/**/*.log")
    )
    assert "in the triggerer, with" in log
    assert "found Training" not in log
