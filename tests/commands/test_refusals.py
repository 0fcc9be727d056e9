"""What ``sagebridge run`` refuses before anything starts."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Self

import pytest

from sagebridge.cli import main
from sagebridge_operators.commands import run as command
from sagebridge_operators.launch import engine_versions
from sagebridge_operators.launch.engine_execution import EngineExecution
from sagebridge_operators.launch.engine_versions import ENGINES
from sagebridge_operators.launch.private_engine import PrivateEngine
from tests.commands.conftest import write
from tests.definition import get, uses

NOTHING = {"Name": "Nothing", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
PARAMETERS = [
    {"Name": "Limit", "Type": "Float", "DefaultValue": 6.0},
    {"Name": "Status", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    {"Name": "Data", "Type": "String"},
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_RECORDS", "SAGEBRIDGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine_versions, "version", lambda name: "3")
    return tmp_path


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def refused(
    folder: Path, engine: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Exit code and message of a run that must not get as far as an execution."""

    def start(*given: Any) -> None:
        raise AssertionError("it started")

    monkeypatch.setattr(command, "_execution", start)

    def call(source: str | Path, *words: str) -> tuple[int, str]:
        code = main(["run", str(source), "--on", engine, *words])
        out, err = capsys.readouterr()
        assert out == ""
        assert not (folder / ".sagebridge" / "executions").exists()
        return code, err

    return call


Refused = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "parameter 'Data' has no default and was not given"),
        (("-p", "Data=x", "-p", "Limit=big"), "parameter 'Limit' is 'big', expected a Float"),
        (("-p", "Data=x", "-p", "Limt=1"), "unknown parameter 'Limt' (did you mean 'Limit'?)"),
        (("-p", "Data=x", "-p", "Status=c"), "parameter 'Status' is 'c', expected one of 'a', 'b'"),
        (("-p", "Data"), "-p Data: Name=Value is expected"),
        (("-p", "Data=x", "--upload", "gone=s3://b/k"), "--upload gone=s3://b/k: there is no "),
    ],
)
def test_parameters_and_uploads(
    folder: Path, refused: Refused, words: tuple[str, ...], message: str
) -> None:
    code, err = refused(write(folder, "p", NOTHING, Parameters=PARAMETERS), *words)

    assert code == 2
    assert message in err


def test_every_fault_of_the_parameters_at_once(folder: Path, refused: Refused) -> None:
    source = write(folder, "p", NOTHING, Parameters=PARAMETERS)

    _, err = refused(source, "-p", "Limit=big", "-p", "Nothing=1")

    assert "'Nothing'" in err
    assert "'Limit'" in err
    assert "'Data'" in err


def test_a_definition_with_errors(folder: Path, refused: Refused) -> None:
    code, err = refused(write(folder, "p", uses(get("Parameters.Nowhere"))))

    assert code == 1
    assert "p.json:1: error: " in err
    assert "Nowhere" in err


def test_a_flow_of_which_nothing_is_left(folder: Path, refused: Refused) -> None:
    flow = '''\
from prefect import flow
from sagebridge_operators.prefect import begin, finish


@flow(name="Empty", retries=3)
def empty() -> object:
    """Empty."""
    begin()
    return finish()
'''
    (folder / "empty.py").write_text(flow)

    code, err = refused("empty.py")

    assert code == 1
    assert "[no-steps] /Steps" in err
    assert "empty.py:5: " in err


@pytest.mark.parametrize("text", ["", "[]", '{"Version": "2020-12-01", "St', '{"Name": "x"}'])
def test_what_is_no_pipeline(folder: Path, refused: Refused, text: str) -> None:
    (folder / "cut.json").write_text(text)

    code, err = refused("cut.json")

    assert code == 5
    assert err.startswith("sagebridge: cut.json: ")
    assert len(err.splitlines()) == 1


def test_without_the_engine(
    folder: Path, engine: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(engine_versions, "version", absent)

    code, err = refused(write(folder, "p", NOTHING))

    assert code == 6
    assert f"pip install 'sagebridge[{engine}]'" in err


@pytest.mark.parametrize("backend", ["local", "aws"])
@pytest.mark.parametrize("place", ["", "s3", "jobs"])
def test_a_working_folder_that_is_none(
    folder: Path, refused: Refused, place: str, backend: str
) -> None:
    home = folder / ".sagebridge"
    (home / place).parent.mkdir(exist_ok=True)
    (home / place).write_text("a file where a folder should be")

    code, err = refused(write(folder, "p", NOTHING), "--backend", backend)

    part = f" ({home / place})" if place else ""
    assert code == 6
    assert err == (
        f"sagebridge: the working folder {home} cannot be used{part}: it is no folder; fix "
        "this, or set another folder with --workdir or SAGEBRIDGE_HOME\n"
    )


@pytest.mark.parametrize(
    ("problem", "said"),
    [(13, "Permission denied"), (28, "No space left on device"), (30, "Read-only file system")],
)
def test_a_working_folder_that_cannot_be_written(
    folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, problem: int, said: str
) -> None:
    def refuse(**given: Any) -> None:
        raise OSError(problem, said)

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(folder / "named"))

    code, err = refused(write(folder, "p", NOTHING))

    assert code == 6
    assert f"the working folder {folder / 'named'} cannot be used: {said}; " in err
    assert "s3://" not in err


