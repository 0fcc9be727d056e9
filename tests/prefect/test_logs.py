"""What the logs and artifacts of a flow run show to the person on call."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from botocore.exceptions import EndpointConnectionError

from sagebridge.model.conditions import equals, less_than
from sagebridge.model.expressions import parameter
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep
from tests.attempts import outputs_of
from tests.fakes import FakeBackend, FakeSageMaker, Plan, raises
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.shapes import ROLE, model, training

pytestmark = pytest.mark.prefect


class Lines(logging.Handler):
    """Collects the records of run loggers as a log file shows them, with tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def log(server: None) -> Iterator[list[str]]:
    """The log of the flow run and its tasks."""
    from prefect.logging.configuration import setup_logging

    del server
    setup_logging()  # otherwise the first flow run of the process does, and removes the handler
    lines = Lines()
    loggers = [logging.getLogger(name) for name in ("prefect.task_runs", "prefect.flow_runs")]
    for logger in loggers:
        logger.addHandler(lines)
    yield lines.texts
    for logger in loggers:
        logger.removeHandler(lines)


def markdown_of(played: FinishedRun, key: str) -> str:
    """The content of a Markdown artifact of the run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[played.run.id]))
    with get_client(sync_client=True) as client:
        found = {one.key: one.data for one in client.read_artifacts(artifact_filter=of_run)}
    return str(found[key])


def test_condition_shows_values_sources_and_skipped_steps(
    run: Run, aws: FakeSageMaker, log: list[str]
) -> None:
    check = ConditionStep(
        "Check it",
        "Condition",
        conditions=(less_than(parameter("Limit"), 5), equals(1, 1)),
        if_steps=(model("Use"),),
        else_steps=(model("Other"),),
    )
    limit = Parameter("Limit", "Float", 6.0)
    played = run(check, model("Last", "Use"), parameters=(limit,))
    assert (
        "condition Check it: False\n"
        "  [False] 6.0 (parameter Limit) < 5\n"
        "  [True] 1 == 1\n"
        "  runs (else branch): Other\n"
        "  skipped: Use, Last"
    ) in log
    outputs = outputs_of(played.steps["Check it"])
    assert outputs["skipped"] == ["Use", "Last"]
    left = {"value": 6.0, "source": "parameter Limit"}
    assert outputs["conditions"][0]["left"] == left
    text = markdown_of(played, "check-it-condition")
    assert text.startswith("# Check it: False\n")
    assert json.loads(text.partition("```json\n")[2].partition("\n```")[0]) == outputs


def test_failed_job_ends_the_log_with_its_reason(
    run: Run, aws: FakeSageMaker, log: list[str]
) -> None:
    aws.plans["Bad"] = Plan(("InProgress", "Failed"), ending={"FailureReason": "no data"})
    run(training("Bad"))
    (name,) = aws.jobs
    assert "Traceback" not in "\n".join(log)
    reason = f"Training job {name} Failed: no data"
    assert log[-2:] == [
        f"Finished in state Failed('{reason}')",
        f"Finished in state Failed(\"step 'Bad' failed: {reason}\")",
    ]
    (request,) = [text for text in log if text.startswith("sagemaker.create_training_job {")]
    assert request.splitlines()[1] == f'  "RoleArn": "{ROLE}",'
    assert '    "InstanceCount": 1,' in request.splitlines()


PLAIN_IF = """
from prefect import flow
from sagebridge_operators.prefect import condition, equals, fail, finish, python

def divide():
    return 1 / 0

@flow(name="plain if")
def plain_if() -> object:
    bad = python("Bad", divide)
    if condition("Check", conditions=[equals(1, 1)], depends_on=[bad]):
        fail("No", error_message="x")
    return finish()
"""


def test_failed_function_shows_only_its_own_frames(
    play: Run, backend: FakeBackend, log: list[str]
) -> None:
    played = play(flow_of(PLAIN_IF))
    text = "\n".join(log)
    assert text.count("Traceback") == 1
    frames = [line for line in text.splitlines() if line.startswith('  File "')]
    assert len(frames) == 1
    assert frames[0].endswith("in divide")
    assert log[-1].startswith("Finished in state Failed(")
    assert "step 'Bad' failed: ZeroDivisionError: division by zero" in log[-1]
    assert played.run.state.name == "Failed"


def test_outage_is_logged_without_a_traceback(
    run: Run, aws: FakeSageMaker, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.lifecycle import drive
    from sagebridge_operators.prefect import step_tasks

    monkeypatch.setattr(drive, "PATIENCE", 0.0)
    monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0)
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.before["describe_training_job"] = [raises(lost)] * 99
    run(training("Bad"))
    text = "\n".join(log)
    assert "Could not connect to the endpoint URL" in log[-1]
    assert "Traceback" not in text
    aws.before["describe_training_job"] = [raises(KeyError("a defect"))] * 99
    run(training("Bad"))
    assert "Traceback" in "\n".join(log)
