"""Every argument of a DAG and of a task is carried, reported, or known to have no effect."""

from __future__ import annotations

import inspect

import pytest

from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.expressions import join, parameter
from sagebridge.model.losses import Loss
from tests.formats.airflow.conftest import ReadAll

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]

DAGS = """
from datetime import datetime, timedelta

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerModelOperator,
    SageMakerTrainingOperator,
)
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset, task, task_group
from sagebridge_operators.airflow import ModelOperator

CONFIG = {
    "ExecutionRoleArn": "arn:aws:iam::210987654321:role/serving",
    "PrimaryContainer": {"Image": "scorer:3", "ModelDataUrl": "s3://models/scorer.tar.gz"},
}
TRAINING = {
    "AlgorithmSpecification": {"TrainingImage": "trainer:3", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/out"},
    "ResourceConfig": {
        "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10
    },
    "RoleArn": "arn:aws:iam::210987654321:role/training",
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
}


def called(context):
    pass


# What a later version of the provider may add.
class _Later(SageMakerModelOperator):
    def __init__(self, *, kms_audit=None, **kwargs):
        super().__init__(**kwargs)


_Later.__module__ = "airflow.providers.amazon.aws.operators.sagemaker"
_Later.__name__ = "SageMakerModelOperator"


def model(task_id, **more):
    return SageMakerModelOperator(task_id=task_id, config=CONFIG, **more)


with DAG("unknown", default_args={"kms_audit": "on", "team": "ml"}):
    _Later(task_id="later", config=CONFIG)

with DAG("tasks", default_args={"retry_delay": timedelta(minutes=1)}):
    model("mail", email="ml@example.com")
    model("hooks", pre_execute=called, post_execute=called)
    model("worker", queue="gpu", executor_config={"KubernetesExecutor": {"image": "i"}})
    model("user", run_as_user="ml")
    model("until", end_date=datetime(2027, 1, 1))
    model("order", priority_weight=7, weight_rule="upstream", pool_slots=2, logger_name="x")
    model("documents", doc_json="{}", map_index_template="x")
    SageMakerTrainingOperator(
        task_id="polling",
        config=TRAINING,
        max_attempts=9,
        print_log=False,
        check_interval=5,
        action_if_job_exists="fail",
    )
    ModelOperator(task_id="local", arguments=CONFIG, backend="local")
    ModelOperator(
        task_id="again", arguments=CONFIG, retries=2, retry_delay=timedelta(minutes=2)
    )
    ModelOperator(task_id="once", arguments=CONFIG, retries=0, retry_delay=60)
    EmptyOperator(task_id="done", outlets=[Asset("s3://done")], on_success_callback=called)
    EmptyOperator(task_id="quiet", retries=4, execution_timeout=timedelta(hours=1))

with DAG(
    "dag",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    end_date=datetime(2027, 1, 1),
    catchup=True,
    max_active_runs=2,
    max_consecutive_failed_dag_runs=3,
    on_success_callback=called,
    jinja_environment_kwargs={"keep_trailing_newline": True},
    access_control={"ml": {"can_read"}},
    is_paused_upon_creation=True,
    dag_display_name="Nightly",
):
    model("m")

with DAG("plain", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    model("m", owner="ml", do_xcom_push=False, trigger_rule="all_success")

with DAG("cleanup"):
    model("work") >> model("clean").as_teardown()

with DAG("mapped"):

    @task_group
    def each(name):
        model("inside")
        ModelOperator(task_id="own", arguments=CONFIG)

    each.expand(name=["a", "b"])
    model("outside")

def prints(word, **context):
    print(word, context["params"])


def since(prev_start_date_success=None):
    print(prev_start_date_success)


def loads(**context):
    return list(context["inlet_events"])


with DAG("context"):
    PythonOperator(task_id="since", python_callable=since)
    PythonOperator(task_id="loads", python_callable=loads)
    BashOperator(task_id="echo", bash_command="echo {{ prev_end_date_success }}")

with DAG("params", params={"a": "dag", "b": 2}):
    text = "{{ params.a }} {{ params.b }} {{ params.c }}"
    BashOperator(task_id="filled", bash_command=f"echo {text}", params={"a": "task", "c": 5})
    BashOperator(task_id="upper", bash_command="echo {{ params.c | upper }}", params={"c": "x"})
    PythonOperator(task_id="code", python_callable=prints, op_args=["x"], params={"c": "x"})

with DAG("decorators"):

    @task.virtualenv(requirements=["scikit-learn"])
    def isolated():
        return 1

    @task.sensor(poke_interval=5)
    def waits():
        return True

    @task.run_if(lambda context: True)
    @task
    def guarded():
        return 1

    isolated(), waits(), guarded()
"""


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(DAGS)


