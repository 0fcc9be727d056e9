"""Functions and commands of a user's own, as code of the other orchestrator's file and back."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.checked_reading import read_checked
from sagebridge.errors import OnlyCode
from sagebridge.formats.prefect import reader
from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    CarriedStep,
    Function,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import join, plain
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, Step, walk
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
def prepare(bucket, rows=10):
    \"\"\"Prepares.

    Rows of a bucket.
    \"\"\"
    import shutil  # what copies

    # Each row is one text.
    text = f\"\"\"SELECT *
  FROM {bucket}\"\"\"
"""


@pytest.fixture(autouse=True)
def never_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(path: Path) -> Any:
        raise AssertionError(f"{path} was traced, which executes it")

    monkeypatch.setattr(reader, "trace_flows", trace)


def told(pipeline: Pipeline, to: str) -> str:
    text, losses = sagebridge.write(pipeline, to)
    assert losses == ()
    return text


def below(text: str) -> str:
    """A file without its first line, which says what it was written from."""
    return text.partition("\n")[2]


def taken(text: str, tmp_path: Path, name: str = "back.py") -> Pipeline:
    file = tmp_path / name
    file.write_text(text)
    pipeline, losses = sagebridge.read(file)
    assert losses == ()
    return pipeline


def function(pipeline: Pipeline, step: str) -> Any:
    """The function that a step calls, as it lives."""
    found = pipeline.step(step)
    assert isinstance(found, PythonStep)
    names: dict[str, Any] = {}
    exec(found.function.code, names)
    return names[found.function.name]


def test_files_come_to_rest_after_one_translation(read: Read, tmp_path: Path) -> None:
    pipeline = read(DAG_FILE).pipeline
    flow, dag = told(pipeline, "prefect"), told(pipeline, "airflow")
    assert FLOW in flow
    assert (
        'prep = python("prep", prepare, kwargs={"bucket": parameter("bucket"), "rows": 5})' in flow
    )
    assert 'python("again", prepare, args=["other"])' in flow
    assert flow.count("def prepare(") == dag.count("def prepare(") == 1
    assert 'args=[prep.properties.return_value["path"]]' in flow
    assert 'task_id="prep",\n        python_callable=prepare,\n' in dag

    from_flow, from_dag = taken(flow, tmp_path), taken(dag, tmp_path)
    assert from_flow == pipeline
    assert from_dag == pipeline
    assert below(told(from_flow, "airflow")) == below(dag)
    assert told(from_dag, "prefect") == flow
    assert below(told(from_flow, "prefect")) == below(flow)
    assert ("prep", "measure") in graph(from_flow).edges
    assert ("measure", "hello") in graph(from_flow).edges


def test_origins_are_places_of_the_file_that_was_read(read: Read, tmp_path: Path) -> None:
    pipeline = read(DAG_FILE).pipeline
    flow = told(pipeline, "prefect")
    line = 1 + flow[: flow.index("prep = python(")].count("\n")
    origins = {
        one.name: one.origin for one in walk(taken(flow, tmp_path)) if isinstance(one, CarriedStep)
    }
    assert origins["prep"] == f"{tmp_path}/back.py:{line}"
    file = tmp_path / "dag.py"
    file.write_text(
        DAG_FILE
        + "    from sagebridge_operators.airflow import ModelOperator\n"
        + "    ModelOperator(task_id='m', arguments={'PrimaryContainer': {'Image': 'i'}})\n"
    )
    lost = [one.place for one in sagebridge.translate(file, "sagemaker").losses]
    assert lost
    assert all(one.startswith(f"{file}:") for one in lost)
    assert origins.keys() == {"prep", "again", "measure", "hello"}


def is_code(step: Step) -> bool:
    return isinstance(step, CarriedStep)


def test_no_two_names_of_a_file_are_one(read: Read, tmp_path: Path) -> None:
    """Functions called as words of ours, builtins, parameters, steps, or as one another."""
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
    flow = told(pipeline, "prefect")
    compile(flow, "flow.py", "exec")
    for text in (flow, told(pipeline, "airflow")):
        back = taken(text, tmp_path)
        assert (function(back, "One")(1), function(back, "work")(2)) == (2, 20)
        assert function(back, "transform")(3) == 3
        assert function(back, "sum")(2) == [0, 1]
        assert below(told(back, "prefect")) == below(flow)
        defined = [one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)]
        assert len(set(defined)) == len(defined)
        assert set(defined).isdisjoint({"rows", "sum", "transform", "python"})


