"""Errors of ``sagebridge run`` before anything starts."""

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

import sagebridge
from sagebridge.cli import main
from sagebridge.errors import requirement
from sagebridge_operators.commands import run as command
from sagebridge_operators.launch import engine_versions
from sagebridge_operators.launch.engine_execution import EngineExecution
from sagebridge_operators.launch.engine_versions import ENGINES
from sagebridge_operators.launch.private_engine import PrivateEngine
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.commands.conftest import write
from tests.definition import equals, gate, get, step, uses
from tests.parameter_values import PIPELINE, RIGHT, WRONG, is_sent, text

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
def failing_run(
    folder: Path, engine: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Run the command, which must fail before the execution; return exit code and message."""

    def start(*given: Any) -> None:
        raise AssertionError("the execution started")

    monkeypatch.setattr(command, "_execution", start)

    def call(source: str | Path, *words: str) -> tuple[int, str]:
        code = main(["run", str(source), "--on", engine, *words])
        out, err = capsys.readouterr()
        assert out == ""
        assert not (folder / ".sagebridge" / "executions").exists()
        return code, err

    return call


FailingRun = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "parameter 'Data' has no default and was not given"),
        (("-p", "Data=x", "-p", "Limit=big"), "parameter 'Limit' is 'big', expected a Float"),
        (("-p", "Data=x", "-p", "Limt=1"), "unknown parameter 'Limt' (did you mean 'Limit'?)"),
        (("-p", "Data=x", "-p", "Status=c"), "parameter 'Status' is 'c', expected one of 'a', 'b'"),
        (("-p", "Data"), "-p Data: expected NAME=VALUE"),
        (("-p", "Data=x", "--upload", "gone=s3://b/k"), "gone does not exist"),
        (("--map", "stage.json"), "--map parameters 'Limit' is 'big', expected a Float"),
    ],
)
def test_wrong_parameters_and_uploads(
    folder: Path, failing_run: FailingRun, words: tuple[str, ...], message: str
) -> None:
    (folder / "stage.json").write_text('{"parameters": {"Limit": "big"}}')
    code, err = failing_run(write(folder, "p", NOTHING, Parameters=PARAMETERS), *words)

    assert code == 2
    assert message in err


def test_thirty_wrong_values_are_reported_together(folder: Path, failing_run: FailingRun) -> None:
    (folder / "flow.py").write_text(sagebridge.write(PIPELINE, "prefect").text)
    words = [part for name in WRONG for part in ("-p", f"{name}={text(WRONG[name])}")]
    code, err = failing_run("flow.py", *words)

    assert code == 2
    assert [name for name in WRONG if f"parameter {name!r} is " not in err] == []


def test_thirty_right_values_are_converted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "flow.py").write_text(sagebridge.write(PIPELINE, "prefect").text)
    values: list[Any] = []

    def start(what: object, parameters: object, *more: object) -> None:
        values.append(parameters)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_execution", start)
    words = [part for name in RIGHT for part in ("-p", f"{name}={text(RIGHT[name])}")]
    with suppress(KeyboardInterrupt):
        main(["run", "flow.py", "--on", "airflow", "--backend", "aws", *words])
    assert is_sent(values[0])


CHAIN = (
    step("A", "Training"),
    gate(equals(get("Steps.A.TrainingJobName"), "x"), then=[NOTHING]),
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "Gte"), "no step 'Gte' (did you mean 'Gate'?)"),
        (
            ("--steps", "A, Nothing"),
            (
                "step 'Gate' must be selected too, on a path between selected "
                "steps; use: --steps A,Gate,Nothing"
            ),
        ),
        (("--steps", "Gate"), 'use --value "Steps.A.TrainingJobName=...", or --from-execution'),
        (("--steps", "Gate", "--value", "x"), "--value x: expected Steps.NAME.PROPERTY=VALUE"),
        (
            ("--steps", "Gate", "--from-execution", "latest"),
            "no execution of pipeline 'p' has ended in ",
        ),
        (("--steps", "Gate", "--from-execution", "12"), "no execution '12' in "),
        (("--value", "Steps.A.X=1"), "--value needs --steps"),
        (("--from-execution", "latest"), "--from-execution needs --steps"),
    ],
)
def test_steps_that_cannot_be_selected(
    folder: Path, failing_run: FailingRun, words: tuple[str, ...], message: str
) -> None:
    code, err = failing_run(write(folder, "p", *CHAIN), *words)

    assert code == 2
    assert message in err


def test_the_source_must_be_an_ended_execution_of_the_pipeline(
    folder: Path, failing_run: FailingRun
) -> None:
    records = ExecutionRecords(Folder(folder / "records"))
    source = write(folder, "p", *CHAIN)
    definition = json.loads(source.read_text())
    for name, backend, pipeline in zip("abc", ("local", "aws", "local"), "ppq", strict=True):
        body = {"format": FORMAT, "backend": backend, "pipeline": pipeline, "started": "2026T0"}
        open_execution(records, name * 12, body, lambda: definition)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEBRIDGE_RECORDS", str(folder / "records"))
        answers = [
            failing_run(source, "--steps", "Gate", "--from-execution", name)[1] for name in "abc"
        ]

    assert "execution aaaaaaaaaaaa has not ended (status Executing)" in answers[0]
    assert "ran on backend 'aws', not 'local'" in answers[1]
    assert "is of pipeline 'q', not 'p'" in answers[2]


def test_all_parameter_errors_are_listed(folder: Path, failing_run: FailingRun) -> None:
    source = write(folder, "p", NOTHING, Parameters=PARAMETERS)

    _, err = failing_run(source, "-p", "Limit=big", "-p", "Nothing=1")

    assert "'Nothing'" in err
    assert "'Limit'" in err
    assert "'Data'" in err


def test_definition_with_errors(folder: Path, failing_run: FailingRun) -> None:
    code, err = failing_run(write(folder, "p", uses(get("Parameters.Nowhere"))))

    assert code == 1
    assert "p.json:1: error: " in err
    assert "Nowhere" in err


def test_flow_without_steps(folder: Path, failing_run: FailingRun) -> None:
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

    code, err = failing_run("empty.py")

    assert code == 1
    assert "[no-steps] /Steps" in err
    assert "empty.py:6: error: Steps is empty" in err


@pytest.mark.parametrize("text", ["", "[]", '{"Version": "2020-12-01", "St', '{"Name": "x"}'])
def test_source_is_not_a_pipeline(folder: Path, failing_run: FailingRun, text: str) -> None:
    (folder / "cut.json").write_text(text)

    code, err = failing_run("cut.json")

    assert code == 5
    assert err.startswith("sagebridge: cut.json: ")
    assert len(err.splitlines()) == 1


def test_engine_not_installed(
    folder: Path, engine: str, failing_run: FailingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(engine_versions, "version", absent)

    code, err = failing_run(write(folder, "p", NOTHING))

    assert code == 6
    assert f"pip install {requirement(engine)}" in err


@pytest.mark.parametrize("backend", ["local", "aws"])
@pytest.mark.parametrize("part", ["", "s3", "jobs"])
def test_working_folder_is_a_file(
    folder: Path, failing_run: FailingRun, part: str, backend: str
) -> None:
    home = folder / ".sagebridge"
    (home / part).parent.mkdir(exist_ok=True)
    (home / part).write_text("a file where a folder should be")

    code, err = failing_run(write(folder, "p", NOTHING), "--backend", backend)

    location = f" ({home / part})" if part else ""
    assert code == 6
    assert err == (
        f"sagebridge: the working folder {home} cannot be used{location}: not a folder; fix "
        "this, or set another folder with --workdir or SAGEBRIDGE_HOME\n"
    )


@pytest.mark.parametrize(
    ("number", "message"),
    [(13, "Permission denied"), (28, "No space left on device"), (30, "Read-only file system")],
)
def test_working_folder_not_writable(
    folder: Path,
    failing_run: FailingRun,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    def fail(**given: Any) -> None:
        raise OSError(number, message)

    monkeypatch.setattr("tempfile.NamedTemporaryFile", fail)
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(folder / "named"))

    code, err = failing_run(write(folder, "p", NOTHING))

    assert code == 6
    assert f"the working folder {folder / 'named'} cannot be used: {message}; " in err
    assert "s3://" not in err


@pytest.mark.parametrize("words", [("list",), ("show", "aa"), ("stop", "aa")])
def test_unreadable_records(
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


def test_pipeline_that_cannot_run_starts_no_engine(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_execution", lambda *given: pytest.fail("an engine started"))
    unknown = {"Name": "A", "Type": "Athena", "Arguments": {}}

    assert main(["run", str(write(folder, "p", unknown)), "--on", "airflow"]) == 1
    assert "unknown Type 'Athena'" in capsys.readouterr().err


def test_type_that_needs_aws_is_refused_on_this_machine(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_execution", lambda *given: pytest.fail("an engine started"))
    config = {"HadoopJarStep": {"Jar": "s3://b/j.jar"}}
    emr = {"Name": "Call", "Type": "EMR", "Arguments": {"ClusterId": "j", "StepConfig": config}}
    job = {
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
        "RoleArn": "arn:aws:iam::111122223333:role/r",
    }
    spark = {"Name": "Spark", "Type": "Processing", "Arguments": job}

    assert main(["run", str(write(folder, "p", emr, spark)), "--on", "airflow"]) == 1
    assert (
        "sagebridge cannot run on this machine: steps of type EMR, as they need Amazon EMR "
        "(step 'Call'); AppSpecification.ImageUri 'image': images are not run"
        in capsys.readouterr().err
    )


def test_swallowed_interrupt_is_raised_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class InterruptSwallower(EngineExecution):
        engine = "airflow"
        ui = login = ""
        looks = 0
        stopped = ""

        @property
        def server(self) -> PrivateEngine[Any]:
            raise AssertionError("no server expected")

        def __enter__(self) -> Self:
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGINT)
            return self

        def __exit__(self, *raised: object) -> None:
            type(self).stopped = str(raised[1])

        def running(self) -> bool:
            type(self).looks += 1
            assert self.looks == 1, "the run continues"
            return True

        def trigger(self) -> None: ...

        def end_run(self, reason: str) -> None: ...

        def settle(self) -> str:
            return ""

    monkeypatch.setattr(command, "_execution", InterruptSwallower)
    monkeypatch.setattr(command, "_report", lambda *given: 0)

    with pytest.raises(SystemExit) as end:
        main(["run", str(write(folder, "p", NOTHING)), "--on", "airflow"])

    assert end.value.code == 130
    assert InterruptSwallower.stopped == "stopped by SIGINT"


def test_definition_from_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "_execution", lambda *all_: given.extend(all_))
    monkeypatch.setattr(command, "_execute", lambda *given, **more: 0)
    monkeypatch.setattr(
        "sys.stdin", io.StringIO(json.dumps({"Version": "2020-12-01", "Steps": [NOTHING]}))
    )

    assert main(["run", "-", "--name", "piped", "--on", "airflow"]) == 0
    assert given[0].name == "piped"


@pytest.mark.parametrize("text", ["evil.py:pipeline", "pipeline.json", ""])
def test_pipe_accepts_only_json(
    text: str, folder: Path, failing_run: FailingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "evil.py").write_text("raise SystemExit('it was imported')")
    write(folder, "pipeline", NOTHING)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    code, message = failing_run("-")

    assert code == 5
    assert "<stdin>: not a JSON object" in message


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


def test_flow_file_sets_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(command, "_execution", lambda *all_: given.extend(all_))
    monkeypatch.setattr(command, "_execute", lambda *given, **more: 0)

    assert on_prefect(folder, FLOW, "--name", "x") == 5
    assert "own.py: the name is set in the flow file; remove --name" in capsys.readouterr().err
    assert on_prefect(folder, FLOW, "-p", "Limit=1") == 0
    flow, parameters, *_ = given
    assert (flow.name, flow.entry, flow.file) == ("mine", "any_name", folder / "own.py")
    assert flow.given(parameters) == {"Limit": 1.0}
