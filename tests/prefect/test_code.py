"""Python and shell steps, run by Prefect."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

import sagebridge
from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.code_steps import PYTHON, SHELL, PythonStep
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step, walk
from sagebridge_operators.backends import records_location
from sagebridge_operators.lifecycle.objects import open_objects
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.user_code.kept_secrets import report_secret
from sagebridge_operators.prefect import finish, python, stub
from tests.attempts import outputs_of
from tests.code import FLOW, PATH, REASON, STATES, VALUES
from tests.fakes import FakeBackend, FakeSageMaker
from tests.prefect.conftest import FinishedRun, Run, flow_of

pytestmark = pytest.mark.prefect


DROPPED = """
from prefect import flow, get_client, task



@task
def measure(day): return get_client()

@task
def listing(day) -> list: return get_client()

@task
def total(sizes: list) -> int: return sum(sizes)

@task
def register(auc: float, rows: int) -> str: return f"{auc * rows:g}"

@flow(name="dropped")
def dropped(day: str = "monday", threshold: float = 0.8):
    result = measure(day)
    total(listing(day))
    if result["auc"] > threshold:
        register(result["auc"], result["rows"])
"""


@pytest.fixture
def rows(play: Run, backend: FakeBackend, tmp_path: Path) -> Run:
    """Runs the flow file, as is or generated again, with a number of rows."""
    del backend

    def runs(number: int = 10, *, again: bool = False) -> FinishedRun:
        text = FLOW.replace("NAME", "code")
        if again:
            (tmp_path / "flow.py").write_text(text)
            text = sagebridge.translate(tmp_path / "flow.py", "prefect").text
        return play(flow_of(text), {"rows": number})

    return runs


@pytest.mark.parametrize("number", STATES)
@pytest.mark.parametrize("again", [False, True])
def test_user_code_runs_skips_and_fails_like_other_steps(
    number: int, again: bool, rows: Run
) -> None:
    played = rows(number, again=again)
    ended = {name: state for name, state in played.states.items() if state != "Completed"}
    assert ended == STATES[number]
    if number == 1:
        assert played.run.state.message == f"step 'checked' failed: {REASON}"
        assert played.messages["checked"] == REASON
    else:
        assert played.state.is_completed()


def test_translated_flow_runs_with_parameters_for_dropped_tasks(
    play: Run, backend: FakeBackend, tmp_path: Path
) -> None:
    """They have the types of the comparison and of the arguments that use them."""
    file = tmp_path / "flow.py"
    file.write_text(DROPPED)
    text = sagebridge.translate(file, "prefect", stubs=False).text
    played = play(flow_of(text), {"measure_auc": 0.9, "measure_rows": 10})
    assert played.state.is_completed()
    assert played.states == {"Condition": "Completed", "register": "Completed"}
    assert outputs_of(played.steps["register"])["return_value"] == "9"


def test_return_values_reach_later_steps(rows: Run, aws: FakeSageMaker) -> None:
    played = rows()
    assert {name: outputs_of(played.steps[name])["return_value"] for name in VALUES} == VALUES
    (request,) = aws.called("create_model")
    assert request["PrimaryContainer"]["ModelDataUrl"] == PATH


def test_prints_go_to_the_task_log(rows: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        rows()
    assert "[prep] preparing 10 rows" in caplog.messages


def test_logged_messages_go_to_the_task_log(
    play: Run, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is there once, without secrets; those of Prefect and of level DEBUG are not."""
    del backend

    def logs() -> None:
        report_secret("s3cr3t-word", "Variable", "word")
        logging.getLogger("airflow.task").info("read %s rows with s3cr3t-word", 10)
        logging.warning("few rows")  # noqa: LOG015
        logging.getLogger("shop").debug("unseen")
        logging.getLogger("prefect.shop").info("by prefect")

    def body() -> Any:
        python("logs", logs)
        return finish()

    level = logging.root.level
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        assert play(flow(name="logs")(body)).state.is_completed()
    found = [one.getMessage() for one in caplog.records if one.name == "prefect.task_runs"]
    assert [one for one in found if one.startswith("[logs]")] == [
        "[logs] read 10 rows with ***",
        "[logs] few rows",
    ]
    assert logging.root.level == level


