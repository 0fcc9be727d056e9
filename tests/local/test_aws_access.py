"""Scripts that call AWS, as jobs of this machine."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sagebridge_operators.backends.local import aws_keys, isolation
from tests.intruders import can_read
from tests.other_user import IS_ROOT, as_other_user

if TYPE_CHECKING:
    from tests.local.conftest import Bench

ROLE = "arn:aws:iam::123456789012:role/Jobs"
SCRIPT = """
import boto3, json, os, sys
s3 = boto3.client("s3")
boto3.resource("s3").Bucket("data").download_file("in/a b.csv", "abalone.csv")
names = [found["Key"] for found in s3.list_objects_v2(Bucket="data", Prefix="in/")["Contents"]]
sagemaker = boto3.client("sagemaker")
if name := os.environ.get("TRAINING_JOB_NAME"):
    job = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
else:
    with open("/opt/ml/config/processingjobconfig.json") as config:
        name = json.load(config)["ProcessingJobName"]
    job = sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"]
# The SageMaker SDK also gives the address of AWS.
address = f"https://sts.{os.environ['AWS_REGION']}.amazonaws.com"
account = boto3.client("sts", endpoint_url=address).get_caller_identity()["Account"]
found = [open("abalone.csv").read(), *names, job, account]
s3.put_object(Bucket="data", Key=f"out/{name}", Body="|".join(found))
"""
EXPECTED = "1,2|in/a b.csv|InProgress|123456789012"


@pytest.fixture
def data(bench: Bench) -> Bench:
    bench.store.write("s3://data/in/a b.csv", b"1,2")
    return bench


@pytest.mark.parametrize("name", list(isolation.METHODS))
def test_processing_script_uses_s3_and_describes_its_job(
    data: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isolation.probe(isolation.METHODS[name], data.home):
        return  # test_isolation.py checks the error
    monkeypatch.setenv("SAGEBRIDGE_ISOLATION", name)
    # A job learns the worker's proxy, which does not know the local store.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    code = ("s3://code/run.py", "/opt/ml/processing/input/code")
    data.store.write(code[0], SCRIPT.encode())
    request = data.processing(
        "",
        entrypoint=["python3", f"{code[1]}/run.py"],
        inputs={"code": code},
        RoleArn=ROLE,
    )
    body = data.run("Processing", "job", request)
    log = data.log("Processing", "job")
    assert body["ProcessingJobStatus"] == "Completed", log
    assert data.text("s3://data/out/job") == EXPECTED
    assert log.count("answered from the local store") == 1


def test_training_script_uses_s3_and_describes_its_job(data: Bench) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(SCRIPT.encode())
        tar.addfile(member, io.BytesIO(SCRIPT.encode()))
    data.store.write("s3://code/sourcedir.tar.gz", archive.getvalue())
    hyperparameters = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "s3://code/sourcedir.tar.gz",
    }
    body = data.run("Training", "job", data.training(hyperparameters, {}, RoleArn=ROLE))
    assert body["TrainingJobStatus"] == "Completed", data.log("Training", "job")
    assert data.text("s3://data/out/job") == EXPECTED


def test_missing_object_is_the_reason(data: Bench) -> None:
    script = "import boto3; boto3.client('s3').download_file('data', 'in/b.csv', 'x')"
    reason = data.run("Processing", "job", data.processing(script))["FailureReason"]
    assert "s3://data/in/b.csv is not in the local store; copy it there with --upload" in reason
    assert "Traceback" not in reason


def test_settings_of_the_request_win(data: Bench) -> None:
    script = "import os; print(sorted(name for name in os.environ if name.startswith('AWS_')))"
    given = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-north-1"}
    data.run("Processing", "job", data.processing(script, Environment=given))
    log = data.log("Processing", "job")
    assert "['AWS_DEFAULT_REGION', 'AWS_ENDPOINT_URL', 'AWS_REGION']" in log
    assert "the job sets AWS_ENDPOINT_URL" in log


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_secret_is_only_in_the_keys_and_the_environment_of_the_job(data: Bench) -> None:
    script = """
import os, time
print("started", flush=True)
while not os.path.exists("/opt/ml/processing/out/stop"): time.sleep(0.05)
"""
    folder = data.home / "jobs/Processing/job/ml/processing/out"
    outputs = {"out": ("s3://data/out", "/opt/ml/processing/out")}
    data.start("Processing", "job", data.processing(script, outputs=outputs))
    data.wait_for_log("Processing", "job", "started")
    secret = aws_keys.keys(data.home).secret.encode()
    processes = [path.parent for path in Path("/proc").glob("[0-9]*/environ") if _has(path, secret)]
    assert processes
    assert not as_other_user(lambda: [str(one) for one in processes if can_read(one / "environ")])
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _has(path, secret)]
    (folder / "stop").touch()
    assert data.wait("Processing", "job")["ProcessingJobStatus"] == "Completed"
    files = [Path(parent, name) for parent, _, names in os.walk(data.home) for name in names]
    assert [path.name for path in files if _has(path, secret)] == [aws_keys.FILE]


def _has(path: Path, secret: bytes) -> bool:
    try:
        return secret in path.read_bytes()
    except OSError:
        return False
