"""Steps in hand-written DAGs: outputs of tasks as arguments, mapping, and whole pipelines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

import sagebridge
from sagebridge.authoring.pipeline_page import page
from sagebridge.errors import ParameterError
from sagebridge.model.conditions import equals, greater_than
from sagebridge.model.expressions import (
    current_item,
    execution,
    join,
    parameter,
    plain,
    template,
)
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge_operators.airflow import (
    ConditionOperator,
    PipelineTaskGroup,
    ProcessingOperator,
)
from sagebridge_operators.airflow.pipeline_group import InvalidDefinition
from tests.airflow.test_dag import bag_of, served
from tests.airflow.test_parse import parsed
from tests.dagtest import FinishedRun, new_id, play
from tests.fakes import FakeBackend, FakeSageMaker, Plan
from tests.lifecycle.conftest import ARGUMENTS
from tests.shapes import fail, model, training

pytestmark = [pytest.mark.airflow]
PAGE = Path(__file__).parent.parent.parent / "docs" / "hand-written.md"
DAYS = [datetime(2027, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
AGES = Pipeline(
    name="ages",
    parameters=(
        Parameter("InputData", "String"),
        Parameter("Instances", "Integer", 1),
        Parameter("Limit", "Float", 0.5),
    ),
    steps=(
        model("Prepare", Containers=[{"Image": "i", "ModelDataUrl": parameter("InputData")}]),
        training(
            "Train",
            depends_on=["Prepare"],
        ),
        ConditionStep(
            "Check",
            conditions=(greater_than(parameter("Limit"), 0.1),),
            depends_on=["Train"],
            if_steps=(model("Keep", "Prepare"),),
            else_steps=(fail("Stop", join(" ", "limit", parameter("Limit"))),),
        ),
    ),
)


def request(*arguments: Any) -> dict[str, Any]:
    container = {"ImageUri": "image", "ContainerArguments": list(arguments)}
    return {**ARGUMENTS["Processing"], "AppSpecification": container}


def sent(aws: FakeSageMaker) -> list[list[str]]:
    """The arguments of the processing jobs, in the order of their creation."""
    jobs = aws.called("create_processing_job")
    return [one["AppSpecification"]["ContainerArguments"] for one in jobs]


def group_of(pipeline: Any = AGES, *, dag_id: str = "d", **given: Any) -> PipelineTaskGroup:
    given.setdefault("parameters", {"InputData": "s3://b/x"})
    with DAG(dag_id, schedule=None):
        return PipelineTaskGroup(pipeline, **given)


def test_outputs_of_tasks_are_arguments_at_any_depth(aws: FakeSageMaker) -> None:
    with DAG(new_id(), schedule=None) as dag:

        @task
        def counted() -> int:
            return 2

        @task
        def whole() -> dict[str, Any]:
            return request("whole")

        @task(multiple_outputs=True)
        def facts() -> dict[str, Any]:
            return {"day": "monday", "rows": 7}

        many: Any = facts()
        arguments = request(many["day"], join("-", "x", many["rows"]), template("{{ ds[:2] }}"))
        cluster = {**arguments["ProcessingResources"]["ClusterConfig"], "InstanceCount": counted()}
        arguments["ProcessingResources"] = {"ClusterConfig": cluster}
        step = ProcessingOperator(task_id="step", arguments=arguments)
        yes = ProcessingOperator(task_id="yes", arguments=whole())
        no = ProcessingOperator(task_id="no", arguments=request("no"))
        ConditionOperator(
            task_id="check",
            conditions=[equals(many["rows"], 7)],
            if_steps=[yes],
            else_steps=[no],
            depends_on=[step],
        )
    assert served(dag).get_task("step").upstream_task_ids == {"facts", "counted"}
    played = play(dag)
    assert played.states["yes"] == "success"
    assert played.states["no"] == "skipped"
    assert sent(aws) == [["monday", "x-7", "20"], ["whole"]]
    first, _ = aws.called("create_processing_job")
    assert first["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2


def test_output_that_is_not_json_fails_the_step(aws: FakeSageMaker) -> None:
    with DAG(new_id(), schedule=None) as dag:

        @task
        def day() -> Any:
            return datetime(2027, 1, 1, tzinfo=UTC)

        ProcessingOperator(task_id="step", arguments=request(day()))
    played = play(dag)
    assert played.states["step"] == "failed"
    reason = played.xcom("step", "failure_reason")
    assert "ti.xcom_pull(task_ids='day', key='return_value')" in reason
    assert "datetime" in reason.lower()
    assert not sent(aws)


def test_partial_arguments_and_expand_kwargs_take_outputs(aws: FakeSageMaker) -> None:
    with DAG(new_id(), schedule=None) as dag:

        @task
        def image() -> str:
            return "own"

        shared = {**request("a"), "AppSpecification": {"ImageUri": image()}}
        roles = [{"region_name": "eu-west-1"}, {"region_name": "us-east-1"}]
        ProcessingOperator.partial(task_id="step", arguments=shared).expand_kwargs(roles)
    assert play(dag).state == "success"
    assert served(dag).get_task("step").upstream_task_ids == {"image"}
    jobs = aws.called("create_processing_job")
    assert [one["AppSpecification"] for one in jobs] == [{"ImageUri": "own"}] * 2


def test_outputs_of_a_step_are_assets(aws: FakeSageMaker) -> None:
    def output(name: str, uri: Any) -> dict[str, Any]:
        s3 = {"S3Uri": uri, "LocalPath": f"/opt/ml/{name}", "S3UploadMode": "EndOfJob"}
        return {"OutputName": name, "S3Output": s3}

    later = join("/", "s3://b", execution.pipeline_execution_id)
    outputs = {"Outputs": [output("known", "s3://b/known"), output("later", later)]}
    arguments = {**request("a"), "ProcessingOutputConfig": outputs}
    with DAG(new_id(), schedule=None) as dag:
        step = ProcessingOperator(task_id="step", arguments=arguments, output_assets=True)
        ProcessingOperator(task_id="plain", arguments=arguments)
    assert [getattr(one, "uri", one.name) for one in step.outlets] == [
        "s3://b/known",
        f"{dag.dag_id}.step",
    ]
    assert not dag.get_task("plain").outlets
    played = play(dag)
    assert played.state == "success"
    query = "select a.uri from asset_event e join asset a on a.id = e.asset_id"
    query += " where e.source_dag_id = ?"
    found = {uri for (uri,) in played.select(query, dag.dag_id)}
    assert found == {"s3://b/known", f"s3://b/{played.execution}"}


@pytest.mark.airflow31
def test_plain_string_with_a_template_warns_at_parse(tmp_path: Path) -> None:
    bag = parsed(
        tmp_path,
        """
