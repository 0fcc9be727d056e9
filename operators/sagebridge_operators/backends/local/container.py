"""Run a command like a SageMaker container: with a private /opt/ml and a clean environment."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import sagebridge
import sagebridge_operators
from sagebridge.model.local_rejections import PROGRAM_PATH
from sagebridge_operators.backends.local import job_environment
from sagebridge_operators.backends.local.aws_access import aws_access
from sagebridge_operators.backends.local.isolation import choose, rewrite
from sagebridge_operators.backends.local.os_errors import FULL, is_full
from sagebridge_operators.backends.local.supervised_job import STOP_POLL_SECONDS, Job, stop_grace

POLL_SECONDS = 0.1
EXPLAINED_LINES = 40
PACKAGE_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST"),
    *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_CACHE_DIR"),
    *("PIP_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    *("UV_FIND_LINKS", "UV_NO_INDEX", "UV_OFFLINE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Variables of the worker from which a job learns where packages and the network are."""
# pip looks for these below HOME, and a job has another HOME (pip docs, "Configuration").
PIP_CONFIGURATION = (Path("~/.config/pip/pip.conf"), Path("~/.pip/pip.conf"))
PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process ended: exit code or signal, and whether it was stopped or timed out.

    ``missing`` explains a failure for which the local store lacks an object.
    """

    code: int = 0
    signal: int = 0
    error: str = ""
    stopped: bool = False
    timed_out: bool = False
    missing: str = ""

    @property
    def succeeded(self) -> bool:
        return not (self.code or self.signal or self.error)

    def reason(self, job: Job, message: str = "") -> str:
        """A FailureReason in SageMaker's form, with the job's message or its last log lines."""
        if self.error:
            return f"InternalServerError: the job did not start: {self.error}"
        end = f"exit code: {self.code}"
        if self.signal:
            end = f"killed by {signal.Signals(self.signal).name}, exit code: {128 + self.signal}"
        return failure_reason(job, message, end, self.missing)


def failure_reason(job: Job, message: str, end: str = "", known: str = "") -> str:
    """A FailureReason in SageMaker's form: what is known, the job's message or last log lines."""
    text = (message.strip() or job.tail()).removeprefix("AlgorithmError: ")
    output = f"{job.tail(EXPLAINED_LINES)}\n{message}"
    text = known or explain(output, str(job.home)) or text
    kind = "" if text.startswith("ClientError:") else "AlgorithmError: "
    return f"{kind}{text or 'no output'}{end and f', {end}'}. Log: {job.log}"


def run(
    job: Job,
    command: Sequence[str],
    environment: Mapping[str, str],
    seconds: float | None = None,
    cwd: str | None = None,
    channel: Connection | None = None,
) -> Exit:
    """Run ``command`` until it ends, a stop is requested, or ``seconds`` have passed.

    /opt/ml in the command and its environment is the job's own folder. Output goes to the job's
    log. To stop the job, it gets SIGTERM and, after a grace period, all its processes SIGKILL.
    The process inherits ``channel``, which is closed here.

    Raises:
        IsolationError: no allowed isolation method works on this machine.
        JobStopped: a stop was requested before the process started.
    """
    with aws_access(job, environment) as access:
        variables = {**access.variables, **environment}
        end = _run(job, command, variables, seconds, cwd, channel)
        return replace(end, missing=access.explain(job.tail(EXPLAINED_LINES)))


def _run(
    job: Job,
    command: Sequence[str],
    environment: Mapping[str, str],
    seconds: float | None,
    cwd: str | None,
    channel: Connection | None,
) -> Exit:
    method = choose(job.home)
    job.note(f"/opt/ml: {method.title}")
    packages = (sagebridge.__path__[0], sagebridge_operators.__path__[0])
    roots = [str(Path(package).parent) for package in packages]
    job_environment.create(job.environment, job.home / "environments", roots)
    environment = _environment(job) | dict(environment)
    environment["PATH"] = f"{job.environment / 'bin'}:{environment['PATH']}"
    if PYTHON.fullmatch(command[0]):
        command = [str(job.environment / "bin/python"), *command[1:]]
    if method.rewrites:
        rewrite(job.ml, job.ml)
        ml = str(job.ml)
        command = [word.replace("/opt/ml", ml) for word in command]
        environment = {key: text.replace("/opt/ml", ml) for key, text in environment.items()}
        cwd = cwd and cwd.replace("/opt/ml", ml)
    where = Path(cwd or job.cwd)
    job.check_stop()
    control, peer = socket.socketpair()
    inherited = [peer.fileno()] + ([channel.fileno()] if channel else [])
    with control, job.log.open("ab") as log:
        with peer, channel or nullcontext():
            process = subprocess.Popen(
                method.command(job.ml, where, peer.fileno(), command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=job.folder,
                pass_fds=inherited,
                start_new_session=True,
            )
        try:
            return _wait(job, control, seconds)
        finally:
            with suppress(OSError):
                control.send(b"K")
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(job: Job, control: socket.socket, seconds: float | None) -> Exit:
    grace = stop_grace()
    control.settimeout(POLL_SECONDS)
    started = checked = time.monotonic()
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
            if now - checked > STOP_POLL_SECONDS:
                checked = now
                stopped = job.stop_requested()
            timed_out = not stopped and seconds is not None and now - started > seconds
            if stopped or timed_out:
                why = "stop requested" if stopped else f"running for more than {seconds:g} seconds"
                job.note(f"{why}: SIGTERM now, SIGKILL in {grace:g} seconds")
                kill_at = now + grace
                with suppress(OSError):
                    control.send(b"T")
        elif now > kill_at and not killed:
            killed = True
            with suppress(OSError):
                control.send(b"K")
    # The job may have ended between two checks for a stop.
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
    """The environment of a job: of the worker's variables only those that pip needs here."""
    packages = {name: os.environ[name] for name in PACKAGE_VARIABLES if name in os.environ}
    if user := next((file for file in PIP_CONFIGURATION if file.expanduser().is_file()), None):
        packages.setdefault("PIP_CONFIG_FILE", str(user.expanduser()))
    return packages | {
        "PATH": PROGRAM_PATH,
        "VIRTUAL_ENV": str(job.environment),
        # A pip of another Python, called by its path, also uses the job's environment.
        "PIP_PYTHON": str(job.environment / "bin/python"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(job.home / "environments/pip-cache")),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "HOME": str(job.tmp),
        "TMPDIR": str(job.tmp),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": "/opt/ml",
        "AWS_REGION": job.region,
        "AWS_DEFAULT_REGION": job.region,
    }


