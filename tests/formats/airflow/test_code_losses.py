"""Python and shell tasks that cannot be carried: each is a loss with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.model.code_removal import without_stubs
from sagebridge.model.code_steps import PythonStep, StubStep
from sagebridge.model.pipeline import walk
from tests.formats.airflow.conftest import HEAD, Read

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return DAG(x)", "uses DAG of airflow.sdk, which only Airflow has"),
        ("return dag.dag_id", "uses 'dag', which is part of the DAG or flow"),
        ("from airflow.models import Pool\n    return Pool(x)", "uses Pool of airflow.models"),
    ],
)
def test_function_that_needs_the_engine_is_dropped(body: str, why: str, read: Read) -> None:
    """For Airflow's PythonOperator, and for sagebridge's in an edited file."""
    lines = f"def load(x):\n    {body}\n\nwith DAG('d', schedule=None) as dag:"
    own = """
    from sagebridge_operators.airflow import ModelOperator, PythonStepOperator
    load = PythonStepOperator(task_id="load", python_callable=load, op_args=["1"])
    image = load.properties.return_value["image"]
    ModelOperator(task_id="Model", arguments={"PrimaryContainer": {"Image": image}})
"""
    theirs = """
    from sagebridge_operators.airflow import ModelOperator, get
    one = PythonOperator(task_id="load", python_callable=load, op_args=["1"])
    one >> ModelOperator(task_id="Model", arguments={"PrimaryContainer": {"Image": "i"}})
"""
    for text in (own, theirs):
        found = read(HEAD + lines + text)
        stub, kept = walk(found.pipeline)
        assert isinstance(stub, StubStep)
        assert why in stub.arguments["reason"]
        assert kept.name == "Model"
        (lost,) = [loss for loss in found.losses if loss.code == "python-task"]
        assert (lost.severity, why in lost.what) == ("dropped", True)
        bare, asked = without_stubs(found.pipeline)
        assert [step.name for step in walk(bare)] == ["Model"]
        assert [one.name for one in bare.declared] == (["load_image"] if text is own else [])
        assert all(one.place.rpartition(":")[2].isdigit() for one in asked)


OF_ONE_NAME = """
def extract(depth=1):
    return extract(depth - 1) if depth else extract.rows
extract.rows = [7]

with DAG("d", schedule=None):
    extract = PythonOperator(task_id="extract", python_callable=extract)
    extract.doc_md = "Reads."
    total = PythonOperator(task_id="total", python_callable=lambda: 5)
    total.doc_md = "Five."
"""


def test_attributes_of_a_task_are_not_code_of_its_function(read: Read) -> None:
    """The task has the name of its function, or of its lambda in the flow."""
    found = read(HEAD + OF_ONE_NAME)
    assert not found.losses
    extract, total = walk(found.pipeline)
    assert isinstance(extract, PythonStep)
    assert isinstance(total, PythonStep)
    scope: dict[str, Any] = {}
    exec(extract.function.module, scope)
    assert scope["extract"]() == [7]
    assert (extract.description, total.description) == ("Reads.", "Five.")


def test_methods_of_strings_are_carried(read: Read) -> None:
    text = """with DAG("d", schedule=None):
    PythonOperator(task_id="a", python_callable="abc".upper)
    PythonOperator(task_id="b", python_callable=str.upper, op_args=["x"])
"""
    found = read(HEAD + text)
    assert not found.losses
    steps = [one for one in walk(found.pipeline) if isinstance(one, PythonStep)]
    modules = [one.function.module for one in steps]
    assert modules == ["str_upper = 'abc'.upper", "str_upper = str.upper"]


DECORATED = """
import functools

def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)
    return wrapper

def plain(x, y=1, *, z="a"):
    return x

def changed(x, y=1):
    return x

def named(x, *, y=1):
    return x

