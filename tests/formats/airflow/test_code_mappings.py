"""Mapped Python tasks: any JSON as items, and lists that are only known at run time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sagebridge.formats.airflow.writer import write
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import Get, get
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import Pipeline
from tests.formats.airflow.conftest import HEAD, ReadAll

pytestmark = pytest.mark.airflow

ITEM = get("ForEach.CurrentItem")
DAGS = (
    HEAD
    + """
def double(row):
    return {"name": 2 * row["name"]}


def first(pair):
    return pair[0]


@task
def rows():
    return [{"name": "a"}]


@task
def load(name, day="today", *, full=False):
    return [name]


@task
def total(results):
    return len(results)


with DAG("one"):
    total(load.partial(full=True).expand(name=["a", "b"]))

with DAG("literal_product"):
    load.expand(name=["a", "b"], day=[1, {"of": 2}])

with DAG("product"):
    load.expand(name=rows(), day=["x", "y"])

with DAG("unpacked"):
    load.expand_kwargs(rows())

with DAG("computed"):
    load.expand_kwargs(rows().map(double))

with DAG("zipped"):
    load.expand(name=rows().zip(rows(), fillvalue=0))

with DAG("chained"):
    load.expand_kwargs(rows().zip(rows().map(double)).map(first).map(double))

with DAG("computed_lists"):
    load.expand(name=rows().map(double), day=rows())

with DAG("operator_arguments"):
    PythonOperator.partial(task_id="t", python_callable=double).expand_kwargs(rows())

with DAG("classic"):
    PythonOperator.partial(task_id="t", python_callable=double).expand(op_args=[[{"name": "x"}]])
"""
)


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(DAGS)


def loop(found: FileReading) -> tuple[ForEachStep, dict[str, Any]]:
    """The ForEach of a DAG, and the arguments of its function."""
    assert [one for one in found.losses if one.severity != "info"] == []
    (step,) = [one for one in found.pipeline.steps if isinstance(one, ForEachStep)]
    (inner,) = step.inner
    assert isinstance(inner, PythonStep)
    return step, dict(inner.arguments)


def before(found: FileReading, step: ForEachStep) -> PythonStep:
    """The step that makes the items."""
    assert isinstance(step.items, Get)
    one = found.pipeline.step(step.items.name)
    assert isinstance(one, PythonStep)
    return one


def test_results_of_a_mapped_task_are_a_list(dags: dict[str, FileReading]) -> None:
    step, given = loop(dags["one"])
    assert (step.items, given["kwargs"]) == (("a", "b"), {"full": True, "name": ITEM})
    assert not step.engine.skip_if_empty
    total = dags["one"].pipeline.step("total")
    assert total is not None
    assert total.arguments["args"] == (get("Steps.load.return_value"),)


def test_items_of_several_literal_lists_are_dicts(dags: dict[str, FileReading]) -> None:
    step, given = loop(dags["literal_product"])
    assert [dict(one) for one in step.items][:2] == [
        {"name": "a", "day": 1},
        {"name": "a", "day": {"of": 2}},
    ]
    assert given["kwargs"]["day"] == get("ForEach.CurrentItem.day")


def test_library_combines_lists_at_run_time(dags: dict[str, FileReading]) -> None:
    for name, function in (("product", "product"), ("zipped", "zipped")):
        step, _ = loop(dags[name])
        items = before(dags[name], step)
        assert (items.function.name, items.function.imported_from) == (
            function,
            "sagebridge_operators.functions.items",
        )
    assert items.arguments["kwargs"] == {"fill": 0}


def test_dicts_are_unpacked_into_arguments(dags: dict[str, FileReading]) -> None:
    step, given = loop(dags["unpacked"])
    assert step.items == get("Steps.rows.return_value")
    assert step.engine.skip_if_empty  # Airflow skips a task that is mapped over an empty list
    assert given == {"args": (), "kwargs": {}, "unpacked": ITEM}


def test_function_that_maps_a_list_is_carried(dags: dict[str, FileReading]) -> None:
    step, _ = loop(dags["computed"])
    function = before(dags["computed"], step).function
    names: dict[str, Any] = {}
    exec(function.module, names)
    assert names[function.name]([{"name": "a"}]) == [{"name": "aa"}]


def test_each_step_of_a_computed_list_is_carried(dags: dict[str, FileReading]) -> None:
    step, _ = loop(dags["chained"])
    names = []
    while (one := before(dags["chained"], step)).name != "rows":
        names.append(one.function.name)
        (first, *_) = one.arguments["args"]
        step = replace(step, items=first)
    assert names == ["double_each", "first_each", "zipped"]
    step, given = loop(dags["computed_lists"])
    lists = before(dags["computed_lists"], step).arguments["kwargs"]
    assert [one.name for one in lists.values()] == ["load-items-name", "rows__1"]
    assert given["kwargs"] == {name: get(f"ForEach.CurrentItem.{name}") for name in lists}


def test_dicts_of_an_operator_have_its_arguments(dags: dict[str, FileReading]) -> None:
    step, given = loop(dags["operator_arguments"])
    function = before(dags["operator_arguments"], step).function
    assert (function.name, given["unpacked"]) == ("call_arguments", ITEM)


def test_positional_arguments_are_mapped(dags: dict[str, FileReading]) -> None:
    step, given = loop(dags["classic"])
    assert [list(one) for one in step.items] == [[{"name": "x"}]]
    assert given["args"] == (get("ForEach.CurrentItem[0]"),)


def test_for_each_reads_the_older_name_of_skip_if_empty() -> None:
    loop = ForEachStep("each", items=["a"], engine=EngineSettings(soft_fail=True))
    assert loop.engine == EngineSettings(skip_if_empty=True)
    assert "skip_if_empty=True" in write(Pipeline("p", [loop]))[0]
