"""Every construct of Prefect is in a table, and what is in no table is reported."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect
import pytest

from sagebridge.formats.prefect import constructs
from sagebridge.formats.prefect.constructs import (
    CONTEXT_MANAGERS,
    DEPLOYMENT_OPTIONS,
    FLOW_OPTIONS,
    STATEMENTS,
    TASK_OPTIONS,
    option_losses,
    statement_rule,
)
from sagebridge.formats.prefect.flow_options import unsupported_options
from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import CODES, Loss
from sagebridge.model.pipeline import Pipeline, walk

pytestmark = pytest.mark.prefect

HEAD = """\
import contextlib
from prefect import flow, tags, task
from prefect.states import Cancelled, Completed

@task
def one(x): return x

@task
def two(x): return x

class Lease:
    def __enter__(self): return self
    def __exit__(self, *error): return None

@contextlib.contextmanager
def timer():
    yield "t"

"""


@pytest.fixture
def traced(tmp_path: Path) -> Callable[[str], tuple[Pipeline, list[Loss]]]:
    """Trace the last flow of a file; lines of losses are relative to the end of ``HEAD``."""

    def traces(text: str) -> tuple[Pipeline, list[Loss]]:
        file = tmp_path / "flow.py"
        file.write_text(HEAD + text)
        pipeline, losses = trace(file)[-1]
        return pipeline, list(losses)

    return traces


def lines(losses: list[Loss]) -> list[tuple[int, str, str]]:
    first = len(HEAD.splitlines())
    return [
        (int(loss.place.rpartition(":")[2]) - first, loss.severity, loss.code) for loss in losses
    ]


@pytest.mark.parametrize(
    ("function", "table"),
    [
        (prefect.flow, FLOW_OPTIONS),
        (prefect.Flow.with_options, FLOW_OPTIONS),
        (prefect.task, TASK_OPTIONS),
        (prefect.Task.with_options, TASK_OPTIONS),
        (prefect.Flow.serve, DEPLOYMENT_OPTIONS),
        (prefect.Flow.deploy, DEPLOYMENT_OPTIONS),
        (prefect.Flow.to_deployment, DEPLOYMENT_OPTIONS),
        (prefect.serve, DEPLOYMENT_OPTIONS),
        (prefect.deploy, DEPLOYMENT_OPTIONS),
    ],
)
def test_every_argument_of_prefect_is_in_a_table(
    function: Callable[..., Any], table: constructs.Table
) -> None:
    names = {name for name in inspect.signature(function).parameters if not name.endswith("__fn")}
    assert names - {"self", "args", "kwargs", "deployments"} <= table.keys()


@pytest.mark.parametrize("table", [FLOW_OPTIONS, TASK_OPTIONS, DEPLOYMENT_OPTIONS])
def test_unknown_argument_is_reported(table: constructs.Table) -> None:
    (lost,) = option_losses(table, [("brand_new", "3")])
    assert (lost.severity, lost.code) == ("changed", "engine-option")
    assert "brand_new=3" in lost.what


def test_option_without_a_rule_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an argument that a later Prefect adds."""

    def function() -> None: ...

    a_flow = prefect.Flow(function, log_prints=True)
    a_task = prefect.Task(function, refresh_cache=True)
    monkeypatch.delitem(FLOW_OPTIONS, "log_prints")
    monkeypatch.delitem(TASK_OPTIONS, "refresh_cache")
    for item, text in ((a_flow, "log_prints=True"), (a_task, "refresh_cache=True")):
        (lost,) = unsupported_options(item)
        assert lost.severity == "changed"
        assert text in lost.what


def test_every_rule_has_a_known_code() -> None:
    tables = (FLOW_OPTIONS, TASK_OPTIONS, DEPLOYMENT_OPTIONS, STATEMENTS, CONTEXT_MANAGERS)
    for table in tables:
        for rule in table.values():
            assert isinstance(rule, str) or rule.code in CODES


def test_every_statement_is_in_the_table() -> None:
    kinds = {
        name
        for name, kind in vars(ast).items()
        if isinstance(kind, type) and issubclass(kind, ast.stmt) and kind.__module__ == "ast"
    }
    assert kinds - {"stmt"} <= STATEMENTS.keys()
    unknown = statement_rule("Teleport")
    assert unknown is not None
    assert unknown.severity == "changed"


