"""The fake AWS, seen through real boto3 clients."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
)

from tests.clock import Clock
from tests.faulty_aws.conftest import once
from tests.faulty_aws.control import AwsControl, RemoteAws, run_process
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_requests import (
    FOREVER,
    KINDS,
    ROLE,
    client_error,
    create,
    describe,
    statuses,
    stop,
    training,
)
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws


@pytest.mark.parametrize("kind", KINDS)
class TestJobs:
    def test_describe_echoes_the_request(self, sagemaker: Any, kind: str) -> None:
        arn = create(sagemaker, kind, "a")[f"{kind}JobArn"]
        assert arn == f"arn:aws:sagemaker:eu-west-1:111122223333:{kind.lower()}-job/a"
        found = describe(sagemaker, kind, "a")
        expected = {key: value for key, value in KINDS[kind]("a").items() if key != "Tags"}
        assert found | expected == found
        assert "Tags" not in found
        assert found[f"{kind}JobArn"] == arn

    def test_walk_by_looks(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        create(sagemaker, kind, "default")
        assert statuses(sagemaker, kind, "default", 3) == ["InProgress", "Completed", "Completed"]
        assert f"{kind}EndTime" in describe(sagemaker, kind, "default")
        script = JobScript(name="odd-*", looks=2, statuses=("Queued", "InProgress", "Evicted"))
        aws.add_scripts(script, JobScript(name="fast", looks=0))
        create(sagemaker, kind, "odd-1")
        create(sagemaker, kind, "fast")
        walked = ["Queued", "Queued", "InProgress", "InProgress", "Evicted", "Evicted"]
        assert statuses(sagemaker, kind, "odd-1", 6) == walked
        assert statuses(sagemaker, kind, "fast", 1) == ["Completed"]

    def test_walk_by_time(self, aws: FaultyAws, sagemaker: Any, clock: Clock, kind: str) -> None:
        aws.add_scripts(JobScript(seconds=20))
        create(sagemaker, kind, "a")
        assert statuses(sagemaker, kind, "a", 3) == ["InProgress"] * 3
        clock.now += 30
        found = describe(sagemaker, kind, "a")
        assert found[f"{kind}JobStatus"] == "Completed"
        took = found[f"{kind}EndTime"] - found[f"{kind}StartTime"]
        assert took.total_seconds() == pytest.approx(20, abs=0.01)

    def test_failure(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        reason = {"FailureReason": "AlgorithmError: exit code 7"}
        failing = ("InProgress", "Failed")
        aws.add_scripts(JobScript(kind=kind, statuses=failing, members=reason))
        create(sagemaker, kind, "a")
        assert "FailureReason" not in describe(sagemaker, kind, "a")
        assert describe(sagemaker, kind, "a")["FailureReason"] == reason["FailureReason"]

    def test_stop(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        aws.add_scripts(JobScript(seconds=FOREVER))
        create(sagemaker, kind, "a")
        assert statuses(sagemaker, kind, "a", 1) == ["InProgress"]
        stop(sagemaker, kind, "a")
        stop(sagemaker, kind, "a")
        assert statuses(sagemaker, kind, "a", 3) == ["Stopping", "Stopped", "Stopped"]
        code, message, _ = client_error(lambda: stop(sagemaker, kind, "a"))
        assert code == "ValidationException"
        assert message.endswith("job is in status Stopped.")

    def test_stop_ignored(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        aws.add_scripts(JobScript(seconds=FOREVER, stop_statuses=("Stopping", "Completed")))
        create(sagemaker, kind, "a")
        stop(sagemaker, kind, "a")
        assert statuses(sagemaker, kind, "a", 2) == ["Stopping", "Completed"]

    def test_script_for_running_jobs(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        aws.add_scripts(JobScript(seconds=FOREVER))
        create(sagemaker, kind, "a")
        create(sagemaker, kind, "b")
        aws.add_scripts(JobScript(name="a", looks=0, running=True))
        assert statuses(sagemaker, kind, "a", 1) == ["Completed"]
        assert statuses(sagemaker, kind, "b", 1) == ["InProgress"]

    def test_errors(self, sagemaker: Any, kind: str) -> None:
        code, message, status = client_error(lambda: describe(sagemaker, kind, "none"))
        assert (code, status) == ("ValidationException", 400)
        assert "not find" in message or "not found" in message
        assert client_error(lambda: stop(sagemaker, kind, "none"))[0] == "ValidationException"
        create(sagemaker, kind, "a")
        code, message, status = client_error(lambda: create(sagemaker, kind, "a"))
        assert (code, status) == ("ResourceInUse", 400)
        assert f"already exists (arn:aws:sagemaker:eu-west-1:111122223333:{kind.lower()}" in message
        assert client_error(lambda: create(sagemaker, kind, "a_b"))[0] == "ValidationException"
        assert client_error(lambda: create(sagemaker, kind, "a" * 64))[0] == "ValidationException"

    def test_list(self, sagemaker: Any, kind: str) -> None:
        for name in ("one-x", "two-x", "three"):
            create(sagemaker, kind, name)
        describe(sagemaker, kind, "two-x")
        describe(sagemaker, kind, "two-x")
        listed = getattr(sagemaker, f"list_{kind.lower()}_jobs")
        key = f"{kind}JobSummaries"
        found = [one[f"{kind}JobName"] for one in listed(NameContains="-x")[key]]
        assert found == ["two-x", "one-x"]
        (done,) = listed(StatusEquals="Completed")[key]
        assert done[f"{kind}JobName"] == "two-x"
        page = listed(MaxResults=2)
        create(sagemaker, kind, "later-x")
        assert [one[f"{kind}JobName"] for one in page[key]] == ["three", "two-x"]
        page = listed(MaxResults=2, NextToken=page["NextToken"])
        assert [one[f"{kind}JobName"] for one in page[key]] == ["one-x"]
        assert "NextToken" not in page
        by_name = listed(SortBy="Name", SortOrder="Ascending")[key]
        assert [one[f"{kind}JobName"] for one in by_name] == ["later-x", "one-x", "three", "two-x"]

    def test_list_by_time(self, sagemaker: Any, clock: Clock, kind: str) -> None:
        create(sagemaker, kind, "early")
        clock.now += 60
        create(sagemaker, kind, "late")
        since = datetime.fromtimestamp(clock.now - 1, UTC)
        listed = getattr(sagemaker, f"list_{kind.lower()}_jobs")
        (found,) = listed(CreationTimeAfter=since)[f"{kind}JobSummaries"]
        assert found[f"{kind}JobName"] == "late"
        (found,) = listed(CreationTimeBefore=since)[f"{kind}JobSummaries"]
        assert found[f"{kind}JobName"] == "early"

    def test_list_may_be_denied(self, aws: FaultyAws, sagemaker: Any, kind: str) -> None:
        aws.add_faults(FaultRule(fault="access_denied", operation=f"List{kind}Jobs"))
        listed = getattr(sagemaker, f"list_{kind.lower()}_jobs")
        code, message, _ = client_error(lambda: listed(NameContains="a"))
        assert code == "AccessDeniedException"
        assert f"not authorized to perform: sagemaker:List{kind}Jobs" in message
        assert [one.name for one in aws.requests("List*")] == ["a"]


def test_pages_of_ten_by_default(sagemaker: Any) -> None:
    for number in range(25):
        create(sagemaker, "Training", f"a-{number}")
    pages = list(sagemaker.get_paginator("list_training_jobs").paginate(NameContains="a-"))
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [10, 10, 5]
    names = [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]
    assert names == [f"a-{number}" for number in reversed(range(25))]
    for wrong in ({"MaxResults": 101}, {"NextToken": "x"}):
        code, _, _ = client_error(lambda: sagemaker.list_training_jobs(**wrong))  # noqa: B023
        assert code == "ValidationException"


def test_processing_error_names_the_job(sagemaker: Any) -> None:
    _, message, _ = client_error(lambda: describe(sagemaker, "Processing", "gone"))
    assert message == "Could not find requested job with name: gone"


def test_training_has_artifacts_and_secondary_status(sagemaker: Any) -> None:
    create(sagemaker, "Training", "a")
    running = describe(sagemaker, "Training", "a")
    assert running["SecondaryStatus"] == "Training"
    done = describe(sagemaker, "Training", "a")
    artifacts = {"S3ModelArtifacts": "s3://bucket/models/a/output/model.tar.gz"}
    assert done["ModelArtifacts"] == artifacts
    assert [one["Status"] for one in done["SecondaryStatusTransitions"]] == [
        "Training",
        "Completed",
    ]


def test_one_of_many_creates_of_a_name_succeeds(aws: FaultyAws) -> None:
    def attempt(_: int) -> str:
        try:
            create(client, "Training", "same")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "created"

    client = aws.client("sagemaker", config=once(max_pool_connections=16))
    with ThreadPoolExecutor(16) as pool:
        outcomes = sorted(pool.map(attempt, range(40)))
    assert outcomes == ["ResourceInUse"] * 39 + ["created"]
    assert aws.count("CreateTrainingJob", "same") == 1
    assert len(aws.requests("CreateTrainingJob", "same")) == 40


def test_models(sagemaker: Any) -> None:
    container = {"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    request = {"ModelName": "m", "PrimaryContainer": container, "ExecutionRoleArn": ROLE}
    code, message, _ = client_error(lambda: sagemaker.describe_model(ModelName="m"))
    assert code == "ValidationException"
    assert message.startswith('Could not find model "arn:aws:sagemaker:')
    arn = sagemaker.create_model(**request)["ModelArn"]
    found = sagemaker.describe_model(ModelName="m")
    assert found["ModelArn"] == arn
    assert found["PrimaryContainer"] == container
    code, message, _ = client_error(lambda: sagemaker.create_model(**request))
    assert message == f'Cannot create already existing model "{arn}".'


def test_model_packages(sagemaker: Any) -> None:
    code, message, _ = client_error(
        lambda: sagemaker.describe_model_package_group(ModelPackageGroupName="g")
    )
    assert (code, message[-15:]) == ("ValidationException", "does not exist.")
    versioned = {"ModelPackageGroupName": "g", "ClientToken": "t" * 36}
    assert (
        client_error(lambda: sagemaker.create_model_package(**versioned))[0]
        == "ValidationException"
    )
    group = sagemaker.create_model_package_group(ModelPackageGroupName="g")["ModelPackageGroupArn"]
    found = sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    assert found["ModelPackageGroupStatus"] == "Completed"
    again = client_error(lambda: sagemaker.create_model_package_group(ModelPackageGroupName="g"))
    assert "already exists" in again[1]

    first = sagemaker.create_model_package(**versioned)["ModelPackageArn"]
    assert first.endswith(":model-package/g/1")
    assert sagemaker.create_model_package(**versioned)["ModelPackageArn"] == first
    second = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    assert second.endswith(":model-package/g/2")

    package = sagemaker.describe_model_package(ModelPackageName=first)
    assert package["ModelPackageStatus"] == "InProgress"
    package = sagemaker.describe_model_package(ModelPackageName=first)
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelPackageVersion"] == 1
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    listed = sagemaker.list_model_packages(ModelPackageGroupName="g")["ModelPackageSummaryList"]
    assert [one["ModelPackageVersion"] for one in listed] == [2, 1]


def test_experiments(sagemaker: Any) -> None:
    config = {"ExperimentName": "e", "TrialName": "t"}
    job = {**training("a"), "ExperimentConfig": config}
    code, message, _ = client_error(lambda: sagemaker.create_training_job(**job))
    assert (code, message[-24:]) == ("ResourceNotFound", "experiment/e' does not exist."[-24:])
    assert client_error(lambda: sagemaker.create_trial(**config))[0] == "ResourceNotFound"
    assert (
        client_error(lambda: sagemaker.describe_experiment(ExperimentName="e"))[0]
        == "ResourceNotFound"
    )
    arn = sagemaker.create_experiment(ExperimentName="e")["ExperimentArn"]
    assert sagemaker.describe_experiment(ExperimentName="e")["ExperimentArn"] == arn
    assert client_error(lambda: sagemaker.create_training_job(**job))[0] == "ResourceNotFound"
    sagemaker.create_trial(**config)
    assert sagemaker.describe_trial(TrialName="t")["ExperimentName"] == "e"
    for again in (
        lambda: sagemaker.create_trial(**config),
        lambda: sagemaker.create_experiment(ExperimentName="e"),
    ):
        assert client_error(again)[0] == "ValidationException"
    sagemaker.create_training_job(**job)
    assert sagemaker.describe_training_job(TrainingJobName="a")["ExperimentConfig"] == config
    (trial,) = sagemaker.list_trials(ExperimentName="e")["TrialSummaries"]
    assert trial["TrialName"] == "t"


def test_unknown_operation(sagemaker: Any) -> None:
    code, message, _ = client_error(lambda: sagemaker.describe_domain(DomainId="d-1"))
    assert code == "UnknownOperationException"
    assert "DescribeDomain" in message


class TestS3:
    def test_objects(self, s3: Any) -> None:
        key = "a folder/ü+&.json"
        s3.put_object(Bucket="bucket", Key=key, Body=b"{}", ContentType="x/y", Metadata={"m": "n"})
        found = s3.get_object(Bucket="bucket", Key=key)
        assert found["Body"].read() == b"{}"
        assert (found["ContentType"], found["Metadata"]) == ("x/y", {"m": "n"})
        head = s3.head_object(Bucket="bucket", Key=key)
        assert (head["ContentLength"], head["ETag"]) == (2, found["ETag"])
        (listed,) = s3.list_objects_v2(Bucket="bucket", Prefix="a folder/")["Contents"]
        assert (listed["Key"], listed["Size"], listed["ETag"]) == (key, 2, found["ETag"])
        s3.delete_object(Bucket="bucket", Key=key)
        s3.delete_object(Bucket="bucket", Key=key)
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="bucket", Key=key)
        assert client_error(lambda: s3.head_object(Bucket="bucket", Key=key))[0] == "404"
        with pytest.raises(s3.exceptions.NoSuchBucket):
            s3.list_objects_v2(Bucket="other")

    def test_create_only_if_missing(self, s3: Any) -> None:
        put = {"Bucket": "bucket", "Key": "k", "IfNoneMatch": "*"}
        s3.put_object(**put, Body=b"1")
        code, _, status = client_error(lambda: s3.put_object(**put, Body=b"2"))
        assert (code, status) == ("PreconditionFailed", 412)
        assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"1"

    def test_replace_only_if_unchanged(self, s3: Any) -> None:
        put = {"Bucket": "bucket", "Key": "k"}
        assert client_error(lambda: s3.put_object(**put, Body=b"1", IfMatch='"0"'))[2] == 404
        first = s3.put_object(**put, Body=b"1")["ETag"]
        second = s3.put_object(**put, Body=b"2", IfMatch=first)["ETag"]
        code, _, status = client_error(lambda: s3.put_object(**put, Body=b"3", IfMatch=first))
        assert (code, status) == ("PreconditionFailed", 412)
        found = s3.get_object(**put)
        assert (found["Body"].read(), found["ETag"]) == (b"2", second)

    def test_one_of_many_conditional_puts_succeeds(self, aws: FaultyAws, s3: Any) -> None:
        del s3

        def attempt(number: int) -> int:
            try:
                put = {"Bucket": "bucket", "Key": "k", "IfNoneMatch": "*"}
                client.put_object(**put, Body=str(number).encode())
            except ClientError as error:
                return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            return 200

        client = aws.client("s3", config=once(max_pool_connections=16))
        with ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(attempt, range(40))) == [200] + [412] * 39

    def test_pages_and_folders(self, s3: Any) -> None:
        for key in ("a/1", "a/2", "b", "c/1"):
            s3.put_object(Bucket="bucket", Key=key, Body=b"")
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket="bucket", PaginationConfig={"PageSize": 3}
        )
        assert [[one["Key"] for one in page["Contents"]] for page in pages] == [
            ["a/1", "a/2", "b"],
            ["c/1"],
        ]
        listed = s3.list_objects_v2(Bucket="bucket", Delimiter="/")
        assert [one["Prefix"] for one in listed["CommonPrefixes"]] == ["a/", "c/"]
        assert [one["Key"] for one in listed["Contents"]] == ["b"]

    def test_files(self, s3: Any, tmp_path: Path) -> None:
        (tmp_path / "up").write_bytes(b"x" * 100_000)
        s3.upload_file(str(tmp_path / "up"), "bucket", "k")
        s3.download_file("bucket", "k", str(tmp_path / "down"))
        assert (tmp_path / "down").read_bytes() == b"x" * 100_000

    def test_unsupported_request(self, s3: Any) -> None:
        s3.put_object(Bucket="bucket", Key="k", Body=b"123")
        get = {"Bucket": "bucket", "Key": "k", "Range": "bytes=0-1"}
        assert client_error(lambda: s3.get_object(**get))[::2] == ("NotImplemented", 501)


def test_logs(aws: FaultyAws) -> None:
    logs = aws.client("logs", config=once())
    group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
    assert client_error(lambda: logs.filter_log_events(**group))[0] == "ResourceNotFoundException"
    logs.create_log_group(**group)
    for stream in ("job/algo-1", "job/algo-2", "other/algo-1"):
        logs.create_log_stream(**group, logStreamName=stream)
        events = [{"timestamp": time, "message": f"{stream} {time}"} for time in (1000, 2000)]
        logs.put_log_events(**group, logStreamName=stream, logEvents=events)
    of_job = {**group, "logStreamNamePrefix": "job/"}
    page = logs.filter_log_events(**of_job, limit=3)
    rest = logs.filter_log_events(**of_job, limit=3, nextToken=page["nextToken"])
    assert [one["message"] for one in page["events"] + rest["events"]] == [
        "job/algo-1 1000",
        "job/algo-2 1000",
        "job/algo-1 2000",
        "job/algo-2 2000",
    ]
    assert "nextToken" not in rest
    newest = logs.filter_log_events(**of_job, limit=1, startFromHead=False)["events"]
    assert [one["message"] for one in newest] == ["job/algo-2 2000"]
    later = logs.filter_log_events(**of_job, startTime=1001)["events"]
    assert {one["timestamp"] for one in later} == {2000}


def test_sts(aws: FaultyAws) -> None:
    identity = aws.client("sts", access_key="AKIAOTHER").get_caller_identity()
    assert identity["Account"] == "111122223333"
    assert identity["Arn"].endswith("AKIAOTHER")


def test_requests_are_recorded(aws: FaultyAws, s3: Any) -> None:
    before = time.time()
    create(aws.client("sagemaker", access_key="AKIAOTHER"), "Training", "a")
    s3.put_object(Bucket="bucket", Key="k", Body=b"123", IfNoneMatch="*")
    (made,) = aws.requests("CreateTrainingJob")
    assert before <= made.time <= time.time()
    assert (made.service, made.name, made.access_key) == ("sagemaker", "a", "AKIAOTHER")
    assert made.members == training("a")
    assert (made.done, made.status, made.fault) == (True, 200, "")
    (put,) = aws.requests("Put*", service="s3")
    assert put.name == "bucket/k"
    assert put.members == {
        "Bucket": "bucket",
        "Key": "k",
        "ContentLength": 3,
        "IfNoneMatch": "*",
    }
    aws.clear_requests()
    assert aws.requests() == []


def test_stop_refuses_connections_until_the_next_start(aws: FaultyAws, sagemaker: Any) -> None:
    create(sagemaker, "Training", "a")
    threads = threading.active_count()
    aws.stop()
    assert threading.active_count() < threads
    with pytest.raises(EndpointConnectionError):
        describe(sagemaker, "Training", "a")
    aws.start()
    assert statuses(sagemaker, "Training", "a", 1) == ["InProgress"]


def test_reset(aws: FaultyAws, sagemaker: Any, s3: Any) -> None:
    create(sagemaker, "Training", "a")
    aws.add_faults(FaultRule(fault="throttle", operation="Stop*"))
    aws.add_scripts(JobScript(looks=0))
    aws.reset()
    assert aws.requests() == []
    create(sagemaker, "Training", "a")
    assert statuses(sagemaker, "Training", "a", 1) == ["InProgress"]
    stop(sagemaker, "Training", "a")
    assert s3.list_buckets()["Buckets"] == []


def test_http_control(aws: FaultyAws, sagemaker: Any) -> None:
    faults = [{"fault": "throttle", "times": 1, "name": "a"}]
    requests.post(f"{aws.url}/_test/faults", json=faults, timeout=5).raise_for_status()
    script = {"statuses": ["Odd"], "name": "a"}
    requests.post(f"{aws.url}/_test/scripts", json=script, timeout=5).raise_for_status()
    client_error(lambda: create(sagemaker, "Training", "a"))
    create(sagemaker, "Training", "a")
    assert statuses(sagemaker, "Training", "a", 1) == ["Odd"]
    recorded = requests.get(f"{aws.url}/_test/requests", timeout=5).json()
    assert [(one["operation"], one["name"], one["done"]) for one in recorded] == [
        ("CreateTrainingJob", "a", False),
        ("CreateTrainingJob", "a", True),
        ("DescribeTrainingJob", "a", True),
    ]
    wrong = requests.post(f"{aws.url}/_test/faults", json={"fault": "explode"}, timeout=5)
    assert wrong.status_code == 400
    assert "unknown fault 'explode'" in wrong.json()["error"]
    assert requests.get(f"{aws.url}/_test/nothing", timeout=5).status_code == 400


def test_server_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_process(tmp_path) as aws:
        for name, value in aws.environment("AKIAOTHER").items():
            monkeypatch.setenv(name, value)
        aws.add_scripts(JobScript(name="slow*", seconds=FOREVER))
        aws.add_faults(FaultRule(fault="lose_answer", operation="Create*", name="slow*", times=1))
        sagemaker: Any = boto3.client("sagemaker")
        assert client_error(lambda: create(sagemaker, "Training", "slow-1"))[0] == "ResourceInUse"
        stop(sagemaker, "Training", "slow-1")
        s3: Any = boto3.client("s3")
        aws.create_bucket("b")
        s3.put_object(Bucket="b", Key="k", Body=json.dumps({}).encode())
        assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"{}"
        identity: Any = boto3.client("sts").get_caller_identity()
        assert identity["UserId"] == "AKIAOTHER"
        check_remote(aws)
    with pytest.raises(EndpointConnectionError):
        describe(aws.client("sagemaker", config=once()), "Training", "slow-1")


def check_remote(aws: AwsControl) -> None:
    assert isinstance(aws, RemoteAws)
    assert aws.count("CreateTrainingJob", "slow-1") == 1
    assert aws.count("Stop*", "slow-1") == 1
    assert aws.resources("TrainingJob", "slow*") == ["slow-1"]
    assert aws.resources("Model") == []
    assert {one.access_key for one in aws.requests(service="sagemaker")} == {"AKIAOTHER"}
    with pytest.raises(ValueError, match="at least one status"):
        aws._call("POST", "scripts", [{"statuses": []}])
    aws.clear_scripts()
    aws.clear_faults()
    aws.clear_requests()
    assert aws.requests() == []
    aws.reset()
