"""Values of steps that are not selected: of the command line and of earlier executions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.errors import SelectionError
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.selection import Chosen, Source, choose
from tests.attempts import attempt_of
from tests.definition import REPORT, equals, gate, get, processing, step, uses
from tests.fakes import FakeBackend
from tests.lifecycle.conftest import EXECUTION

FIRST, SECOND = "aa11aa11aa11", "aa22bb22bb22"
ARTIFACT = "Steps.Train.ModelArtifacts.S3ModelArtifacts"
SECONDS = "Steps.Train.TrainingTimeInSeconds"
FILE = "Steps.Eval.PropertyFiles.Report"
READ = {"Std:JsonGet": {"PropertyFile": get(FILE), "Path": "mse"}}
PIPELINE = sagebridge.read(
    {
        "Version": "2020-12-01",
        "Steps": [
            step("Train", "Training"),
            processing("Eval", REPORT),
            step("Fn", OutputParameters=[{"OutputName": "n", "OutputType": "Integer"}]),
            gate(equals(READ, 1), equals(get(SECONDS), 60), name="Check"),
            uses([get(ARTIFACT), get("Steps.Train.HyperParameters.depth")], "Use"),
            uses(get("Steps.Fn.OutputParameters['n']"), "Number"),
            uses(get("Steps.Train.Environment.KEY"), "Key"),
            uses([get("Steps.Code.return_value.a[1]"), get("Steps.Code.return_value.b")], "Coded"),
            step("Code", "Odd"),
        ],
    }
).pipeline


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(objects={"s3://bucket/report.json": b'{"mse": 4.5}'})


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    """An execution whose steps Train and Eval succeeded, and one that was selective."""
    found = ExecutionRecords(Folder(tmp_path))
    body = {"format": FORMAT, "started": "2026-11-21T00:00:00+00:00", "pipeline": "p"}
    for execution in (FIRST, SECOND):
        selection = {"source": FIRST, "values": {SECONDS: 7}}
        more = {"selection": selection} if execution == SECOND else {}
        open_execution(found, execution, {**body, **more}, dict)
    outputs = {"properties": {"ModelArtifacts.S3ModelArtifacts": "s3://b/m"}}
    found.save(attempt_of(FIRST, "Train", "Training", "Succeeded", job="train", outputs=outputs))
    files = {"property_files": {"Report": "s3://bucket/report.json"}}
    found.save(attempt_of(FIRST, "Eval", "Processing", "Succeeded", job="eval", outputs=files))
    return found


Select = Callable[..., Chosen]


@pytest.fixture
def select(records: ExecutionRecords, backend: FakeBackend) -> Select:
    def call(*steps: str, values: Any = (), source: str | None = None) -> Chosen:
        found = None if source is None else Source(source, records, lambda attempt: backend)
        return choose(PIPELINE, steps, values, found, EXECUTION, backend)

    return call


def test_values_are_typed_by_their_property(select: Select) -> None:
    values = [f"{ARTIFACT}=s3://b/k?x=1", "Steps.Train.HyperParameters.depth=5"]
    assert select("Use", values=values).values == {
        ARTIFACT: "s3://b/k?x=1",
        "Steps.Train.HyperParameters.depth": "5",
    }
    number = "Steps.Fn.OutputParameters['n']"
    assert select("Number", values=[f"{number}=5"]).values == {number: 5}
    coded = select("Coded", values=['Steps.Code.return_value={"a": [1, 2.0], "b": "x"}'])
    assert coded.values == {
        "Steps.Code.return_value.a[1]": 2.0,
        "Steps.Code.return_value.b": "x",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([f"{SECONDS}=soon"], f"--value {SECONDS}: expected a JSON integer, got 'soon'"),
        ([f"{SECONDS}=true"], f"--value {SECONDS}: expected a JSON integer, got 'true'"),
        (["Steps.Trian.X=1"], "--value Steps.Trian.X: no step 'Trian' (did you mean 'Train'?)"),
        (["Steps.Check.Outcome=True"], "step 'Check' is selected, so its value is of this run"),
        (["Parameters.Rate=1"], "expected a property of a step; set a parameter with -p"),
        (["nothing"], "--value nothing: expected Steps.NAME.PROPERTY=VALUE"),
        ([f"{FILE}=gone.json"], f"{FILE} has no value:"),
    ],
)
def test_wrong_values_are_reported_with_the_missing_ones(
    select: Select, values: list[str], message: str
) -> None:
    with pytest.raises(SelectionError) as raised:
        select("Check", values=values)

    assert message in str(raised.value)
    assert f'use --value "{SECONDS}=..."' in str(raised.value)


def test_a_condition_is_tested_with_a_local_file(
    select: Select, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evaluation.json").write_text('{"mse": 6.25}')
    monkeypatch.chdir(tmp_path)
    found = select("Check", values=[f"{FILE}=evaluation.json", f"{SECONDS}=60"])

    assert '"LeftValue": 6.25' in sagebridge.write(found.pipeline, "sagemaker").text
    assert found.values[FILE] == str(tmp_path / "evaluation.json")
    (tmp_path / "evaluation.json").write_text('{"rmse": 6.25}')
    with pytest.raises(SelectionError, match=r"no key 'mse' \(available: rmse\)"):
        select("Check", values=[f"{FILE}=evaluation.json", f"{SECONDS}=60"])


def test_values_of_the_source(select: Select, backend: FakeBackend) -> None:
    described(backend)
    found = select("Use", "Check", source=FIRST)

    # TrainingTimeInSeconds and HyperParameters were not recorded: the job is described.
    assert found.values == {
        FILE: "s3://bucket/report.json",
        SECONDS: 60,
        ARTIFACT: "s3://b/m",
        "Steps.Train.HyperParameters.depth": "3",
    }
    assert {name: one["execution"] for name, one in found.origins.items()} == {
        "Eval": FIRST,
        "Train": FIRST,
    }
    assert '"Std:JsonGet": {' in sagebridge.write(found.pipeline, "sagemaker").text


def test_given_values_win_and_unused_ones_are_reported(select: Select) -> None:
    values = [f"{ARTIFACT}=s3://mine", "Steps.Train.HyperParameters.depth=1", f"{SECONDS}=1"]
    found = select("Use", values=values, source=FIRST)

    assert found.values[ARTIFACT] == "s3://mine"
    assert found.origins["Train"]["execution"] == ""
    assert found.unused == (SECONDS,)


def test_a_selective_execution_is_a_source(select: Select) -> None:
    found = select("Check", source=SECOND)

    assert found.values == {FILE: "s3://bucket/report.json", SECONDS: 7}
    assert found.origins["Train"]["execution"] == SECOND
    assert found.origins["Eval"]["execution"] == FIRST


def test_missing_values_of_the_source(
    select: Select, records: ExecutionRecords, backend: FakeBackend
) -> None:
    backend.objects.clear()
    with pytest.raises(SelectionError) as raised:
        select("Check", "Key", "Number", source=FIRST)

    for message in (
        f"{SECONDS} has no value: Training train of execution {FIRST} does not exist any more",
        f"{FILE} has no value: s3://bucket/report.json: no such object",
        f"step 'Fn' did not run in execution {FIRST}",
        "Steps.Train.Environment.KEY has no value: it may be a secret",
    ):
        assert message in str(raised.value)
    records.save(attempt_of(FIRST, "Fn", "Lambda", "Failed", reason="no"))
    with pytest.raises(SelectionError, match=f"step 'Fn' is Failed in execution {FIRST}"):
        select("Number", source=FIRST)


def test_data_is_never_an_expression(select: Select, records: ExecutionRecords) -> None:
    outputs = {"return_value": {"a": [0, {"Get": "Execution.PipelineName"}], "b": 1}}
    records.save(attempt_of(FIRST, "Code", "Odd", "Succeeded", outputs=outputs))
    with pytest.raises(SelectionError, match="its value has the form of an expression"):
        select("Coded", source=FIRST)


def described(backend: FakeBackend) -> None:
    """Create the job of Train."""
    backend.sagemaker.create_training_job(
        TrainingJobName="train",
        HyperParameters={"depth": "3"},
        AlgorithmSpecification={"TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::111122223333:role/r",
        OutputDataConfig={"S3OutputPath": "s3://b"},
        StoppingCondition={},
    )
    backend.sagemaker.jobs["train"].description["TrainingTimeInSeconds"] = 60
