"""The invocation of a Lambda function: a supervised process that calls the handler."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.container import Exit
from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.supervised_job import Job, Outcome

SECONDS_VARIABLE = "SAGEBRIDGE_LAMBDA_SECONDS"
MEMORY = "128"
_RUNTIME = Path(__file__).with_name("lambda_runtime.py")


def run(job: Job) -> Outcome:
    """Call the handler of a function with an event. An error of the function is a failure."""
    asked = job.request
    file, name, function = Path(asked["File"]), asked["Handler"], asked["FunctionName"]
    job.note(f"Lambda function {function} runs {file}:{name} in the Python of the local jobs")
    seconds = float(os.environ.get(SECONDS_VARIABLE, "900"))
    request, answer = job.tmp / "request.json", job.tmp / "answer.json"
    request.write_text(json.dumps({**asked, "MemoryLimit": MEMORY, "Seconds": seconds}))
    job.enter("InProgress")
    end = run_container(
        job,
        ["python", "-I", "-u", str(_RUNTIME), str(request), str(answer)],
        {
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY,
            "LAMBDA_TASK_ROOT": str(file.parent),
            "_HANDLER": f"{file.stem}.{name}",
            "TZ": ":UTC",
        },
        seconds,
        str(file.parent),
    )
    if end.stopped:
        return Outcome("Stopped")
    if end.succeeded and not end.timed_out and answer.exists():
        fields = json.loads(answer.read_text())
    else:
        fields = _ended_early(end, asked["RequestId"], seconds)
    if not fields["FunctionError"]:
        return Outcome("Completed", fields)
    returned = json.loads(fields["Payload"])
    reason = f"{returned['errorType']}: {returned['errorMessage']}"
    return Outcome("Failed", {**fields, "FailureReason": reason})


def _ended_early(end: Exit, request: str, seconds: float) -> dict[str, Any]:
    """Lambda's answer for a process that ended without one."""
    if end.timed_out:
        kind, text = "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds"
    else:
        how = f"exit status {end.code}"
        if end.signal:
            how = f"signal: {signal.Signals(end.signal).name}"
        kind, text = "Runtime.ExitError", f"Runtime exited with error: {end.error or how}"
    found = {"errorType": kind, "errorMessage": f"RequestId: {request} Error: {text}"}
    return {"FunctionError": "Unhandled", "Payload": json.dumps(found)}


JOB = LocalJobType(kind="Lambda", run=run)