with DAG("d"):
    ModelOperator(task_id="fit", arguments={**REQUEST, "ModelName": "{{ ds }}"})
    ModelOperator(task_id="other", arguments={**REQUEST, "ModelName": template("{{ ds }}")})
""",
    )
    assert not bag.import_errors
    (warnings,) = bag.captured_warnings.values()
    (warning,) = (one for one in warnings if "template(" in one)
    assert "by_hand.py:" in warning
    assert "task 'fit': the step gets '{{ ds }}' unchanged" in warning
    assert warning.endswith("use template('{{ ds }}')")


@pytest.mark.airflow31
def test_group_has_the_tasks_and_edges_of_its_pipeline() -> None:
    with DAG("d", schedule=None) as dag:

        @task
        def before() -> str:
            return "s3://b/x"

        @task
        def after(uri: str) -> None: ...

        data: Any = before()
        one = PipelineTaskGroup(AGES, parameters={"InputData": data}, deferrable=True)
        two = PipelineTaskGroup(AGES, group_id="two", parameters={"InputData": "s3://b/y"})
        output: Any = one["Train"].output
        two >> after(output["model_artifact"])
        one >> two
    tasks = {each.task_id: each for each in served(dag).tasks}
    assert tasks["ages.Prepare"].upstream_task_ids == {"before"}
    assert tasks["ages.Check"].upstream_task_ids == {"ages.Train"}
    assert tasks["ages.done"].upstream_task_ids == {"ages.Check", "ages.Keep", "ages.Stop"}
    assert tasks["two.Prepare"].upstream_task_ids == {"ages.done"}
    assert tasks["after"].upstream_task_ids == {"ages.Train", "two.done"}
    assert one["Train"].step.name == "ages-Train"
    assert one["Train"].deferrable
    assert two["Train"].step.engine.group == ("two",)
    # Groups of Airflow 3.1 have no documentation.
    assert getattr(one, "doc_md", page(AGES)) == page(AGES)
    with pytest.raises(KeyError, match=r"no step 'train' \(did you mean 'Train'\?\)"):
        one["train"]


@pytest.mark.parametrize(
    ("limit", "state"), [(0.5, "success"), (template("{{ '0.3' }}"), "success"), (0.0, "failed")]
)
def test_tasks_after_a_group_run_unless_a_step_failed(
    aws: FakeSageMaker, limit: Any, state: str
) -> None:
    with DAG(new_id(), schedule=None) as dag:

        @task
        def after() -> None: ...

        values = {"InputData": template("s3://b/{{ ds[:3] }}"), "Limit": limit}
        PipelineTaskGroup(AGES, parameters=values) >> after()
    played = play(dag)
    assert played.state == state
    assert played.states["after"] == ("success" if state == "success" else "upstream_failed")
    first, *_ = aws.called("create_model")
    assert first["Containers"][0]["ModelDataUrl"] == "s3://b/202"
    if state == "failed":
        assert played.xcom("ages.Stop", "failure_reason") == "limit 0.0"


def test_tasks_after_a_skipped_group_are_skipped(aws: FakeSageMaker) -> None:
    with DAG(new_id(), schedule=None) as dag:

        @task.short_circuit
        def wanted() -> bool:
            return False

        @task
        def after() -> None: ...

        gate: Any = wanted.override(ignore_downstream_trigger_rules=False)()
        gate >> PipelineTaskGroup(AGES, parameters={"InputData": "s3://b/x"}) >> after()
    assert set(play(dag).states.values()) == {"success", "skipped"}
    assert not aws.jobs


def test_loop_may_be_in_a_dag_twice(aws: FakeSageMaker) -> None:
    loop = ForEachStep(
        "Fan",
        items=parameter("Regions"),
        max_concurrency=2,
        body=(model("Score"),),
    )
    last = model("Last", after=("Fan",))
    pipeline = Pipeline(
        name="loop", parameters=(Parameter("Regions", "String"),), steps=(loop, last)
    )
    with DAG(new_id(), schedule=None) as dag:
        for name, regions in (("one", '["eu", "us"]'), ("two", '["ap"]')):
            PipelineTaskGroup(pipeline, group_id=name, parameters={"Regions": regions})
    played = play(dag)
    assert played.state == "success"
    assert len(aws.jobs) == 5
    assert {"one.Score", "two.Score", "one.Fan", "two.Last"} <= played.states.keys()


@pytest.mark.airflow31
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "parameter 'InputData' has no default"),
        ({"InputData": "x", "Instances": "two"}, "parameter 'Instances' is 'two', expected an Int"),
        ({"InputData": "x", "Limt": template("{{ ds }}")}, "unknown parameter 'Limt' (did you"),
    ],
)
def test_wrong_parameters_of_a_group_are_import_errors(given: Any, problem: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(problem)):
        group_of(parameters=given)


@pytest.mark.airflow31
def test_definition_file_is_found_next_to_the_dag_file(tmp_path: Path) -> None:
    (tmp_path / "ages.json").write_text(sagebridge.write(AGES, "sagemaker").text)
    (tmp_path / "bad.json").write_text('{"Version": "2020-12-01", "Steps": [{"Name": "A"}]}')
    text = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import PipelineTaskGroup

with DAG("d"):
    PipelineTaskGroup("%s.json", parameters={"InputData": "s3://b/x"})
"""
    (tmp_path / "good.py").write_text(text % "ages")
    (tmp_path / "wrong.py").write_text(text % "bad")
    bag = bag_of(tmp_path)
    assert "ages.Train" in bag.dags["d"].task_dict
    (error,) = bag.import_errors.values()
    assert "InvalidDefinition" in error
    assert "'Type'" in error
    with pytest.raises(InvalidDefinition, match="No such file"):
        group_of("missing.json")


