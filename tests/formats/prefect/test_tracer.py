"""Tracing of hand-written flows: pipelines, losses and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sagebridge.authoring.definition_writer import definition
from sagebridge.formats.prefect.reader import read
from sagebridge.formats.prefect.tracer import trace
from sagebridge.formats.sagemaker.validator import validate
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.code_steps import PythonStep, StubStep
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.expressions import get
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import CODES, for_target
from sagebridge.model.pipeline import walk
from sagebridge.model.schedules import Schedule
from tests.formats.prefect.traced_flows import (
    ENGINE,
    IMPORTS,
    TASKS,
    TraceFlow,
    codes,
    run_code,
    shape,
    trace_error,
)

pytestmark = pytest.mark.prefect

HERE = Path(__file__).parent
FLOWS = sorted((HERE / "flows").glob("*.py"))
GOLDEN = HERE.parent.parent / "golden" / "traced"


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
    assert codes(losses) == ["changed concurrency"] * call.startswith("rate_limit")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("pause_flow_run(timeout=1)\none(x)", ["pause-flow-run", "one"]),
        ("a = pause_flow_run(timeout=1)\none(a)", ["a", "one"]),
        ("one(pause_flow_run(timeout=one(x)))\ntwo(1)", ["one", "pause-flow-run", "one-2", "two"]),
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


LIMITED = """
import prefect.concurrency.sync as sync

def helper():
    with concurrency("db", occupy=1):
        pass

@task(tags=["shop"])
def inner(): return 1

@task
def outer():
    helper()
    rate_limit("calls")
    rate_limit("calls")
    sync.rate_limit("pages")
    return inner()

@flow
def f(x: str):
    outer()
    outer()
"""


def test_limits_in_tasks_are_reported_at_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(text := f"{IMPORTS}{ENGINE}{LIMITED}")
    ((_, losses),) = trace(file)
    lines = text.splitlines()
    found = [(lines[int(one.place.rpartition(":")[2]) - 1], one.step) for one in losses]
    assert found == [
        ('    with concurrency("db", occupy=1):', "outer"),
        ('@task(tags=["shop"])', "outer"),
        ('    rate_limit("calls")', "outer"),
        ('    sync.rate_limit("pages")', "outer"),
    ]
    assert len(for_target(losses, "airflow")) - len(for_target(losses, "prefect")) == 4


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
    """Output of constants is info; tasks that a function of another module gets are followed."""
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
        "info",
        "notify-2",
        "two",
        "push",
    ]
    lines = file.read_text().splitlines()
    assert [
        (loss.severity, loss.code, lines[int(loss.place.rpartition(":")[2]) - 1].strip())
        for loss in losses
    ] == [
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
    assert step.arguments == {"x": get("Steps.parameter-result.return_value")}
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


def test_losses_of_tasks_that_a_step_calls_itself_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}def alert(task, run, state):\n    print(state)\n\n"
        "@task(cache_key_fn=lambda *_: 'k', on_failure=[alert])\ndef load(x): return x\n\n"
        "@flow\ndef f(x: str):\n    try:\n        return load(x)\n    except ValueError:\n"
        "        return None\n"
    )
    ((_, losses),) = trace(file)
    assert [(loss.severity, loss.code) for loss in losses if "task load" in loss.what] == [
        ("changed", "cache"),
        ("dropped", "callback"),
    ]
