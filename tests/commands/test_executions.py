"""``sagebridge executions`` with existing records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sagebridge import read
from sagebridge.cli import main
from sagebridge.model.code_steps import PYTHON
from sagebridge_operators.commands.execution_printing import Progress, print_view
from sagebridge_operators.commands.execution_view import ExecutionReader, StepView
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, Part
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import attempt_of
from tests.definition import gate, step
from tests.fakes import FakeBackend
from tests.faulty_aws import job_requests
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

FIRST, SECOND = "aa11aa11aa11", "aa22bb22bb22"
DEFINITION = {
    "Version": "2020-12-01",
    "Steps": [gate(then=[step("A")], other=[step("No", "Fail")])],
}


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutionRecords:
    """Two executions in a working folder: the first failed, the second is running."""
    monkeypatch.chdir(tmp_path)
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_RECORDS", "SAGEBRIDGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    found = ExecutionRecords(Folder(tmp_path / ".sagebridge" / "executions"))
    for hour, execution in enumerate((FIRST, SECOND)):
        body = {
            "format": FORMAT,
            "id": execution,
            "pipeline": "rings",
            "engine": "airflow",
            "run": f"rings/{execution}",
            "backend": "local",
            "started": f"2026-11-21T0{hour}:00:00.123456+01:00",
            "parameters": {"Limit": 1.0},
        }
        open_execution(found, execution, body, lambda: DEFINITION)
    found.save(attempt_of(FIRST, "Gate", "Condition", "Succeeded", outputs={"outcome": False}))
    found.save(attempt_of(FIRST, "No", "Fail", "Failed", reason="MSE > \x1b[31m1.0"))
    backend = FakeBackend()
    pipeline = read(found.definition(FIRST)).pipeline
    Ending(found, FIRST, lambda attempt: backend).conclude(pipeline)
    return found


@pytest.fixture
def sagebridge(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["executions", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


Call = Callable[..., tuple[int, str, str]]


def test_selected_steps_show_the_source_of_their_values(
    records: ExecutionRecords, sagebridge: Call
) -> None:
    body = records.execution(FIRST) or {}
    origins = {
        "Train": {"type": "Training", "execution": SECOND},
        "Eval": {"type": "Processing", "execution": ""},
    }
    selection = {"steps": ["Gate"], "source": SECOND, "values": {}, "origins": origins}
    records.objects.put(f"{FIRST}/execution.json", body | {"selection": selection})

    _, out, _ = sagebridge("show", FIRST)
    _, text, _ = sagebridge("show", FIRST, "--format", "json")

    rows = [line.split() for line in out.splitlines()]
    assert ["Train", "Training", "from", SECOND] in rows
    assert ["Eval", "Processing", "given"] in rows
    assert json.loads(text)["selection"] == selection


def test_list(records: ExecutionRecords, sagebridge: Call) -> None:
    code, out, _ = sagebridge("list")

    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["id", "pipeline", "engine", "backend", "started", "(UTC)", "status"]
    assert rows[2][4:6] == ["2026-11-20", "23:00:00"]
    assert [(row[0], row[-1]) for row in rows[1:]] == [(SECOND, "Executing"), (FIRST, "Failed")]


def test_list_as_json(records: ExecutionRecords, sagebridge: Call) -> None:
    _, out, _ = sagebridge("list", "--format", "json")

    assert [row["id"] for row in json.loads(out)] == [SECOND, FIRST]


def test_empty_folder(sagebridge: Call, tmp_path: Path) -> None:
    message = (
        f"no executions in {tmp_path / 'executions'}; use --workdir for another working folder\n"
    )
    assert sagebridge("list", "--workdir", str(tmp_path)) == (0, message, "")
    code, _, err = sagebridge("show", "aa", "--workdir", str(tmp_path))
    assert code == 2
    assert "no execution 'aa'" in err


def test_show(records: ExecutionRecords, sagebridge: Call) -> None:
    code, out, _ = sagebridge("show", "aa1")

    assert code == 0
    lines = out.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert lines[0] == f"rings {FIRST}: airflow run rings/{FIRST}, backend local"
    assert "  Limit = 1.0" in lines
    columns = [line.split(maxsplit=2) for line in lines]
    assert ["Gate", "Condition", "Succeeded: false (else)  2.0 s"] in columns
    assert ["A", "Lambda", "Skipped"] in columns
    assert lines[-2:] == ["result: Failed", "reason: MSE > \\x1b[31m1.0"]


def test_show_as_json(records: ExecutionRecords, sagebridge: Call) -> None:
    _, out, _ = sagebridge("show", FIRST, "--format", "json")

    view: dict[str, Any] = json.loads(out)
    assert view["status"] == "Failed"
    assert view["reason"] == "MSE > \x1b[31m1.0"
    assert [step["state"] for step in view["steps"]] == ["Succeeded", "Skipped", "Failed"]


@pytest.mark.parametrize("text", ["b", "aa11aa11aa11x"])
def test_unknown_id_prefix(records: ExecutionRecords, sagebridge: Call, text: str) -> None:
    code, out, err = sagebridge("show", text)

    assert (code, out) == (2, "")
    assert f"no execution {text!r}" in err
    assert SECOND in err


def test_ambiguous_id_prefix(records: ExecutionRecords, sagebridge: Call) -> None:
    code, out, err = sagebridge("show", "aa")

    assert (code, out) == (2, "")
    assert f"id prefix 'aa' is ambiguous (2 executions: {SECOND}, {FIRST})" in err


def test_logs_of_steps_without_jobs(records: ExecutionRecords, sagebridge: Call) -> None:
    records.save(attempt_of(FIRST, "Train", "Training", "Failed", reason="not allowed"))

    of_all = sagebridge("logs", FIRST)
    of_one = sagebridge("logs", FIRST, "Gate")

    assert of_all == (0, "", "step 'Train' has no job: not allowed\n")
    assert of_one == (0, "", "step 'Gate' has no log: Condition steps have no job\n")


def test_logs_of_step_not_started(records: ExecutionRecords, sagebridge: Call) -> None:
    code, _, err = sagebridge("logs", FIRST, "A")

    assert code == 2
    assert "no step 'A' has started (started: Gate, No)" in err


CODE = attempt_of(SECOND, "A", PYTHON)


@pytest.mark.parametrize("words", [(), ("A",)])
def test_logs_of_user_code_refer_to_engine(
    records: ExecutionRecords, sagebridge: Call, words: tuple[str, ...]
) -> None:
    records.save(CODE)

    code, out, err = sagebridge("logs", SECOND, *words)

    assert (code, out) == (0, "")
    run = f"airflow run rings/{SECOND}"
    assert err == f"step 'A' is user code; its log is the task log in {run}\n"


def test_stop_lists_functions_still_running(
    records: ExecutionRecords, sagebridge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ending.stop, "__defaults__", (0.1,))
    records.save(CODE)

    with records.attend(CODE):
        code, out, _ = sagebridge("stop", SECOND)
        as_json = sagebridge("stop", SECOND, "--format", "json")[1]

    assert code == 3
    assert out == f"{SECOND}: steps still running: A\n"
    assert json.loads(as_json)["still_running"] == ["A"]


def test_stop_ends_function_with_lost_worker(records: ExecutionRecords, sagebridge: Call) -> None:
    records.save(CODE)

    code, out, _ = sagebridge("stop", SECOND)

    assert (code, out) == (0, f"{SECOND}: no jobs are running; the execution is Stopped\n")
    assert json.loads(sagebridge("list", "--format", "json")[1])[0]["status"] == "Stopped"


def test_stop_of_ended_execution_requests_nothing(
    records: ExecutionRecords, sagebridge: Call
) -> None:
    code, out, _ = sagebridge("stop", FIRST)

    assert code == 0
    assert out == f"{FIRST}: no jobs are running; the execution is Failed\n"
    assert not records.stop_requested(FIRST)


def test_stop_of_execution_without_recorded_end(
    records: ExecutionRecords, sagebridge: Call
) -> None:
    """An existing Airflow records only steps. A stop request would prevent clearing them."""
    for attempt in records.steps(FIRST).values():
        records.save(replace(attempt, execution=SECOND))

    code, out, _ = sagebridge("stop", SECOND)

    assert (code, out) == (0, f"{SECOND}: no jobs are running; the execution is Failed\n")
    assert not records.stop_requested(SECOND)


def test_stop_before_first_step(records: ExecutionRecords, sagebridge: Call) -> None:
    assert json.loads(sagebridge("list", "--format", "json")[1])[0]["status"] == "Executing"

    code, out, _ = sagebridge("stop", SECOND)

    assert code == 0
    assert records.stop_requested(SECOND)
    assert out == f"{SECOND}: no jobs are running; the execution is Stopped\n"
    assert json.loads(sagebridge("list", "--format", "json")[1])[0]["status"] == "Stopped"


def test_stop_of_unreadable_execution(records: ExecutionRecords, sagebridge: Call) -> None:
    """Jobs cost money, so the stop request is recorded even then."""
    definition = Path(".sagebridge", "executions", SECOND, "definition.json")
    assert definition.exists()
    definition.write_text("{")

    code, _, err = sagebridge("stop", SECOND)

    assert code == 6
    assert "definition.json" in err
    assert records.stop_requested(SECOND)


LONG = "AbaloneRegisterModel-RegisterModel"
JOB = "AbalonePipeline-aa22bb22bb22-AbaloneRegisterModel-RegisterModel"


@pytest.mark.parametrize("width", [80, 120])
def test_names_are_not_cut_on_terminal(
    records: ExecutionRecords, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    step_view = StepView(LONG, "RegisterModel", "Succeeded", 0.2, JOB, outcome=True)
    view = ExecutionReader(Workdir.of(Path(".sagebridge"), "local")).view(FIRST)
    terminal = Console(width=width, force_terminal=True, color_system=None)

    print_view(terminal, replace(view, steps=(step_view,)))
    plain = capsys.readouterr().out.splitlines()
    print_view(terminal, replace(view, steps=(step_view,)), jobs=True)
    with_jobs = capsys.readouterr().out.splitlines()
    with Progress(terminal) as progress:
        progress.steps([step_view])
    live = capsys.readouterr().out

    assert plain[1] == f"{LONG}  RegisterModel  Succeeded: true (if)  0.2 s"
    assert max(map(len, plain[:2])) <= 80
    assert with_jobs[1] == f"{plain[1]}  {JOB}"
    assert LONG in live
    assert "Succeeded" in live


def test_retried_and_cached_steps_are_marked(records: ExecutionRecords, sagebridge: Call) -> None:
    train = attempt_of(SECOND, "Train", "Training", "Succeeded", job="t-2", outputs={}, number=2)
    assert train.end is not None
    records.save(replace(train, end=replace(train.end, cached_from=f"{FIRST}/Train")))
    definition = {"Steps": [{"Name": "Train", "Type": "Training", "Arguments": {}}]}
    records.describe(SECOND, definition)
    out = sagebridge("show", SECOND)[1]
    assert f"Succeeded (cached from {FIRST}) (3 attempts)" in out
    (step,) = json.loads(sagebridge("show", SECOND, "--format", "json")[1])["steps"]
    assert (step["attempts"], step["cached_from"]) == (3, f"{FIRST}/Train")


def test_sweep_stops_jobs_of_lost_runs(records: ExecutionRecords, sagebridge: Call) -> None:
    assert sagebridge("sweep") == (0, "no lost jobs found\n", "")
    with records.attend(CODE):
        records.save(CODE)
        assert sagebridge("sweep", "--lost-for", "0") == (0, "no lost jobs found\n", "")

    code, out, _ = sagebridge("sweep", "--lost-for", "0")

    assert code == 0
    assert out.startswith(f"{SECOND} A Stopped: no worker has looked at it since ")
    assert records.steps(SECOND)["A"].state == "Stopped"
    assert json.loads(sagebridge("sweep", "--format", "json")[1]) == []


def test_job_of_another_account_is_named(
    records: ExecutionRecords, sagebridge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs of this account are stopped, in their own region."""
    body = records.execution(SECOND) or {}
    records.objects.put(f"{SECOND}/execution.json", {**body, "backend": "aws"})
    other = "arn:aws:sagemaker:eu-west-1:999988887777:processing-job/b"
    with FaultyAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        made = aws.client("sagemaker").create_processing_job(**job_requests.processing("a"))
        for name, arn in (("a", made["ProcessingJobArn"]), ("b", other)):
            job = attempt_of(SECOND, name.upper(), job=name, settings={"aws_conn_id": "team"})
            records.save(replace(job, parts=(Part(name, arn),)))

        code, out, err = sagebridge("stop", SECOND)

        assert (code, out) == (3, "")
        assert f"{other} is in another account" in err
        assert "the connection 'team'" in err
        assert [one.name for one in aws.requests("StopProcessingJob")] == ["a"]
        assert records.steps(SECOND)["A"].state == "Stopped"
        assert records.steps(SECOND)["B"].running


