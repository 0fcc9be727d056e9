"""Values that a flow file reads from outside on import, and access that it catches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sagebridge import write
from sagebridge.formats.prefect.reader import read_one
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.losses import counted, for_target
from sagebridge.model.values import ABSENT

pytest.importorskip("prefect")

FLOW = """\
import os
from datetime import datetime
from prefect import flow
from prefect.variables import Variable
from sagebridge_operators.prefect import finish, model

{0}

@flow
def nightly():
    print("traced")
    model("A", arguments={{"Environment": {{"V": f"s3://b/{{VALUE}}/x"}}}})
    return finish()
"""


def read(folder: Path, code: str) -> tuple[FileReading, Any]:
    """A flow with the code at its head, and the value that its step has."""
    file = folder / "flow.py"
    file.write_text(FLOW.format(code))
    reading = read_one(str(file))
    step = json.loads(write(reading.pipeline, "sagemaker").text)["Steps"][0]
    return reading, step["Arguments"]["Environment"]["V"]


@pytest.mark.parametrize(
    ("code", "name", "default", "reported"),
    [
        ("VALUE = f'{datetime.now():%Y%m%d}'", "value_of_line_7", ABSENT, "import-input"),
        ("VALUE = Variable.get('bucket', 'dev')", "bucket", "dev", "computed-value"),
        ("VALUE = Variable.get('bucket', default='dev')", "bucket", "dev", "computed-value"),
        ("VALUE = Variable.get('bucket')", "bucket", ABSENT, "computed-value"),
        ("VALUE = os.environ.get('MY_BUCKET', 'dev')", "MY_BUCKET", "dev", "import-input"),
    ],
)
def test_value_that_a_flow_file_reads_on_import_becomes_a_parameter(
    code: str, name: str, default: object, reported: str, tmp_path: Path
) -> None:
    reading, value = read(tmp_path, code)
    expected = ["s3://b/", {"Get": f"Parameters.{name}"}, "/x"]
    assert value == {"Std:Join": {"On": "", "Values": expected}}
    assert [(one.name, one.default) for one in reading.pipeline.declared] == [(name, default)]
    (loss,) = (one for one in counted(reading.losses) if one.code == reported)
    assert loss.place == f"{tmp_path / 'flow.py'}:7"


CODE = """\
import sys, time
from pathlib import Path
from prefect import flow, task

BASE = Path.cwd() / "data"
STARTED = int(time.time())

@task
def load(path: str, more: str) -> str:
    return path

@flow
def nightly():
    load(str(BASE / "a.csv"), sys.executable)
    load(f"{Path(__file__).parent}/x", f"{STARTED}")
"""


def test_value_of_machine_or_moment_is_read_by_a_step(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(CODE)
    reading = read_one(str(file))
    written = write(reading.pipeline, "airflow").text
    assert reading.pipeline.declared == ()
    for path in (str(Path.cwd()), sys.executable, sys.prefix, str(tmp_path)):
        assert path not in written
    results = [one.function.code for one in reading.pipeline.steps if isinstance(one, PythonStep)]
    for expression in ("sys.executable", "Path.cwd()", "int(time.time())", "Path(__file__).parent"):
        assert any(expression in code for code in results)
    losses = [one for one in reading.losses if one.code == "import-input"]
    assert {one.severity for one in losses} == {"info"}
    assert sorted(int(one.place.rpartition(":")[2]) for one in losses) == [5, 6, 14, 15]


def test_access_that_a_flow_file_catches_is_a_loss(tmp_path: Path) -> None:
    code = (
        "import socket\ntry:\n    socket.getaddrinfo('x.example', 1)\n"
        "except OSError:\n    VALUE = 'fallback'"
    )
    reading, value = read(tmp_path, code)
    assert value == "s3://b/fallback/x"
    (loss,) = (one for one in reading.losses if one.code == "import-access")
    assert (loss.severity, loss.place) == ("changed", f"{tmp_path / 'flow.py'}:9")


LOCAL = """\
import tempfile
from pathlib import Path
from prefect import flow, task

@task
def fetch() -> str:
    return tempfile.mkdtemp()

@task
def load(folder: str) -> int:
    return len(list(Path(folder).iterdir()))

@task
def alone() -> None:
    tempfile.mkdtemp()

@flow
def nightly():
    load(fetch())
    alone()
"""


def test_temporary_folder_for_other_steps_is_a_loss_in_airflow(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(LOCAL)
    losses = read_one(str(file)).losses
    (loss,) = (one for one in for_target(losses, "airflow") if one.code == "local-file")
    assert (loss.severity, loss.place, loss.step) == ("info", f"{file}:19", "fetch")
    assert "local-file" not in {one.code for one in for_target(losses, "prefect")}
