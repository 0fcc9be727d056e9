"""The example on Airflow and on Prefect, from each other's files, with equal executions.

Each engine has its own environment, and runs use the ``sagebridge`` of that environment.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.desk import BIN, REPOSITORY, Desk, RunningCommand
from tests.e2e.test_abalone import SUCCEEDED, states

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "pipelines" / "abalone"
DESCRIBED = {
    "Processing": ("describe_processing_job", "ProcessingJobName"),
    "Training": ("describe_training_job", "TrainingJobName"),
    "Transform": ("describe_transform_job", "TransformJobName"),
    "Model": ("describe_model", "ModelName"),
    "RegisterModel": ("describe_model_package", "ModelPackageName"),
}
REASON = "Execution failed due to MSE > 1.0"
FAILED = SUCCEEDED | {
    "AbaloneRegisterModel-RegisterModel": "Skipped",
    "AbaloneCreateModel": "Skipped",
    "AbaloneTransform": "Skipped",
    "AbaloneMSEFail": "Failed",
}
PROGRAMS = {"airflow": BIN, "prefect": BIN.parents[1] / "prefect" / "bin"}
CASES: Mapping[str, tuple[str, ...]] = {
    "success": (),
    "approved": ("-p", "ModelApprovalStatus=Approved"),
    "threshold": ("-p", "MseThreshold=1.0"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One case, run on both engines."""

    airflow: Any
    prefect: Any


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One folder per engine, with the same data."""
    if not (PROGRAMS["prefect"] / "sagebridge").exists():
        pytest.skip("there is no environment of Prefect: python3 tools/bootstrap.py prefect")
    desks = {}
    for engine, programs in PROGRAMS.items():
        folder = tmp_path_factory.mktemp(engine)
        maker = [sys.executable, str(EXAMPLE / "sample_data.py"), "sample"]
        subprocess.run(maker, cwd=folder, check=True, capture_output=True)
        desks[engine] = Desk(folder, engine, programs)
    yield desks
    for desk in desks.values():
        for running in desk.started:
            running.end()


def translated(desk: Desk, source: Path, to: str) -> Path:
    """Translate a file for the other engine, in the environment that can read it."""
    path = desk.folder / f"{to}.py"
    done = desk.type("translate", source, "--to", to, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def sources(desks: dict[str, Desk]) -> dict[tuple[str, str], Path]:
    """The source of each run: the definition, or a file translated from the other engine."""
    definition = EXAMPLE / "definition.json"
    sources = {(case, engine): definition for case in CASES for engine in PROGRAMS}
    flow = translated(desks["airflow"], REPOSITORY / "dags" / "abalone.py", "prefect")
    dag = translated(desks["prefect"], REPOSITORY / "flows" / "abalone.py", "airflow")
    return sources | {("success", "prefect"): flow, ("threshold", "airflow"): dag}


@pytest.fixture(scope="module")
def pairs(desks: dict[str, Desk], sources: dict[tuple[str, str], Path]) -> dict[str, Pair]:
    """Every case, on both engines at the same time."""
    pairs = {}
    for case in CASES:
        runs = {engine: start(desks[engine], sources[case, engine], case) for engine in PROGRAMS}
        for running in runs.values():
            assert running.wait() == (3 if case == "threshold" else 0), running.output
            assert (f"\nreason: {REASON}\n" in running.output) is (case == "threshold")
        pairs[case] = Pair(**{engine: traces(desks[engine], one) for engine, one in runs.items()})
    return pairs


def start(desk: Desk, source: Path, case: str) -> RunningCommand:
    named = ("--name", "AbalonePipeline") if source.suffix == ".json" else ()
    uploads = [
        f"--upload={EXAMPLE / script}=s3://sagebridge-abalone/code/{script}"
        for script in ("preprocessing.py", "evaluation.py")
    ]
    data = f"--upload={desk.folder}/sample=s3://sagebridge-abalone/data"
    return desk.run(source, *named, *uploads, data, *CASES[case])


def traces(desk: Desk, running: RunningCommand) -> dict[str, Any]:
    """All traces of an execution, without values that differ in each execution."""
    shown = desk.show(running.execution)
    clean = Normalizer(desk, running.execution)
    jobs = {name: step for name, step in shown["steps"].items() if step["job"]}
    return {
        "view": clean({name: value for name, value in shown.items() if name not in OWN}),
        "described": clean({name: described(desk, step) for name, step in jobs.items()}),
        "objects": clean(objects(desk, running.execution)),
    }


OWN = ("id", "engine", "run", "started", "seconds")
"""Keys whose values differ in each execution."""


@dataclass(frozen=True, slots=True)
class Normalizer:
    desk: Desk
    execution: str

    def __call__(self, value: Any) -> Any:
        match value:
            case dict():
                return {
                    self(name): self(item)
                    for name, item in value.items()
                    if name != "seconds" and "Time" not in name
                }
            case list():
                return [self(item) for item in value]
            case str():
                text = value.replace(self.execution, "EXECUTION")
                text = text.replace(str(self.desk.folder), "FOLDER")
                return re.sub(r"-[0-9a-f]{12}-(\d)", r"-TOKEN-\1", text)
        return value


def described(desk: Desk, step: Mapping[str, Any]) -> Any:
    """The Describe response of the job of a step: its request and its outcome."""
    method, name = DESCRIBED[step["type"]]
    answer = getattr(desk.sagemaker, method)(**{name: step["job"]})
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def objects(desk: Desk, execution: str) -> dict[str, Any]:
    """The objects that an execution stored, with the content of archives."""
    folder = desk.stored(f"s3://sagebridge-abalone/executions/{execution}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): content(path) for path in files}


def content(path: Path) -> Any:
    if path.suffix != ".gz":
        return path.read_bytes()
    with tarfile.open(path) as archive:
        members = {one.name: archive.extractfile(one) for one in archive if one.isfile()}
        return {name: member.read() for name, member in members.items() if member}


@pytest.mark.parametrize("case", CASES)
def test_states_metrics_and_reasons(pairs: dict[str, Pair], case: str) -> None:
    pair = pairs[case]

    assert pair.airflow["view"] == pair.prefect["view"]
    assert states(pair.airflow["view"]) == (FAILED if case == "threshold" else SUCCEEDED)
    assert len(pair.airflow["view"]["metrics"]) == 1
    assert pair.airflow["view"]["reason"] == (REASON if case == "threshold" else "")


@pytest.mark.parametrize("case", CASES)
def test_requests_and_outcomes_of_jobs(pairs: dict[str, Pair], case: str) -> None:
    pair = pairs[case]

    assert pair.airflow["described"] == pair.prefect["described"]
    assert len(pair.airflow["described"]) == (3 if case == "threshold" else 6)


@pytest.mark.parametrize("case", CASES)
def test_artifacts(pairs: dict[str, Pair], case: str) -> None:
    pair = pairs[case]

    assert pair.airflow["objects"] == pair.prefect["objects"]
    assert len(pair.airflow["objects"]) > 4


def test_registered_model_packages(pairs: dict[str, Pair], desks: dict[str, Desk]) -> None:
    del pairs
    group = {"ModelPackageGroupName": "sagebridge-abalone"}
    for desk in desks.values():
        found = desk.sagemaker.list_model_packages(**group)["ModelPackageSummaryList"]
        approvals = {one["ModelPackageVersion"]: one["ModelApprovalStatus"] for one in found}
        assert approvals == {1: "PendingManualApproval", 2: "Approved"}


@pytest.mark.parametrize("engine", PROGRAMS)
def test_executions_commands_work_without_the_engine(
    desks: dict[str, Desk], pairs: dict[str, Pair], engine: str
) -> None:
    """List, show, logs and stop, in the environment of the other engine."""
    del pairs
    desk = desks[engine]
    (other,) = (one.programs for one in desks.values() if one is not desk)
    foreign = Desk(desk.folder, engine, other)

    listed = json.loads(foreign.type("executions", "list", "--format", "json").stdout)
    assert [(one["engine"], one["status"]) for one in listed] == [
        (engine, "Failed"),
        (engine, "Succeeded"),
        (engine, "Succeeded"),
    ]
    one = listed[0]["id"]
    assert foreign.show(one) == desk.show(one)
    assert "mse" in foreign.type("executions", "logs", one, "AbaloneEval").stdout
    stopped = foreign.type("executions", "stop", one)
    assert stopped.stdout == f"{one}: no jobs are running; the execution is Failed\n"
