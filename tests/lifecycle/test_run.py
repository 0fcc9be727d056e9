"""One step, from its expressions to its outputs."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sagebridge.errors import SagebridgeError
from sagebridge.model.conditions import equals, less_than
from sagebridge.model.expressions import (
    execution,
    join,
    json_get,
    parameter,
    plain,
    properties_of,
)
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.step_settings import PropertyFile
from sagebridge.model.step_types import UNPUBLISHED
from sagebridge_operators.lifecycle.execution import job_name, job_token
from sagebridge_operators.lifecycle.outputs import LIMIT, references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import (
    NotRunnable,
    StepFailed,
    StepStopped,
    Unresolvable,
)
from sagebridge_operators.steps import JOB_TYPES
from tests.attempts import job_of, outputs_of
from tests.fakes import ARN, FakeBackend, FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import (
    ARGUMENTS,
    EXECUTION,
    MORE,
    STOPPABLE,
    Find,
    Make,
    training,
)

DESCRIBED = [
    name for name, job in JOB_TYPES.items() if job.service == "sagemaker" and job.described
]


@pytest.mark.parametrize("type_", DESCRIBED)
def test_job_runs_to_its_end_and_gives_outputs(
    type_: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    job_type = JOB_TYPES[type_]
    outputs = make(type_).run()
    request = aws.called(job_type.create)[-1]
    name = next(iter(aws.jobs))
    assert outputs["job"] == {"name": name, "arn": aws.jobs[name].description[job_type.arn_key]}
    serving = "InService" in job_type.states
    done = "InService" if serving else "Completed"
    assert outputs["status"] == (done if job_type.status_key else "Created")
    assert json.loads(json.dumps(outputs)) == outputs
    assert {"step": "Train", "type": type_}.items() <= outputs.items()
    assert ARGUMENTS[type_].items() <= request.items()
    saved = record("Train")
    assert saved.state == "Succeeded"
    assert job_of(saved).as_job() == outputs["job"]
    assert saved.outputs == outputs
    assert saved.started <= saved.ended


@pytest.mark.parametrize("type_", sorted({*STOPPABLE, "RegisterModel"}))
def test_failed_job_fails_the_step_with_its_reason(
    type_: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    reason = JOB_TYPES[type_].reason_keys[0]
    aws.plans[""] = Plan(("InProgress", "Failed"), ending={reason: "AlgorithmError: no data"})
    with pytest.raises(StepFailed, match=r"Failed: AlgorithmError: no data") as failed:
        make(type_).run()
    assert not isinstance(failed.value, StepStopped)
    assert record().state == "Failed"
    assert record().reason == str(failed.value)
    assert job_of(record()).shown in str(failed.value)


@pytest.mark.parametrize("type_", sorted(STOPPABLE))
def test_stopped_job_fails_the_step(
    type_: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress", "Stopping", "Stopped"))
    with pytest.raises(StepStopped, match=rf"^{type_} job \S+ Stopped$"):
        make(type_).run()
    assert record().state == "Stopped"
    assert not aws.called("stop_")


def test_unknown_status_is_waited_out(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("Pondering", "Reconsidering", "Completed"))
    assert make().run()["status"] == "Completed"


def test_all_expressions_in_arguments_are_resolved(make: Make, aws: FakeSageMaker) -> None:
    step = training(
        HyperParameters={"eta": join("", parameter("Rate"))},
        OutputDataConfig={"S3OutputPath": join("/", "s3://b", execution.training_job_name)},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": properties_of("Make").Outputs["train"].S3Uri,
                    }
                },
            }
        ],
    )
    upstream = {"Make": {"properties": {"Outputs['train'].S3Uri": "s3://b/train"}}}
    make(step, upstream).run()
    (request,) = aws.called("create_training_job")
    assert request["HyperParameters"] == {"eta": "0.2"}
    assert request["OutputDataConfig"] == {"S3OutputPath": f"s3://b/{request['TrainingJobName']}"}
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    assert source["S3Uri"] == "s3://b/train"
    assert request["TrainingJobName"] == job_name(EXECUTION.id, 0, "Train", 0)


PREFIXED = {
    name
    for name in {*STOPPABLE, "Model"}
    if JOB_TYPES[name].name_key not in JOB_TYPES[name].dropped_arguments
}


@pytest.mark.parametrize("type_", sorted(PREFIXED))
@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ("nightly-train", "nightly-train"),
        ("team-", "team"),
        (join("-", "team", execution.pipeline_name), "team-abalone"),
        ("x" * 60, "x" * 35),
    ],
)
def test_job_name_begins_with_the_given_prefix(
    type_: str, given: Any, prefix: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    job_type = JOB_TYPES[type_]
    arguments = {**ARGUMENTS[type_], job_type.name_key: given}
    make(Step("Train", type_, arguments=plain(arguments), **MORE.get(type_, {}))).run()
    (request,) = aws.called(job_type.create)
    name = request[job_type.name_key]
    prefix = prefix[: job_type.name_limit - 28]
    assert name == f"{prefix}-{EXECUTION.id}-{job_token(EXECUTION.id, 0, 'Train')}-0"
    assert len(name) <= job_type.name_limit
    assert job_of(record()).name == name


def test_lost_worker_finds_the_job_with_its_prefix(make: Make, aws: FakeSageMaker) -> None:
    step = training(TrainingJobName="nightly")
    make(step).run()
    make(step).run()
    assert len(aws.called("create_training_job")) == 1


@pytest.mark.parametrize("given", ["night ly", "a_b", "", 3, join("-", "rate", parameter("Rate"))])
def test_invalid_prefix_fails_before_the_job(given: Any, make: Make, aws: FakeSageMaker) -> None:
    with pytest.raises(StepFailed, match="TrainingJobName: expected letters, digits and hyphens"):
        make(training(TrainingJobName=given)).run()
    assert not aws.jobs


def test_missing_property_fails_before_create(make: Make, aws: FakeSageMaker, record: Find) -> None:
    step = training(HyperParameters={"x": properties_of("Make").Nothing})
    upstream = {"Make": {"missing": {"Nothing": ["Outputs"]}}}
    with pytest.raises(Unresolvable, match=r"Steps\.Make\.Nothing.*'Make'.*available: Outputs"):
        make(step, upstream).run()
    assert not aws.jobs
    assert "Steps.Make.Nothing" in record().reason
    assert record().state == "Failed"


def test_missing_object_fails_the_step(make: Make, record: Find) -> None:
    check = ConditionStep(
        "Train", "Condition", conditions=(less_than(json_get("Eval", "F", "mse"), 6),)
    )
    upstream = {"Eval": {"property_files": {"F": "s3://b/evaluation.json"}}}
    with pytest.raises(SagebridgeError, match=r"s3://b/evaluation\.json"):
        make(check, upstream).run()
    assert record().state == "Failed"
    assert "s3://b/evaluation.json" in record().reason


def test_invalid_request_fails_with_botocore_message(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    with pytest.raises(StepFailed, match=r"(?s)create_training_job: .*Unknown parameter.*Typo"):
        make(training(Typo=1)).run()
    assert not aws.jobs
    assert record().state == "Failed"


@pytest.mark.parametrize("arguments", ["text", (1, 2), None])
def test_arguments_must_be_an_object(arguments: Any, make: Make) -> None:
    with pytest.raises(StepFailed, match="Arguments of step 'Train': expected an object, got "):
        make(Step("Train", "Training", arguments=arguments)).run()


def test_rejected_request_fails_the_step(make: Make, aws: FakeSageMaker) -> None:
    error = client_error("CreateTrainingJob", "ValidationException", "no such role")
    aws.before["create_training_job"] = [raises(error)]
    with pytest.raises(StepFailed, match="no such role"):
        make().run()


def test_missing_model_package_group_is_created(make: Make, aws: FakeSageMaker) -> None:
    make("RegisterModel").run()
    assert aws.groups == {"group"}
    make("RegisterModel", generation=1).run()
    assert len(aws.called("create_model_package_group")) == 1


def test_environment_values_are_masked(
    make: Make, records: ExecutionRecords, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[Any] = []
    run = make(training(Environment={"TOKEN": "hunter2"}), on_request=shown.append)
    outputs = run.run()
    everything = [caplog.text, json.dumps([outputs, shown]), *stored(records)]
    assert "hunter2" not in "".join(everything)
    assert shown[0]["Environment"] == {"TOKEN": "***"}
    assert '"TOKEN": "***"' in caplog.text


@pytest.mark.parametrize("value", [987654, "hunter2"])
def test_errors_mask_environment_values(
    value: Any, make: Make, aws: FakeSageMaker, record: Find, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = f"Value '{{TOKEN={value}}}' at 'environment' failed to satisfy constraint"
    error = client_error("CreateTrainingJob", "ValidationException", refusal)
    aws.before["create_training_job"] = [raises(error)]
    with pytest.raises(StepFailed) as failed:
        make(training(Environment={"TOKEN": value})).run()
    shown = "".join(traceback.format_exception(failed.value))
    assert "***" in shown
    assert str(value) not in shown + record().reason + caplog.text


def test_referenced_environment_value_is_an_output(make: Make) -> None:
    step = training(Environment={"LEVEL": "7"})
    reader = Step("Use", "Model", arguments=plain([properties_of("Train").Environment["LEVEL"]]))
    outputs = make(step, references=references_to("Train", (step, reader))).run()
    assert outputs["properties"] == {"Environment['LEVEL']": "7"}


def stored(records: ExecutionRecords) -> list[str]:
    objects = records.objects
    return [json.dumps(found.body) for key in objects.keys("") if (found := objects.read(key))]


def test_on_job_is_called_once_the_job_exists(make: Make, aws: FakeSageMaker, record: Find) -> None:
    seen: list[Any] = []

    def look(job: Mapping[str, Any]) -> None:
        seen.append((dict(job), record().state, job_of(record()).as_job()))

    outputs = make(on_job=look).run()
    assert seen == [(outputs["job"], "Executing", outputs["job"])]
    assert outputs["job"]["arn"].startswith(f"{ARN}training-job/pipelines-0123456789ab-Train-")


def test_job_log_lines_are_logged_once(
    make: Make, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backend.lines = ["epoch 1", "epoch 2"]
    make().run()
    assert caplog.text.count("[Train] epoch 1") == caplog.text.count("[Train] epoch 2") == 1


def test_large_outputs_fail_the_step(make: Make, record: Find) -> None:
    step = training(HyperParameters={"x": "y" * LIMIT})
    reader = Step("Use", "Model", arguments=plain([properties_of("Train").HyperParameters]))
    with pytest.raises(StepFailed, match="refer to an S3 URI instead"):
        make(step, references=references_to("Train", (step, reader))).run()
    assert record().state == "Failed"


def test_outputs_contain_property_file_uris(make: Make) -> None:
    arguments = ARGUMENTS["Processing"] | {
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "S3Output": {
                        "S3Uri": "s3://b/e",
                        "LocalPath": "/opt/ml/processing/e",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        }
    }
    files = (PropertyFile("Report", "evaluation", "evaluation.json"),)
    step = Step("Eval", "Processing", arguments=plain(arguments), property_files=files)
    assert make(step).run()["property_files"] == {"Report": "s3://b/e/evaluation.json"}


@pytest.mark.parametrize("rate", [0.2, 0.3])
def test_condition_outputs_its_outcome(rate: float, make: Make, record: Find) -> None:
    check = ConditionStep("Check", "Condition", conditions=(equals(parameter("Rate"), rate),))
    reader = Step("Use", "Model", arguments=plain([properties_of("Check").Outcome]))
    outputs = make(check, references=references_to("Check", (check, reader))).run()
    holds = rate == 0.2
    compared = {"left": {"value": 0.2, "source": "parameter Rate"}, "right": {"value": rate}}
    assert outputs == {
        "outcome": holds,
        "conditions": [{"type": "Equals", **compared, "holds": holds}],
        "properties": {"Outcome": str(holds)},
    }
    assert outputs_of(record("Check"))["outcome"] is (rate == 0.2)


def test_empty_condition_holds(make: Make) -> None:
    assert make(ConditionStep("Check", "Condition")).run() == {"outcome": True}


def test_fail_step_fails_with_its_message(make: Make, record: Find) -> None:
    message = join(" ", "Execution failed due to MSE >", parameter("Rate"))
    with pytest.raises(StepFailed) as failed:
        make(Step("Stop", "Fail", arguments=plain({"ErrorMessage": message}))).run()
    assert str(failed.value) == record("Stop").reason == "Execution failed due to MSE > 0.2"
    with pytest.raises(StepFailed, match=r"^$"):
        make(Step("Stop", "Fail"), generation=1).run()


@pytest.mark.parametrize("type_", [*UNPUBLISHED, "Futuristic"])
def test_type_without_published_definition_fails_with_reason(make: Make, type_: str) -> None:
    reason = UNPUBLISHED.get(type_, "an unknown type")
    with pytest.raises(NotRunnable) as failed:
        make(Step("Call", type_, arguments=plain({"Query": 1}))).run()
    assert str(failed.value) == (
        f"sagebridge cannot run steps of type {type_} (step 'Call': {reason})"
    )


def test_default_role_of_step_then_backend(
    make: Make, backend: FakeBackend, aws: FakeSageMaker
) -> None:
    arguments = {name: value for name, value in ARGUMENTS["Training"].items() if name != "RoleArn"}
    step = Step("Train", "Training", arguments=plain(arguments))
    backend.default_role = "arn:aws:iam::111122223333:role/backend"
    make(step).run()
    make(step, role="arn:aws:iam::111122223333:role/operator", generation=1).run()
    make(training(), role="arn:aws:iam::111122223333:role/operator", generation=2).run()
    roles = [request["RoleArn"].rpartition("/")[2] for request in aws.called("create_")]
    assert roles == ["backend", "operator", "r"]


def test_odd_step_name_stays_in_its_records_folder(
    make: Make, records: ExecutionRecords, tmp_path: Path
) -> None:
    for name in ("../../out", "..", "a/b", "ü", "%2F"):
        step = Step(name, "Fail", arguments=plain({"ErrorMessage": name}))
        with pytest.raises(StepFailed):
            make(step).run()
    assert set(records.steps(EXECUTION.id)) == {"../../out", "..", "a/b", "ü", "%2F"}
    folders = {path.parent.parent for path in tmp_path.rglob("*.json")}
    assert folders == {tmp_path / EXECUTION.id / "steps"}
