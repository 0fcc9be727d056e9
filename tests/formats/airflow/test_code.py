"""User functions and shell commands, carried between DAG files and flow files."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.checked_reading import read_checked
from sagebridge.errors import CodeOnlyError
from sagebridge.formats.prefect import reader
from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    CarriedStep,
    PythonStep,
    ShellStep,
    StubStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import Get, Member, Template, join, plain, template
from sagebridge.model.functions import Function
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.values import ABSENT
from tests.formats.airflow.conftest import HEAD, Read
from tests.pipelines import NUMBERS, ODD_TEXTS, STEP_NAMES

pytestmark = pytest.mark.airflow

DAG_FILE = (
    HEAD
    + '''
def prepare(bucket: str, rows: int = 10) -> dict[str, Any]:
    """Prepares.

    Rows of a bucket.
    """
    import shutil  # what copies

    # Each row is one text.
    text = f"""SELECT *
  FROM {bucket}"""
    print(f"preparing {rows} rows: {text} {shutil.__name__}")
    return {"path": f"s3://{bucket}/data", "rows": rows}


with DAG("mixed", schedule=None, params={"bucket": Param("b", type="string"), "rows": 10}):
    prep = PythonOperator(
        task_id="prep",
        python_callable=prepare,
        op_kwargs={"bucket": "{{ params.bucket }}", "rows": 5},
    )
    again = PythonOperator(task_id="again", python_callable=prepare, op_args=["other"])

    @task
    def measure(path):
        length = len(path)  # in characters
        return [length, -1.5, None, {"0123": True}]

    hello = BashOperator(
        task_id="hello",
        bash_command="echo hello $NAME in {{ params.bucket }}",
        env={"NAME": "{{ params.rows }}"},
        skip_on_exit_code=None,
    )
    measure("{{ ti.xcom_pull('prep')['path'] }}") >> hello
'''
)
FLOW = """
def prepare(bucket: str, rows: int = 10) -> dict[str, Any]:
    \"\"\"Prepares.

    Rows of a bucket.
    \"\"\"
    import shutil  # what copies

    # Each row is one text.
    text = f\"\"\"SELECT *
  FROM {bucket}\"\"\"
"""


@pytest.fixture(autouse=True)
def fail_on_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(path: Path) -> Any:
        raise AssertionError(f"{path} was traced, which executes it")

    monkeypatch.setattr(reader, "trace_flows", trace)


def write_without_losses(pipeline: Pipeline, to: str) -> str:
    text, losses = sagebridge.write(pipeline, to)
    assert losses == ()
    return text


def without_first_line(text: str) -> str:
    """A file without its first line, which names the source."""
    return text.partition("\n")[2]


def read_back(text: str, tmp_path: Path, name: str = "back.py") -> Pipeline:
    file = tmp_path / name
    file.write_text(text)
    pipeline, losses = sagebridge.read(file)
    assert losses == ()
    return pipeline


def function(pipeline: Pipeline, step: str) -> Any:
    """The function that a step calls, as a live object."""
    found = pipeline.step(step)
    assert isinstance(found, PythonStep)
    names: dict[str, Any] = {}
    exec(found.function.code, names)
    return names[found.function.name]


def test_translation_is_stable_after_one_round_trip(read: Read, tmp_path: Path) -> None:
    pipeline = read(DAG_FILE).pipeline
    flow, dag = write_without_losses(pipeline, "prefect"), write_without_losses(pipeline, "airflow")
    assert FLOW in flow
    assert (
        'prep = python("prep", prepare, kwargs={"bucket": parameter("bucket"), "rows": 5})' in flow
    )
    assert 'python("again", prepare, args=["other"])' in flow
    assert flow.count("def prepare(") == dag.count("def prepare(") == 1
    assert 'args=[prep.properties.return_value["path"]]' in flow
    assert 'task_id="prep",\n        python_callable=prepare,\n' in dag

    from_flow, from_dag = read_back(flow, tmp_path), read_back(dag, tmp_path)
    assert from_flow == pipeline
    assert from_dag == pipeline
    assert without_first_line(write_without_losses(from_flow, "airflow")) == without_first_line(dag)
    assert write_without_losses(from_dag, "prefect") == flow
    assert without_first_line(write_without_losses(from_flow, "prefect")) == without_first_line(
        flow
    )
    assert ("prep", "measure") in graph(from_flow).edges
    assert ("measure", "hello") in graph(from_flow).edges


def test_origins_are_lines_of_the_source_file(read: Read, tmp_path: Path) -> None:
    pipeline = read(DAG_FILE).pipeline
    flow = write_without_losses(pipeline, "prefect")
    line = 1 + flow[: flow.index("prep = python(")].count("\n")
    origins = {
        one.name: one.origin
        for one in walk(read_back(flow, tmp_path))
        if isinstance(one, CarriedStep)
    }
    assert origins["prep"] == f"{tmp_path}/back.py:{line}"
    file = tmp_path / "dag.py"
    file.write_text(
        DAG_FILE
        + "    from sagebridge_operators.airflow import ModelOperator\n"
        + "    ModelOperator(task_id='m', arguments={'PrimaryContainer': {'Image': 'i'}})\n"
    )
    places = [one.place for one in sagebridge.translate(file, "sagemaker").losses]
    assert places
    assert all(one.startswith(f"{file}:") for one in places)
    assert origins.keys() == {"prep", "again", "measure", "hello"}


def is_code(step: Step) -> bool:
    return isinstance(step, CarriedStep)


def test_names_in_a_file_do_not_collide(read: Read, tmp_path: Path) -> None:
    """Functions named like sagebridge functions, builtins, parameters, steps or each other."""
    pipeline = read(
        HEAD
        + """