@pytest.mark.airflow31
def test_ignored_settings_of_a_pipeline_in_a_group_warn() -> None:
    text = "task group 'ages': without effect in this DAG: its PipelineExperimentConfig"
    configured = sagebridge.Pipeline(
        name="ages", steps=AGES.steps, parameters=AGES.parameters, experiment_config={}
    )
    with pytest.warns(UserWarning, match=text):
        group_of(configured)


def page_dag() -> str:
    """The DAG file of the page, whose retries do not wait."""
    (block, *_) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(block).replace("timedelta(minutes=1)", "timedelta()")


def days_of(folder: Path) -> tuple[Any, list[FinishedRun]]:
    """The DAG of the page, and its runs of three days."""
    (folder / "nightly.py").write_text(page_dag())
    (folder / "ages.json").write_text(sagebridge.write(AGES, "sagemaker").text)
    bag = bag_of(folder)
    assert not bag.import_errors
    dag = bag.dags["nightly_ages"]
    assert "watch_failures" not in dag.task_dict
    return dag, [play(dag, at=day) for day in DAYS]


def test_dag_of_the_page_has_a_job_for_each_day_and_index(
    backend: FakeBackend, tmp_path: Path
) -> None:
    aws = backend.sagemaker
    artifact = {"ModelArtifacts": {"S3ModelArtifacts": "s3://b/m.tar.gz"}}
    aws.plans["Train"] = Plan(ending=artifact)

    aws.plans["clean"] = Plan(("Failed",))

    def recover() -> None:
        if any("clean" in name for name in aws.jobs):
            aws.plans.pop("clean", None)

    aws.after["create_processing_job"] = [recover] * 5
    _, runs = days_of(tmp_path)
    assert [run.state for run in runs] == ["success"] * 3
    days = [day.date().isoformat() for day in DAYS]
    cleaned = [one for one in sent(aws) if "--region" in one]
    # The first job failed and was started again.
    assert cleaned == [["--region", "eu", "--day", day] for day in [days[0], *days]]
    others = sorted(one[-1] for one in sent(aws) if "--region" not in one)
    assert others == sorted(["ada", "bob", "fish", "shell"] * 3)
    urls = [one["Containers"][0].get("ModelDataUrl") for one in aws.called("create_model")]
    assert [url for url in urls if url] == [f"s3://my-bucket/{day}/ages.csv" for day in days]
    for run in runs:
        steps = run.records.current(run.execution)
        assert sorted(one.index for one in steps if one.step == "customers") == [(0,), (1,)]
        names = [one.job.name for one in steps if one.job is not None]
        assert len(names) == len(set(names)) == 8
        assert run.xcom("report") == f"{run.xcom('prepare.clean', 'job_name')} s3://b/m.tar.gz"