def losses(found: FileReading, of: str) -> list[Loss]:
    return [one for one in found.losses if one.what.startswith(f"{of}: ")]


def codes(found: FileReading, of: str) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in losses(found, of)]


def test_every_argument_of_airflow_has_a_row() -> None:
    from airflow.sdk import DAG, BaseOperator

    from sagebridge.formats.airflow.option_table import DAG_ARGUMENTS, TASK_ARGUMENTS

    assert inspect.signature(DAG).parameters.keys() <= DAG_ARGUMENTS.keys()
    assert inspect.signature(BaseOperator).parameters.keys() <= TASK_ARGUMENTS.keys()


def test_every_argument_of_a_provider_operator_is_known() -> None:
    from importlib import import_module

    from airflow.sdk import BaseOperator

    from sagebridge.formats.airflow.option_table import TASK_ARGUMENTS
    from sagebridge.formats.airflow.provider import KINDS, PACKAGE
    from sagebridge.formats.airflow.provider.aws_table import ROWS
    from sagebridge.model.connections import AIRFLOW_DEFAULTS

    modules = ("emr", "lambda_function", "sagemaker", "sqs")
    operators = {}
    for module in modules:
        operators.update(vars(import_module(f"{PACKAGE}{module}")))
    for name, kind in KINDS.items():
        if name in ROWS and name != "LambdaInvokeFunctionOperator":
            continue  # test_aws_table.py
        given: set[str] = set()
        for cls in operators[name].__mro__[: operators[name].__mro__.index(BaseOperator)]:
            given.update(inspect.signature(vars(cls).get("__init__", cls)).parameters)
        read = {*kind.reads, *AIRFLOW_DEFAULTS, "region", "self", "args"}
        assert given - read - TASK_ARGUMENTS.keys() == set(), name


def test_unknown_argument_of_an_operator_is_reported(dags: dict[str, FileReading]) -> None:
    (lost,) = losses(dags["unknown"], "task later")
    assert (lost.code, lost.severity) == ("engine-option", "changed")
    assert "kms_audit='on' has no effect: sagebridge does not know this argument" in lost.what
    (unused,) = losses(dags["unknown"], "the DAG")
    assert (unused.severity, "team" in unused.what) == ("info", True)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("mail", [("callback", "dropped")]),
        ("hooks", [("callback", "dropped")] * 2),
        ("worker", [("engine-option", "changed")] * 2),
        ("user", [("engine-option", "changed")]),
        ("until", [("schedule", "dropped")]),
        ("order", [("engine-option", "info")]),
        ("documents", [("engine-option", "info")]),
        ("polling", [("timeout", "dropped"), ("engine-option", "info")]),
        ("local", [("engine-option", "changed")]),
        ("again", []),
        ("once", []),
        ("done", [("asset", "dropped")]),
        ("quiet", []),
    ],
)
def test_argument_of_a_task_is_reported_at_its_line(
    task: str, expected: list[tuple[str, str]], dags: dict[str, FileReading]
) -> None:
    found = losses(dags["tasks"], f"task {task}")
    assert [(one.code, one.severity) for one in found] == expected
    if found and f'Operator(task_id="{task}"' in DAGS:
        line = int(found[0].place.rpartition(":")[2])
        assert f'task_id="{task}"' in DAGS.splitlines()[line - 1]


def test_argument_of_a_dag_is_reported(dags: dict[str, FileReading]) -> None:
    found = [one.what.removeprefix("the DAG: ") for one in losses(dags["dag"], "the DAG")]
    assert found == [
        "options that only Airflow uses: access_control, dag_display_name",
        "catchup=True has no effect: past intervals are not run",
        "max_consecutive_failed_dag_runs=3 has no effect: failed executions do not pause it",
        (
            "jinja_environment_kwargs={'keep_trailing_newline': True}: "
            "only templates in {{ }} are read"
        ),
    ]
    (schedule,) = dags["dag"].pipeline.schedules
    assert (schedule.start, schedule.end) == ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert not schedule.enabled
    assert losses(dags["plain"], "the DAG") == losses(dags["plain"], "task m") == []


