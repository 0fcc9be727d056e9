"""Network, process and file access on import: refused, and reported even if it is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.assessment import grade
from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading

pytestmark = pytest.mark.airflow

DAG = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import ModelOperator

with DAG("one", schedule=None):
    ModelOperator(task_id="A", arguments={"EnableNetworkIsolation": True})
"""
CAUGHT = """
try:
    {0}
except Exception:
    pass
"""
CLIENT = """
import socket
def account():
    try:
        socket.create_connection(("192.0.2.1", 443))
    except OSError:
        pass
    {0}
"""
"""A library that hides the reason why it has no answer."""


def read_sources(folder: Path, **texts: str) -> dict[str, FileReading | str]:
    """The only DAG of each file, or its error without the name of the file."""
    files = {name: folder / f"{name}.py" for name in texts}
    for name, file in files.items():
        file.write_text(texts[name])
    outcomes = zip(files.items(), read_files(list(files.values())), strict=True)
    return {
        name: str(outcome).removeprefix(str(file))
        if isinstance(outcome, SourceError)
        else outcome[0]
        for (name, file), outcome in outcomes
    }


def test_access_that_a_file_catches_is_a_loss_at_its_line(tmp_path: Path) -> None:
    tries = {
        "network": ("__import__('socket').getaddrinfo('x.example', 1)", "uses the network"),
        "process": ("__import__('subprocess').run(['true'])", "starts or signals a process"),
        "file": (f"open({str(tmp_path / 'new')!r}, 'w')", "writes to "),
    }
    found = read_sources(
        tmp_path, **{name: CAUGHT.format(code) + DAG for name, (code, _) in tries.items()}
    )
    for name, (_, what) in tries.items():
        reading = found[name]
        assert isinstance(reading, FileReading), reading
        (loss,) = reading.losses
        assert (loss.code, loss.severity) == ("import-access", "changed")
        assert loss.place.endswith(f"{name}.py:3")
        assert f"the file {what}" in loss.what
        assert grade(reading.losses) == "changed"
    assert not (tmp_path / "new").exists()


def test_access_that_a_module_catches_has_the_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT.format("return '000000000000'"))
    found = read_sources(tmp_path, dag="import client\nname = client.account()\n" + DAG)
    reading = found["dag"]
    assert isinstance(reading, FileReading), reading
    (loss,) = reading.losses
    assert loss.code == "import-access"
    assert loss.place == f"{tmp_path / 'dag.py'}:2"


def test_error_caused_by_a_refusal_names_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT.format("raise LookupError('no credentials')"))
    (tmp_path / "later.py").write_text(CLIENT.format("return None"))
    network = "uses the network on import; move this into a task"
    found = read_sources(
        tmp_path,
        hidden="import client\n\nclient.account()\n" + DAG,
        chained="import socket\ntry:\n    socket.create_connection(('192.0.2.1', 1))\n"
        "except OSError as error:\n    raise ValueError('unreachable') from error\n" + DAG,
        afterwards="import later\nname = later.account()\n\nname.upper()\n" + DAG,
    )
    assert str(found["hidden"]).startswith(f":3: {network}")
    assert str(found["chained"]).startswith(f":3: {network}")
    assert str(found["afterwards"]).startswith(":4: raised on import: AttributeError")
    assert f"; line 2 {network}" in str(found["afterwards"])


LIBRARY = """
import importlib.abc, importlib.util, sys, airflow
SOURCE = '''
def keep(path):
    try:
        open(path, "w")
    except OSError:
        pass
keep({path!r})
'''
class Installed(importlib.abc.InspectLoader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "cachelib" else None
    def get_source(self, name):
        return None
    def get_code(self, name):
        return compile(SOURCE, airflow.__file__, "exec")
sys.meta_path.append(Installed())
import cachelib
"""
"""A library, with the file name of an installed package, that writes a cache on import."""


def test_file_that_a_library_writes_is_a_loss_unless_it_is_imported(tmp_path: Path) -> None:
    imported = LIBRARY.format(path=str(tmp_path / "cache"))
    called = f"{imported}cachelib.keep({str(tmp_path / 'output')!r})\n"
    found = read_sources(tmp_path, imported=imported + DAG, called=called + DAG)
    losses = {
        name: [loss.what for loss in one.losses]
        for name, one in found.items()
        if isinstance(one, FileReading)
    }
    assert losses["imported"] == []
    what, _ = losses["called"]  # the other one is the statement itself
    assert what.startswith(f"the file writes to {tmp_path / 'output'} on import")
