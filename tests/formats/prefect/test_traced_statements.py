"""The statements of a traced flow: branches, loops and code become steps."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from sagebridge.authoring.definition_writer import definition
from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.code_removal import without_carried
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.conditions import Comparison
from sagebridge.model.expressions import get, join
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import ConditionStep, walk
from tests.formats.prefect.traced_flows import (
    GENERATOR,
    IMPORTS,
    LEASE,
    METHODS,
    TASKS,
    TraceFlow,
    codes,
    function_of,
    run_code,
    shape,
)

pytestmark = pytest.mark.prefect


def test_steps_after_a_branch_come_once(traced: TraceFlow) -> None:
    pipeline, _ = traced("one(1)\nif x == 'a':\n    two(2)\nelse:\n    two(3)\nis_good(4)")
    assert shape(pipeline) == ["one", ["Condition", ["two"], ["two-2"]], "is-good"]
    last = pipeline.step("is-good")
    assert last is not None
    assert last.depends_on == ("Condition", "two", "two-2")
    assert last.engine.trigger_rule == "none_failed"


def test_first_call_has_the_name_of_the_task(traced: TraceFlow) -> None:
    """Even if the path that is traced first does not reach it."""
    pipeline, losses = traced("if is_good(x):\n    two(x)\nelse:\n    one(x)\nlast = one('z')\n")
    assert shape(pipeline) == ["is-good", ["Condition", ["two"], ["one"]], "one-2"]
    assert losses == ()
    last = pipeline.step("one-2")
    assert last is not None
    assert last.depends_on == ("Condition", "two", "one")


def test_subflow_that_raises_ends_the_flow(traced: TraceFlow) -> None:
    pipeline, _ = traced(
        "inner(x)\ntwo(x)",
        before="@flow\ndef inner(x: str):\n    if x == 'a':\n        raise ValueError('bad')\n\n",
    )
    last = pipeline.step("two")
    assert last is not None
    assert last.depends_on == ("Condition", "Fail")
    assert last.engine.trigger_rule == "none_failed"


def test_variable_of_both_branches_is_joined(traced: TraceFlow) -> None:
    pipeline, losses = traced("a = one(1) if x == 'a' else one(2)\ntwo(a)")
    assert shape(pipeline) == [["Condition", ["one"], ["one-2"]], "a", "two"]
    joined = pipeline.step("a")
    assert isinstance(joined, PythonStep)
    assert joined.engine.trigger_rule == "none_failed_min_one_success"
    assert joined.arguments["args"] == (
        get("Steps.Condition.Outcome"),
        get("Steps.one.return_value"),
        get("Steps.one-2.return_value"),
    )
    assert run_code(joined, "True", 1, None) == 1
    assert run_code(joined, "False", None, 2) == 2
    assert losses == ()


def test_return_and_raise_end_a_path(traced: TraceFlow) -> None:
    body = "if not is_good(x):\n    raise ValueError('bad ' + x)\nif x != '':\n    return\ntwo(x)"
    pipeline, losses = traced(body)
    assert shape(pipeline) == [
        "is-good",
        ["Condition", ["Fail"], [["Condition-2", [], ["two"]]]],
    ]
    assert codes(losses) == ["info raised"]


def test_each_branch_is_followed_once(traced: TraceFlow) -> None:
    pipeline, _ = traced("if x == 'a':\n    one(1)\ntwo(2)\nif x == 'a':\n    one(3)")
    assert shape(pipeline) == [["Condition", ["one"], []], "two", ["Condition-2", ["one-2"], []]]
    pipeline, _ = traced("".join(f"if x == '{n}':\n    one({n})\n" for n in range(9)))
    assert len(pipeline.steps) == 9


def test_task_of_a_later_part_of_a_test_runs_only_if_needed(traced: TraceFlow) -> None:
    pipeline, _ = traced("if x == 'a' and is_good(x):\n    one(1)\nelse:\n    two(2)")
    inner = ["is-good", ["Condition-2", ["one"], ["two"]]]
    assert shape(pipeline) == [["Condition", inner, ["two-2"]]]


@pytest.mark.parametrize(
    ("body", "code", "own"),
    [
        ("while is_good(x): two(x)", "run-time-loop", ["is-good"]),
        ("match one(x):\n    case {'a': a}: two(a)\n    case _: two(0)", "run-time-type", ["one"]),
        ("try:\n    a = one(x)\nexcept ValueError:\n    a = 0", "failure-handling", ["one"]),
        ("for i in one(x):\n    if i: break\n    two(i)", "run-time-code", ["one"]),
        ("d = {}\nfor i in one(x): d[i] = two(i)\none(d)", "run-time-code", ["d", "one"]),
        ("fs = {'a': one, 'b': two}\nfs[x](x)", "run-time-code", ["fs"]),
    ],
)
def test_other_statements_call_their_tasks_themselves(
    traced: TraceFlow, body: str, code: str, own: list[str]
) -> None:
    """The statement is one step, and the rest of the flow has its own steps."""
    pipeline, losses = traced(f"{body}\ntwo('after')")
    (loss,) = [loss for loss in losses if loss.code == code]
    assert loss.severity == "changed"
    assert "calls its tasks itself" in loss.what
    assert int(loss.place.rpartition(":")[2]) > 13
    names = [step.name for step in walk(pipeline)]
    assert names == [*own, "two"]
    step = pipeline.step(own[0])
    assert isinstance(step, PythonStep)
    assert "@task\ndef " in step.function.module


@pytest.mark.parametrize(
    "body",
    [
        "one.submit(x).state.is_failed()",
        "s = one(x, return_state=True)",
        "for i in one(x):\n    if i: return two(i)",
    ],
)
def test_flow_that_cannot_be_divided_is_one_step(traced: TraceFlow, body: str) -> None:
    pipeline, losses = traced(f"{body}\ntwo('after')")
    (step,) = pipeline.steps
    assert isinstance(step, PythonStep)
    assert "two('after')" in step.function.code
    assert [one.severity for one in losses] == ["changed"]


@pytest.mark.parametrize(
    ("before", "body", "names"),
    [
        (METHODS, "return Holder('a').run(x)", ["f"]),
        (
            "",
            "if (best := max(one(x))) > 3:\n    two(best)",
            ["one", "best", "best-above-3", "two"],
        ),
        (GENERATOR, "two(list(each()))", ["one", "one-2", "two"]),
        (LEASE, "with lease() as name:\n    two(name)\none(x)", ["two", "one"]),
        (
            "import asyncio\n",
            "async with asyncio.TaskGroup() as g:\n    g.create_task(one(x))\ntwo(x)",
            ["f"],
        ),
    ],
    ids=["methods", "walrus", "generator", "effect", "asyncio"],
)
def test_each_task_is_called_once(
    traced: TraceFlow, before: str, body: str, names: list[str]
) -> None:
    """Whether a step or other code calls it, which is reported."""
    pipeline, losses = traced(body, before=before)
    assert [step.name for step in walk(pipeline) if step.name != "Condition"] == names
    own = {loss.step for loss in losses if loss.severity == "changed"}
    assert own <= set(names)
    assert ("f" in own) == (names == ["f"])


def test_step_does_not_have_the_name_of_an_iteration(traced: TraceFlow) -> None:
    pipeline, _ = traced("for i in one(x): two(i)\ntwo(x)\ntwo(x)")
    assert [step.name for step in walk(pipeline)] == [
        "one",
        "for-each",
        "two",
        "two-after",
        "two-after-2",
    ]
    pipeline, _ = traced("two(x)\ntwo(x)\nfor i in [one(x)]: one(i)\nfor i in one(x): two(i)")
    assert [step.name for step in walk(pipeline)][-1] == "two-3"


def test_results_of_tasks_that_a_step_started_are_values(traced: TraceFlow) -> None:
    body = (
        "all = [one.submit(i) for i in two(x) if i]\nfound = [a.result() for a in all]\none(found)"
    )
    pipeline, _ = traced(body)
    second = pipeline.step("found")
    assert isinstance(second, PythonStep)
    assert run_code(second, [1, 2]) == [1, 2]


def test_results_of_a_loop_of_submits_are_values(traced: TraceFlow) -> None:
    started = "all = [one.submit(i) for i in two(x)]\n"
    pipeline, losses = traced(f"{started}is_good([a.result() for a in all])")
    code = pipeline.step("all")
    assert isinstance(code, PythonStep)
    assert run_code(code, [1, 2]) == [1, 2]
    assert losses == ()
    looks = "found = [a for a in all if a.state.is_failed()]\ntwo(found)"
    pipeline, losses = traced(f"{started}{looks}")
    assert [step.name for step in pipeline.steps] == ["f"]
    assert [loss.code for loss in losses] == ["task-state"]


def test_collections_keep_their_types(traced: TraceFlow) -> None:
    body = "rows = one(x)\nd = defaultdict(list)\nfor i in rows:\n    d[i].append(i)\ntwo(d)"
    pipeline, _ = traced(f"from collections import defaultdict\n{body}")
    code = pipeline.step("d")
    assert isinstance(code, PythonStep)
    assert run_code(code, [1, 1, 2]) == {1: [1, 1], 2: [2]}


def test_failure_that_the_flow_does_not_see_is_reported(traced: TraceFlow) -> None:
    _, losses = traced("a = one.submit(x)\ntwo.submit(x)\ntwo(a)\nis_good.submit(x).result()")
    found = [(one.severity, one.code, one.step) for one in losses]
    assert found == [("changed", "task-state", "two")]


def test_test_for_none_is_not_decided_while_reading(traced: TraceFlow) -> None:
    body = "if day is None:\n    day = 'today'\none(day)\ntwo(chosen(day))"
    pipeline, losses = traced(
        body, "day: str | None = None", before="def chosen(a): return 'no' if a is None else a\n\n"
    )
    assert losses == ()
    codes = [one for one in pipeline.steps if isinstance(one, PythonStep)]
    decided = next(one for one in codes if "is None" in one.function.code)
    assert [run_code(decided, one) for one in (None, "b")] == ["today", "b"]


def test_loops_over_run_time_lists(traced: TraceFlow) -> None:
    body = """
