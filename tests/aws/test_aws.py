"""The abalone pipelines on moto: the requests that arrive, and their credentials and region."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.model.expressions import execution, join, plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.airflow import build
from sagebridge_operators.lifecycle.execution import execution_id, job_name
from sagebridge_operators.lifecycle.objects import Bucket
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import execution_of, job_of
from tests.aws.conftest import KEY, REGION, SECRET, Moto
from tests.dagtest import FinishedRun, new_id, play, run_id

pytestmark = pytest.mark.airflow
CHECKOUT = Path(__file__).parent.parent.parent
EXAMPLE = CHECKOUT / "pipelines" / "abalone" / "definition.json"
AT = datetime(2026, 11, 21, 5, 43, tzinfo=UTC)
STEPS = {
    "CreateProcessingJob": ("ProcessingJobName", ["AbaloneProcess", "AbaloneEval"]),
    "CreateTrainingJob": ("TrainingJobName", ["AbaloneTrain"]),
    "CreateModel": ("ModelName", ["AbaloneCreateModel"]),
    "CreateTransformJob": ("TransformJobName", ["AbaloneTransform"]),
}
RETRIES = 2
"""The ``retries`` of a task, and so the generation of one that was not cleared."""
Abalone = Callable[..., FinishedRun]


def seed(corpus: Path) -> Path:
    path = corpus / "seed-abalone.json"
    if not path.exists():
        pytest.skip("needs the definition of the notebook in SAGEBRIDGE_CORPUS")
    return path


def known_id(dag_id: str) -> str:
    """The id of the execution, which its requests contain."""
    return execution_id("airflow", dag_id, run_id(AT))


def evaluation_of(path: Path, dag_id: str) -> str:
    """The URI from which the pipeline reads its evaluation."""
    steps = {step["Name"]: step for step in json.loads(path.read_text())["Steps"]}
    (output,) = steps["AbaloneEval"]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    uri = output["S3Output"]["S3Uri"]
    if isinstance(uri, dict):
        words = uri["Std:Join"]["Values"]
        name = known_id(dag_id)
        uri = "/".join(word if isinstance(word, str) else name for word in words)
    return f"{uri}/evaluation.json"


@pytest.fixture
def abalone(moto: Moto, connection: str, monkeypatch: pytest.MonkeyPatch) -> Abalone:
    """Return a function that runs an abalone definition with a mean squared error of 4.5."""

    def runs(path: Path, dag_id: str, conf: Any = None, **more: Any) -> FinishedRun:
        monkeypatch.setenv("SAGEBRIDGE_EXECUTION", f"{run_id(AT)}={known_id(dag_id)}")
        report = {"regression_metrics": {"mse": {"value": 4.5}}}
        moto.put(evaluation_of(path, dag_id), json.dumps(report).encode())
        pipeline = sagebridge.read(path, name="abalone").pipeline
        dag = build(pipeline, dag_id=dag_id, backend="aws", aws_conn_id=connection, **more)
        return play(dag, conf, at=AT)

    return runs


@pytest.mark.parametrize("which", ["seed-abalone", "abalone"])
def test_abalone_requests_match_the_golden_file(
    which: str, corpus: Path, abalone: Abalone, moto: Moto, golden: Any
) -> None:
    played = abalone(seed(corpus) if which.startswith("seed") else EXAMPLE, f"golden-{which}")
    assert played.state == "success"
    assert played.states["AbaloneMSEFail"] == "skipped"
    requests = moto.created()
    # Independent tasks run in any order.
    golden(which, sorted(requests, key=lambda one: str(one["operation"])))
    assert played.run_id == run_id(AT)
    for operation, (key, steps) in STEPS.items():
        made = [one["request"][key] for one in requests if one["operation"] == operation]
        assert made == [job_name(played.execution, RETRIES, step, 0) for step in steps]
        assert made == [job_of(played.steps[step]).name for step in steps]


def test_model_is_registered_in_a_new_group(abalone: Abalone, moto: Moto, corpus: Path) -> None:
    del corpus
    played = abalone(EXAMPLE, new_id("group"), {"ModelApprovalStatus": "Approved"})
    sagemaker = moto.client("sagemaker")
    (group,) = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    name = group["ModelPackageGroupName"]
    (package,) = sagemaker.list_model_packages(ModelPackageGroupName=name)[
        "ModelPackageSummaryList"
    ]
    assert (
        package["ModelPackageArn"] == job_of(played.steps["AbaloneRegisterModel-RegisterModel"]).arn
    )
    assert package["ModelApprovalStatus"] == "Approved"
    assert name == "sagebridge-abalone"


def test_error_above_the_threshold_takes_the_else_branch(abalone: Abalone, moto: Moto) -> None:
    played = abalone(EXAMPLE, new_id("threshold"), {"MseThreshold": 1.0})
    assert played.state == "failed"
    assert played.states == {
        "AbaloneProcess": "success",
        "AbaloneTrain": "success",
        "AbaloneEval": "success",
        "AbaloneMSECond": "success",
        "AbaloneRegisterModel-RegisterModel": "skipped",
        "AbaloneCreateModel": "skipped",
        "AbaloneTransform": "skipped",
        "AbaloneMSEFail": "failed",
    }
    assert played.xcom("AbaloneMSEFail", "failure_reason") == "Execution failed due to MSE > 1.0"
    operations = {one["operation"] for one in moto.created()}
    jobs = {"CreateProcessingJob", "CreateTrainingJob"}
    assert operations == jobs | {"CreateExperiment", "CreateTrial"}


def test_credentials_are_not_in_records_xcoms_or_logs(
    abalone: Abalone, moto: Moto, caplog: pytest.LogCaptureFixture, capfd: Any, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    played = abalone(EXAMPLE, new_id("secret"))
    output = capfd.readouterr()
    records = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "create_training_job" in output.out + output.err + caplog.text
    for text in (played.everything(), caplog.text, output.out, output.err, records):
        assert SECRET not in text
        assert KEY not in text
    signed = [one["headers"].get("Authorization", "") for one in moto.requests()]
    assert any(KEY in text for text in signed), (
        "no request is signed with the key of the connection"
    )


MODEL = Step(
    "Make",
    "Model",
    arguments=plain(
        {
            "ExecutionRoleArn": "arn:aws:iam::123456789012:role/r",
            "PrimaryContainer": {
                "Image": "i",
                "ModelDataUrl": join("", "s3://b/", execution.pipeline_arn),
            },
        }
    ),
)


@pytest.mark.parametrize(("argument", "region"), [(None, REGION), ("us-west-2", "us-west-2")])
def test_region_of_the_task_overrides_the_connection(
    argument: str | None, region: str, moto: Moto, connection: str
) -> None:
    dag = build(
        Pipeline(steps=(MODEL,), name="p"),
        dag_id=new_id("region"),
        backend="aws",
        aws_conn_id=connection,
        region_name=argument,
    )
    assert play(dag).state == "success"
    (model,) = moto.client("sagemaker", region).list_models()["Models"]
    assert model["ModelArn"].startswith(f"arn:aws:sagemaker:{region}:123456789012:model/")
    made = moto.created()[0]["request"]["PrimaryContainer"]["ModelDataUrl"]
    assert made == f"s3://b/arn:aws:sagemaker:{region}:123456789012:pipeline/p"


def test_botocore_config_is_used(moto: Moto, connection: str) -> None:
    options = {"user_agent_extra": "the-test"}
    dag = build(
        Pipeline(steps=(MODEL,)),
        dag_id=new_id("options"),
        backend="aws",
        aws_conn_id=connection,
        botocore_config=options,
    )
    assert play(dag).state == "success"
    agents = [one["headers"].get("User-Agent", "") for one in moto.requests()]
    assert agents
    assert all("the-test" in agent for agent in agents if "Boto3" in agent)


def test_records_can_be_stored_in_s3(
    moto: Moto, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.put("s3://records/x", b"")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", "s3://records/of/executions")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS_CREDENTIALS", connection)
    dag = build(
        Pipeline(steps=(MODEL,)), dag_id=new_id("records"), backend="aws", aws_conn_id=connection
    )
    played = play(dag)
    assert played.state == "success"
    s3 = moto.client("s3", "us-east-1")
    records = ExecutionRecords(Bucket("s3://records/of/executions", lambda: s3))
    steps = records.steps(execution_of(records, f"{dag.dag_id}/{played.run_id}"))
    assert {name: step.state for name, step in steps.items()} == {"Make": "Succeeded"}


def test_missing_credentials_are_reported(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    dag = build(
        Pipeline(steps=(MODEL,)),
        dag_id=new_id("missing"),
        backend="aws",
        aws_conn_id=None,
        region_name=REGION,
        retry_delay=timedelta(),
    )
    played = play(dag)
    assert played.states == {"Make": "failed"}
    assert played.xcom("Make", "failure_reason") == (
        "NoCredentialsError: Unable to locate credentials"
    )
    assert played.steps["Make"].reason == "NoCredentialsError: Unable to locate credentials"
