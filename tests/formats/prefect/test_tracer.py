"""Tracing of hand-written flows: pipelines, losses and errors."""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagebridge.authoring.definition_writer import definition
from sagebridge.errors import SourceError
from sagebridge.formats.prefect.reader import read
from sagebridge.formats.prefect.tracer import trace
from sagebridge.formats.sagemaker.validator import validate
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.code_removal import without_carried
from sagebridge.model.code_steps import PythonStep, StubStep
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.expressions import get
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import CODES, Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge.model.schedules import Schedule

pytestmark = pytest.mark.prefect

HERE = Path(__file__).parent
FLOWS = sorted((HERE / "flows").glob("*.py"))
GOLDEN = HERE.parent.parent / "golden" / "traced"
IMPORTS = "from prefect import flow, task\n"
ENGINE = """
from prefect import pause_flow_run, runtime
from prefect.blocks.system import Secret
from prefect.concurrency.asyncio import concurrency as acquire
from prefect.concurrency.asyncio import rate_limit as wait_for_slot
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.states import Failed
from prefect.variables import Variable
"""
TASKS = """
@task
def one(x): return x

@task
def two(x): return x

@task
def is_good(x) -> bool: return x

"""
METHODS = """
class Holder:
    def __init__(self, text): self.text = text

    @task
    def put(self, x): return x

    def run(self, x): return [self.put(one(x))] * 2

"""
GENERATOR = """
def each():
    for text in "ab": yield one(text)

"""
LEASE = """
import contextlib, socket

@contextlib.contextmanager
def lease():
    socket.create_connection(("127.0.0.1", 9))
    yield "lease"

"""
ENGINE_WORDS = (
    "Failed",
    "Secret",
    "Variable",
    "concurrency",
    "deployment",
    "emit",
    "limit",
    "pause",
    "runtime",
)
TraceFlow = Callable[..., tuple[Pipeline, tuple[Loss, ...]]]


@pytest.fixture
def traced(tmp_path: Path) -> TraceFlow:
    """Trace a flow with this body and these arguments."""

    def traces(
        body: str, arguments: str = "x: str", before: str = ""
    ) -> tuple[Pipeline, tuple[Loss, ...]]:
        file = tmp_path / "flow.py"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        engine = ENGINE if any(word in body for word in ENGINE_WORDS) else ""
        word = "async def" if "async " in body else "def"
        file.write_text(f"{IMPORTS}{engine}{TASKS}{before}@flow\n{word} f({arguments}):\n{lines}")
        return trace(file)[-1]

    return traces


