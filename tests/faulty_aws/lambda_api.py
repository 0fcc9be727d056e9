"""Lambda functions that return their event. A script whose last status is Failed raises."""

from __future__ import annotations

import json
from typing import Any

from tests.faulty_aws.job_store import JobService
from tests.faulty_aws.protocol import Answer, Call


class LambdaApi(JobService):
    """Each invocation is a resource of kind ``Invocation``, named after its function."""

    missing = ("ResourceNotFoundException", "Function not found")

    def _answer(self, call: Call) -> Any:
        if call.operation != "Invoke":
            raise self.unknown(call)
        event = call.members.get("Payload")
        job = self.add("Invocation", call.name, {"Payload": event})
        headers = {"Content-Type": "application/json"}
        if job.script.statuses[-1] != "Failed":
            returned = job.script.members.get("Payload", event)
            return Answer(200, json.dumps(returned).encode(), headers)
        kind, _, message = str(job.script.members.get("FailureReason", "Error: ")).partition(": ")
        body = json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": []})
        return Answer(200, body.encode(), {**headers, "X-Amz-Function-Error": "Unhandled"})
