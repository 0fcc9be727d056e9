"""Python and shell steps, from their arguments to their return values."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest

from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import join, parameter, plain, properties_of
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Step
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import first_attempt
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import EngineRun
from sagebridge_operators.lifecycle.user_code.kept_secrets import report_secret
from sagebridge_operators.run_errors import NotRunnable, StepFailed, StepStopped, Unresolvable
from tests.lifecycle.conftest import EXECUTION, Find, Make


def python(*args: Any, **kwargs: Any) -> PythonStep:
    step = Step("Train", PYTHON, plain(call_arguments(args, kwargs)))
    return PythonStep.of(step, Function("f", ""))


def shell(command: Any, env: Any = None, *, append_env: bool = False) -> ShellStep:
    return ShellStep.of(Step("Train", SHELL, plain(shell_arguments(command, env, append_env))))


def test_function_gets_resolved_values_and_returns_outputs(make: Make, record: Find) -> None:
    given: list[Any] = []

    def function(*args: Any, **kwargs: Any) -> Any:
        given.extend((args, kwargs))
        return {"rows": [1, (2.5, None)], "ok": True}

    before = properties_of("Prep").return_value
    step = python(
        parameter("Rate"), before["rows"][1], "{{ ds }}", path=join("/", "s3:/", before["b"])
    )
    upstream = {"Prep": {"return_value": {"rows": [1, 20], "b": "x"}}}
    outputs = make(step, upstream, function=function).run()
    assert given == [(0.2, 20, "{{ ds }}"), {"path": "s3://x"}]
    pair = {"__sagebridge__": "tuple", "value": [2.5, None]}
    assert outputs["return_value"] == {"rows": [1, pair], "ok": True}
    assert (record().state, record().outputs) == ("Succeeded", outputs)


def test_missing_part_of_return_value_is_named(make: Make) -> None:
    step = python(properties_of("Prep").return_value["cols"])
    with pytest.raises(Unresolvable, match=r"return_value\['cols'\].*no key 'cols'.*rows"):
        make(step, {"Prep": {"return_value": {"rows": 1}}}, function=print).run()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no rows"), "ValueError: no rows"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_function_exception_is_the_reason(
    error: BaseException,
    reason: str,
    make: Make,
    record: Find,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def function() -> None:
        raise error

    with caplog.at_level(logging.INFO), pytest.raises(StepFailed) as failed:
        make(python(), function=function).run()
    assert str(failed.value) == reason
    assert (record().state, record().reason) == ("Failed", reason)
    assert f'File "{__file__}"' in caplog.text
    assert "raise error" in caplog.text


class TimeLimit(BaseException):
    """An engine's time limit."""


def test_engine_time_limit_stops_the_step(make: Make, record: Find) -> None:
    def function() -> None:
        raise TimeLimit("too long")

    with pytest.raises(TimeLimit):
        make(python(), function=function).run()
    assert (record().state, record().reason) == ("Stopped", "interrupted (TimeLimit: too long)")


def test_result_that_cannot_be_kept_fails_the_step(make: Make, record: Find) -> None:
    with pytest.raises(StepFailed, match=r"step 'Train' returned .*return_value\['a'\] is a Event"):
        make(python(), function=lambda: {"a": threading.Event()}).run()
    assert record().state == "Failed"


def test_large_result_is_kept_outside_the_outputs(make: Make) -> None:
    given: list[Any] = []
    large = {"rows": ["x" * 100] * 1000, "day": date(2026, 1, 31)}
    outputs = make(python(), function=lambda: large).run()
    assert len(str(outputs)) < 1000
    before = properties_of("Train").return_value
    step = replace(python(before, before["rows"][2]), name="Show")
    make(step, {"Train": outputs}, function=lambda *args: given.extend(args)).run()
    assert given == [large, "x" * 100]


def test_circular_return_value_is_rejected(make: Make) -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(StepFailed, match="contains itself"):
        make(python(), function=lambda: circle).run()


TOKEN = "s3cr3t-token"


def reads_token(result: Callable[[], Any]) -> Callable[[], Any]:
    """A function that reads a secret, as those of the other engine's names do."""

    def function() -> Any:
        report_secret(TOKEN, "Secret", "shop")
        report_secret({"user": "u", "api_key": "k-1234"}, "Variable", "api", every=False)
        print(f"the token is {TOKEN}")
        return result()

    return function