def test_settings_of_both_engines_are_carried(dags: dict[str, FileReading]) -> None:
    tasks, dag = dags["tasks"].pipeline, dags["dag"].pipeline
    given = {step.name: step.engine.given for step in tasks.steps}
    assert given["again"] == {"retries": 2, "retry_delays": (120,)}
    assert given["once"] == {}
    assert given["order"] == {"priority": 7}
    assert given["quiet"] == {"retries": 4, "retry_delays": (60,), "timeout": 3600}
    assert [(hook.event, hook.function.name) for hook in given["done"]["hooks"]] == [
        ("success", "called")
    ]
    assert dag.engine.concurrency == 2
    assert [hook.event for hook in dag.engine.hooks] == ["success"]


def test_params_of_a_task_are_filled_in(dags: dict[str, FileReading]) -> None:
    found = dags["params"]
    filled = found.pipeline.step("filled")
    assert filled is not None
    assert filled.arguments["command"] == join("", "echo task ", parameter("b"), " 5")
    lost = [("task-params", "dropped")]
    assert [codes(found, f"task {one}") for one in ("filled", "upper", "code")] == [[], lost, lost]


def test_context_of_earlier_runs_is_reported(dags: dict[str, FileReading]) -> None:
    found = [codes(dags["context"], f"task {one}") for one in ("since", "loads", "echo")]
    assert found == [
        [("past-runs", "changed")],
        [("asset", "changed")],
        [("past-runs", "changed")],
    ]


def test_teardown_runs_after_the_success_of_its_setup(dags: dict[str, FileReading]) -> None:
    work, clean = dags["cleanup"].pipeline.steps
    assert (clean.dependencies, clean.engine.trigger_rule) == (
        (work.name,),
        "all_done_setup_success",
    )


def test_mapped_group_is_a_for_each(dags: dict[str, FileReading]) -> None:
    found = dags["mapped"]
    each, outside = found.pipeline.steps
    assert (each.type, [one.name for one in each.inner]) == ("ForEach", ["inside", "own"])
    assert outside.name == "outside"
    assert "mapped-task" not in [loss.code for loss in found.losses]


def test_decorators_of_airflow_are_reported(dags: dict[str, FileReading]) -> None:
    found = dags["decorators"]
    assert codes(found, "task isolated") == []
    waits = found.pipeline.step("waits")
    assert isinstance(waits, PythonStep)
    assert (waits.role, waits.engine.given) == ("sensor", {"poll_interval": 5})
    assert codes(found, "task guarded") == [("python-task", "dropped")]


LINES = """\
from datetime import datetime, timedelta
from airflow.sdk import DAG, Param, dag, task

SHARED = {
    "email": ["a@b.example"],
}


@dag(
    schedule="0 3 31 * *",
    catchup=True,
    start_date=datetime(2025, 1, 1),
    default_args={
        **SHARED,
        "depends_on_past": True,
    },
    params={
        "shop": Param("a", type="string", contentEncoding="base64"),
    },
    deadline=None,
    access_control={},
)
def decorated():
    @task
    def one():
        return 1

    one()


decorated()

with DAG(
    "plain",
    schedule=timedelta(minutes=7),
    fail_fast=True,
) as plain:

    @task
    def two():
        return 1

    two()
"""


def test_loss_of_a_dag_has_the_line_of_its_argument(read_all: ReadAll) -> None:
    found = {
        (dag.name, one.code): int(one.place.rpartition(":")[2])
        for dag in read_all(LINES).values()
        for one in dag.losses
        if one.code in ("callback", "past-runs", "param-rule", "schedule", "failure-handling")
    }
    assert found == {
        ("decorated", "callback"): 5,
        ("decorated", "schedule"): 11,
        ("decorated", "past-runs"): 15,
        ("decorated", "param-rule"): 18,
        ("plain", "failure-handling"): 36,
    }