def test_statement_without_a_rule_is_reported(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    _, losses = traced(
        "COUNT = 0\n"
        "@flow\n"
        "def f(x: str):\n"
        "    global COUNT\n"
        "    COUNT = 1\n"
        "    try:\n"
        "        one(x)\n"
        "    finally:\n"
        "        pass\n"
    )
    assert lines(losses) == [(4, "changed", "run-time-code"), (6, "changed", "failure-handling")]


def test_context_managers_are_reported(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    """Also those of the file itself, whose values are used."""
    pipeline, losses = traced(
        "@flow\n"
        "def f(x: str):\n"
        "    with tags('gpu', 'eu'):\n"
        "        one(x)\n"
        "    with Lease():\n"
        "        one(x)\n"
        "    with timer() as t, contextlib.nullcontext():\n"
        "        two(t)\n"
        "    with contextlib.suppress(ValueError):\n"
        "        one(x)\n"
        "    with two(x) as opened:\n"
        "        one(opened)\n"
    )
    assert lines(losses) == [
        (5, "changed", "run-time-code"),
        (7, "changed", "run-time-code"),
        (9, "changed", "failure-handling"),
        (11, "changed", "run-time-code"),
    ]
    assert "calls its tasks itself" in losses[-1].what
    assert [step.name for step in walk(pipeline)] == ["one", "one-2", "two", "one-3", "two-2"]
    assert pipeline.steps[0].engine.tags == ("gpu", "eu")
    assert pipeline.steps[1].engine.tags == ()


@pytest.mark.parametrize(
    ("result", "severity"),
    [
        ("one(x)", "info"),
        ("[one(x), two.submit(x)]", "info"),
        ("{'a': one(x)['part']}", "info"),
        ("Completed(message='good')", "info"),
        ("'done'", "changed"),
        ("x", "changed"),
    ],
)
def test_returned_value_is_reported(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]], result: str, severity: str
) -> None:
    helper = "def help(x):\n    return 3\n"
    _, losses = traced(f"{helper}@flow\ndef f(x: str):\n    help(x)\n    return {result}\n")
    assert lines(losses) == [(6, severity, "flow-result")]


def test_other_final_states_become_a_fail_step(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced("@flow\ndef f(x: str):\n    return Cancelled(message='no')\n")
    assert [(step.name, step.type) for step in pipeline.steps] == [("Fail", "Fail")]
    assert lines(losses) == [(3, "changed", "task-state")]


@pytest.mark.parametrize("word", ["def", "async def"])
def test_generator_flow_has_its_steps(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]], word: str
) -> None:
    pipeline, losses = traced(f"@flow\n{word} f(x: str):\n    yield one(x)\n    two(x)\n")
    assert [step.name for step in pipeline.steps] == ["one", "two"]
    assert lines(losses) == [(3, "changed", "flow-result")]