def work(x):
    return x + 1

first = work

def work(x):
    return x * 10

with DAG("python", schedule=None, params={"rows": 10, "shell": 1}):
    @task
    def transform(depth):
        return 0 if depth == 0 else 1 + transform(depth - 1)

    @task
    def rows(x):
        return x

    @task
    def sum(x):
        return list(range(x))

    @task
    def python(x):
        return x

    PythonOperator(task_id="One", python_callable=first, op_args=[1])
    PythonOperator(task_id="work", python_callable=work, op_args=[2])
    sum(rows(transform(python(4))))
"""
    ).pipeline
    flow = write_without_losses(pipeline, "prefect")
    compile(flow, "flow.py", "exec")
    for text in (flow, write_without_losses(pipeline, "airflow")):
        back = read_back(text, tmp_path)
        assert (function(back, "One")(1), function(back, "work")(2)) == (2, 20)
        assert function(back, "transform")(3) == 3
        assert function(back, "sum")(2) == [0, 1]
        assert without_first_line(write_without_losses(back, "prefect")) == without_first_line(flow)
        defined = [one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)]
        assert len(set(defined)) == len(defined)
        needed = {"rows", "python"} if text == flow else set()
        names = {"rows", "sum", "transform", "python"}
        assert names.intersection(defined) == names - needed


def test_edits_in_a_flow_are_kept(read: Read, tmp_path: Path) -> None:
    flow = write_without_losses(read(DAG_FILE).pipeline, "prefect")
    edited = (
        flow.replace("return {", "rows += 1\n    return {")
        .replace('"rows": 5}', '"rows": rows}')
        .replace("append_env=True", "append_env=False")
        .replace('args=["other"]', 'args=["other"], depends_on=["hello"]')
    )
    pipeline = read_back(edited, tmp_path)
    assert function(pipeline, "prep")("x")["rows"] == 11
    assert pipeline.step("again").dependencies == ("hello",)  # type: ignore[union-attr]
    dag = write_without_losses(pipeline, "airflow")
    assert "rows += 1" in dag
    assert '"rows": parameter("rows")' in dag
    assert read_back(dag, tmp_path) == pipeline


def test_doc_md_becomes_the_description(read: Read, tmp_path: Path) -> None:
    text = """with DAG('d', schedule=None):
    a = BashOperator(task_id='a', bash_command='true', doc_md='Says.', skip_on_exit_code=None)
    @task
    def b():
        'Works.'
    b()
