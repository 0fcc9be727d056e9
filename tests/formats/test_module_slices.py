"""The part of a module that a function reaches: what it contains, and what it means."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.formats.python.function_source import (
    NotSelfContained,
    of_definition,
    of_function,
    of_name,
)
from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.engine_settings import EngineSettings, Hook
from sagebridge.model.expressions import plain, template
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step

SOURCE = '''\
#!/usr/bin/env python
"""A module."""

from __future__ import annotations

import json
import os, sys
from datetime import (
    date,
    timedelta,  # of a day
)

import airflow
from airflow.sdk import DAG, Variable, task

# Where the data is.
BUCKET = "data"  # never changes
LIMITS = {"a": 1}
LIMITS["b"] = 2
UNUSED = date(2025, 1, 1)


def helper(key):
    return f"s3://{BUCKET}/{key}"


def logged(function):
    return function


with DAG("d") as dag:
    PREFIX = "in"

    @task(retries=2)
    # below the decorator
    def load(key: str) -> str:
        """Loads."""
        return helper(PREFIX + key) + json.dumps(LIMITS) + Variable.get("x")
        # the end

    @logged
    @task
    def decorated():
        return sys.argv

    @task
    def late():
        return timedelta(days=1)

    for table in ["a", "b"]:

        @task
        def looped():
            return table


def outer(size):
    inner_limit = 3

    def nested():
        return inner_limit

    def closing():
        return size

    return nested, closing


def lost():
    return dag.dag_id
'''
LOAD = '''\
from __future__ import annotations

import json

from airflow.sdk import Variable

# Where the data is.
BUCKET = "data"  # never changes

LIMITS = {"a": 1}
LIMITS["b"] = 2


def helper(key):
    return f"s3://{BUCKET}/{key}"


PREFIX = "in"


# below the decorator
def load(key: str) -> str:
    """Loads."""
    return helper(PREFIX + key) + json.dumps(LIMITS) + Variable.get("x")
    # the end'''


def function(name: str, source: str = SOURCE) -> Function:
    nodes = ast.walk(ast.parse(source))
    return of_definition(
        next(one for one in nodes if isinstance(one, ast.FunctionDef) and one.name == name), source
    )


def test_part_has_what_the_function_reaches_and_nothing_else() -> None:
    assert function("load").module == LOAD


def test_import_is_narrowed_unless_all_of_it_is_used() -> None:
    assert "from datetime import timedelta\n" in function("late").module
    assert "import sys\n" in function("decorated").module


def test_decorators_of_the_engine_are_left_out() -> None:
    text = function("decorated").module
    assert "@logged\ndef decorated():" in text
    assert "def logged(function):" in text
    assert "task" not in text


def test_function_inside_another_one_brings_what_it_uses_there() -> None:
    assert function("nested").module.endswith(
        "inner_limit = 3\n\n\ndef nested():\n    return inner_limit"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("closing", "uses the argument 'size' of outer"),
        ("looped", "uses 'table', which is part of the DAG or flow"),
        ("lost", "uses 'dag', which is part of the DAG or flow"),
    ],
)
def test_names_without_a_statement_cannot_be_carried(name: str, why: str) -> None:
    with pytest.raises(NotSelfContained, match=why):
        function(name)


def test_values_of_a_closure_are_carried_as_constants() -> None:
    def make(table: str) -> Any:
        def load() -> str:
            return table

        return load

    text = of_function(make("web")).module
    assert text.endswith("table = 'web'\n\n\ndef load() -> str:\n    return table")


def test_defaults_of_a_loop_are_carried_as_literals() -> None:
    made = []
    for table in ("web", "app"):

        def load(name: str = table, size: int = len(SOURCE)) -> str:
            return name[:size]

        made += [load, lambda name=table: name]
    found = [of_function(one) for one in made]
    assert found[0].code.startswith("def load(name: str='web', size: int=len(SOURCE))")
    assert [one.text.partition(":")[0] for one in found[1::2]] == [
        f"def {found[1].name}(name='web')",
        f"def {found[1].name}(name='app')",
    ]


def test_lambda_and_method_become_names() -> None:
    found = of_function(lambda x: x + 1, name="add")
    assert (found.name, found.text) == ("add", "def add(x):\n    return x + 1")
    assert of_function(LOADER.load).module.endswith("load = LOADER.load")
    assert of_function(ast.parse, file=__file__).module == "from ast import parse"


class Loader:
    def __init__(self, table: str = "web", *, rows: int = 10) -> None:
        self.table, self._rows = table, rows

    def load(self) -> int:
        return 1

    def __call__(self) -> int:
        return 2


LOADER = Loader()


class Counting(Loader):
    made = 0

    def __init__(self, table: str) -> None:
        Counting.made += 1
        super().__init__(table, rows=Counting.made)


def test_object_without_a_name_is_made_by_a_call() -> None:
    for table in ("a", "b"):
        found = of_function(Loader(table, rows=2).load)
        assert found.module.endswith(f"load = Loader(table={table!r}, rows=2).load")
    assert of_function(Loader().load).module.endswith("load = Loader().load")
    called = of_function(Loader("c"))
    assert called.module.endswith(f"\n\n\n{called.name} = Loader(table='c')")
    for other in (Counting("a"), Loader(rows=object())):  # type: ignore[arg-type]
        with pytest.raises(NotSelfContained, match="an object that no name of its module has"):
            of_function(other.load)


def step(name: str, carried: Function, **own: Any) -> PythonStep:
    given = plain(call_arguments([template("{{ ds }}")], {"x": 1}))
    engine = own.pop("engine", EngineSettings())
    made = Step(name, PYTHON, arguments=given, engine=engine)
    return PythonStep.of(made, carried, **own)


def every_setting() -> Pipeline:
    """A pipeline with roles, hooks, groups, templates and settings of all kinds."""
    alert = function("helper")
    hooks = [Hook(event, alert, "airflow") for event in ("failure", "retry", "skipped")]
    hooks += [Hook(event, alert, "prefect") for event in ("failure", "completion", "crashed")]
    retried = EngineSettings(
        retries=3,
        retry_delays=(1, 5),
        timeout=60.5,
        trigger_rule="all_done",
        group=("outer", "inner"),
        tags=("x",),
        hooks=hooks,
    )
    delayed = EngineSettings(
        retries=2,
        retry_delays=(30,),
        backoff=2,
        max_retry_delay=90,
        group=("outer",),
        pool="small",
        concurrency=2,
        priority=5,
    )
    polled = EngineSettings(
        retries=1, poll_interval=10, poll_timeout=600, poll_backoff=2, soft_fail=True
    )
    until = Function("time_passed", "", imported_from="sagebridge_operators.functions.waits")
    steps = (
        step("load", function("load"), context=True, engine=delayed),
        step("late", function("late"), role="gate"),
        step("sys", function("decorated"), engine=retried),
        step("wait", until, role="sensor", engine=polled),
    )
    steps = (*steps[:2], replace(steps[2], depends_on=("load",)), steps[3])
    ended = [Hook("failure", alert, "airflow"), Hook("success", alert, "airflow")]
    ended += [Hook("failure", alert, "prefect"), Hook("completion", alert, "prefect")]
    engine = EngineSettings(timeout=3600, tags=("a",), concurrency=2, hooks=ended)
    return Pipeline(name="p", steps=steps, parameters=(), engine=engine)


@pytest.mark.parametrize("engine", ["prefect", pytest.param("airflow", marks=pytest.mark.airflow)])
def test_written_file_comes_back_equal(engine: str, tmp_path: Path) -> None:
    pipeline = every_setting()
    text = sagebridge.write(pipeline, engine).text
    assert text.count("def helper(key):") == 1
    assert "from datetime import timedelta\n" in text
    offered = "from sagebridge_operators.prefect.airflow_names import Variable\n"
    assert (offered if engine == "prefect" else ", Variable\n") in text
    file = tmp_path / "p.py"
    file.write_text(text)
    back, losses = sagebridge.read(file)
    assert losses == ()
    assert back == pipeline
    again = sagebridge.write(back, engine).text
    assert again.partition("\n")[2] == text.partition("\n")[2]


@pytest.mark.parametrize("engine", ["prefect", pytest.param("airflow", marks=pytest.mark.airflow)])
def test_task_that_other_code_calls_is_written_once(engine: str, tmp_path: Path) -> None:
    average = "def average(rows):\n    return mean(rows)"
    mean = "from statistics import mean"
    last = "def last(rows):\n    return rows[-1]"
    tasks = f"{mean}\nfrom prefect import task\n\n@task\n{average}\n\n@task(retries=2)\n{last}\n"
    either = "def either(rows):\n    return average(rows) or last(rows)"
    functions = (
        Function("last", last, last),
        Function("average", average, module=f"{mean}\n\n\n{average}"),
        Function("either", either, module=f"{tasks}\n{either}"),
    )
    steps = tuple(step(one.name, one) for one in functions)
    text = sagebridge.write(Pipeline(name="p", steps=steps, parameters=()), engine).text
    assert [text.count(f"def {name}(") for name in ("last", "average")] == [1, 1]
    assert "average.fn," in text
    file = tmp_path / "p.py"
    file.write_text(text)
    back, losses = sagebridge.read(file)
    assert losses == ()
    assert [one.function.code for one in back.steps if isinstance(one, PythonStep)] == [
        one.code for one in functions
    ]
    assert sagebridge.write(back, engine).text.partition("\n")[2] == text.partition("\n")[2]


def test_settings_without_counterpart_in_airflow_are_losses() -> None:
    hooks = (Hook("crashed", function("helper"), "prefect"),)
    one = step("late", function("late"), engine=EngineSettings(tags=("x",), hooks=hooks))
    pipeline = Pipeline(name="p", steps=(one,), engine=EngineSettings(retries=1, hooks=hooks))
    assert sagebridge.write(pipeline, "prefect").losses == ()
    found = [(loss.code, loss.what) for loss in sagebridge.write(pipeline, "airflow").losses]
    assert found == [
        ("retries", "the flow: retries=1 has no effect: Airflow does not repeat a DAG run"),
        ("callback", "the flow: on_crashed hooks are not called"),
        ("callback", "late: on_crashed hooks are not called"),
        ("engine-option", "tags of 1 step have no effect: Airflow's tasks have no tags"),
    ]


def test_settings_of_a_flow_come_back(tmp_path: Path) -> None:
    completed = Hook("completion", function("helper"), "prefect")
    own = EngineSettings(retries=1, retry_delays=(3,), hooks=(completed,))
    pipeline = Pipeline(name="p", steps=(step("late", function("late")),), engine=own)
    file = tmp_path / "p.py"
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    assert sagebridge.read(file).pipeline == pipeline


def test_names_of_a_module_do_not_collide_with_generated_ones(tmp_path: Path) -> None:
    source = (
        "parameter = 'x'\nfinish = flow = 3\n\n\ndef python(python):\n"
        "    return parameter, finish, flow\n"
    )
    pipeline = Pipeline(name="finish", steps=(step("flow", function("python", source)),))
    file = tmp_path / "p.py"
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    compile(file.read_text(), "p.py", "exec")
    assert sagebridge.read(file).pipeline == pipeline


def test_functions_of_one_name_stay_apart(tmp_path: Path) -> None:
    one = function("load", "SIZE = 1\n\n\ndef load(x):\n    return SIZE\n")
    two = function("load", "SIZE = 2\n\n\ndef load(x):\n    return SIZE\n")
    file = tmp_path / "p.py"
    steps = (step("one", one), step("two", two))
    file.write_text(sagebridge.write(Pipeline(name="p", steps=steps), "prefect").text)
    first, second = sagebridge.read(file).pipeline.steps
    assert isinstance(first, PythonStep)
    assert isinstance(second, PythonStep)
    for found, size in ((first, 1), (second, 2)):
        names: dict[str, Any] = {}
        exec(found.function.module, names)
        assert names[found.function.name](0) == size


def test_method_keeps_its_name_if_a_function_of_that_name_gets_another() -> None:
    parser = "class Parser:\n    def load(self, x):\n        return x + 1\n"
    sources = [f"{parser}def load(x):\n    return Parser().load(x) + {one}\n" for one in (0, 5)]
    pipeline = Pipeline(
        name="p",
        steps=tuple(step(f"s{at}", function("load", one)) for at, one in enumerate(sources)),
    )
    text = sagebridge.write(pipeline, "airflow").text
    names: dict[str, Any] = {}
    exec(text[text.index("class Parser") : text.index("with DAG")], names)
    assert [names["load"](3), names["load_2"](3)] == [4, 9]
    assert text.count("class Parser") == 1


def test_type_imports_of_all_functions_come_in_one_block(tmp_path: Path) -> None:
    lines = (
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
        "if TYPE_CHECKING:",
        "    from collections.abc import (",
        "        Iterable,",
        "        Sequence,",
        "    )",
        "    from decimal import (",
        "        Context,",
        "        Decimal,",
        "    )",
        "def one(x: Iterable, y: Sequence):",
        "    return x",
        "def two(x: Context, y: Decimal):",
        "    return x",
    )
    source = "\n".join((*lines, ""))
    steps = (step("one", function("one", source)), step("two", function("two", source)))
    pipeline = Pipeline(name="p", steps=steps)
    file = tmp_path / "p.py"
    for engine in ("airflow", "prefect"):
        text = sagebridge.write(pipeline, engine).text
        compile(text, "p.py", "exec")
        assert text.count("if TYPE_CHECKING:") == 1
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    assert sagebridge.read(file).pipeline == pipeline


def test_equal_statements_run_as_often_as_in_the_source() -> None:
    source = "SEEN = []\nSEEN.append(1)\nSEEN.append(1)\ndef late(x=0):\n    return SEEN\n"
    pipeline = Pipeline(name="p", steps=(step("late", function("late", source)),))
    text = sagebridge.write(pipeline, "airflow").text
    assert text.count("SEEN.append(1)\n") == 2


def test_of_name_finds_what_a_name_of_the_module_is() -> None:
    source = "from os import getcwd\nfind = getcwd\n"
    assert of_name("getcwd", source).module == "from os import getcwd"
    assert of_name("find", source).module == "from os import getcwd\n\nfind = getcwd"
    assert of_name("print", source) == Function("print", "")
    with pytest.raises(NotSelfContained, match="not a name"):
        of_name("gone", source)


@st.composite
def modules(draw: st.DrawFn) -> str:
    """A module whose functions f0, f1, … use constants, imports and each other."""
    lines = ["import math", "from operator import add, mul"]
    values = ["math.pi", "add(1, 2)", "mul(3, 4)"]
    for at in range(draw(st.integers(1, 8))):
        used = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        body = " + ".join(used)
        comment = draw(st.sampled_from(["", "  # why"]))
        if draw(st.booleans()):
            lines.append(f"C{at} = {body}{comment}")
            values.append(f"C{at}")
        else:
            above = draw(st.sampled_from([[], ["# What it does."]]))
            lines += [*above, f"def f{at}(x=0):{comment}", f"    return x + {body}", ""]
            values.append(f"f{at}()")
    return "\n".join([*lines, "def last(x=0):", f"    return x + {' + '.join(values)}", ""])


@given(modules())
@settings(max_examples=60, deadline=None)
def test_any_part_means_the_same_and_comes_back(tmp_path_factory: Any, source: str) -> None:
    whole: dict[str, Any] = {}
    exec(source, whole)
    names = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    carried = [function(name, source) for name in names]
    for one in carried:
        part: dict[str, Any] = {}
        exec(one.module or one.text, part)
        assert part[one.name](1) == whole[one.name](1)
    pipeline = Pipeline(name="p", steps=tuple(step(f"s{n}", one) for n, one in enumerate(carried)))
    text = sagebridge.write(pipeline, "prefect").text
    file = tmp_path_factory.mktemp("any") / "p.py"
    file.write_text(text)
    assert sagebridge.read(file).pipeline == pipeline
