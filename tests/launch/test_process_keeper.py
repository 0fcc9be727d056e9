"""All processes of an engine end with its command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sagebridge_operators.launch import process_keeper
from sagebridge_operators.launch.process_keeper import ProcessKeeper, session_processes


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", textwrap.dedent(code)


SLEEP = python("import time; time.sleep(60)")
# Starts a child in its own process group, as Airflow does for a task, and writes both pids.
PARENT = python(
    """
    import os, subprocess, sys, time
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], process_group=0)
    with open("pids", "w") as file:
        file.write(f"{os.getpid()} {child.pid}\\n")
    time.sleep(60)
    """
)
STUBBORN = python(
    """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("ready", "w").close()
    time.sleep(60)
    """
)


def eventually(what: Callable[[], bool], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(folder: Path, **commands: tuple[str, ...]) -> ProcessKeeper:
    return ProcessKeeper(
        commands, logs=folder, cwd=folder, env=dict(os.environ), execution="0" * 12
    )


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    eventually(lambda: file.exists() and file.read_text().endswith("\n"))
    return [int(word) for word in file.read_text().split()]


def test_stop_ends_all_processes(tmp_path: Path) -> None:
    keeper = start(tmp_path, parent=PARENT, other=SLEEP)
    started = pids(tmp_path)
    assert all(map(alive, [keeper.session, *started]))

    keeper.stop()

    assert not keeper.running
    assert not any(map(alive, started))


def test_process_ignoring_sigterm_is_killed(tmp_path: Path) -> None:
    keeper = start(tmp_path, stubborn=STUBBORN)
    eventually((tmp_path / "ready").exists)

    keeper.stop()

    assert session_processes(keeper.session) == []


def test_one_exit_ends_all_processes(tmp_path: Path) -> None:
    keeper = start(tmp_path, parent=PARENT, short=(sys.executable, "-c", "print('cannot bind')"))
    eventually(lambda: not keeper.running)

    assert session_processes(keeper.session) == []
    assert (tmp_path / "short.log").read_text() == "cannot bind\n"
    keeper.kill()


def test_stop_after_killed_keeper(tmp_path: Path) -> None:
    keeper = start(tmp_path, parent=PARENT)
    started = pids(tmp_path)
    os.kill(keeper.session, signal.SIGKILL)
    eventually(lambda: not keeper.running)

    keeper.stop()

    assert not any(map(alive, started))


def test_unkillable_processes_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []

    def fail(pid: int, number: int) -> None:
        del pid
        signals.append(number)
        raise PermissionError

    monkeypatch.setattr(process_keeper, "session_processes", lambda session: [1])
    monkeypatch.setattr(process_keeper, "_KILL_TIMEOUT", 0.3)
    monkeypatch.setattr(os, "kill", fail)

    process_keeper.end_session(0, patience=0)

    assert signal.SIGKILL in signals


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_killed_command_ends_all_processes(tmp_path: Path, end: signal.Signals) -> None:
    code = f"""
    import os, time
    from pathlib import Path
    from sagebridge_operators.launch.process_keeper import ProcessKeeper
    here = Path({str(tmp_path)!r})
    commands = {{"parent": {PARENT!r}}}
    env = dict(os.environ)
    home = here / "engine"
    logs = home / "logs"
    keeper = ProcessKeeper(commands, logs=logs, cwd=here, env=env, execution="x", home=home)
    time.sleep(60)
    """
    engine = tmp_path / "engine"
    (engine / "logs").mkdir(parents=True)
    (engine / "storage" / "results").mkdir(parents=True)
    (engine / "engine.db").touch()
    home = {"SAGEBRIDGE_HOME": str(tmp_path / "home"), "SAGEBRIDGE_BACKEND": "local"}
    command = subprocess.Popen(python(code), env={**os.environ, **home})
    started = pids(tmp_path)

    command.send_signal(end)
    command.wait(10)

    eventually(lambda: not any(map(alive, started)))
    eventually(lambda: [path.name for path in engine.iterdir()] == ["logs"])
    assert (engine / "logs" / "parent.log").exists()