def test_sweep_continues_after_unreadable_execution(
    records: ExecutionRecords, sagebridge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(CODE)
    running = Ending.running

    def fail_for_second(ending: Ending) -> list[Attempt]:
        if ending.execution == SECOND:
            raise PermissionError("not allowed")
        return running(ending)

    records.save(replace(CODE, execution=FIRST))
    monkeypatch.setattr(Ending, "running", fail_for_second)
    code, out, err = sagebridge("sweep", "--lost-for", "0")

    assert code == 3
    assert out == f"{FIRST} A Stopped: its execution has ended\n"
    assert err == f"{SECOND} Unknown: PermissionError: not allowed\n"


def test_duration_without_recorded_end_is_that_of_last_step(
    records: ExecutionRecords, sagebridge: Call
) -> None:
    """In an existing Airflow, no sagebridge code runs at the end of a run."""
    gate_of, no = (records.steps(FIRST)[name] for name in ("Gate", "No"))
    for one in (gate_of, no):
        records.save(replace(one, execution=SECOND))

    first, again = (json.loads(sagebridge("show", SECOND, "--format", "json")[1]) for _ in "12")

    assert first["status"] == "Failed"
    assert records.end(SECOND) is None
    assert first["seconds"] == again["seconds"]
    assert [one["seconds"] for one in first["steps"] if one["name"] == "No"] == [2.0]


def test_execution_of_older_version_is_listed(records: ExecutionRecords, sagebridge: Call) -> None:
    there = records.execution(FIRST) or {}
    body = {**there, "id": "bb", "started": "2026-11-20T00:00:00+00:00"}
    del body["format"]
    records.objects.put("bb/execution.json", body)
    records.objects.put("bb/steps/A.json", {"name": "A", "status": "Executing"})

    rows = json.loads(sagebridge("list", "--format", "json")[1])

    assert (rows[-1]["id"], rows[-1]["status"]) == ("bb", "older version")
    code, _, err = sagebridge("show", "bb")
    assert code == 6
    assert "finish or stop running executions before upgrading" in err
