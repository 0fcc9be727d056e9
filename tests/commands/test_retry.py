"""``sagebridge executions retry`` with existing records; no engine starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.cli import main
from sagebridge_operators.commands import retry as command
from sagebridge_operators.commands import run
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution, retry_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import attempt_of
from tests.commands.conftest import write
from tests.definition import step

ID = "aa11aa11aa11"
FAIL = step("No", "Fail", Arguments={"ErrorMessage": "no"})
ROLE = {"PipelineName": "p", "RoleArn": "arn:aws:iam::111122223333:role/r"}


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutionRecords:
    """A failed execution on Airflow."""
    monkeypatch.chdir(tmp_path)
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_RECORDS", "SAGEBRIDGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "version_of", lambda engine: "3")
    found = ExecutionRecords(Folder(tmp_path / ".sagebridge" / "executions"))
    source = write(tmp_path, "p", step("A", "Training"), FAIL)
    pipeline = sagebridge.read(str(source)).pipeline
    body = {
        "format": FORMAT,
        "id": ID,
        "pipeline": "p",
        "engine": "airflow",
        "run": "p/r-1",
        "backend": "local",
        "home": str(tmp_path / ".sagebridge"),
        "started": "2026-11-21T00:00:00+00:00",
        "parameters": {},
        **command.described_source("p.json", pipeline),
        "request": ROLE,
    }
    open_execution(found, ID, body, lambda: json.loads(source.read_text()))
    found.save(attempt_of(ID, "A", "Training", "Failed", reason="no", engine_try=3, generation=2))
    end(found, "Failed")
    return found


def end(records: ExecutionRecords, status: str) -> None:
    body = {"status": status, "reason": "no", "ended": "2026-11-21T00:01:00+00:00"}
    records.objects.put(f"{ID}/end.json", body)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments with which an execution starts."""
    found: list[Any] = []

    def start(*given: Any, **more: Any) -> int:
        del more
        found.extend(given)
        return 0

    monkeypatch.setattr(run, "run_to_end", start)
    monkeypatch.setattr(Workdir, "check_isolation", lambda workdir, pipeline: None)
    return found


Change = Callable[[ExecutionRecords, Mapping[str, Any]], object]


def _own_engine(engine: str, records: ExecutionRecords, body: Mapping[str, Any]) -> None:
    left = {name: value for name, value in body.items() if name != "source"}
    records.objects.put(f"{ID}/execution.json", {**left, "engine": engine})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records, body: end(records, "Succeeded"), "its status is Succeeded; it must be"),
        (lambda records, body: records.objects.remove(f"{ID}/end.json"), "is Executing; it must"),
        (
            lambda records, body: records.save(attempt_of(ID, "No", "Fail", "Failed", reason="x")),
            "the Fail step 'No' ended it; start a new run",
        ),
        (
            lambda records, body: _own_engine("airflow", records, body),
            "it ran in an existing Airflow; on the page of run 'r-1' of DAG 'p', press Clear Run",
        ),
        (
            lambda records, body: _own_engine("prefect", records, body),
            (
                "it ran on an existing Prefect; press Retry on the page of flow run r-1, or run: "
                "prefect flow-run retry r-1"
            ),
        ),
    ],
)
def test_refused(
    change: Change,
    message: str,
    records: ExecutionRecords,
    started: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(records, records.execution(ID) or {})

    assert main(["executions", "retry", "aa"]) == 2

    assert f"execution {ID} cannot be retried: " in (err := capsys.readouterr().err)
    assert message in err
    assert not started


def test_pipeline_comes_from_the_record(records: ExecutionRecords, started: list[Any]) -> None:
    Path("p.json").unlink()

    assert main(["executions", "retry", ID]) == 0

    pipeline, parameters, workdir, record = started
    assert [one.name for one in pipeline.steps] == ["A", "No"]
    assert (pipeline.name, pipeline.role_arn) == ("p", ROLE["RoleArn"])
    assert (parameters, workdir.backend_name) == ({}, "local")
    assert record == records.execution(ID)


def test_masked_pipeline_comes_from_its_source(
    records: ExecutionRecords,
    started: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A job must not get the mask of a record as its environment."""
    arguments = {"Environment": {"DB": "open sesame"}}
    source = write(tmp_path, "p", step("A", "Training", Arguments=arguments), FAIL)
    records.describe(ID, json.loads(source.read_text()))

    assert main(["executions", "retry", ID]) == 0
    assert started[0].steps[0].arguments["Environment"]["DB"] == "open sesame"

    changed = {**(records.execution(ID) or {}), "changes": [["replace", "open", "closed"]]}
    records.objects.put(f"{ID}/execution.json", changed)
    assert main(["executions", "retry", ID]) == 0
    assert started[-4].steps[0].arguments["Environment"]["DB"] == "closed sesame"

    source.write_text(source.read_text().replace('"A"', '"B"'))
    assert main(["executions", "retry", ID]) == 2
    assert "p.json has changed since" in capsys.readouterr().err


def test_sources_are_recorded_with_their_whole_path(
    records: ExecutionRecords, tmp_path: Path
) -> None:
    del records
    (tmp_path / "build.py").touch()
    pipeline = sagebridge.read({"Steps": []}).pipeline

    def recorded(source: str) -> str:
        return str(command.described_source(source, pipeline)["source"])

    assert recorded("p.json") == str(tmp_path / "p.json")
    assert recorded("build.py:make") == f"{tmp_path / 'build.py'}:make"
    assert recorded("build.py#nightly") == f"{tmp_path / 'build.py'}#nightly"
    assert recorded("package.module:make") == "package.module:make"
    assert recorded('{"Steps": []}') == ""


def test_retried_steps_have_not_started(records: ExecutionRecords) -> None:
    """Their earlier attempts stay in the records, and so do their names."""
    retry_execution(records, ID)

    assert records.end(ID) is None
    assert records.steps(ID) == {}
    assert [one.state for one in records.attempts(ID)] == ["Failed"]
    assert (records.execution(ID) or {})["retry"] == {
        "number": 1,
        "tries": 3,
        "generations": 3,
        "again": [],
    }