def test_what_a_person_changes_in_a_flow(read: Read, tmp_path: Path) -> None:
    flow = told(read(DAG_FILE).pipeline, "prefect")
    edited = (
        flow.replace("return {", "rows += 1\n    return {")
        .replace('"rows": 5}', '"rows": rows}')
        .replace("append_env=True", "append_env=False")
        .replace('args=["other"]', 'args=["other"], depends_on=["hello"]')
    )
    pipeline = taken(edited, tmp_path)
    assert function(pipeline, "prep")("x")["rows"] == 11
    assert pipeline.step("again").dependencies == ("hello",)  # type: ignore[union-attr]
    dag = told(pipeline, "airflow")
    assert "rows += 1" in dag
    assert '"rows": parameter("rows")' in dag
    assert taken(dag, tmp_path) == pipeline


def test_code_keeps_its_documentation(read: Read, tmp_path: Path) -> None:
    text = """with DAG('d', schedule=None):
    a = BashOperator(task_id='a', bash_command='true', doc_md='Says.', skip_on_exit_code=None)
    @task
    def b():
        'Works.'
    b()
"""
    pipeline = read(HEAD + text).pipeline
    for one in (pipeline, taken(told(pipeline, "prefect"), tmp_path)):
        described = {step.name: step.description or "" for step in one.steps}
        assert described == {"a": "Says.", "b": ""}


def test_exit_codes_that_skip_are_told(read: Read) -> None:
    told = {
        "'exit 99'": "changed",
        "'true', skip_on_exit_code=99": "changed",
        "'true'": "info",
        "'exit 99', skip_on_exit_code=None": "",
    }
    lines = [
        f"    BashOperator(task_id='t{at}', bash_command={given})\n"
        for at, given in enumerate(told)
    ]
    found = read(f"{HEAD}with DAG('d', schedule=None):\n{''.join(lines)}")
    first = 2 + HEAD.count("\n")
    assert [(one.code, one.severity, one.place.rpartition(":")[2]) for one in found.losses] == [
        ("exit-code", severity, str(first + at))
        for at, severity in enumerate(told.values())
        if severity
    ]


def test_files_say_what_they_were_written_from(read: Read, tmp_path: Path) -> None:
    pipeline = read(
        f"{HEAD}with DAG('d', schedule=None):\n    BashOperator(task_id='t', bash_command='true')"
    ).pipeline
    flow = told(pipeline, "prefect")
    assert flow.startswith('"""d: a Prefect flow generated by sagebridge from an Airflow DAG."""')
    dag = told(taken(flow, tmp_path), "airflow")
    assert dag.startswith('"""d: an Airflow DAG generated by sagebridge from a Prefect flow."""')
    made = told(Pipeline(pipeline.steps, name="d"), "airflow")
    assert made.startswith('"""d: an Airflow DAG generated by sagebridge."""')


def test_a_command_keeps_what_its_environment_is(read: Read, tmp_path: Path) -> None:
    given = {"a": "env={}", "b": "env={'X': '1'}, append_env=True", "c": "append_env=True"}
    lines = (f'BashOperator(task_id="{one}", bash_command="env", {given[one]})' for one in given)
    text = "with DAG('d', schedule=None):\n    " + "\n    ".join(lines)
    pipeline = read(HEAD + text).pipeline
    expected: dict[str, dict[str, Any]] = {
        "a": {"command": "env", "env": {}},
        "b": {"command": "env", "env": {"X": "1"}, "append_env": True},
        "c": {"command": "env"},
    }
    for one in (pipeline, taken(told(pipeline, "prefect"), tmp_path)):
        assert {step.name: step.arguments for step in one.steps} == expected
        assert all(isinstance(step, ShellStep) for step in one.steps)


def test_odd_texts_and_names_stay_what_they_are(tmp_path: Path) -> None:
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
    pipeline = Pipeline((*steps, *more), name="odd")
    for to in ("airflow", "prefect"):
        assert taken(told(pipeline, to), tmp_path) == pipeline


def test_a_dag_of_code_alone_is_nothing_for_sagemaker(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(DAG_FILE)
    assert not [one for one in sagebridge.validate(file) if one.severity == "error"]
    assert sagebridge.translate(file, "prefect").losses == ()
    with pytest.raises(OnlyCode, match="mixed"):
        sagebridge.translate(file, "sagemaker")


def malicious(marker: Path) -> dict[str, Any]:
    """A definition whose steps look like carried code, under every name that code ever had."""
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
def test_no_definition_becomes_code(document: str, tmp_path: Path) -> None:
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
        back = taken(text, tmp_path)
        assert not any(map(is_code, walk(back)))
        again = json.loads(sagebridge.write(back, "sagemaker").text)["Steps"]
        assert again == steps
    assert not marker.exists()
