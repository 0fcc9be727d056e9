"""boto3's SageMaker client with the local backend, without requests that leave the process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError, WaiterError
from botocore.validate import ParamValidator

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.client import Endpoint
from sagebridge_operators.run_errors import NotRunnable, WorkdirUnusable
from tests.local.api_requests import INFERENCE, MODEL, REQUESTS, TRANSFORM, call, code, create


@pytest.fixture(params=list(REQUESTS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_describe_returns_the_request(sagemaker: Any, kind: str) -> None:
    arn = create(sagemaker, kind)[f"{kind}JobArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:000000000000:{kind.lower()}-job/job"
    described = call(sagemaker, "describe", kind)
    expected = {member: value for member, value in REQUESTS[kind].items() if member != "Tags"}
    assert described.items() >= expected.items()
    assert described[f"{kind}JobArn"] == arn
    assert described[f"{kind}JobStatus"] == "InProgress"
    assert abs(described["CreationTime"].timestamp() - time.time()) < 60


def test_training_job_has_secondary_statuses(sagemaker: Any) -> None:
    create(sagemaker, "Training")
    described = call(sagemaker, "describe", "Training")
    assert described["SecondaryStatus"] == "Starting"
    assert [stage["Status"] for stage in described["SecondaryStatusTransitions"]] == ["Starting"]
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    place = "s3://bucket/models/job/output/model.tar.gz"
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": place}


@pytest.mark.parametrize(
    ("status", "reason"), [("Completed", ""), ("Failed", "AlgorithmError: x"), ("Stopped", "")]
)
def test_job_responses_match_botocore_shapes(
    backend: LocalBackend, end: Callable[..., None], kind: str, status: str, reason: str
) -> None:
    sagemaker = backend.client("sagemaker")
    create(sagemaker, kind)
    assert_shape(backend, f"Describe{kind}Job", {f"{kind}JobName": "job"})
    end(kind, "job", status, **({"FailureReason": reason} if reason else {}))
    assert_shape(backend, f"Describe{kind}Job", {f"{kind}JobName": "job"})
    assert_shape(backend, f"List{kind}Jobs", {})


def test_registry_responses_match_botocore_shapes(backend: LocalBackend, sagemaker: Any) -> None:
    sagemaker.create_model(**MODEL)
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    sagemaker.create_model_package(
        ModelPackageGroupName="g",
        InferenceSpecification=INFERENCE,
        Tags=[{"Key": "k", "Value": "v"}],
    )
    package = sagemaker.list_model_packages(ModelPackageGroupName="g")["ModelPackageSummaryList"][0]
    for operation, request in {
        "DescribeModel": {"ModelName": "model"},
        "ListModels": {},
        "DescribeModelPackageGroup": {"ModelPackageGroupName": "g"},
        "ListModelPackageGroups": {},
        "DescribeModelPackage": {"ModelPackageName": package["ModelPackageArn"]},
        "ListModelPackages": {"ModelPackageGroupName": "g"},
    }.items():
        assert_shape(backend, operation, request)


def assert_shape(backend: LocalBackend, operation: str, request: dict[str, Any]) -> None:
    """The raw response matches the output shape of botocore, without missing fields."""
    model = backend.client("sagemaker").meta.service_model.operation_model(operation)
    body = raw_response(backend, operation, request)
    assert ParamValidator().validate(body, model.output_shape).generate_report() == ""


def raw_response(backend: LocalBackend, operation: str, request: dict[str, Any]) -> Any:
    answer = Endpoint(backend.home, backend.base).answer(
        "sagemaker",
        "POST",
        "https://anywhere/",
        {"X-Amz-Target": f"SageMaker.{operation}"},
        io.BytesIO(json.dumps(request).encode()),
    )
    assert answer.status == 200
    return json.loads(answer.body.read())


def test_names_are_unique_and_unknown_names_fail(sagemaker: Any, kind: str) -> None:
    with pytest.raises(ClientError, match="Could not find") as unknown:
        call(sagemaker, "describe", kind)
    assert code(unknown) == "ValidationException"
    assert str(unknown.value).endswith("with name: job")
    with pytest.raises(ClientError, match="Could not find"):
        call(sagemaker, "stop", kind)
    create(sagemaker, kind)
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="must be unique"):
        create(sagemaker, kind)


@pytest.mark.parametrize("name", ["a_b", "-a", "a-", "../x", "a/b", "a" * 64, "a.b"])
def test_names_match_the_pattern_of_the_service(sagemaker: Any, kind: str, name: str) -> None:
    with pytest.raises(ClientError, match="failed to satisfy constraint") as refused:
        create(sagemaker, kind, name)
    assert code(refused) == "ValidationException"


def test_boto3_validates_requests(sagemaker: Any) -> None:
    with pytest.raises(ParamValidationError, match="RoleArn"):
        sagemaker.create_processing_job(ProcessingJobName="job")


def test_transform_requires_its_model(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match=r"Could not find model .*model/model") as missing:
        sagemaker.create_transform_job(**TRANSFORM)
    assert code(missing) == "ValidationException"


def test_waiters_wait_for_the_end(sagemaker: Any, end: Callable[..., None], kind: str) -> None:
    create(sagemaker, kind)
    waiter = sagemaker.get_waiter(f"{kind.lower()}_job_completed_or_stopped")
    arguments = {f"{kind}JobName": "job", "WaiterConfig": {"Delay": 0, "MaxAttempts": 2}}
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        waiter.wait(**arguments)
    end(kind, "job", "Completed")
    waiter.wait(**arguments)
    create(sagemaker, kind, "other")
    end(kind, "other", "Failed", FailureReason="AlgorithmError: exit code: 1")
    with pytest.raises(WaiterError, match="terminal failure state"):
        waiter.wait(**arguments | {f"{kind}JobName": "other"})


def test_stop_works_once_and_fails_for_an_ended_job(
    sagemaker: Any, end: Callable[..., None], kind: str
) -> None:
    create(sagemaker, kind)
    call(sagemaker, "stop", kind)
    call(sagemaker, "stop", kind)
    assert call(sagemaker, "describe", kind)[f"{kind}JobStatus"] == "Stopping"
    end(kind, "job", "Stopped")
    with pytest.raises(ClientError, match="is in status Stopped") as refused:
        call(sagemaker, "stop", kind)
    assert code(refused) == "ValidationException"


def test_job_without_supervisor_is_failed(sagemaker: Any, living: ExitStack, kind: str) -> None:
    create(sagemaker, kind)
    assert call(sagemaker, "describe", kind)[f"{kind}JobStatus"] == "InProgress"
    living.close()
    listed = getattr(sagemaker, f"list_{kind.lower()}_jobs")()[f"{kind}JobSummaries"]
    assert [job[f"{kind}JobStatus"] for job in listed] == ["Failed"]
    assert "supervisor" in call(sagemaker, "describe", kind)["FailureReason"]


def test_lists_are_filtered_ordered_and_paged(
    sagemaker: Any, end: Callable[..., None], kind: str
) -> None:
    names = ["b-1", "a-1", "b-2", "c-3"]
    for name in names:
        create(sagemaker, kind, name)
    end(kind, "b-2", "Completed")

    def listed(**arguments: Any) -> list[str]:
        pages = sagemaker.get_paginator(f"list_{kind.lower()}_jobs").paginate(**arguments)
        return [job[f"{kind}JobName"] for page in pages for job in page[f"{kind}JobSummaries"]]

    assert listed() == names
    assert listed(PaginationConfig={"PageSize": 1}) == names
    assert listed(SortBy="Name", SortOrder="Descending") == ["c-3", "b-2", "b-1", "a-1"]
    assert listed(NameContains="B-") == ["b-1", "b-2"]
    assert listed(StatusEquals="Completed") == ["b-2"]
    assert listed(CreationTimeAfter=time.time() + 60) == []
    assert listed(CreationTimeBefore=time.time() + 60) == names
    with pytest.raises(ClientError, match="Invalid pagination token"):
        getattr(sagemaker, f"list_{kind.lower()}_jobs")(NextToken="x")


def test_unsupported_operation_is_named(backend: LocalBackend, sagemaker: Any) -> None:
    with pytest.raises(
        ClientError, match=r"support ListTags \(it supports .*CreateTrainingJob"
    ) as error:
        sagemaker.list_tags(ResourceArn="arn")
    assert code(error) == "UnknownOperationException"
    with pytest.raises(NotRunnable, match="emr"):
        backend.client("emr")


def test_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(WorkdirUnusable, match="home cannot be used: not a folder"):
        LocalBackend(tmp_path / "home", tmp_path).client("sagemaker")


def test_aws_settings_of_the_user_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile p]\nregion = eu-west-1\nendpoint_url = http://x\n")
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_PROFILE": "absent",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    code = (
        "import sys; from pathlib import Path;"
        "from sagebridge_operators.backends.local import LocalBackend;"
        "b = LocalBackend(Path(sys.argv[1]), Path());"
        "print(b.client('sagemaker').create_model(ModelName='m',"
        " PrimaryContainer={'Image': 'i'})['ModelArn']);"
        "b.client('s3').put_object(Bucket='bbb', Key='k', Body=b'')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "arn:aws:sagemaker:us-east-1:000000000000:model/m\n"


def test_importing_the_backend_does_not_import_boto3() -> None:
    code = (
        "import sys, sagebridge_operators.backends.local;"
        "print(sorted({'boto3', 'botocore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_job_log_is_read_while_it_grows(
    backend: LocalBackend, sagemaker: Any, end: Callable[..., None]
) -> None:
    create(sagemaker, "Training")
    job_log = backend.job_log("Training", "job")
    assert job_log.read() == []
    log = backend.home / "jobs" / "Training" / "job" / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes("first\nsecönd\nthi".encode())
    assert job_log.read() == ["first", "secönd"]
    assert job_log.read() == []
    with log.open("ab") as stream:
        stream.write(b"rd")
    end("Training", "job", "Completed")
    assert backend.job_log("Training", "job", job_log.position).read() == ["third"]
    assert job_log.read() == ["third"]
    assert job_log.read() == []


def test_model_has_no_log(backend: LocalBackend, sagemaker: Any) -> None:
    sagemaker.create_model(**MODEL)
    assert backend.job_log("Model", "model").read() == []


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBackend:
    monkeypatch.setenv("SAGEBRIDGE_ISOLATION", "rewrite")
    return LocalBackend(tmp_path / "home", tmp_path)


def test_job_runs_to_completion_with_its_log(real: LocalBackend) -> None:
    sagemaker = real.client("sagemaker")
    create(sagemaker, "Processing")
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="job", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    described = call(sagemaker, "describe", "Processing")
    assert described["ProcessingJobStatus"] == "Completed", described.get("FailureReason")
    assert_shape(real, "DescribeProcessingJob", {"ProcessingJobName": "job"})
    assert "1" in real.job_log("Processing", "job").read()
