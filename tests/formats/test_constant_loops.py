"""Runs of steps that differ only in constants are written as loops, and read back unchanged."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.prefect import reader as prefect_reader
from sagebridge.formats.python.blocks import Block, blocks_text, indented
from sagebridge.formats.python.constant_loops import rolled
from sagebridge.formats.python.source_code import Names, layout
from sagebridge.formats.python.step_calls import Functions
from sagebridge.model.pipeline import Pipeline

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
ENGINES = ("airflow", "prefect")
TABLES = ("orders", "order_lines", "customers")
Steps = Sequence[dict[str, Any]]


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(path: Path) -> Any:
        raise AssertionError(f"{path} was traced, which executes it")

    monkeypatch.setattr(prefect_reader, "trace_flows", trace)


def train(name: str, table: str, **more: Any) -> dict[str, Any]:
    """A Training step for a table."""
    uri = f"s3://lake/{table}/day"
    channel = {"ChannelName": table, "DataSource": {"S3DataSource": {"S3Uri": uri}}}
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": "xgb:1", "TrainingInputMode": "File"},
        "HyperParameters": {"depth": "5", "query": f"SELECT *\nFROM raw.{table}\n"},
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": "s3://lake/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "m", "VolumeSizeInGB": 9},
        "RoleArn": "arn:aws:iam::111122223333:role/example",
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def job(name: str, *paths: str) -> dict[str, Any]:
    """A Lambda step with references as its arguments."""
    given = {f"a{at}": {"Get": path} for at, path in enumerate(paths)}
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:f"
    return {"Name": name, "Type": "Lambda", "FunctionArn": arn, "Arguments": given}


def pipeline(steps: Steps) -> Pipeline:
    return sagebridge.read({"Version": "2020-12-01", "Parameters": [], "Steps": steps}).pipeline


def read(text: str, engine: str, folder: Path) -> Pipeline:
    file = folder / "written.py"
    file.write_text(text, "utf-8")
    if engine == "prefect":
        return prefect_reader.read(file)[0]
    (outcome,) = read_files([file])
    assert not isinstance(outcome, Exception), outcome
    (dag,) = outcome
    return dag.pipeline


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, Steps], str]:
    """Write steps for an engine and check that they come back."""

    def write(engine: str, steps: Steps) -> str:
        text = sagebridge.write(pipeline(steps), engine).text
        assert layout(text) == text
        assert to_json(read(text, engine, tmp_path)) == to_json(pipeline(steps))
        return text

    return write


Write = Callable[[str, Steps], str]


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_steps_are_one_loop(engine: str, written: Write) -> None:
    steps = [train(f"Load-{table}", table) for table in TABLES]
    text = written(engine, steps)
    assert 'for channel_name in ("orders", "order_lines", "customers"):' in text
    assert 'f"Load-{channel_name}"' in text
    assert 'f"s3://lake/{channel_name}/day"' in text
    assert 'f"""SELECT *\nFROM raw.{channel_name}\n"""' in text
    assert text.count("AlgorithmSpecification") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_later_steps_use_the_steps_of_a_loop(engine: str, written: Write) -> None:
    names = [f"Load-{table}" for table in TABLES]
    each = [f"Steps.{name}.TrainingJobName" for name in names]
    steps = [
        *(train(name, table) for name, table in zip(names, TABLES, strict=True)),
        job("One", each[1]),
        job("All", *each),
        job("After") | {"DependsOn": [*names, "One"]},
    ]
    text = written(engine, steps)
    assert 'load["order_lines"].properties.TrainingJobName' in text
    assert "depends_on=[*load.values(), one" in text


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_can_be_added(engine: str, written: Write, tmp_path: Path) -> None:
    names = [f"Load-{table}" for table in TABLES]
    joined = {
        "Std:Join": {"On": ",", "Values": [{"Get": f"Steps.{n}.TrainingJobName"} for n in names]}
    }
    steps = [
        *(train(name, table) for name, table in zip(names, TABLES, strict=True)),
        job("All") | {"Arguments": {"jobs": joined}, "DependsOn": names},
    ]
    text = written(engine, steps)
    more = read(text.replace('"customers")', '"customers", "shops")'), engine, tmp_path)
    added = [*TABLES, "shops"]
    expected = [train(f"Load-{table}", table) for table in added]
    values = [{"Get": f"Steps.Load-{table}.TrainingJobName"} for table in added]
    expected.append(
        job("All")
        | {"Arguments": {"jobs": {"Std:Join": {"On": ",", "Values": values}}}}
        | {"DependsOn": [f"Load-{table}" for table in added]}
    )
    assert to_json(more) == to_json(pipeline(expected))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", [(), ("Start",)])
def test_a_chain_of_steps_is_one_loop(engine: str, first: tuple[str, ...], written: Write) -> None:
    before: tuple[str, ...] = first
    steps = [job("Start")]
    for table in TABLES:
        more = {"DependsOn": list(before)} if before else {}
        steps += [train(f"Load-{table}", table, **more), job(f"Check-{table}")]
        steps[-1]["DependsOn"] = [f"Load-{table}"]
        before = (f"Check-{table}",)
    text = written(engine, steps)
    assert text.count("depends_on=before") == 1
    assert ("before = [start]" if first else "before = ABSENT") in text


@pytest.mark.parametrize("engine", ENGINES)
def test_several_constants_are_rows(engine: str, written: Write) -> None:
    steps = [
        train(f"Load-{table}", table, Description=f"size {size}", DisplayName=name)
        for table, size, name in zip(TABLES, (1, 2, 10), ("A b", "C", "D"), strict=True)
    ]
    text = written(engine, steps)
    assert '("order_lines", "C", ' in text


@pytest.mark.parametrize("engine", ENGINES)
def test_settings_of_some_steps_are_in_the_rows(engine: str, written: Write) -> None:
    steps = [train(f"Load-{table}", table) for table in TABLES]
    steps[1]["CacheConfig"] = {"Enabled": True}
    text = written(engine, steps)
    assert '("order_lines", CacheConfig(enabled=True))' in text
    assert '("customers", ABSENT)' in text


@pytest.mark.parametrize("engine", ENGINES)
def test_loops_in_branches(engine: str, written: Write) -> None:
    loads = [train(f"Load-{table}", table) for table in TABLES]
    check = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    arguments = {"Conditions": [check], "IfSteps": loads, "ElseSteps": []}
    steps = [{"Name": "Check", "Type": "Condition", "Arguments": arguments}]
    assert written(engine, steps).count("for channel_name in") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_two_equal_steps_do_not_become_a_loop(engine: str, written: Write) -> None:
    text = written(engine, [train(f"Load-{table}", table) for table in TABLES[:2]])
    assert "\n    for " not in text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "steps",
    [
        [job(name) for name in ("A", "B", "C", "D")],
        [train(name, name, Unknown=name * 2) for name in "ABCD"],
    ],
    ids=["short", "unknown keys"],
)
def test_loops_of_short_steps_and_unknown_keys_come_back(
    engine: str, steps: Steps, written: Write
) -> None:
    assert "\n    for " in written(engine, steps)


def looped(comments: Sequence[Sequence[str]]) -> str:
    """The text of statements with these comments."""
    names = Names()
    blocks = []
    for table, own in zip(TABLES, comments, strict=True):
        given = ", ".join(f"a{at}={at}" for at in range(20))
        variable = names.variable(table)
        (node,) = ast.parse(f"{variable} = load('{table}', {given})").body
        blocks.append(Block(node, own))
    functions = Functions(pipeline([]), (), "airflow")
    return blocks_text(rolled(blocks, names, {}, functions))


def test_losses_of_each_step_are_kept() -> None:
    loss = "# sagebridge: retries: step {} is not retried (x.py:1)"
    text = looped([["# The tables.", loss.format("a")], [loss.format("b")], [loss.format("c")]])
    lines = ("# The tables.", *map(loss.format, "abc"))
    assert indented("\n".join(lines)) in text
    assert "for name in" in text


@pytest.mark.parametrize(
    "comments",
    [
        [["# sagebridge: retries: lost"], [], []],
        [["# sagebridge: retries: lost"], ["# sagebridge: retries: lost"], ["# sagebridge: x: y"]],
        [[], ["# The second."], []],
    ],
    ids=["first", "other code", "comment"],
)
def test_steps_with_other_comments_stay(comments: list[list[str]]) -> None:
    text = looped(comments)
    assert "for " not in text
    found = [one for one in text.splitlines() if one.startswith("#")]
    assert found == [one for own in comments for one in own]


WORDS = st.sampled_from(["a", "b", "a-b", "A", "1", "{x}", "a{b}", "'", '"', "", "\\", "x\ny"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(WORDS, WORDS, st.integers(0, 3)), min_size=3, max_size=6),
    depends=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_any_rows_come_back(
    rows: list[tuple[str, str, int]], depends: list[bool], tmp_path: Path
) -> None:
    steps = []
    for at, ((one, two, number), depend) in enumerate(zip(rows, depends, strict=False)):
        more = {"DependsOn": [f"S{at - 1}"]} if depend and at else {}
        found = train(f"S{at}", f"{one}/{two}", Description=two, **more)
        found["Arguments"]["HyperParameters"] |= {"n": str(number), "one": one, "both": one + two}
        steps.append(found)
    steps.append(job("End", *(f"Steps.S{at}.TrainingJobName" for at in range(len(rows)))))
    text = sagebridge.write(pipeline(steps), "prefect").text
    assert to_json(read(text, "prefect", tmp_path)) == to_json(pipeline(steps))