def test_secret_in_a_result_is_kept_as_a_reference(
    make: Make, record: Find, caplog: pytest.LogCaptureFixture
) -> None:
    loaded: list[Any] = []
    given: list[Any] = []

    def load(reference: Any) -> Any:
        loaded.append(tuple(reference))
        return {"Secret": TOKEN, "Variable": "k-1234"}[reference[0]]

    def show(*args: Any) -> Any:
        given.extend(args)
        return args[0]

    result = {"header": f"Bearer {TOKEN}", "keys": (TOKEN, "k-1234", "u"), "rows": 3}
    caplog.set_level(logging.INFO)
    outputs = make(python(), function=reads_token(lambda: result)).run()
    header = {"__sagebridge__": "secret", "value": ["Bearer ", ["Secret", "shop"], ""]}
    assert outputs["return_value"]["header"] == header
    before = properties_of("Train").return_value
    path = join("/", before["keys"][0], before["rows"])
    step = replace(python(before["header"], before["keys"], path), name="Show")
    engine = EngineRun(secret=load)
    shown: list[Any] = []
    again = make(
        step, {"Train": outputs}, function=show, engine_run=engine, on_request=shown.append
    ).run()
    assert given == [f"Bearer {TOKEN}", (TOKEN, "k-1234", "u"), f"{TOKEN}/3"]
    assert set(loaded) == {("Secret", "shop"), ("Variable", "api", "api_key")}
    assert again["return_value"] == header
    assert shown[0]["args"][0] == "Bearer ***"
    for text in (outputs, again, record(), shown, caplog.text):
        assert TOKEN not in str(text)


