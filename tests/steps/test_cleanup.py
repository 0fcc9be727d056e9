"""Cleanup steps: what they delete, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.model.expressions import plain
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.step_settings import CacheConfig
from sagebridge_operators.lifecycle.attempt import Attempt, Part, now
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import states
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import cleanup
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import ARGUMENTS
from tests.standard.world import World, patch_time

OUT = "s3://bucket/out"
CLEAN_TRAIN = {"Resources": {"S3": [{"StepName": "Train"}]}}
TRAIN = Step("Train", "Training", arguments=plain(ARGUMENTS["Training"]))
PROCESS = Step(
    "Make",
    "Processing",
    arguments=plain(
        {
            **ARGUMENTS["Processing"],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "train",
                        "S3Output": {
                            "S3Uri": OUT,
                            "LocalPath": "/opt/ml/processing/train",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        }
    ),
)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        yield aws


class Runs:
    """Steps of one execution, and the objects in the bucket."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.records = world, ExecutionRecords(Folder(folder))
        started = datetime.fromtimestamp(world.clock.time(), UTC)
        self.execution = Execution("0123456789ab", "p", "airflow", "dag/run", started, {})
        self.s3 = world.aws.client("s3")

    def run(self, step: Step, **options: Any) -> Mapping[str, Any]:
        backend = self.world.backend()
        task = StepTask(step, self.execution, backend, self.records, lambda step: None, **options)
        return StepDriver(task).run()

    def clean(self, *rows: Mapping[str, Any]) -> Mapping[str, Any]:
        arguments = plain({"Resources": {"S3": list(rows)}})
        return self.run(Step("Clean", "Cleanup", arguments=arguments))

    def put(self, *keys: str) -> None:
        for key in keys:
            self.s3.put_object(Bucket="bucket", Key=key, Body=b"x")

    def keys(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket="bucket").get("Contents", [])
        return [one["Key"] for one in found]


@pytest.fixture
def runs(server: FaultyAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    server.reset()
    server.create_bucket("bucket")
    return Runs(World(server, patch_time(monkeypatch)), tmp_path)


def test_folder_of_a_training_job_is_deleted_and_nothing_else(runs: Runs) -> None:
    job = runs.run(TRAIN)["job_name"]
    own = [f"model/{job}/output/model.tar.gz", f"model/{job}/debug-output/x"]
    others = ["model/other/output/model.tar.gz", f"model/{job}-2/output/model.tar.gz"]
    runs.put(*own, *others)
    assert runs.clean({"StepName": "Train"})["cleaned_steps"] == ["Train"]
    assert runs.keys() == sorted(others)
    again = runs.clean({"StepName": "Train"})
    assert again["cleaned_steps"] == ["Train"], "a repetition finds nothing left"


def test_iteration_of_a_loop_deletes_only_its_own_output(runs: Runs) -> None:
    clean = Step("Clean", "Cleanup", arguments=plain(CLEAN_TRAIN))
    loop = ForEachStep("Fan", items=["a", "b"], max_concurrency=2, body=[TRAIN, clean])
    pipeline = Pipeline(steps=(loop,))
    jobs = [runs.run(TRAIN, index=(i,), pipeline=pipeline)["job_name"] for i in range(2)]
    runs.put(*(f"model/{job}/output/model.tar.gz" for job in jobs))
    runs.run(clean, index=(1,), pipeline=pipeline)
    assert runs.keys() == [f"model/{jobs[0]}/output/model.tar.gz"]
    runs.run(clean, index=(), pipeline=Pipeline(steps=(replace(loop, body=(TRAIN,)), clean)))
    assert runs.keys() == [], "outside the loop, the step stands for all its iterations"


def test_listed_objects_below_an_output_are_deleted(runs: Runs) -> None:
    runs.run(PROCESS)
    runs.put("out/a.csv", "out/b.csv", "output/c.csv")
    uris = ["s3://bucket/out/a.csv", "s3://bucket/out/gone.csv"]
    assert runs.clean({"StepName": "Make", "S3Uris": uris})["cleaned_steps"] == ["Make"]
    assert runs.keys() == ["out/b.csv", "output/c.csv"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://bucket/output/c.csv", "is not below an output of the step"),
        ("s3://other/out/a.csv", "is not below an output of the step"),
        ("s3://bucket/out/../output/c.csv", "is not the S3 URI of an object"),
        ("s3://bucket/out/", "is not the S3 URI of an object"),
        ("s3://bucket", "is not the S3 URI of an object"),
        ("/etc/passwd", "is not the S3 URI of an object"),
    ],
)
def test_other_objects_are_left_and_fail_the_step(runs: Runs, uri: str, message: str) -> None:
    runs.run(PROCESS)
    runs.put("out/a.csv", "output/c.csv")
    with pytest.raises(StepFailed, match=f"step 'Make': .*{message}"):
        runs.clean({"StepName": "Make", "S3Uris": [uri]})
    assert runs.keys() == ["out/a.csv", "output/c.csv"]