changed.__defaults__ = (True,)
named.__kwdefaults__["y"] = 2
"""


def reasons(read: Read, lines: list[str], code: str) -> dict[str, str]:
    """Why each task of a DAG is dropped, by id; empty for a carried task. A task is one line."""
    head = HEAD + DECORATED + "from sagebridge_operators.airflow import PythonStepOperator\n"
    body = "".join(f"    {line}\n" for line in lines)
    found = read(f"{head}with DAG('d', schedule=None):\n{body}")
    first = 2 + head.count("\n")
    steps = {step.name: "" for step in walk(found.pipeline) if not isinstance(step, StubStep)}
    losses = [loss for loss in found.losses if loss.code == code]
    assert all(loss.severity == "dropped" for loss in losses)
    named = {loss.what.removeprefix("task ").partition(":")[0]: loss for loss in losses}
    assert [one.place.rpartition(":")[2] for one in named.values()] == [
        str(first + at) for at, line in enumerate(lines) if any(f"'{one}'" in line for one in named)
    ]
    return steps | {name: loss.what for name, loss in named.items()}


def test_function_that_differs_from_its_source_is_dropped(read: Read) -> None:
    expected = {
        "plain": "",
        "twice(plain)": "has another decorator",
        "changed": "has defaults that differ from its source",
        "named": "has defaults that differ from its source",
    }
    templates = (
        "PythonOperator(task_id='{}', python_callable={}, op_args=[1])",
        "task(task_id='{}')({})(1)",
        "PythonStepOperator(task_id='{}', python_callable={}, op_args=[1])",
    )
    lines = {
        f"t{at}{n}": template.format(f"t{at}{n}", function)
        for at, function in enumerate(expected)
        for n, template in enumerate(templates)
    }
    found = reasons(read, list(lines.values()), "python-task")
    assert found.keys() == lines.keys()
    for at, why in enumerate(expected.values()):
        for n in range(len(templates)):
            assert (why in found[f"t{at}{n}"]) if why else found[f"t{at}{n}"] == ""


def test_function_gets_the_context_that_its_call_does_not_set(read: Read) -> None:
    expected = {
        ("x, templates_dict=None", "op_args=[1]"): (True, {}),
        ("x", "op_args=[1], templates_dict={'day': '{{ ds }}'}"): (False, {}),
        ("x, templates_dict", "op_args=[1], templates_dict={'day': 'd'}"): (
            False,
            {"templates_dict": {"day": "d"}},
        ),
        ("inlets, x=1", ""): (True, {}),
        ("ts_nodash_with_tz, try_number", "op_args=['x']"): (True, {}),
        ("reason", "op_args=['late']"): (False, {}),
        ("reason", "op_kwargs={'reason': 'late', 'other': 1}"): (False, {"reason": "late"}),
        ("x, **more", "op_args=[1], op_kwargs={'other': 1}"): (True, {"other": 1}),
    }
    lines = []
    for at, (signature, arguments) in enumerate(expected):
        lines.append(f"def f{at}({signature}): return 1")
        lines.append(
            f"with DAG('d{at}', schedule=None) as d{at}:\n    "
            f"PythonOperator(task_id='t', python_callable=f{at}, {arguments})"
        )
    for at, wanted in enumerate(expected.values()):
        text = "\n".join((HEAD, *lines[2 * at : 2 * at + 2]))
        (step,) = read(text).pipeline.steps
        assert isinstance(step, PythonStep)
        assert (step.context, step.arguments["kwargs"]) == wanted


def test_op_kwargs_without_a_parameter_are_ignored(read: Read) -> None:
    lines = "def load(x, y=1): return x\n\nwith DAG('d', schedule=None):\n    "
    call = "PythonOperator(task_id='t', python_callable=load, op_kwargs={'x': 1, 'other': 2})"
    (step,) = read(f"{HEAD}{lines}{call}").pipeline.steps
    assert step.arguments == {"args": (), "kwargs": {"x": 1}}


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (
            "PythonOperator(task_id='t', python_callable=load, op_args=given())",
            "positional arguments",
        ),
        ("BashOperator(task_id='t', bash_command='env', env=given())", "an environment"),
    ],
)
def test_arguments_from_another_task_drop_the_task(task: str, why: str, read: Read) -> None:
    lines = "def load(x): return x\n\nwith DAG('d', schedule=None):\n"
    given = "    @task\n    def given(): return {}\n    "
    found = read(f"{HEAD}{lines}{given}{task}")
    given_step, stub = found.pipeline.steps
    assert (given_step.name, stub.name) == ("given", "t")
    assert isinstance(stub, StubStep)
    (lost,) = found.losses
    assert lost.severity == "dropped"
    assert f"task t: it has {why}" in lost.what
    assert "only known at run time" in lost.what


def test_undeclared_key_of_the_conf_is_lost(read: Read) -> None:
    text = """def load(dag_run, params):
    conf = dag_run.conf or {}
    return [conf.get("who", "me"), conf["size"], params["size"]]

with DAG('d', schedule=None, params={"size": 1}):
    PythonOperator(task_id='t', python_callable=load)
    BashOperator(task_id='s', bash_command="echo {{ dag_run.conf['day'] }} {{ dag_run.conf.size }}")
"""
    lost = [one for one in read(HEAD + text).losses if one.code == "parameter"]
    assert [(one.severity, one.what) for one in lost] == [
        ("changed", f"task {task}: '{key}' in the conf of the run is not a param of the DAG")
        for task, key in (("t", "who"), ("s", "day"))
    ]


def test_condition_of_a_task_drops_it(read: Read) -> None:
    text = """with DAG('d', schedule=None):
    @task.skip_if(lambda context: True)
    @task.bash
    def never():
        return "exit 1"

    never()
"""
    (step,) = read(HEAD + text).pipeline.steps
    assert isinstance(step, StubStep)
    assert "(run_if or skip_if)" in step.arguments["reason"]


def test_unsupported_bash_options_drop_the_task(read: Read) -> None:
    expected = {
        "output_processor=len": "output_processor",
        "skip_on_exit_code=99": "",
        "skip_on_exit_code=None": "",
        "skip_on_exit_code=[]": "",
    }
    lines = [
        f"BashOperator(task_id='t{at}', bash_command='true', {option})"
        for at, option in enumerate(expected)
    ]
    found = reasons(read, lines, "shell-task")
    for at, why in enumerate(expected.values()):
        assert (why in found[f"t{at}"]) if why else found[f"t{at}"] == ""
