"""The functions of carried steps in written files: their layout, comments and names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sagebridge
from sagebridge.formats.python.function_source import of_definition
from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.expressions import plain
from sagebridge.model.functions import Function
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step

ODD = """\
def NAME(rows, again = True) :
    # see the ticket, it's 7
    table = {'a':   1,
             'b': 2}  # aligned

    if again: return NAME(rows, False)
    return table['a'] * 7   # never change
    # until the next audit
"""
TARGETS = ("airflow", "prefect")


def function(source: str) -> Function:
    (definition,) = ast.parse(source).body
    return of_definition(definition, source, decorated=True)


def pipeline_of(*functions: Function, types: tuple[str, ...] = ()) -> Pipeline:
    steps: list[Step] = [Step(f"{type_}Step", type_, arguments=plain({})) for type_ in types]
    steps += (
        PythonStep.of(
            Step(f"s{at}", PYTHON, arguments=plain(call_arguments([1], {}))),
            one,
        )
        for at, one in enumerate(functions)
    )
    return Pipeline(steps=tuple(steps), name="p")


def functions_in(text: str) -> list[str]:
    own = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return [node.name for node in own if not node.decorator_list]


@pytest.mark.parametrize("target", TARGETS)
def test_function_keeps_comments_and_layout(target: str) -> None:
    source = ODD.replace("NAME", "load")
    text = sagebridge.write(pipeline_of(function(f"@task\n{source}")), target).text
    assert f"\n\n\n{source}\n\n" in text


@pytest.mark.parametrize(("target", "taken"), [("airflow", "DAG"), ("prefect", "flow")])
def test_renamed_function_keeps_comments_and_layout(target: str, taken: str) -> None:
    text = sagebridge.write(pipeline_of(function(ODD.replace("NAME", taken))), target).text
    assert f"\n\n\n{ODD.replace('NAME', f'{taken}_2')}\n\n" in text


def test_text_survives_two_translations(tmp_path: Path) -> None:
    file, source = tmp_path / "flow.py", ODD.replace("NAME", "transform")
    file.write_text(sagebridge.write(pipeline_of(function(source)), "prefect").text)
    (step,) = sagebridge.read(file).pipeline.steps
    assert isinstance(step, PythonStep)
    assert source.strip() == step.function.text.strip()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["transform", "join", "get", "format", "p", "WatchOperator"])
def test_function_keeps_a_name_that_the_file_does_not_need(target: str, name: str) -> None:
    text = sagebridge.write(pipeline_of(function(ODD.replace("NAME", name))), target).text
    assert functions_in(text) == [name]


def test_function_is_renamed_if_the_file_imports_its_name() -> None:
    step = function(ODD.replace("NAME", "transform"))
    assert functions_in(
        sagebridge.write(pipeline_of(step, types=("Transform",)), "prefect").text
    ) == ["transform_2"]
    assert functions_in(
        sagebridge.write(pipeline_of(step, types=("Transform",)), "airflow").text
    ) == ["transform"]


@pytest.mark.parametrize("target", TARGETS)
def test_function_is_renamed_if_another_uses_the_builtin(target: str) -> None:
    total, other = function("def sum(x): return x\n"), function("def add(x): return sum([x])\n")
    text = sagebridge.write(pipeline_of(total, other), target).text
    assert functions_in(text) == ["sum_2", "add"]


def test_flow_file_runs_its_flow() -> None:
    required = Parameter("Bucket", "String")
    plain_flow = pipeline_of(function(ODD.replace("NAME", "load")))
    text = sagebridge.write(plain_flow, "prefect").text
    assert text.endswith('\n\n\nif __name__ == "__main__":\n    p()\n')
    asked = Pipeline(steps=plain_flow.steps, name="p", parameters=(required,))
    text = sagebridge.write(asked, "prefect").text
    assert "import sys\n" in text
    assert text.endswith(
        'if __name__ == "__main__":\n'
        "    # Required: python FILE Bucket=VALUE\n"
        '    p(**dict(one.split("=", 1) for one in sys.argv[1:]))\n'
    )


@pytest.mark.parametrize("target", TARGETS)
def test_renamed_function_keeps_a_local_name_like_its_own(target: str) -> None:
    one, two = function("def add(add):\n    return add\n"), function("def add(x):\n    return x\n")
    text = sagebridge.write(pipeline_of(two, one), target).text
    assert "\ndef add_2(add):\n    return add\n" in text


@pytest.mark.airflow
def test_lambdas_and_methods_are_named_after_their_tasks(tmp_path: Path) -> None:
    file = tmp_path / "lines.py"
    file.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.python import PythonOperator\n\n"
        "class Shop:\n"
        "    def __init__(self, name):\n        self.name = name\n"
        "    def read(self):\n        return self.name\n\n"
        "with DAG('d', schedule=None):\n"
        "    for name in ('north', 'south'):\n"
        "        PythonOperator(task_id=f'read_{name}', python_callable=Shop(name).read)\n"
        "        PythonOperator(task_id=f'say_{name}', python_callable=lambda: print('hi'))\n"
        "        PythonOperator(\n"
        "            task_id=f'total_{name}',\n"
        "            python_callable=lambda name=name: sum(\n"
        "                len(one) for one in name\n"
        "            ),\n"
        "        )\n"
    )
    pipeline = sagebridge.read(file).pipeline
    names = [one.function.name for one in pipeline.steps if isinstance(one, PythonStep)]
    assert names == ["read_north", "say", "total_north", "read_south", "say", "total_south"]
    text = sagebridge.write(pipeline, "prefect").text
    assert text.count("def say():") == 1
    assert "):\n    return sum(\n        len(one) for one in name\n    )\n" in text
