"""A new step type is one row and one module: in a copy of the tree, for a job that moto serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(not (find_spec("airflow") and find_spec("moto")), reason="Airflow and moto"),
]
CHECKOUT = Path(__file__).parent.parent
PREFECT = CHECKOUT / ".venvs" / "prefect" / "bin" / "python"
TABLE = "adapters/sagebridge/model/step_types.py"
MODULE = "operators/sagebridge_operators/steps/compilation.py"
ROW = """_ROWS = (
    StepType(
        name="Compilation",
        summary="A Compilation step: CreateCompilationJob.",
        takes=("CacheConfig", "RetryPolicies"),
        results={"model artifact": "ModelArtifacts.S3ModelArtifacts"},
    ),
"""
STEP = '''"""Compilation: CreateCompilationJob."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Compilation",
    create="create_compilation_job",
    describe="describe_compilation_job",
    stop="stop_compilation_job",
    name_key="CompilationJobName",
    arn_key="CompilationJobArn",
    status_key="CompilationJobStatus",
    states={"COMPLETED": "Succeeded", "FAILED": "Failed", "STOPPED": "Stopped"},
)
'''
DEFINITION = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "Device", "Type": "String", "DefaultValue": "ml_c5"}],
    "Steps": [
        {
            "Name": "Compile",
            "Type": "Compilation",
            "Arguments": {
                "RoleArn": "arn:aws:iam::111122223333:role/r",
                "InputConfig": {"S3Uri": "s3://bucket/model.tar.gz", "Framework": "XGBOOST"},
                "OutputConfig": {
                    "S3OutputLocation": "s3://bucket/compiled",
                    "TargetDevice": {"Get": "Parameters.Device"},
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 900},
            },
            "CacheConfig": {"Enabled": False},
        },
        {
            "Name": "Create",
            "Type": "Model",
            "Arguments": {
                "ExecutionRoleArn": "arn:aws:iam::111122223333:role/r",
                "PrimaryContainer": {
                    "Image": "image",
                    "ModelDataUrl": {"Get": "Steps.Compile.ModelArtifacts.S3ModelArtifacts"},
                },
            },
        },
    ],
}
RUN_DAG = """
import sys
from tests.dagtest import dagbags, migrated, play

migrated()
bag = dagbags().DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
played = play(dag)
assert played.states == {"Compile": "success", "Create": "success"}, played.states
"""
RUN_FLOW = """
import runpy, sys
from prefect import Flow

found = runpy.run_path(sys.argv[1]).values()
(flow,) = {one.name: one for one in found if isinstance(one, Flow)}.values()
state = flow(return_state=True)
assert state.is_completed(), state
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """``folder`` is a copy of the tree, ``work`` a folder next to it."""

    folder: Path
    work: Path
    url: str

    def run(self, *words: str, python: str | Path = sys.executable) -> str:
        """What Python prints with the sources of the copy."""
        roots = (self.folder, self.folder / "adapters", self.folder / "operators")
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("AWS_")}
        done = subprocess.run(
            [str(python), *words],
            cwd=self.work,
            env=kept | self._variables() | {"PYTHONPATH": os.pathsep.join(map(str, roots))},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sagebridge(self, *words: str) -> str:
        return self.run("-m", "sagebridge.cli", *words)

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", *identity, *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def _variables(self) -> dict[str, str]:
        connection = {"conn_type": "aws", "login": "key", "password": "secret"}
        extra = {"region_name": "eu-west-1", "endpoint_url": self.url}
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({**connection, "extra": extra}),
            "AIRFLOW_HOME": str(self.work / "airflow"),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
            "PREFECT_HOME": str(self.work / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            "SAGEBRIDGE_BACKEND": "aws",
            "SAGEBRIDGE_RECORDS": str(self.work / "executions"),
        }


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, url: str) -> Copy:
    """The tree of the checkout, committed, and then the row and the module."""
    copy = Copy(tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("work"), url)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (CHECKOUT / name).is_file():
            (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, copy.folder / name)
    copy.git("init", "--quiet")
    copy.git("add", "--all")
    copy.git("commit", "--quiet", "--message", "the tree")
    table = copy.folder / TABLE
    assert table.read_text().count("_ROWS = (\n") == 1
    table.write_text(table.read_text().replace("_ROWS = (\n", ROW))
    (copy.folder / MODULE).write_text(STEP)
    (copy.work / "p.json").write_text(json.dumps(DEFINITION))
    return copy


@pytest.fixture(autouse=True)
def only_the_row_and_the_module(copy: Copy) -> Iterator[None]:
    yield
    changed = {line[3:] for line in copy.git("status", "--porcelain").splitlines()}
    assert changed == {TABLE, MODULE}


def jobs(url: str) -> list[dict[str, Any]]:
    import boto3

    client: Any = boto3.client(
        "sagemaker",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    names = [
        job["CompilationJobName"]
        for job in client.list_compilation_jobs()["CompilationJobSummaries"]
    ]
    return [client.describe_compilation_job(CompilationJobName=name) for name in names]


def test_it_is_valid_and_shown(copy: Copy) -> None:
    assert (
        json.loads(copy.sagebridge("validate", "--format", "json", "p.json"))[0]["findings"] == []
    )
    assert "Compilation" in copy.sagebridge("show", "p.json")


@pytest.mark.parametrize(
    ("engine", "name", "module"),
    [
        ("airflow", "CompilationOperator", "sagebridge_operators.airflow"),
        ("prefect", "compilation", "sagebridge_operators.prefect"),
    ],
)
def test_it_comes_back_from_a_file(copy: Copy, engine: str, name: str, module: str) -> None:
    written, back = f"written_{engine}.py", f"written_{engine}.json"
    copy.sagebridge("translate", "p.json", "--to", engine, "--output", written)
    text = (copy.work / written).read_text()
    assert f"{name}(" in text
    assert f"from {module} import" in text
    copy.sagebridge("translate", written, "--to", "sagemaker", "--output", back)
    assert json.loads((copy.work / back).read_text()) == DEFINITION


@pytest.mark.parametrize(
    ("engine", "python", "script"),
    [("airflow", Path(sys.executable), RUN_DAG), ("prefect", PREFECT, RUN_FLOW)],
    ids=["airflow", "prefect"],
)
def test_it_runs(copy: Copy, url: str, engine: str, python: Path, script: str) -> None:
    if not python.exists():
        pytest.skip(f"{python} is made by tools/bootstrap.py")
    written, before = f"run_{engine}.py", len(jobs(url))
    copy.sagebridge("translate", "p.json", "--to", engine, "--output", written)
    copy.run("-c", script, written, python=python)
    done = jobs(url)
    assert len(done) == before + 1
    assert all(job["OutputConfig"]["TargetDevice"] == "ml_c5" for job in done)