@pytest.mark.parametrize("words", [("list",), ("show", "aa"), ("stop", "aa")])
def test_records_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    home = folder / ".sagebridge"
    home.mkdir()
    (home / "executions").touch()

    assert main(["executions", *words]) == 6
    err = capsys.readouterr().err
    assert f"the execution records in {home / 'executions'}: Not a directory" in err

    (home / "executions").unlink()
    (home / "executions" / "aa").mkdir(parents=True)
    (home / "executions" / "aa" / "execution.json").write_text("{")
    assert main(["executions", *words]) == 6
    assert "damaged" in capsys.readouterr().err


def test_a_step_that_cannot_run_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_execution", lambda *given: None)
    monkeypatch.setattr(command, "_execute", lambda *given, **more: 0)

    assert main(["run", str(write(folder, "p", uses(1))), "--on", "airflow"]) == 0
    assert "warning: sagebridge cannot run steps of type Lambda yet (step 'A')" in (
        capsys.readouterr().err
    )


def test_an_interrupt_that_is_swallowed_comes_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(EngineExecution):
        engine = "airflow"
        ui = ""
        looks = 0
        stopped = ""

        @property
        def server(self) -> PrivateEngine[Any]:
            raise AssertionError("it has none")

        def __enter__(self) -> Self:
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGINT)
            return self

        def __exit__(self, *raised: object) -> None:
            type(self).stopped = str(raised[1])

        def running(self) -> bool:
            type(self).looks += 1
            assert self.looks == 1, "it goes on"
            return True

        def trigger(self) -> None: ...

        def end_run(self, reason: str) -> None: ...

        def settle(self) -> str:
            return ""

    monkeypatch.setattr(command, "_execution", Deaf)
    monkeypatch.setattr(command, "_report", lambda *given: 0)

    with pytest.raises(SystemExit) as end:
        main(["run", str(write(folder, "p", NOTHING)), "--on", "airflow"])

    assert end.value.code == 130
    assert Deaf.stopped == "stopped by SIGINT"


def test_the_definition_may_come_from_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "_execution", lambda *all_: given.extend(all_))
    monkeypatch.setattr(command, "_execute", lambda *given, **more: 0)
    monkeypatch.setattr(
        "sys.stdin", io.StringIO(json.dumps({"Version": "2020-12-01", "Steps": [NOTHING]}))
    )

    assert main(["run", "-", "--name", "piped", "--on", "airflow"]) == 0
    assert given[0].name == "piped"


@pytest.mark.parametrize("text", ["evil.py:pipeline", "pipeline.json", ""])
def test_a_pipe_brings_a_definition_and_names_nothing(
    text: str, folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "evil.py").write_text("raise SystemExit('it was imported')")
    write(folder, "pipeline", NOTHING)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    code, message = refused("-")

    assert code == 5
    assert "<stdin>: no JSON object" in message


FLOW = """
from prefect import flow
from sagebridge_operators.prefect import fail, finish

@flow(name="mine")
def any_name(Limit: float = 6.0):
    fail("Nothing", error_message="no")
    return finish()
"""


def on_prefect(folder: Path, text: str, *words: str) -> int:
    (folder / "own.py").write_text(text)
    return main(["run", "own.py", "--on", "prefect", *words])


def test_a_flow_file_has_its_own_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "_execution", lambda *all_: given.extend(all_))
    monkeypatch.setattr(command, "_execute", lambda *given, **more: 0)

    assert on_prefect(folder, FLOW, "--name", "x") == 5
    assert "own.py: a flow file says its flow's name; leave --name out" in capsys.readouterr().err
    assert on_prefect(folder, FLOW, "-p", "Limit=1") == 0
    flow, parameters, _ = given
    assert (flow.name, flow.entry, flow.file) == ("mine", "any_name", folder / "own.py")
    assert flow.given(parameters) == {"Limit": 1.0}