"""
    pipeline = read(HEAD + text).pipeline
    for one in (pipeline, read_back(write_without_losses(pipeline, "prefect"), tmp_path)):
        described = {step.name: step.description or "" for step in one.steps}
        assert described == {"a": "Says.", "b": ""}


def test_command_with_options_of_airflow_calls_the_library(read: Read) -> None:
    options = {
        "'exit 99'": {"skip_on_exit_code": (99,)},
        "'true', skip_on_exit_code=[3, 99]": {"skip_on_exit_code": (3, 99)},
        "'true', cwd='/tmp', env={'A': '1'}": {"cwd": "/tmp", "env": {"A": "1"}},
        "'true', output_processor=json.loads": {"as_json": True},
        "'true'": {},
        "'exit 99', skip_on_exit_code=None": {},
        "'echo 1995'": {},
    }
    lines = [
        f"    BashOperator(task_id='t{at}', bash_command={arguments})\n"
        for at, arguments in enumerate(options)
    ]
    found = read(f"{HEAD}with DAG('d', schedule=None):\n{''.join(lines)}")
    assert found.losses == ()
    for step, expected in zip(found.pipeline.steps, options.values(), strict=True):
        if not expected:
            assert isinstance(step, ShellStep)
            continue
        assert isinstance(step, PythonStep)
        assert step.function.name == "run_command"
        given = dict(step.arguments["kwargs"])
        assert given.pop("command") in ("exit 99", "true")
        assert given == expected


def test_limit_of_a_poke_does_not_limit_the_wait(read: Read) -> None:
    text = """from datetime import timedelta
def ready():
    return True

with DAG('d', schedule=None, default_args={"execution_timeout": timedelta(minutes=1)}):
    task.sensor(mode="reschedule", timeout=7200)(ready).override(task_id="again")()
    task.sensor(mode="poke", timeout=7200)(ready).override(task_id="held")()
"""
    found = read(HEAD + text)
    again, held = found.pipeline.steps
    assert again.engine.timeout is ABSENT
    assert (again.engine.poll_timeout, held.engine.timeout) == (7200, 60)
    (lost,) = [loss for loss in found.losses if loss.code == "timeout"]
    assert "task again" in str(lost)


def test_sensors_of_several_objects_call_the_library(read: Read) -> None:
    text = """
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor

with DAG("d", schedule=None):
    S3KeySensor(task_id="one", bucket_key="s3://data/a")
    S3KeySensor(task_id="two", bucket_name="data", bucket_key=["a", "{{ ds }}"], soft_fail=True)
    S3KeySensor(task_id="wild", bucket_key="s3://{{ var.value.b }}/*.csv", wildcard_match=True)
    SqsSensor(task_id="messages", sqs_queue="https://sqs/1/q", visibility_timeout=5)
    S3KeySensor(task_id="checked", bucket_key="s3://data/a", check_fn=len)
    SqsSensor(task_id="filtered", sqs_queue="https://sqs/1/q", message_filtering="jsonpath")
    S3KeySensor(task_id="account", bucket_key=["s3://b/a", "s3://b/b"], aws_conn_id="other")
