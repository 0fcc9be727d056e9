"""Tracing of hand-written flows: pipelines, losses and errors."""

from __future__ import annotations

import json
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
from prefect.concurrency import asyncio as later
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

    def traces(body: str, arguments: str = "x: str") -> tuple[Pipeline, tuple[Loss, ...]]:
        file = tmp_path / "flow.py"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        engine = ENGINE if any(word in body for word in ENGINE_WORDS) else ""
        file.write_text(f"{IMPORTS}{engine}{TASKS}@flow\ndef f({arguments}):\n{lines}")
        (found,) = trace(file)
        return found

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
    assert last.depends_on == ("Condition",)


def test_first_call_has_the_name_of_the_task(traced: TraceFlow) -> None:
    """Even if the path that is traced first does not reach it."""
    pipeline, losses = traced("if is_good(x):\n    two(x)\nelse:\n    one(x)\nlast = one('z')\n")
    assert shape(pipeline) == ["is-good", ["Condition", ["two"], ["one"]], "one-2"]
    assert losses == ()
    assert [step.depends_on for step in walk(pipeline) if step.name == "one-2"] == [("Condition",)]


def test_branches_keep_their_own_references(traced: TraceFlow) -> None:
    body = "a = one(1) if x == 'a' else one(2)\ntwo(a)"
    pipeline, _ = traced(body)
    (condition,) = pipeline.steps
    assert isinstance(condition, ConditionStep)
    for branch in (condition.if_steps, condition.else_steps):
        assert branch
        first, second = branch
        assert f"Steps.{first.name}.return_value" in json.dumps(
            definition(Pipeline(steps=(second,)))["Steps"]
        )


def test_return_and_raise_end_a_path(traced: TraceFlow) -> None:
    body = "if not is_good(x):\n    raise ValueError('bad ' + x)\nif x != '':\n    return\ntwo(x)"
    pipeline, losses = traced(body)
    assert shape(pipeline) == [
        "is-good",
        ["Condition", ["Fail"], [["Condition-2", [], ["two"]]]],
    ]
    assert codes(losses) == ["info raised"]


def test_repeated_test_is_one_condition(traced: TraceFlow) -> None:
    pipeline, _ = traced("if x == 'a':\n    one(1)\ntwo(2)\nif x == 'a':\n    one(3)")
    assert shape(pipeline) == [["Condition", ["one", "two", "one-2"], ["two-2"]]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("for i in one(x): two(i)", "run-time-loop"),
        ("[two(i) for i in one(x)]", "run-time-loop"),
        ("for i in range(one(x)): two(i)", "run-time-loop"),
        ("while is_good(x): two(x)", "run-time-loop"),
        ("two(1) if isinstance(one(x), dict) else one(2)", "run-time-type"),
        ("if one(x) is None: two(1)", "run-time-type"),
        ("match one(x):\n    case {'a': a}: two(a)\n    case _: two(0)", "run-time-type"),
        ("one.submit(x).state.is_failed()", "task-state"),
        ("s = one(x, return_state=True)", "task-state"),
        ("open('/no/such', 'w')", "run-time-code"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "run-time-code"),
        ("{}['nothing']", "run-time-code"),
        ("run_deployment('other/one')", "run-time-code"),
        ("pause_flow_run(timeout=1)", "run-time-code"),
        ("try:\n    for i in one(x): two(i)\nexcept BaseException:\n    two(3)", "run-time-loop"),
    ],
)
def test_unsupported_code_ends_the_branch(traced: TraceFlow, body: str, code: str) -> None:
    """A loss reports the line from which the branch is ignored."""
    pipeline, losses = traced(f"{body}\ntwo('after')")
    (loss,) = [loss for loss in losses if loss.code == code]
    assert loss.severity == "dropped"
    assert "the rest of this branch is ignored" in loss.what
    assert int(loss.place.rpartition(":")[2]) > 13
    assert "two" not in [step.name for step in walk(pipeline)]


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("n + 1", "Integer"),
        ("n / 2", "Float"),
        ("float(one(n))", "Float"),
        ("len(x)", "Integer"),
        ("json.dumps(one(n))", "String"),
        ("x.upper()", "String"),
        ("x.startswith('a')", "Boolean"),
        ("x[0]", "String"),
        ("f'{n:03}'", "String"),
    ],
)
def test_computed_value_becomes_a_parameter(traced: TraceFlow, value: str, type_: str) -> None:
    pipeline, losses = traced(f"import json\ntwo({value})", "x: str, n: int = 1")
    (asked,) = pipeline.declared[2:]
    assert (asked.type, asked.value_type) == (type_, type_)
    assert codes(losses) == ["changed computed-value"]
    assert asked.name in json.dumps(definition(pipeline)["Steps"])


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