def test_secret_in_an_error_is_masked(
    make: Make, record: Find, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError(f"401 for {TOKEN}")

    caplog.set_level(logging.INFO)
    with pytest.raises(StepFailed, match=r"^ValueError: 401 for \*\*\*$"):
        make(python(), function=reads_token(fail)).run()
    assert record().reason == "ValueError: 401 for ***"
    assert TOKEN not in caplog.text


def test_secret_that_cannot_be_kept_fails_the_step(make: Make) -> None:
    with pytest.raises(StepFailed, match="contains the secret 'shop'"):
        make(python(), function=reads_token(lambda: Path(f"/data/{TOKEN}"))).run()


def test_secret_of_a_step_is_only_given_to_functions(make: Make) -> None:
    outputs = make(python(), function=reads_token(lambda: TOKEN)).run()
    step = replace(shell(join(" ", "login", properties_of("Train").return_value)), name="Show")
    with pytest.raises(StepFailed, match="can only be an argument of a Python function"):
        make(step, {"Train": outputs}).run()


class LineLog:
    """A log that collects its lines and also prints them."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def info(self, event: str, /, *args: Any) -> None:
        print("log:", event % args)
        self.sent.append(event % args)

    warning = info


def test_concurrent_prints_go_to_their_own_logs(make: Make) -> None:
    both = threading.Barrier(2, timeout=20)
    before = sys.stdout

    def function(name: str) -> None:
        for number in range(3):
            both.wait()
            print(name, end=" ")
            sys.stdout.write(f"{number}\n")
        print("end", end="")
        both.wait()

    logs = {name: LineLog() for name in ("one", "two")}
    runs = [
        make(python(name), function=function, index=(number,)) for number, name in enumerate(logs)
    ]
    for run, log in zip(runs, logs.values(), strict=True):
        run.log = log
    threads = [threading.Thread(target=run.run) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    for name, log in logs.items():
        lines = [*(f"{name} {number}" for number in range(3)), "end"]
        assert log.sent == [f"[Train] {line}" for line in lines]


def test_stop_interrupts_a_function(make: Make, records: ExecutionRecords, record: Find) -> None:
    def function() -> None:
        records.request_stop(EXECUTION.id)
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001 - user code may catch everything
                continue

    with pytest.raises(StepStopped):
        make(python(), function=function).run()
    assert record().state == "Stopped"


def test_missing_function_fails_the_step(make: Make, record: Find) -> None:
    with pytest.raises(NotRunnable, match="'Train'"):
        make(python()).run()
    assert record().state == "Failed"


def test_definition_with_code_keys_runs_no_code(make: Make, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for generation, type_ in enumerate((PYTHON, SHELL)):
        step = Step(
            "Train",
            type_,
            plain({"args": [str(marker)], "kwargs": {}, "command": f"touch {marker}"}),
        )
        with pytest.raises(NotRunnable, match=type_):
            make(step, function=os.mkdir, generation=generation).run()
    assert not marker.exists()


def test_last_line_of_command_is_the_return_value(
    make: Make, record: Find, caplog: pytest.LogCaptureFixture
) -> None:
    step = shell(
        join("", "echo rate ", parameter("Rate"), "; echo $NAME >&2; printf 'a\\nlast'"),
        {"NAME": parameter("Rate"), "ODD": "$(exit 3) {{ x }}"},
    )
    with caplog.at_level(logging.INFO):
        outputs = make(step).run()
    assert outputs["return_value"] == "last"
    for line in ("rate 0.2", "0.2", "a", "last"):
        assert f"[Train] {line}" in caplog.messages
    assert record().state == "Succeeded"


@pytest.mark.parametrize(
    ("env", "append_env", "kept"),
    [(None, False, True), ({"A": "1"}, False, False), ({"A": "1"}, True, True)],
)
def test_command_environment(
    env: Any, append_env: bool, kept: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "yes")
    step = shell("echo ${OF_THE_WORKER-no} ${A-none}", env, append_env=append_env)
    found = make(step).run()["return_value"]
    assert found == f"{'yes' if kept else 'no'} {'none' if env is None else '1'}"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo why; exit 7", "exit code 7: why"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("no_such_command", "exit code 127: .*not found"),
        ("echo \0", "cannot start the command with bash"),
    ],
)
def test_failed_command_fails_the_step(command: str, reason: str, make: Make, record: Find) -> None:
    with pytest.raises(StepFailed, match=reason):
        make(shell(command)).run()
    assert record().state == "Failed"


def test_stop_ends_all_processes_of_a_command(make: Make, record: Find, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run = make(shell(f"sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"))
    thread = threading.Thread(target=_swallowing(run.run))
    thread.start()
    while not pid.exists():
        time.sleep(0.01)
    run.killed = True
    thread.join(60)
    assert record().state == "Stopped"
    assert not psutil.pid_exists(int(pid.read_text()))


WORKER = """
import os, sys
from pathlib import Path
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.opening import first_attempt
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.user_code.shell_command import run_command

attempt = first_attempt("aa", "Run", "sagebridge:Shell")
with ExecutionRecords(Folder(Path(sys.argv[2]))).attend(attempt) as held:
    run_command(sys.argv[1], os.environ, lambda: False, print, held)
"""


def test_command_dies_with_its_worker(tmp_path: Path) -> None:
    pid, records = tmp_path / "pid", ExecutionRecords(Folder(tmp_path / "records"))
    attempt = first_attempt("aa", "Run", SHELL)
    assert records.attended(attempt) is False
    command = f"trap '' TERM; sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, command, str(records.objects.location)],
        start_new_session=True,
    )
    try:
        while not pid.exists():
            assert worker.poll() is None
            time.sleep(0.01)
        sleeping = psutil.Process(int(pid.read_text()))
        assert os.getsid(sleeping.pid) == worker.pid
        assert os.getpgid(sleeping.pid) != worker.pid
        while len(psutil.Process(worker.pid).children()) < 2:  # the command and its guard
            time.sleep(0.01)
        assert records.attended(attempt) is True
        folder = Path(sleeping.cwd())
        assert folder.exists()
        os.killpg(worker.pid, signal.SIGKILL)  # as Airflow kills a task that ignores SIGTERM
        until = time.monotonic() + 30
        while not _run_step(sleeping) or records.attended(attempt):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not folder.exists()
    finally:
        worker.kill()
        worker.wait()


def _run_step(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_background_processes_outlive_the_command(make: Make) -> None:
    pid = int(make(shell("sleep 1000 > /dev/null 2>&1 & echo $!")).run()["return_value"])
    left = psutil.Process(pid)
    try:
        assert left.is_running()
    finally:
        left.kill()


def _swallowing(function: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises(StepStopped):
            function()

    return run
