"""The parallelism limit of a pipeline, measured by the requests that AWS receives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge_operators.backends import MAX_PARALLEL
from sagebridge_operators.backends.aws import AwsBackend
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.live_jobs import most_live
from tests.faulty_aws.server import FaultyAws
from tests.prefect.conftest import Run, flow_of
from tests.shapes import training

pytestmark = pytest.mark.prefect
SECONDS = 0.6
STEPS = tuple(training(f"T{number}") for number in range(5))
LIMIT = '{"ParallelismConfiguration": {"MaxParallelExecutionSteps": 2}}'


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    """An AWS whose jobs take SECONDS, and which steps look at often."""
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.05, 0.1))
    with FaultyAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        aws.add_scripts(JobScript(seconds=SECONDS))
        yield aws


def test_no_limit_runs_all_steps_at_once(play: Run, aws: FaultyAws) -> None:
    play(flow_of(write(Pipeline(steps=STEPS, name="all"))[0]))
    assert most_live(aws, SECONDS) > 2


def test_written_flow_keeps_the_limit(play: Run, aws: FaultyAws) -> None:
    pipeline = Pipeline(steps=STEPS, name="two", parallelism=Parallelism(2))
    play(flow_of(write(pipeline)[0]))
    assert (most_live(aws, SECONDS), aws.count("CreateTrainingJob")) == (2, 5)


def test_limit_holds_although_the_task_runner_has_more_threads(play: Run, aws: FaultyAws) -> None:
    text, _ = write(Pipeline(steps=STEPS, name="more"))
    begin = "begin(definition={"
    assert begin in text
    text = text.replace(begin, f"begin(pipeline={LIMIT}, definition={{")
    played = play(flow_of(text))
    assert set(played.states.values()) == {"Completed"}
    assert (most_live(aws, SECONDS), aws.count("CreateTrainingJob")) == (2, 5)


def test_limit_of_the_start_wins(
    play: Run, aws: FaultyAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MAX_PARALLEL, "1")
    pipeline = Pipeline(steps=STEPS[:3], name="one", parallelism=Parallelism(2))
    play(flow_of(write(pipeline)[0]))
    assert most_live(aws, SECONDS) == 1