def test_failed_assertion_becomes_a_fail_step(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced("@flow\ndef f(x: str):\n    assert x == 'a', 'bad'\n    one(x)\n")
    assert [step.name for step in walk(pipeline)] == ["Condition", "Fail", "one"]
    assert lines(losses) == [(3, "info", "raised")]


def test_subflow_waits_for_tasks(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, _ = traced(
        "@flow\ndef inner(x: str):\n    one(x)\n\n"
        "@flow\ndef f(x: str):\n    first = two.submit(x)\n    inner(x, wait_for=[first])\n"
    )
    (last,) = [step for step in pipeline.steps if step.name == "one"]
    assert last.depends_on == ("two",)


def test_awaited_helpers_are_followed(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced(
        "import asyncio\n"
        "async def helper(x):\n    await asyncio.sleep(1)\n    return one(x)\n\n"
        "@flow\nasync def f(x: str):\n"
        "    a, b = await asyncio.gather(helper(x), two(x))\n    one(a)\n"
    )
    assert [step.name for step in pipeline.steps] == ["sleep", "one", "two", "one-2"]
    assert losses == []


def test_flow_keeps_its_description(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced("@flow(description='Every night.')\ndef f(x: str):\n    one(x)\n")
    assert (pipeline.description, losses) == ("Every night.", [])


def test_settings_of_tasks_and_flows_are_kept(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced(
        "def report(flow, run, state):\n    print(state)\n\n"
        "@task(retries=3, retry_delay_seconds=[1, 5], timeout_seconds=60, on_failure=[report])\n"
        "def three(x): return x\n\n"
        "@flow\ndef inner(x: str):\n    three(x)\n\n"
        "@flow(retries=1, retry_delay_seconds=10, timeout_seconds=900, on_crashed=[report])\n"
        "def f(x: str):\n    inner(x)\n    inner(x)\n"
    )
    assert [one.severity for one in losses] == ["info", "info"]
    assert pipeline.engine.given.keys() == {"retries", "retry_delays", "timeout", "hooks"}
    assert pipeline.engine.timeout == 900
    assert [(one.event, one.function.name) for one in pipeline.engine.hooks] == [
        ("crashed", "report")
    ]
    first, second = pipeline.steps
    assert (first.engine.retries, first.engine.retry_delays) == (3, (1, 5))
    assert first.engine.timeout == 60
    assert (first.engine.group, second.engine.group) == (("inner",), ("inner-2",))
    assert [one.engine for one in first.engine.hooks] == ["prefect"]


SUBFLOW = """\
from prefect.task_runners import ThreadPoolTaskRunner
def report(flow, run, state):
    print(state)

@task(on_failure=[report])
def three(x): return x

@flow(
    retries=2,
    retry_delay_seconds=5,
    timeout_seconds=60,
    on_failure=[report],
    on_crashed=[report],
    task_runner=ThreadPoolTaskRunner(max_workers=1),
    persist_result=True,
    log_prints=True,
)
def inner(x: str):
    three(x)

quick = inner.with_options(retries=7)

@flow
def outer(x: str):
    inner(x)

"""
OWN_OPTIONS = [
    *[(9, "dropped", "retries"), (11, "dropped", "timeout"), (12, "dropped", "callback")],
    *[(13, "dropped", "callback"), (14, "changed", "concurrency"), (15, "changed", "cache")],
    (16, "info", "engine-option"),
]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("inner(x)\n    inner(x)", OWN_OPTIONS),
        ("outer(x)", OWN_OPTIONS),
        ("for part in one(x):\n        inner(part)", OWN_OPTIONS),
        ("quick(x)", [*OWN_OPTIONS[1:], (21, "dropped", "retries")]),
        (
            "try:\n        outer(x)\n    except ValueError:\n        two(x)",
            [*OWN_OPTIONS[2:], (29, "changed", "failure-handling"), (29, "dropped", "callback")],
        ),
    ],
    ids=["twice", "in a subflow", "in a loop", "with_options", "in code"],
)
def test_options_of_a_subflow_are_reported_where_it_has_them(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
    body: str,
    expected: list[tuple[int, str, str]],
) -> None:
    """Once, also if a step calls it: then it has its retries and time limit."""
    _, losses = traced(f"{SUBFLOW}@flow\ndef f(x: str):\n    {body}\n")
    assert [one for one in lines(losses) if one[2] != "subflow"] == expected


def test_deployments_on_import_start_nothing(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, _ = traced(
        "from prefect import serve\n@flow\ndef f(x: str):\n    one(x)\n"
        "f.serve('a', cron='0 0 * * *')\nserve(f.to_deployment('b'))\n"
        "f.deploy('c', work_pool_name='p')\n"
    )
    assert [step.name for step in pipeline.steps] == ["one"]


def test_allow_failure_in_wait_for_is_a_trigger(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    text = """
from prefect import allow_failure

@flow
def f(x: str):
    first, second = one.submit(x), two.submit(x)
    third = one.submit(x, wait_for=[allow_failure(first), second])
    two.submit(x, wait_for=[third, first])
    second.result()
    two.submit(x, wait_for=allow_failure([second, third]))
"""
    pipeline, losses = traced(text)

    assert [list(step.triggers) for step in walk(pipeline)][2:] == [
        [("one", "Any"), ("two", "Completed")],
        [("one-2", "Completed"), ("one", "Completed")],
        [("two", "Any"), ("one-2", "Any")],
    ]
    assert [one.code for one in losses if one.code == "trigger-rule"] == []


def test_task_with_results_that_may_fail_runs_after_all(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced(
        "from prefect import allow_failure\n"
        "@task\ndef both(*x): return x\n\n"
        "@flow\ndef f(x: str):\n    found = [one.submit(x), two.submit(x)]\n"
        "    both(*[allow_failure(it) for it in found])\n"
        "    both(allow_failure(found[0]), found[1])\n"
    )
    first, second = (step for step in pipeline.steps if step.name.startswith("both"))
    assert first.engine.trigger_rule == "all_done"
    assert second.engine.trigger_rule == ""
    assert lines(losses) == [(9, "changed", "trigger-rule")]


def test_functions_inside_a_flow_are_followed(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced(
        "@flow\ndef f(x: str):\n    def both(v):\n        return two(one(v))\n"
        "    one([both(v) for v in (x, 'b')])\n"
    )
    assert [step.name for step in pipeline.steps] == ["one", "two", "one-2", "two-2", "one-3"]
    assert losses == []


def test_gathered_tasks_have_their_steps(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    pipeline, losses = traced(
        "import asyncio\n@task\nasync def three(x): return x\n\n@flow\nasync def f(x: str):\n"
        "    made = [asyncio.create_task(three(i)) for i in range(2)]\n"
        "    two(await asyncio.gather(*made))\n"
        "    one(await asyncio.gather(*[three(i) for i in await three(x)]))\n"
    )
    names = [step.name for step in walk(pipeline)]
    assert names == ["three", "three-2", "two", "three-3", "for-each", "three-4", "one"]
    loop = pipeline.step("for-each")
    assert isinstance(loop, ForEachStep)
    assert loop.max_concurrency == 50
    assert losses == []


def test_loss_of_a_flow_has_the_line_of_its_argument(
    traced: Callable[[str], tuple[Pipeline, list[Loss]]],
) -> None:
    lost = "validate_parameters=False"
    _, losses = traced(f"@flow(\n    name='x',\n    {lost},\n)\ndef it():\n    one(1)\n")
    assert lines([one for one in losses if "validate" in one.what]) == [
        (3, "info", "engine-option")
    ]
