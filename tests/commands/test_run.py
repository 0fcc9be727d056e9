"""``sagebridge run`` on a real Airflow with real jobs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from sagebridge_operators.launch.rest import AirflowApi
from tests.commands.conftest import (
    Command,
    Sagebridge,
    eventually,
    processes,
    processing,
    sleeping,
    write,
)

pytest.importorskip("airflow")
pytestmark = [pytest.mark.airflow, pytest.mark.slow]

REPORT = {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "report.json"}
MSE = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Eval.PropertyFiles.Report"}, "Path": "m.mse"}}
LIMIT = {"Get": "Parameters.Limit"}
PARAMETERS = [{"Name": "Limit", "Type": "Float", "DefaultValue": 6.0}]
MESSAGE = {"Std:Join": {"On": " ", "Values": ["Execution failed due to MSE >", LIMIT]}}


def gated() -> list[dict[str, Any]]:
    """An evaluation, and a condition on what it measured."""
    code = "open('/opt/ml/processing/out/report.json', 'w').write('{\"m\": {\"mse\": 4.5}}')"
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": MSE, "RightValue": LIMIT}],
            "IfSteps": [processing("Good", "print('good')")],
            "ElseSteps": [{"Name": "Bad", "Type": "Fail", "Arguments": {"ErrorMessage": MESSAGE}}],
        },
    }
    return [processing("Eval", code, PropertyFiles=[REPORT]), gate]


def task(line: str, name: str) -> dict[str, Any]:
    """A task instance, from the REST API of the Airflow whose UI a command told."""
    base, _, rest = line.rpartition(" ")[2].partition("/dags/")
    dag, _, run = rest.partition("/runs/")
    api = AirflowApi(base)
    until = time.monotonic() + 20
    while True:
        try:
            return api.task_instances(dag, run)[name]
        except httpx.TransportError:
            assert time.monotonic() < until
            time.sleep(0.2)
        finally:
            api.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def shown(sagebridge: Sagebridge, folder: Path, command: Command) -> dict[str, Any]:
    """``executions show`` of the execution that a command ran."""
    execution = next(line for line in command.out if line.startswith("execution ")).split()[1]
    show = sagebridge(folder, "executions", "show", execution.rstrip(":"), "--format", "json")
    assert show.end() == 0, show.err
    found: dict[str, Any] = json.loads(show.text)
    return found | {"by_name": {step["name"]: step for step in found["steps"]}}


@pytest.fixture(scope="module")
def everything(folder: Path, sagebridge: Sagebridge) -> Iterator[Command]:
    """A run in which jobs sleep, one is killed, and a worker is killed while its job goes on."""
    definition = write(
        folder,
        "everything",
        *(sleeping(name, 5) for name in "ABC"),
        processing("Killed", "import os; print('so far', flush=True); os.kill(os.getpid(), 9)"),
        sleeping("After", 0, DependsOn=["Killed"]),
        sleeping("Long", 15),
        *gated(),
        Parameters=PARAMETERS,
    )
    command = sagebridge(folder, "run", definition, "--on", "airflow", "-p", "Limit=5")
    ui = command.wait_for("Airflow UI: http://127.0.0.1:")
    command.wait_for("Long Executing")
    eventually(lambda: bool(list(folder.glob(".sagebridge/jobs/Processing/*-Long-*/log"))))
    os.kill(task(ui, "Long")["pid"], signal.SIGKILL)
    command.end()
    yield command
    assert processes(folder) == []


@pytest.mark.airflow31
def test_independent_steps_run_at_the_same_time(
    everything: Command, folder: Path, sagebridge: Sagebridge
) -> None:
    steps = shown(sagebridge, folder, everything)["by_name"]
    execution = steps["A"]["job"].split("-")[1]
    records = folder / ".sagebridge" / "executions" / execution / "steps"
    times = [json.loads((records / f"{name}.json").read_text()) for name in "ABC"]
    began = min(datetime.fromisoformat(record["started"]) for record in times)
    ended = max(datetime.fromisoformat(record["ended"]) for record in times)

    assert 5 < (ended - began).total_seconds() < 12


@pytest.mark.airflow31
def test_a_killed_job_fails_its_step_and_what_waits_for_it(
    everything: Command, folder: Path, sagebridge: Sagebridge
) -> None:
    steps = shown(sagebridge, folder, everything)["by_name"]

    assert everything.process.returncode == 3
    assert steps["Killed"]["state"] == "Failed"
    assert "SIGKILL" in steps["Killed"]["reason"]
    assert steps["After"]["state"] == "NotRun"
    assert steps["A"]["state"] == "Succeeded"
    assert "result: Failed" in everything.out
    assert any(line.startswith("reason: step 'Killed' failed: ") for line in everything.out)


@pytest.mark.airflow31
def test_a_retry_finds_the_job_of_a_worker_that_was_killed(
    everything: Command, folder: Path, sagebridge: Sagebridge
) -> None:
    assert shown(sagebridge, folder, everything)["by_name"]["Long"]["state"] == "Succeeded"
    assert len(list(folder.glob(".sagebridge/jobs/Processing/*-Long-*"))) == 1


@pytest.mark.airflow31
def test_what_is_told(everything: Command, folder: Path, sagebridge: Sagebridge) -> None:
    told = everything.text
    view = shown(sagebridge, folder, everything)

    assert 'measured Eval.Report["m.mse"]: 4.5' in everything.out
    assert "condition Gate: true (if)" in everything.out
    assert view["metrics"] == {'Eval.Report["m.mse"]': 4.5}
    assert view["by_name"]["Gate"]["outcome"] is True
    assert view["by_name"]["Bad"]["state"] == "Skipped"
    assert json.loads(view["property_files"]["Eval.Report"]["content"]) == {"m": {"mse": 4.5}}
    for name in "ABC":
        assert told.index(f" {name} Executing") < told.index(f" {name} Succeeded")
    assert "\x1b" not in told  # no colours in a pipe


def test_logs_are_kept(everything: Command, folder: Path, sagebridge: Sagebridge) -> None:
    execution = shown(sagebridge, folder, everything)["id"]
    one = sagebridge(folder, "executions", "logs", execution[:8], "Killed")
    every = sagebridge(folder, "executions", "logs", execution)

    assert one.end() == every.end() == 0
    assert "so far" in one.out
    assert "[A] asleep" in every.out


def test_an_airflow_keeps_nothing_but_its_logs(everything: Command, folder: Path) -> None:
    homes = [path for path in (folder / ".sagebridge" / "airflow").iterdir() if path.is_dir()]

    assert everything.process.returncode is not None
    assert {path.name for home in homes for path in home.iterdir()} == {"logs"}


def test_two_runs_in_one_folder_one_stopped_from_outside(
    folder: Path, sagebridge: Sagebridge
) -> None:
    long = write(folder, "long", sleeping("Long", 120), sleeping("Then", 0, DependsOn=["Long"]))
    gate = write(folder, "gate", *gated(), Parameters=PARAMETERS)
    stopped = sagebridge(folder, "run", long, "--on", "airflow")
    failing = sagebridge(
        folder, "run", gate, "--on", "airflow", "-p", "Limit=1", "--format", "json"
    )
    execution = stopped.wait_for("execution ").split()[1].rstrip(":")
    stopped.wait_for("Long Executing")
    job = f".sagebridge/jobs/Processing/pipelines-{execution}-Long-*/log"
    eventually(lambda: bool(list(folder.glob(job))))

    stop = sagebridge(folder, "executions", "stop", execution[:6])
    assert stop.end() == 0, stop.err
    assert stop.text == f"{execution}: no job runs any more; the execution is Stopped"
    assert stopped.end() == 3
    assert "result: Stopped" in stopped.out
    assert shown(sagebridge, folder, stopped)["by_name"]["Then"]["state"] == "NotRun"

    assert failing.end() == 3
    document = json.loads(failing.text)
    assert document["status"] == "Failed"
    assert document["reason"] == "Execution failed due to MSE > 1.0"
    states = {step["name"]: step["state"] for step in document["steps"]}
    assert states == {"Eval": "Succeeded", "Gate": "Succeeded", "Good": "Skipped", "Bad": "Failed"}
    assert document["ui"].startswith("http://127.0.0.1:")
    assert processes(folder) == []


def test_nothing_is_left_of_a_run_that_is_interrupted_or_killed(
    folder: Path, sagebridge: Sagebridge
) -> None:
    marked = f"import time; time.sleep(120)  # {folder}"
    definition = write(folder, "marked", processing("Long", marked), processing("Too", marked))
    runs = {
        number: sagebridge(folder, "run", definition, "--on", "airflow")
        for number in (signal.SIGINT, signal.SIGKILL)
    }
    for run in runs.values():
        run.wait_for(" Executing", times=2)
    eventually(lambda: sum(marked in words for words in processes(folder)) >= 4)

    assert runs[signal.SIGINT].end(signal.SIGINT) == 130
    assert "result: Stopped" in runs[signal.SIGINT].out
    assert "reason: stopped by SIGINT" in runs[signal.SIGINT].out

    assert runs[signal.SIGKILL].end(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: processes(folder) == [])
    for run in runs.values():
        view = shown(sagebridge, folder, run)
        assert view["status"] == "Stopped"
        assert {step["state"] for step in view["steps"]} == {"Stopped"}