def trace_error(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(SourceError) as error:
        trace(file)
    assert str(error.value).startswith(str(file))
    return str(error.value).removeprefix(str(file))


def shape(pipeline: Pipeline) -> Any:
    """Names of steps; a Condition is [name, if branch, else branch]."""

    def of(steps: Any) -> list[Any]:
        return [
            [one.name, of(one.if_steps or ()), of(one.else_steps or ())]
            if isinstance(one, ConditionStep)
            else one.name
            for one in steps
        ]

    return of(pipeline.steps)


def function_of(step: PythonStep) -> Any:
    """The function of a step."""
    scope: dict[str, Any] = {"__name__": "carried"}
    sys.modules["carried"] = types.ModuleType("carried")
    exec(step.function.module or step.function.code, scope)
    return scope[step.function.name]


def run_code(step: PythonStep, *arguments: Any) -> Any:
    """The result of a step's function."""
    return function_of(step)(*arguments)


def codes(losses: tuple[Loss, ...]) -> list[str]:
    return [f"{loss.severity} {loss.code}" for loss in losses]


@pytest.mark.parametrize("file", FLOWS, ids=[file.stem for file in FLOWS])
def test_hand_written_flows(file: Path, pytestconfig: pytest.Config) -> None:
    """Each matches its golden file and is a valid definition."""
    found = []
    for pipeline, losses in trace(file):
        text, left_out = write(pipeline)
        errors = [one.code for one in validate(text) if one.severity == "error"]
        # A flow with only Python tasks or untraceable code has no steps, but losses.
        only_python = not json.loads(text)["Steps"] and (left_out or losses)
        assert errors == (["no-steps"] if only_python else [])
        assert all(loss.code in CODES for loss in losses)
        found.append(
            {
                "name": pipeline.name,
                "definition": definition(pipeline),
                "code": {
                    one.name: one.function.text.splitlines()
                    for one in walk(pipeline)
                    if isinstance(one, PythonStep)
                },
                "losses": [str(loss).replace(str(file), file.name) for loss in losses],
                "for SageMaker": [str(loss).replace(str(file), file.name) for loss in left_out],
            }
        )
    golden = GOLDEN / f"{file.stem}.json"
    if pytestconfig.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(golden.read_text())


def test_reader_traces_hand_written_flows() -> None:
    pipeline, losses = read(HERE / "flows" / "training.py")
    assert [step.name for step in walk(pipeline)][:3] == ["prepare", "train", "evaluate"]
    assert losses


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
        ("", "if (best := max(one(x))) > 3:\n    two(best)", ["one", "best", "test", "two"]),
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
    code = pipeline.step("value")
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
    assert [loss.severity for loss in losses] == ["info"]
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
    assert task.arguments["args"] == (get("Steps.value.return_value"),)
    assert losses == ()


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


def test_import_errors(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    assert trace_error(file, "import nothing_like_it\n").startswith(
        ":1: needs the module 'nothing_like_it', which is not installed; "
    )
    assert trace_error(file, "x = 1\n1 / 0\n").startswith(":2: raised on import: ZeroDivisionError")
    assert "starts or signals a process on import" in trace_error(
        file, "import os\nos.system('true')\n"
    )
    run = f"{IMPORTS}@flow\ndef f(): ...\nf()\n"
    assert trace_error(file, run).startswith(":4: runs a flow on import")
    assert "exits the program on import" in trace_error(file, "import sys\nsys.exit(3)\n")
    assert "ended its import process (exit code 3)" in trace_error(file, "import os\nos._exit(3)\n")


def test_syntax_error_in_another_module(tmp_path: Path) -> None:
    (tmp_path / "broken_helper.py").write_text("\n\n\ndef f(:\n")
    text = trace_error(tmp_path / "f.py", "\nimport broken_helper\n")
    assert text == ":2: is not valid Python: invalid syntax"


def test_with_block_in_another_branch(tmp_path: Path) -> None:
    text = """
from sagebridge_operators.prefect import condition, equals, fail, finish
@flow
def f(x: str, y: str = ""):
    check = condition("Check", conditions=[equals(x, "a")])
    if y == "b":
        with check.met():
            fail("No", error_message=x)
    return finish()
"""
    said = trace_error(tmp_path / "f.py", IMPORTS + text)
    assert "a with block of 'Check' is inside an if statement, but the condition is not" in said


def test_plain_if_on_a_condition_step(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text(
        IMPORTS
        + """
from sagebridge_operators.prefect import condition, equals, fail, finish
@flow
def f(x: str):
    check = condition("Check", conditions=[equals(x, "a")])
    for name in "ab":
        if check:
            fail(f"Yes-{name}", error_message=f"{x}: {name}")
        else:
            fail("No" + name, error_message=x)
    return finish()
"""
    )
    ((pipeline, losses),) = trace(file)
    assert losses == ()
    assert shape(pipeline) == [["Check", ["Yes-a", "Yes-b"], ["Noa", "Nob"]]]


@pytest.mark.cold
def test_tracing_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bytecode next to the file, no Prefect home, no temporary files."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "common.py").write_text("NAME = 'told'\n")
    text = f"{IMPORTS}import common\nprint('noise')\n@flow(name=common.NAME)\ndef f(): ...\n"
    (folder / "f.py").write_text(text)
    ((pipeline, _),) = trace(folder / "f.py")
    assert pipeline.name == "told"
    assert sorted(one.name for one in folder.iterdir()) == ["common.py", "f.py"]
    assert not (tmp_path / "home").exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "value",
    [
        "datetime.datetime.now().isoformat()",
        "datetime.date.today()",
        "time.time()",
        "str(uuid.uuid4())",
        "os.environ.get('STAGE')",
        "os.getenv('STAGE', 'dev')",
        "random.choice(['a', 'b'])",
        "runtime.flow_run.name",
        "runtime.flow_run.scheduled_start_time",
    ],
)
def test_value_that_varies_by_run_is_computed_in_the_run(value: str, traced: TraceFlow) -> None:
    pipeline, losses = traced(f"import datetime, os, random, time, uuid\none({value})")
    code, _ = pipeline.steps
    assert isinstance(code, PythonStep)
    assert value in code.function.code
    assert losses == ()


def test_variable_of_the_server_becomes_a_parameter(traced: TraceFlow) -> None:
    pipeline, losses = traced("one(Variable.get('stage', default='dev'))")
    assert [(one.name, one.default) for one in pipeline.declared[1:]] == [("stage", "dev")]
    assert codes(losses) == ["changed computed-value"]


def test_run_id_and_flow_name_become_execution_variables(traced: TraceFlow) -> None:
    pipeline, losses = traced("one(runtime.flow_run.id)\ntwo(runtime.flow_run.flow_name)")
    steps = json.dumps(definition(pipeline)["Steps"])
    assert "Execution.PipelineExecutionId" in steps
    assert "Execution.PipelineName" in steps
    assert losses == ()


@pytest.mark.parametrize(
    "call",
    [
        "rate_limit('calls')",
        "emit_event('told', resource={})",
        "Variable.set('a', 'b')",
        "run_deployment('other/one')",
        "open('/no/such', 'w')",
        "{}['nothing']",
    ],
)
def test_calls_that_only_have_an_effect_are_steps(call: str, traced: TraceFlow) -> None:
    pipeline, losses = traced(f"{call}\none(x)")
    code, task = pipeline.steps
    assert isinstance(code, PythonStep)
    assert call in code.function.code
    assert task.depends_on == (code.name,)
    assert losses == ()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("pause_flow_run(timeout=1)\none(x)", ["pause-flow-run", "one"]),
        ("a = pause_flow_run(timeout=1)\none(a)", ["a", "one"]),
        ("one(pause_flow_run(timeout=one(x)))\ntwo(1)", ["one", "value", "one-2", "two"]),
    ],
)
def test_code_that_only_prefect_can_run_is_a_stub(
    body: str, names: list[str], traced: TraceFlow
) -> None:
    """Only this code is lost."""
    pipeline, losses = traced(body)
    assert [step.name for step in pipeline.steps] == names
    assert [one.name for one in pipeline.steps if isinstance(one, StubStep)] == [
        one for one in names if not one.startswith(("one", "two"))
    ]
    assert codes(losses) == ["dropped run-time-code"]


