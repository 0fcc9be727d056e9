"""The supervisor of a job: a detached process that runs the job and records its outcome.

A job survives the process that created it; later processes find its record. If the supervisor
dies, its job dies with it, and ``reap`` sets the record to Failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import sagebridge
import sagebridge_operators
from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.container import PACKAGE_VARIABLES
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.local_job_type import local_job_type
from sagebridge_operators.backends.local.os_errors import describe, is_full
from sagebridge_operators.backends.local.supervised_job import (
    TERMINAL,
    Job,
    JobFailed,
    Outcome,
    clear,
    enter,
    hold,
    is_held,
    job_folder,
)
from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import RecordsError

DIED = "the supervisor of the job died, and the job with it"
_CREATOR_DIED = (
    "the process that requested this job died before the job started; run the step again"
)
RESERVED_BYTES = 1 << 18
RECORD_TRIES, RECORD_PAUSE_SECONDS = 30, 2.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def start(
    home: Path, kind: str, name: str, base: Path | None = None, lock: int | None = None
) -> None:
    """Start the supervisor of a recorded job, and return once it has claimed the job.

    ``base`` is the folder for relative paths (default: SAGEBRIDGE_BASE or the working folder).
    ``lock`` is the descriptor of the job's lock if this process holds it. If the supervisor cannot
    start, the job fails; no error is raised.
    """
    folder = job_folder(home, kind, name)
    log = folder / "supervisor.log"
    where = base or Path(os.environ.get("SAGEBRIDGE_BASE", "."))
    command = [sys.executable, "-m", __name__, str(home.absolute()), kind, name]
    command += [str(where.absolute()), "" if lock is None else str(lock)]
    try:
        make_private(folder)
        with log.open("ab") as stream:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env=_environment(os.environ),
                pass_fds=() if lock is None else (lock,),
                check=False,
            ).returncode
        problem = f"exit code {code}, see {log}" if code else ""
    except OSError as error:
        problem = f"{error.filename or folder}: {describe(error)}"
    if problem:
        reason = f"InternalServerError: the supervisor of the job did not start: {problem}"
        _end(Records(home / "records.db"), kind, name, Outcome("Failed", {"FailureReason": reason}))


def request_stop(home: Path, kind: str, name: str) -> dict[str, Any]:
    """Request a stop. Returns the body of the record: Stopping, unless the job has ended."""
    job_type = local_job_type(kind)

    def stopping(body: dict[str, Any]) -> None:
        if body[job_type.status] not in TERMINAL:
            body.setdefault("_stop", time.time())
            body[job_type.status] = "Stopping"
            body["LastModifiedTime"] = time.time()
            if job_type.secondary_statuses:
                enter(body, "Stopping", f"Stopping the {kind.lower()} job", time.time())

    return Records(home / "records.db").update(kind, name, stopping)


def reap(records: Records, kind: str, name: str) -> dict[str, Any]:
    """The body of a job's record; Failed if the supervisor of a running job has died.

    Raises:
        NoSuchRecord: the job does not exist.
    """
    home, body = records.path.parent, records.get(kind, name)
    if body is None or not _orphaned(home, body, kind, name):
        return body if body is not None else records.update(kind, name, lambda _: None)

    def fail(current: dict[str, Any]) -> None:
        if _orphaned(home, current, kind, name):
            started = "_supervisor" in current
            what = DIED if started else _CREATOR_DIED
            Outcome("Failed", {"FailureReason": f"InternalServerError: {what}"}).record(
                current, kind
            )

    return records.update(kind, name, fail)


def _orphaned(home: Path, body: Mapping[str, Any], kind: str, name: str) -> bool:
    return body[local_job_type(kind).status] not in TERMINAL and not is_held(home, kind, name)


def _environment(outer: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in outer.items()
        if name in (*KEPT_VARIABLES, *PACKAGE_VARIABLES) or name.startswith("SAGEBRIDGE_")
    }
    roots = {
        str(Path(package.__path__[0]).parent) for package in (sagebridge, sagebridge_operators)
    }
    return kept | {"PYTHONPATH": os.pathsep.join(sorted(roots))}


def _end(records: Records, kind: str, name: str, outcome: Outcome) -> None:
    def change(body: dict[str, Any]) -> None:
        if body[local_job_type(kind).status] not in TERMINAL:
            outcome.record(body, kind)

    records.update(kind, name, change)


def _claim(records: Records, kind: str, name: str) -> bool:
    claimed = False

    def change(body: dict[str, Any]) -> None:
        nonlocal claimed
        if body[local_job_type(kind).status] not in TERMINAL and "_supervisor" not in body:
            body["_supervisor"] = {"pid": os.getpid()}
            claimed = True

    records.update(kind, name, change)
    return claimed


def _supervise(home: Path, kind: str, name: str, base: Path, records: Records) -> Outcome:
    """Run a job. Returns its outcome, whose reason is also the last line of the job's log."""
    try:
        job = Job(home, kind, name, base, records)
        outcome = _outcome(job)
        if reason := outcome.fields.get("FailureReason"):
            with suppress(OSError):
                job.note(reason)
    except OSError as error:
        reason = f"ClientError: {error.filename or home}: {describe(error)}"
        return Outcome("Failed", {"FailureReason": reason})
    return outcome


def _outcome(job: Job) -> Outcome:
    try:
        job.note_differences()
        return local_job_type(job.kind).run(job)
    except JobFailed as failure:
        return failure.outcome
    except SagebridgeError as error:
        return Outcome("Failed", {"FailureReason": f"ClientError: {error}"})
    except OSError as error:
        reason = f"ClientError: {error.filename or job.folder}: {describe(error)}"
        return Outcome("Failed", {"FailureReason": reason})
    except Exception as error:  # noqa: BLE001 - the job must end, whatever was raised
        traceback.print_exc()
        return Outcome("Failed", {"FailureReason": f"InternalServerError: {error!r}"})


def main(home: str, kind: str, name: str, base: str, lock: str) -> None:
    """Fork: the child runs the job, and the parent exits once the child has claimed it.

    ``lock`` is the number of the inherited descriptor of the job's lock, or empty.
    """
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(ready, 1) else 1)
    os.close(ready)
    records = Records(Path(home, "records.db"))
    with nullcontext(lock) if lock else hold(Path(home), kind, name) as alone:
        if claimed := alone is not None and _claim(records, kind, name):
            os.chdir("/")
        os.write(tell, b".")
        os.close(tell)
        if claimed:
            _run_to_end(Path(home), kind, name, Path(base), records)


def _run_to_end(home: Path, kind: str, name: str, base: Path, records: Records) -> None:
    """Run a job and record its outcome.

    On a full disk, the working folders of the job are removed, so that later calls can read the
    record. If there is still no room for the record, it waits for the user to free some space.
    """
    folder = job_folder(home, kind, name)
    reserve = folder / "reserve"
    with suppress(OSError):
        reserve.write_bytes(bytes(RESERVED_BYTES))
    with ExitStack() as stack:
        with suppress(RecordsError):
            stack.enter_context(records.kept_open())
        outcome = _supervise(home, kind, name, base, records)
        if not records.path.exists():  # the working folder was deleted; do not create it again
            return
        full = is_full(folder)
        with suppress(OSError):
            reserve.unlink(missing_ok=True)
        if full or outcome.status == "Completed":
            clear(folder)
        for _ in range(RECORD_TRIES):
            with suppress(RecordsError):
                _end(records, kind, name, outcome)
                return
            if not is_full(home):
                break
            time.sleep(RECORD_PAUSE_SECONDS)
        _end(records, kind, name, outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])