def test_functions_run_concurrently(play: Run, backend: FakeBackend) -> None:
    del backend
    together = threading.Barrier(3, timeout=60)

    def body() -> Any:
        for name in ("a", "b", "c"):
            python(name, lambda: together.wait() >= 0)
        return finish()

    assert play(flow(body)).state.is_completed()


def test_failed_function_is_not_retried(play: Run, backend: FakeBackend) -> None:
    del backend
    calls = []

    def fail() -> None:
        calls.append(1)
        raise OSError("the disk is full")

    def body() -> Any:
        python("a", fail)
        return finish()

    played = play(flow(body))
    assert (played.states, played.messages) == (
        {"a": "Failed"},
        {"a": "OSError: the disk is full"},
    )
    assert len(calls) == 1


def test_stub_fails_with_what_was_there(play: Run, backend: FakeBackend) -> None:
    del backend
    ran = []

    def body() -> Any:
        gone = stub("gone", "it uses 'x' from its module", dropped_from="flow.py:7")
        python("b", lambda: ran.append(1), depends_on=[gone])
        return finish()

    played = play(flow(body))
    assert played.states == {"gone": "Failed", "b": "NotRun"}
    assert "it uses 'x' from its module (flow.py:7)" in played.messages["gone"]
    assert played.messages["gone"] in str(played.run.state.message)
    assert ran == []


def test_stop_interrupts_a_function(play: Run, backend: FakeBackend) -> None:
    del backend
    store = ExecutionRecords(open_objects(records_location(), lambda: None))

    def wait() -> None:
        store.request_stop(store.ids()[0])
        while True:
            time.sleep(0.01)

    def body() -> Any:
        python("a", wait)
        return finish()

    played = play(flow(body))
    assert played.states == {"a": "Stopped"}
    assert played.run.state.type.value == "CANCELLED"


def test_python_needs_a_function(play: Run, backend: FakeBackend) -> None:
    del backend

    def body() -> Any:
        python("a", "os.system")  # type: ignore[arg-type]
        return finish()

    with pytest.raises(TypeError, match="python\\(\\) expects a function"):
        flow(body)()


def test_definition_with_code_keys_runs_no_code(run: Run, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    arguments = plain({"args": [str(marker)], "kwargs": {}, "command": f"touch {marker}"})
    source = f"def f(*a):\n    open({str(marker)!r}, 'w')"
    extra = plain({"Callable": "f", "Source": source, "function": {"name": "f", "code": source}})
    played = run(*(Step(type_, type_, arguments, extra=extra) for type_ in (PYTHON, SHELL)))
    assert played.state.is_failed()
    assert "cannot run steps of type" in str(played.state.message)
    assert not marker.exists()


def test_traced_flow_keeps_its_functions(tmp_path: Path) -> None:
    """A flow edited beyond the generated form; functions keep what they need of the file."""
    text = FLOW.replace("NAME", "code").replace(
        "    return finish()", "    while False:\n        pass\n    return finish()"
    )
    file = tmp_path / "flow.py"
    file.write_text(text)
    ((pipeline, losses),) = trace(file)
    assert losses == ()
    (tmp_path / "plain.py").write_text(FLOW.replace("NAME", "code"))
    assert pipeline == sagebridge.read(tmp_path / "plain.py").pipeline
    assert {one.origin for one in walk(pipeline) if isinstance(one, PythonStep)} == {
        f"{file}:{line}" for line, said in enumerate(text.splitlines(), 1) if " python(" in said
    }
    file.write_text("import json\n" + text.replace("import json  # as it was", "pass"))
    ((pipeline, losses),) = trace(file)
    assert losses == ()
    prep = pipeline.step("prep")
    assert isinstance(prep, PythonStep)
    assert prep.function.module.startswith("import json\n")


def test_type_that_needs_aws_is_rejected_before_the_first_local_job(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "local")
    played = run(Step("Call", "EMR", arguments=plain({"ClusterId": "j", "StepConfig": {}})))
    assert played.state.is_failed()
    assert "on this machine: steps of type EMR, as they need Amazon EMR (step 'Call')" in str(
        played.state.message
    )