def test_concurrency_limit_is_reported(traced: TraceFlow) -> None:
    pipeline, losses = traced("with concurrency('db', occupy=1):\n    one(x)")
    assert codes(losses) == ["changed concurrency"]
    assert [step.name for step in pipeline.steps] == ["one"]


def test_failed_state_with_a_run_time_message(traced: TraceFlow) -> None:
    pipeline, losses = traced("return Failed(message=f'bad {x}')")
    (step,) = pipeline.steps
    assert (step.type, losses) == ("Fail", ())
    assert "Parameters.x" in json.dumps(definition(pipeline)["Steps"])


def test_asynchronous_limit(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{ENGINE}{TASKS}@flow\nasync def f(x: str):\n    await wait_for_slot('a')\n"
        "    async with acquire('a'):\n        one(x)\n"
    )
    ((pipeline, losses),) = trace(file)
    assert codes(losses) == ["changed concurrency"]
    assert [step.name for step in pipeline.steps] == ["wait-for-slot", "one"]
    assert isinstance(limit := pipeline.steps[0], PythonStep)
    assert limit.function.code.startswith("async def ")


@pytest.mark.parametrize(
    "asked",
    [
        "create_link_artifact(link='https://a.b')",
        "await acreate_link_artifact(link='https://a.b')",
        "await Variable.aset('a', 'b')",
    ],
)
def test_asynchronous_server_calls(asked: str, tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{ENGINE}{TASKS}"
        "from prefect.artifacts import acreate_link_artifact, create_link_artifact\n@flow\n"
        f"async def f(x: str):\n    two(x)\n    {asked}\n"
    )
    ((pipeline, losses),) = trace(file)
    task, code = pipeline.steps
    assert task.name == "two"
    assert isinstance(code, PythonStep)
    assert asked in code.function.code
    assert losses == ()


