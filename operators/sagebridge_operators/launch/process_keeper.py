"""Run the processes of a private engine, and end them when the command ends.

The keeper is a process in its own session, with the engine's processes as children. The command
holds the other end of its standard input. If that pipe closes, the command was killed. The keeper
then stops the jobs of the execution, ends the engine and clears its home.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

LOGS = "logs"
"""The folder in an engine's home that is kept."""
PATIENCE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
_KILL_TIMEOUT = 30.0
"""Seconds to wait for a process after SIGKILL."""


class ProcessKeeper:
    """A session of processes, as seen by the command that starts it.

    Args:
        commands: programs with arguments, by name; each writes ``<name>.log`` into ``logs``.
        execution: the execution whose jobs are stopped if this process is killed, or None.
        home: the folder to clear, except for the logs, if this process is killed.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        logs: Path,
        cwd: Path,
        env: Mapping[str, str],
        execution: str | None,
        home: Path | None = None,
    ) -> None:
        task = {
            "commands": commands,
            "logs": str(logs),
            "execution": execution,
            "home": home and str(home),
        }
        with (logs / "process_keeper.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )

    @property
    def session(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether all processes are still running."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the first process to end (128 + signal number if killed), or None."""
        return self._process.poll()

    def stop(self) -> None:
        """End all processes of the session."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE + 5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.kill()

    def kill(self) -> None:
        """Kill all processes of the session."""
        end_session(self.session, patience=0)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_TIMEOUT)
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextmanager
def delayed_signals() -> Iterator[None]:
    """Delay SIGINT and SIGTERM until the end of the block, which starts a process and keeps it.

    Otherwise an interrupt inside Popen leaves a process whose pid is lost.
    """
    pending: list[int] = []
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, lambda got, _: pending.append(got))
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    for late in pending:
        signal.raise_signal(late)


def end_session(session: int, *, patience: float = PATIENCE) -> None:
    """End every process of a session except this one: SIGTERM, then SIGKILL after ``patience``.

    Processes that cannot be killed (another user's, or in disk wait) are left.
    """
    until = time.monotonic() + patience
    if patience:
        _signal(session_processes(session), signal.SIGTERM)
    while (left := session_processes(session)) and time.monotonic() < until + _KILL_TIMEOUT:
        if time.monotonic() > until:
            _signal(left, signal.SIGKILL)
        time.sleep(0.05)


def session_processes(session: int) -> list[int]:
    """The processes of a session, except this one and zombies."""
    import psutil

    found = []
    for pid in psutil.pids():
        try:
            if (
                pid != os.getpid()
                and os.getsid(pid) == session
                and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
            ):
                found.append(pid)
        except (OSError, psutil.Error):
            continue
    return found


def clear_home(home: Path) -> None:
    """Delete an engine's home except for the logs. Safe to call concurrently."""
    for path in home.iterdir() if home.exists() else ():
        if path.name == LOGS:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def main(arguments: Sequence[str]) -> int:
    """The keeper process: 0 if stopped, otherwise the exit code of the first process to end."""
    task = json.loads(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    session = os.getsid(0)
    killed = False
    try:
        logs = Path(task["logs"])
        children = [
            _start(command, logs / f"{name}.log") for name, command in task["commands"].items()
        ]
        while not (ended := [code for child in children if (code := child.poll()) is not None]):
            if select.select([sys.stdin], [], [], 0.2)[0]:
                killed = True
                _stop_execution(task["execution"], session)
                return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_session(session)
        if killed and task["home"]:
            clear_home(Path(task["home"]))
    return ended[0] if ended[0] >= 0 else 128 - ended[0]


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


def _stop_execution(execution: str | None, session: int) -> None:
    from sagebridge_operators.launch.killed_command import stop_killed_execution

    if execution is None:
        return
    try:
        stop_killed_execution(execution, lambda: end_session(session))
    except Exception as error:  # noqa: BLE001 - the engine must end in any case
        print(f"the jobs of {execution} could not be stopped: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
