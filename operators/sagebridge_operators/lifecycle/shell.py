"""Runs a shell command in a process group of its own, which a stop ends."""

from __future__ import annotations

import codecs
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sagebridge_operators.errors import StepFailed, StepStopped

_SLICE = 0.2
_GRACE = 10.0
"""Seconds that a command has to end in after SIGTERM."""


def run_command(
    command: str,
    env: Mapping[str, str],
    stop_asked: Callable[[], bool],
    line: Callable[[str], Any],
) -> str:
    """Runs a command with bash, in an empty folder; the last line that it prints.

    ``env`` is its whole environment; ``line`` is told each line of its output. Raises StepFailed
    with its exit code, or StepStopped once a stop was asked for.
    """
    folder = tempfile.TemporaryDirectory(prefix="sagebridge-shell-", ignore_cleanup_errors=True)
    with folder as here, _started(command, env, here) as process:
        try:
            last = _followed(process, stop_asked, line)
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    if code:
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise StepFailed(f"the command failed: {ended}" + (f": {last}" if last else ""))
    return last


def _started(command: str, env: Mapping[str, str], folder: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise StepFailed(f"the command cannot be started with bash: {error}") from None


def _followed(
    process: subprocess.Popen[bytes], stop_asked: Callable[[], bool], line: Callable[[str], Any]
) -> str:
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    last = rest = ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if stop_asked():
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends all that a command has started."""
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