def test_calls_in_the_flow_body_are_steps(tmp_path: Path) -> None:
    """Output is info; tasks that a function of another module gets are followed."""
    (tmp_path / "helping.py").write_text(
        "def count(rows):\n    pass\n\ndef go(task, x):\n    task(x)\n\n"
        "class Metrics:\n    def push(self, rows): pass\n"
    )
    file = tmp_path / "flow.py"
    file.write_text(
        f"import logging, sys\nfrom helping import Metrics, count, go\n{IMPORTS}{TASKS}"
        "def notify(rows):\n"
        "    print('rows', rows)\n\n"
        "@flow\n"
        "def f(x: str):\n"
        "    rows = one(x)\n"
        "    if is_good(rows):\n"
        "        notify(rows)\n"
        "        count(rows)\n"
        "    else:\n"
        "        logging.getLogger().info('bad %s', rows)\n"
        "        sys.stderr.write('bad')\n"
        "    notify(x)\n"
        "    go(two, x)\n"
        "    [].append(rows)\n"
        "    Metrics().push(rows)\n"
    )
    ((pipeline, losses),) = trace(file)
    assert [step.name for step in walk(pipeline)] == [
        "one",
        "is-good",
        "Condition",
        "notify",
        "count",
        "notify-2",
        "two",
        "push",
    ]
    lines = file.read_text().splitlines()
    assert [
        (loss.severity, loss.code, lines[int(loss.place.rpartition(":")[2]) - 1].strip())
        for loss in losses
    ] == [
        ("info", "output", "logging.getLogger().info('bad %s', rows)"),
        ("info", "output", "sys.stderr.write('bad')"),
        ("changed", "nearby-file", "@flow"),
    ]


def test_formatted_parameter_is_a_step(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        "from prefect import flow\n"
        "from sagebridge_operators.prefect import finish, model, parameter\n"
        "@flow\n"
        "def f(x: str):\n"
        "    model('A', arguments={'x': '%03s/y' % parameter('x')})\n"
        "    return finish()\n"
    )
    ((pipeline, losses),) = trace(file)
    code, step = pipeline.steps
    assert isinstance(code, PythonStep)
    assert run_code(code, "ab") == " ab/y"
    assert step.arguments == {"x": get("Steps.value.return_value")}
    assert losses == ()


def test_map_over_an_output_is_a_for_each(traced: TraceFlow) -> None:
    pipeline, losses = traced("doubled = two.map(one(x))\none(doubled)")
    given, loop, total = pipeline.steps
    assert isinstance(loop, ForEachStep)
    assert (loop.name, loop.items) == ("two-map", get(f"Steps.{given.name}.return_value"))
    (item,) = loop.body or ()
    assert item.name == "two-item"
    assert item.arguments["args"] == (get("ForEach.CurrentItem"),)
    assert total.arguments["args"] == (get("Steps.two-map.return_value"),)
    assert losses == ()


def test_body_of_a_for_each_is_traced(traced: TraceFlow) -> None:
    body = """
from sagebridge_operators.prefect import current_item, finish, for_each
fan = for_each("Fan", items=["a", x], max_concurrency=2)
with fan.body():
    one(two(current_item))
one(fan.properties.Status)
return finish()
"""
    pipeline, losses = traced(body)
    loop, after = pipeline.steps
    assert isinstance(loop, ForEachStep)
    assert loop.items == ("a", get("Parameters.x"))
    assert [step.name for step in loop.body or ()] == ["two", "one"]
    assert after.arguments["args"] == (get("Steps.Fan.Status"),)
    assert [loss for loss in losses if loss.severity != "info"] == []


def test_schedules_of_a_traced_flow(tmp_path: Path) -> None:
    text = """
from prefect import flow, task
from sagebridge_operators.prefect import EventTrigger, Schedule, begin, fail, finish

@task
def t(x): return x

@flow
def f(day: str = "monday"):
    begin(
        schedules=[
            Schedule(name, f"cron(0 {hour} * * ? *)", parameters={"day": name})
            for name, hour in {"a": 1, "b": 2}.items()
        ],
        event_triggers=[EventTrigger("e", {"source": ["aws.s3"]}, {"day": "$.detail.x"})],
    )
    fail("F", error_message="no")
    t(day)
    return finish()
"""
    file = tmp_path / "f.py"
    file.write_text(text)
    ((pipeline, _),) = trace(file)
    assert pipeline.schedules == (
        Schedule("a", "cron(0 1 * * ? *)", parameters={"day": "a"}),
        Schedule("b", "cron(0 2 * * ? *)", parameters={"day": "b"}),
    )
    assert pipeline.event_triggers == (
        EventTrigger("e", {"source": ["aws.s3"]}, {"day": "$.detail.x"}),
    )
