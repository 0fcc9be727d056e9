"""Runs a shell command in its own process group, which a stop ends.

The group stays in the session of its worker, because an engine is ended by its session.
"""

from __future__ import annotations

import codecs
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sagebridge_operators.run_errors import StepFailed, StepStopped

_SLICE = 0.2
_GRACE = 10.0
"""Seconds that a command has after SIGTERM, before SIGKILL."""


def run_command(
    command: str,
    env: Mapping[str, str],
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    lock: int | None = None,
    folder: str | None = None,
) -> str:
    """Runs a command with bash; returns the last line that it prints.

    Args:
        command: the bash script.
        env: the whole environment of the command.
        stop_requested: whether a stop was requested.
        line: called with each line of standard output and standard error.
        lock: a descriptor that stays open until the command has ended, even if this process is
            killed.
        folder: where it runs; by default in an empty folder.

    Raises StepFailed for an exit code other than 0, which is the code of the error, and StepStopped
    after a stop.
    """
    empty = tempfile.TemporaryDirectory(prefix="sagebridge-shell-", ignore_cleanup_errors=True)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    with (
        empty as here,
        _kill_guard(here, lock) as guard_group,
        _start_bash(command, cwd=folder or here, env=env, **streams) as process,
    ):
        try:
            guard_group(process.pid)
            last = _read_output(process, stop_requested, line)
            code = process.wait()
        except BaseException:
            _end_group(process)
            raise
    if code < 0 and stop_requested():  # a stop of the worker may have signalled its whole session
        raise StepStopped("stopped while its command ran")
    if code:
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        text = f"the command failed: {ended}" + (f": {last}" if last else "")
        raise StepFailed(text, kind="code", code=str(code))
    return last


def _start_bash(script: str, *words: str, **more: Any) -> subprocess.Popen[bytes]:
    program = shutil.which("bash") or "bash"
    try:
        return subprocess.Popen([program, "-c", script, *words], process_group=0, **more)
    except (OSError, ValueError) as error:
        text = f"cannot start the command with bash: {error}"
        raise StepFailed(text, kind="code") from None


@contextmanager
def _kill_guard(folder: str, lock: int | None) -> Iterator[Callable[[int], None]]:
    """Starts a process that kills the command if this process is killed with SIGKILL.

    Yields a function that takes the command's process group. The guard reads a pipe that only this
    process holds: the first line is the group, the second dismisses the guard. If the pipe closes
    before that, the guard kills the group and removes ``folder``.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    script = 'read -r group && { read -r || { kill -KILL -- "-$group"; rm -rf -- "$1"; }; }'
    keeps = () if lock is None else (lock,)
    pipe = {"stdin": subprocess.PIPE, "bufsize": 0, "pass_fds": keeps}
    with _start_bash(script, "guard", folder, **pipe, **quiet) as guard:

        def guard_group(group: int) -> None:
            assert guard.stdin is not None
            guard.stdin.write(f"{group}\n".encode())

        try:
            yield guard_group
        finally:
            guard.communicate(b"\n")


def _read_output(
    process: subprocess.Popen[bytes], stop_requested: Callable[[], bool], line: Callable[[str], Any]
) -> str:
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    last = rest = ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if stop_requested():
                raise StepStopped("stopped while its command ran")
            if not selector.select(_SLICE):
                continue
            part = os.read(process.stdout.fileno(), 1 << 16)
            *lines, rest = (rest + decoder.decode(part, final=not part)).split("\n")
            for one in [*lines, *([rest] if rest and not part else [])]:
                last = one.rstrip("\r")
                line(last)
            if not part:
                return last


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the command's process group: SIGTERM, then SIGKILL."""
    for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.05)