"""
    found = read(HEAD + text)
    steps = {one.name: one for one in found.pipeline.steps}
    called = {
        name: (one.function.name, dict(one.arguments["kwargs"]))
        for name, one in steps.items()
        if isinstance(one, PythonStep)
    }
    assert called == {
        "two": ("objects_exist", {"keys": ("a", template("{{ ds }}")), "bucket": "data"}),
        "wild": (
            "objects_exist",
            {
                "keys": (join("", "s3://", template("{{ var.value.b }}"), "/*.csv"),),
                "wildcards": True,
            },
        ),
        "messages": (
            "messages_received",
            {"queue": "https://sqs/1/q", "count": 5, "batches": 1, "wait": 1, "visibility": 5},
        ),
    }
    assert (steps["two"].engine.soft_fail, steps["one"].type) == (True, "sagebridge.AwsCall")
    assert [one.what for one in found.losses if one.severity == "dropped"] == [
        f"task {name}: it {why}, so the task is dropped"
        for name, why in (
            ("checked", "looks at the objects with a function (check_fn)"),
            ("filtered", "filters messages (message_filtering)"),
            ("account", "calls AWS with its own connection (aws_conn_id)"),
        )
    ]


def test_own_macros_are_their_values_or_losses(read: Read) -> None:
    text = """with DAG('d', schedule=None, user_defined_macros={"team": "data", "twice": max},
         user_defined_filters={"shout": str.upper}):
    BashOperator(task_id='a', bash_command='echo {{ team }} {{ ds }}')
    BashOperator(task_id='b', bash_command='echo {{ twice(1) }}')
    BashOperator(task_id='c', bash_command='echo {{ ds | shout }}')
    BashOperator(task_id='e', bash_command='{% if team %}echo{% endif %}')
"""
    found = read(HEAD + text)
    assert found.pipeline.steps[0].arguments == shell_arguments(
        join("", "echo data ", Template("{{ ds }}")), None, False
    )
    kept = [step.name for step in found.pipeline.steps if not isinstance(step, StubStep)]
    assert kept == ["a"]
    lost = [str(loss) for loss in found.losses if loss.severity == "dropped"]
    wanted = ("task b: it uses the user-defined macro 'twice'", "filter 'shout'", "macro 'team'")
    assert all(part in message for part, message in zip(wanted, lost, strict=True))


def test_function_gets_the_whole_answer_about_a_job(read: Read, tmp_path: Path) -> None:
    text = """from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTuningOperator
@task
def best(result):
    return result["Tuning"]["BestTrainingJob"]["TrainingJobName"]

with DAG('d', schedule=None):
    best(SageMakerTuningOperator(task_id='tune', config={}).output)