@pytest.mark.airflow31
def test_hand_written_dag_is_read_as_a_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        """
from airflow.sdk import DAG, task
from sagebridge_operators.airflow import *
from sagebridge_operators.airflow import PipelineTaskGroup

with DAG("own", schedule=None):
    @task
    def upload():
        return "s3://b/x"

    @task
    def report(artifact, job):
        return artifact

    first = ModelOperator(
        task_id="First",
        arguments={
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/r",
            "Containers": [{"Image": "i", "ModelDataUrl": upload()}],
        },
    )
    ages = PipelineTaskGroup(
        "ages.json", parameters={"InputData": upload(), "Instances": template("{{ ds }}")}
    )
    output = ages["Train"].output
    first >> ages >> report(output["model_artifact"], output["job_name"])
"""
    )
    (tmp_path / "ages.json").write_text(sagebridge.write(AGES, "sagemaker").text)
    reading = sagebridge.read(str(file))
    assert not reading.losses
    steps = {one.name: one for one in walk(reading.pipeline)}
    train = steps["ages-Train"]
    assert train.engine.group == ("ages",)
    assert train.dependencies == ("ages-Prepare",)
    url = steps["ages-Prepare"].arguments["Containers"][0]["ModelDataUrl"]
    assert url.text == "Steps.upload__1.return_value"
    args = [one.text for one in steps["report"].arguments["args"]]
    assert args == [
        "Steps.ages-Train.ModelArtifacts.S3ModelArtifacts",
        "Steps.ages-Train.TrainingJobName",
    ]
    assert steps["report"].dependencies == ("ages-done",)
    assert steps["ages-done"].engine.trigger_rule == "none_failed_min_one_success"


def test_operator_mapped_over_known_requests_is_a_loop(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        """
from airflow.sdk import DAG, task
from sagebridge_operators.airflow import ModelOperator

def request(image):
    role = "arn:aws:iam::111122223333:role/r"
    return {"ExecutionRoleArn": role, "Containers": [{"Image": image}]}

with DAG("own", schedule=None):
    @task
    def requests():
        return [request("a"), request("b")]

    kinds = ModelOperator.partial(task_id="kinds", retries=1).expand(
        arguments=[request("fish"), request("shell")]
    )
    kinds >> ModelOperator.partial(task_id="more").expand(arguments=requests())
"""
    )
    reading = sagebridge.read(str(file))
    loop = reading.pipeline.step("kinds")
    assert isinstance(loop, ForEachStep)
    assert loop.items == ("fish", "shell")
    (body,) = loop.inner
    assert (body.name, body.type, body.engine.retries) == ("kinds-item", "Model", 1)
    assert body.arguments["Containers"] == ({"Image": plain(current_item)},)
    (lost,) = reading.losses
    assert lost.what.startswith("task more: its requests are only known at run time")
    assert lost.advice == "use a literal list, or a ForEachOperator"
