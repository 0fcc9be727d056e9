"""Python and shell steps, run by Airflow from a generated DAG file."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

import sagebridge
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.model.code_steps import PYTHON, SHELL
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.airflow import PythonStepOperator, ShellStepOperator, StubOperator
from sagebridge_operators.lifecycle.step_states import states
from tests.airflow.conftest import Run
from tests.code import FLOW, PATH, REASON, STATES, VALUES
from tests.dagtest import FinishedRun, new_id, play
from tests.fakes import FakeSageMaker

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31, pytest.mark.usefixtures("backend")]
Rows = Callable[..., FinishedRun]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Translates the flow file to a DAG file and runs it with a number of rows."""

    def runs(number: int = 10) -> FinishedRun:
        name = new_id("code")
        flow, file = tmp_path / "flow.py", tmp_path / f"{name}.py"
        flow.write_text(FLOW.replace("NAME", name))
        file.write_text(sagebridge.translate(flow, "airflow").text)
        spec = spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return play(module.prep.dag, {"rows": number})

    return runs


@pytest.mark.parametrize("number", STATES)
def test_user_code_runs_skips_and_fails_like_other_steps(number: int, rows: Rows) -> None:
    played = rows(number)
    reached = states(pipeline_of(played.dag), played.steps)
    assert {name: state for name, state in reached.items() if state != "Succeeded"} == STATES[
        number
    ]
    assert played.state == ("failed" if number == 1 else "success")
    assert set(played.tries.values()) <= {0, 1}
    if number == 1:
        assert played.xcom("checked", "failure_reason") == REASON
        assert played.steps["checked"].reason == REASON


def test_return_values_reach_later_steps(rows: Rows, aws: FakeSageMaker) -> None:
    played = rows()
    assert {name: played.xcom(name)["return_value"] for name in VALUES} == VALUES
    (request,) = aws.called("create_model")
    assert request["PrimaryContainer"]["ModelDataUrl"] == PATH
    assert played.rendered("few")["request"] == {
        "command": 'echo "few: $WHERE"',
        "env": {"WHERE": "***"},
    }


def test_prints_go_to_the_task_log(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    rows()
    assert "[prep] preparing 10 rows" in capsys.readouterr().out


def test_python_callable_must_be_a_function() -> None:
    with DAG(new_id(), schedule=None), pytest.raises(TypeError, match="python_callable"):
        PythonStepOperator(task_id="a", python_callable="os.system")  # type: ignore[arg-type]


def test_stub_fails_with_what_was_there() -> None:
    ran = []
    with DAG(new_id(), schedule=None) as dag:
        gone = StubOperator(
            task_id="gone",
            reason="SlackOperator matches no step type",
            dropped_from="nightly.py:7",
            source=["SlackOperator(text='{{ ds }}')"],
        )
        PythonStepOperator(task_id="b", python_callable=lambda: ran.append(1), depends_on=[gone])
    played = play(dag)
    assert (played.state, played.states["b"], ran) == ("failed", "upstream_failed", [])
    reason = played.steps["gone"].reason
    assert "SlackOperator matches no step type (nightly.py:7)" in reason
    assert played.xcom("gone", "failure_reason") == reason
    assert played.tries["gone"] == 1


def test_kill_interrupts_a_sleeping_function() -> None:
    def wait() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)

    with DAG(new_id(), schedule=None) as dag:
        operator = PythonStepOperator(task_id="a", python_callable=wait)

    def killed(*_: Any) -> None:
        operator.on_kill()

    before = signal.signal(signal.SIGTERM, killed)
    try:
        played = play(dag)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert played.state == "failed"
    assert played.steps["a"].state == "Stopped"


def test_definition_with_code_keys_runs_no_code(run: Run, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    arguments = plain({"args": [str(marker)], "kwargs": {}, "command": f"touch {marker}"})
    source = f"def f(*a):\n    open({str(marker)!r}, 'w')"
    extra = plain({"Callable": "f", "Source": source, "function": {"name": "f", "code": source}})
    steps = [Step(type_, type_, arguments, extra=extra) for type_ in (PYTHON, SHELL)]
    played = run(*steps)
    assert set(played.states.values()) == {"failed"}
    assert "cannot run steps of type" in played.xcom(PYTHON, "failure_reason")
    assert not marker.exists()


def test_serialized_tasks_contain_no_code() -> None:
    from tests.airflow.test_dag import served

    with DAG(new_id(), schedule=None) as dag:
        PythonStepOperator(task_id="a", python_callable=os.getcwd, op_args=["{{ ds }}"])
        ShellStepOperator(task_id="b", bash_command="echo {{ ds }}")
    assert set(served(dag).task_ids) == {"a", "b"}


def test_dates_of_airflow_2_are_in_the_context() -> None:
    found = []

    def dates(execution_date: datetime, yesterday_ds: str, ti: Any) -> None:
        found.append((execution_date, yesterday_ds, ti.execution_date))

    with DAG(new_id(), schedule=None) as dag:
        PythonStepOperator(task_id="a", python_callable=dates, context=True)
    played = play(dag, at=datetime(2026, 3, 1, tzinfo=UTC))

    assert played.state == "success"
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert found == [(at, "2026-02-28", at)]
