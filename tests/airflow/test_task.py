"""A sagebridge task in its DAG run: parameters, requests, errors, retries, visible data."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk import DAG, Param, TaskGroup, task
from botocore.exceptions import EndpointConnectionError

from sagebridge.model.conditions import equals
from sagebridge.model.expressions import (
    Get,
    execution,
    join,
    json_get,
    parameter,
    plain,
    properties_of,
)
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.step_settings import CacheConfig, PropertyFile
from sagebridge_operators.airflow import FailOperator, ModelOperator, StepOperator, build
from sagebridge_operators.run_errors import RecordsUnreachable
from tests.airflow.conftest import Run
from tests.attempts import job_of
from tests.dagtest import new_id, play
from tests.fakes import FakeBackend, FakeSageMaker, Plan, raises
from tests.shapes import fail, model

pytestmark = pytest.mark.airflow
ROLE = "arn:aws:iam::111122223333:role/r"
PARAMETERS = (
    Parameter("Text", "String", "0123"),
    Parameter("Whole", "Integer", 3),
    Parameter("Real", "Float", 6.0),
    Parameter("Yes", "Boolean", True),
    Parameter("Choice", "String", "b", ("a", "b")),
)


def processing(name: str, **arguments: Any) -> Step:
    """A Processing step with values of every type in its request."""
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    return Step(
        name,
        "Processing",
        arguments=plain(
            {
                "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": "image"},
                "ProcessingResources": {"ClusterConfig": cluster},
                **arguments,
            }
        ),
    )


def failure_reason(played: Any, task: str) -> str:
    return str(played.xcom(task, "failure_reason"))


@pytest.mark.airflow31
@pytest.mark.parametrize(
    ("conf", "values"),
    [
        (None, ["0123", "3", "6.0", "true", "b"]),
        ({"Text": "x", "Whole": 4, "Real": 1.5, "Yes": False}, ["x", "4", "1.5", "false", "b"]),
        ({"Real": 1, "Choice": "a"}, ["0123", "3", "1.0", "true", "a"]),
        ({"Whole": 2.0}, ["0123", "2", "6.0", "true", "b"]),
    ],
)
def test_parameters_keep_their_type_in_the_request(
    conf: Any, values: list[str], run: Run, aws: FakeSageMaker
) -> None:
    texts = [join("", parameter(one.name)) for one in PARAMETERS]
    step = processing("A", AppSpecification={"ImageUri": "i", "ContainerArguments": texts})
    played = run(step, parameters=PARAMETERS, conf=conf)
    assert played.state == "success"
    (request,) = aws.called("create_processing_job")
    assert request["AppSpecification"]["ContainerArguments"] == values


@pytest.mark.parametrize(
    ("conf", "values"),
    [(None, ["", "b"]), ({"Empty": None, "Any": None}, ["", ""]), ({"Empty": "x"}, ["x", "b"])],
)
def test_null_from_the_form_is_an_empty_string(
    conf: Any, values: list[str], run: Run, aws: FakeSageMaker
) -> None:
    empty = (Parameter("Empty", "String", ""), Parameter("Any", "String", "b", ("", "b")))
    texts = [parameter(one.name) for one in empty]
    step = processing("A", AppSpecification={"ImageUri": "i", "ContainerArguments": texts})
    assert run(step, parameters=empty, conf=conf).state == "success"
    (request,) = aws.called("create_processing_job")
    assert request["AppSpecification"]["ContainerArguments"] == values


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"Rael": 1.0}, ["unknown parameter 'Rael'", "did you mean 'Real'?"]),
        ({"Rael": 1.0, "Other": 1}, ["'Rael'", "'Other'"]),
    ],
)
def test_invalid_parameters_fail_before_any_job(
    conf: Any, words: list[str], run: Run, aws: FakeSageMaker
) -> None:
    played = run(model("A"), model("B", "A"), parameters=PARAMETERS, conf=conf)
    assert played.states == {"A": "failed", "B": "upstream_failed"}
    assert [word for word in words if word not in failure_reason(played, "A")] == []
    assert played.tries["A"] == 1
    assert not aws.calls


def test_missing_required_parameter_is_rejected(run: Run, aws: FakeSageMaker) -> None:
    needed = (Parameter("Needed", "Integer"),)
    with pytest.raises(Exception, match="Needed"):
        run(model("A"), parameters=needed)
    assert run(model("A"), parameters=needed, conf={"Needed": 1}).state == "success"
    assert len(aws.jobs) == 1


@pytest.mark.parametrize("conf", [{"Whole": "x"}, {"Choice": "c"}])
def test_airflow_rejects_invalid_params(conf: Any, run: Run, aws: FakeSageMaker) -> None:
    try:
        assert run(model("A"), parameters=PARAMETERS, conf=conf).state == "failed"
    except Exception as refused:  # noqa: BLE001 - the class differs between Airflow versions
        assert next(iter(conf)) in str(refused)  # noqa: PT017
    assert not aws.calls


def test_other_dag_params_are_ignored(
    backend: FakeBackend,
) -> None:
    params: Any = {
        "Name": Param("x", type="string"),
        "Days": Param(["mon"], type="array"),
        "Maybe": Param(None, type=["null", "string"]),
        "Plain": 5,
    }
    arguments = {"ExecutionRoleArn": ROLE, "Containers": [{"Image": parameter("Name")}]}
    with DAG(new_id(), schedule=None, params=params) as dag:
        ModelOperator(task_id="A", arguments=arguments)
    assert play(dag, {"Days": ["tue"], "Plain": 6}).state == "success"
    (request,) = backend.sagemaker.called("create_model")
    assert request["Containers"][0]["Image"] == "x"


@pytest.mark.airflow31
def test_definition_strings_are_not_templates(run: Run, aws: FakeSageMaker) -> None:
    text = "{{ 7 * 7 }} {{ params.Text }} {% raw %} ${Text}"
    step = processing(
        "A",
        AppSpecification={
            "ImageUri": "i",
            "ContainerArguments": [text, join("", "{{ 7 * 7 }}", parameter("Text"))],
        },
        Environment={"T": text},
    )
    conf = {"Text": "{{ 7 * 7 }}"}
    played = run(step, fail("B", text), parameters=PARAMETERS, conf=conf)
    (request,) = aws.called("create_processing_job")
    assert request["AppSpecification"]["ContainerArguments"] == [text, "{{ 7 * 7 }}{{ 7 * 7 }}"]
    assert request["Environment"] == {"T": text}
    assert failure_reason(played, "B") == text


@pytest.mark.airflow31
def test_rendered_view_shows_masked_request(
    run: Run, aws: FakeSageMaker, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    step = processing(
        "A",
        Environment={"TOKEN": "hunter2"},
        StoppingCondition={"MaxRuntimeInSeconds": parameter("Whole")},
    )
    played = run(step, parameters=PARAMETERS)
    shown = played.rendered("A")["request"]
    (request,) = aws.called("create_processing_job")
    assert request["Environment"] == {"TOKEN": "hunter2"}
    assert shown == {**request, "Environment": {"TOKEN": "***"}}
    out = capfd.readouterr()
    for text in (played.everything(), caplog.text, out.out, out.err, repr(played.steps)):
        assert "hunter2" not in text
    assert "TOKEN" in out.out + out.err + caplog.text


@pytest.mark.airflow31
def test_outputs_reach_downstream_steps(run: Run, aws: FakeSageMaker, backend: FakeBackend) -> None:
    output = {"S3Uri": "s3://b/e", "LocalPath": "/opt/ml/processing/e", "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "report", "S3Output": output}]}
    evaluate = processing("Eval", ProcessingOutputConfig=outputs)
    evaluate = Step(
        "Eval",
        "Processing",
        arguments=evaluate.arguments,
        property_files=(PropertyFile("Report", "report", "evaluation.json"),),
    )
    uri = properties_of("Eval").ProcessingOutputConfig.Outputs["report"].S3Output.S3Uri
    backend.objects["s3://b/e/evaluation.json"] = b'{"mse": 4.5, "again": "0123"}'
    played = run(
        evaluate,
        ConditionStep(
            "Check",
            "Condition",
            conditions=(equals(json_get("Eval", "Report", "mse"), 4.5),),
            if_steps=(
                model(
                    "Use",
                    Tags=[
                        {"Key": "uri", "Value": uri},
                        {"Key": "id", "Value": execution.pipeline_execution_id},
                        {"Key": "again", "Value": json_get("Eval", "Report", "again")},
                    ],
                ),
            ),
        ),
    )
    assert played.state == "success"
    (request,) = aws.called("create_model")
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags == {"uri": "s3://b/e", "id": played.execution, "again": "0123"}
    assert played.xcom("Eval")["property_files"] == {"Report": "s3://b/e/evaluation.json"}
    assert job_of(played.steps["Use"]).name == request["ModelName"]


def test_experiment_variables(run: Run) -> None:
    config = {"ExperimentName": join("-", "exp", parameter("Text"))}
    names = [Get.parse(f"PipelineExperimentConfig.{one}Name") for one in ("Experiment", "Trial")]
    message = join(" ", *names, execution.pipeline_name)
    pipeline = Pipeline(
        steps=(fail("A", message),),
        parameters=PARAMETERS,
        experiment_config=plain(config),
        name="abalone",
    )
    played = run(pipeline)
    assert failure_reason(played, "A") == f"exp-0123 {played.execution} abalone"


def test_cached_step_is_shown(run: Run, aws: FakeSageMaker) -> None:
    cached = replace(processing("A"), cache_config=CacheConfig(True, "P1D"))
    reader = model("B", Tags=[{"Key": "job", "Value": properties_of("A").ProcessingJobName}])
    first, second = run(cached), run(cached, reader)
    assert first.state == second.state == "success"
    (request,) = aws.called("create_processing_job")
    (read,) = aws.called("create_model")
    assert read["Tags"][0]["Value"] == request["ProcessingJobName"]
    source = f"{first.execution}/A"
    assert second.xcom("A", "cached_from") == source
    assert second.xcom("A", "job_name") == request["ProcessingJobName"]
    assert source in str(second.rendered("A"))
    assert first.xcom("A", "cached_from") is None


def test_type_that_needs_aws_is_rejected_before_the_first_local_job(
    run: Run, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Step(
        "Call", "EMR", depends_on=("A",), arguments=plain({"ClusterId": "j", "StepConfig": {}})
    )
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    played = run(model("A"), call)
    assert failure_reason(played, "A") == (
        "pipeline 'shape' was not started, as it has errors: sagebridge cannot run "
        "on this machine: steps of type EMR, as they need Amazon EMR (step 'Call')"
    )
    assert not aws.calls


def test_pipeline_that_cannot_run_is_rejected_at_its_first_task(
    run: Run, aws: FakeSageMaker
) -> None:
    call = Step("Call", "Athena", arguments=plain({"x": 1}))
    jar = {"ClusterId": "j-1", "StepConfig": {"HadoopJarStep": {"Jar": "s3://b/j.jar"}}}
    emr = Step("Not", "Glue", arguments=plain(jar), depends_on=("A",))
    check = ConditionStep(
        "Check", "Condition", depends_on=("A",), conditions=(equals(1, 2),), if_steps=(emr,)
    )
    played = run(model("A"), model("B", "A"), check, call, description="Nightly")
    assert played.states["A"] == "failed"
    assert failure_reason(played, "A") == (
        "pipeline 'shape' was not started, as it has errors: sagebridge cannot run "
        "steps of type Glue (step 'Not': an unknown type); steps of type Athena (step 'Call': "
        "no definition of such a step is published, by AWS or in its SDK)"
    )
    assert played.tries["A"] == 1
    assert not aws.calls
    assert "cannot-run" in played.dag.tags
    assert "steps of type Athena (step 'Call'" in str(played.dag.doc_md)


@pytest.mark.airflow31
@pytest.mark.parametrize(("looks", "tries"), [(0, 2), (2, 1)], ids=["without a job", "looking"])
def test_lost_connection_starts_no_second_job(
    looks: int, tries: int, run: Run, aws: FakeSageMaker
) -> None:
    """Once the job exists, the same task keeps looking at it."""
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.plans["A"] = Plan(("InProgress", "InProgress", "Completed"))
    looking = [lambda: None] * looks
    aws.before["describe_processing_job"] = [*looking, raises(lost)]
    played = run(processing("A"))
    assert played.state == "success"
    assert played.tries == {"A": tries}
    assert len(aws.called("create_processing_job")) == 1


@pytest.mark.airflow31
def test_retry_after_outage_finds_the_job(run: Run, aws: FakeSageMaker) -> None:
    aws.plans["A"] = Plan(("InProgress", "InProgress", "Completed"))
    aws.before["describe_processing_job"] = [lambda: None] * 2 + [raises(OSError("no space"))]
    played = run(processing("A"))
    assert played.state == "success"
    assert played.tries == {"A": 2}
    assert len(aws.called("create_processing_job")) == 1


@pytest.mark.airflow31
def test_records_outage_is_retried(run: Run, aws: FakeSageMaker) -> None:
    unreachable = RecordsUnreachable("x.json", "s3://records", "SlowDown")
    aws.before["describe_processing_job"] = [raises(unreachable)]
    played = run(processing("A"))
    assert played.state == "success"
    assert played.tries == {"A": 2}
    assert len(aws.called("create_processing_job")) == 1


def test_last_try_records_the_error(run: Run, aws: FakeSageMaker) -> None:
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.before["describe_processing_job"] = [raises(lost)] * 60
    played = run(processing("A"))
    assert played.states == {"A": "failed"}
    assert played.tries == {"A": 3}
    assert played.steps["A"].state == "Failed"
    assert "Could not connect" in played.steps["A"].reason


def test_kill_before_start_creates_nothing(backend: FakeBackend) -> None:
    dag = build(Pipeline(steps=(processing("A"), model("B", after=("A",)))), dag_id=new_id())
    task = dag.get_task("A")
    assert isinstance(task, StepOperator)
    task.on_kill()
    played = play(dag)
    assert played.states == {"A": "failed", "B": "upstream_failed"}
    assert played.steps["A"].state == "Stopped"
    assert not backend.sagemaker.jobs


@pytest.mark.airflow31
def test_kill_while_waiting_stops_the_job(backend: FakeBackend) -> None:
    aws = backend.sagemaker
    aws.plans["A"] = Plan(("InProgress",), ("Stopping", "Stopped"))
    aws.before["describe_processing_job"] = [
        lambda: None,
        lambda: os.kill(os.getpid(), signal.SIGTERM),
    ]
    played = play(build(Pipeline(steps=(processing("A"),)), dag_id=new_id()))
    assert played.states == {"A": "failed"}
    assert len(aws.called("stop_processing_job")) == 1
    assert played.steps["A"].state == "Stopped"


def test_record_has_the_connection_without_proxies(backend: FakeBackend) -> None:
    """Another process needs it to stop the job."""
    proxies = {"https": "http://me:secret@proxy"}
    with DAG(new_id(), schedule=None) as dag, TaskGroup("group"):
        ModelOperator(
            task_id="A",
            arguments={"PrimaryContainer": {"Image": "i"}, "ExecutionRoleArn": ROLE},
            aws_conn_id="team",
            region_name="eu-west-3",
            botocore_config={"proxies": proxies},
        )
    played = play(dag)
    (attempt,) = played.records.attempts(played.execution)
    assert attempt.settings == {
        "task_id": "group.A",
        "aws_conn_id": "team",
        "region_name": "eu-west-3",
    }


def test_same_step_in_two_runs_has_two_jobs(run: Run, aws: FakeSageMaker) -> None:
    first, second = run(processing("A")), run(processing("A"))
    assert first.execution != second.execution
    assert len(aws.jobs) == 2
    assert {job_of(first.steps["A"]).name, job_of(second.steps["A"]).name} == set(aws.jobs)


def test_pipeline_with_errors_starts_no_job(run: Run, aws: FakeSageMaker) -> None:
    typo = model("B", Containers=[{"Image": json_get("A", "typo", "image")}])
    played = run(model("A"), typo)
    assert played.states == {"A": "failed", "B": "upstream_failed"}
    assert failure_reason(played, "A") == (
        "pipeline 'shape' was not started, as it has errors: "
        "step B: step A has no property file 'typo' (it has none) [unknown-property-file]"
    )
    assert not aws.calls


def test_run_fails_with_its_step_despite_a_final_task(backend: FakeBackend) -> None:
    del backend

    def report() -> None:
        pass

    with DAG(new_id()) as dag:
        stop = FailOperator(task_id="stop", error_message="no")
        stop >> task(trigger_rule="all_done")(report)()
    played = play(dag)
    assert played.states == {"stop": "failed", "report": "success", "watch_failures": "failed"}
    assert played.state == "failed"