def test_object_from_before_the_job_is_left(runs: Runs) -> None:
    runs.put("out/a.csv")
    runs.world.clock.sleep(60.0)
    runs.run(PROCESS)
    with pytest.raises(StepFailed, match="is older than the job of the step"):
        runs.clean({"StepName": "Make", "S3Uris": [f"{OUT}/a.csv"]})
    assert runs.keys() == ["out/a.csv"]


def test_slash_at_the_end_of_an_output_path_is_not_doubled(runs: Runs) -> None:
    """SageMaker writes the output of a job below ``s3://b/x/`` to ``s3://b/x/NAME``."""
    output = {"OutputDataConfig": {"S3OutputPath": "s3://bucket/model/"}}
    job = runs.run(replace(TRAIN, arguments=plain({**ARGUMENTS["Training"], **output})))["job_name"]
    runs.put(f"model/{job}/output/model.tar.gz")
    runs.clean({"StepName": "Train"})
    assert runs.keys() == []


def test_object_newer_than_the_job_is_left(runs: Runs) -> None:
    """Another execution, which writes to the same path, has replaced it."""
    runs.run(PROCESS)
    runs.world.clock.sleep(300.0)
    runs.put("out/a.csv")
    with pytest.raises(StepFailed, match="was written after the job of the step"):
        runs.clean({"StepName": "Make", "S3Uris": [f"{OUT}/a.csv"]})
    assert runs.keys() == ["out/a.csv"]


def test_callback_has_no_output(runs: Runs) -> None:
    waiting = Attempt(runs.execution.id, "Ask", "Callback", now(), parts=(Part("Token12345"),))
    runs.records.save(waiting.with_end("Succeeded", outputs={}))
    assert runs.clean({"StepName": "Ask"})["skipped_steps"] == ["Ask"]


def test_step_that_did_not_run_is_skipped(runs: Runs) -> None:
    runs.put("model/x")
    assert runs.clean({"StepName": "Train"})["skipped_steps"] == ["Train"]
    assert runs.keys() == ["model/x"]


def test_output_that_a_cache_reused_belongs_to_an_earlier_execution(runs: Runs) -> None:
    cached = replace(TRAIN, cache_config=CacheConfig(True))
    job = runs.run(cached)["job_name"]
    runs.put(f"model/{job}/output/model.tar.gz")
    runs.execution = replace(runs.execution, id="ba9876543210")
    assert runs.run(cached)["job_name"] == job
    assert runs.clean({"StepName": "Train"})["skipped_steps"] == ["Train"]
    assert runs.keys() == [f"model/{job}/output/model.tar.gz"]