"""
    pipeline = read(HEAD + text).pipeline
    answer = {"Tuning": Get("Steps", (Member("tune"),))}
    assert pipeline.steps[1].arguments == call_arguments((answer,), {})
    flow = sagebridge.write(pipeline, "prefect").text
    assert read_back(flow, tmp_path).steps[1] == pipeline.steps[1]


def test_docstring_names_the_source_format(read: Read, tmp_path: Path) -> None:
    pipeline = read(
        f"{HEAD}with DAG('d', schedule=None):\n    BashOperator(task_id='t', bash_command='true')"
    ).pipeline
    flow = write_without_losses(pipeline, "prefect")
    assert flow.startswith('"""d: a Prefect flow generated by sagebridge from an Airflow DAG."""')
    dag = write_without_losses(read_back(flow, tmp_path), "airflow")
    assert dag.startswith('"""d: an Airflow DAG generated by sagebridge from a Prefect flow."""')
    made = write_without_losses(Pipeline(steps=pipeline.steps, name="d"), "airflow")
    assert made.startswith('"""d: an Airflow DAG generated by sagebridge."""')


def test_command_keeps_its_environment(read: Read, tmp_path: Path) -> None:
    given = {"a": "env={}", "b": "env={'X': '1'}, append_env=True", "c": "append_env=True"}
    lines = (f'BashOperator(task_id="{one}", bash_command="env", {given[one]})' for one in given)
    text = "with DAG('d', schedule=None):\n    " + "\n    ".join(lines)
    pipeline = read(HEAD + text).pipeline
    expected: dict[str, dict[str, Any]] = {
        "a": {"command": "env", "env": {}},
        "b": {"command": "env", "env": {"X": "1"}, "append_env": True},
        "c": {"command": "env"},
    }
    for one in (pipeline, read_back(write_without_losses(pipeline, "prefect"), tmp_path)):
        assert {step.name: step.arguments for step in one.steps} == expected
        assert all(isinstance(step, ShellStep) for step in one.steps)


def test_odd_strings_and_names_are_unchanged(tmp_path: Path) -> None:
    names = [one for one in STEP_NAMES if len(one) < 60]
    values: tuple[Any, ...] = (
        *ODD_TEXTS,
        *NUMBERS,
        None,
        [],
        {},
        [[None]],
        {"{{ x }}": {"": ODD_TEXTS}},
    )
    code = Function("gather", "def gather(*a, **k):\n    return a")
    given = call_arguments(values, {one: one for one in (*ODD_TEXTS, "name", "args", "function")})
    env = {f"A{at}": one for at, one in enumerate(ODD_TEXTS)}
    command = shell_arguments(join("", *ODD_TEXTS), env, True)
    steps = [PythonStep.of(Step(one, PYTHON, plain(given)), code) for one in names[::2]]
    more = [ShellStep.of(Step(one, SHELL, plain(command))) for one in names[1::2]]
    pipeline = Pipeline(steps=(*steps, *more), name="odd")
    for to in ("airflow", "prefect"):
        assert read_back(write_without_losses(pipeline, to), tmp_path) == pipeline


def test_dag_of_carried_steps_is_rejected_for_sagemaker(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(DAG_FILE)
    assert not [one for one in sagebridge.validate(file) if one.severity == "error"]
    assert sagebridge.translate(file, "prefect").losses == ()
    with pytest.raises(CodeOnlyError, match="mixed"):
        sagebridge.translate(file, "sagemaker")
    # A document without steps is fine.
    assert sagebridge.translate(file, "sagemaker", document="eventbridge").text


def malicious(marker: Path) -> dict[str, Any]:
    """A definition whose steps look like carried code, under every type name used for it."""
    source = f"def f():\n    open({str(marker)!r}, 'w')\n    return 1"
    run = f"touch {marker}"
    arguments = {"args": [], "kwargs": {}, "command": run, "env": {"BASH_ENV": run}}
    code = {
        "Callable": "f",
        "Source": source,
        "Origin": "dag.py:1",
        "function": {"name": "f", "code": source, "text": source},
        "Function": {"Name": "f", "Code": source},
        "code": source,
        "python_callable": source,
    }
    types = (
        "sagebridge.PythonCallable",
        "sagebridge.ShellCommand",
        "PythonStep",
        "ShellStep",
        "python",
        "shell",
    )
    return {
        "Version": "2020-12-01",
        "Steps": [
            {"Name": f"step{at}", "Type": type_, "Arguments": arguments, **code}
            for at, type_ in enumerate(types)
        ],
    }


@pytest.mark.parametrize("document", ["definition", "create-pipeline", "cloudformation"])
def test_definition_never_becomes_code(document: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    definition: Any = malicious(marker)
    steps = definition["Steps"]
    source = definition
    body = json.dumps(definition)
    if document == "create-pipeline":
        source = {"PipelineName": "p", "PipelineDefinition": body}
    elif document == "cloudformation":
        properties = {
            "PipelineName": "p",
            "PipelineDefinition": {"PipelineDefinitionBody": body},
        }
        resource = {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}
        source = tmp_path / "template.json"
        source.write_text(json.dumps({"Resources": {"P": resource}}))
    (found,) = read_checked(source)
    pipeline = found.pipeline
    assert not any(map(is_code, walk(pipeline)))
    for to in ("airflow", "prefect"):
        text, losses = sagebridge.write(pipeline, to)
        assert [loss.code for loss in losses] == ["unknown-step-type"] * len(steps)
        tree = ast.parse(text)
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert len(defined) == (to == "prefect")
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        called = {function.id for function in calls if isinstance(function, ast.Name)}
        assert called.isdisjoint({"python", "shell", "PythonStepOperator", "ShellStepOperator"})
        back = read_back(text, tmp_path)
        assert not any(map(is_code, walk(back)))
        again = json.loads(sagebridge.write(back, "sagemaker").text)["Steps"]
        assert again == steps
    assert not marker.exists()
