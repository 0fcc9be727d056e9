"""``sagebridge executions`` and ``run --steps`` with a ForEach step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sagebridge import read
from sagebridge.cli import main
from sagebridge.errors import SelectionError
from sagebridge.model import selection
from sagebridge_operators.commands.selected_steps import choose_steps
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT, Part
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import attempt_of
from tests.definition import step
from tests.faulty_aws import job_requests
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

ID = "aa11aa11aa11"
TIME = "TrainingTimeInSeconds"
DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Steps": [
        {
            "Name": "Fan",
            "Type": "ForEach",
            "Arguments": {
                "IterableItems": ["a", "b", "x" * 50],
                "MaxConcurrency": 2,
                "Selector": {"Pick": "MaxBy", "Field": {"Get": f"IterationOutput.Score.{TIME}"}},
                "ForEachBody": [step("Score", "Training"), step("Next", DependsOn=["Score"])],
            },
        },
        step(
            "After",
            Arguments={
                "best": {"Get": f"Steps.Fan.Selected.{TIME}"},
                "second": {"Get": f"Steps.Fan.IterationOutputs[1].Score.{TIME}"},
                "count": {"Get": "Steps.Fan.InputItemCount"},
            },
        ),
    ],
}
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        yield aws


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: FaultyAws) -> ExecutionRecords:
    """An execution with a job that runs for item 1 of 3. Item 0 has ended."""
    monkeypatch.chdir(tmp_path)
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_RECORDS", "SAGEBRIDGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    found = ExecutionRecords(Folder(tmp_path / ".sagebridge" / "executions"))
    body = {
        "format": FORMAT,
        "id": ID,
        "pipeline": "fans",
        "engine": "prefect",
        "run": "fans/1",
        "backend": "aws",
        "started": "2026-11-21T00:00:00+00:00",
        "parameters": {},
    }
    open_execution(found, ID, body, lambda: DEFINITION)
    found.save(attempt_of(ID, "Fan", "ForEach", items=("a", "b", "x" * 50)))
    for index in (0, 1):
        job = f"score-{index}"
        made = aws.client("sagemaker").create_training_job(**job_requests.training(job))
        score = attempt_of(ID, "Score", "Training", job=job, index=(index,))
        found.save(replace(score, parts=(Part(job, made["TrainingJobArn"]),)))
    score = found.attempts(ID, "Score", (0,))[0]
    found.save(score.with_end("Succeeded", outputs={"properties": {TIME: 7}}))
    found.save(attempt_of(ID, "Next", "Lambda", "Succeeded", outputs={}, index=(0,)))
    return found


@pytest.fixture
def sagebridge(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["executions", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_show_lists_each_iteration(records: ExecutionRecords, sagebridge: Call) -> None:
    _, out, _ = sagebridge("show", ID)
    lines = out[out.index("step ") :].partition("\n\n")[0].splitlines()
    assert lines[0].split() == ["step", "item", "type", "state", "time", "job"]
    table = [line.split()[:4] for line in lines[2:]]
    assert table == [
        ["Score-0", "a", "Training", "Succeeded"],
        ["Next-0", "a", "Lambda", "Succeeded"],
        ["Score-1", "b", "Training", "Executing"],
        ["Next-1", "b", "Lambda", "Pending"],
        ["Score-2", "x" * 37 + "...", "Training", "Pending"],
        ["Next-2", "x" * 37 + "...", "Lambda", "Pending"],
        ["After", "Lambda", "Pending"],
    ]
    steps = json.loads(sagebridge("show", ID, "--format", "json")[1])["steps"]
    assert [(one["name"], one["index"], one["item"], one["job"]) for one in steps[:4]] == [
        ("Fan", None, None, None),
        ("Score-0", 0, "a", "score-0"),
        ("Next-0", 0, "a", None),
        ("Score-1", 1, "b", "score-1"),
    ]


def test_logs_of_all_iterations_and_of_one(records: ExecutionRecords, sagebridge: Call) -> None:
    found = json.loads(sagebridge("logs", ID, "Score", "--format", "json")[1])
    assert list(found) == ["Score-0", "Score-1"]
    assert list(json.loads(sagebridge("logs", ID, "Score-1", "--format", "json")[1])) == ["Score-1"]
    code, _, err = sagebridge("logs", ID, "Score-2")
    assert code == 2
    assert "Score-1" in err


def test_stop_stops_the_job_of_each_iteration(
    records: ExecutionRecords, aws: FaultyAws, sagebridge: Call
) -> None:
    aws.add_scripts(JobScript(running=True, statuses=("InProgress",), stop_statuses=("Stopped",)))
    code, out, _ = sagebridge("stop", ID)
    assert (code, out) == (0, f"{ID}: no jobs are running; the execution is Stopped\n")
    assert [one.name for one in aws.requests("StopTrainingJob")] == ["score-1"]
    states = {
        one["name"]: one["state"]
        for one in json.loads(sagebridge("show", ID, "--format", "json")[1])["steps"]
    }
    assert states == {
        "Fan": "Stopped",
        "Score-0": "Succeeded",
        "Next-0": "Succeeded",
        "Score-1": "Stopped",
        "Next-1": "NotRun",
        "Score-2": "NotRun",
        "Next-2": "NotRun",
        "After": "NotRun",
    }


def test_sweep_names_the_iteration(
    records: ExecutionRecords, aws: FaultyAws, sagebridge: Call
) -> None:
    for one in records.attempts(ID):
        with records.attend(one):
            pass  # a worker was at it
    found = json.loads(sagebridge("sweep", "--lost-for", "0", "--dry-run", "--format", "json")[1])
    assert [(one["step"], one["job"]) for one in found] == [("Score-1", "score-1")]


def test_selection_takes_a_whole_loop(records: ExecutionRecords) -> None:
    pipeline = read(DEFINITION).pipeline
    assert selection.closed(pipeline, ["Fan"]) == ("Fan", "Score", "Next")
    assert [one.name for one in selection.select(pipeline, ["Fan"]).steps] == ["Fan"]
    with pytest.raises(SelectionError) as refused:
        selection.closed(pipeline, ["Score", "After"])
    (problem,) = refused.value.problems
    assert problem == (
        "step 'Score' cannot be selected, as it is in the body of ForEach step 'Fan'; "
        "select 'Fan', which runs its whole body"
    )


def test_selection_reads_the_outputs_of_iterations(
    records: ExecutionRecords, tmp_path: Path
) -> None:
    """From the record of the ForEach, from those of its iterations, or given."""
    pipeline = replace(read(DEFINITION).pipeline, name="fans")
    score = records.attempts(ID, "Score", (1,))[0]
    records.save(score.with_end("Succeeded", outputs={"properties": {TIME: 9}}))
    outputs = {"selected": {"step": "Score", "index": 0}, "properties": {"InputItemCount": 3}}
    (fan,) = records.attempts(ID, "Fan")
    records.save(fan.with_end("Succeeded", outputs=outputs))
    records.objects.put(f"{ID}/end.json", {"status": "Succeeded", "ended": score.started})
    workdir = Workdir.of(tmp_path / ".sagebridge", "aws")
    given = [f"Steps.Fan.Selected.{TIME}=11"]

    copied, _ = choose_steps(pipeline, ["After"], ID, [], {}, workdir)
    with_value, _ = choose_steps(pipeline, ["After"], ID, given, {}, workdir)

    assert copied is not None
    assert with_value is not None
    assert list(copied.values.values()) == [7, 9, 3]
    assert list(with_value.values.values()) == [11, 9, 3]


@pytest.mark.parametrize("state", ["Failed", "Succeeded"])
def test_selection_needs_a_selected_iteration(
    state: Literal["Failed", "Succeeded"], records: ExecutionRecords, tmp_path: Path
) -> None:
    pipeline = replace(read(DEFINITION).pipeline, name="fans")
    (fan,) = records.attempts(ID, "Fan")
    records.save(fan.with_end(state, outputs={"properties": {"InputItemCount": 3}}))
    records.objects.put(f"{ID}/end.json", {"status": state, "ended": fan.started})
    with pytest.raises(SelectionError) as refused:
        choose_steps(pipeline, ["After"], ID, [], {}, Workdir.of(tmp_path / ".sagebridge", "aws"))
    assert any(f"Steps.Fan.Selected.{TIME}" in one for one in refused.value.problems)