def test_rejected_deletion_fails_the_step_after_the_others(runs: Runs) -> None:
    job = runs.run(TRAIN)["job_name"]
    runs.run(PROCESS)
    runs.put(f"model/{job}/x", "out/a.csv")
    runs.world.aws.add_faults(FaultRule(fault="access_denied", operation="DeleteObject", times=1))
    with pytest.raises(StepFailed, match="step 'Train': AccessDenied"):
        runs.clean({"StepName": "Train"}, {"StepName": "Make", "S3Uris": [f"{OUT}/a.csv"]})
    assert runs.keys() == [f"model/{job}/x"]


def test_outage_is_waited_out(runs: Runs) -> None:
    job = runs.run(TRAIN)["job_name"]
    runs.put(f"model/{job}/x")
    runs.world.aws.add_faults(FaultRule(fault="error", operation="DeleteObject", times=6))
    runs.clean({"StepName": "Train"})
    assert runs.keys() == []


def test_every_call_is_in_the_policy(runs: Runs) -> None:
    job = runs.run(TRAIN)["job_name"]
    runs.run(PROCESS)
    runs.put(f"model/{job}/x", "out/a.csv")
    before = len(runs.world.aws.requests(service="s3"))
    runs.clean({"StepName": "Train"}, {"StepName": "Make", "S3Uris": [f"{OUT}/a.csv"]})
    names = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket"}
    sent = [one.operation for one in runs.world.aws.requests(service="s3")[before:]]
    allowed = {action for actions, _ in cleanup.PERMISSIONS for action in actions}
    assert {f"s3:{names.get(one, one)}" for one in sent} == allowed


def test_sources_are_dependencies_and_checked(runs: Runs) -> None:
    rows = [{"StepName": "Train"}, {"StepName": "Make"}, {"StepName": "Nothing"}]
    clean = Step("Clean", "Cleanup", arguments=plain({"Resources": {"S3": rows}}))
    pipeline = Pipeline(steps=(TRAIN, PROCESS, clean))
    edges = graph(pipeline)
    assert set(edges.predecessors("Clean")) == {"Train", "Make"}
    assert {edges.edges[one, "Clean"]["triggers"] for one in ("Train", "Make")} == {
        frozenset({"Completed"})
    }
    assert states(pipeline, {})["Clean"] == "Pending"
    found = [one.message for one in sagebridge.validate(pipeline)]
    assert any("Cleanup step Clean: unknown step 'Nothing'" in one for one in found), found
    assert any("a source of type Processing needs S3Uris" in one for one in found), found


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ([], "Resources of step Clean: expected an object, got an array"),
        ({"S3": {}}, "Resources.S3 of step Clean: expected an array of at least one object"),
        ({}, "Cleanup step Clean: missing key 'S3'"),
        ({"S3": []}, "Resources.S3 of step Clean: expected an array of at least one object"),
        ({"S3": [3]}, "source of Cleanup step Clean: expected an object, got 3"),
        ({"S3": [{"StepName": 3}]}, "StepName of Cleanup step Clean: expected a string, got 3"),
        (
            {"S3": [{"StepName": "Make", "S3Uris": [1]}]},
            "S3Uris of Cleanup step Clean: expected an array of strings and references",
        ),
        ({"S3": [{"StepName": "Train", "S3Uris": ["s3://b/k"]}]}, "of type Training takes no S3Ur"),
        ({"S3": [{"StepName": "Inner"}]}, "step Inner runs once per item of 'Fan'"),
        ({"S3": [{"StepName": "After"}]}, "cycle After -> Clean -> After"),
    ],
)
def test_faults_are_named_with_their_place(resources: Any, message: str) -> None:
    clean = Step("Clean", "Cleanup", arguments=plain({"Resources": resources}))
    loop = ForEachStep("Fan", items=["a"], max_concurrency=1, body=[replace(TRAIN, name="Inner")])
    after = replace(TRAIN, name="After", depends_on=("Clean",))
    found = sagebridge.validate(Pipeline(steps=(TRAIN, PROCESS, loop, after, clean)))
    assert [one for one in found if message in one.message], found
