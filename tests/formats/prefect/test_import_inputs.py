"""Values that a flow file reads from outside on import, and access that it catches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagebridge import write
from sagebridge.formats.prefect.reader import read_one
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.losses import counted
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


def test_access_that_a_flow_file_catches_is_a_loss(tmp_path: Path) -> None:
    code = (
        "import socket\ntry:\n    socket.getaddrinfo('x.example', 1)\n"
        "except OSError:\n    VALUE = 'fallback'"
    )
    reading, value = read(tmp_path, code)
    assert value == "s3://b/fallback/x"
    (loss,) = (one for one in reading.losses if one.code == "import-access")
    assert (loss.severity, loss.place) == ("changed", f"{tmp_path / 'flow.py'}:9")