def test_too_many_paths(tmp_path: Path) -> None:
    tests = "".join(f"    if x == {n}:\n        one({n})\n" for n in range(7))
    text = trace_error(tmp_path / "f.py", f"{IMPORTS}{TASKS}@flow\ndef f(x: int):\n{tests}")
    assert text.startswith(":12: has more than 64 paths; combine some of its tests")


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
        "Variable.get('stage', default='dev')",
        "runtime.flow_run.name",
        "runtime.flow_run.scheduled_start_time",
    ],
)
def test_value_that_varies_by_run_becomes_a_parameter(value: str, traced: TraceFlow) -> None:
    body = f"import datetime, os, random, time, uuid\none({value})"
    pipeline, losses = traced(body)
    (asked,) = [one for one in pipeline.declared if one.name != "x"]
    assert asked.name == "stage" or asked.name.startswith("value_of_line_")
    assert codes(losses) == ["changed computed-value"]


def test_run_id_and_flow_name_become_execution_variables(traced: TraceFlow) -> None:
    pipeline, losses = traced("one(runtime.flow_run.id)\ntwo(runtime.flow_run.flow_name)")
    steps = json.dumps(definition(pipeline)["Steps"])
    assert "Execution.PipelineExecutionId" in steps
    assert "Execution.PipelineName" in steps
    assert losses == ()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("with concurrency('db', occupy=1):\n    one(x)", "concurrency"),
        ("rate_limit('calls')\none(x)", "concurrency"),
        ("emit_event('told', resource={})\none(x)", "engine-option"),
        ("Variable.set('a', 'b')\none(x)", "engine-option"),
    ],
)
def test_prefect_calls_are_reported_and_skipped(body: str, code: str, traced: TraceFlow) -> None:
    pipeline, losses = traced(body)
    assert codes(losses) == [f"changed {code}"]
    assert [step.name for step in pipeline.steps] == ["one"]


def test_failed_state_with_a_run_time_message(traced: TraceFlow) -> None:
    pipeline, losses = traced("return Failed(message=f'bad {x}')")
    (step,) = pipeline.steps
    assert (step.type, losses) == ("Fail", ())
    assert "Parameters.x" in json.dumps(definition(pipeline)["Steps"])


def test_asynchronous_limit(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{ENGINE}{TASKS}@flow\nasync def f(x: str):\n    await later.rate_limit('a')\n"
        "    async with later.concurrency('a'):\n        one(x)\n"
    )
    ((pipeline, losses),) = trace(file)
    assert codes(losses) == ["changed concurrency"] * 2
    assert [step.name for step in pipeline.steps] == ["one"]


@pytest.mark.parametrize(
    ("asked", "loss"),
    [
        ("artifacts.create_link_artifact(link='https://a.b')", "changed engine-option"),
        ("artifacts.acreate_link_artifact(link='https://a.b')", "changed engine-option"),
        ("Variable.aset('a', 'b')", "changed engine-option"),
        ("one.submit(await Variable.get('a'))", "changed computed-value"),
        ("one.submit(await Variable.aget('a'))", "changed computed-value"),
        ("Secret.aload('a')", "changed block"),
    ],
)
def test_asynchronous_server_calls(asked: str, loss: str, tmp_path: Path) -> None:
    waits = "" if "submit" in asked else "await "
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{ENGINE}from prefect import artifacts\n{TASKS}@flow\n"
        f"async def f(x: str):\n    two(x)\n    {waits}{asked}\n"
    )
    ((pipeline, losses),) = trace(file)
    assert codes(losses) == [loss]
    assert pipeline.steps[0].name == "two"


def test_calls_in_the_flow_body_are_reported(tmp_path: Path) -> None:
    """Output is info; a call to a function of another module is dropped."""
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
    assert shape(pipeline) == ["one", "is-good", "two"]
    lines = file.read_text().splitlines()
    assert [
        (loss.severity, loss.code, lines[int(loss.place.rpartition(":")[2]) - 1].strip())
        for loss in losses
    ] == [
        ("info", "output", "print('rows', rows)"),
        ("dropped", "run-time-code", "count(rows)"),
        ("info", "output", "logging.getLogger().info('bad %s', rows)"),
        ("info", "output", "sys.stderr.write('bad')"),
        ("dropped", "run-time-code", "Metrics().push(rows)"),
    ]


def test_formatted_parameter_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        "from prefect import flow\n"
        "from sagebridge_operators.prefect import finish, model, parameter\n"
        "@flow\n"
        "def f(x: str):\n"
        "    model('A', arguments={'x': '%s/y' % parameter('x')})\n"
        "    return finish()\n"
    )
    ((pipeline, losses),) = trace(file)
    assert codes(losses) == ["dropped run-time-code"]
    assert losses[0].place == f"{file}:5"
    assert pipeline.steps == ()


def test_map_over_an_output_is_a_for_each(traced: TraceFlow) -> None:
    pipeline, losses = traced("doubled = two.map(one(x))\none(doubled)")
    given, loop, total = pipeline.steps
    assert isinstance(loop, ForEachStep)
    assert (loop.name, loop.items) == ("two-map", get(f"Steps.{given.name}.return_value"))
    (item,) = loop.body or ()
    assert item.name == "two-item"
    assert item.arguments["args"] == (get("ForEach.CurrentItem"),)
    # No reference to the outputs of all iterations exists, so their list is lost.
    assert isinstance(total, StubStep)
    assert total.dependencies == ("two-map",)
    assert [loss.code for loss in losses if loss.severity == "dropped"] == ["python-task"]


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
