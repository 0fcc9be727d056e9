"""Keeps the processes of a private engine, so that none outlives the command that started it.

It runs as a process in a session of its own; what it starts belongs to that session. Its standard
input is a pipe whose other end only the command holds: when that ends without a word, the command
was killed, and the keeper stops the execution's jobs before it ends the engine and clears its home.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

LOGS = "logs"
"""Of an engine's home, the folder that stays."""
PATIENCE = 3.0
"""Seconds that the processes of an engine get to end by themselves."""
_KILL_TIMEOUT = 30.0
"""Seconds after which a process that was killed will not end."""


class ProcessKeeper:
    """The command's side: a session of processes that ends when the command does.

    Args:
        commands: what to run, by name; each writes ``<name>.log`` into ``logs``.
        execution: whose jobs to stop if this process is killed; None if another keeper does.
        home: a folder of which only the logs stay if this process is killed.
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
        """Whether all that was started still runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of what ended first, 128 and the signal's number where one ended it; None before."""
        return self._process.poll()

    def stop(self) -> None:
        """Ends the session; nothing of it is left afterwards."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE + 5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.kill()

    def kill(self) -> None:
        """Ends the session at once."""
        end_session(self.session, patience=0)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_TIMEOUT)
        if self._process.stdin is not None:
            self._process.stdin.close()


def end_session(session: int, *, patience: float = PATIENCE) -> None:
    """Ends every process of a session but the calling one: asked to, then killed.

    One that cannot be killed, as another user's or one that waits for a disk, is let be.
    """
    until = time.monotonic() + patience
    if patience:
        _signal(session_processes(session), signal.SIGTERM)
    while (left := session_processes(session)) and time.monotonic() < until + _KILL_TIMEOUT:
        if time.monotonic() > until:
            _signal(left, signal.SIGKILL)
        time.sleep(0.05)


def session_processes(session: int) -> list[int]:
    """The processes of a session, but neither the calling one nor those that only await reaping."""
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
    """Deletes all that an engine's home holds but its logs. Several may do it at once."""
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


def main(words: Sequence[str]) -> int:
    """The keeper's process: 0 if it was stopped, otherwise the exit code of what ended first."""
    task = json.loads(words[0])
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
    del number, frame
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
    except Exception as error:  # noqa: BLE001 - whatever happens, the engine has to end
        print(f"the jobs of {execution} could not be stopped: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