results = []
for item in one(x):
    results.append(two(one(item)))
one([is_good(i) for i in range(one(x))])
two(results)
"""
    pipeline, losses = traced(body)
    assert losses == ()
    first, second = [step for step in pipeline.steps if isinstance(step, ForEachStep)]
    assert (first.max_concurrency, first.items) == (1, get("Steps.one.return_value"))
    assert [step.name for step in first.body or ()] == ["one-2", "two"]
    last = pipeline.step("two-after")
    assert last is not None
    assert last.arguments["args"] == (get("Steps.for-each.return_value"),)
    items = pipeline.step("items")
    assert isinstance(items, PythonStep)
    assert run_code(items, 3) == [0, 1, 2]
    assert second.items == get("Steps.items.return_value")


def test_for_over_a_known_list_has_a_step_per_item(traced: TraceFlow) -> None:
    body = "total = 0\nfor k in (1, 2):\n    total += one(k)\ntwo(total)"
    pipeline, losses = traced(body)
    assert [step.name for step in walk(pipeline)] == ["one", "total", "one-2", "total-2", "two"]
    total = pipeline.step("total-2")
    assert isinstance(total, PythonStep)
    assert run_code(total, 3, 4) == 7
    assert losses == ()


@pytest.mark.parametrize(
    ("value", "given", "result"),
    [
        ("n + 1", 2, 3),
        ("n / 2", 3, 1.5),
        ("len(x)", "ab", 2),
        ("json.dumps([x])", "a", '["a"]'),
        ("x.upper()", "a", "A"),
        ("x.startswith('a')", "ab", True),
        ("x[0]", "ab", "a"),
        ("f'{n:03}'", 7, "007"),
        ("sorted({k for k in [n, 1]})", 0, [0, 1]),
    ],
)
def test_computed_value_is_a_step(
    traced: TraceFlow, value: str, given: object, result: object
) -> None:
    pipeline, losses = traced(f"import json\ntwo({value})", "x: str, n: int = 1")
    code, task = pipeline.steps
    assert isinstance(code, PythonStep)
    assert run_code(code, given) == result
    assert task.arguments["args"] == (get(f"Steps.{code.name}.return_value"),)
    assert losses == ()


def test_function_of_a_step_has_its_name(traced: TraceFlow) -> None:
    pipeline, _ = traced("two(n + 1)\ntwo(n + 2)\ntwo(n + 1)", "n: int = 1")
    made = [one for one in pipeline.steps if isinstance(one, PythonStep)]
    names = [(one.name, one.function.name) for one in made if one.function.name != "two"]
    assert names == [("n", "n"), ("n-2", "n_2")]


def test_steps_of_arguments_come_first_in_their_order(traced: TraceFlow) -> None:
    pipeline, losses = traced(
        "two(x)\ntwo(sizes)\ntwo(day)",
        "x: str, day: datetime.date, sizes: tuple[int, ...] = (1,)",
        before="import datetime\n\n",
    )
    assert losses == ()
    assert [one.name for one in pipeline.steps][:3] == ["parse-day", "parse-sizes", "two"]


def test_attribute_of_a_model_argument_is_part_of_its_step(traced: TraceFlow) -> None:
    model = "class Size(BaseModel):\n    rows: int = 2\n    tags: set[str] = set()\n\n"
    body = "if size.rows > 3:\n    two(size.tags)\none(f'{size.rows}')"
    before = f"from pydantic import BaseModel\n\n{model}"
    pipeline, losses = traced(body, "size: Size = Size()", before=before)
    assert losses == ()
    assert pipeline.declared[0].default == {"rows": 2, "tags": ()}
    made, condition, last = pipeline.steps
    assert isinstance(made, PythonStep)
    assert "return Size.model_validate(size)" in made.function.code
    assert "class Size(BaseModel)" in made.function.module
    rows = get("Steps.parse-size.return_value['rows']")
    assert isinstance(condition, ConditionStep)
    assert condition.conditions == (Comparison("GreaterThan", rows, 3),)
    assert last.arguments["args"] == (join("", rows),)


def test_statements_on_run_time_values_are_one_step(traced: TraceFlow) -> None:
    body = """