# One clear reason for failures that any script can have: packages, credentials, a full disk.
_OFFLINE = re.compile(
    r"NewConnectionError|Failed to establish a new connection|NameResolutionError|"
    r"ConnectTimeoutError|ProxyError|Connection (refused|reset|aborted)|"
    r"dns error|error sending request"
)
# pip's message, then uv's.
_PACKAGE = re.compile(
    r"ERROR: No matching distribution found for (?P<pip>.+)|"
    r"Because (?P<uv>\S+) was not found in the (package registry|provided package)"
)
_CREDENTIALS = re.compile(
    r"NoCredentialsError|Unable to locate credentials|"
    r"(EndpointConnectionError: |resolve host).*amazonaws|"
    r"\((InvalidAccessKeyId|InvalidClientTokenId|UnrecognizedClientException)\)"
)
_FULL = re.compile(r"\[Errno (28|122)\]|No space left on device|Disk quota exceeded")


def explain(output: str, folder: str) -> str:
    """The reason of a failure that the last lines of a log show; empty for all others.

    Args:
        output: the last lines.
        folder: the working folder.
    """
    if found := _PACKAGE.search(output):
        package = (found["pip"] or found["uv"]).strip()
        problem = "no configured package index or folder has it"
        if _OFFLINE.search(output):
            problem = "no package index can be reached"
        return (
            f"cannot install the package {package}: {problem}; check the name and version, "
            "connect this machine, or set PIP_INDEX_URL or PIP_FIND_LINKS where jobs start"
        )
    if _CREDENTIALS.search(output):
        return (
            "the script's AWS calls do not reach the local store: the script or the Environment of "
            "its job sets an address or credentials, or its library does not read AWS_ENDPOINT_URL "
            "(boto3 does since 1.28); change this, or run the pipeline with --backend aws"
        )
    if _FULL.search(output):
        return _full(folder)
    if is_full(Path(folder)):
        return f"{_full(folder)}; last output: {output.strip() or 'none'}"
    return ""


def _full(folder: str) -> str:
    return f"{FULL} (now {folder})"
