"""Runs one command as SageMaker runs a container: its own /opt/ml, little else of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagebridge_operators.backends.local.isolation import choose, rewrite
from sagebridge_operators.backends.local.supervised_job import Job

POLL_SECONDS = 0.1
STOP_POLL_SECONDS = 0.25
GRACE_VARIABLE = "SAGEBRIDGE_STOP_GRACE_SECONDS"
GRACE_SECONDS = 30.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process ended: an exit code, or a signal; and whether it was made to."""

    code: int = 0
    signal: int = 0
    error: str = ""
    stopped: bool = False
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        return not (self.code or self.signal or self.error)

    def reason(self, job: Job, message: str = "") -> str:
        """A FailureReason as SageMaker words it, with the job's own message or last lines."""
        if self.error:
            return f"InternalServerError: the job did not start: {self.error}"
        text = (message.strip() or job.tail()).removeprefix("AlgorithmError: ")
        kind = "" if text.startswith("ClientError:") else "AlgorithmError: "
        end = f"exit code: {self.code}"
        if self.signal:
            end = f"killed by {signal.Signals(self.signal).name}, exit code: {128 + self.signal}"
        return f"{kind}{text or 'no output'}, {end}. Log: {job.log}"


def run(
    job: Job,
    command: Sequence[str],
    environment: Mapping[str, str],
    seconds: float | None = None,
    cwd: str | None = None,
) -> Exit:
    """Run ``command`` to its end, a requested stop or ``seconds``, whichever comes first.

    Paths under /opt/ml in the command and its environment mean the job's own. Its output goes
    to the job's log. A stop is SIGTERM, then SIGKILL to all its processes after a grace.

    Raises:
        IsolationError: no allowed way to a private /opt/ml works here.
        JobStopped: the stop came before the process ran.
    """
    way = choose(job.home)
    job.note(f"/opt/ml through {way.title}")
    environment = _environment(job) | dict(environment)
    if PYTHON.fullmatch(command[0]):
        command = [sys.executable, *command[1:]]
    if way.rewrites:
        rewrite(job.ml, job.ml)
        ml = str(job.ml)
        command = [word.replace("/opt/ml", ml) for word in command]
        environment = {key: text.replace("/opt/ml", ml) for key, text in environment.items()}
        cwd = cwd and cwd.replace("/opt/ml", ml)
    where = Path(cwd or job.cwd)
    job.check_stop()
    ours, theirs = socket.socketpair()
    with ours, job.log.open("ab") as log:
        with theirs:
            process = subprocess.Popen(
                way.command(job.ml, where, theirs.fileno(), command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=job.folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            return _wait(job, ours, seconds)
        finally:
            with suppress(OSError):
                ours.send(b"K")
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(job: Job, control: socket.socket, seconds: float | None) -> Exit:
    grace = float(os.environ.get(GRACE_VARIABLE, GRACE_SECONDS))
    control.settimeout(POLL_SECONDS)
    begun = looked = time.monotonic()
    kill_at: float | None = None
    stopped = timed_out = killed = False
    answer = b""
    while not answer.endswith(b"\n"):
        try:
            received = control.recv(1000)
            if not received:
                break
            answer += received
            continue
        except TimeoutError:
            now = time.monotonic()
        except ConnectionError:
            break
        if kill_at is None:
            if now - looked > STOP_POLL_SECONDS:
                looked = now
                stopped = job.stop_requested()
            timed_out = not stopped and seconds is not None and now - begun > seconds
            if stopped or timed_out:
                why = "stop requested" if stopped else f"longer than {seconds:g} seconds"
                job.note(f"{why}: SIGTERM, and SIGKILL after {grace:g} seconds")
                kill_at = now + grace
                with suppress(OSError):
                    control.send(b"T")
        elif now > kill_at and not killed:
            killed = True
            with suppress(OSError):
                control.send(b"K")
    # A job may end by itself between two looks at its record.
    stopped = stopped or (not timed_out and job.stop_requested())
    word, _, text = answer.decode(errors="replace").strip().partition(" ")
    match word:
        case "exit":
            return Exit(code=int(text), stopped=stopped, timed_out=timed_out)
        case "signal":
            return Exit(signal=int(text), stopped=stopped, timed_out=timed_out)
        case "error":
            return Exit(error=text, stopped=stopped, timed_out=timed_out)
    return Exit(signal=signal.SIGKILL, stopped=stopped, timed_out=timed_out)


def _environment(job: Job) -> dict[str, str]:
    """What a job sees of this machine's environment: none of the worker's secrets."""
    executables = str(Path(sys.executable).parent)
    return {
        "PATH": f"{executables}:{SYSTEM_PATH}",
        "HOME": str(job.tmp),
        "TMPDIR": str(job.tmp),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": "/opt/ml",
        "AWS_REGION": job.region,
        "AWS_DEFAULT_REGION": job.region,
    }
