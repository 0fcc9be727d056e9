"""What a task's log, its XComs and its rendered view show to the person on call."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from airflow.sdk import DAG
from botocore.exceptions import EndpointConnectionError

from sagebridge.model.conditions import equals, greater_than, not_
from sagebridge.model.expressions import parameter
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep
from sagebridge_operators.airflow import PythonStepOperator
from sagebridge_operators.airflow.task_log import failure
from tests.airflow.conftest import Run
from tests.dagtest import new_id, play
from tests.fakes import FakeBackend, FakeSageMaker, Plan, raises
from tests.shapes import ROLE, fail, model, training

pytestmark = pytest.mark.airflow
LIMIT = Parameter("Limit", "Float", 6.0)


@pytest.mark.airflow31
def test_condition_shows_values_sources_and_skipped_steps(
    run: Run, aws: FakeSageMaker, capfd: Any
) -> None:
    check = ConditionStep(
        "Check",
        "Condition",
        conditions=(not_(greater_than(parameter("Limit"), 5)), equals("a", "a")),
        if_steps=(model("Use"),),
        else_steps=(model("Other"),),
    )
    played = run(
        check, model("Last", "Use"), fail("End", depends_on=("Check",)), parameters=(LIMIT,)
    )
    left = {"value": 6.0, "source": "parameter Limit"}
    inner = {"type": "GreaterThan", "left": left, "right": {"value": 5}, "holds": True}
    report = {
        "outcome": False,
        "conditions": [
            {"type": "Not", "conditions": [inner], "holds": False},
            {"type": "Equals", "left": {"value": "a"}, "right": {"value": "a"}, "holds": True},
        ],
        "runs": ["Other"],
        "skipped": ["Use", "Last"],
    }
    assert played.states == {
        "Check": "success",
        "Use": "skipped",
        "Last": "skipped",
        "Other": "success",
        "End": "failed",
    }
    assert played.xcom("Check") == report
    assert played.rendered("Check") == {"request": report}
    assert (
        "condition Check: False\n"
        "  [False] not\n"
        "    [True] 6.0 (parameter Limit) > 5\n"
        "  [True] 'a' == 'a'\n"
        "  runs (else branch): Other\n"
        "  skipped: Use, Last"
    ) in capfd.readouterr().out


OWN = ("::", "Updating Rendered", "state updated", "[DAG TEST]", "Marking run", "DagRun Finished")


def last_line(text: str) -> str:
    """The last line of a run's log that is not Airflow's own bookkeeping."""
    return [line for line in text.splitlines() if not any(own in line for own in OWN)][-1]


@pytest.mark.airflow31
def test_failed_job_ends_the_log_with_its_reason(run: Run, aws: FakeSageMaker, capfd: Any) -> None:
    aws.plans["Bad"] = Plan(("InProgress", "Failed"), ending={"FailureReason": "no data"})
    played = run(training("Bad"))
    (name,) = aws.jobs
    out = capfd.readouterr().out
    reason = f"Training job {name} Failed: no data"
    assert played.xcom("Bad", "failure_reason") == reason
    assert f"Task failed with exception: {reason}" in last_line(out)
    assert "Traceback" not in out
    assert f'create_training_job {{\n  "RoleArn": "{ROLE}",\n' in out
    assert '"ResourceConfig": {\n    "InstanceCount": 1,' in out


def divide() -> float:
    return 1 / 0


@pytest.mark.airflow31
def test_failed_function_shows_only_its_own_frames(backend: FakeBackend, capfd: Any) -> None:
    with DAG(new_id(), schedule=None) as dag:
        PythonStepOperator(task_id="Divide", python_callable=divide)
    assert play(dag).states == {"Divide": "failed"}
    out = capfd.readouterr().out
    assert "Task failed with exception: ZeroDivisionError: division by zero" in last_line(out)
    assert out.count("Traceback (most recent call last)") == 1
    shown = out.partition("Traceback (most recent call last)")[2]
    frames = [line for line in shown.splitlines() if line.lstrip().startswith("File ")]
    assert len(frames) == 1
    assert frames[0].endswith("in divide")


def test_outage_and_watcher_show_one_line(run: Run, aws: FakeSageMaker, capfd: Any) -> None:
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.before["describe_training_job"] = [raises(lost)] * 60
    check = ConditionStep("Check", "Condition", conditions=(equals(1, 2),), if_steps=(model("No"),))
    end = model("End", "A", "No")
    played = run(training("A"), check, end)
    out = capfd.readouterr().out
    assert played.tries["A"] == 3
    assert "Traceback" not in out
    assert out.count("Task failed with exception: Could not connect to the endpoint URL") == 2
    assert f"Task failed with exception: {played.steps['A'].reason}" in out
    assert "Task failed with exception: one of the steps A failed" in out


def test_unexpected_error_keeps_its_traceback(run: Run, aws: FakeSageMaker, capfd: Any) -> None:
    aws.before["describe_training_job"] = [raises(KeyError("a defect"))] * 60
    run(training("A"))
    assert "in run\n" in capfd.readouterr().out


def test_traceback_is_hidden_in_a_json_log(capsys: pytest.CaptureFixture[str]) -> None:
    """The log file of a worker, where Airflow's UI looks for ``error_detail``."""
    renderer = structlog.processors.JSONRenderer()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.dict_tracebacks, renderer])
    try:
        log = structlog.wrap_logger(structlog.PrintLogger())
        for error in (failure("Training job x Failed"), ValueError("other")):
            try:
                raise error
            except Exception:
                log.exception("Task failed with exception")
    finally:
        structlog.configure(**before)
    expected, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert expected == {"event": "Task failed with exception: Training job x Failed"}
    assert other["exception"][0]["exc_type"] == "ValueError"