rows = one(x)
best, count = None, 0
for row in rows:
    count += row["n"]
    if best is None or row["n"] > best:
        best = row["n"]
share = best / count
two(share)
"""
    pipeline, losses = traced(body)
    _, code, last = pipeline.steps
    assert isinstance(code, PythonStep)
    values = {"rows": [{"n": 1}, {"n": 3}], "count": 0, "best": None}
    given = [values[one] for one in inspect.getfullargspec(function_of(code)).args]
    assert run_code(code, *given) == 0.75
    assert last.arguments["args"] == (get(f"Steps.{code.name}.return_value"),)
    assert losses == ()


def test_values_that_are_not_json_are_made_by_a_step(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"from dataclasses import dataclass\nfrom datetime import date\nfrom pathlib import Path\n"
        f"{IMPORTS}{TASKS}@dataclass\nclass Settings:\n    day: date\n\n"
        "@flow\ndef f(n: int):\n    one(Settings(date(2024, 1, 2)))\n    two([Path('/a'), n])\n"
    )
    ((pipeline, losses),) = trace(file)
    first, _, second, _ = pipeline.steps
    assert isinstance(first, PythonStep)
    assert isinstance(second, PythonStep)
    assert str(run_code(first)) == "Settings(day=datetime.date(2024, 1, 2))"
    assert run_code(second, 3) == [Path("/a"), 3]
    assert losses == ()


@pytest.mark.parametrize(
    "value", ["f'a/{x}/b'", "'a/' + x + '/b'", "'/'.join(['a', x, 'b'])", "'a/%s/b' % x", "str(x)"]
)
def test_strings_become_joins(traced: TraceFlow, value: str) -> None:
    pipeline, losses = traced(f"two({value})")
    assert losses == ()
    assert "Parameters.x" in json.dumps(definition(pipeline)["Steps"])
    assert "\\ue000" not in json.dumps(definition(pipeline))


@pytest.mark.parametrize("uses", ["", "\n    return PLACE"])
@pytest.mark.parametrize(
    ("annotation", "type_"),
    [("int", "Integer"), ("float", "Float"), ("'bool'", "Boolean"), ("str", "String")],
)
def test_task_result_keeps_its_annotated_type(
    uses: str, annotation: str, type_: str, tmp_path: Path
) -> None:
    """Carried or dropped; otherwise a Condition would compare strings with numbers."""
    file = tmp_path / "flow.py"
    head = f"from pathlib import Path\n{IMPORTS}{TASKS}PLACE = input\n"
    task = f"@task\ndef load(path: Path) -> {annotation}:{uses or ' return 1'}\n"
    body = "    rows = load('a')\n    if rows == two(rows):\n        one(rows)\n"
    file.write_text(f"{head}{task}@flow\ndef f():\n{body}")
    pipeline, _ = trace(file)[0]
    asked = without_carried(pipeline)[0].declared
    assert ("load", type_) in [(one.name, one.type) for one in asked]


def test_combined_test_is_one_condition(traced: TraceFlow) -> None:
    body = "if 1 < n <= 5 and not (x in ('a', 'b') or flag):\n    one(1)\nelse:\n    two(2)"
    pipeline, losses = traced(body, "x: str, n: int = 1, flag: bool = False")
    assert losses == ()
    assert shape(pipeline) == [["Condition", ["one"], ["two"]]]


def test_wrong_argument_of_a_subflow_is_a_loss(traced: TraceFlow) -> None:
    before = "@flow\ndef inner(y: str):\n    one(y)\n\n"
    _, losses = traced("one(x)\ninner(z=x)", before=before)
    assert [loss.what.partition(":")[0] for loss in losses] == ["inner()"]
