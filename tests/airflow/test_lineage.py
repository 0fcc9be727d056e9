"""The OpenLineage events of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.lifecycle.lineage import inputs_and_outputs
from sagebridge_operators.steps import JOB_TYPES
from tests.dagtest import migrated
from tests.faulty_aws.control import REPOSITORY
from tests.faulty_aws.job_requests import processing, training, transform
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.shapes import ROLE

pytestmark = pytest.mark.airflow
SECRET = "canary0123456789"
PLAY = """
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.airflow import build
from sagebridge_operators.backends.aws import AwsBackend
from tests.airflow.test_lineage import REQUESTS
from tests.dagtest import play

AwsBackend.poll_seconds = (0.05, 0.1)
steps = [
    Step(name, name.removeprefix("Bad"), arguments=plain(one)) for name, one in REQUESTS.items()
]
played = play(build(Pipeline(steps=tuple(steps), name="p"), dag_id="lineage", backend="aws"))
assert played.states == {
    name: "failed" if name.startswith("Bad") else "success" for name in REQUESTS
}, played.states
"""


def source(uri: str) -> dict[str, Any]:
    return {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def requests_of() -> Mapping[str, dict[str, Any]]:
    """The arguments of steps, by name; the name of a failing one starts with ``Bad``."""
    train, process, batch = training(""), processing(""), transform("")
    for request, name in ((train, "Training"), (process, "Processing"), (batch, "Transform")):
        del request[f"{name}JobName"]
    train["Environment"] = {"PLAIN": SECRET}
    train["InputDataConfig"] = [{"ChannelName": "train", **source("s3://bucket/train/")}]
    local = {"LocalPath": "/opt/ml/processing/x"}
    read = {"S3Uri": "s3://bucket/raw", "S3DataType": "S3Prefix", "S3InputMode": "File", **local}
    write = {"S3Uri": "s3://bucket/clean", "S3UploadMode": "EndOfJob", **local}
    process["ProcessingInputs"] = [{"InputName": "raw", "S3Input": read}]
    process["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": "o", "S3Output": write}]}
    model = {
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": "i", "ModelDataUrl": "s3://bucket/model.tar.gz"},
    }
    return {"Training": train, "Processing": process, "Model": model, "BadTraining": train}


REQUESTS = requests_of()


def names(datasets: Any) -> list[str]:
    return [f"{one['namespace']}/{one['name']}" for one in datasets]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_run_emits_datasets_and_no_secret(tmp_path: Path) -> None:
    events = tmp_path / "events"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    shutil.copy(migrated(), tmp_path / "airflow.db")
    with FaultyAws() as aws:
        aws.add_scripts(JobScript(name="*BadTraining*", statuses=("InProgress", "Failed")))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **aws.environment(),
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "SAGEBRIDGE_RECORDS": str(tmp_path / "executions"),
        }
        done = subprocess.run(
            [sys.executable, "-c", PLAY],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (job,) = (one.name for one in aws.requests("CreateTrainingJob") if "Bad" not in one.name)
    text = events.read_text()
    found = {}
    for event in map(json.loads, text.splitlines()):
        if event["eventType"] in ("COMPLETE", "FAIL"):
            name = event["job"]["name"].removeprefix("lineage.")
            found[name] = (event["eventType"], names(event["inputs"]), names(event["outputs"]))
    artifact = f"s3://bucket/models/{job}/output/model.tar.gz"
    assert found["Training"] == ("COMPLETE", ["s3://bucket/train/"], [artifact])
    assert found["Processing"] == ("COMPLETE", ["s3://bucket/raw"], ["s3://bucket/clean"])
    assert found["Model"] == ("COMPLETE", ["s3://bucket/model.tar.gz"], [])
    assert found["BadTraining"] == ("FAIL", ["s3://bucket/train/"], [])
    assert SECRET not in text


def test_transform_reads_the_files_of_its_model() -> None:
    with FaultyAws() as aws:
        backend = AwsBackend(lambda: aws.client)
        sagemaker = aws.client("sagemaker")
        sagemaker.create_model_package_group(ModelPackageGroupName="g")
        container = {"Image": "i", "ModelDataUrl": "s3://bucket/package.tar.gz"}
        specification = {
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        }
        package = sagemaker.create_model_package(
            ModelPackageGroupName="g", InferenceSpecification=specification
        )["ModelPackageArn"]
        sagemaker.create_model(
            ModelName="model",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"ModelPackageName": package},
        )
        sagemaker.create_transform_job(**transform("job"))
        assert inputs_and_outputs(JOB_TYPES["Transform"], "job", backend) == (
            ["s3://bucket/in", "s3://bucket/package.tar.gz"],
            ["s3://bucket/out"],
        )
        assert inputs_and_outputs(JOB_TYPES["Transform"], "other", backend) == ([], [])
